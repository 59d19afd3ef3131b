"""What the audit says of clean, planted, odd and real tables."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medclip_nb.config import PRESETS
from medclip_nb.data import audit as audit_room
from medclip_nb.data.audit import SEVERITIES, audit
from medclip_nb.data.audit import texts as audit_texts
from medclip_nb.data.audit.texts import wrong_sides
from medclip_nb.data.manifest import all_columns, read_manifest, save_manifest
from medclip_nb.data.phantoms import DEFECTS, radiograph_cohort, write_cohort

CHECK_OF = {
    "patient across splits": "patient overlap",
    "second reconstruction": "second reconstruction",
    "duplicated image": "identical images",
    "near-identical image": "near-identical images",
    "copied report": "identical reports",
    "near-copied report": "near-identical reports",
    "laterality contradiction": "laterality",
    "empty report": "empty report",
    "raw values": "not in HU",
    "rescaled twice": "not in HU",
    "flipped orientation": "orientation",
    "upside down": "orientation",
    "constant image": "constant image",
    "unreadable file": "unreadable image",
    "identifier in DICOM": "identifiers",
    "burnt-in text": "burnt-in text",
}


def told(found: pd.DataFrame, table: pd.DataFrame, check: str) -> set[str]:
    """Study ids that a check names as serious or as a warning."""
    hits = found[(found["check"] == check) & (found["severity"] != "note")]
    return {table["study_id"].iloc[i] for rows in hits["rows"] for i in rows}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A cohort with every known defect: its truth, and for both manifests the table and what was found."""
    root = tmp_path_factory.mktemp("planted")
    write_cohort(root, n_train=48, n_val=8, n_test=16, size=(24, 48, 48), defects=DEFECTS, workers=1)
    tables = [read_manifest(root / name, lenient=True) for name in ("manifest.csv", "radiographs.csv")]
    return json.loads((root / "defects.json").read_text()), [(table, audit(table)) for table in tables]


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_planted_defect_is_found_and_its_studies_are_named(planted, defect):
    truth, ((volumes, found), (pictures, found_2d)) = planted
    if defect == "burnt-in text":
        volumes, found = pictures, found_2d
    assert set(truth[defect]) <= told(found, volumes, CHECK_OF[defect])


def test_nothing_but_what_was_planted_is_called_serious_or_wants_a_look(planted):
    truth, audited = planted
    guilty = {study for studies in truth.values() for study in studies}
    for table, found in audited:
        assert {s for check in found["check"] for s in told(found, table, check)} <= guilty


def test_a_flipped_axis_is_named(planted):
    truth, ((_, found), _) = planted
    said = "\n".join(found["what"][found["check"] == "orientation"])
    assert f"left and right are swapped: {truth['flipped orientation'][0]}" in said
    assert f"up and down are swapped: {truth['upside down'][0]}" in said


def test_findings_are_sorted_and_their_groups_hold_their_rows(planted):
    for table, found in planted[1]:
        ranks = found["severity"].map(SEVERITIES.index)
        assert list(found.columns) == ["check", "severity", "rows", "what", "advice"]
        assert ranks.is_monotonic_increasing
        assert [sorted({i for g in groups for i in g}) for groups in found.attrs["groups"]] == found["rows"].map(sorted).tolist()
        assert all(0 <= i < len(table) for rows in found["rows"] for i in rows)


def test_a_clean_cohort_of_volumes_gets_notes_only(torso):
    found = audit(torso.manifest)
    assert set(found["severity"]) == {"note"}
    assert found["rows"].map(len).sum() > 0


def test_a_clean_cohort_of_radiographs_gets_notes_only(torso):
    assert set(audit(read_manifest(radiograph_cohort(PRESETS["smoke"])))["severity"]) == {"note"}


def table_of(root, n: int = 1, **columns) -> pd.DataFrame:
    """A lenient table of n rows with random pictures, or other columns."""
    rng = np.random.default_rng(0)
    given = {"study_id": [f"s{i}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)]}
    given |= {"image": [f"{i}.png" for i in range(n)], "report": [f"{i} cysts of kind {i * i}" for i in range(n)]}
    for i in range(n):
        Image.fromarray(rng.integers(0, 255, (24, 20), np.uint8)).save(root / f"{i}.png")
    return read_manifest(save_manifest(pd.DataFrame(given | columns), root / "manifest.csv"), lenient=True)


def severities(found: pd.DataFrame) -> dict[str, str]:
    return dict(zip(found["check"], found["severity"], strict=True))


def test_a_single_row_and_a_table_of_texts_are_audited_too(tmp_path):
    assert severities(audit(table_of(tmp_path))) == {"splits": "note"}
    texts = table_of(
        tmp_path, 3, image=[""] * 3, report=["one two three", "One two, three", "four"], split=["train", "test", "test"]
    )
    assert severities(audit(texts)) == {"near-identical reports": "warning", "no images": "note", "splits": "note"}


def test_a_path_that_leaves_the_root_is_told_and_never_opened(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "secret.png")
    found = audit(table_of(root, 2, image=["../secret.png", "gone.png"]))
    assert severities(found) == {"files": "serious", "splits": "note"}
    assert found["rows"][0] == [0, 1]


def test_saturated_tiny_and_broken_pictures_are_told_apart(tmp_path):
    table = table_of(tmp_path, 4)
    Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 2)).save(tmp_path / "0.png")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "3.png").read_bytes()[:200])
    found = audit(table).set_index("check")["rows"]
    assert (found["saturated image"], found["tiny image"], found["unreadable image"]) == ([0], [1], [2])


def test_a_mask_that_does_not_fit_and_a_windowed_ct_are_told(tmp_path):
    import nibabel as nib

    table = table_of(tmp_path, image=["a.nii"], mask=["m.nii"], modality=["CT"])
    for name, shape in (("a.nii", (20, 20, 6)), ("m.nii", (20, 20, 5))):
        values = np.random.default_rng(0).integers(0, 255, shape).astype(np.int16)
        nib.save(nib.Nifti1Image(values, None), tmp_path / name)
    said = severities(audit(table_of(tmp_path, image=["a.nii"], mask=["m.nii"], modality=["CT"])))
    assert len(table.attrs["faults"]) == 2
    assert (said["unreadable mask"], said["not in HU"]) == ("serious", "serious")


def test_one_file_for_two_patients_is_serious_and_twice_for_one_a_warning(tmp_path):
    table = table_of(tmp_path, 4, image=["0.png", "0.png", "1.png", "1.png"], patient_id=["p", "p", "q", "r"])
    found = audit(table)[["check", "severity", "rows"]].values.tolist()
    assert ["identical images", "serious", [2, 3]] in found
    assert ["identical images", "warning", [0, 1]] in found


def texts_only(n: int, **columns) -> pd.DataFrame:
    rows = {"study_id": [f"s{i}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)]}
    table = all_columns(pd.DataFrame(rows | {"report": [f"report {i} of {i + 7}" for i in range(n)]} | columns))
    table.attrs |= {"root": ".", "name": "texts"}
    return table


CYST, NOTHING = json.dumps([{"organ": "liver", "finding": "cyst", "side": ""}]), "[]"


def test_a_class_that_a_split_lacks_is_told_if_chance_does_not_explain_it():
    few, many = ([CYST] * n + [NOTHING] * (60 - n) for n in (2, 30))
    split = ["train"] * 30 + ["test"] * 30
    assert "missing class" not in severities(audit(texts_only(60, findings=few, split=split)))
    found = audit(texts_only(60, findings=many, split=split))
    assert found.set_index("check")["what"]["missing class"] == "liver cyst: 0 of 30 patients with split test, 30 of 30 others"


def test_a_scanner_that_goes_with_a_finding_is_told_and_one_patient_counts_once():
    findings, scanner = [CYST] * 30 + [NOTHING] * 30, ["A"] * 28 + ["B"] * 32
    assert severities(audit(texts_only(60, findings=findings, scanner=scanner)))["scanner and finding"] == "warning"
    two = ["p", "q"]
    same = texts_only(60, findings=findings, scanner=["A"] * 30 + ["B"] * 30, patient_id=[two[i // 30] for i in range(60)])
    assert "scanner and finding" not in severities(audit(same))


def test_balanced_scanners_and_splits_are_not_suspected():
    rng = np.random.default_rng(0)
    mixed = {"scanner": rng.choice(["A", "B"], 200).tolist(), "split": rng.choice(["train", "test"], 200).tolist()}
    found = audit(texts_only(200, findings=rng.choice([CYST, NOTHING], 200).tolist(), **mixed))
    assert "scanner and finding" not in severities(found)
    assert "missing class" not in severities(found)


NODULE = {"organ": "lung_left", "finding": "nodule", "side": "left"}
SIDES = {
    "Nodular opacity in the right upper lobe.": "left nodule is called right",
    "A 1.5 cm NODULE on the Right.\nThe left kidney is normal.": "left nodule is called right",
    "Nodule in the left lower lobe. Right nodule too.": "",
    "Bilateral nodules, right more than left.": "",
    "A nodule. The right lung is clear.": "",
    "Right pleural effusion.": "",
    "": "",
}


@pytest.mark.parametrize("report", SIDES)
def test_a_side_counts_only_in_a_sentence_about_the_finding(report):
    assert wrong_sides(report, [NODULE]) == SIDES[report]
    assert wrong_sides(report, [NODULE | {"side": ""}]) == ""


def test_normal_reports_may_repeat_and_others_may_not():
    split, report = ["train", "test", "test"], ["all is well here", "all is well here", "something else again"]
    normal = audit(texts_only(3, report=report, split=split, findings=[NOTHING] * 3))
    assert severities(normal)["identical reports"] == "note"
    assert severities(audit(texts_only(3, report=report, split=split)))["identical reports"] == "warning"
    one_patient = audit(texts_only(3, report=report, patient_id=["p"] * 3))
    assert "identical reports" not in severities(one_patient)


def test_real_figure_panels_that_share_captions_and_patients_are_found(real_data, tmp_path):
    source = real_data / "covid_ct"
    rows = (
        pd.read_csv(source / "metadata.csv", dtype=str, keep_default_na=False)
        .query("text != ''")
        .head(120)
        .reset_index(drop=True)
    )
    (tmp_path / "images").symlink_to(source / "images")
    table = rows.rename(columns={"text": "report", "patient": "patient_id"})[["image", "report", "patient_id"]]
    table = all_columns(table.assign(study_id=table["image"], split=np.where(rows.index % 2, "test", "train")))
    table.attrs |= {"root": str(source), "name": "covid_ct"}
    said = severities(audit(table))
    assert (said["patient overlap"], said["identical reports"]) == ("serious", "warning")
    assert "unreadable image" not in said


def test_a_table_too_long_to_look_at_says_so_and_is_judged_by_its_rows(tmp_path, monkeypatch):
    for module in (audit_room, audit_texts):
        monkeypatch.setattr(module, "MOST_LOOKED_AT", 4)
    monkeypatch.setattr(audit_room, "look", None)
    reports = ["Same  words.", "same words.", "other words of some length", "other words of some length here", "a", "b"]
    rows = {"patient_id": list("ppqrst"), "report": reports, "split": ["train", "test", *["train"] * 4]}
    found = audit(table_of(tmp_path, 6, **rows)).set_index("check")
    assert "6 rows are more than 4: no image was opened" in found.loc["not looked at", "what"]
    assert {"patient overlap", "not looked at", "splits"} == set(found.index)
    assert found.loc["patient overlap", "rows"] == [0, 1]


def test_identical_reports_are_found_in_a_long_table_too(tmp_path, monkeypatch):
    reports = ["a", "Same words.", "b", "c", "same  words.", "d"]
    table = table_of(tmp_path, 6, report=reports, split=["train", "train", *["test"] * 4])
    usual = list(audit_texts.report_copies(table, []))
    monkeypatch.setattr(audit_texts, "MOST_LOOKED_AT", 4)
    assert list(audit_texts.report_copies(table, [])) == usual
    assert usual[0].groups == [[1, 4]]
