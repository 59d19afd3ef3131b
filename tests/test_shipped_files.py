"""Every file that pydicom and nibabel ship for their own tests: read with their values, or refused in one line."""

import re
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom.data
import pytest
from nibabel.testing import data_path
from pydicom.pixels import apply_color_lut, apply_voi_lut

from medclip_nb.data.dicom_pixels import GREY, MEASURED
from medclip_nb.data.readers import NIFTI, ImageError, read_image, reorient

ROOTS = {"pydicom": Path(pydicom.data.__file__).parent, "nibabel": Path(data_path)}
FILES = [
    path for root in ROOTS.values() for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts
]
REASON = "is a film|no 'DICM' at byte 128|holds doses|frames and describes|segmentation"  # to refuse what pydicom opens


def pydicoms(path: Path) -> np.ndarray:
    """Rescaled values of one frame; pictures with their window and as light as a viewer shows them, colour as grey."""
    file = pydicom.dcmread(path)
    stored, kind = file.pixel_array, file.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        stored = apply_color_lut(stored, file)[..., :3]
    if not kind.startswith("MONOCHROME"):
        return sum(share * stored[..., k].astype(float) for k, share in enumerate(GREY))
    values = stored * float(file.get("RescaleSlope") or 1) + float(file.get("RescaleIntercept") or 0)
    if file.get("Modality") not in MEASURED:
        values = apply_voi_lut(values, file) if "WindowWidth" in file or "VOILUTSequence" in file else values
        values = values.max() + values.min() - values if kind == "MONOCHROME1" else values
    return values


def nibabels(path: Path) -> np.ndarray:
    """Values of one volume, (slice, row, column) in the radiological view."""
    file = nibabel.load(path)
    orientations = nibabel.io_orientation(file.affine), nibabel.orientations.axcodes2ornt("LPS")
    return file.as_reoriented(nibabel.orientations.ornt_transform(*orientations)).get_fdata().squeeze().T


def can_open(path: Path) -> bool:
    """Whether pydicom gets at the pixels."""
    try:
        return pydicom.dcmread(path).pixel_array.size > 0
    except Exception:  # whatever its parsers and decoders raise
        return False


def outcome(path: Path) -> np.ndarray | str:
    """Our values, or the message that refuses."""
    try:
        image = read_image(path)
        return reorient(image, "LPS").array if path.name.endswith(NIFTI) else image.array
    except ImageError as error:
        return str(error)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_file_has_its_library_s_values_or_a_message(path):
    found = outcome(path)
    if isinstance(found, str):
        assert str(path) in found
        assert len(found.splitlines()) == 1
    else:
        theirs = nibabels(path) if path.name.endswith(NIFTI) else pydicoms(path)
        assert np.allclose(found.squeeze(), theirs.squeeze(), rtol=1e-6, atol=1e-3)


def test_what_pydicom_opens_and_we_refuse_has_a_reason():
    messages = [outcome(path) for path in FILES if path.suffix in ("", ".dcm") and can_open(path)]
    refused = [message for message in messages if isinstance(message, str)]
    assert len(messages) - len(refused) > 60
    assert [message for message in refused if not re.search(REASON, message)] == []
