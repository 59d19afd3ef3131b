"""What do neighbours tell? Each point's k nearest vote for a label: its region, its finding, its scanner, its patient.

Neighbours of the same patient do not vote, except on the patient. Labels that share the first place in a vote draw lots.
"""

import numpy as np
from jaxtyping import Float, Int

from .statistics import Score, mean_score, percentile_interval, statistic_score

N_DEALS = 200  # times that labels are dealt anew to patients


def vote(near: Int[np.ndarray, "n k"], labels: np.ndarray, groups: np.ndarray | None = None) -> Float[np.ndarray, " n"]:
    """1 where a point's neighbours vote for its own label, 0 where they do not, 1/m if m labels share the first place.

    `groups` (patients) are those that `near` was found with. A vote weighs one over the number of points of other groups with
    that label, so that a label does not win by being common: neighbours drawn at random give a mean of 1 / labels in each label.
    NaN where no point of another group has the label.
    """
    names, own = np.unique(np.asarray(labels), return_inverse=True)
    groups = np.arange(len(near)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    has, of_group = np.eye(len(names))[own], np.zeros((groups.max() + 1, len(names)))
    np.add.at(of_group, groups, has)
    n_others = has.sum(0) - of_group[groups]
    votes = sum(has[column] for column in near.T) / np.maximum(n_others, 1)
    first = np.isclose(votes, votes.max(1, keepdims=True), rtol=1e-9, atol=0)
    points = np.arange(len(own))
    return np.where(n_others[points, own] > 0, first[points, own] / first.sum(1), np.nan)


def told_by_neighbours(
    name: str, near: Int[np.ndarray, "n k"], labels: np.ndarray, patients: np.ndarray, *, n_bootstrap: int
) -> Score:
    """Balanced accuracy of the vote of neighbours of other patients, that is, the mean over labels of each label's own.

    If the labels are the patients, `near` is to be found without groups: neighbours of the same patient are what is asked for.
    A label that one patient alone has (or one point, if patients are asked for) cannot be told and is left out. Chance is 1 /
    labels. The interval is about other patients to be told, among the same voters: hold the value against `chance_range`, too.
    Raises ValueError if fewer than two labels remain.
    """
    labels, patients = np.asarray(labels), np.asarray(patients)
    whose = np.array_equal(labels, patients)
    hits = vote(near, labels, None if whose else patients)
    known = ~np.isnan(hits)
    names, own = np.unique(labels[known], return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{name}: {len(names)} label that two patients share, of {len(set(labels))}; telling needs two")
    if whose:
        values = np.bincount(own, weights=hits[known]) / np.bincount(own)
        return mean_score(name, values, names, chance=1 / len(names), n_bootstrap=n_bootstrap)
    arrays = (hits[known], own)
    return statistic_score(name, _mean_of_labels, arrays, patients[known], chance=1 / len(names), n_bootstrap=n_bootstrap)


def chance_range(
    near: Int[np.ndarray, "n k"], labels: np.ndarray, patients: np.ndarray, *, n_deals: int = N_DEALS, seed: int = 0
) -> tuple[float, float]:
    """Where the balanced accuracy of the vote lies, 95 times in 100, with labels that have nothing to do with the points.

    The mean is 1 / labels, but few patients in few clumps agree by accident more often than an interval over patients says.
    """
    values = [_told(near, dealt_anew(labels, patients, seed=seed + i), patients) for i in range(n_deals)]
    return percentile_interval(np.array(values))


def dealt_anew(labels: np.ndarray, patients: np.ndarray, *, seed: int) -> np.ndarray:
    """Each patient gets the labels of one drawn by lot, shuffled, and repeated or cut to as many points as it has itself."""
    rng, out = np.random.default_rng(seed), np.array(labels)
    of_patient = [np.flatnonzero(np.asarray(patients) == name) for name in np.unique(patients)]
    for mine, giver in zip(of_patient, rng.permutation(len(of_patient)), strict=True):
        out[mine] = np.resize(rng.permutation(np.asarray(labels)[of_patient[giver]]), len(mine))
    return out


def _told(near: Int[np.ndarray, "n k"], labels: np.ndarray, patients: np.ndarray) -> float:
    hits = vote(near, labels, patients)
    known = ~np.isnan(hits)
    return _mean_of_labels(hits[known], np.unique(labels[known], return_inverse=True)[1]) if known.any() else np.nan


def _mean_of_labels(hits: Float[np.ndarray, " n"], own: Int[np.ndarray, " n"]) -> float:
    counts = np.bincount(own)
    return float((np.bincount(own, weights=hits)[counts > 0] / counts[counts > 0]).mean())
