"""Benchmarks: what is fast here and what it is compared with, measured in one run on the machine at hand.

Only ratios within a run mean something: the next machine, or the next hour, is faster or slower as a whole.
"""

import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from .config import PRESETS
from .data import cache, preprocessing
from .data.preprocessing import Preprocessing, preprocess
from .data.readers import read_image
from .files import write_text

N_STUDIES = 200  # of the image cache
AUDIT_ROWS = (1_000, 10_000)
N_PAIRS = 3_039  # of retrieval: images and texts
REPEATS = 9  # the fastest counts: what slows a repeat is not the code


def run(names: list[str] | None = None) -> list[dict]:
    """Runs benchmarks by name (all when none is given); one row per figure: what, ours, rival, unit, ratio, note."""
    unknown = [name for name in names or [] if name not in BENCHES]
    if unknown:
        raise ValueError(f"unknown benchmark {unknown[0]!r}; choose from: {', '.join(BENCHES)}")
    return [row for name in names or BENCHES for row in BENCHES[name]()]


def save(rows: list[dict], path: Path) -> Path:
    """The rows as JSON."""
    return write_text(path, json.dumps(rows, indent=1))


def image_cache() -> list[dict]:
    """Reading preprocessed studies a second time, against MONAI's PersistentDataset on the same transforms."""
    from monai.data import PersistentDataset
    from monai.data.utils import pickle_hashing
    from monai.transforms import Lambda

    from .data import catalog

    data = catalog.load("torso", PRESETS["cpu"])
    paths = [data.root / name for name in data.manifest["image"][:N_STUDIES]]
    transform = Lambda(partial(_read, contract=data.contract), track_meta=False)  # a bare function it would not cache
    with tempfile.TemporaryDirectory() as folder:
        theirs = PersistentDataset(
            [str(p) for p in paths], transform, cache_dir=folder, hash_transform=pickle_hashing, weights_only=False
        )
        again = lambda: [np.asarray(theirs[i]) for i in range(len(paths))]  # noqa: E731
        ours = lambda: [preprocessing.cached(p, data.contract) for p in paths]  # noqa: E731
        if not np.array_equal(again(), ours()):
            raise ValueError("the two caches hold different pixels: the comparison is void")
        seconds = fastest(ours, again)
        disk = _bytes(cache.file_of(preprocessing.cache_name(p, data.contract)) for p in paths), _bytes(Path(folder).iterdir())
    note = f"{len(paths)} torso studies, one thread, rival: MONAI PersistentDataset, same transforms"
    return [
        _row("second reading", seconds[0], seconds[1], "s", note),
        _row("cache on disk", disk[0] / 2**20, disk[1] / 2**20, "MiB", note),
    ]


def audit_growth() -> list[dict]:
    """Seconds for validating, hashing and auditing tables of small pictures, per row; the rival is the smaller table."""
    few, many = (_audit_seconds(n) / n * 1000 for n in AUDIT_ROWS)
    note = f"per row; {AUDIT_ROWS[1]} rows against {AUDIT_ROWS[0]}: linear growth is a ratio of 1"
    return [_row("audit of pictures", many, few, "ms", note)]


def retrieval_figures() -> list[dict]:
    """All figures of retrieval both ways in chunks, against MRR, mAP and nDCG from sorting the whole matrix."""
    from .measure.ranking import both_ways, by_label

    rng = np.random.default_rng(0)
    labels = rng.integers(0, N_PAIRS // 3 + 1, N_PAIRS)
    images, texts = (rng.normal(size=(N_PAIRS, 128)).astype(np.float32) for _ in range(2))
    ours = lambda: both_ways(images, texts, by_label(labels, labels))  # noqa: E731
    whole = lambda: [_sorted_whole(emb, labels) for emb in ((images, texts), (texts, images))]  # noqa: E731
    for found, wanted in zip(ours().values(), whole(), strict=True):
        if not all(np.allclose(found[name].values, values, atol=1e-4) for name, values in wanted.items()):
            raise ValueError("the two ways give different figures: the comparison is void")
    note = f"{N_PAIRS} pairs both ways, rival: argsort of the whole matrix, which gives half of the figures"
    return [
        _row("figures of retrieval", *fastest(ours, whole), "s", note),
        _row("memory of retrieval", *(_peak_bytes(way) / 2**20 for way in (ours, whole)), "MiB", note),
    ]


def _sorted_whole(emb: tuple[np.ndarray, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """The textbook's way, on similarities without ties."""
    order = np.argsort(-(emb[0] @ emb[1].T), axis=1)
    hits, places = labels[order] == labels[:, None], np.arange(1, len(labels) + 1)
    discounts = 1 / np.log2(places[:10] + 1)
    best = np.cumsum(discounts)[np.minimum(hits.sum(1), 10) - 1]
    precision = (hits * np.cumsum(hits, axis=1) / places).sum(1) / hits.sum(1)
    return {"MRR": 1 / (1 + hits.argmax(1)), "mAP": precision, "nDCG@10": hits[:, :10] @ discounts / best}


def _peak_bytes(action: Callable[[], object]) -> int:
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def fastest(*actions: Callable[[], object], clock: str = "perf_counter") -> list[float]:
    """Seconds of the fastest of several calls of each action, in turns, so that a busy moment meets all of them.

    `clock` names a function of `time`: "process_time" is what the processor works, which a busy machine changes less.
    """
    times = [[] for _ in actions]
    for _ in range(REPEATS):
        for action, seconds in zip(actions, times, strict=True):
            start = getattr(time, clock)()
            action()
            seconds.append(getattr(time, clock)() - start)
    return [min(seconds) for seconds in times]


def training_step() -> list[dict]:
    """The training loop against bare forward + backward; see `bench_training`."""
    from . import bench_training

    return [_row(*figures) for figures in bench_training.steps(fastest)]


def loss_memory() -> list[dict]:
    """Bytes that the loop's loss keeps for the backward pass, against the plain loss; see `bench_training`."""
    from . import bench_training

    return [_row(*figures) for figures in bench_training.loss_memory()]


BENCHES = {
    "image_cache": image_cache,
    "audit_growth": audit_growth,
    "training_step": training_step,
    "loss_memory": loss_memory,
    "retrieval_figures": retrieval_figures,
}


def _row(what: str, ours: float, rival: float, unit: str, note: str) -> dict:
    return {
        "what": what,
        "ours": round(ours, 4),
        "rival": round(rival, 4),
        "unit": unit,
        "ratio": round(rival / ours, 2),
        "note": note,
    }


def _read(path: str, *, contract: Preprocessing) -> np.ndarray:
    return preprocess(read_image(path, units=contract.units), contract)


def _bytes(files) -> int:
    return sum(f.stat().st_size for f in files)


def _audit_seconds(n_rows: int) -> float:
    import pandas as pd
    from PIL import Image

    from .data.audit import audit
    from .data.manifest import read_manifest, save_manifest

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n_rows):
            Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).resize((64, 64)).save(Path(folder) / f"{i}.png")
        words = np.array([f"word{k}" for k in range(2000)])
        table = pd.DataFrame({"study_id": [f"s{i}" for i in range(n_rows)], "patient_id": [f"p{i // 2}" for i in range(n_rows)]})
        texts = [" ".join(words[rng.integers(0, len(words), 30)]) for _ in range(n_rows)]
        split = np.array(["train", "val", "test", "train"])[(np.arange(n_rows) // 2) % 4]
        table = table.assign(image=[f"{i}.png" for i in range(n_rows)], report=texts, split=split, modality="DX")
        path = save_manifest(table, Path(folder) / "manifest.csv")
        start = time.perf_counter()
        audit(read_manifest(path))
        return time.perf_counter() - start
