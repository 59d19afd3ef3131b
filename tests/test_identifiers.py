"""Which DICOM fields count as identifying, and which pictures seem to hold letters."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy.ndimage import gaussian_filter

from medclip_nb.data.audit.identifiers import identifiers, looks_lettered
from medclip_nb.data.readers import read_image

FIELDS = {
    "PatientName": ("Doe^Jane", "serious"),
    "PatientBirthDate": ("19610417", "serious"),
    "PatientID": ("4711-0815", "serious"),
    "PatientAddress": ("1 Main Street", "serious"),
    "ReferringPhysicianName": ("Roe^Richard", "serious"),
    "InstitutionName": ("Saint Elsewhere", "warning"),
    "AccessionNumber": ("A12345", "warning"),
    "StudyDate": ("20200101", "note"),
    "PatientAge": ("061Y", "note"),
    "StudyInstanceUID": ("1.2.3.4", "note"),
}
HARMLESS = {"Modality": "CT", "Manufacturer": "ACME", "KVP": 120, "BodyPartExamined": "CHEST"}
DUMMIES = ("", "ANONYMIZED", "Anonymous^Patient", "anon", "REMOVED", "XXXX", "0", "00", "N/A", "de-identified")


def write(path, **fields):
    file = Dataset()
    for name, value in fields.items():
        setattr(file, name, value)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, "1.2.3"
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(path, enforce_file_format=True)
    return path


def found(path, **how) -> dict:
    return {name: severity for name, (severity, _) in identifiers(path, **how).items() if name != "SOPInstanceUID"}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_counts_by_how_much_it_gives_away(tmp_path, field):
    value, severity = FIELDS[field]
    assert found(write(tmp_path / "a.dcm", **HARMLESS | {field: value})) == {field: severity}


@pytest.mark.parametrize("dummy", DUMMIES)
def test_a_value_that_was_taken_out_does_not_count(tmp_path, dummy):
    assert found(write(tmp_path / "a.dcm", PatientName=dummy, PatientID=dummy, InstitutionName=dummy)) == {}


@pytest.mark.parametrize("date", ["", "19000101", "00010101"])
def test_a_birth_date_that_was_taken_out_does_not_count(tmp_path, date):
    assert found(write(tmp_path / "a.dcm", PatientBirthDate=date)) == {}


def test_the_manifests_own_pseudonym_does_not_count(tmp_path):
    path = write(tmp_path / "a.dcm", PatientID="P17", PatientName="P17")
    assert found(path, known=("P17",)) == {}
    assert set(found(path)) == {"PatientID", "PatientName"}


@pytest.mark.parametrize("name", ["Anna^Miller", "Xu^Xaver", "Nonesuch^A", "Removedski"])
def test_a_name_that_begins_like_a_dummy_is_still_a_name(tmp_path, name):
    assert found(write(tmp_path / "a.dcm", PatientName=name)) == {"PatientName": "serious"}


def test_a_name_deep_in_a_sequence_and_in_one_slice_of_many_is_found(tmp_path):
    inside = Dataset()
    inside.PatientName = "Doe^Jane"
    for k in range(3):
        write(tmp_path / f"{k}.dcm", **HARMLESS)
    write(tmp_path / "3.dcm", ReferencedPatientSequence=Sequence([inside]))
    (tmp_path / "notes.txt").write_text("no DICOM")
    assert found(tmp_path) == {"PatientName": "serious"}


def scene(shape, seed=0) -> np.ndarray:
    """A smooth body before a dark ground."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return (np.clip(130 + 300 * noise, 20, 230) * (x**2 + y**2 < 0.8)).astype(np.float32)


def lettered(shape, where: str, *, text="JANE DOE 1961", grey=255, size=12) -> np.ndarray:
    picture = Image.fromarray(scene(shape).astype(np.uint8))
    y = 2 if where == "above" else shape[0] - size - 6
    ImageDraw.Draw(picture).text((4, y), text, fill=grey, font=ImageFont.load_default(size))
    return np.asarray(picture, np.float32)


@pytest.mark.parametrize("where", ["above", "below"])
@pytest.mark.parametrize("shape", [(128, 128), (224, 180), (512, 400)])
@pytest.mark.parametrize("grey", [255, 200], ids=["as bright as can be", "grey"])
def test_letters_at_an_edge_are_seen(where, shape, grey):
    assert looks_lettered(lettered(shape, where, grey=grey))
    assert not looks_lettered(scene(shape))


def test_letters_that_were_made_smaller_with_the_picture_are_seen():
    large = Image.fromarray(lettered((600, 600), "below", text="Uploader: Jane Doe, hospital 17", size=24).astype(np.uint8))
    assert looks_lettered(np.asarray(large.resize((224, 224)), np.float32))


def with_letters(slice: np.ndarray, below: bool) -> np.ndarray:
    """A slice as a viewer shows it, with a name of 12 pixels at an edge."""
    low, high = np.percentile(slice, (0, 99.8))
    picture = Image.fromarray(np.uint8(255 * np.clip((slice - low) / max(high - low, 1e-6), 0, 1)))
    y = picture.size[1] - 18 if below else 2
    ImageDraw.Draw(picture).text((4, y), "DOE^JANE 1961-04-17", fill=255, font=ImageFont.load_default(12))
    return np.asarray(picture, np.float32)


def test_letters_on_real_slices_are_mostly_seen_and_others_rarely_suspected(real_data):
    volumes = [read_image(real_data / name).array for name in ("dicom_head_pd", "volumes/ct_head_ge.nii.gz")]
    slices = [slice for volume in volumes for slice in volume]
    seen = [looks_lettered(with_letters(s, below)) for s in slices for below in (False, True)]
    assert len(slices) == 48
    assert np.mean(seen) >= 0.7
    assert np.mean([looks_lettered(s) for s in slices]) <= 0.05


NO_LETTERS = {
    "constant": np.full((64, 64), 7.0),
    "noise": np.random.default_rng(0).normal(size=(128, 128)),
    "grid": np.indices((128, 128)).sum(0) % 8.0,
    "stripes": np.tile(np.arange(128) % 4.0, (128, 1)),
    "one row": np.arange(64.0)[None],
    "one pixel": np.zeros((1, 1)),
    "one letter": lettered((128, 128), "above", text="R"),
}


@pytest.mark.parametrize("kind", NO_LETTERS)
def test_what_is_no_line_of_letters_is_not_taken_for_one(kind):
    assert not looks_lettered(NO_LETTERS[kind].astype(np.float32))
