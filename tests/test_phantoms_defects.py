"""Planted faults: each is really in the files, nothing else is, and it is written down where."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from medclip_nb.data import phantoms
from medclip_nb.data.phantoms.defects import BURNT_IN, IDENTIFIERS, IMAGE_FAULTS, OTHER_SIDE
from medclip_nb.files import sha256

SIZE = (24, 48, 48)
COUNTS = {"n_train": 40, "n_val": 8, "n_test": 16, "size": SIZE, "seed": 4}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return phantoms.write_cohort(tmp_path_factory.mktemp("faulty"), **COUNTS, defects=phantoms.DEFECTS, workers=1).parent


@pytest.fixture(scope="module")
def truth(root):
    return json.loads((root / "defects.json").read_text())


@pytest.fixture(scope="module")
def rows(root):
    return pd.read_csv(root / "manifest.csv", dtype=str, keep_default_na=False).set_index("study_id")


@pytest.fixture(scope="module")
def visits():
    return {v.study_id: v for v in phantoms.list_visits(40, 8, 16, 4)}


def clean(root, study):
    return json.loads((root / study / "study.json").read_text())


def hu(root, rows, study):
    import nibabel as nib

    return np.asarray(nib.load(root / rows["image"][study]).dataobj)[::-1, ::-1].transpose(2, 1, 0)


def test_every_fault_is_planted_in_studies_of_its_own(truth):
    studies = [s for planted in truth.values() for s in planted]
    assert set(truth) == set(phantoms.DEFECTS)
    assert len(studies) == len(set(studies))


def test_studies_without_a_fault_are_as_they_were(root, rows, truth):
    for study in set(rows.index) - {s for planted in truth.values() for s in planted}:
        before = {k: str(v) for k, v in clean(root, study).items()}
        assert {k: before[k] for k in rows.columns if k in before} == {k: rows[k][study] for k in rows.columns if k in before}
        assert sha256(root / rows["image"][study]) == before["sha256"]


def test_hashes_are_of_the_faulty_files(root):
    for name in ("manifest.csv", "radiographs.csv"):
        table = pd.read_csv(root / name, keep_default_na=False)
        assert all(sha256(root / image) == digest for image, digest in zip(table["image"], table["sha256"], strict=True))


@pytest.mark.parametrize("name", list(IMAGE_FAULTS))
def test_the_voxels_are_wrong_and_the_masks_are_not(root, rows, truth, visits, name):
    (study,) = truth[name]
    drawn, found = phantoms.make_study(visits[study], SIZE), hu(root, rows, study)
    wanted = {
        "raw values": drawn.image + 1024, "rescaled twice": drawn.image - 1024, "upside down": np.flip(drawn.image, 0),
        "flipped orientation": np.flip(drawn.image, 2), "constant image": np.full(SIZE, -1000),
    }[name]  # fmt: skip
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(hu(root, rows.assign(image=rows["mask"]), study), drawn.organs)


def test_a_patient_is_in_two_splits(rows, truth):
    first, second = truth["patient across splits"]
    assert rows["patient_id"][first] == rows["patient_id"][second]
    assert (rows["split"][first], rows["split"][second]) == ("train", "test")


def test_no_other_patient_is_in_two_splits(rows, truth):
    n_splits = rows.groupby("patient_id")["split"].nunique()
    assert n_splits.index[n_splits > 1].tolist() == [rows["patient_id"][truth["patient across splits"][0]]]


def test_a_duplicate_is_the_same_bytes_under_another_patient_and_split(root, rows, truth):
    pictures = pd.read_csv(root / "radiographs.csv", dtype=str).set_index("study_id")
    source, copy = truth["duplicated image"]
    assert rows["sha256"][source] == rows["sha256"][copy]
    assert pictures["sha256"][source] == pictures["sha256"][copy]
    assert rows["sha256"].duplicated().sum() == 1
    assert all(rows[c][source] != rows[c][copy] for c in ("patient_id", "split", "report"))


def test_a_near_copy_differs_by_a_few_hu(root, rows, truth):
    source, copy = truth["near-identical image"]
    difference = hu(root, rows, source).astype(int) - hu(root, rows, copy)
    assert 1 < difference.std() < 5
    assert rows["split"][source] != rows["split"][copy]


def test_a_second_reconstruction_shows_the_same_body_with_another_noise(root, rows, truth):
    first, second = (hu(root, rows, s) for s in truth["second reconstruction"])
    one, two = truth["second reconstruction"]
    assert all(rows[c][one] == rows[c][two] for c in ("patient_id", "split", "findings", "scanner", "age"))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.98
    assert (first != second).mean() > 0.5


def test_the_truth_follows_a_replaced_study(root, rows, truth):
    for name in ("duplicated image", "near-identical image", "second reconstruction"):
        source, copy = truth[name]
        assert rows["findings"][source] == rows["findings"][copy]
        assert sha256(root / rows["lesions"][source]) == sha256(root / rows["lesions"][copy])


def test_a_truncated_file_cannot_be_read(root, rows, truth):
    with pytest.raises((EOFError, OSError)):
        hu(root, rows, truth["unreadable file"][0])


def test_a_header_names_a_person(root, rows, truth):
    import pydicom

    folder = root / rows["image"][truth["identifier in DICOM"][0]]
    for file in folder.glob("*.dcm"):
        header = pydicom.dcmread(file)
        assert {name: str(header[name].value) for name in IDENTIFIERS} == IDENTIFIERS
    assert not folder.with_name("image.nii.gz").exists()


def test_letters_are_burnt_into_one_radiograph(root, truth, visits):
    from PIL import Image

    (study,) = truth["burnt-in text"]
    drawn, visit = phantoms.make_study(visits[study], SIZE), visits[study]
    clean_picture = phantoms.formats.radiograph(drawn.image, drawn.spacing_mm, visit.rng(6, visit.visit))
    changed = np.asarray(Image.open(root / study / "radiograph.png")) != clean_picture
    assert changed[:15].sum() == changed.sum() > 10 * len(BURNT_IN.replace(" ", ""))


def test_reports_are_empty_copied_and_nearly_copied(rows, truth):
    reports = {name: [rows["report"][s] for s in truth[name]] for name in phantoms.DEFECTS if "report" in name}
    source, copy = (text.split() for text in reports["near-copied report"])
    assert reports["empty report"] == [""]
    assert reports["copied report"][0] == reports["copied report"][1]
    assert len(source) == len(copy)
    assert sum(a != b for a, b in zip(source, copy, strict=True)) == 1


def test_a_copied_report_is_not_the_truth_of_its_study(rows, truth):
    for name in ("copied report", "near-copied report"):
        source, copy = truth[name]
        assert (rows["split"][source], rows["split"][copy]) == ("train", "test")
        assert rows["findings"][source] != rows["findings"][copy]
        assert "[]" not in (rows["findings"][source], rows["findings"][copy])


def test_sides_are_exchanged_in_the_report_only(root, rows, truth):
    (study,) = truth["laterality contradiction"]
    sides = [re.findall("left|right", text.lower()) for text in (clean(root, study)["report"], rows["report"][study])]
    assert sides[0] == [OTHER_SIDE[s] for s in sides[1]] != []
    assert rows["findings"][study] == clean(root, study)["findings"]


def test_planting_again_changes_nothing(root):
    before = {p: sha256(p) for p in root.rglob("*") if p.is_file()}
    phantoms.write_cohort(root, **COUNTS, defects=phantoms.DEFECTS[::-1], workers=1)
    assert {p: sha256(p) for p in root.rglob("*") if p.is_file()} == before


def test_a_cohort_with_faults_is_no_clean_cohort(root):
    with pytest.raises(ValueError, match="other settings"):
        phantoms.write_cohort(root, **COUNTS)


def test_an_unknown_fault_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown defect 'empty reports'; known: .*empty report,"):
        phantoms.write_cohort(tmp_path, n_train=2, n_val=0, n_test=0, size=SIZE, defects=("empty reports",))
    assert not list(tmp_path.iterdir())


def test_a_cohort_that_is_too_small_says_for_which_fault(tmp_path):
    with pytest.raises(ValueError, match="'copied report'; write a larger cohort"):
        phantoms.write_cohort(tmp_path, n_train=2, n_val=0, n_test=0, size=SIZE, defects=("copied report",))
