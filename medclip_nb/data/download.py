"""Downloads: only what was asked for, under a licence that was accepted, whole or not at all."""

import gzip
import json
import lzma
import math
import shutil
import stat
import tarfile
import zipfile
import zlib
from datetime import date
from functools import partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from ..config import artifacts_dir
from ..files import held, sha256, whole, write_text
from .catalog import card, local_copy

TIMEOUT_S = 60.0  # without a byte from the server
TRIES_MORE = 2  # after the first one failed
MOST_UNTOLD = 100 * 2**30  # bytes of a file whose size neither the card nor the server tells
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # the only hosts that need no encryption
CHUNK = 2**16  # bytes read at a time
MOST_UNPACKED = 200  # times the archive's own bytes, at most: an archive that swells more is a bomb
RECORD = "download.json"  # in the folder: what was downloaded
UNPACKS = (".zip", ".tar", ".tar.gz", ".tgz")


class DownloadError(ValueError):
    """A download that did not arrive as it should; the message is one line and says what to do. Nothing half is left."""


def get(name: str, *, accept_licence: bool, folder: str | Path | None = None, timeout_s: float = TIMEOUT_S) -> Path:
    """Downloads and unpacks a dataset of the catalogue into a new folder (default: artifacts/datasets/NAME), and names it.

    The folder's download.json records address, bytes and measured sha256 of every file. A file that arrived whole is not
    fetched again when a later one fails: it waits beside the folder, in NAME.download. Raises DownloadError, or ValueError
    where the licence was not accepted or a dataset is not given to programs.
    """
    about = card(name)
    if not 0 < timeout_s < math.inf:
        raise DownloadError(f"{name}: a timeout of {timeout_s:g} s is none; give a number of seconds above 0")
    if "files" not in about:
        raise DownloadError(f"{name}: is {about['how']} and not downloaded: {about.get('access', 'see its card')}")
    if not accept_licence:
        terms = f"licence: {about['licence']}; size: {about.get('size', 'unknown')}; see {about['homepage']}"
        raise DownloadError(f"{name}: {terms}; add --accept-licence if you agree to it")
    target = Path(folder) if folder else local_copy(name)
    busy = f"{name}: another process downloads it; wait for its end"
    with held(artifacts_dir() / "locks" / f"{name}.lock", lambda: busy):
        return _get(name, about, target, timeout_s=timeout_s)


def _get(name: str, about: dict, target: Path, *, timeout_s: float) -> Path:
    waiting = target.with_name(f"{target.name}.download")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if (target / RECORD).exists():  # killed right after it was whole
            shutil.rmtree(waiting, ignore_errors=True)
        raise DownloadError(f"{target}: is already there; delete it to download anew, or name another folder")
    files = [fetch(file, waiting, timeout_s=timeout_s) for file in about["files"]]
    with whole(target) as part:
        part.mkdir(parents=True)
        for file in files:
            _place(file, part)
        record = {"name": name, "licence": about["licence"], "date": date.today().isoformat(), "files": _measured(files, about)}
        write_text(part / RECORD, json.dumps(record, indent=1))
    shutil.rmtree(waiting)
    return target


def fetch(file: dict, folder: Path, *, timeout_s: float) -> Path:
    """One file of a card (`url`, and `bytes`, `md5`, `sha256` where known), checked; not fetched again if it is there.

    Only the address's own host is asked, and the `hosts` that the card says it may send on to. Raises DownloadError for a
    refusal, a stall, a file cut short or without end, another size or content than the card says, a redirect elsewhere, and for
    an address, also one that the server leads to, that is not encrypted. The server has no say in the file's name.
    """
    import pooch
    import requests

    name = file.get("name") or file["url"].split("?")[0].rsplit("/", 1)[-1]
    if Path(name).name != name or name in ("", "..") or "\\" in name:
        raise DownloadError(f"{file['url']}: {name!r} is no name of a file; give the file a name in the card")
    refuse_open(file["url"])
    known = next((f"{kind}:{file[kind]}" for kind in ("sha256", "md5") if kind in file), None)
    source = pooch.create(folder, base_url="", registry={name: known}, urls={name: file["url"]}, retry_if_failed=TRIES_MORE)
    pooch.get_logger().setLevel("ERROR")
    try:
        path = Path(source.fetch(name, downloader=partial(_stream, file=file, timeout_s=timeout_s)))
    except (ValueError, requests.exceptions.RequestException) as error:
        raise DownloadError(f"{file['url']}: {_why(error, timeout_s)}; run it again, or put the file into {folder}") from error
    if path.stat().st_size != file.get("bytes", path.stat().st_size):
        found = path.stat().st_size
        path.unlink()
        raise DownloadError(
            f"{file['url']}: has {found} bytes instead of {file['bytes']}: it was changed or cut short; run it again"
        )
    return path


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip or tar archive into `folder`; no member may leave it, be a link or a device, or swell the whole.

    Raises DownloadError naming the member.
    """
    limit = MOST_UNPACKED * archive.stat().st_size
    try:
        (_unzip if archive.suffix == ".zip" else _untar)(archive, folder, limit)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise DownloadError(f"{archive.name}: cannot be unpacked ({' '.join(str(error).split())})") from error


def refuse_open(url: str) -> None:
    """Raises DownloadError for an address that anybody on the way could answer in the server's place."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise DownloadError(f"{url}: is not encrypted (https), so the file could be exchanged on the way; not fetched")


def _stream(url: str, output: str, _, *, file: dict, timeout_s: float) -> None:
    """Writes what a server sends, as long as it may be this file."""
    import requests
    from tqdm.auto import tqdm

    stay = {"response": partial(_refuse_elsewhere, file)}
    with requests.get(url, stream=True, timeout=timeout_s, hooks=stay) as answer, open(output, "wb") as handle:
        answer.raise_for_status()
        told = int(answer.headers.get("Content-Length") or 0)
        most, n = file.get("bytes") or told or MOST_UNTOLD, 0
        with tqdm(total=told or None, unit="B", unit_scale=True, leave=False) as bar:
            for chunk in answer.iter_content(CHUNK):
                n += handle.write(chunk)
                bar.update(len(chunk))
                if n > most:
                    raise DownloadError(f"sends more than the {most} bytes that are expected")


def _place(file: Path, folder: Path) -> None:
    if not file.name.endswith(UNPACKS):
        shutil.copyfile(file, folder / file.name)
        return
    try:
        unpack(file, folder)
    except DownloadError:
        file.unlink()  # or the next try would stumble over it again
        raise


def _refuse_elsewhere(file: dict, response, **_) -> None:
    """Raises DownloadError for a redirect to a host that the card does not name, or to one that is not encrypted."""
    if not response.is_redirect:
        return
    target = urljoin(response.url, response.headers["location"])
    asked, sent = urlsplit(file["url"]), urlsplit(target)
    if sent.hostname not in (asked.hostname, *file.get("hosts", ())):
        raise DownloadError(f"the server sends on to {target}, a host that the card does not name; not followed")
    refuse_open(target)


def _measured(files: list[Path], about: dict) -> list[dict]:
    urls = (file["url"] for file in about["files"])
    return [{"url": url, "bytes": f.stat().st_size, "sha256": sha256(f)} for url, f in zip(urls, files, strict=True)]


def _why(error: Exception, timeout_s: float) -> str:
    import requests

    if isinstance(error, DownloadError):
        return str(error)
    if isinstance(error, requests.exceptions.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"the server sent nothing for {timeout_s:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off before the end"
    if isinstance(error, requests.exceptions.RequestException):
        return f"cannot be reached ({type(error).__name__})"
    return "the checksum is not the one in the card: it was changed or damaged on the way"


def _unzip(archive: Path, folder: Path, limit: int) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _refuse_bomb(archive, sum(m.file_size for m in members), limit)
        for member in members:
            if stat.S_ISLNK(member.external_attr >> 16) or not _inside(folder, member.filename):
                raise DownloadError(f"{archive.name}: member {member.filename!r} is a link or leaves the folder; not unpacked")
        file.extractall(folder)


def _untar(archive: Path, folder: Path, limit: int) -> None:
    total = 0

    def check(member, path):
        nonlocal total
        total += member.size
        _refuse_bomb(archive, total, limit)
        if not (member.isfile() or member.isdir()) or not _inside(folder, member.name):
            raise DownloadError(f"{archive.name}: member {member.name!r} is a link, a device or leaves the folder; not unpacked")
        return tarfile.data_filter(member, path)

    with tarfile.open(archive) as file:
        file.extractall(folder, filter=check)


def _inside(folder: Path, name: str) -> bool:
    return (folder / name.replace("\\", "/")).resolve().is_relative_to(folder.resolve())


def _refuse_bomb(archive: Path, total: int, limit: int) -> None:
    if total > limit:
        raise DownloadError(f"{archive.name}: would swell to {total} bytes or more, the limit is {limit}; not unpacked")
