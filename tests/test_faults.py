"""Whatever goes wrong while a command writes, there are whole files or none, one line says why, and the next run mends it.

The table: each job (what a command writes, with the smallest inputs) by each fault. Every operation on files is a point to be
killed at; by default three of them are taken, all with

    MEDCLIP_NB_LONG=1 python -m pytest tests/test_faults.py      (minutes)
"""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import faulty
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from faulty import child, count, leftovers, tree
from properties import npz_bytes

from medclip_nb import bench, config, files
from medclip_nb.bench.rows import Row
from medclip_nb.claims import runner, studies
from medclip_nb.config import PRESETS, RECIPES
from medclip_nb.data import cache, catalog, download, phantoms
from medclip_nb.data.adapters.volumes import medmnist
from medclip_nb.data.manifest import all_columns
from medclip_nb.data.preprocessing import picture_contract
from medclip_nb.explore import grid
from medclip_nb.explore.arms import Arm
from medclip_nb.learn.checkpoint import save_model
from medclip_nb.learn.resume import begin_trace, save_state, trace_step
from medclip_nb.measure.embeddings import EmbeddingTable
from medclip_nb.model import text_tower
from medclip_nb.model.dual_encoder import build_model
from medclip_nb.pages import run_times, site
from medclip_nb.pages.audit_page import write_page

LONG = os.environ.get("MEDCLIP_NB_LONG") == "1"
SMOKE = PRESETS["smoke"]
NOISE = np.random.default_rng(0).integers(0, 255, 30_000, np.uint8)


def products() -> Path:
    return config.artifacts_dir()


def cached(turn: int) -> None:
    cache.fetch("a/b", lambda: NOISE)


def texts(turn: int) -> None:
    text_tower._run = lambda texts, tower: np.eye(text_tower.TEXT_DIM, dtype=np.float32)[[len(t) for t in texts]]
    text_tower.embed_texts([f"text {10**i}" for i in range(20)])


def cohort(turn: int) -> None:
    phantoms.write_cohort(products() / "cohort", n_train=1, n_val=1, n_test=1, size=(12, 32, 32), workers=1)


def converted(turn: int) -> None:
    medmnist(config.home().parent / "organamnist.npz", catalog.card("medmnist"))


def got(turn: int) -> None:
    """Two archives that arrive at once."""
    about = {"name": "x", "licence": "CC0", "files": [{"url": f"http://x/{i}.zip"} for i in range(2)]}
    download.card = lambda name: about
    download.date = SimpleNamespace(today=lambda: SimpleNamespace(isoformat=lambda: "2026-01-01"))

    def fetch(file: dict, folder: Path, *, timeout_s: float) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(config.home().parent / "images.zip", folder / Path(file["url"]).name))

    download.fetch = fetch
    try:
        download.get("x", accept_licence=True, folder=products() / "datasets" / "x")
    except download.DownloadError as error:
        if "is already there" not in str(error):
            raise


def audited(turn: int) -> None:
    table = all_columns(pd.DataFrame({"study_id": ["a"], "patient_id": ["p"], "report": ["x"]}))
    found = pd.DataFrame({"severity": ["note"], "check": [f"turn {turn}"], "rows": [[0]], "what": ["x"], "evidence": [None]})
    table.attrs |= {"root": str(config.home()), "name": "x.csv"}
    write_page(found, table, config.reports_dir() / "audit.html")


def measured(turn: int) -> None:
    row = Row("x", float(turn), None, "s", "")
    with mock.patch.multiple(bench, machine=dict, measure=lambda name, quick: [row]):
        bench.run(["start_up"], config.reports_dir() / "bench.json")


def timed(turn: int) -> None:
    run_times._path = lambda: config.home() / "run_times.csv"
    run_times.here = lambda speed: [run_times.RunTime("smoke", "01", 1.0 + turn, 100, 0.5)]
    run_times.shipped = list
    run_times.save(0.5)


def claimed(turn: int) -> None:
    arrays = {"scores": NOISE / 255}
    table = lambda cells, preset: pd.DataFrame({"value": [float(c["scores"].mean()) for c in cells.values()]})  # noqa: E731
    study = SimpleNamespace(cell=lambda *_: arrays, variants=("a", "b"), needs=(), data=(), table=table)
    studies.STUDIES = {"x": study}
    runner._fill = lambda name, variants, preset, seeds: [
        runner._run_cell(name, v, s, preset) for v in variants for s in seeds if not runner._file(name, v, s, preset).exists()
    ]
    runner.run(["x"], preset="smoke", seeds=(0,), into=config.reports_dir() / "claims")


def state(turn: int) -> None:
    """A run's state and trace: turn 0 has done one step, turn 1 a second."""
    weight = torch.nn.Parameter(torch.arange(3000.0) + turn)
    folder, optimizer = products() / "run", torch.optim.AdamW([weight])
    folder.mkdir(parents=True, exist_ok=True)
    begin_trace(folder, turn)
    trace_step(folder, 1, turn + 1, 0.5)
    save_state(folder, {"settings": {}, "steps": turn + 1}, {"model": {"w": weight}}, optimizer)


def model(turn: int) -> None:
    torch.set_num_threads(1)
    made = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=turn)
    save_model(made, products() / "model", contract=picture_contract(16), seen=np.zeros((1, 1, 2, 2)), card=f"turn {turn}")


def embeddings(turn: int) -> None:
    table = EmbeddingTable(np.full((500, 8), turn, np.float32), pd.DataFrame({"turn": np.full(500, turn)}))
    table.save(products() / "embeddings", "test")


def notebook() -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A\n" + "x " * 5000, id="a")])


def reported(turn: int) -> None:
    """What `run` writes of two lessons."""
    for number in ("01", "02"):
        about = site.Outcome(number, f"{number}_x", "T", "Q", "cpu", "torso", 0, 1.0 + turn, "2026-01-02")
        site.write_report(notebook(), about, config.reports_dir())
        site.write_index(config.reports_dir())


def experimented(turn: int) -> None:
    """What `experiment` writes of two runs, that of a finished one left alone; there is no page on all."""
    data = catalog.Dataset("x", pd.DataFrame({"image": []}), picture_contract(16), synthetic=True)
    made = grid.Grid(data, "x", SMOKE, config.reports_dir() / "experiments", "0")
    for key in [(Arm("clip"), seed) for seed in (0, 1)]:
        if key in made.finished():
            continue
        folder = made.products(*key)
        folder.mkdir(parents=True, exist_ok=True)
        with files.whole(folder / grid.VALUES) as part, part.open("wb") as file:
            np.savez(file, names=np.array(["R@1"]), values=np.zeros((1, 4)))
        files.write_text(folder / grid.ABOUT, json.dumps({}))
        outcome = site.Outcome("90", f"clip-seed{key[1]}", "T", "Q", "smoke", "x", key[1], 1.0, "2026-01-02")
        grid._keep(made, key, notebook(), outcome)


# job -> what command writes so; a second turn replaces what the first has written
JOBS = {
    cached: "all: cache of images",
    texts: "all: cache of texts",
    cohort: "data check torso: the cohort",
    converted: "data check FILE.npz",
    got: "data get",
    audited: "data audit",
    measured: "bench",
    timed: "check --commit",
    claimed: "claims",
    state: "train: state and trace",
    model: "train: model folder",
    embeddings: "run: embeddings",
    reported: "run: pages",
    experimented: "experiment",
}
REFUSES_A_SECOND = (got,)
TURNS = (audited, measured, timed, model, embeddings, reported)


@pytest.fixture(scope="module")
def folder():
    """A home that another user may look into, and inputs beside it."""
    with faulty.open_folder() as folder:
        (folder / "organamnist.npz").write_bytes(npz_bytes())
        (folder / "pixels").write_bytes(NOISE.tobytes())
        shutil.make_archive(str(folder / "images"), "zip", folder, "pixels")
        (folder / "home").mkdir()
        yield folder


@pytest.fixture(scope="module", autouse=True)
def warm(folder):
    """Imports done once here need not be done in each child."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDCLIP_NB_HOME", str(folder / "home"))
        for job in (state, reported, audited, cohort, embeddings, measured):
            job(0)


@pytest.fixture
def home(folder, monkeypatch) -> Path:
    """The same for all jobs, so that what they leave is known once; emptied."""
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(folder / "home"))
    emptied(folder / "home")
    return folder / "home"


def emptied(home: Path) -> None:
    for path in home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


class Undisturbed:
    """What a job leaves in each of its turns when nothing goes wrong; `again` makes a home as it is before the last turn."""

    def __init__(self, job, home: Path):
        self.job, self.turn, self.home, self.first = job, int(job in TURNS), home, lambda: job(0)
        self.last = lambda: job(self.turn)
        self.trees = LEFT.setdefault(job, [{}])
        for turn in range(self.turn + 1 if len(self.trees) == 1 else 0):
            ended = child(lambda turn=turn: job(turn))
            assert ended.code == 0, ended.stderr
            self.trees.append(tree(home))

    def again(self) -> None:
        emptied(self.home)
        if self.turn:
            child(self.first)

    def assert_whole(self) -> None:
        """Each file is as some turn leaves it; those of a model folder are of one turn, or not there."""
        found = tree(self.home)
        assert found.items() <= {pair for one in self.trees for pair in one.items()} or self.home_grew(found)
        assert "artifacts/model/config.json" not in self.trees[-1] or found in self.trees

    def home_grew(self, found: dict) -> bool:
        """Files that a later file changes, as the page on all lessons and a trace do, and archives that wait for others."""
        pages = {name for name in found if name.startswith("reports/") or name.endswith("trace.csv") or ".download/" in name}
        return found.items() - {(n, found[n]) for n in pages} <= {pair for one in self.trees for pair in one.items()}

    def assert_mended(self) -> None:
        """The next run ends well, leaves the same as an undisturbed one, and has swept up."""
        ended = child(self.last)
        assert ended.code == 0, ended.stderr
        assert tree(self.home) == self.trees[-1]
        assert leftovers(self.home) == []


@pytest.fixture
def job(request, home):
    return Undisturbed(request.param, home)


LEFT: dict = {}  # job -> what it leaves in each turn
every_job = pytest.mark.parametrize("job", JOBS, ids=JOBS.values(), indirect=True)


def points(job) -> list[int]:
    """At which operations there is a fault: the last but one, and others spread evenly; all if there is time."""
    job.again()
    n = count(job.last)
    assert n
    return list(range(1, n + 1)) if LONG else sorted({max(1, n // 3), max(1, 2 * n // 3), max(1, n - 1)})


@every_job
def test_killed_at_an_operation(job):
    for number in points(job):
        job.again()
        assert child(job.last, faulty.killed_at(number)).code == -signal.SIGKILL
        job.assert_whole()
        job.assert_mended()


@every_job
def test_killed_in_the_middle_of_a_write(job):
    for n_bytes in (0, 100, 5000) if LONG else (100,):
        job.again()
        ended = child(job.last, faulty.killed_in_write(n_bytes))
        assert ended.code in (0, -signal.SIGXFSZ)
        assert ended.code or n_bytes
        job.assert_whole()
        job.assert_mended()


@every_job
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupted(job, signum):
    for number in points(job) if LONG else points(job)[1:2]:
        job.again()
        ended = child(job.last, faulty.interrupted_at(number, signum))
        assert (ended.code, ended.stderr) == (130, "medclip-nb: interrupted\n")
        job.assert_whole()
        job.assert_mended()


def assert_told(ended: SimpleNamespace, home: Path, *why: str) -> None:
    """Exit code 2 and one line: where, why, what to do."""
    assert ended.code == 2, ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("medclip-nb: error: ")
    assert str(home) in ended.stderr
    assert any(f"cannot be written: {reason}" in ended.stderr for reason in why)
    assert files.REMEDY in ended.stderr


@every_job
def test_no_room_for_a_file(job):
    for n_bytes in (0, 100, 5000) if LONG else (100,):
        job.again()
        ended = child(job.last, faulty.no_file_above(n_bytes))
        if ended.code or not n_bytes:
            assert_told(ended, job.home, "files may not become that large here")
            assert leftovers(job.home) == []
        job.assert_whole()
        job.assert_mended()


@every_job
def test_the_disk_is_full(job):
    with faulty.mounted(job.home, free_bytes=0) as there:
        if not there:
            pytest.skip("mounting a small disk needs root; test_no_room_for_a_file has the same with a limit")
        assert_told(child(job.last), job.home, "the disk is full")
        assert leftovers(job.home) == []
        (job.home / "filler").unlink()
        ended = child(job.last)
        assert ended.code == 0, ended.stderr
        assert tree(job.home) == job.trees[-1] or job.turn


@every_job
def test_the_folder_is_read_only(job):
    emptied(job.home)
    os.chmod(job.home, 0o555)
    assert_told(child(job.last, faulty.without_rights), job.home, "you may not write there")
    os.chmod(job.home, 0o755)
    assert list(job.home.iterdir()) == []


@every_job
def test_the_disk_is_read_only(job):
    with faulty.mounted(job.home, free_bytes=1 << 20) as there:
        if not there:
            pytest.skip("mounting a read-only disk needs root; test_the_folder_is_read_only has the same with rights")
        subprocess.run(["mount", "-o", "remount,ro", str(job.home)], check=True)
        assert_told(child(job.last), job.home, "the disk is read-only")


@every_job
def test_two_processes_at_once(job):
    job.again()
    pids = []
    for _ in range(2):
        pids.append(os.fork())
        if pids[-1] == 0:
            os._exit(child(job.last).code)
    codes = {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}
    assert codes == {0} or (codes == {0, 2} and job.job in REFUSES_A_SECOND)
    job.assert_whole()
    job.assert_mended()
