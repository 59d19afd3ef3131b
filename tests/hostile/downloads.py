"""Servers that refuse, lie, never end or lead elsewhere, and archives that reach out of their folder. All on this machine."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

from test_download import HOSTILE, member, tarred, zipped

from medclip_nb.data import download

from . import Kind
from .making import guarded
from .outcome import command

GOOD = zipped(a="A" * 100)
LIMIT = 10**6  # in place of download.MOST_UNTOLD
HEADERS = "HTTP/1.0 200 OK\r\n"


def answer(head: str = "", body: bytes = GOOD, *, status: str = "200 OK", length: int | None = -1) -> bytes:
    """A whole answer; a length of -1 is the true one, None says nothing."""
    told = "" if length is None else f"Content-Length: {len(body) if length == -1 else length}\r\n"
    return f"HTTP/1.0 {status}\r\n{told}{head}\r\n".encode() + body


class Server(BaseHTTPRequestHandler):
    """Sends what `answers` has for the path, the next one at each request; None is an answer that never ends."""

    answers: dict[str, list[bytes | None]] = {}

    def do_GET(self):
        queue = self.answers.get(self.path) or [answer(status="404 Not Found", body=b"")]
        sent = queue.pop(0) if len(queue) > 1 else queue[0]
        try:
            self.wfile.write(answer(length=None) if sent is None else sent)
            while sent is None:
                self.wfile.write(b"0" * 2**16)
        except OSError:
            pass  # the other side had enough

    def log_message(self, *args):
        pass


@contextmanager
def offered(answers: dict[str, list], **facts):
    """A dataset "toys" whose card names the first path of a server on this machine; `url` may name another address."""
    handler = type("Handler", (Server,), {"answers": answers})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    file = {"url": f"http://127.0.0.1:{running.server_port}{next(iter(answers))}"} | facts
    card = {"name": "toys", "how": "download", "licence": "CC0", "homepage": "http://x", "files": [file]}
    with patch.object(download, "card", lambda name: card), patch.object(download, "MOST_UNTOLD", LIMIT):
        yield
    running.shutdown()
    running.server_close()


def got(folder: Path, *, answers: dict[str, list], options: tuple = ("--accept-licence",), tries: int = 0, **facts) -> dict:
    """What `data get` leaves in its folder, by name; nothing may be there if it is refused."""
    target = folder / "got"
    try:
        with offered(answers, **facts), patch.object(download, "TRIES_MORE", tries):
            command("data", "get", "toys", "--to", target, *options)
    except Exception:
        assert not target.exists()
        raise
    return {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()}


def one(sent: bytes | None, *, path: str = "/a.zip", **facts) -> partial:
    """A server with one file."""
    return partial(got, answers={path: [sent]}, **facts)


def packed(name: str) -> partial:
    """One of the archives that want out."""
    return one(answer(body=HOSTILE[name]), path=f"/{name}")


def led(where: str) -> bytes:
    """An answer that sends elsewhere."""
    return answer(f"Location: {where}\r\n", b"", status="302 Found")


def into_a_file(folder: Path) -> object:
    """A target whose folder is a file."""
    (folder / "file").write_text("")
    with offered({"/a.zip": [answer()]}):
        return command("data", "get", "toys", "--accept-licence", "--to", folder / "file" / "got")


def timed(seconds: str) -> partial:
    """A timeout that is none."""
    return one(answer(), options=("--accept-licence", f"--timeout={seconds}"))


LZMA = zipped(a="A").replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x08", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x0e")
REFUSED = [
    ("licence not accepted", "licence: CC0; .*add --accept-licence", one(answer(), options=())),
    ("404", "the server answers 404", one(answer(status="404 Not Found"))),
    ("500", "the server answers 500", one(answer(status="500 Oops"))),
    ("connection dropped in the middle", "connection broke off before the end", one(answer(length=len(GOOD) * 2))),
    ("no answer at all", "cannot be reached|broke off", one(b"")),
    ("no HTTP", "cannot be reached", one(b"\0\1\2 whatever\r\n\r\n")),
    ("length too short, archive", "a.zip: cannot be unpacked", one(answer(length=len(GOOD) // 2))),
    ("length too short, size known", "has 50 bytes instead of 100",
     one(answer(body=b"x" * 100, length=50), path="/a.npz", bytes=100)),
    ("longer than the card says", "more than the 7 bytes that are expected|instead of 7", one(answer(length=None), bytes=7)),
    ("never ends", "sends more than the 1000000 bytes that are expected", one(None)),
    ("wrong sha256", "the checksum is not the one in the card", one(answer(), sha256="0" * 64)),
    ("wrong md5", "the checksum is not the one in the card", one(answer(), md5="0" * 32)),
    ("http in the card", "is not encrypted", one(answer(), url="http://datasets.invalid/a.zip")),
    ("file address in the card", "is not encrypted", one(answer(), url="file:///etc/passwd")),
    ("led to another host without encryption", "datasets.invalid/b.zip, a host that the card does not name", one(led("http://datasets.invalid/b.zip"))),
    ("led to a file of this machine", "sends on to file:///etc/passwd, a host that the card does not name", one(led("file:///etc/passwd"))),
    ("led in a circle", "cannot be reached .TooManyRedirects", one(led("/a.zip"))),
    ("name in the card climbs", "is no name of a file", one(answer(), name="../../a.zip")),
    ("address without a name", "is no name of a file", one(answer(), path="/folder/")),
    ("timeout of nought", "a timeout of 0 s is none", timed("0")),
    ("timeout below nought", "a timeout of -1 s is none", timed("-1")),
    ("timeout not a number", "a timeout of nan s is none", timed("nan")),
    ("timeout in words", "argument --timeout: invalid float", timed("soon")),
    ("zip that is none", "a.zip: cannot be unpacked", one(answer(body=b"<html>log in first</html>"))),
    ("zip packed otherwise than it says", "a.zip: cannot be unpacked", one(answer(body=LZMA))),
    ("tar cut short", "b.tar.gz: cannot be unpacked", one(answer(body=tarred(member("x"))[:60]), path="/b.tar.gz")),
    ("tar with a pipe", "not unpacked", one(answer(body=tarred(member("x", type=b"6"), mode="w")), path="/b.tar")),
    ("target below a file", "file", into_a_file),
    ("dataset unknown", "unknown dataset 'nothing'; known", lambda f: command("data", "get", "nothing", "--accept-licence")),
    ("dataset with a path for a name", "unknown dataset '../x'", lambda f: command("data", "get", "../x", "--accept-licence")),
    ("dataset that needs a contract", "ct_rate: is gated and not downloaded", lambda f: command("data", "get", "ct_rate")),
    *((f"archive {name}", f"{name}: .* not unpacked", packed(name)) for name in HOSTILE),
]  # fmt: skip
REPAIRED = [
    ("500, then in order", "is asked for again", partial(got, answers={"/a.zip": [answer(status="500 Oops"), answer()]}, tries=1),
     lambda files: files["a"] == b"A" * 100),
    ("a path in Content-Disposition", "is not followed",
     one(answer('Content-Disposition: attachment; filename="../../evil"\r\n')),
     lambda files: set(files) == {"a", "download.json"}),
    ("led to another place on the way", "is followed", partial(got, answers={"/a.zip": [led("/b.zip")], "/b.zip": [answer()]}),
     lambda files: files["a"] == b"A" * 100),
]  # fmt: skip
KINDS = [Kind("download", name, expect, guarded(act)) for name, expect, act in REFUSED]
KINDS += [Kind("download", name, expect, guarded(act), ask) for name, expect, act, ask in REPAIRED]
