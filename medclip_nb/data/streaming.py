"""All images of a dataset as one array: in memory while they fit, beyond that mapped from one file of the cache.

A mapped array is asked like any other: what a batch asks for is read from the disk then, and the system keeps or drops the pages.
So the memory of a training is that of its batches, whatever the dataset.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..config import IMAGES_GB
from ..files import whole
from . import cache
from .preprocessing import Preprocessing, cache_name, cached
from .readers import ImageError

BLOCK = 256  # images on their way from the cache to the one file


def preprocess_files(
    paths: list[Path], contract: Preprocessing, *, slices_first: bool = False
) -> UInt8[np.ndarray, "n channel slice row column"] | UInt8[np.ndarray, "n slice channel row column"]:
    """All files, each read once ever: the rest is cache. With `slices_first` the slice axis stands before the channels.

    More than IMAGES_GB (of 1e9 bytes) are mapped read-only from a file of the cache, written once and as large as the array.
    Raises ImageError for the first file that cannot be read, none is replaced by zeros; OSError if the disk is full.
    """
    channels, n_slices, *side = contract.channels, *contract.size
    shape = (len(paths), *((n_slices, channels) if slices_first else (channels, n_slices)), *side)
    if math.prod(shape) > IMAGES_GB * 1e9:
        out = _mapped(paths, contract, shape, slices_first)
    else:
        out = np.empty(shape, np.uint8)
        for i, image in enumerate(_images(paths, contract)):
            out[i] = image.swapaxes(0, 1) if slices_first else image
    cache.trim()
    return out


def _mapped(paths: list[Path], contract: Preprocessing, shape: tuple[int, ...], slices_first: bool) -> np.memmap:
    file = cache.folder() / f"{contract.digest()}-all" / f"{_name(paths, contract)}{'-slices' * slices_first}.npy"
    if file.exists():
        os.utime(file)  # when it was last used: `cache.trim` goes by it
    else:
        with whole(file) as part, part.open("wb") as handle:  # no writing through the map: a full disk would kill the process
            about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handle, about)
            for image in _images(paths, contract):
                handle.write((image.swapaxes(0, 1) if slices_first else image).tobytes())
    return np.load(file, mmap_mode="r")


def _name(paths: list[Path], contract: Preprocessing) -> str:
    """Hash of the contents in their order."""
    try:
        return hashlib.sha256("".join(cache_name(path, contract) for path in paths).encode()).hexdigest()[:32]
    except FileNotFoundError as error:
        raise ImageError(f"{error.filename}: no such image file") from None


def _images(paths: list[Path], contract: Preprocessing) -> Iterator[UInt8[np.ndarray, "channel slice row column"]]:
    """Each image in order; not more than a block of them waits."""
    from tqdm.auto import tqdm

    with ThreadPoolExecutor(os.cpu_count()) as pool, tqdm(total=len(paths), desc="images", delay=2, leave=False) as bar:
        for start in range(0, len(paths), BLOCK):
            for image in pool.map(lambda path: cached(path, contract), paths[start : start + BLOCK]):
                yield image
                bar.update()
