"""What must hold for any input whatever: used with Hypothesis by test_fuzz.py, and with coverage by fuzz/run.py."""

import io
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pydicom
from PIL import Image as Picture

from medclip_nb.config import PRESETS
from medclip_nb.data import catalog
from medclip_nb.data.manifest import COLUMNS, all_columns, read_manifest
from medclip_nb.data.readers import Image, read_image
from medclip_nb.text import reports, sections, similarity
from medclip_nb.text.alike import RULERS, text_similarity

REFUSALS = (ValueError, OSError)  # what the command line turns into one line
CLOSE = 1e-5  # similarities are float32


def picture_bytes(kind: str, mode: str = "L") -> bytes:
    """A picture of 8 by 6 pixels, with a hint of every pixel mode: palettes, transparency, 16 bits."""
    file, grey = io.BytesIO(), np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    picture = Picture.fromarray(grey.astype(np.uint16) * 250) if mode == "I;16" else Picture.fromarray(grey).convert(mode)
    picture.save(file, kind)
    return file.getvalue()


def nifti_bytes(dtype: str = "int16", *, sform: bool = True) -> bytes:
    """A volume of 4 by 3 by 2 voxels of 1, 2 and 3 mm."""
    volume = np.arange(24).reshape(4, 3, 2).astype(dtype)
    image = nibabel.Nifti1Image(volume, np.diag([-1.0, -2.0, 3.0, 1.0]) if sform else None)
    return image.to_bytes()


def dicom_bytes(**more) -> bytes:
    """A CT slice of 4 by 4 pixels."""
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = "1.2.3"
    about = {"Modality": "CT", "Rows": 4, "Columns": 4, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    about |= {"PixelRepresentation": 1, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
    about |= {"RescaleSlope": 1, "RescaleIntercept": -1024, "PixelSpacing": [2, 1], "SliceThickness": 3}
    about |= {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    for name, value in (about | more).items():
        setattr(header, name, value)
    header.PixelData = np.arange(16, dtype=np.int16).tobytes()
    file = io.BytesIO()
    header.save_as(file, enforce_file_format=True)
    return file.getvalue()


def npz_bytes() -> bytes:
    """A MedMNIST file with one image in each split."""
    splits = ("train", "val", "test")
    arrays = {f"{s}_images": np.full((1, 4, 4), 7, np.uint8) for s in splits} | {
        f"{s}_labels": np.zeros((1, 1), np.uint8) for s in splits
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


WINDOWED = {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 8, "WindowWidth": 9}
# file name -> its valid contents
FILES = {
    "x.png": [picture_bytes("PNG", mode) for mode in ("L", "RGBA", "P", "I;16", "1")],
    "x.jpg": [picture_bytes("JPEG"), picture_bytes("JPEG", "RGB")],
    "x.nii": [nifti_bytes(), nifti_bytes("float32", sform=False), nifti_bytes("uint8")],
    "x.dcm": [dicom_bytes(), dicom_bytes(**WINDOWED)],
    "organamnist.npz": [npz_bytes()],
}


def read_or_refused(name: str, data: bytes) -> Image | None:
    """The image that a file of these bytes is, with all that an image has; None if it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            image = read_image(path)
        except REFUSALS:
            return None
    assert image.array.ndim == 3
    assert image.array.size
    assert np.isfinite(image.array).all()
    assert image.spacing_mm is None or all(0 < mm < np.inf for mm in image.spacing_mm)
    assert image.affine is None or np.isfinite(image.affine).all()
    return image


def dataset_or_refused(name: str, data: bytes) -> pd.DataFrame | None:
    """The manifest of an archive of images; None if it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            dataset = catalog.load(path, PRESETS["smoke"])
        except REFUSALS:
            return None
        assert all((dataset.root / image).is_file() for image in dataset.manifest["image"])
        return dataset.manifest


def table_or_refused(data: bytes, *, lenient: bool = False) -> pd.DataFrame | None:
    """The table that a CSV of these bytes is; None if it is refused. What is taken, is taken again, and means the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.csv"
        path.write_bytes(data)
        try:
            table = read_manifest(path, check_files=False, lenient=lenient)
        except REFUSALS:
            return None
        assert list(table) == list(COLUMNS)
        assert all(isinstance(cell, str) for column in table for cell in table[column])
        if not lenient:
            assert table["study_id"].is_unique
            assert not (table[["study_id", "patient_id", "image", "report"]].apply(lambda c: c.str.strip()) == "").any(axis=None)
            again = all_columns(table).to_csv(index=False).encode()
            path.write_bytes(again)
            assert read_manifest(path, check_files=False).to_numpy().tolist() == table.to_numpy().tolist()
        return table


def report_holds(text: str) -> None:
    """Nothing raises, spans lie in the text, and cleaning keeps the length and has nothing to do a second time."""
    cleaned = sections.clean(text)
    assert len(cleaned) == len(text)
    assert sections.clean(cleaned) == cleaned
    spans = sections.sentences(text)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert all(one[1] <= two[0] for one, two in zip(spans, spans[1:], strict=False))
    assert all(0 <= a <= b <= len(text) for _, a, b in sections.section_spans(text))
    found = reports.findings(text)
    assert all(0 <= f.start < f.end <= len(text) and f.side in ("", "left", "right", "both") for f in found)
    assert all(f.size_mm is None or f.size_mm >= 0 for f in found)
    assert [f.start for f in found] == sorted(f.start for f in found)
    assert not reports.normal_organs(text) & {f.organ for f in found if f.present}
    assert set(reports.organ_texts(text)) >= {f.organ for f in found if f.present}


def similarity_holds(found: list[list[tuple[str, str]]]) -> None:
    """In [0, 1]; symmetric; 1 for a report with itself or its double (not SeLIP's); the same in any order; blockwise too."""
    order = np.random.default_rng(len(found)).permutation(len(found))
    emb = np.zeros((len(found), 1), np.float32)
    for ruler in (name for name, rule in RULERS.items() if rule):
        sim = text_similarity(ruler, found, emb)
        assert np.isfinite(sim).all()
        assert sim.min(initial=0) >= 0
        assert sim.max(initial=0) <= 1 + CLOSE
        assert np.allclose(sim, sim.T, atol=CLOSE)
        assert np.allclose(text_similarity(ruler, [found[i] for i in order], emb), sim[np.ix_(order, order)], atol=CLOSE)
        doubled = text_similarity(ruler, [*found, *found], np.concatenate([emb, emb]))
        if ruler != "rare":  # there a double makes what it says less rare
            assert np.allclose(doubled, np.tile(sim, (2, 2)), atol=CLOSE)
        if ruler not in ("selip", "selip_healthy"):
            assert np.allclose(np.diag(sim), 1, atol=CLOSE)
    if found:
        blocks = similarity.similar_reports(found, keep=len(found)).toarray()
        assert np.allclose(blocks, similarity.of_reports(found), atol=CLOSE)
