"""What a lesson starts and finishes with, and what it says to its reader in between."""

import hashlib
import inspect
import json
import os
import re
import resource
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import PRESETS, Preset, choose, run_dir
from ..data.catalog import Dataset, load
from ..data.manifest import digest
from ..files import whole, write_text
from ..measure.statistics import Score
from ..show.plots import set_style

PACKAGES = ("torch", "transformers", "accelerate", "numpy", "pandas", "scikit-learn", "umap-learn", "matplotlib")
MIB = 1024
NO_DATA = {"dataset": "", "synthetic": True, "notes": [], "data_sha256": "", "split_sha256": ""}  # of a lesson on made-up numbers


class Lesson:
    """One run of one lesson: its settings, its data and the folder its products go to."""

    def __init__(self, number: str, *, preset: Preset, seed: int, dataset: str):
        self.number, self.preset, self.seed, self.dataset = number, preset, seed, dataset
        self.folder = run_dir(number, preset=preset.name, dataset=dataset, seed=seed)
        self.began = time.perf_counter()
        self._data: Dataset | None = None

    @property
    def data(self) -> Dataset:
        """The dataset, loaded (and, if synthetic, generated) when it is first asked for."""
        if self._data is None:
            self._data = load(self.dataset, self.preset)
        return self._data

    def sibling(self, number: str) -> Path:
        """Folder of another lesson's products at the same settings."""
        return run_dir(number, preset=self.preset.name, dataset=self.dataset, seed=self.seed)


def start(number: str, *, preset: str, seed: int, dataset: str) -> Lesson:
    """Sets seeds and figure style, says in one line what runs where, and gives the lesson."""
    import torch

    from ..learn.plan import keep_freed_memory

    lesson = Lesson(number, preset=choose(PRESETS, "preset", preset), seed=seed, dataset=dataset)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    np.random.seed(seed)  # noqa: NPY002  libraries that ask the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    keep_freed_memory()
    set_style()
    pd.set_option("styler.format.escape", "html")  # of tables that are styled; the others do it on their own account
    device = "GPU" if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"lesson {number} · preset {preset} · seed {seed} · data {Path(dataset).name} · {device} · torch {torch.__version__}")
    return lesson


def show_source(thing) -> None:
    """Prints a function of the package as it is run, without its docstring."""
    source = inspect.getsource(thing)
    if thing.__doc__:
        source = re.sub(r"^ *\.\.\.\n", "", source.replace(f'"""{thing.__doc__}"""', "...", 1), count=1, flags=re.M)
    print(inspect.cleandoc("\n" + source))


def expect_error(action, kind: type[Exception] = ValueError) -> None:
    """Runs something that must fail and prints how; raises AssertionError if it does not fail."""
    try:
        action()
    except kind as error:
        print(f"{type(error).__name__}: {error}")
        return
    raise AssertionError(f"this should have raised {kind.__name__}")


def require(lesson: Lesson, number: str, build) -> Path:
    """Folder of an earlier lesson's products; `build(lesson, folder)` makes them if they are not there yet."""
    folder = lesson.sibling(number)
    if not (folder / "model" / "model.safetensors").exists():
        print(f"lesson {number} has not run at these settings; building what it hands over")
        build(lesson, folder)
    return folder


def score_table(scores: list[Score]) -> pd.DataFrame:
    """Scores as the table a summary shows."""
    rows = [
        {
            "figure": s.name,
            "value": f"{s.value:.3f}",
            "95 % interval": f"{s.low:.3f} to {s.high:.3f}" if s.low is not None else "",
            "n": s.whose,
            "chance": f"{s.chance:.3f}" if s.chance is not None else "",
        }
        for s in scores
    ]
    return pd.DataFrame(rows).set_index("figure")


def figure_table(scores: dict[tuple[str, str, str], Score]) -> pd.DataFrame:
    """Scores by (direction, rule, figure): a row per rule and figure; value with its interval, and chance, of each direction."""
    cells = {(rule, name, way, part): cell for (way, rule, name), s in scores.items() for part, cell in _cells(s).items()}
    table = pd.Series(cells).unstack([2, 3], sort=False).fillna("")
    return table.rename_axis(["what is right", "figure"]).rename_axis(columns=["", ""])


def _cells(s: Score) -> dict[str, str]:
    digits = 0 if max(s.high, s.chance) >= 10 else 3 if min(s.value, s.chance) < 0.1 else 2
    value, low, high, chance = (f"{x:.{digits}f}" for x in (s.value, s.low, s.high, s.chance))
    return {"value": f"{value} ({low}–{high})", "chance": chance}


def finish(
    lesson: Lesson, *, title: str, question: str, scores: list[Score], key: Score, thumbnail=None, reads_data: bool = True
) -> None:
    """Writes metrics.json and the thumbnail (a matplotlib figure); `key` is the score that stands on the index page.

    `reads_data` False is for a lesson that has looked at no dataset: none is loaded to be named.
    """
    if thumbnail is not None:
        with whole(lesson.folder / "thumbnail.png") as part:
            thumbnail.savefig(part, dpi=80, bbox_inches="tight")
    about = {
        "lesson": lesson.number,
        "title": title,
        "question": question,
        "preset": lesson.preset.name,
        "seed": lesson.seed,
        **(_about_data(lesson.data) if reads_data else NO_DATA),
        "seconds": round(time.perf_counter() - lesson.began, 1),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // MIB,
        "versions": {name: _version(name) for name in PACKAGES},
        "figures": [s.to_dict() | {"key": s is key} for s in scores],
        "thumbnail": "thumbnail.png" if thumbnail is not None else None,
    }
    write_text(lesson.folder / "metrics.json", json.dumps(about, indent=1, allow_nan=False))
    print(f"{len(scores)} figures written to lessons/{lesson.folder.name}/metrics.json")


def _about_data(data: Dataset) -> dict:
    about = {"dataset": data.name, "synthetic": data.synthetic, "notes": data.notes}
    return about | {"data_sha256": digest(data.manifest), "split_sha256": _split_digest(data.manifest)}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _split_digest(table: pd.DataFrame) -> str:
    text = table[["study_id", "patient_id", "split"]].to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
