"""Organ masks that lie elsewhere, speak of something else, or are no masks."""

import json
from pathlib import Path

import nibabel
import numpy as np

from medclip_nb.data.readers import read_image, read_mask
from medclip_nb.data.totalsegmentator import read_organs

from . import Kind
from .make import content, cut, picture
from .outcome import command

GRID = np.diag([-1.5, -1.5, 3.0, 1.0])
SHAPE = (40, 40, 20)
SPLEEN, LIVER = np.zeros((2, *SHAPE), bool)
SPLEEN[22:34, 8:20, 4:12] = LIVER[6:18, 8:20, 4:12] = True  # column grows to the patient's left
LABELS = SPLEEN + 5 * LIVER.astype(np.int16)
RGB = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
COLOURS = np.zeros((4, 4, 3), np.uint8)
ORGANS = ("liver", "spleen")
TURN = np.array([[0, -1.0, 0, 39], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # (slice, mirrored column, row) to GRID's indices
MIRRORED = GRID @ nibabel.affines.from_matvec(np.diag([-1.0, 1, 1]), [39, 0, 0])
SHEARED = GRID + np.array([[0, 0.5, 0, 0]] + [[0] * 4] * 3)
AIR = np.zeros(SHAPE, np.int16)
AIR[1:4, 3:30, 3:17] = 5


def write(folder: Path, labels: np.ndarray = LABELS, affine: np.ndarray | None = GRID, name: str = "m.nii.gz") -> Path:
    """A mask; without an affine it does not say where it lies."""
    file = nibabel.Nifti1Image(labels.astype(np.int16) if labels.dtype == bool else labels, affine)
    if affine is None:
        file.set_sform(None, code=0)
        file.set_qform(None, code=0)
    nibabel.save(file, folder / name)
    return folder / name


def ct(folder: Path) -> Path:
    """A CT of soft tissue in which both organs lie, and the names of the labels beside it."""
    body = np.full(SHAPE, 40, np.int16)
    body[:4] = -1000
    (folder / "classes.json").write_text(json.dumps({"1": "spleen", "5": "liver"}))
    return write(folder, body, name="ct.nii.gz")


def classes(folder: Path, **masks: np.ndarray) -> Path:
    """A folder with a file per class."""
    (folder / "seg").mkdir()
    for name, mask in masks.items():
        write(folder / "seg", mask, name=f"{name}.nii.gz")
    return folder / "seg"


def twice(folder: Path) -> Path:
    """Two files of one organ."""
    write(classes(folder, liver=LIVER), LIVER, name="liver.nii")
    return folder / "seg"


def shown(folder: Path, mask: Path) -> str:
    """What `data organs` prints of it beside the CT."""
    return command("data", "organs", ct(folder), mask)


def organs(folder: Path, mask: Path):
    """The two organs on the grid of the CT."""
    return read_organs(mask, ORGANS, like=read_image(ct(folder), units="HU"))


def unnamed(folder: Path) -> str:
    """A mask beside which nothing says what its labels are."""
    scan, mask = ct(folder), write(folder)
    (folder / "classes.json").unlink()
    return command("data", "organs", scan, mask)


def without_size(folder: Path) -> str:
    """A scan that does not say how large its voxels are: a slice without thickness."""
    from test_dicom import stored_volume, write_slice

    scan = write_slice(folder / "a.dcm", stored_volume()[0], SliceThickness=None)
    return command("data", "organs", scan, write(folder, np.ones((8, 10, 1), np.int16)))


def named(folder: Path, names: str):
    """A mask beside which these names lie."""
    content(folder, "classes.json", names.encode())
    return read_organs(write(folder))


def moved(*by: float) -> np.ndarray:
    """The grid, moved by so many voxels."""
    return GRID @ nibabel.affines.from_matvec(np.eye(3), by)


def is_labels(found) -> bool:
    """Both organs as they were made."""
    return np.array_equal(found.labels, (LIVER + 2 * SPLEEN.astype(np.uint8)).T)


WITH_NAN = np.where(LABELS == 5, np.nan, LABELS.astype(np.float32))
REFUSED = {  # by `data organs`
    "float labels": (r"m\.nii\.gz: is no mask: it holds values that are not whole numbers", lambda f: write(f, LABELS * 0.3)),
    "NaN labels": (r"m\.nii\.gz: holds \d+ voxels that are NaN", lambda f: write(f, WITH_NAN)),
    "labels too large to tell apart": (r"labels of 16,777,216 and more", lambda f: write(f, LABELS.astype(np.int32) * 2**24)),
    "4D": (r"m\.nii\.gz: has 4 axes", lambda f: write(f, np.stack([LABELS] * 2, 3))),
    "RGB": (r"m\.nii\.gz: cannot be read as NIfTI .*voxels of type", lambda f: write(f, RGB)),
    "truncated": (r"m\.nii\.gz: cannot be read as NIfTI", lambda f: cut(write(f))),
    "PNG": (r"m\.png: organ masks are read from NIfTI", lambda f: picture(f, name="m.png")),
    "not there": (r"m\.nii\.gz: no such image file", lambda f: f / "m.nii.gz"),
    "elsewhere in space": (r"only 0% of the mask lies inside its image", lambda f: write(f, affine=moved(100, 0, 0))),
    "another shape, no affine": (r"shape \(20, 40, 39\) is not the image's", lambda f: write(f, LABELS[1:], None)),
    "sheared": (r"not at right angles", lambda f: write(f, affine=SHEARED)),
    "two files of one organ": (r"liver\.nii\.gz: the class is there twice, also as liver\.nii", twice),
    "two labels in a class's file": (r"liver\.nii\.gz: holds the labels \[1, 5\]", lambda f: classes(f, liver=LABELS)),
    "NaN in a class's file": (r"liver\.nii\.gz: holds \d+ voxels that are NaN", lambda f: classes(f, liver=WITH_NAN)),
    "folder without masks": (r"seg: holds no NIfTI masks", classes),
    "truncated class's file": (r"liver\.nii\.gz: cannot be read", lambda f: cut(classes(f, liver=LIVER) / "liver.nii.gz").parent),
}
BROKEN_NAMES = {
    "names that are no JSON": (r"classes\.json: cannot be read as JSON", "{"),
    "a name twice": (r"classes\.json: entry '7': 'liver': the name or the number is there twice", '{"5": "liver", "7": "liver"}'),
}
TOLD = {  # by `data organs`: what is on the line of the organ, or in a note
    "an unknown label": ("labels without a name, which count as nothing: 9 (1,152 voxels)", LABELS + 8 * SPLEEN, GRID),
    "negative labels": ("labels without a name, which count as nothing: -1 (1,152 voxels)", np.where(SPLEEN, -1, LABELS), GRID),
    "another grid: spacing 0.1 mm more": ("on another grid than the image", LABELS, np.diag([-1.6, -1.5, 3.0, 1.0])),
    "another grid: half as fine": ("on another grid than the image", LABELS[::2], GRID @ np.diag([2.0, 1, 1, 1])),
    "another patient's shape": ("on another grid than the image", LABELS[:, :-3], GRID),
    "does not say where it lies": ("does not say where it lies: taken for one grid", LABELS, None),
    "mirrored affine": ("spleen lies to the right of liver: mask or image is mirrored", LABELS, MIRRORED),
    "beside its organs": ("misplaced", AIR, GRID),
}


def told(folder: Path, labels: np.ndarray, affine: np.ndarray | None) -> str:
    """What is said of these labels on this grid."""
    return shown(folder, write(folder, labels.astype(np.int16), affine))


KINDS = [
    *(Kind("mask", k, says, lambda f, make=make: shown(f, make(f))) for k, (says, make) in REFUSED.items()),
    *(Kind("mask", k, says, lambda f, t=text: named(f, t)) for k, (says, text) in BROKEN_NAMES.items()),
    *(
        Kind("mask", k, f"told: {says}", lambda f, n=labels, a=affine: told(f, n, a), lambda said, says=says: says in said)
        for k, (says, labels, affine) in TOLD.items()
    ),
    Kind("mask", "no names", r"m\.nii\.gz: has no names for its labels, and they are not guessed at", unnamed),
    Kind("mask", "scan without size of voxels", r"a\.dcm: states no size of its voxels", without_size),
    Kind("mask", "JPEG", r"m\.jpg: JPEG in mode L holds no labels", lambda f: read_mask(picture(f, name="m.jpg"))),
    Kind("mask", "colour PNG", r"m\.png: PNG in mode RGB holds no labels", lambda f: read_mask(picture(f, COLOURS, "m.png"))),
    Kind(
        "mask",
        "empty",
        "told: both organs are empty, none can be used",
        lambda f: shown(f, write(f, LABELS * 0)),
        lambda said: sum(line.split()[1] == "empty" for line in said.splitlines() if line.startswith(ORGANS)) == 2,
    ),
    Kind("mask", "4D with one volume", "its volume", lambda f: organs(f, write(f, LABELS[..., None])), is_labels),
    Kind("mask", "whole numbers as float", "the same labels", lambda f: organs(f, write(f, LABELS.astype(float))), is_labels),
    Kind(
        "mask",
        "axes turned and mirrored, affine too",
        "each voxel where it lies in space",
        lambda f: organs(f, write(f, LABELS[::-1].transpose(2, 0, 1), GRID @ TURN)),
        is_labels,
    ),
    Kind(
        "mask",
        "label 255 stored as -1 in a class's file",
        "the organ",
        lambda f: organs(f, classes(f, liver=-1 * LIVER.astype(np.int16), spleen=SPLEEN)),
        is_labels,
    ),
    Kind(
        "mask",
        "organs overlap",
        "the first asked for keeps the voxels, and it is told",
        lambda f: organs(f, classes(f, liver=LIVER, spleen=SPLEEN | LIVER)),
        lambda found: is_labels(found) and "spleen: 1,152 of its voxels are liver's too, and left to it" in found.notes,
    ),
]
