"""One look at each row's image: a small record from which all later checks work, so that no image is opened twice."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

from ...config import PERCENTILES
from ...files import sha256
from ..preprocessing import to_window
from ..readers import NIFTI, PICTURES, Image, ImageError, read_image, read_mask, reorient
from ..selfcheck import hu_state
from .identifiers import identifiers, looks_lettered

PICTURE, VOLUME = (1, 32, 32), (8, 16, 16)  # sizes of thumbnails
MOST_LOOKED_AT = 100_000  # rows; opening more takes an hour and comparing them gigabytes
MAX_WORKERS = 8  # a large volume in each is the memory this takes
MIN_ORGAN_VOXELS = 20  # an organ of fewer has no mean worth comparing


@dataclass(frozen=True)
class Record:
    """What is kept of a row's image; empty where there is no file, `error` where it cannot be opened."""

    sha256: str = ""
    error: str = ""
    mask_error: str = ""
    shape: tuple[int, ...] = ()  # slices, rows, columns
    at_top: float = 0.0  # share of voxels at the largest value
    thumbnail: UInt8[np.ndarray, "slice row column"] | None = None
    hu_state: str = ""  # of CT volumes; "" for everything else
    organ_hu: dict[int, float] = field(default_factory=dict)  # label of the mask -> mean value below it
    lettered: bool = False  # a picture or DICOM slice with what looks like burnt-in text
    fields: dict[str, tuple[str, str]] = field(default_factory=dict)  # identifying DICOM fields, see `identifiers`


@dataclass(frozen=True)
class Finding:
    """Something found wrong: groups of row positions (pairs, patients, or each row by itself) with words and a remedy."""

    check: str
    severity: str  # "serious", "warning" or "note"
    groups: list[list[int]]
    what: str
    advice: str


def look(table: pd.DataFrame, skip: set[int]) -> list[Record]:
    """A record of each row, in order; rows at the positions in `skip` and rows without an image are not opened."""
    from tqdm.auto import tqdm

    root, n = Path(table.attrs["root"]), len(table)
    rows = table[["image", "mask", "modality", "patient_id", "study_id"]].to_dict("records")
    opened = [Record() if i in skip or not row["image"] else row for i, row in enumerate(rows)]
    one = lambda row: row if isinstance(row, Record) else _look_at(root, row)  # noqa: E731
    with ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1)) as pool:
        return list(tqdm(pool.map(one, opened), total=n, desc="audit", leave=False))


def _look_at(root: Path, row: dict) -> Record:
    path = root / row["image"]
    picture, ct = path.name.lower().endswith(PICTURES), row["modality"] == "CT"
    try:
        digest = sha256(path)
        stored = read_image(path, units="HU" if ct and not picture else "intensity")
    except (ImageError, OSError) as error:
        return Record(error=str(error).removeprefix(f"{path}: "))
    image, dicom = reorient(stored, "LPS"), not path.name.lower().endswith(PICTURES + NIFTI)
    means, mask_error = _organ_means(root, row, image)
    return Record(
        digest,
        mask_error=mask_error,
        shape=image.array.shape,
        at_top=float(np.mean(image.array == image.array.max())),
        thumbnail=thumbnail(image),
        hu_state=hu_state(image.array) if ct and not picture else "",
        organ_hu=means,
        lettered=(picture or dicom) and any(looks_lettered(slice) for slice in stored.array),
        fields=identifiers(path, known=(row["patient_id"], row["study_id"])) if dicom else {},
    )


def thumbnail(image: Image) -> UInt8[np.ndarray, "slice row column"]:
    """The image on 32 x 32 pixels, or 8 x 16 x 16 for a volume, from its 0.5 to its 99.5 percentile.

    Made for being compared by the thousand, so without the contract's care for mm; a picture keeps its proportions.
    """
    import torch
    from torch.nn.functional import interpolate

    array, (low, high) = image.array, np.percentile(image.array, PERCENTILES)
    if len(array) == 1:
        short = max(array.shape) - np.array(array.shape[1:])
        array = np.pad(array, ((0, 0), *((n // 2, n - n // 2) for n in short)), constant_values=array.min())
    small = interpolate(
        torch.from_numpy(np.ascontiguousarray(array))[None, None], PICTURE if len(array) == 1 else VOLUME, mode="area"
    )
    return to_window(small[0, 0].numpy(), float(low), float(high))


def _organ_means(root: Path, row: dict, image: Image) -> tuple[dict[int, float], str]:
    if not row["mask"]:
        return {}, ""
    try:
        mask = read_mask(root / row["mask"], like=image)
    except (ImageError, OSError) as error:
        return {}, str(error).removeprefix(f"{root / row['mask']}: ")
    if mask.shape != image.array.shape or mask.min() < 0:
        return {}, f"the mask is {mask.shape} with labels from {mask.min()}, the image {image.array.shape}"
    return _means(mask.ravel(), image.array.ravel()), ""


def _means(labels: np.ndarray, values: Float[np.ndarray, " voxel"]) -> dict[int, float]:
    sizes, sums = np.bincount(labels), np.bincount(labels, weights=values)
    return {int(k): float(sums[k] / sizes[k]) for k in np.flatnonzero(sizes >= MIN_ORGAN_VOXELS) if k}


def some(items: list[str], most: int = 5) -> str:
    """The first few items in words: "a, b, c and 12 more"."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def names(table: pd.DataFrame, rows: list[int]) -> str:
    """Study ids at these positions, the first few of them."""
    return some(table["study_id"].iloc[rows].tolist())


def pairs_named(table: pd.DataFrame, groups: list[list[int]]) -> str:
    """Groups of study ids: "a = b, c = d = e and 4 more"."""
    ids = table["study_id"].tolist()
    return some([" = ".join(ids[i] for i in group[:4]) + " = …" * (len(group) > 4) for group in groups])
