"""The course as a user runs it: every lesson through the command line at preset smoke, as shipped and solved."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from medclip_nb import config
from medclip_nb.pages.course import choose
from medclip_nb.pages.execute import injected

LESSONS = choose(None)
NOT_TRAINING = ("01", "02", "03", "04")
FOREIGN = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?https?:|@import""", re.IGNORECASE)
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)


def run_cli(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "medclip_nb.cli", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="session")
def reports(home) -> Path:
    """The whole course at preset smoke, with the network blocked."""
    done = run_cli("run", "--preset", "smoke", "--seed", "3")
    assert done.returncode == 0, done.stderr[-3000:]
    return home / "reports"


def solved(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its exercises answered by their references, up to the last check."""
    last = max(i for i, cell in enumerate(notebook.cells) if "check" in cell.metadata.get("tags", []))
    for cell in notebook.cells[: last + 1]:
        if "exercise" in cell.metadata.get("tags", []):
            module, name = cell.metadata["reference"].split(":")
            mine = re.search(r"def (my_\w+)", cell.source).group(1)
            cell.source = f"from {module} import {name} as {mine}"
    notebook.cells = notebook.cells[: last + 1]
    return notebook


def printed(notebook: nbformat.NotebookNode, tag: str) -> list[str]:
    cells = [c for c in notebook.cells if tag in c.metadata.get("tags", [])]
    return ["".join(o.get("text", "") for o in c.outputs).strip() for c in cells]


@each_lesson
def test_lesson_runs_as_shipped_with_the_parameters_it_was_given(lesson, reports):
    executed = nbformat.read(reports / lesson.path.name, 4)
    assert injected(executed) == {"PRESET": "smoke", "SEED": 3, "DATASET": lesson.parameters["DATASET"]}
    assert "preset smoke · seed 3" in printed(executed, "setup")[0]


@each_lesson
def test_lesson_writes_figures_with_interval_and_chance_or_the_reason(lesson, reports):
    folder = reports.parent / "artifacts" / "lessons" / f"{lesson.number}-{lesson.parameters['DATASET']}-smoke-seed3"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["synthetic"]
    assert sum(f["key"] for f in metrics["figures"]) == 1
    assert all(f["low"] <= f["value"] <= f["high"] for f in metrics["figures"])


@each_lesson
def test_report_page_asks_no_other_host_for_anything(lesson, reports):
    page = (reports / lesson.path.with_suffix(".html").name).read_text()
    assert not FOREIGN.search(re.sub(r"<a\s[^>]*>", "", page))
    assert "<img" in page


def test_index_shows_every_lesson_with_its_key_figure(reports):
    index = (reports / "index.html").read_text()
    assert all(lesson.title in index for lesson in LESSONS)
    assert not FOREIGN.search(re.sub(r"<a\s[^>]*>", "", index))


@each_lesson
def test_lesson_solved_gets_a_tick_for_every_exercise(lesson, reports, tmp_path):
    notebook = solved(nbformat.read(lesson.path, 4))
    source, result = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    nbformat.write(notebook, source)
    options = ["-k", "python3", "--no-progress-bar", "-p", "PRESET", "smoke", "-p", "SEED", "3"]
    subprocess.run([sys.executable, "-m", "papermill", source, result, *options], check=True, capture_output=True)
    ticks = printed(nbformat.read(result, 4), "check")
    assert len(ticks) >= 2
    assert all("✓ correct" in text or "✓ mended" in text for text in ticks)


@each_lesson
def test_lesson_as_shipped_says_of_every_exercise_that_it_waits(lesson, reports):
    said = printed(nbformat.read(reports / lesson.path.name, 4), "check")
    assert all(text.startswith(("○ not attempted yet", "○ the bug is still there: for input ")) for text in said)


@each_lesson
def test_exercises_name_a_reference_that_exists(lesson):
    cells = [c for c in nbformat.read(lesson.path, 4).cells if "exercise" in c.metadata.get("tags", [])]
    for cell in cells:
        module, name = cell.metadata["reference"].split(":")
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("lesson", [x for x in LESSONS if x.number in NOT_TRAINING], ids=lambda lesson: lesson.number)
def test_nbval_accepts_a_lesson_that_trains_nothing(lesson, reports, tmp_path):
    copy = tmp_path / lesson.path.name
    copy.write_bytes((reports / lesson.path.name).read_bytes())
    options = ["--nbval-lax", "--nbval-cell-timeout=120", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", tmp_path]
    done = subprocess.run([sys.executable, "-m", "pytest", copy, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_lessons_run_on_real_images_of_medpix(reports, real_data):
    done = run_cli("run", "05", "11", "--preset", "smoke", "--data", str(real_data / "MedPix-2.0"))
    assert done.returncode == 0, done.stderr[-3000:]
    folder = reports.parent / "artifacts" / "lessons" / f"05-{config.label_of((real_data / 'MedPix-2.0').resolve())}-smoke-seed0"
    figures = {f["name"]: f for f in json.loads((folder / "metrics.json").read_text())["figures"]}
    assert figures["zero-shot modality accuracy"]["low"] > figures["zero-shot modality accuracy"]["chance"]


def test_lessons_run_on_a_folder_of_pictures_that_has_texts_and_nothing_else(reports, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (20, 16), np.uint8)).save(tmp_path / f"{i}.png")
    rows = [f"{i}.png,finding {i % 4},p{i // 2}" for i in range(40)]
    (tmp_path / "texts.csv").write_text("\n".join(["image,text,patient_id", *rows]))
    done = run_cli("run", "01", "05", "10", "11", "--preset", "smoke", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]


BAD_FOLDERS = {
    "no CSV file": {},
    "separate columns by commas": {"texts.csv": "image;text\na.png;x\n"},
    "row 2, column 'report'": {"texts.csv": "image,text\na.png,\n"},
    "row 3, column 'image'": {"texts.csv": "image,text\na.png,x\nb.png,y\n"},
    "row 3, column 'study_id'": {"texts.csv": "study_id,image,text\n1,a.png,x\n1,a.png,y\n"},
    "unknown column 'pateint'": {"texts.csv": "image,text,pateint\na.png,x,1\n"},
    "leaves the manifest's folder": {"texts.csv": "image,text\n../a.png,x\n"},
    "row 2, column 'image'": {"texts.csv": "image,text\nbad.png,x\n"},
}


@pytest.mark.parametrize("message", BAD_FOLDERS)
def test_bad_folder_ends_in_one_line_and_code_2_before_anything_is_written(
    message, tmp_path, picture_folder, monkeypatch, capsys
):
    from medclip_nb.cli import main

    home, folder = tmp_path / "home", tmp_path / "images"
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(home))
    folder.mkdir()
    (folder / "a.png").write_bytes((picture_folder / "0.png").read_bytes())
    (folder / "bad.png").write_bytes(b"no picture")
    for name, text in BAD_FOLDERS[message].items():
        (folder / name).write_text(text)
    assert main(["run", "05", "--preset", "smoke", "--data", str(folder)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert len(said) == 1
    assert not (home / "reports").exists()
