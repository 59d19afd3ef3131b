"""Arrays that were costly to make, kept as files: safe against two processes and a kill, bounded in size."""

import json
import math
import os
import time
from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np

from ..config import artifacts_dir, cache_bytes
from ..files import whole

LEVEL = 6  # of LZ4: a first reading costs some ms more, each later one is smaller and faster


def folder() -> Path:
    """Where everything lies that can be made again: images, captions, text features."""
    return artifacts_dir() / "cache"


def fetch(name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array kept under `name`, read-only; made by `make` and kept if there is none or its file is damaged."""
    file = file_of(name)
    try:
        with file.open("rb") as handle, mmap(handle.fileno(), 0, access=ACCESS_READ) as raw:
            array = _unpack(raw)
        os.utime(file)  # when it was last used: `trim` goes by it
        return array
    except (OSError, ValueError, KeyError, TypeError):  # none there, or whatever half a file may look like
        array = make()
    with whole(file) as part:
        part.write_bytes(_pack(array))
    return array


def file_of(name: str) -> Path:
    """Where the array of that name is kept: a line of JSON with its type and shape, then its bytes under LZ4."""
    return folder() / f"{name}.lz4"


def size() -> tuple[int, int]:
    """Number of files in the cache and their bytes."""
    stats = [about for _, about in _files()]
    return len(stats), sum(about.st_size for about in stats)


def clear() -> int:
    """Empties the cache; gives the bytes freed. What is needed again is made again."""
    return trim(0, since=float("inf"))


def trim(max_bytes: int | None = None, *, since: float | None = None) -> int:
    """Deletes the files that were not used for longest until `max_bytes` (None: `cache_bytes`) are left; gives the bytes freed.

    Files used after `since` (seconds of the epoch; None is now minus an hour) stay, so that a run does not eat its own data.
    """
    max_bytes, since = cache_bytes() if max_bytes is None else max_bytes, time.time() - 3600 if since is None else since
    files = sorted(_files(), key=lambda pair: pair[1].st_mtime)
    excess, freed = sum(about.st_size for _, about in files) - max_bytes, 0
    for file, about in files:
        if freed >= excess or about.st_mtime > since:
            break
        file.unlink(missing_ok=True)  # another process may have been first
        freed += about.st_size
    return freed


def _files() -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in folder().rglob("*"):
        try:
            about = path.stat()
        except FileNotFoundError:
            continue
        found += [(path, about)] if path.is_file() else []
    return found


def _pack(array: np.ndarray) -> bytes:
    import pyarrow as pa

    about = json.dumps({"dtype": array.dtype.str, "shape": array.shape})
    return (
        about.encode()
        + b"\n"
        + pa.Codec("lz4", compression_level=LEVEL).compress(np.ascontiguousarray(array).tobytes(), asbytes=True)
    )


def _unpack(raw: mmap) -> np.ndarray:
    import pyarrow as pa

    end = raw.find(b"\n")
    about = json.loads(raw[:end])
    dtype = np.dtype(about["dtype"])
    n_bytes = math.prod(about["shape"]) * dtype.itemsize
    with memoryview(raw) as view, view[end + 1 :] as packed:
        values = pa.Codec("lz4").decompress(packed, n_bytes)
    return np.frombuffer(values, dtype).reshape(about["shape"])
