"""Area under the ROC curve: of items as they are, and of thousands of resamples at once, for intervals."""

import numpy as np
from jaxtyping import Bool, Float, Int

MOST_KEPT = 10_000_000  # counts by patient and score, or by pair of patients
RESAMPLES_AT_ONCE = 50  # where they would be more


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; ties count half. Raises ValueError unless both classes are there."""
    from scipy.stats import rankdata

    labels = np.asarray(labels, bool)
    n_yes, n_no = labels.sum(), (~labels).sum()
    if not n_yes or not n_no:
        raise ValueError(f"an AUC needs both classes, there are {n_yes} positive and {n_no} negative")
    return float((rankdata(scores)[labels].sum() - n_yes * (n_yes + 1) / 2) / (n_yes * n_no))


def auc_resamples(
    labels: Bool[np.ndarray, " item"], scores: Float[np.ndarray, " item"], weights: Int[np.ndarray, "resample item"]
) -> Float[np.ndarray, " resample"]:
    """AUC of each resample, items counted as often as their weight says; NaN where one class is missing.

    One sort serves all resamples: thousands of them cost what ten calls of `auc` would. Raises ValueError if a score is NaN.
    """
    _refuse_nan(scores)
    order = np.argsort(scores, kind="stable")
    starts = np.unique(scores[order], return_index=True)[1]  # of each run of equal scores
    yes, no = (np.add.reduceat(weights[:, order] * side[order], starts, axis=1) for side in (labels, ~labels))
    below = np.cumsum(no, axis=1) - no
    with np.errstate(invalid="ignore"):
        return (yes * (below + no / 2)).sum(1) / (yes.sum(1) * no.sum(1))


def auc_of_patients(
    labels: Bool[np.ndarray, " item"],
    scores: Float[np.ndarray, " item"],
    patient: Int[np.ndarray, " item"],
    counts: Int[np.ndarray, "resample patient"],
) -> Float[np.ndarray, " resample"]:
    """AUC of each resample of patients, all items of one counted as often as the patient; NaN where one class is missing.

    Which pairs of items are in the right order is counted once for each pair of patients, and a resample only weighs these
    counts: hundreds of times as fast as `auc_resamples`, which takes over where there are more than MOST_KEPT of them.
    Raises ValueError if a score is NaN.
    """
    _refuse_nan(scores)
    n_patients, values = counts.shape[1], np.unique(scores)
    if n_patients * max(n_patients, len(values)) > MOST_KEPT:
        parts = np.array_split(counts, -(-len(counts) // RESAMPLES_AT_ONCE))
        return np.concatenate([auc_resamples(labels, scores, part[:, patient]) for part in parts])
    no = np.zeros((len(values) + 1, n_patients))
    np.add.at(no, (np.searchsorted(values, scores[~labels]) + 1, patient[~labels]), 1)
    below = no.cumsum(0)  # row v: of each patient, items without it whose score is less than values[v]
    place = np.searchsorted(values, scores[labels])
    won = np.zeros((n_patients, n_patients))
    np.add.at(won, patient[labels], (below[place] + below[place + 1]) / 2)  # ties count half
    has, lacks = (counts @ np.bincount(patient[side], minlength=n_patients) for side in (labels, ~labels))
    with np.errstate(invalid="ignore"):
        return ((counts @ won) * counts).sum(1) / (has * lacks)


def _refuse_nan(scores: np.ndarray):
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN, which has no rank; look at the model")
