"""Files: written so that nobody ever reads half of one, and hashed by content."""

import hashlib
import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SETTLED_S = 2.0  # a file this old does not change without its time of change changing
_HASHES: dict[tuple, str] = {}


@contextmanager
def whole(path: str | Path, *, keep: bool = False) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; it takes `path`'s place when the block ends well.

    Whatever goes wrong in between, an interrupt or a second process included, `path` holds the old content or the new. With
    `keep` a folder that somebody else has put there meanwhile stays: for content that is the same whoever writes it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part-{path.name}")
    try:
        yield part
        if part.is_dir() and not keep:
            shutil.rmtree(path, ignore_errors=True)
        try:
            part.replace(path)
        except OSError:
            if not (keep and path.is_dir()):
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


@contextmanager
def held(lock: str | Path, busy: Callable[[], str]) -> Iterator[None]:
    """Inside, no other process holds this lock file. Raises ValueError, with what `busy` says, if one does.

    The operating system frees the lock of a process that has died, however it died.
    """
    from filelock import FileLock, Timeout  # torch needs it

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
        inside = sorted(p for p in Path(path).rglob("*") if p.is_file() and not p.name.startswith("."))
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
