"""The preprocessing contract: what is done to an image before a network sees it, saved beside the weights.

Its hash and the file's hash key the cache, so a changed setting can never read a stale file. Geometry is MONAI's.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ..config import CT_WINDOWS_HU, PERCENTILES
from ..files import sha256
from . import cache
from .readers import Image, ImageError, read_image, refuse_no_file
from .selfcheck import WHY, hu_state

MOST_SIDE_PX = 2**14  # of a picture before it is padded to a square: a gigabyte
CODE_VERSION = 2  # raise when the same contract would give other pixels: old cache files are then never read


@dataclass(frozen=True)
class Preprocessing:
    """What an image is turned into: uint8 `(channel, slice, row, column)` of `size`."""

    size: tuple[int, int, int]  # slices, rows, columns
    spacing_mm: tuple[float, float, float] | None = None  # of the result; None: all of the image is resized to `size`
    orientation: str = "LPS"  # where column, row and slice grow to: the radiological view
    windows_hu: tuple[tuple[float, float], ...] = ()  # one channel each; empty: one channel by percentiles
    percentiles: tuple[float, float] = PERCENTILES  # become 0 and 255 where there are no windows
    pad_hu: float = -1024.0  # of what lies outside the image; without windows it is the lower percentile
    crop_bottom: float = 0.0  # share of rows cut off below, where a publisher burnt in a footer

    @property
    def channels(self) -> int:
        """Channels of the result: one per window, or one."""
        return max(1, len(self.windows_hu))

    @property
    def units(self) -> str:
        """What images must be in: "HU" where there are windows, else any intensity."""
        return "HU" if self.windows_hu else "intensity"

    def digest(self) -> str:
        """Hash of the contract, the same on every machine."""
        return _digest(self, CODE_VERSION)

    @classmethod
    def from_dict(cls, fields: dict) -> "Preprocessing":
        """The contract behind `dataclasses.asdict(contract)`, also after a way through JSON."""
        return cls(**{key: _as_tuples(value) for key, value in fields.items()})


def ct_contract(size: tuple[int, int, int], *, field_mm: tuple[float, float, float] | None = None) -> Preprocessing:
    """Three HU windows as channels: lung, soft tissue, bone.

    With `field_mm` (slices, rows, columns together) every image is brought to the same spacing and cut or padded to that
    field; without, all of it is resized to `size`, and a pixel is then as large as the image makes it.
    """
    spacing = tuple(float(mm / n) for mm, n in zip(field_mm, size, strict=True)) if field_mm else None
    return Preprocessing(size, spacing_mm=spacing, windows_hu=CT_WINDOWS_HU)


def mr_contract(size: tuple[int, int, int], *, field_mm: tuple[float, float, float] | None = None) -> Preprocessing:
    """One channel by percentiles, since MR intensities have no unit; `field_mm` as for CT."""
    return replace(ct_contract(size, field_mm=field_mm), windows_hu=())


def picture_contract(side_px: int, *, crop_bottom: float = 0.0) -> Preprocessing:
    """A square grey picture, intensities by percentile."""
    return Preprocessing((1, side_px, side_px), crop_bottom=crop_bottom)


def preprocess(image: Image, contract: Preprocessing) -> UInt8[np.ndarray, "channel slice row column"]:
    """One image as the contract wants it.

    Raises ImageError for an image not in HU where there are HU windows, without spacing where one is wanted, or a mere line.
    """
    _refuse_misfits(image, contract)
    windows = contract.windows_hu or (_percentile_range(image, contract),)
    array = to_geometry(image, contract, pad=contract.pad_hu if contract.windows_hu else windows[0][0])
    return np.stack([to_window(array, low, high) for low, high in windows])


def to_geometry(
    image: Image, contract: Preprocessing, *, pad: float = 0.0, labels: bool = False
) -> Float[np.ndarray, "slice row column"]:
    """Orientation, spacing and size as the contract wants them; `labels` (a mask) are never mixed."""
    from monai.data import MetaTensor

    array = _without_footer(image, contract)
    turned = np.ascontiguousarray(array.transpose(2, 1, 0)[None])  # MONAI's order: channel, column, row, slice
    volume = MetaTensor(turned, affine=image.affine) if image.affine is not None else MetaTensor(turned)
    for step in geometry(image, contract, pad=pad, labels=labels):
        volume = step(volume)
    return np.ascontiguousarray(volume.numpy()[0].transpose(2, 1, 0), np.float32)


def geometry(image: Image, contract: Preprocessing, *, pad: float, labels: bool = False) -> list[Callable]:
    """The MONAI transforms that bring an image to the contract's orientation, spacing and size, in their order."""
    from monai import transforms as M

    size = contract.size[::-1]
    turn = [M.Orientation(axcodes=contract.orientation, labels=None)] if image.affine is not None else []
    if contract.spacing_mm:
        spacing = M.Spacing(pixdim=contract.spacing_mm[::-1], mode="nearest" if labels else "bilinear", padding_mode="border")
        smooth = [] if labels else [_antialias(contract)]
        return [*turn, *smooth, spacing, M.ResizeWithPadOrCrop(size, mode="constant", constant_values=pad)]
    square = [_pad_to_square] if contract.size[0] == 1 else []
    return [*turn, *square, _resize(size, labels=labels)]


def to_window(array: Float[np.ndarray, "*axes"], low: float, high: float) -> UInt8[np.ndarray, "*axes"]:
    """Values from `low` to `high` as 0 to 255; what lies outside is clipped."""
    scaled = (array - low) * (255.0 / max(high - low, 1e-6))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def cached(path: Path, contract: Preprocessing) -> UInt8[np.ndarray, "channel slice row column"]:
    """`preprocess(read_image(path))`, kept in the cache under the file's (or DICOM folder's) content and the contract."""
    refuse_no_file(path)

    def make() -> np.ndarray:
        try:
            return preprocess(read_image(path, units=contract.units), contract)
        except ImageError as error:
            raise error if str(path) in str(error) else ImageError(f"{path}: {error}") from error

    return cache.fetch(cache_name(path, contract), make)


def cache_name(path: Path, contract: Preprocessing) -> str:
    """What an image is kept under: the contract's hash and the content's. Neither can change without another name."""
    return f"{contract.digest()}/{sha256(path)[:32]}"


def with_size(contract: Preprocessing, size: tuple[int, int, int]) -> Preprocessing:
    """The same contract and the same field of view for another output size."""
    if not contract.spacing_mm:
        return replace(contract, size=size)
    spacing = tuple(mm * old / new for mm, old, new in zip(contract.spacing_mm, contract.size, size, strict=True))
    return replace(contract, size=size, spacing_mm=spacing)


def _refuse_misfits(image: Image, contract: Preprocessing) -> None:
    if contract.windows_hu and image.units != "HU":
        raise ImageError(f"the contract has HU windows, the image is in {image.units}")
    if contract.spacing_mm and (image.spacing_mm is None or image.affine is None):
        raise ImageError(f"the contract wants a spacing of {contract.spacing_mm} mm, the file states none")
    short, long = sorted(image.array.shape[1:])
    if contract.size[0] == 1 and (long > short * max(contract.size) or long > MOST_SIDE_PX):
        raise ImageError(f"a picture of {short} x {long} pixels is no more than a line in a square; cut out what matters")
    if contract.windows_hu and (state := hu_state(image.array)) in WHY:
        raise ImageError(f"holds {WHY[state]}")


def _without_footer(image: Image, contract: Preprocessing) -> Float[np.ndarray, "slice row column"]:
    return image.array[:, : max(1, round(image.array.shape[1] * (1 - contract.crop_bottom)))]


@lru_cache
def _digest(contract: Preprocessing, version: int) -> str:
    return hashlib.sha256(f"{version}{json.dumps(asdict(contract), sort_keys=True)}".encode()).hexdigest()[:16]


def _percentile_range(image: Image, contract: Preprocessing) -> tuple[float, float]:
    low, high = np.percentile(_without_footer(image, contract), contract.percentiles)
    return float(low), float(high)


def _as_tuples(value):
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list) else value


def _antialias(contract: Preprocessing) -> Callable:
    """Blurs along the axes that are about to shrink, so that fine detail does not turn into false patterns."""

    def smooth(volume):
        from monai.transforms import GaussianSmooth

        now = np.linalg.norm(np.asarray(volume.affine)[:3, :3], axis=0)
        sigma = np.maximum(0, (np.array(contract.spacing_mm[::-1]) / now - 1) / 2)
        return GaussianSmooth(sigma.tolist())(volume) if (sigma > 0.25).any() else volume

    return smooth


def _pad_to_square(volume):
    from monai.transforms import SpatialPad

    side = max(volume.shape[1:3])
    return SpatialPad((side, side, -1), constant_values=float(volume.min()))(volume)


def _resize(size: tuple[int, int, int], *, labels: bool) -> Callable:
    """Area averaging where it shrinks, linear where it grows."""

    def resize(volume):
        from monai.transforms import Resize

        shrinks = all(new <= old for new, old in zip(size, volume.shape[1:], strict=True))
        how = {"mode": "nearest"} if labels else {"mode": "area"} if shrinks else {"mode": "trilinear", "align_corners": False}
        return Resize(size, **how)(volume) if volume.shape[1:] != size else volume

    return resize
