"""The preprocessing contract: what is done to an image before a network sees it, saved beside the weights.

Its hash and the file's hash key the cache, so a changed setting can never read a stale file.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ..config import CT_WINDOWS_HU, PERCENTILES, artifacts_dir
from ..files import whole
from .readers import Image, ImageError, read_image, reorient

CODE_VERSION = 1  # raise when the same contract would give other pixels: old cache files are then never read


@dataclass(frozen=True)
class Preprocessing:
    """What an image is turned into: uint8 `(channel, slice, row, column)` of `size`."""

    size: tuple[int, int, int]  # slices, rows, columns
    orientation: str = "LPS"  # where column, row and slice grow to: the radiological view
    windows_hu: tuple[tuple[float, float], ...] = ()  # one channel each; empty: one channel by percentiles
    percentiles: tuple[float, float] = PERCENTILES  # become 0 and 255 where there are no windows
    crop_bottom: float = 0.0  # share of rows cut off below, where a publisher burnt in a footer

    @property
    def channels(self) -> int:
        """Channels of the result: one per window, or one."""
        return max(1, len(self.windows_hu))

    def digest(self) -> str:
        """Hash of the contract, the same on every machine."""
        return hashlib.sha256(f"{CODE_VERSION}{json.dumps(asdict(self), sort_keys=True)}".encode()).hexdigest()[:16]

    def save(self, path: str | Path) -> None:
        """Writes the contract as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, path: str | Path) -> "Preprocessing":
        """The contract that `save` wrote."""
        raw = json.loads(Path(path).read_text())
        pairs = tuple((float(low), float(high)) for low, high in raw.pop("windows_hu"))
        tuples = {key: tuple(raw.pop(key)) for key in ("size", "percentiles")}
        return cls(windows_hu=pairs, **tuples, **raw)


def ct_contract(size: tuple[int, int, int]) -> Preprocessing:
    """Three HU windows as channels: lung, soft tissue, bone."""
    return Preprocessing(size, windows_hu=CT_WINDOWS_HU)


def picture_contract(side_px: int, *, crop_bottom: float = 0.0) -> Preprocessing:
    """A square grey picture, intensities by percentile."""
    return Preprocessing((1, side_px, side_px), crop_bottom=crop_bottom)


def preprocess(image: Image, contract: Preprocessing) -> UInt8[np.ndarray, "channel slice row column"]:
    """One image as the contract wants it. Raises ImageError where HU windows meet an image that is not in HU."""
    if contract.windows_hu and image.units != "HU":
        raise ImageError(f"the contract has HU windows, the image is in {image.units}")
    array = reorient(image, contract.orientation).array
    array = array[:, : max(1, round(array.shape[1] * (1 - contract.crop_bottom)))]
    windows = contract.windows_hu or (_percentile_range(array, contract.percentiles),)
    if contract.size[0] == 1:
        array = _pad_to_square(array)
    array = _resize(array, contract.size)
    return np.stack([to_window(array, low, high) for low, high in windows])


def to_window(array: Float[np.ndarray, "*axes"], low: float, high: float) -> UInt8[np.ndarray, "*axes"]:
    """Values from `low` to `high` as 0 to 255; what lies outside is clipped."""
    scaled = (array - low) * (255.0 / max(high - low, 1e-6))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def preprocess_files(paths: list[Path], contract: Preprocessing, *, units: str = "intensity") -> np.ndarray:
    """All files as one uint8 array `(n, channel, slice, row, column)`, each read once ever: the rest is cache.

    Raises ImageError for the first file that cannot be read; none is replaced by zeros.
    """
    from tqdm.auto import tqdm

    out = np.empty((len(paths), contract.channels, *contract.size), np.uint8)

    def fill(i: int) -> None:
        out[i] = cached(paths[i], contract, units=units)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(fill, range(len(paths))), total=len(paths), desc="images", leave=False):
            pass
    return out


def cached(path: Path, contract: Preprocessing, *, units: str) -> UInt8[np.ndarray, "channel slice row column"]:
    """`preprocess(read_image(path))`, kept in the cache under the file's content and the contract."""
    if not path.is_file():
        raise ImageError(f"{path}: no such image file")
    key = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    file = artifacts_dir() / "cache" / contract.digest() / f"{key}-{units}.npy"
    if file.exists():
        return np.load(file)
    try:
        result = preprocess(read_image(path, units=units), contract)
    except ImageError as error:
        raise error if str(path) in str(error) else ImageError(f"{path}: {error}") from error
    with whole(file) as part, part.open("wb") as handle:
        np.save(handle, result)
    return result


def with_size(contract: Preprocessing, size: tuple[int, int, int]) -> Preprocessing:
    """The same contract for another output size."""
    return replace(contract, size=size)


def _percentile_range(array: Float[np.ndarray, "slice row column"], shares: tuple[float, float]) -> tuple[float, float]:
    low, high = np.percentile(array, shares)
    return float(low), float(high)


def _pad_to_square(array: Float[np.ndarray, "slice row column"]) -> Float[np.ndarray, "slice side side"]:
    rows, columns = array.shape[1:]
    short, side = (max(rows, columns) - np.array([rows, columns])), max(rows, columns)
    before = short // 2
    out = np.full((len(array), side, side), array.min(), array.dtype)
    out[:, before[0] : before[0] + rows, before[1] : before[1] + columns] = array
    return out


def _resize(array: Float[np.ndarray, "slice row column"], size: tuple[int, int, int]) -> np.ndarray:
    """Area averaging where it shrinks, linear where it grows."""
    import torch
    from torch.nn.functional import interpolate

    if array.shape == size:
        return array
    shrinks = all(new <= old for new, old in zip(size, array.shape, strict=True))
    kind = {"mode": "area"} if shrinks else {"mode": "trilinear", "align_corners": False}
    volume = torch.from_numpy(np.ascontiguousarray(array))[None, None]
    return interpolate(volume, size=size, **kind)[0, 0].numpy()
