"""The table of studies: what it lets through, and what it says about the rest."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.data import manifest
from medclip_nb.data.manifest import ManifestError, digest, patients_across_splits, read_manifest, save_manifest, split_by_patient

GOOD = {
    "study_id": ["s1", "s2", "s3"],
    "patient_id": ["p1", "p1", "p2"],
    "image": ["a.png", "b.png", "c.png"],
    "report": ["one", "two", "three"],
}
FAULTS = {
    "blank report": ({"report": ["one", " ", "three"]}, ["row 3", "'report'", "empty", "drop the row"]),
    "blank patient": ({"patient_id": ["p1", "p1", ""]}, ["row 4", "'patient_id'", "empty"]),
    "repeated study": ({"study_id": ["s1", "s2", "s2"]}, ["row 4", "'study_id'", "'s2'", "give every row its own"]),
    "path leaving the root": ({"image": ["a.png", "../b.png", "c.png"]}, ["row 3", "'image'", "leaves", "move the file"]),
    "absolute path": ({"image": ["/etc/hosts", "b.png", "c.png"]}, ["row 2", "'image'", "absolute", "make it relative"]),
    "missing file": ({"image": ["a.png", "b.png", "d.png"]}, ["row 4", "'image'", "does not exist", "correct the path"]),
    "mask leaving the root": ({"mask": ["", "", "x/../../m.nii"]}, ["row 4", "'mask'", "leaves"]),
    "modality": ({"modality": ["CT", "XX", ""]}, ["row 3", "'modality'", "'XX'", "CT, MR, CR, DX"]),
    "sex": ({"sex": ["F", "M", "female"]}, ["row 4", "'sex'", "'female'", "F, M"]),
    "split": ({"split": ["train", "dev", "test"]}, ["row 3", "'split'", "'dev'", "train, val, test"]),
    "age too high": ({"age": ["20", "200", ""]}, ["row 3", "'age'", "'200'", "0 to 130"]),
    "age in words": ({"age": ["20", "", "old"]}, ["row 4", "'age'", "'old'", "0 to 130"]),
    "two faults": ({"age": ["20", "", "old"], "report": ["one", "", "three"]}, ["row 3", "'report'", "1 more fault"]),
    "unknown column": ({"pateint": ["1", "2", "3"]}, ["unknown column 'pateint'", "patient_id"]),
}


def write(folder, **columns):
    for name in "abc":
        (folder / f"{name}.png").touch()
    pd.DataFrame(GOOD | columns).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def complaint(path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_by_file_row_column_and_remedy_in_one_line(tmp_path, fault):
    columns, words = FAULTS[fault]
    message = complaint(write(tmp_path, **columns))
    assert [w for w in words if w not in message] == []


def test_a_link_that_leaves_the_root_is_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").touch()
    path = write(root, image=["a.png", "link.png", "c.png"])
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    assert "row 3, column 'image'" in complaint(path)


@pytest.mark.parametrize("column", ["study_id", "patient_id", "image", "report"])
def test_a_required_column_that_is_missing_is_named(tmp_path, column):
    path = write(tmp_path)
    pd.read_csv(path).drop(columns=column).to_csv(path, index=False)
    assert f"column {column!r} is missing" in complaint(path)


TEXTS = {
    "semicolons": ("study_id;patient_id;image;report\ns;p;a.png;x\n", "row 1 is one column"),
    "tabs": ("study_id\tpatient_id\timage\treport\ns\tp\ta.png\tx\n", "separate columns by commas"),
    "nothing": ("", "is not a comma-separated table"),
    "header only": ("study_id,patient_id,image,report\n", "no rows"),
    "unquoted comma in row 2": ("study_id,patient_id,image,report\ns,p,a.png,one, two\n", "row 2 has 5 fields, the header 4"),
    "unquoted comma in row 3": (
        "study_id,patient_id,image,report\ns,p,a.png,x\nt,p,b.png,one, two\n",
        "row 3 has 5 fields, the header 4",
    ),
    "row too short": ("study_id,patient_id,image,report\ns,p,a.png\n", "row 2 has 3 fields, the header 4"),
    "blank line above": ("study_id,patient_id,image,report\ns,p,a.png,x\n\nt,p,b.png,\n", "row 4, column 'report'"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_file_that_is_no_clean_csv_is_refused_with_the_place(tmp_path, kind):
    text, words = TEXTS[kind]
    write(tmp_path).write_text(text)
    assert words in complaint(tmp_path / "manifest.csv")


def test_a_file_in_another_encoding_is_refused_with_the_remedy(tmp_path):
    write(tmp_path).write_bytes("study_id,report\ns,Läsion".encode("latin-1"))
    assert "save the table as UTF-8" in complaint(tmp_path / "manifest.csv")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    assert "no such file" in complaint(tmp_path / "none.csv")
    assert "is a folder" in complaint(tmp_path)


def test_a_good_table_keeps_its_order_and_texts_and_knows_its_root(tmp_path):
    table = read_manifest(write(tmp_path, report=["NA", "null", "007"]))
    assert table["report"].tolist() == ["NA", "null", "007"]
    assert table["study_id"].tolist() == GOOD["study_id"]
    assert list(table.columns) == list(manifest.COLUMNS)
    assert table.attrs["root"] == str(tmp_path)
    assert (table["split"] == "").all()


def test_a_byte_order_mark_and_blank_last_lines_do_no_harm(tmp_path):
    path = write(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n\n")
    assert read_manifest(path)["study_id"].tolist() == GOOD["study_id"]


def test_what_was_saved_is_what_is_read(tmp_path):
    table = read_manifest(write(tmp_path, report=["a, b", 'say "x"', "two\nlines"]))
    again = read_manifest(save_manifest(table, tmp_path / "copy.csv"))
    pd.testing.assert_frame_equal(table, again)
    assert digest(again) == digest(table)


def test_saving_that_fails_leaves_the_old_table_whole(tmp_path, monkeypatch):
    path = write(tmp_path)
    before, table = path.read_bytes(), read_manifest(path)

    def to_csv(self, file, **_):
        file.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", to_csv)
    with pytest.raises(OSError, match="disk full"):
        save_manifest(table, path)
    assert path.read_bytes() == before


def test_the_digest_changes_with_every_cell_and_with_the_order_of_rows():
    table = pd.DataFrame(GOOD)
    changed = [table.assign(**{c: [*table[c][:2], "other"]}) for c in table]
    assert len({digest(t) for t in [table, table[::-1], *changed]}) == 2 + len(changed)


PATIENTS = st.lists(st.integers(0, 12), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(PATIENTS, st.integers(0, 5))
def test_no_patient_crosses_a_split_by_patient(patients, seed):
    table = pd.DataFrame({"patient_id": patients, "split": split_by_patient(patients, seed=seed)})
    assert patients_across_splits(table) == []
    assert set(table["split"]) <= set(manifest.SPLITS)


@settings(max_examples=60, deadline=None)
@given(PATIENTS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_a_patients_split(patients, random):
    order = list(range(len(patients)))
    random.shuffle(order)
    shuffled = split_by_patient(np.array(patients)[order])
    assert (shuffled == split_by_patient(patients)[order]).all()


def test_shares_of_rows_are_met_as_closely_as_whole_patients_allow():
    patients = np.repeat(np.arange(400), np.random.default_rng(0).integers(1, 6, 400))
    split = split_by_patient(patients, shares=(0.6, 0.3, 0.1))
    assert [np.mean(split == s) for s in manifest.SPLITS] == pytest.approx([0.6, 0.3, 0.1], abs=0.01)


def test_the_split_depends_on_its_seed_and_on_nothing_else():
    patients = np.arange(100)
    first, np_state = split_by_patient(patients, seed=1), np.random.default_rng(7)
    np_state.random(5)
    assert (first == split_by_patient(patients, seed=1)).all()
    assert (first != split_by_patient(patients, seed=2)).any()


def test_patients_that_cross_splits_are_listed_and_rows_without_split_do_not_count():
    table = pd.DataFrame({"patient_id": list("ccaabbd"), "split": ["val", "test", "train", "test", "train", "train", ""]})
    assert patients_across_splits(table) == ["a", "c"]


CELLS = [fault for fault in FAULTS if fault != "unknown column"]


@pytest.mark.parametrize("fault", CELLS)
def test_read_leniently_a_fault_is_kept_with_its_position_and_column(tmp_path, fault):
    columns, (row, column, *words) = FAULTS[fault]
    table = read_manifest(write(tmp_path, **columns), lenient=True)
    position, found, message = table.attrs["faults"][0]
    assert (f"row {position + 2}", repr(found)) == (row, column)
    assert len(table) == 3
    assert [w for w in words if w not in message and "more fault" not in w] == []


def test_read_leniently_a_good_table_has_no_faults_and_a_strict_one_no_list(tmp_path):
    path = write(tmp_path)
    assert read_manifest(path, lenient=True).attrs["faults"] == []
    assert "faults" not in read_manifest(path).attrs


def test_read_leniently_every_fault_is_kept_and_positions_ignore_blank_lines(tmp_path):
    path = write(tmp_path, age=["old", "", "200"], image=["a.png", "../x", "no.png"], sex=["", "Q", ""])
    path.write_text(path.read_text().replace("\ns2", "\n\ns2"))
    faults = read_manifest(path, lenient=True).attrs["faults"]
    assert sorted((i, column) for i, column, _ in faults) == [(0, "age"), (1, "image"), (1, "sex"), (2, "age"), (2, "image")]
    assert "row 4, column 'sex'" in complaint(write(tmp_path, sex=["", "", "Q"]))


@pytest.mark.parametrize("kind", [k for k in TEXTS if k not in ("row too short", "blank line above")])
def test_what_is_no_manifest_is_refused_even_leniently(tmp_path, kind):
    write(tmp_path).write_text(TEXTS[kind][0])
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "manifest.csv", lenient=True)


@pytest.mark.parametrize("value", [".", "..", "a.png/..", "sub/../../x.png", "sub/.."])
def test_a_folder_reached_by_dots_is_in_the_root_or_refused(tmp_path, value):
    path = write(tmp_path, image=["a.png", "b.png", value])
    inside = (tmp_path / value).resolve().is_relative_to(tmp_path.resolve())
    leaves = [m for _, _, m in read_manifest(path, lenient=True).attrs["faults"] if "leaves" in m]
    assert bool(leaves) is not inside


def test_paths_are_checked_below_a_root_that_is_itself_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "real")
    assert len(read_manifest(tmp_path / "link" / "manifest.csv")) == 3
