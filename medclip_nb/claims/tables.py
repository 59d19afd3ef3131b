"""What tables of studies are made of: scores as rows, the mean over seeds with an interval over patients, paired differences."""

from collections.abc import Callable
from functools import partial

import numpy as np

from .. import config
from ..measure.findings import Truth, mean_auc, mean_auc_difference
from ..measure.retrieval import recall_at
from ..measure.statistics import Score, mean_difference, mean_score

Cells = dict[tuple[str, int], dict[str, np.ndarray]]  # what each variant with each seed gave
Runs = dict[str, dict[int, np.ndarray]]  # one array of each: variant -> seed -> array
Bases = Callable[[str, list[str]], list[str]]  # which of the variants one is compared with
ALL = "all findings"
VALIDATION = "validation, "  # before the name of a measure on validation patients, where settings are chosen


def runs_of(cells: Cells, name: str) -> Runs:
    """One array of each cell that has it, by variant and seed."""
    variants = dict.fromkeys(v for v, _ in cells)
    found = {v: {seed: cell[name] for (w, seed), cell in cells.items() if w == v and name in cell} for v in variants}
    return {variant: own for variant, own in found.items() if own}


def columns(runs: Runs, numbers: list[int]) -> Runs:
    """Some columns of every array."""
    return {variant: {seed: scores[:, numbers] for seed, scores in own.items()} for variant, own in runs.items()}


def the_first(variant: str, variants: list[str]) -> list[str]:
    """Each variant is compared with the first of them."""
    return [v for v in variants[:1] if v != variant]


def those_before(variant: str, variants: list[str]) -> list[str]:
    """Each variant is compared with all that stand before it."""
    return variants[: variants.index(variant)]


def auc_rows(
    runs: Runs, measure: str, truth: Truth, preset: config.Preset, *, each: bool = True, bases: Bases = the_first
) -> list[dict]:
    """Mean AUC over findings of each variant, as `compared`; with `each` also every finding's mean over seeds."""
    n = {"n_bootstrap": preset.n_bootstrap}
    score, gain = (partial(way, measure, truth, **n) for way in (mean_auc, mean_auc_difference))
    rows = compared(runs, measure, score, gain, bases)
    for variant, seeds in runs.items() if each else ():
        for k in truth.scored():
            found = mean_auc(measure, truth.only([truth.names[k]]), [run[:, [k]] for run in seeds.values()], **n)
            rows.append({"variant": variant, "measure": measure} | score_row(truth.names[k], "mean", found))
    return rows


def mean_rows(
    runs: Runs, measure: str, patients: np.ndarray, *, chance: float | None, preset: config.Preset, bases: Bases = the_first
) -> list[dict]:
    """Mean of a value per item, as `compared`. An item that one of the two does not know (NaN) counts for neither."""

    def score(values: list[np.ndarray]) -> Score | None:
        mean = known_mean(values)
        known = ~np.isnan(mean)
        if not known.any():
            return None
        return mean_score("", mean[known], patients[known], chance=chance, n_bootstrap=preset.n_bootstrap)

    def gain(ours: list[np.ndarray], theirs: list[np.ndarray]) -> Score | None:
        means = known_mean(ours), known_mean(theirs)
        known = ~np.isnan(means[0] + means[1])
        if not known.any():
            return None
        return mean_difference(means[0][known], means[1][known], patients[known], n_bootstrap=preset.n_bootstrap)

    return compared(runs, measure, score, gain, bases)


def recall_rows(
    ranks: Runs, measure: str, k: int, patients: np.ndarray, *, chance: float, preset: config.Preset, bases: Bases = the_first
) -> list[dict]:
    """R@k by the ranks of the best right answers, as `compared`."""
    hits = {variant: {seed: recall_at(own, k) for seed, own in seeds.items()} for variant, seeds in ranks.items()}
    return mean_rows(hits, measure, patients, chance=chance, preset=preset, bases=bases)


def compared(
    runs: Runs,
    measure: str,
    score: Callable[[list[np.ndarray]], Score | None],
    gain: Callable[[list[np.ndarray], list[np.ndarray]], Score | None],
    bases: Bases = the_first,
) -> list[dict]:
    """Rows of each variant on one measure: over all seeds, of each seed, and less those it is compared with, of the same seeds.

    A score that is None has no row.
    """
    rows = []
    for variant, own in runs.items():
        found = {"mean": score(list(own.values()))} | {str(seed): score([run]) for seed, run in own.items()}
        for base in bases(variant, list(runs)):
            both = [seed for seed in own if seed in runs.get(base, {})]
            if both:
                found[f"minus {base}"] = gain([own[s] for s in both], [runs[base][s] for s in both])
        rows += [{"variant": variant, "measure": measure} | score_row(ALL, seed, s) for seed, s in found.items() if s]
    return rows


def known_mean(runs: list[np.ndarray]) -> np.ndarray:
    """Mean over seeds of each item, over those that know it; NaN where none does."""
    values = np.array(runs, float)
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def score_row(finding: str, seed: str, score: Score) -> dict:
    """A score as a row of a study's table."""
    return {"finding": finding, "seed": seed} | {k: getattr(score, k) for k in ("value", "low", "high", "n", "unit", "chance")}
