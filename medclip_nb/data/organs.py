"""Organs as units: what is left of a study when one looks at one organ at a time (CT-GLIP: Lin et al., arXiv 2404.15272).

Two forms. `crops` (ours): the box around each organ, brought to one size, to be encoded one by one. `label_maps`: which organ
each voxel belongs to, to pool one feature map of the whole volume, as in the paper. An organ that is not labelled, empty, tiny,
cut by the image's border, or plainly not where its mask says is left out and counted.
"""

import hashlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Real, UInt8
from scipy.ndimage import find_objects

from ..config import CROP_SIZES, LARGE_ORGANS, MIN_ORGAN_VOXELS
from ..files import sha256
from . import cache
from .catalog import Dataset
from .class_lists import list_beside
from .manifest import ManifestError
from .preprocessing import Preprocessing, cache_name, to_geometry, to_window
from .readers import Image, ImageError, in_space, read_image, read_mask, reorient
from .totalsegmentator import OrganLabels, read_organs

STATES = ("used", "no mask", "not labelled", "empty", "small", "cut", "misplaced")
MARGIN_MM = 6.0  # around an organ's box; at least one voxel
# median HU that an organ can have: outside of it the mask lies beside its organ
POSSIBLE_HU = {"lung_left": (-1000, -300), "lung_right": (-1000, -300), "trachea": (-1050, -300), "stomach": (-950, 300)}
POSSIBLE_OTHERWISE_HU = (-60, 450)
VERSION = 1  # of what is kept on disk: raise it when crops or states would become others

Crop = UInt8[np.ndarray, "channel_and_share _ _ _"]  # slices, rows, columns; last channel: share inside the organ, of 255
Crops = UInt8[np.ndarray, "study _ channel_and_share _ _ _"]  # crops of some organs of each study


@dataclass(frozen=True)
class Organs:
    """The organs of each study of a dataset; row i is row i of its manifest."""

    names: tuple[str, ...]
    state: UInt8[np.ndarray, "study organ"]  # index into STATES
    crops: tuple[Crops, Crops]  # of the organs that are not large, and of those that are; see `group`
    notes: tuple[str, ...] = ()  # what the first mask gives reason to tell: classes that are no organs, another grid

    @property
    def group(self) -> Int[np.ndarray, "2 organ"]:
        """In which of the two arrays of `crops` each organ lies (1: large), and at which place of it."""
        large = np.isin(self.names, LARGE_ORGANS)
        return np.stack([large, np.where(large, np.cumsum(large), np.cumsum(~large)) - 1])

    @property
    def used(self) -> Bool[np.ndarray, "study organ"]:
        """Which organs can be used."""
        return self.state == STATES.index("used")

    def counts(self) -> pd.DataFrame:
        """Rows (organ, state, n): how many studies have each organ in each state that occurs."""
        table = pd.DataFrame(self.state, columns=list(self.names)).melt(var_name="organ", value_name="state")
        table["state"] = table["state"].map(STATES.__getitem__)
        return table.groupby(["organ", "state"], sort=False).size().rename("n").reset_index()


def load_organs(dataset: Dataset, names: tuple[str, ...]) -> Organs:
    """Crops and states of all studies; each is read once ever. A study without a mask has no organ that is used.

    Raises ManifestError if no study has a mask, and naming the row of one that does not fit its image.
    """
    contract, kinds = dataset.contract, [np.isin(names, LARGE_ORGANS) == large for large in (False, True)]
    shapes = [(int(k.sum()), contract.channels + 1, *size) for k, size in zip(kinds, CROP_SIZES, strict=True)]
    ends = np.cumsum([len(names), *(math.prod(shape) for shape in shapes)])
    nothing = np.zeros(ends[-1], np.uint8)
    nothing[: len(names)] = STATES.index("no mask")

    def make(image: Path, mask: Path) -> np.ndarray:
        whole = reorient(read_image(image, units=contract.units), "LPS")
        organs = read_organs(mask, names, like=whole, classes=dataset.mask_classes)
        crops = [np.stack(own).ravel() for own in organ_crops(whole, organs, contract) if own]
        return np.concatenate([organ_states(whole, organs), *crops])

    rows = np.stack(_each_row(dataset, make, nothing, f"crops-{names}-{LARGE_ORGANS}-{CROP_SIZES}-{MIN_ORGAN_VOXELS}"))
    crops = (part.reshape(len(rows), *shape) for part, shape in zip(np.split(rows, ends, 1)[1:], shapes, strict=False))
    return Organs(names, rows[:, : len(names)], tuple(crops), _first_notes(dataset, names))


def label_maps(dataset: Dataset, names: tuple[str, ...]) -> UInt8[np.ndarray, "study slice row column"]:
    """Which organ each voxel belongs to (0 none, else 1 + index into `names`), on the grid of the contract."""
    contract = dataset.contract

    def make(image: Path, mask: Path) -> np.ndarray:
        whole = reorient(read_image(image, units=contract.units), "LPS")
        labels = read_organs(mask, names, like=whole, classes=dataset.mask_classes).labels
        labels = in_space(labels.astype(np.float32), whole.affine, "intensity")
        return to_geometry(labels, contract, labels=True).astype(np.uint8)

    return np.stack(_each_row(dataset, make, np.zeros(contract.size, np.uint8), f"labels-{names}"))


def organ_states(image: Image, organs: OrganLabels) -> UInt8[np.ndarray, " organ"]:
    """Which organs can be used, and why others cannot: index into STATES.

    "small" has fewer than MIN_ORGAN_VOXELS voxels, "cut" touches the image's border, "misplaced" has a median HU that the organ
    cannot have (only where the image is in HU).
    """
    boxes = find_objects(organs.labels, max_label=len(organs.names))
    return np.array([_state(image, organs, k, box) for k, box in enumerate(boxes)], np.uint8)


def organ_crops(image: Image, organs: OrganLabels, contract: Preprocessing) -> tuple[list[Crop], list[Crop]]:
    """The box around each organ, with a margin, brought to its size: the contract's windows, and the share of a cell inside.

    Two lists as in `Organs.crops`; zeros for an organ without a voxel. Raises ImageError for an image without spacing.
    """
    if image.spacing_mm is None:
        raise ImageError("states no spacing: an organ's margin in mm needs one")
    windows = contract.windows_hu or ((float(image.array.min()), float(image.array.max())),)
    crops: tuple[list[Crop], list[Crop]] = ([], [])
    for k, box in enumerate(find_objects(organs.labels, max_label=len(organs.names))):
        large = organs.names[k] in LARGE_ORGANS
        crop = np.zeros((len(windows) + 1, *CROP_SIZES[large]), np.uint8)
        if box is not None:
            wide = with_margin(box, image.array.shape, image.spacing_mm)
            hu = resample(image.array[wide], CROP_SIZES[large])
            inside = resample(organs.labels[wide] == k + 1, CROP_SIZES[large])
            crop[:] = [*(to_window(hu, low, high) for low, high in windows), to_window(inside, 0.0, 1.0)]
        crops[large].append(crop)
    return crops


def lesion_crop(
    dataset: Dataset, row: int, names: tuple[str, ...], organ: str, labels: list[int]
) -> Float[np.ndarray, "slice row column"]:
    """Share of each cell of an organ's crop that lies inside lesions with these labels; for looking, and for judging maps."""
    study = dataset.manifest.iloc[row]
    image = reorient(read_image(dataset.root / study["image"], units=dataset.contract.units), "LPS")
    organs = read_organs(dataset.root / study["mask"], names, like=image, classes=dataset.mask_classes)
    box = with_margin(find_objects(organs.labels)[names.index(organ)], image.array.shape, image.spacing_mm)
    lesions = read_mask(dataset.root / study["lesions"], like=image)
    return resample(np.isin(lesions[box], labels), CROP_SIZES[organ in LARGE_ORGANS])


def with_margin(box: tuple[slice, ...], shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> tuple[slice, ...]:
    """A box that is larger by MARGIN_MM on each side, at least one voxel, as far as the image goes."""
    wider = [max(1, round(MARGIN_MM / mm)) for mm in spacing_mm]
    return tuple(slice(max(0, s.start - n), min(end, s.stop + n)) for s, n, end in zip(box, wider, shape, strict=True))


def resample(
    array: Real[np.ndarray, "z y x"] | Bool[np.ndarray, "z y x"], size: tuple[int, int, int]
) -> Float[np.ndarray, "slice row column"]:
    """An array brought to a size, axis by axis: linear where it grows, a mean of what falls together where it shrinks."""
    by_axis = [axis_weights(old, new) for old, new in zip(array.shape, size, strict=True)]
    return np.einsum("za,yb,xc,abc->zyx", *by_axis, array.astype(np.float32), optimize=True)


def axis_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """What each old cell counts in each new one: a triangle around the new cell's middle, rows summing to 1.

    The triangle is two cells wide, of the larger of the two kinds, so that nothing is skipped where the axis shrinks.
    """
    scale = old / new
    middles = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - middles[:, None]) / max(scale, 1)
    weights = np.clip(1 - distance, 0, None).astype(np.float32)
    return weights / weights.sum(1, keepdims=True)


def _first_notes(dataset: Dataset, names: tuple[str, ...]) -> tuple[str, ...]:
    row = dataset.manifest[dataset.manifest["mask"] != ""].iloc[0]
    image = read_image(dataset.root / row["image"], units=dataset.contract.units)
    notes = read_organs(dataset.root / row["mask"], names, like=image, classes=dataset.mask_classes).notes
    return tuple(f"{row['study_id']}: {note}" for note in notes)


def _state(image: Image, organs: OrganLabels, k: int, box: tuple[slice, ...] | None) -> int:
    name = organs.names[k]
    if name not in organs.known:
        return STATES.index("not labelled")
    if box is None:
        return STATES.index("empty")
    inside = organs.labels[box] == k + 1
    low, high = POSSIBLE_HU.get(name, POSSIBLE_OTHERWISE_HU)
    if inside.sum() < MIN_ORGAN_VOXELS:
        return STATES.index("small")
    if any(s.start == 0 or s.stop == n for s, n in zip(box, image.array.shape, strict=True)):
        return STATES.index("cut")
    if image.units == "HU" and not low <= np.median(image.array[box][inside]) <= high:
        return STATES.index("misplaced")
    return STATES.index("used")


def _each_row(dataset: Dataset, make: Callable[[Path, Path], np.ndarray], nothing: np.ndarray, what: str) -> list[np.ndarray]:
    """`make` of the image and the mask of each row, kept in the cache; `nothing` where a row has no mask."""
    from tqdm.auto import tqdm

    table, root = dataset.manifest, dataset.root
    if not (table["mask"] != "").any():
        raise ManifestError(
            f"{table.attrs['name']}: column 'mask' is empty in every row, and organs need masks; run TotalSegmentator on the "
            "images and name what it wrote (a file, or a folder of files) in that column"
        )

    about = f"{what} {dataset.mask_classes} {VERSION}"

    def one(row: int) -> np.ndarray:
        image, mask = root / table["image"].iloc[row], table["mask"].iloc[row]
        if not mask:
            return nothing
        try:
            listed = list_beside(root / mask)
            files = [sha256(file) for file in (root / mask, *([listed] if listed else []))]
            name = f"{cache_name(image, dataset.contract)}-{hashlib.sha256(' '.join([*files, about]).encode()).hexdigest()[:32]}"
            return cache.fetch(name, lambda: make(image, root / mask))
        except ImageError as error:
            where = f"{table.attrs['name']}: row {table.index[row] + 2}, column 'mask'"
            raise ManifestError(f"{where}: {error}; mend the mask or leave the field empty") from None

    with ThreadPoolExecutor(cpu_count()) as pool:
        return list(tqdm(pool.map(one, range(len(table))), total=len(table), desc="organs", leave=False))
