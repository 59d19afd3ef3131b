"""Commands run in a child with a fault: killed at an operation on files, killed in mid-write, disk full, read-only, interrupted.

A job is a function of no arguments that writes below $MEDCLIP_NB_HOME. The child is a fork, so that what a test has patched
counts there, and nothing is imported again.
"""

import ctypes
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from argparse import Namespace
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from medclip_nb import cli, files

Job = Callable[[], object]
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.copyfile", "shutil.rmtree")  # audited beside open()
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def operations(act: Callable[[int], None]) -> None:
    """Calls `act` with 1, 2, ... before each operation that changes files below $MEDCLIP_NB_HOME; for the rest of the process."""
    home, n = os.environ["MEDCLIP_NB_HOME"], 0

    def hook(event: str, args: tuple) -> None:
        nonlocal n
        changes = event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITES)
        if changes and str(args[0]).startswith(home):
            n += 1
            act(n)

    sys.addaudithook(hook)


def killed_at(number: int) -> Callable[[], None]:
    """`kill -9` right before that operation."""
    return lambda: operations(lambda n: os.kill(os.getpid(), signal.SIGKILL) if n == number else None)


def interrupted_at(number: int, signum: int) -> Callable[[], None]:
    """Ctrl-C or SIGTERM right before that operation."""
    return lambda: operations(lambda n: os.kill(os.getpid(), signum) if n == number else None)


def killed_in_write(n_bytes: int) -> Callable[[], None]:
    """Killed in the middle of the write that makes a file larger than that: the kernel does it, not the program."""

    def fault() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return fault


def no_file_above(n_bytes: int) -> Callable[[], None]:
    """A write that makes a file larger fails, in the middle, as on a full disk; with EFBIG for ENOSPC."""

    def fault() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return fault


def without_rights() -> None:
    """Gives up root's right to write where rights forbid it (its capabilities, capset(2)); what it owns it still reads."""
    libc, third_version, of_this_process = ctypes.CDLL(None, use_errno=True), 0x20080522, 0
    if os.geteuid() == 0 and libc.capset((ctypes.c_uint32 * 2)(third_version, of_this_process), (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def child(job: Job, fault: Callable[[], None] = lambda: None) -> SimpleNamespace:
    """The exit code of a job in a child (minus the signal that killed it), and what it said on stderr."""
    reading, writing = os.pipe()  # a pipe has no size limit
    pid = os.fork()
    if pid == 0:
        _be_child(job, fault, writing)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as said:
        stderr = said.read()
    return SimpleNamespace(code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), stderr=stderr)


def _be_child(job: Job, fault: Callable[[], None], writing: int) -> None:
    code = 99
    try:
        sys.stdout = sys.stderr = open(writing, "w", buffering=1)  # noqa: SIM115
        files.sweep.cache_clear()
        cli.parser = lambda: SimpleNamespace(
            parse_args=lambda _: Namespace(command=lambda _: int(bool(job() and 0)), debug=False)
        )
        fault()
        sys.stdout = SimpleNamespace(write=lambda text: None, flush=lambda: None)
        code = cli.main([])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def count(job: Job) -> int:
    """How many operations on files a job does."""
    reading, writing = os.pipe()
    child(job, lambda: operations(lambda n: os.write(writing, b".")))
    os.close(writing)
    with open(reading, "rb") as dots:
        return len(dots.read())


def tree(folder: Path) -> dict[str, str]:
    """Hash of each file that is meant to be seen, by its path; locks hold nothing."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".lock")
    names = {p.relative_to(folder).as_posix(): p for p in found}
    return {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in names.items() if "/." not in f"/{name}"}


def leftovers(folder: Path) -> list[str]:
    """What unfinished writes hold; an empty folder is nothing."""
    return [str(p) for part in folder.rglob(f".*{files.PART}") for p in part.rglob("*") if p.is_file()]


@contextmanager
def mounted(folder: Path, *, free_bytes: int):
    """A file system of its own with that much room left, if we may mount one; else nothing. Yields whether it is there."""
    size = 1 << 20
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        (folder / "filler").write_bytes(bytes(max(0, size - free_bytes // 4096 * 4096)))
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def open_folder():
    """A temporary folder that nobody may enter, too; pytest's are for one user alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
