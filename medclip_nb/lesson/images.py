"""What lesson 02 looks up: headers, spacings, slices with something to see."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Integer, UInt8

from ..data import phantoms
from ..data.preprocessing import to_geometry
from ..data.readers import Image, in_space, read_image, read_mask, reorient
from ..text.organ_texts import spoken
from .notebook import Lesson
from .solutions import volume_ml

HEADER = ("PatientID", "PatientName", "Modality", "ManufacturerModelName", "PixelSpacing", "SliceThickness",
          "ImagePositionPatient", "RescaleSlope", "RescaleIntercept")  # fmt: skip
OUTLINED = ("lung_left", "lung_right", "heart", "liver", "spleen", "kidney_left", "kidney_right")


def examples_with_masks(lesson: Lesson) -> pd.DataFrame:
    """The manifest of CT studies whose masks' labels are known. Raises ValueError for any other data."""
    if not (lesson.data.synthetic and lesson.data.contract.windows_hu):
        raise ValueError(f"lesson {lesson.number} needs CT with organ masks of known labels: run it on 'torso'")
    return lesson.data.manifest


def dicom_header(folder: Path) -> dict[str, str]:
    """A few lines of the first slice's header, and what kind of numbers its pixels are."""
    import pydicom

    file = pydicom.dcmread(min(folder.glob("*.dcm")))
    kept = {name: str(file.get(name, "not there")) or "empty" for name in HEADER}
    return kept | {"pixels": f"{file.Rows} x {file.Columns}, {file.pixel_array.dtype}", "files": len(list(folder.glob("*.dcm")))}


def dicom_pixels(folder: Path) -> tuple[Integer[np.ndarray, "slice row column"], float, float]:
    """Stored values of a series from the feet upwards, with the slope and intercept of its header."""
    import pydicom

    files = sorted(map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda f: float(f.ImagePositionPatient[2]))
    return np.stack([f.pixel_array for f in files]), float(files[0].RescaleSlope), float(files[0].RescaleIntercept)


def describe_images(lesson: Lesson, rows: list) -> pd.DataFrame:
    """What the reader says about some rows: kind of file, shape, spacing, orientation, units."""
    table = lesson.data.manifest.loc[rows]
    images = [_image(lesson, row) for _, row in table.iterrows()]
    kinds = ["DICOM series" if (lesson.data.root / name).is_dir() else "NIfTI" for name in table["image"]]
    columns = {
        "scanner": table["scanner"].tolist(),
        "file": kinds,
        "shape": [str(i.array.shape) for i in images],
        "spacing mm": ["{:.1f} x {:.2f} x {:.2f}".format(*i.spacing_mm) for i in images],
        "orientation": [i.orientation for i in images],
        "units": [i.units for i in images],
    }
    return pd.DataFrame(columns, index=table["study_id"])


def case_with(cohort: pd.DataFrame, finding: str) -> pd.Series:
    """The study with most voxels of a finding; the first study if none has it."""
    size = lambda text: sum(f["n_voxels"] for f in json.loads(text) if f["finding"] == finding)  # noqa: E731
    return cohort.loc[cohort["findings"].map(size).idxmax()]


def slice_of(lesson: Lesson, case: pd.Series) -> int:
    """The slice of a study that shows most lesion in the chest, else the middle one."""
    lungs = phantoms.group_mask(read_mask(lesson.data.root / case["mask"]), "lung_left")
    lesions = read_mask(lesson.data.root / case["lesions"]) > 0
    shown = (lesions.sum((1, 2)) + 1) * (lungs.sum((1, 2)) > 0)
    return int(shown.argmax()) if shown.any() else len(shown) // 2


def liver_on_two_grids(lesson: Lesson, rows: list) -> pd.DataFrame:
    """The liver of some studies in voxels and millilitres, on the file's grid and on the contract's."""
    contract, out = lesson.data.contract, []
    for _, row in lesson.data.manifest.loc[rows].iterrows():
        image = _image(lesson, row)
        liver = read_mask(lesson.data.root / row["mask"]) == phantoms.ORGANS["liver"]
        spacing = reorient(image, "LPS").spacing_mm
        mask = Image(liver.astype(np.float32), spacing, "LPS", "intensity", reorient(image, "LPS").affine)
        seen = to_geometry(mask, contract, labels=True) > 0.5
        out.append({"scanner": row["scanner"], "pixel mm": spacing[2]} | _both("file", liver, spacing))
        out[-1] |= _both("contract", seen, contract.spacing_mm or spacing)
    return pd.DataFrame(out).set_index("scanner")


def outlines(
    lesson: Lesson, case: pd.Series, finding: str, *, organs: tuple[str, ...] = OUTLINED
) -> dict[str, Bool[np.ndarray, "slice row column"]]:
    """Masks of a finding (named as in a caption) and of organs of one study, on the contract's grid; only what is there."""
    image = reorient(_image(lesson, case), "LPS")
    maps = (read_mask(lesson.data.root / case[name], like=image).astype(np.float32) for name in ("mask", "lesions"))
    labels, lesions = (to_geometry(in_space(m, image.affine, "intensity"), lesson.data.contract, labels=True) for m in maps)
    own = [f["label"] for f in json.loads(case["findings"]) if phantoms.finding_phrase(f) == finding]
    masks = {finding: np.isin(lesions, own)} | {spoken(name): phantoms.group_mask(labels.astype(int), name) for name in organs}
    return {name: mask for name, mask in masks.items() if mask.any()}


def same_size(images: list[UInt8[np.ndarray, "row column"]]) -> UInt8[np.ndarray, "n row column"]:
    """Pictures resized to the size of the last one, so that they can stand side by side."""
    from PIL import Image as Picture

    rows, columns = images[-1].shape
    return np.stack([np.asarray(Picture.fromarray(i).resize((columns, rows))) for i in images])


def _image(lesson: Lesson, row: pd.Series) -> Image:
    return read_image(lesson.data.root / row["image"], units="HU")


def _both(where: str, mask: np.ndarray, spacing_mm: tuple) -> dict[str, float]:
    return {f"voxels, {where}": int(mask.sum()), f"ml, {where}": volume_ml(mask, spacing_mm)}
