"""Benchmarks: what is fast here and what it is compared with, measured in one run on the machine at hand.

Only ratios within a run mean something: the next machine, or the next hour, is faster or slower as a whole.
"""

import json
from importlib import import_module
from pathlib import Path

from ..files import write_text
from .rows import FULL, QUICK, Curve, Row, machine

# name -> module of this folder with a function of that name, which is given Sizes and hands over rows and curves
BENCHES = {
    "start_up": "course",
    "course_times": "course",
    "text_similarity": "texts",
    "retrieval": "retrieval",
    "slice_pooling": "pooling",
    "zero_shot": "texts",
    "loss_memory": "losses",
    "loss_time": "losses",
    "image_cache": "images",
    "audit_growth": "images",
    "training_step": "training",
}


def run(names: list[str], path: Path, *, quick: bool = False) -> dict:
    """Runs benchmarks by name (all when none is given), in a small form if `quick`; what the JSON at `path` says.

    The file is written after each benchmark, so that an interrupt loses the running one only. Raises ValueError for an unknown
    name, and where two ways that are compared give different results.
    """
    from tqdm.auto import tqdm

    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        raise ValueError(f"unknown benchmark {unknown[0]!r}; choose from: {', '.join(BENCHES)}")
    found = {"machine": machine(), "quick": quick, "benchmarks": [], "rows": [], "curves": []}
    bar = tqdm(list(dict.fromkeys(names)) or list(BENCHES), unit="benchmark")
    for name in bar:
        bar.set_description(name)
        measured = measure(name, quick=quick)
        found["benchmarks"].append(name)
        found["rows"] += [one.as_dict() for one in measured if isinstance(one, Row)]
        found["curves"] += [one.as_dict() for one in measured if isinstance(one, Curve)]
        write_text(path, json.dumps(found, indent=1))
    return found


def about(found: dict) -> str:
    """The machine in one line, and whether other work went on when the run began: then times say little, ratios a bit more."""
    machine, versions = found["machine"], found["machine"]["versions"]
    line = f"{machine['date']}, {machine['cores']} cores, {machine['threads']} threads, PyTorch {versions['torch']}"
    load = (machine["load_average"] or [0])[0]
    busy = f"; OTHER WORK WAS GOING ON (load {load:g}): times are too long" if load > machine["cores"] / 2 else ""
    return line + ("; small sizes (--quick)" if found["quick"] else "") + busy


def measure(name: str, *, quick: bool = False) -> list[Row | Curve]:
    """The figures of one benchmark of BENCHES."""
    try:
        return getattr(import_module(f".{BENCHES[name]}", __name__), name)(QUICK if quick else FULL)
    except ValueError as error:
        raise ValueError(f"benchmark {name}: {error}") from error
