"""Copies without names: planted values in every kind of field, and the files that pydicom ships."""

import gzip
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from test_dicom import wheel_file, write_series, write_slice

from medclip_nb import cli
from medclip_nb.config import PRESETS
from medclip_nb.data.audit import audit
from medclip_nb.data.catalog import load
from medclip_nb.data.deidentify import deidentify
from medclip_nb.data.readers import read_image

NAME, NUMBER, ACCESSION, BORN = "Quxwell^Zenobia", "MRN-778899", "ACC-445566", "19610417"
PLANTED = ("Quxwell", "Zenobia", "QUXWELL", "778899", "445566", BORN, "Elsewhere")
WHO = {
    "PatientName": NAME, "PatientID": NUMBER, "AccessionNumber": ACCESSION, "PatientBirthDate": BORN,
    "InstitutionName": "Saint Elsewhere", "ReferringPhysicianName": "Quxwell^Zacharias", "StudyDate": "20200229",
    "PatientAge": "061Y", "StudyDescription": "CT CHEST Quxwell", "FrameOfReferenceUID": "1.2.840.99.3",
}  # fmt: skip
# a field of each type that the profile does not list
ODD = {
    "AE": ("ScheduledStationAETitle", "QUXWELL"), "CS": ("ScanOptions", "QUXWELL_1"), "LO": ("Manufacturer", "Zenobia Ltd"),
    "SH": ("CodeValue", "445566"), "ST": ("DerivationDescription", "for Quxwell"), "LT": ("AcquisitionComments", "Quxwell"),
    "UT": ("LongCodeValue", NUMBER), "UC": ("LongCodeValue", NUMBER), "UR": ("URNCodeValue", "http://x/MRN-778899"),
    "PN": ("NameOfPhysiciansReadingStudy", NAME), "DT": ("InstanceCoercionDateTime", "19610417101010"),
    "DA": ("CalibrationDate", BORN), "TM": ("CalibrationTime", "101010"),
    "IS": ("NumberOfTemporalPositions", "445566"), "DS": ("KVP", "778899"), "OB": ("ICCProfile", b"Quxwell^Zenobia "),
    "UI": ("TargetUID", "1.2.778899.4"),
}  # fmt: skip


def content(folder: Path) -> list[tuple[str, bytes]]:
    """Every file below a folder as its name with its bytes, unpacked where it is packed."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return [
        (p.relative_to(folder).as_posix(), gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes())
        for p in files
    ]


def leaks(folder: Path, words=PLANTED) -> list[tuple[str, str]]:
    """Which planted word stands where, in any of three encodings or in a name."""
    codes = ("utf-8", "utf-16-le", "utf-16-be")
    found = content(folder)
    return [(w, n) for n, data in found for w in words if w in n or any(w.encode(c) in data for c in codes)]


def planted_series(folder: Path) -> Path:
    """Six slices with a planted value in each kind of field, deep in sequences, in private ones and before the header."""
    inner, deep = Dataset(), Dataset()
    deep.PatientName, deep.ReferencedSOPInstanceUID, deep.ReferencedSOPClassUID = NAME, "1.2.840.99.77", "1.2.840.10008.3.1.2.3.1"
    inner.PurposeOfReferenceCodeSequence, inner.PatientID, inner.ReferencedSOPInstanceUID = [deep], NUMBER, "1.2.840.99.78"
    fields = WHO | dict(ODD.values()) | {"ReferencedImageSequence": [inner], "RequestAttributesSequence": [deep]}
    write_series(folder, **fields)
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        block = header.private_block(0x0011, "Quxwell Inc", create=True)
        block.add_new(1, "LO", NAME)
        header.add_new(0x60000022, "LO", NAME)
        header.add_new(0x60003000, "OW", b"Quxwell ")
        header.add_new(0x50003000, "OW", b"Zenobia ")
        header.preamble = b"Quxwell^Zenobia".ljust(128, b"\0")
        header.file_meta.ImplementationVersionName = "QUXWELL"
        header.file_meta.SourceApplicationEntityTitle = "QUXWELL"
        header.save_as(path)
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, Path]:
    """A folder of one planted series under a person's name, with a table and a stray file, and its copies."""
    root = tmp_path_factory.mktemp("planted")
    source = root / "in"
    (source / "Quxwell_Zenobia").mkdir(parents=True)
    planted_series(source / "Quxwell_Zenobia" / "ct")
    (source / "Quxwell_Zenobia" / "letter.txt").write_text("Dear Mrs Quxwell")
    text = f"Zenobia came on 29.02.2020, MRN {NUMBER}. White matter is normal. Seen by Dr. Roe."
    rows = {"image": ["Quxwell_Zenobia/ct"], "text": [text], "patient_id": [NUMBER], "modality": ["CT"], "age": ["93"]}
    pd.DataFrame(rows | {"x_name": [NAME]}).to_csv(source / "texts.csv", index=False)
    deidentify(source, root / "out")
    return source, root / "out"


def series_in(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(p) for p in sorted(folder.rglob("*.dcm"))]


def test_no_planted_value_is_left_in_any_byte_or_name_of_the_copies(planted):
    source, out = planted
    assert {word for word, _ in leaks(source)} == set(PLANTED)
    assert leaks(out) == []


def test_the_copies_hold_the_same_volume_in_the_same_place(planted):
    source, out = planted
    before = read_image(source / "Quxwell_Zenobia" / "ct", units="HU")
    (folder,) = {p.parent for p in out.rglob("*.dcm")}
    after = read_image(folder, units="HU")
    assert np.array_equal(before.array, after.array)
    assert np.array_equal(before.affine, after.affine)


def test_a_series_stays_a_series_and_references_stay_references(planted):
    headers = series_in(planted[1])
    assert len({h.SeriesInstanceUID for h in headers}) == len({h.StudyInstanceUID for h in headers}) == 1
    assert len({h.SOPInstanceUID for h in headers}) == 6
    assert all(h.file_meta.MediaStorageSOPInstanceUID == h.SOPInstanceUID for h in headers)
    (first,) = {str(h.ReferencedImageSequence[0].ReferencedSOPInstanceUID) for h in headers}
    assert first.startswith("2.25.")
    assert headers[0].SOPClassUID == pydicom.uid.CTImageStorage


def test_the_copies_say_that_they_were_deidentified(planted):
    header = series_in(planted[1])[0]
    assert header.PatientIdentityRemoved == "YES"
    assert "PS3.15" in header.DeidentificationMethod
    assert header.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert header.PatientID == header.PatientName != ""
    assert "StudyDate" not in header or header.StudyDate in ("", "00010101")


def test_our_own_audit_finds_no_identifier_in_the_copies(planted):
    source, out = planted
    told = {root: set(audit(load(root, PRESETS["smoke"], lenient=True).manifest)["check"]) for root in (source, out)}
    assert told[source] >= {"identifiers", "names in reports"}
    assert told[out] & {"identifiers", "names in reports", "burnt-in text"} == set()


def test_the_table_keeps_its_meaning_without_the_names(planted):
    _, out = planted
    (row,) = load(out, PRESETS["smoke"]).manifest.to_dict("records")
    assert (row["age"], row["modality"], row["patient_id"]) == ("90", "CT", series_in(out)[0].PatientID)
    assert row["report"].startswith("[removed] came on [removed], [removed]. White")
    assert "White matter is normal" in row["report"]


def test_the_originals_are_not_touched(tmp_path):
    source = planted_series(tmp_path / "in")
    before = content(source)
    deidentify(source, tmp_path / "out")
    assert content(source) == before


def test_pseudonyms_are_new_in_each_run_unless_the_key_is_kept(tmp_path):
    source, key = write_series(tmp_path / "in", **WHO), tmp_path / "secret.key"
    outs = [tmp_path / name for name in "abcd"]
    for out, how in zip(outs, ({}, {}, {"key": key}, {"key": key}), strict=True):
        deidentify(source, out, **how)
    ids = [series_in(out)[0].PatientID for out in outs]
    assert len(set(ids)) == 3
    assert content(outs[2]) == content(outs[3])
    assert key.stat().st_mode & 0o077 == 0
    assert leaks(tmp_path, (key.read_text(),)) == [(key.read_text(), "secret.key")]


BAD_PLACES = {
    "inside the source": ("in/sub", "lies inside"),
    "the source itself": ("in", "not empty"),
    "a folder that holds something": ("full", "not empty"),
    "around the source": ("", "not empty"),
}


@pytest.mark.parametrize("place", BAD_PLACES)
def test_copies_go_to_a_new_folder_elsewhere(tmp_path, place):
    write_series(tmp_path / "in")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("ten years")
    name, says = BAD_PLACES[place]
    before = content(tmp_path)
    with pytest.raises(ValueError, match=says):
        deidentify(tmp_path / "in", tmp_path / name)
    assert content(tmp_path) == before


def test_a_key_does_not_lie_with_the_copies_and_is_one(tmp_path):
    write_series(tmp_path / "in")
    (tmp_path / "no.key").write_text("hello")
    for key, says in (("out/k", "would lie with the copies"), ("no.key", "is no key")):
        with pytest.raises(ValueError, match=says):
            deidentify(tmp_path / "in", tmp_path / "out", key=tmp_path / key)
        assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_read_is_named_and_nothing_of_it_stays(tmp_path, capsys):
    source = write_series(tmp_path / "in", **WHO)
    whole = (source / "00.dcm").read_bytes()
    (source / "cut.dcm").write_bytes(whole[: len(whole) - 50])
    (source / "noise.dcm").write_bytes(b"Quxwell" * 100)
    (source / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nQuxwell")
    (source / "torn.nii.gz").write_bytes(b"Quxwell")
    assert cli.main(["data", "deidentify", str(source), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert all(f"refused, not copied: {name}: " in said for name in ("cut.dcm", "noise.dcm", "torn.png", "torn.nii.gz"))
    assert "not promised: faces" in said
    assert len(content(tmp_path / "out")) == 6


def lettered(folder: Path, **fields) -> Path:
    picture = Image.new("L", (256, 256), 40)
    ImageDraw.Draw(picture).text((4, 2), "ZENOBIA QUXWELL 1961", fill=255, font=ImageFont.load_default(14))
    folder.mkdir()
    return write_slice(folder / "a.dcm", np.asarray(picture).astype(np.int16), PhotometricInterpretation="MONOCHROME2", **fields)


def test_text_burnt_in_is_not_copied_before_somebody_has_looked(tmp_path):
    lettered(tmp_path / "in")
    copies = deidentify(tmp_path / "in", tmp_path / "a")
    assert list(copies.suspected) == ["a.dcm"]
    assert content(tmp_path / "a") == []
    assert deidentify(tmp_path / "in", tmp_path / "b", looked_at=True).copied == {"DICOM": 1}


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_file_that_says_it_has_text_burnt_in_is_never_copied(tmp_path, looked_at):
    lettered(tmp_path / "in", BurnedInAnnotation="YES")
    copies = deidentify(tmp_path / "in", tmp_path / "out", looked_at=looked_at)
    assert "BurnedInAnnotation" in copies.refused["a.dcm"]
    assert content(tmp_path / "out") == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_nifti_loses_its_texts_and_keeps_its_voxels(tmp_path, kind, suffix):
    volume = kind(np.random.default_rng(0).integers(0, 99, (5, 6, 7), np.int16), np.diag([2.0, 3, 4, 1]))
    volume.header["descrip"], volume.header["aux_file"], volume.header["intent_name"] = b"Quxwell", b"Zenobia", b"MRN-778899"
    volume.header.set_slope_inter(2.0, -7.0)
    volume.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Quxwell^Zenobia"))
    (tmp_path / "in").mkdir()
    nib.save(volume, tmp_path / "in" / f"Quxwell{suffix}")
    deidentify(tmp_path / "in", tmp_path / "out")
    (after,) = [read_image(p) for p in (tmp_path / "out").iterdir()]
    before = read_image(tmp_path / "in" / f"Quxwell{suffix}")
    assert leaks(tmp_path / "out") == []
    assert np.array_equal(before.array, after.array)
    assert np.array_equal(before.affine, after.affine)


def picture_with_words(path: Path, mode: str, orientation: int) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).convert(mode)
    exif, info = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112], exif[0x010E], exif[0x013B] = orientation, "Quxwell", "Zenobia"
    info.add_text("Patient", NAME)
    info.add_itxt("Comment", NAME, zip=True)
    how = {"pnginfo": info} if path.suffix == ".png" else {"comment": NAME, "quality": 90}
    picture.save(path, exif=exif, **how)
    path.write_bytes(path.read_bytes() + b"trailing Quxwell")


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_loses_its_metadata_and_keeps_its_pixels(tmp_path, suffix, mode, orientation):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"a{suffix}"
    picture_with_words(path, "L" if mode == "P" and suffix == ".jpg" else mode, orientation)
    deidentify(tmp_path / "in", tmp_path / "out")
    (copy,) = (tmp_path / "out").iterdir()
    assert leaks(tmp_path / "out") == []
    assert np.array_equal(read_image(path).array, read_image(copy).array)
    with Image.open(copy) as opened:
        assert set(opened.getexif()) <= {0x0112}
        assert not set(opened.info) & {"Patient", "Comment", "comment", "icc_profile"}


def test_progressive_jpeg_and_deep_png_survive(tmp_path):
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "in" / "p.jpg", progressive=True, quality=95, comment="Quxwell")
    Image.fromarray(noise.astype(np.uint16)[..., 0] * 200).save(tmp_path / "in" / "d.png")
    copies = deidentify(tmp_path / "in", tmp_path / "out")
    assert copies.copied == {"picture": 2}


SHIPPED = (
    "CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "image_dfl.dcm", "examples_overlay.dcm",
    "SC_rgb_rle_2frame.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jpeg_ls_lossless.dcm",
)  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_files_that_pydicom_ships_keep_their_pixels_and_lose_who_they_show(tmp_path, name):
    original = pydicom.dcmread(wheel_file(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copies = deidentify(wheel_file(name), tmp_path / "out", looked_at=True)
        (after,) = [pydicom.dcmread(p) for p in (tmp_path / "out").iterdir()]
        assert np.array_equal(original.pixel_array, after.pixel_array)
    assert copies.copied == {"DICOM": 1}
    assert after.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert after.PatientID != original.get("PatientID")


@pytest.mark.parametrize("name", ["rtplan.dcm", "reportsi.dcm", "DICOMDIR", "no_meta.dcm"])
def test_what_holds_no_readable_image_is_refused(tmp_path, name):
    found = get_testdata_file(name, download=False)
    if not found:
        pytest.skip(f"this pydicom ships no {name}")
    copies = deidentify(found, tmp_path / "out")
    assert len(copies.refused) + len(copies.left_out) == 1
    assert content(tmp_path / "out") == []
