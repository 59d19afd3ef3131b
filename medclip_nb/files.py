"""Files: written so that nobody ever reads half of one, and hashed by content."""

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

SETTLED_S = 2.0  # a file this old does not change without its time of change changing
PART = ".part"  # how folders end that something is still being written in
REMEDY = "free some space, or choose another folder (-o, or MEDCLIP_NB_HOME=FOLDER)"
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is full",
    errno.EFBIG: "files may not become that large here",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.EIO: "the disk fails",
}
DAY_S = 86_400.0
_HOST = socket.gethostname()
_HASHES: dict[tuple, str] = {}


class WriteError(OSError):
    """A file that could not be written; the message is one line: what, why, and what to do."""


@contextmanager
def whole(path: str | Path, *, keep: bool = False) -> Iterator[Path]:
    """A path to write a file or a folder to; it takes `path`'s place when the block ends well.

    Whatever goes wrong in between, an interrupt or a second process included, `path` holds the old content or the new; a folder
    that is replaced may be missing if the process is killed in that very moment. With `keep` a folder that somebody else has put
    there meanwhile stays: for content that is the same whoever writes it. What killed processes left beside `path` is deleted.
    Raises WriteError if the disk is full or cannot be written to.
    """
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        aside = Path(tempfile.mkdtemp(prefix=f".{_HOST}-{os.getpid()}-", suffix=PART, dir=path.parent))
        try:
            yield aside / path.name
            _put(aside / path.name, path, keep=keep)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _put(new: Path, path: Path, *, keep: bool) -> None:
    try:
        if new.is_dir() and not keep:
            _put_folder(new, path)
        else:
            new.replace(path)
    except OSError:
        if not (keep and path.is_dir()):
            raise


def _put_folder(new: Path, path: Path) -> None:
    """A folder cannot be renamed onto another: the old one goes aside first, and comes back if the new one does not get there."""
    old = Path(tempfile.mkdtemp(dir=new.parent)) / path.name
    try:
        with suppress(FileNotFoundError):
            path.rename(old)
        new.rename(path)
    except BaseException as error:
        if old.exists() and not path.exists():
            old.rename(path)
        if getattr(error, "errno", None) not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _put_folder(new, path)  # another process was faster; the last one wins


@lru_cache(maxsize=1000)  # once in a process
def sweep(folder: Path) -> None:
    """Deletes what killed processes of this machine left in a folder, and what is a day old from any machine."""
    for part in folder.glob(f".*{PART}"):
        owner = re.fullmatch(r"\.(.+)-(\d+)-\w+", part.name.removesuffix(PART))
        if owner and (_is_dead(int(owner[2])) if owner[1] == _HOST else _is_old(part)):
            shutil.rmtree(part, ignore_errors=True)


def _is_dead(pid: int) -> bool:
    import psutil

    return not psutil.pid_exists(pid)


def _is_old(part: Path) -> bool:
    return part.exists() and time.time() - part.stat().st_mtime > DAY_S


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Errors of the disk, by whatever library they are told, become WriteError with a path and what to do."""
    try:
        yield
    except Exception as error:
        about = Path(str(getattr(error, "filename", None) or path))
        near = about.is_relative_to(Path(path).parent) or Path(path).is_relative_to(about)  # else something could not be read
        if isinstance(error, WriteError) or not near or not (why := _why(error)):
            raise
        raise WriteError(f"{path}: cannot be written: {why}; {REMEDY}") from error


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None) or next(iter(re.findall(r"os error (\d+)", str(error))), 0)  # safetensors is Rust
    return DISK_ERRORS.get(int(number), "")


@contextmanager
def held(lock: str | Path, busy: Callable[[], str]) -> Iterator[None]:
    """Inside, no other process holds this lock file. Raises ValueError, with what `busy` says, if one does.

    The operating system frees the lock of a process that has died, however it died.
    """
    from filelock import FileLock, Timeout  # torch needs it

    with explained(lock):
        Path(lock).parent.mkdir(parents=True, exist_ok=True)
        try:
            own = FileLock(lock, timeout=0).acquire()
        except Timeout:
            raise ValueError(busy()) from None
    with own:
        yield


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text file whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def read_json(path: str | Path) -> dict:
    """A JSON file that holds an object. Raises ValueError naming the file."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON ({error}); restore the file") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds a {type(found).__name__}, not an object; restore the file")
    return found


def one_line(text: str) -> str:
    """A text in one line, in which what a terminal would obey (control and direction characters) is spelt out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


def sha256(path: str | Path) -> str:
    """Hash of a file's content, or of a folder's: of the names and hashes of all files in it, in order of name.

    A file that has kept its size and its time of change since it was last hashed in this process is not read again.
    """
    about = os.stat(path)
    if stat.S_ISDIR(about.st_mode):
        inside = sorted(p for p in Path(path).rglob("*") if p.is_file() and "/." not in f"/{p.relative_to(path).as_posix()}")
        lines = "".join(f"{p.relative_to(path).as_posix()} {sha256(p)}\n" for p in inside)
        return hashlib.sha256(lines.encode()).hexdigest()
    key = (str(path), about.st_ino, about.st_size, about.st_mtime_ns)
    if key not in _HASHES:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time() - about.st_mtime < SETTLED_S:  # it may change again within the clock's tick
            return found
        _HASHES[key] = found
    return _HASHES[key]
