"""Benchmarks of retrieval: all its figures in chunks, against sorting the whole matrix and against a loop over queries."""

import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np

from ..measure.ranking import both_ways, by_label
from .rows import Curve, Row, Sizes, beside, curve_of

BUDGET_S = 1.0  # for 3,000 images and as many texts
DIM, K = 128, 10


def retrieval(sizes: Sizes) -> list[Row | Curve]:
    """Ranks, R@k, MRR, mAP, median rank and nDCG of images for texts and of texts for images."""
    measured = {n: _seconds(n, sizes.repeats) for n in sizes.retrieved}
    n, budget = sizes.retrieved[-1], sizes.budget(BUDGET_S)
    curve = curve_of("retrieval", "images and texts", "s", measured, budget=budget and (n, budget))
    ours, whole, loop = measured[n].values()
    what, about = f"retrieval, {n:,} x {n:,}", "all figures, both ways; rival: "
    return [
        Row(what, ours, whole, "s", about + "sorting the whole matrix, MRR, mAP and nDCG only", budget),
        Row(what, ours, loop, "s", about + "a loop over queries, all figures"),
        Row("memory of retrieval", *_peaks_mib(n), "MiB", f"{n:,} x {n:,}; rival: sorting the whole matrix"),
        curve,
        curve.row(),
    ]


def _seconds(n: int, repeats: int) -> dict[str, float]:
    seconds = beside(*_ways(n), same=same_figures, repeats=repeats)
    return dict(zip(("ours", "whole matrix", "query by query"), seconds, strict=True))


def _ways(n: int) -> list[Callable[[], list[dict]]]:
    """Three ways to the figures of images for texts and of texts for images: ours, the whole matrix sorted, the loop."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n // 3 + 1, n)
    images, texts = (rng.normal(size=(n, DIM)).astype(np.float32) for _ in range(2))
    directions = (images, texts), (texts, images)
    ours = lambda: list(both_ways(images, texts, by_label(labels, labels), ks=(1, K)).values())  # noqa: E731
    return [ours, *(partial(_each, way, directions, labels) for way in (whole_matrix, query_by_query))]


def _each(way: Callable, directions: tuple, labels: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [way(*emb, labels) for emb in directions]


def same_figures(ours: list[dict], rival: list[dict]) -> bool:
    """Whether each figure that the rival has is ours, query by query, but for one in a thousand: rounding swaps neighbours."""
    return all(
        np.isclose(found[name].values, values, atol=1e-4).mean() >= 0.999
        for found, wanted in zip(ours, rival, strict=True)
        for name, values in wanted.items()
    )


def whole_matrix(queries: np.ndarray, items: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The textbook's way, on similarities without ties."""
    order = np.argsort(-(queries @ items.T), axis=1)
    hits, places = labels[order] == labels[:, None], np.arange(1, len(labels) + 1)
    discounts = 1 / np.log2(places[:K] + 1)
    best = np.cumsum(discounts)[np.minimum(hits.sum(1), K) - 1]
    precision = (hits * np.cumsum(hits, axis=1) / places).sum(1) / hits.sum(1)
    return {"MRR": 1 / (1 + hits.argmax(1)), "mAP": precision, f"nDCG@{K}": hits[:, :K] @ discounts / best}


def query_by_query(queries: np.ndarray, items: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """All figures of one query after the other, on similarities without ties."""
    figures = []
    for sim, label in zip(queries @ items.T, labels, strict=True):
        hits = labels[np.argsort(-sim)] == label
        ranks = 1 + np.flatnonzero(hits)
        best = sum(1 / np.log2(place + 1) for place in range(1, min(len(ranks), K) + 1))
        gained = sum(1 / np.log2(rank + 1) for rank in ranks if rank <= K)
        precision = np.mean([(i + 1) / rank for i, rank in enumerate(ranks)])
        figures.append((ranks[0] <= 1, ranks[0] <= K, 1 / ranks[0], precision, gained / best, ranks[0]))
    names = ("R@1", f"R@{K}", "MRR", "mAP", f"nDCG@{K}", "median rank")
    return dict(zip(names, np.array(figures, float).T, strict=True))


def _peaks_mib(n: int) -> list[float]:
    return [_peak_bytes(way) / 2**20 for way in _ways(n)[:2]]


def _peak_bytes(action: Callable[[], object]) -> int:
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
