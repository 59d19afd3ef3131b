"""Benchmarks of texts: how alike reports are, against a loop over pairs; prompts embedded once, against once per batch."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from unittest.mock import patch

import numpy as np

from ..text import similarity
from ..text.similarity import Pair
from .rows import Curve, Row, Sizes, beside, curve_of, fastest

N_FINDINGS = 8  # of a report
BATCH = 64
PLACES = ("left", "right", "both"), ("upper", "lower", "inner", "outer", "deep"), tuple("abcdefghij")
SIGNALS = [f"{size} {word} signal" for word, size in product(("high", "low", "long", "short", "iso"), ("small", "large"))]
BATCH_BUDGET_S, REPORTS_BUDGET_S = 1e-3, 2.0  # of a batch; of 1,000 reports
N_BATCHES = 12  # of images, to which every prompt is held
N_TEMPLATES = 8  # prompts of a class


def text_similarity(sizes: Sizes) -> list[Row | Curve]:
    """Reports of eight findings each by `best_match`: all against all, and a batch of 64 from what is known."""
    measured = {n: _all_pairs(n, sizes) for n in sizes.reports}
    n, budget = sizes.in_python, sizes.budget(REPORTS_BUDGET_S)
    note = f"unique reports of {N_FINDINGS} findings; rival: a loop over pairs"
    curve = curve_of("similarity of reports", "reports", "s", measured, budget=budget and (n, budget))
    row = Row(f"{n:,} reports against each other", *measured[n].values(), "s", note, budget)
    return [row, *_batch(max(sizes.reports), sizes), curve, curve.row()]


def _all_pairs(n: int, sizes: Sizes) -> dict[str, float]:
    reports = made_up_reports(n)
    ours = partial(similarity.of_reports, reports)
    if n > sizes.in_python:
        return {"ours": fastest(ours, repeats=sizes.repeats)[0]}
    seconds = beside(ours, partial(pair_by_pair, reports), same=partial(np.allclose, atol=1e-6), repeats=sizes.repeats)
    return dict(zip(("ours", "pairs in Python"), seconds, strict=True))


def _batch(n: int, sizes: Sizes) -> list[Row]:
    """A batch from the matrix of known texts, as the training does it, and from the scores of known findings."""
    reports = made_up_reports(n)
    findings, which = similarity.indexed(reports)
    scores = similarity.finding_scores(findings, similarity.words)
    known, rows = similarity.best_match(scores, which), np.random.default_rng(0).permutation(n)[:BATCH]
    ways = {
        f"{n:,} known texts": partial(similarity.of_units, known, rows),
        f"{len(findings):,} known findings": partial(similarity.best_match, scores, which[rows]),
    }
    in_python = partial(pair_by_pair, [reports[i] for i in rows])
    timed = partial(beside, same=partial(np.allclose, atol=1e-6), repeats=sizes.repeats)
    note = f"similarity of reports of {N_FINDINGS} findings; rival: a loop over pairs, which knows nothing before"
    budget = sizes.budget(BATCH_BUDGET_S)
    return [Row(f"batch of {len(rows)}, {way}", *timed(ours, in_python), "s", note, budget) for way, ours in ways.items()]


def made_up_reports(n: int) -> list[list[Pair]]:
    """Different reports of findings drawn from 1,500 possible ones."""
    possible = list(product(map(" ".join, product(*PLACES)), SIGNALS))
    rng = np.random.default_rng(0)
    return [[possible[i] for i in rng.choice(len(possible), N_FINDINGS, replace=False)] for _ in range(n)]


def pair_by_pair(reports: list[list[Pair]]) -> np.ndarray:
    """The same similarity as one writes it down: for each pair of reports, the best partner of each finding, both ways."""
    findings = list(dict.fromkeys(finding for report in reports for finding in report))
    number, table = {finding: i for i, finding in enumerate(findings)}, _table(findings)
    numbers = [[number[finding] for finding in report] for report in reports]
    sim = np.ones((len(reports), len(reports)))
    for i, one in enumerate(numbers):
        for j, other in enumerate(numbers[:i]):
            scores = [[table[a][b] for b in other] for a in one]
            there = sum(map(max, scores)) / len(one)
            back = sum(map(max, zip(*scores, strict=True))) / len(other)
            sim[i, j] = sim[j, i] = (there + back) / 2
    return sim


def _table(findings: list[Pair]) -> list[list[float]]:
    """The score of each pair of findings."""
    known = [(set(re.findall(r"\w+", " ".join(f).lower())), f[0], similarity.signal_class(f[1])) for f in findings]
    return [
        [2 * len(one & other) / (len(one) + len(other)) * ((a == b) + (x == y)) / 2 for other, b, y in known]
        for one, a, x in known
    ]


def zero_shot(sizes: Sizes) -> list[Row | Curve]:
    """Classes of batches of images by prompts that are embedded once, against prompts embedded for each batch again."""
    from ..model.text_tower import TextTower

    tower = TextTower().eval()
    measured = {n: _prompts(n, tower, sizes.repeats) for n in sizes.prompts}
    curve = curve_of(f"zero-shot on {N_BATCHES} batches", "prompts", "s", measured)
    n = sizes.prompts[-1]
    note = f"{N_BATCHES} batches of {BATCH} images, MiniLM; ours loads it and embeds each text once; rival: again for each batch"
    return [Row(f"zero-shot with {n} prompts", *measured[n].values(), "s", note), curve, curve.row()]


def _prompts(n: int, tower, repeats: int) -> dict[str, float]:
    import torch

    from ..measure.zero_shot import class_embeddings, predict
    from ..model.text_tower import TEXT_DIM, embed_texts
    from ..text.prompts import ensemble

    names = [f"finding number {i}" for i in range(n // N_TEMPLATES)]
    prompts = {name: ensemble(finding=name, present=True)[:N_TEMPLATES] for name in names}
    batches = np.random.default_rng(0).normal(size=(N_BATCHES, BATCH, TEXT_DIM)).astype(np.float32)

    def classes(embed) -> np.ndarray:
        return np.concatenate([predict(batch, class_embeddings(embed, prompts)) for batch in batches])

    def ours() -> np.ndarray:
        with _empty_home():
            return classes(lambda texts: embed_texts(texts).numpy())

    with torch.inference_mode():
        again = partial(classes, lambda texts: tower(tower.tokens(texts)).numpy())
        seconds = beside(ours, again, same=lambda a, b: (a == b).mean() > 0.99, repeats=repeats)  # rounding may part equals
    return dict(zip(("ours", "again for each batch"), seconds, strict=True))


@contextmanager
def _empty_home() -> Iterator[None]:
    """Inside, no text is known yet."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, MEDCLIP_NB_HOME=folder):
        yield
