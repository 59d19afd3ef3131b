"""Manifests as parquet: the same rules, rows and words as for CSV, in batches, and only the columns asked for."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_manifest import FAULTS, GOOD, write

from medclip_nb import cli
from medclip_nb.config import PRESETS
from medclip_nb.data import catalog
from medclip_nb.data.manifest import COLUMNS, ManifestError, read_manifest, save_manifest
from medclip_nb.data.parquet import batches

SMOKE = PRESETS["smoke"]


@pytest.fixture(params=[1, 2, 100], autouse=True)
def few_rows_at_a_time(request, monkeypatch):
    monkeypatch.setattr(batches, "__kwdefaults__", {"rows": request.param})


def written(folder, **columns):
    """A manifest in both forms: the CSV and the parquet file."""
    path = write(folder, **columns)
    other = path.with_suffix(".parquet")
    pd.DataFrame(GOOD | columns).to_parquet(other, index=False)
    return path, other


def complaint(path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    return str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_as_it_is_for_csv(tmp_path, fault):
    csv, path = written(tmp_path, **FAULTS[fault][0])
    assert complaint(path) == complaint(csv).replace("manifest.csv", "manifest.parquet")


def test_a_good_table_is_the_one_that_csv_gives(tmp_path):
    csv, path = written(tmp_path, report=["NA", 'say "x", please', "two\nlines"], age=["1", "", "3"])
    pd.testing.assert_frame_equal(read_manifest(path), read_manifest(csv))
    assert read_manifest(path).attrs == {"root": str(tmp_path), "name": str(path)}


def test_only_the_columns_asked_for_are_given_back_and_all_are_checked(tmp_path):
    csv, path = written(tmp_path)
    for one in (csv, path):
        assert list(read_manifest(one, columns=("split", "image")).columns) == ["split", "image"]
    bad = written(tmp_path, report=["one", "", "three"])[1]
    with pytest.raises(ManifestError, match="row 3, column 'report'"):
        read_manifest(bad, columns=("image",))


def test_a_repeated_id_is_found_however_far_above_the_other_is(tmp_path):
    n = 500
    table = pd.DataFrame({"study_id": [f"s{i}" for i in range(n)], "patient_id": "p", "image": "a.png", "report": "x"})
    table.loc[n - 1, "study_id"] = "s0"
    (tmp_path / "a.png").touch()
    table.to_parquet(tmp_path / "manifest.parquet")
    assert "row 501, column 'study_id': 's0' is already used above" in complaint(tmp_path / "manifest.parquet")


def test_lenient_reading_keeps_every_fault_at_its_position(tmp_path):
    csv, path = written(tmp_path, age=["20", "200", ""], study_id=["s", "t", "s"], image=["a.png", "b.png", "d.png"])
    one, other = (sorted(read_manifest(p, lenient=True).attrs["faults"]) for p in (csv, path))
    assert one == other
    assert [i for i, _, _ in one] == [1, 2, 2]


def test_numbers_and_missing_values_become_text(tmp_path):
    path = written(tmp_path)[1]
    pd.DataFrame(GOOD).assign(age=[20, 30, 40], sex=["F", None, "M"]).to_parquet(path, index=False)
    table = read_manifest(path)
    assert table["age"].tolist() == ["20", "30", "40"]
    assert table["sex"].tolist() == ["F", "", "M"]


def test_a_column_of_lists_is_named(tmp_path):
    path = written(tmp_path)[1]
    pq.write_table(pa.table(GOOD | {"findings": [["a"], [], ["b"]]}), path)
    assert "column 'findings' holds list<" in complaint(path)


@pytest.mark.parametrize("content", [None, b"", b"study_id,patient_id\n"])
def test_what_is_no_parquet_file_is_named(tmp_path, content):
    path = tmp_path / "manifest.parquet"
    if content is not None:
        path.write_bytes(content)
    assert complaint(path).startswith(f"{path}: {'no such file' if content is None else 'is not a parquet file'}")


def test_a_table_without_rows_is_refused(tmp_path):
    path = written(tmp_path)[1]
    pd.DataFrame({c: pd.Series([], dtype=str) for c in GOOD}).to_parquet(path)
    assert "holds no rows" in complaint(path)


def test_saving_by_suffix_goes_there_and_back(tmp_path):
    table = read_manifest(written(tmp_path)[1])
    again = read_manifest(save_manifest(table, tmp_path / "copy.parquet"))
    pd.testing.assert_frame_equal(table, again)
    assert list(pq.read_schema(tmp_path / "copy.parquet").names) == list(COLUMNS)


def test_batches_number_their_rows_through_the_file(tmp_path):
    found = list(batches(written(tmp_path)[1], ["report"], rows=2))
    assert [b.index.tolist() for b in found] == [[0, 1], [2]]
    assert [b["report"].tolist() for b in found] == [["one", "two"], ["three"]]


def test_a_manifest_in_a_folder_is_found_in_either_form_but_not_in_both(tmp_path):
    csv, path = written(tmp_path)
    with pytest.raises(ManifestError, match="holds manifest.csv and manifest.parquet; keep one"):
        catalog.load(tmp_path, SMOKE)
    assert catalog.load(path, SMOKE).manifest.attrs["name"] == str(path)
    csv.unlink()
    assert catalog.load(tmp_path, SMOKE).manifest.attrs["name"] == str(path)


def test_a_check_says_the_same_of_both_forms(tmp_path, capsys):
    csv, path = written(tmp_path, split=["train", "val", "test"], modality=["DX", "", "DX"])
    assert [cli.main(["data", "check", str(p), "--preset", "smoke"]) for p in (csv, path)] == [0, 0]
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert "1 patients are in more than one split" in lines[-1]
