"""Scores of an evaluation: classes by words, by probe and by neighbours, and retrieval; each with chance and an interval."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from tqdm.auto import tqdm

from ..config import RECALL_KS
from ..measure import ranking, retrieval
from ..measure.auc import auc_of_patients
from ..measure.statistics import Score, mean_score, paired_difference, patient_counts, percentile_interval
from ..measure.transfer import nearest, probe
from ..measure.zero_shot import majority_share

ACCURACY, BALANCED, AUC = MEASURES = ("accuracy", "balanced accuracy", "macro AUC")
N_FOLDS, FEWEST_FOLDS = 5, 3  # of patients; one to test, one to choose on, the rest to learn from
RETRIEVAL = tuple(f"R@{k}" for k in RECALL_KS) + ("MRR",)
LEARNERS = {"linear probe": probe, "nearest neighbours": nearest}
Rows = Int[np.ndarray, " _"]
Fold = dict[str, Rows]


class Row(NamedTuple):
    """A measured figure, by what (the way) and in which sense (the measure), with its value on each resample of patients."""

    way: str
    score: Score  # its name is the measure
    values: Float[np.ndarray, " resample"] | None = None


class Asked(NamedTuple):
    """The items whose class is asked for."""

    truth: Int[np.ndarray, " item"]  # number of the class
    patients: np.ndarray
    n_bootstrap: int


def class_rows(way: str, scores: Float[np.ndarray, "item label"], asked: Asked) -> list[Row]:
    """Accuracy of the highest score (the first class among equals), its mean over classes, and one-against-rest AUC.

    Chance is naming the most frequent class, one over the classes there are, and a half. Classes without an item are left out,
    from a resample as from the whole.
    """
    names, patient = np.unique(asked.patients, return_inverse=True)
    counts = patient_counts(len(names), asked.n_bootstrap)
    weights = counts[:, patient]
    hits, there = scores.argmax(1) == asked.truth, np.unique(asked.truth)
    own = asked.truth[:, None] == there
    resampled = {
        ACCURACY: weights @ hits / weights.sum(1),
        BALANCED: _mean_known((weights @ (own & hits[:, None])) / _or_nan(weights @ own)),
        AUC: _mean_known(
            np.stack([auc_of_patients(own[:, k], scores[:, c], patient, counts) for k, c in enumerate(there)], axis=1)
        ),
    }
    once = np.ones((1, len(names)), int)
    values = {
        ACCURACY: hits.mean(),
        BALANCED: balanced_accuracy(scores, asked.truth),
        AUC: np.mean([auc_of_patients(own[:, k], scores[:, c], patient, once)[0] for k, c in enumerate(there)]),
    }
    chance = {ACCURACY: majority_share(asked.truth), BALANCED: 1 / len(there), AUC: 0.5}
    return [
        Row(way, _score(name, float(values[name]), resampled[name], asked, chance=chance[name]), resampled[name])
        for name in MEASURES
    ]


def balanced_accuracy(scores: Float[np.ndarray, "item label"], truth: Int[np.ndarray, " item"]) -> float:
    """Share of the items that have the highest score in their class, averaged over the classes there are."""
    hits = scores.argmax(1) == truth
    return float(np.mean([hits[truth == label].mean() for label in np.unique(truth)]))


def gain(way: str, better: list[Row], worse: list[Row], asked: Asked) -> Row:
    """By how much one way's balanced accuracy beats another's, on the same resamples of patients; chance is 0."""
    ours, theirs = (next(row for row in rows if row.score.name == BALANCED) for rows in (better, worse))
    value, n = ours.score.value - theirs.score.value, ours.score.n
    return Row(way, paired_difference(f"gain in {BALANCED}", ours.values, theirs.values, value, n=n))


def folds_of(truth: Int[np.ndarray, " item"], patients: np.ndarray, given: np.ndarray | None) -> list[Fold]:
    """Rows to learn from, to choose on ("val") and to test: the given split, or folds of patients, each the test once.

    A given split without validation rows gives some of its training patients for them. Raises ValueError where there are fewer
    than three patients, or than three items of every class.
    """
    if given is None:
        parts = _dealt(truth, patients)
        return [_fold(parts, i) for i in range(len(parts))]
    rows = {split: np.flatnonzero(given == split) for split in ("train", "val", "test")}
    if not len(rows["val"]):
        some = _dealt(truth[rows["train"]], patients[rows["train"]])[0]
        rows |= {"val": rows["train"][some], "train": np.delete(rows["train"], some)}
    return [rows]


def learnt_scores(
    learner: Callable, features: Float[np.ndarray, "item width"], truth: Int[np.ndarray, " item"], folds: list[Fold]
) -> Float[np.ndarray, "item label"]:
    """What a learner of measure.transfer says of every test item, learnt from other folds; NaN for others."""
    labels = np.eye(truth.max() + 1, dtype=bool)[truth]
    found = np.full(labels.shape, np.nan)
    for fold in tqdm(folds, desc=learner.__name__, unit="fold", delay=2, leave=False):
        parts = [{split: array[rows] for split, rows in fold.items()} for array in (features, labels)]
        found[fold["test"]] = learner(*parts)["test"]
    return found


def retrieval_rows(
    image_emb: Float[np.ndarray, "item dim"],
    text_emb: Float[np.ndarray, "item dim"],
    right: ranking.Rule,
    asked: Asked,
) -> list[Row]:
    """R@k and MRR both ways; `right` says which texts are right for which items: their own, and the same words elsewhere."""
    found = ranking.both_ways(image_emb, text_emb, right, ks=RECALL_KS)
    about = {"n_bootstrap": asked.n_bootstrap}
    return [
        Row(f"retrieval, {way}", mean_score(name, figures[name].values, asked.patients, chance=figures[name].chance, **about))
        for way, figures in found.items()
        for name in RETRIEVAL
    ]


def own_ranks(image_emb: np.ndarray, text_emb: np.ndarray, right: ranking.Rule, rows: Rows) -> tuple[Rows, Rows]:
    """Of some items the rank of their best right text, and the number of the text that lies first."""
    sim = image_emb[rows] @ text_emb.T
    relevant = np.vstack([right(slice(i, i + 1), ranking.ALL) for i in rows])
    return retrieval.first_ranks(sim, relevant), sim.argmax(1)


def of_images(row: Row) -> Row:
    """The row, saying that it counts images: for data that name no patients."""
    return row._replace(score=replace(row.score, unit="images"))


def _score(name: str, value: float, values: np.ndarray, asked: Asked, *, chance: float) -> Score:
    """With the interval of the resamples; all or nothing right gets the exact one over patients, not one of no width."""
    low, high = percentile_interval(values)
    found = mean_score(name, np.full(len(asked.truth), value), asked.patients, chance=chance, n_bootstrap=1)
    return found if value in (0, 1) else replace(found, low=low, high=high)


def _mean_known(values: Float[np.ndarray, "resample label"]) -> Float[np.ndarray, " resample"]:
    return np.ma.masked_invalid(values).mean(1).filled(np.nan)


def _or_nan(counts: np.ndarray) -> np.ndarray:
    return np.where(counts > 0, counts, np.nan)


def _dealt(truth: np.ndarray, patients: np.ndarray) -> list[Rows]:
    """Folds of whole patients with about the same share of each class."""
    from sklearn.model_selection import StratifiedGroupKFold

    n = min(N_FOLDS, len(np.unique(patients)), int(np.bincount(truth).max()))
    if n < FEWEST_FOLDS:
        raise ValueError(f"{n} folds of patients can be made, learning from labels needs {FEWEST_FOLDS}")
    splitter = StratifiedGroupKFold(n, shuffle=True, random_state=0)
    return [rows for _, rows in splitter.split(truth, truth, patients)]


def _fold(parts: list[Rows], i: int) -> Fold:
    others = [part for j, part in enumerate(parts) if j not in (i, (i - 1) % len(parts))]
    return {"test": parts[i], "val": parts[i - 1], "train": np.concatenate(others)}
