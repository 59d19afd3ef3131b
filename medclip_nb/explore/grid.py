"""`medclip-nb experiment`: notebook 90 for each arm (recipe, pooling, tower) and seed on one dataset, and one page on all.

A run that ended well leaves ARM-seedN.html, .ipynb, .values.npz and, last of all, .metrics.json, which says of what it is. It is
not run again while arm, seed, preset, table and image files are what they were. One that was killed goes on from its last epoch.
"""

import hashlib
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from itertools import product
from pathlib import Path

import nbformat
import numpy as np

from .. import __version__, config
from ..config import RECIPES, choose
from ..data import catalog
from ..data.catalog import Dataset
from ..data.manifest import PATHS, digest
from ..files import held, read_json, sha256, whole, write_text
from ..pages import course
from ..pages.execute import Runner, execute
from ..pages.progress import Progress
from ..pages.site import Outcome, write_report
from .arms import Arm, number_of, refuse, suited
from .experiment import ABOUT, VALUES
from .page import comparison
from .prepare import read_all

NOTEBOOK, QUESTION = "90_experiment.ipynb", "Does this recipe help on this data?"
Runs = dict[tuple[Arm, int], dict]


@dataclass(frozen=True)
class Asked:
    """What somebody wants compared; without a recipe those that suit the data, without pooling or tower the usual one."""

    recipes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    poolings: tuple[str, ...] = ()
    towers: tuple[str, ...] = ()

    def arms(self, data: Dataset) -> list[Arm]:
        """All combinations, each once. Raises ValueError for an unknown recipe."""
        recipes = [choose(RECIPES, "recipe", name).name for name in self.recipes] or suited(data)
        towers = [str(Path(tower).resolve()) if Path(tower).is_dir() else tower for tower in self.towers]
        return list(dict.fromkeys(Arm(*parts) for parts in product(recipes, self.poolings or [""], towers or [""])))


@dataclass(frozen=True)
class Grid:
    """Where a comparison is made: one dataset under one preset, and where its reports go."""

    data: Dataset
    where: str  # what notebooks load it by
    preset: config.Preset
    folder: Path
    content: str  # hash of the table, and of the names, sizes and times of all images and masks

    def settings(self, arm: Arm, seed: int) -> str:
        """A hash of all that makes a run this run."""
        tower = sha256(arm.tower) if arm.tower and Path(arm.tower).is_dir() else arm.tower
        about = [__version__, asdict(RECIPES[arm.recipe]), arm.pooling, tower, seed, asdict(self.preset), self.content]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]

    def products(self, arm: Arm, seed: int) -> Path:
        """The folder that the notebook writes to."""
        return config.run_dir(number_of(*arm), preset=self.preset.name, dataset=self.where, seed=seed)

    def finished(self) -> Runs:
        """Metrics and resampled values of the runs in the folder that are of this grid, by arm and seed."""
        found = {}
        for file in sorted(self.folder.glob("*.metrics.json")):
            record = read_json(file)
            arm, seed = Arm(*record.get("arm", [""])), record["seed"]  # older versions named none
            if arm.recipe in RECIPES and record["settings"] == self.settings(arm, seed):
                found[arm, seed] = record | {"values": _read_values(_file(self.folder, arm, seed, VALUES))}
        return found


def run(
    dataset: str, asked: Asked, *, preset: str, folder: Path | None = None, again: bool = False
) -> tuple[Path, list[Outcome]]:
    """Runs what is not finished yet; the page, and what became of each run.

    Each report and the page are written as a run ends, so that an interrupt loses only runs that are on their way. All arms of
    the first seed come first: they can be compared early. Raises ValueError before anything is trained if an arm is unknown, the
    data cannot serve it, or another process is at work in the folder.
    """
    grid = open_grid(dataset, preset=preset, folder=folder)
    arms = asked.arms(grid.data)
    refuse(grid.data, arms)
    read_all(grid.data, arms)
    keys = [(arm, seed) for seed, arm in product(dict.fromkeys(asked.seeds), arms)]
    with _alone(grid):
        done, outcomes, page = {} if again else grid.finished(), [], write_page(grid, arms, [])
        with closing(_run(grid, [key for key in keys if key not in done], again=again)) as running:
            for outcome in running:
                outcomes.append(outcome)
                write_page(grid, arms, outcomes)
    return page, outcomes


@contextmanager
def _alone(grid: Grid) -> Iterator[None]:
    """No other process writes the same reports or trains into the same folders meanwhile; a killed one holds nothing."""
    label = f"{config.label_of(grid.where)}-{grid.preset.name}"
    files = (grid.folder / ".lock", config.artifacts_dir() / "lessons" / f".{label}.lock")
    with ExitStack() as locks:
        for file in files:
            busy = f"{file.parent}: another experiment on {grid.data.name} is running here; wait for its end"
            locks.enter_context(held(file, lambda busy=busy: busy))
        yield


def open_grid(dataset: str, *, preset: str, folder: Path | None = None) -> Grid:
    """Loads a dataset, by name or path, and says where its reports go."""
    level = choose(config.PRESETS, "preset", preset)
    where = dataset if dataset in catalog.EMBEDDED else str(catalog.locate(dataset).resolve())
    data = catalog.load(where, level)
    paths = sorted({data.root / name for column in PATHS for name in data.manifest[column] if name})
    inside = [p for path in paths for p in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    stamps = "".join(f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}\n" for p in inside)
    content = hashlib.sha256(f"{digest(data.manifest)}\n{stamps}".encode()).hexdigest()
    return Grid(data, where, level, folder or config.reports_dir() / "experiments" / config.label_of(where), content)


def _run(grid: Grid, keys: list[tuple[Arm, int]], *, again: bool) -> Iterator[Outcome]:
    """Executes the notebook for some arms and seeds, two at a time where there are two cores, and keeps what it leaves."""
    runner, cells = Runner(), {_cell(grid, *key): key for key in keys}
    for folder in [grid.products(*key) for key in keys if again]:
        shutil.rmtree(folder, ignore_errors=True)
    width = 1 if grid.preset.name == "gpu" else min(2, course.n_cores())
    work = partial(_execute, grid=grid, keys=cells, runner=runner)
    with Progress(len(cells), at_once=width) as progress:
        for key, notebook, outcome in course.schedule(list(cells), work, width=width, progress=progress, stop=runner.stop):
            _keep(grid, key, notebook, outcome)
            progress.finished(outcome)
            yield outcome


def _cell(grid: Grid, arm: Arm, seed: int) -> course.Lesson:
    parameters = {"PRESET": grid.preset.name, "SEED": seed, "DATASET": grid.where}
    parameters |= {"RECIPE": arm.recipe, "POOLING": arm.pooling, "TOWER": arm.tower}
    title = f"{arm.label} on {grid.data.name}"
    return course.Lesson(_file(grid.folder, arm, seed, "ipynb"), "90", title, QUESTION, frozenset(), parameters)


def _execute(
    cell: course.Lesson, *, grid: Grid, keys: dict, runner: Runner, one_thread: bool
) -> tuple[tuple[Arm, int], nbformat.NotebookNode, Outcome]:
    """One run; figures that an earlier one left are deleted first, for they are not this one's."""
    key, began, metrics, thumbnail = keys[cell], time.monotonic(), {}, ""
    products = grid.products(*key)
    for name in ("metrics.json", VALUES, ABOUT):
        (products / name).unlink(missing_ok=True)
    source = config.shipped("notebooks") / NOTEBOOK
    notebook, error = execute(source, cell.parameters, runner=runner, one_thread=one_thread)
    if error is None:
        metrics, thumbnail, error = course.products_of(products)
    about = {"number": cell.number, "name": cell.path.stem, "title": cell.title, "question": cell.question, "seed": key[1]}
    about |= {"preset": grid.preset.name, "dataset": grid.data.name, "date": datetime.now().isoformat(timespec="seconds")}
    seconds = round(time.monotonic() - began, 1)
    return (
        key,
        notebook,
        Outcome(**about, seconds=seconds, error=error, metrics=metrics | {"experiment": True}, thumbnail=thumbnail),
    )


def _keep(grid: Grid, key: tuple[Arm, int], notebook: nbformat.NotebookNode, outcome: Outcome) -> None:
    """Writes the report, then what comparisons need; without the last file, the metrics, a run counts as not finished."""
    (arm, seed), products = key, grid.products(*key)
    metrics = _file(grid.folder, arm, seed, "metrics.json")
    metrics.unlink(missing_ok=True)
    write_report(notebook, outcome, grid.folder)
    if outcome.error:
        return
    with whole(_file(grid.folder, arm, seed, VALUES)) as part:
        shutil.copyfile(products / VALUES, part)
    about = {"arm": arm, "seed": seed, "settings": grid.settings(arm, seed), "wall_seconds": outcome.seconds}
    about |= {"about": json.loads((products / ABOUT).read_text(encoding="utf-8"))}
    write_text(metrics, json.dumps(outcome.metrics | about, indent=1))


def _read_values(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return dict(zip(stored["names"].tolist(), stored["values"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: cannot be read ({error}); run the experiment with --again") from None


def _file(folder: Path, arm: Arm, seed: int, suffix: str) -> Path:
    return folder / f"{arm.slug}-seed{seed}.{suffix}"


def write_page(grid: Grid, arms: list[Arm], outcomes: list[Outcome]) -> Path:
    """The comparison of all finished runs; differences are from the first of `arms`."""
    runs = grid.finished()
    order = list(dict.fromkeys([*arms, *(arm for arm, _ in runs)]))
    failed = [outcome for outcome in outcomes if outcome.error]
    return write_text(grid.folder / "index.html", comparison(grid.data, grid.preset.name, order, runs, failed))
