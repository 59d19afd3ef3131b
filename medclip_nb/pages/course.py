"""Which lessons there are, and running them: two at a time where they do not need each other."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nbformat

from .. import config
from ..config import n_cores
from ..files import write_text
from .execute import PARAMETERS, Runner, execute, literals, tagged
from .progress import Progress
from .site import Outcome, data_uri, heading, write_index, write_report
from .tidy import committed


@dataclass(frozen=True, eq=False)
class Lesson:
    """A numbered notebook as shipped."""

    path: Path
    number: str
    title: str
    question: str
    needs: frozenset[str]  # numbers of the lessons whose products it reads
    parameters: dict  # literals of its `parameters` cell
    own_data: str = ""  # why it runs on its own data only; empty: it runs on any


TEMPLATE = "90"  # notebook that `medclip-nb experiment` runs, no lesson of the course


def lessons() -> list[Lesson]:
    """All lessons, by number."""
    return [_read(path) for path in sorted(config.shipped("notebooks").glob("[0-9][0-9]_*.ipynb"))]


def _read(path: Path) -> Lesson:
    try:
        notebook = nbformat.read(path, as_version=4)
        cells = tagged(notebook, "parameters")
        parameters = literals(cells[0].source) if cells else {}
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{path.name}: not a notebook with literal parameters ({str(error).splitlines()[0]})") from error
    missing = [name for name in PARAMETERS if name not in parameters]
    if missing:
        raise ValueError(f"{path.name}: no cell tagged 'parameters' that sets {', '.join(missing)}")
    title, question = heading(notebook)
    about = notebook.metadata.get("medclip_nb", {})
    needs = frozenset(str(n).zfill(2) for n in about.get("needs", []))
    return Lesson(path, path.name[:2], title or path.stem, question, needs, parameters, about.get("own_data", ""))


def choose(numbers: list[str] | None) -> list[Lesson]:
    """The lessons of these numbers ("5" means "05"), for None all but the template; ValueError lists the known ones."""
    every = lessons()
    wanted = {str(n).zfill(2) for n in numbers} if numbers else {lesson.number for lesson in every} - {TEMPLATE}
    known = [lesson.number for lesson in every]
    if unknown := sorted(wanted - set(known)):
        raise ValueError(f"unknown lesson {unknown[0]!r}; known lessons: {', '.join(known) or 'none'}")
    return [lesson for lesson in every if lesson.number in wanted]


def fitting(numbers: list[str] | None, dataset: str | None) -> list[Lesson]:
    """`choose`, without the lessons that cannot run on `dataset`; ValueError with the reason if one was asked for by number."""
    chosen = choose(numbers)
    unfit = [lesson for lesson in chosen if dataset and lesson.own_data and dataset != lesson.parameters["DATASET"]]
    if unfit and numbers:
        raise ValueError(f"lesson {unfit[0].number} runs on its own data only: {unfit[0].own_data}")
    return [lesson for lesson in chosen if lesson not in unfit]


def run_course(numbers: list[str] | None = None, *, preset: str, dataset: str | None = None, seed: int = 0) -> list[Outcome]:
    """Runs lessons, writes their reports and the index as each one ends; a failing lesson does not stop the others.

    `dataset` None leaves each lesson the one it was written for; with one, lessons that run on no other are left out. An
    interrupt ends all kernels and leaves whole files.
    """
    config.choose(config.PRESETS, "preset", preset)
    chosen = fitting(numbers, dataset)
    dataset = str(Path(dataset).resolve()) if dataset and os.sep in dataset else dataset
    runner, outcomes = Runner(), []
    work = partial(run_lesson, preset=preset, dataset=dataset, seed=seed, runner=runner)
    # one GPU serves one lesson at a time
    width = 1 if preset == "gpu" else min(2, n_cores())
    try:
        with Progress(len(chosen)) as progress:
            for notebook, outcome in schedule(chosen, work, width=width, progress=progress, stop=runner.stop):
                write_report(notebook, outcome, config.reports_dir())
                write_index(config.reports_dir())
                outcomes.append(outcome)
                progress.finished(outcome)
    finally:
        runner.stop()
    return sorted(outcomes, key=lambda outcome: outcome.number)


def schedule(
    chosen: list[Lesson], work: Callable, *, width: int, progress: Progress, stop: Callable
) -> Iterator[tuple[nbformat.NotebookNode, Outcome]]:
    """Yields what `work(lesson, one_thread=...)` returns as lessons end; a lesson waits for those it needs.

    At most `width` run at once, one thread each; a lesson that runs alone has all cores. `stop` is called in the end,
    be it by an interrupt.
    """
    order, ready, running = _order(chosen), [], {}
    with ThreadPoolExecutor(width) as pool:
        try:
            while order.is_active():
                ready += sorted(order.get_ready(), key=lambda lesson: lesson.number)
                shared = width > 1 and len(ready) + len(running) > 1
                while ready and len(running) < width:
                    lesson = ready.pop(0)
                    running[pool.submit(work, lesson, one_thread=shared)] = lesson
                progress.show(running.values())
                for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                    order.done(running.pop(future))
                    yield future.result()
        finally:
            # leaving the pool waits for its threads, which wait for their processes
            stop()


def _order(chosen: list[Lesson]) -> TopologicalSorter:
    by_number = {lesson.number: lesson for lesson in chosen}
    needs = {lesson: [by_number[n] for n in lesson.needs if n in by_number] for lesson in chosen}
    order = TopologicalSorter(needs)
    try:
        order.prepare()
    except CycleError as error:
        circle = " -> ".join(lesson.number for lesson in error.args[1])
        raise ValueError(f"lessons need each other in a circle: {circle}") from None
    return order


def run_lesson(
    lesson: Lesson, *, preset: str, dataset: str | None, seed: int, runner: Runner, one_thread: bool
) -> tuple[nbformat.NotebookNode, Outcome]:
    """Executes one lesson; the executed notebook and what became of it."""
    started = time.monotonic()
    dataset = dataset or lesson.parameters["DATASET"]
    products = config.run_dir(lesson.number, preset=preset, dataset=dataset, seed=seed)
    before = _stamp(products / "metrics.json")
    parameters = dict(zip(PARAMETERS, (preset, seed, dataset), strict=True))
    notebook, error = execute(lesson.path, parameters, runner=runner, one_thread=one_thread)
    metrics, thumbnail = {}, ""
    # an earlier run's figures are not this one's
    if error is None and _stamp(products / "metrics.json") != before:
        metrics, thumbnail, error = products_of(products)
    outcome = Outcome(
        number=lesson.number,
        name=lesson.path.stem,
        title=lesson.title,
        question=lesson.question,
        preset=preset,
        dataset=Path(dataset).name,
        seed=seed,
        seconds=round(time.monotonic() - started, 1),
        date=datetime.now().isoformat(timespec="seconds"),
        error=error,
        metrics=metrics,
        thumbnail=thumbnail,
    )
    return notebook, outcome


def _stamp(path: Path) -> tuple[int, int] | None:
    status = path.stat() if path.exists() else None
    return status and (status.st_mtime_ns, status.st_ino)


def products_of(folder: Path) -> tuple[dict, str, str | None]:
    """Metrics, thumbnail and what is wrong with them."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except ValueError as error:
        return {}, "", f"metrics.json: not JSON ({error})"
    if not isinstance(metrics, dict):
        return {}, "", f"metrics.json: wanted an object, found {type(metrics).__name__}"
    return metrics, data_uri(folder / Path(metrics.get("thumbnail") or "thumbnail.png").name), None


def render_committed(number: str):
    """Runs one lesson at preset cpu and writes its outputs back into the shipped notebook, clean."""
    (lesson,) = choose([number])
    (outcome,) = run_course([number], preset="cpu")
    if outcome.error:
        raise ValueError(f"{lesson.path.name}: left as it was, because it failed in {outcome.error}")
    executed = nbformat.read(config.reports_dir() / lesson.path.name, as_version=4)
    clean = committed(nbformat.read(lesson.path, as_version=4), executed)
    write_text(lesson.path, nbformat.writes(clean) + "\n")
