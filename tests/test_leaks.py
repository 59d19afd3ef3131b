"""No name or number of a patient gets from headers, metadata and ignored columns into anything that is written.

What the user's own reports say is shown where reports are shown: pages, executed notebooks, and the examples beside an
experiment's figures that its pages are made from. Audit pages mask it; models and caches do not hold it. Names of files and
folders, and the table's own `study_id` and `patient_id`, are the user's.
"""

import gzip
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import planted
import pytest
from PIL import Image, PngImagePlugin
from planted import HIDDEN, SAID, found

from medclip_nb import cli
from medclip_nb.config import PRESETS
from medclip_nb.data.catalog import load
from medclip_nb.data.manifest import save_manifest
from medclip_nb.data.studies import load_units

DATASETS = {"pictures": planted.pictures, "series": planted.series, "niftis": planted.niftis}
# what shows a user's own reports to that user, and the examples that an experiment's pages are made from
REPORTS_SHOWN = (".html", ".ipynb", "metrics.json", "about.json")
COMMANDS = (
    *(f"data check {name} --images" for name in DATASETS),
    *(f"data audit {name}" for name in DATASETS),
    *(f"train {name} --recipe clip --preset smoke" for name in DATASETS),
    "experiment pictures --recipe clip --seed 0 --preset smoke",
    "run 01 --preset smoke --data pictures",
    "evaluate MODEL pictures --preset smoke",
)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """All planted datasets in one folder; products go to another."""
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path / "home"))
    for name, make in DATASETS.items():
        make(tmp_path / "in" / name)
    return tmp_path / "in"


def hide_in(folder) -> None:
    """A word in each kind of file that a run may write, packed as such files are."""
    info = PngImagePlugin.PngInfo()
    info.add_text("x", "Quxwell " * 9, zip=True)
    picture = io.BytesIO()
    Image.new("L", (9, 9)).save(picture, "png", pnginfo=info)
    (folder / "a.png").write_bytes(picture.getvalue())
    (folder / "b.gz").write_bytes(gzip.compress(b"Quxwell"))
    np.savez_compressed(folder / "c.npz", a=np.array(["Quxwell"] * 9))
    pd.DataFrame({"a": ["Quxwell"] * 9}).to_parquet(folder / "d.parquet", compression="zstd")
    (folder / "e.bin").write_bytes(b"\0" + "Quxwell".encode("utf-16-be"))
    with zipfile.ZipFile(folder / "f.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("g", "Quxwell")
    (folder / "h_Quxwell.txt").touch()


def test_the_search_sees_into_every_kind_of_file(tmp_path):
    hide_in(tmp_path)
    np.save(tmp_path / "none.npy", np.zeros(9))
    assert found(tmp_path, ("Quxwell", "absent")) == {"Quxwell": {p.name for p in tmp_path.iterdir()} - {"none.npy"}}


@pytest.mark.parametrize("name", DATASETS)
def test_the_plants_are_there(sources, name):
    assert set(found(sources / name, HIDDEN)) >= {"Quxwell", "Zenobia", "778899", planted.BORN, "445566"}


@pytest.mark.parametrize("name", DATASETS)
def test_nothing_hidden_reaches_the_manifest(sources, name, tmp_path):
    table = load(sources / name, PRESETS["smoke"]).manifest
    (tmp_path / "out").mkdir()
    save_manifest(table, tmp_path / "out" / "manifest.csv")
    assert found(tmp_path / "out", HIDDEN) == {}


@pytest.mark.parametrize("name", DATASETS)
def test_check_and_audit_print_and_write_no_name(sources, name, tmp_path, capsys):
    cli.main(["data", "check", str(sources / name), "--images"])
    cli.main(["data", "audit", str(sources / name)])
    said = capsys.readouterr()
    assert [word for word in (*HIDDEN, *SAID) if word in said.out + said.err] == []
    assert found(tmp_path / "home", (*HIDDEN, *SAID)) == {}


def test_a_name_in_a_report_is_serious_and_masked_on_the_page(sources, tmp_path, capsys):
    assert cli.main(["data", "audit", str(sources / "pictures")]) == 1
    assert "names in reports (4 rows)" in capsys.readouterr().out
    page = (tmp_path / "home" / "reports" / "audit-pictures.html").read_text(encoding="utf-8")
    assert "dark picture, kind 0. [removed]" in page


def test_the_cache_holds_pixels_and_no_names(sources, tmp_path):
    load_units(load(sources / "pictures", PRESETS["smoke"]))
    assert len(list((tmp_path / "home" / "artifacts" / "cache").rglob("*"))) > 24
    assert found(tmp_path / "home", (*HIDDEN, *SAID)) == {}


@pytest.mark.skipif(os.environ.get("MEDCLIP_NB_LONG") != "1", reason="minutes; MEDCLIP_NB_LONG=1 runs it")
def test_no_command_writes_or_prints_what_is_hidden(sources, tmp_path):
    said = ""
    for command in COMMANDS:
        model = next((str(p) for p in (tmp_path / "home").rglob("*pictures*/model") if p.is_dir()), "none")
        words = [str(sources / w) if w in DATASETS else model if w == "MODEL" else w for w in command.split()]
        done = subprocess.run([sys.executable, "-m", "medclip_nb.cli", *words], capture_output=True, text=True)
        assert done.returncode in (0, 1), f"{command}: {done.stderr[-2000:]}"
        said += done.stdout + done.stderr
    assert [word for word in (*HIDDEN, *SAID) if word in said] == []
    assert found(tmp_path / "home", HIDDEN) == {}
    shown = set().union(*found(tmp_path / "home", SAID).values())
    assert {name for name in shown if not name.endswith(REPORTS_SHOWN)} == set()
