"""`medclip-nb experiment`: notebook 90 for each recipe and seed on one dataset, and one page that compares them.

A run that ended well leaves RECIPE-seedN.html, .ipynb, .values.npz and, last of all, .metrics.json, which says of what it is. It
is not run again while recipe, seed, preset, table and image files are what they were.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
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
from ..files import whole, write_text
from ..pages import course
from ..pages.execute import Runner, execute
from ..pages.progress import Progress
from ..pages.site import Outcome, style, template, write_report
from .experiment import VALUES, missing, number_of, refuse, split_table
from .experiment_scores import compare

TRIED = ("clip", "siglip", "ct_glip")  # when no recipe is named: those of them that the data can serve
NOTEBOOK, QUESTION = "90_experiment.ipynb", "Does this recipe help on this data?"


@dataclass(frozen=True)
class Grid:
    """What is run: one dataset under one preset, and where its reports go."""

    data: Dataset
    where: str  # what notebooks load it by
    preset: config.Preset
    folder: Path
    content: str  # hash of the table, and of the names, sizes and times of all images and masks

    def settings(self, recipe: str, seed: int) -> str:
        """A hash of all that makes a run this run."""
        about = [__version__, asdict(RECIPES[recipe]), seed, asdict(self.preset), self.content]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]

    def products(self, recipe: str, seed: int) -> Path:
        """The folder that the notebook writes to."""
        return config.run_dir(number_of(recipe), preset=self.preset.name, dataset=self.where, seed=seed)

    def finished(self) -> dict[tuple[str, int], dict]:
        """Metrics and resampled values of the runs in the folder that are of this grid, by recipe and seed."""
        found = {}
        for file in self.folder.glob("*.metrics.json"):
            record = json.loads(file.read_text(encoding="utf-8"))
            recipe, seed = record["recipe"], record["seed"]
            if recipe in RECIPES and record["settings"] == self.settings(recipe, seed):
                with np.load(_file(self.folder, recipe, seed, VALUES), allow_pickle=False) as stored:
                    found[recipe, seed] = record | {"values": dict(zip(stored["names"].tolist(), stored["values"], strict=True))}
        return found


def run(
    dataset: str, recipes: list[str], *, preset: str, seeds: list[int], folder: Path | None = None, again: bool = False
) -> tuple[Path, list[Outcome]]:
    """Runs what is not finished yet; the page, and what became of each run.

    Each report and the page are written as a run ends, so that an interrupt loses only runs that are on their way. Raises
    ValueError before anything is trained if a recipe is unknown or the data cannot serve it.
    """
    wanted = [choose(RECIPES, "recipe", name).name for name in dict.fromkeys(recipes)]
    grid = open_grid(dataset, preset=preset, folder=folder)
    names = wanted or [name for name in TRIED if not missing(grid.data, RECIPES[name])] or [TRIED[-1]]
    refuse(grid.data, [RECIPES[name] for name in names])
    asked = [(recipe, seed) for seed, recipe in product(dict.fromkeys(seeds), names)]
    done, outcomes, page = {} if again else grid.finished(), [], write_page(grid, names, [])
    with closing(_run(grid, [key for key in asked if key not in done], again=again)) as running:
        for outcome in running:
            outcomes.append(outcome)
            write_page(grid, names, outcomes)
    return page, outcomes


def open_grid(dataset: str, *, preset: str, folder: Path | None = None) -> Grid:
    """Loads a dataset, by name or path, and says where its reports go."""
    level = choose(config.PRESETS, "preset", preset)
    where = dataset if dataset in catalog.EMBEDDED else str(catalog.locate(dataset).resolve())
    data = catalog.load(where, level)
    paths = sorted({data.root / name for column in PATHS for name in data.manifest[column] if name})
    inside = [p for path in paths for p in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    stamps = "".join(f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}\n" for p in inside)
    content = hashlib.sha256(f"{digest(data.manifest)}\n{stamps}".encode()).hexdigest()
    return Grid(data, where, level, folder or config.reports_dir() / "experiments" / data.name, content)


def _run(grid: Grid, keys: list[tuple[str, int]], *, again: bool) -> Iterator[Outcome]:
    """Executes the notebook for some recipes and seeds, two at a time where there are two cores, and keeps what it leaves."""
    runner, cells = Runner(), [_cell(grid, *key) for key in keys]
    for folder in [grid.products(*key) for key in keys if again]:
        shutil.rmtree(folder, ignore_errors=True)
    width = 1 if grid.preset.name == "gpu" else min(2, course._n_cores())
    work = partial(_execute, grid=grid, runner=runner)
    with Progress(len(cells)) as progress:
        for notebook, outcome in course.schedule(cells, work, width=width, progress=progress, stop=runner.stop):
            _keep(grid, notebook, outcome)
            progress.finished(outcome)
            yield outcome


def _cell(grid: Grid, recipe: str, seed: int) -> course.Lesson:
    parameters = {"PRESET": grid.preset.name, "SEED": seed, "DATASET": grid.where, "RECIPE": recipe}
    title = f"{recipe} on {grid.data.name}"
    return course.Lesson(_file(grid.folder, recipe, seed, "ipynb"), "90", title, QUESTION, frozenset(), parameters)


def _execute(cell: course.Lesson, *, grid: Grid, runner: Runner, one_thread: bool) -> tuple[nbformat.NotebookNode, Outcome]:
    """One run; figures that an earlier one left are deleted first, for they are not this one's."""
    recipe, seed = cell.parameters["RECIPE"], cell.parameters["SEED"]
    began, products, metrics, thumbnail = time.monotonic(), grid.products(recipe, seed), {}, ""
    for name in ("metrics.json", VALUES):
        (products / name).unlink(missing_ok=True)
    source = config.shipped("notebooks") / NOTEBOOK
    notebook, error = execute(source, cell.parameters, runner=runner, one_thread=one_thread)
    if error is None:
        metrics, thumbnail, error = course._products(products)
    about = {"number": cell.number, "name": cell.path.stem, "title": cell.title, "question": cell.question, "seed": seed}
    about |= {"preset": grid.preset.name, "dataset": grid.data.name, "date": datetime.now().isoformat(timespec="seconds")}
    seconds = round(time.monotonic() - began, 1)
    return notebook, Outcome(**about, seconds=seconds, error=error, metrics=metrics | {"recipe": recipe}, thumbnail=thumbnail)


def _keep(grid: Grid, notebook: nbformat.NotebookNode, outcome: Outcome) -> None:
    """Writes the report, then what comparisons need; without the last file, the metrics, a run counts as not finished."""
    recipe, seed = outcome.metrics["recipe"], outcome.seed
    metrics = _file(grid.folder, recipe, seed, "metrics.json")
    metrics.unlink(missing_ok=True)
    write_report(notebook, outcome, grid.folder)
    if outcome.error:
        return
    with whole(_file(grid.folder, recipe, seed, VALUES)) as part:
        shutil.copyfile(grid.products(recipe, seed) / VALUES, part)
    write_text(metrics, json.dumps(outcome.metrics | {"seed": seed, "settings": grid.settings(recipe, seed)}, indent=1))


def _file(folder: Path, recipe: str, seed: int, suffix: str) -> Path:
    return folder / f"{recipe}-seed{seed}.{suffix}"


def write_page(grid: Grid, recipes: list[str], outcomes: list[Outcome]) -> Path:
    """The comparison of all finished runs; differences are from the first of `recipes`."""
    runs = grid.finished()
    order = list(dict.fromkeys([*recipes, *(recipe for recipe, _ in runs)]))
    about = {
        "data": grid.data, "preset": grid.preset.name, "splits": split_table(grid.data.manifest).to_dict("index"),
        "recipes": order, "n_runs": len(runs), "rows": compare(runs, order), "failed": [o for o in outcomes if o.error],
        "date": datetime.now().isoformat(" ", timespec="minutes"),
    }  # fmt: skip
    return write_text(grid.folder / "index.html", template("experiment.html").render(**about, style=style()))
