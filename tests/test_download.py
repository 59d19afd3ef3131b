"""Downloads against a server on this machine that refuses, stalls, cuts short and lies."""

import io
import json
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medclip_nb.data import catalog, download
from medclip_nb.data.download import DownloadError, get, unpack
from medclip_nb.files import sha256


class Server(BaseHTTPRequestHandler):
    """Sends `files[path]`; a word in the query says how it misbehaves."""

    files: dict[str, bytes] = {}
    seen: list[str] = []
    broken: int = 0  # requests that are still to be answered by half a file

    def do_GET(self):
        path, _, how = self.path.partition("?")
        type(self).seen.append(path)
        body = type(self).files.get(path.lstrip("/"))
        if how.startswith("to="):
            self.send_response(302)
            self.send_header("Location", how.removeprefix("to="))
            return self.end_headers()
        if body is None or how.isdigit():
            return self.send_error(int(how or 404))
        half = how in ("cut", "stall") or type(self).broken > 0
        type(self).broken -= 1
        length = {"less": len(body) // 2, "nothing": None}.get(how, len(body))
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.wfile.flush()
        if how == "stall":
            time.sleep(3)
        return None

    def log_message(self, *args):
        pass


def zipped(**members) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return packed.getvalue()


def tarred(*members: tarfile.TarInfo, mode="w:gz", fill=b"0123456789") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as file:
        for member in members:
            member.size = len(fill) if member.isfile() else 0
            file.addfile(member, io.BytesIO(fill))
    return packed.getvalue()


def member(name, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The server's address; products go to tmp_path, and nothing is tried twice."""
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    monkeypatch.setattr(download, "TRIES_MORE", 0)
    Server.files = {"a.zip": zipped(in__a="A" * 100, b="B"), "b.tar.gz": tarred(member("t/x")), "c.npz": b"plain" * 50}
    Server.seen, Server.broken = [], 0
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture
def offer(server, monkeypatch):
    """Makes the card of a dataset "toys" with these files on the server."""

    def make(*urls, **facts):
        files = [{"url": f"{server}/{url}"} | facts for url in urls]
        about = {"name": "toys", "how": "download", "licence": "CC0", "size": "tiny", "homepage": "http://x", "files": files}
        monkeypatch.setattr(download, "card", lambda name: about)

    return make


def refusal(**options) -> str:
    with pytest.raises(DownloadError) as caught:
        get("toys", accept_licence=True, **options)
    assert "\n" not in str(caught.value)
    assert not catalog.local_copy("toys").exists()
    return str(caught.value)


def left_over(tmp_path) -> list[str]:
    return sorted(p.name for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_archives_are_unpacked_and_everything_measured_is_recorded(offer):
    offer("a.zip", "b.tar.gz", "c.npz?nothing")
    folder = get("toys", accept_licence=True)
    assert folder == catalog.local_copy("toys")
    assert ((folder / "in/a").read_text(), (folder / "t/x").read_bytes()) == ("A" * 100, b"0123456789")
    record = json.loads((folder / "download.json").read_text())
    assert [f["bytes"] for f in record["files"]] == [len(Server.files[n]) for n in ("a.zip", "b.tar.gz", "c.npz")]
    assert record["files"][2]["sha256"] == sha256(folder / "c.npz")
    assert [p.name for p in folder.parent.iterdir()] == ["toys"]


def test_nothing_is_fetched_before_the_licence_is_accepted(offer):
    offer("a.zip")
    with pytest.raises(DownloadError, match=r"toys: licence: CC0; size: tiny; see http://x; add --accept-licence"):
        get("toys", accept_licence=False)
    assert Server.seen == []


@pytest.mark.parametrize("name", ["ct_rate", "medpix2", "torso", "folder"])
def test_a_dataset_that_is_not_given_to_programs_says_how_it_is_had(name):
    with pytest.raises(DownloadError, match=f"{name}: is (gated|local copy|embedded) and not downloaded: ."):
        get(name, accept_licence=True)


@pytest.mark.parametrize(
    ("url", "facts", "says"),
    [
        ("missing.zip", {}, "the server answers 404 Not Found"),
        ("a.zip?500", {}, "the server answers 500 Internal Server Error"),
        ("a.zip?cut", {}, "the connection broke off before the end"),
        ("a.zip", {"md5": "0" * 32}, "the checksum is not the one in the card"),
        ("a.zip", {"sha256": "0" * 64}, "the checksum is not the one in the card"),
        ("a.zip", {"bytes": 7}, "sends more than the 7 bytes that are expected"),
        ("c.npz?less", {"bytes": 250}, "has 125 bytes instead of 250"),
        ("a.zip?less", {}, "a.zip: cannot be unpacked (File is not a zip file)"),
        ("b.tar.gz?less", {}, "b.tar.gz: cannot be unpacked (Compressed file ended"),
    ],
)
def test_a_bad_server_ends_in_one_line_and_leaves_nothing(offer, tmp_path, url, facts, says):
    offer(url, **facts)
    assert says in refusal()
    assert left_over(tmp_path) == []


def test_a_server_that_stalls_is_given_up_after_the_time_that_was_set(offer, tmp_path):
    offer("a.zip?stall")
    assert "the server sent nothing for 0.2 s; run it again" in refusal(timeout_s=0.2)
    assert left_over(tmp_path) == []


def test_a_host_that_is_not_there_is_one_line(offer, monkeypatch):
    offer("a.zip")
    download.card("toys")["files"][0]["url"] = "http://127.0.0.1:9/a.zip"
    assert "cannot be reached (ConnectionError)" in refusal()


ELSEWHERE = ("http://evil.invalid/a.zip", "//evil.invalid/a.zip", "http://localhost:9/a.zip", "ftp://evil.invalid/a.zip")


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_a_server_that_sends_on_to_another_host_is_not_followed(offer, tmp_path, elsewhere):
    offer(f"a.zip?to={elsewhere}")
    assert "a host that the card does not name; not followed" in refusal()
    assert Server.seen == ["/a.zip"]
    assert left_over(tmp_path) == []


def test_a_hop_to_the_same_host_is_followed_and_the_next_one_elsewhere_is_not(offer, tmp_path):
    offer("x.zip?to=/y?to=http://evil.invalid/a.zip")
    assert "that the card does not name" in refusal()
    assert Server.seen == ["/x.zip", "/y"]
    offer("x.zip?to=/a.zip")
    assert (get("toys", accept_licence=True) / "b").exists()


def test_a_host_that_the_card_names_is_followed(offer, server):
    offer(f"a.zip?to={server.replace('127.0.0.1', 'localhost')}/a.zip", hosts=["localhost"])
    assert (get("toys", accept_licence=True) / "b").exists()


def test_nobody_is_sent_from_https_to_http():
    from types import SimpleNamespace

    sent = SimpleNamespace(is_redirect=True, url="https://x.org/a", headers={"location": "http://x.org/a"})
    with pytest.raises(DownloadError, match="http://x.org.* is not encrypted"):
        download._refuse_elsewhere({"url": "https://x.org/a"}, sent)


def test_a_broken_connection_is_tried_again(offer, monkeypatch):
    monkeypatch.setattr(download, "TRIES_MORE", 1)
    offer("a.zip")
    Server.broken = 1
    assert (get("toys", accept_licence=True) / "b").read_text() == "B"
    assert Server.seen == ["/a.zip", "/a.zip"]


def test_what_arrived_whole_is_not_fetched_again(offer, tmp_path):
    offer("a.zip", "c.npz?cut")
    assert "c.npz" in refusal()
    assert left_over(tmp_path) == ["a.zip"]
    offer("a.zip", "c.npz")
    assert (get("toys", accept_licence=True) / "c.npz").exists()
    assert Server.seen == ["/a.zip", "/c.npz", "/c.npz"]


def test_a_file_that_waits_but_is_not_the_one_in_the_card_is_fetched_again(offer, tmp_path):
    import hashlib

    waiting = tmp_path / "artifacts" / "datasets" / "toys.download"
    waiting.mkdir(parents=True)
    (waiting / "a.zip").write_bytes(b"half")
    offer("a.zip", md5=hashlib.md5(Server.files["a.zip"]).hexdigest())
    assert (get("toys", accept_licence=True) / "b").exists()


def test_a_folder_that_holds_something_is_never_replaced(offer, tmp_path):
    offer("a.zip")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("ten years")
    with pytest.raises(DownloadError, match="mine: is already there; delete it"):
        get("toys", accept_licence=True, folder=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "ten years"
    (tmp_path / "mine" / "thesis.txt").unlink()
    assert (get("toys", accept_licence=True, folder=tmp_path / "mine") / "b").exists()


def symlink_zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    return packed.getvalue()


HOSTILE = {
    "up.zip": zipped(**{"..__out": "x"}),
    "absolute.zip": zipped(**{"/tmp/out": "x"}),
    "windows.zip": zipped(**{"..\\out": "x"}),
    "link.zip": symlink_zip(),
    "bomb.zip": zipped(a=b"0" * 10_000_000),
    "up.tar": tarred(member("../out"), mode="w"),
    "absolute.tar.gz": tarred(member("/tmp/out")),
    "link.tar.gz": tarred(member("l", type=tarfile.SYMTYPE, linkname="/etc"), member("l/out")),
    "hard.tar.gz": tarred(member("l", type=tarfile.LNKTYPE, linkname="../out")),
    "device.tar.gz": tarred(member("dev", type=tarfile.CHRTYPE)),
    "bomb.tgz": tarred(member("a"), fill=b"0" * 10_000_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_member_of_an_archive_leaves_the_folder_links_or_swells(tmp_path, name):
    (tmp_path / name).write_bytes(HOSTILE[name])
    (tmp_path / "into").mkdir()
    with pytest.raises(DownloadError, match="not unpacked") as caught:
        unpack(tmp_path / name, tmp_path / "into")
    assert str(caught.value).startswith(f"{name}: ")
    assert [p.name for p in tmp_path.rglob("out")] == []
    assert list((tmp_path / "into").iterdir()) == []
