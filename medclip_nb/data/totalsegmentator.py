"""Organ masks, TotalSegmentator's above all: which voxels belong to which organ that a report speaks of.

A mask without names is not guessed at: TotalSegmentator's versions 1 and 2 number their classes differently.
"""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Integer, UInt8

from .class_lists import ADDED, HIGHEST, ORGAN_CLASSES, class_files, class_numbers
from .readers import NIFTI, Image, ImageError, in_space, read_image, read_mask
from .selfcheck import swapped_sides

PHANTOM_ORGANS = tuple(ORGAN_CLASSES)[:12]
SHOWN = 8  # labels listed in a note
BORDERS = (("lower", "upper"), ("front", "back"), ("right", "left"))  # of the LPS view, by axis
GRID_NOTES = {
    "other": "on another grid than the image: each voxel of the image took the nearest label",
    "unstated": "mask or image does not say where it lies: taken for one grid because the shapes are equal",
}

Labels = Integer[np.ndarray, "slice row column"]


class OrganLabels(NamedTuple):
    """Which voxel belongs to which of the organs asked for."""

    labels: UInt8[np.ndarray, "slice row column"]  # 0 nothing, else 1 + index into names; LPS view; the image's grid if given
    names: tuple[str, ...]
    known: frozenset[str]  # organs that the masks have a class for, be it empty; the others are "not labelled"
    notes: tuple[str, ...]  # what a user should be told


def read_organs(
    path: str | Path,
    names: tuple[str, ...] = PHANTOM_ORGANS,
    *,
    like: Image | None = None,
    classes: dict[str, int] | None = None,
) -> OrganLabels:
    """Reads organs of ORGAN_CLASSES from one NIfTI of many labels, or from a folder with a NIfTI per class ("liver.nii.gz").

    The classes of a file of many labels are, in this order: `classes` (name to number), the label table in its header (which
    TotalSegmentator writes), or classes.json or class_map.json beside it or one folder up: {"1": "spleen"}, {"spleen": 1}, or
    one such table per task ({"total": ...}), of which the one that has all labels of the file is taken. In a folder, where two
    organs overlap, the one that comes first in `names` keeps the voxels. With `like`, labels come on the grid of that image
    as `read_mask` does it.

    Raises ValueError for names that are no organs, and ImageError for masks that cannot be read, lie outside their image,
    have no names, or have a list of classes that is broken or ambiguous.
    """
    if not names or len(set(names)) < len(names) or not set(names) <= set(ORGAN_CLASSES):
        raise ValueError(f"names {names}: ask for one or more organs, each once, of {', '.join(ORGAN_CLASSES)}")
    path, grid = Path(path), None if like is None else _grid_of(like)
    if not path.is_dir():
        return _read_file(path, names, like=grid, classes=classes)
    if classes is not None:
        raise ImageError(f"{path}: `classes` numbers the labels of one file; in a folder the file names are the classes")
    return _read_folder(path, names, like=grid)


def coverage(labels: OrganLabels, spacing_mm: tuple[float, float, float]) -> pd.DataFrame:
    """One row per organ asked for: organ, state, voxels, millilitres, and the borders of the image that it touches.

    `state` is "labelled", "empty" (has a class, has no voxel) or "not labelled" (sizes are missing values). `touches` lists
    lower, upper, front, back, right and left (of the patient); an organ that touches one may be cut. Raises ValueError for a
    spacing that is not positive.
    """
    if not all(np.isfinite(mm) and mm > 0 for mm in spacing_mm):
        raise ValueError(f"spacing_mm {spacing_mm}: give three positive numbers of mm (slice, row, column)")
    counts, numbers = _counts(labels.labels), range(1, len(labels.names) + 1)
    voxels = pd.Series([counts.get(k, 0) for k in numbers], dtype="Int64")
    is_known = pd.Series([name in labels.known for name in labels.names])
    faces = {
        border: set(np.unique(labels.labels.take(end, axis=axis)).tolist())
        for axis, pair in enumerate(BORDERS)
        for border, end in zip(pair, (0, -1), strict=True)
    }
    return pd.DataFrame(
        {
            "organ": labels.names,
            "state": np.where(is_known, np.where(voxels > 0, "labelled", "empty"), "not labelled"),
            "voxels": voxels.where(is_known),
            "millilitres": voxels.astype(float).where(is_known) * np.prod(spacing_mm) / 1000,
            "touches": [", ".join(b for b, on in faces.items() if k in on) for k in numbers],
        }
    )


def _read_file(path: Path, names: tuple[str, ...], *, like: Image | None, classes: dict[str, int] | None) -> OrganLabels:
    if path.is_file() and not path.name.lower().endswith(NIFTI):
        raise ImageError(f"{path}: organ masks are read from NIfTI ({', '.join(NIFTI)}); convert it")
    labels, there, relation = _on_grid(path, like)
    numbers = class_numbers(path, set(there), classes)
    members = _members(names, numbers)
    organ_of = {numbers[c]: k for k, name in enumerate(names, start=1) for c in members.get(name, ())}
    organs = _relabelled(labels, organ_of)
    had = {name: sum(there.get(numbers[c], 0) for c in parts) for name, parts in members.items()}
    unnamed = {label: n for label, n in there.items() if label not in set(numbers.values())}
    notes = [*_unnamed_note(unnamed), *_class_notes(members, numbers), *_grid_notes({path.name: relation})]
    notes += [*_lost_notes(had, organs, names), *swapped_sides(organs, names)]
    return OrganLabels(organs, names, frozenset(members), tuple(notes))


def _read_folder(folder: Path, names: tuple[str, ...], *, like: Image | None) -> OrganLabels:
    files = class_files(folder)
    members = _members(names, files)
    first = next((files[c] for classes in members.values() for c in classes), next(iter(files.values())))
    grid = like or _grid_of(read_image(first))
    organs, relations, had, notes = np.zeros(grid.array.shape, np.uint8), {}, {}, _class_notes(members, files)
    for name, classes in members.items():
        organ, had[name] = np.zeros(organs.shape, bool), 0
        for file in (files[c] for c in classes):
            mask, n, relations[file.name] = _one_class(file, grid)
            organ |= mask
            had[name] += n
        taken = enumerate(np.bincount(organs[organ]))
        notes += [f"{name}: {n:,} of its voxels are {names[k - 1]}'s too, and left to it" for k, n in taken if k and n]
        organs[organ & (organs == 0)] = names.index(name) + 1
    elsewhere = [file for file, relation in relations.items() if relation == "other"]
    if like is None and elsewhere:
        raise ImageError(f"{folder}: {', '.join(elsewhere)}: not on the grid of {first.name}; give the image as `like`")
    notes += [*_grid_notes(relations if like else {}), *_lost_notes(had, organs, names), *swapped_sides(organs, names)]
    return OrganLabels(organs, names, frozenset(members), tuple(notes))


def _on_grid(path: Path, like: Image | None) -> tuple[Labels, dict[int, int], str]:
    """Labels on the grid of `like`, the voxels of each label in the file itself, and a key of GRID_NOTES or ""."""
    labels = read_mask(path, like=like)
    relation = "" if like is None else _relation(_grid_in(path), like)
    return labels, _counts(read_mask(path) if relation == "other" else labels), relation


def _one_class(file: Path, grid: Image) -> tuple[Bool[np.ndarray, "slice row column"], int, str]:
    labels, there, relation = _on_grid(file, grid)
    if len(there) > 1:
        raise ImageError(f"{file}: holds the labels {sorted(there)[:SHOWN]}; in a folder each file is one class, with one label")
    return labels != 0, sum(there.values()), relation


def _members(names: tuple[str, ...], found: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The classes that there are of each organ that is labelled."""
    parts = {name: tuple(c for c in ORGAN_CLASSES[name] if c in found) for name in names}
    return {name: classes for name, classes in parts.items() if set(classes) - ADDED}


def _relabelled(labels: Labels, organ_of: dict[int, int]) -> UInt8[np.ndarray, "slice row column"]:
    table = np.zeros(max(organ_of, default=0) + 2, np.uint8)  # its ends stand for all labels beyond
    table[list(organ_of)] = list(organ_of.values())
    organs = np.empty(labels.shape, np.uint8)
    for one, into in zip(labels, organs, strict=True):  # slice by slice: numpy makes the indices eight times as large
        np.take(table, one, out=into, mode="clip")
    return organs


def _counts(labels: Labels) -> dict[int, int]:
    """Voxels of each label but 0."""
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high <= HIGHEST:
        voxels = sum(np.bincount(one.ravel(), minlength=high + 1) for one in labels)
        return {int(k): int(voxels[k]) for k in np.flatnonzero(voxels) if k}
    values, voxels = np.unique(labels, return_counts=True)
    return {int(k): int(n) for k, n in zip(values, voxels, strict=True) if k}


def _grid_of(image: Image) -> Image:
    return _grid(image.array.shape, image.affine)


def _grid_in(path: Path) -> Image:
    import nibabel as nib

    file = nib.load(path)
    is_placed = file.header["sform_code"] or file.header["qform_code"]
    return _grid(file.shape[2::-1], np.asarray(file.affine, np.float64) if is_placed else None)


def _grid(shape: tuple[int, int, int], affine: Float64[np.ndarray, "4 4"] | None) -> Image:
    """An image (slice, row, column) turned to LPS, without its voxels: the zeros in it take no memory."""
    import nibabel as nib

    if affine is not None:
        turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt("LPS"))
        affine = affine @ nib.orientations.inv_ornt_aff(turn, shape[::-1])
        shape = tuple(shape[::-1][axis] for axis in np.argsort(turn[:, 0]))[::-1]
    return in_space(np.broadcast_to(np.float32(0), shape), affine, "")


def _relation(mask: Image, image: Image) -> str:
    """A key of GRID_NOTES, or "" where `read_mask` leaves the voxels as they are."""
    import nibabel as nib

    if mask.affine is None or image.affine is None:
        return "unstated"
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(image.array.shape[::-1]) - 1)
    moved = nib.affines.apply_affine(np.linalg.inv(mask.affine) @ image.affine, corners)
    return "" if mask.array.shape == image.array.shape and np.abs(moved - corners).max() < 0.5 else "other"


def _unnamed_note(unnamed: dict[int, int]) -> list[str]:
    shown = ", ".join(f"{label} ({n:,} voxels)" for label, n in list(unnamed.items())[:SHOWN])
    more = f" and {len(unnamed) - SHOWN} more" if len(unnamed) > SHOWN else ""
    return [f"labels without a name, which count as nothing: {shown}{more}"] if unnamed else []


def _class_notes(members: dict[str, tuple[str, ...]], found: Collection[str]) -> list[str]:
    lacking = {name: sorted(set(ORGAN_CLASSES[name]) - ADDED - {name, *found}) for name in members if name not in found}
    others = len(found) - sum(len(classes) for classes in members.values())
    notes = [f"{others} of {len(found)} classes belong to none of the organs asked for"] if others else []
    return notes + [f"{name}: is without {', '.join(classes)}" for name, classes in lacking.items() if classes]


def _grid_notes(relations: dict[str, str]) -> list[str]:
    files = {key: [file for file, relation in relations.items() if relation == key] for key in GRID_NOTES}
    more = {key: f" and {len(found) - 1} more files" if len(found) > 1 else "" for key, found in files.items()}
    return [f"{files[key][0]}{more[key]}: {note}" for key, note in GRID_NOTES.items() if files[key]]


def _lost_notes(had: dict[str, int], organs: Labels, names: tuple[str, ...]) -> list[str]:
    left = _counts(organs)
    lost = {name: n for name, n in had.items() if n and names.index(name) + 1 not in left}
    return [f"{name}: of the {n:,} voxels in its mask none is left" for name, n in lost.items()]
