"""How well findings are detected with a yes or a no: sensitivity, precision and F1 at thresholds chosen on validation items.

CT-GLIP (arXiv 2404.15272) reports these for its abnormalities. Choosing a threshold where it is judged would flatter it.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from .findings import MIN_POSITIVE_PATIENTS, Truth
from .statistics import patient_weights, percentile_interval

MEASURES = ("sensitivity", "specificity", "ppv", "f1")


def thresholds(truth: Truth, scores: Float[np.ndarray, "item finding"]) -> Float[np.ndarray, " finding"]:
    """Per finding the threshold with the best F1 among the items asked for it, the higher of equally good ones.

    Give it validation items only. A score at or above its threshold is a yes; -inf says yes to everything. NaN where no item, or
    every item, has the finding. Raises ValueError where the score of an asked item is not finite.
    """
    _check(truth, scores)
    columns = zip(truth.labels.T, scores.T, truth.asked.T, strict=True)
    return np.array([_best_threshold(label[asked], score[asked]) for label, score, asked in columns])


def detection_scores(
    truth: Truth, scores: Float[np.ndarray, "item finding"], thresholds: Float[np.ndarray, " finding"], *, n_bootstrap: int
) -> pd.DataFrame:
    """A row per finding that can be scored, and their mean: each measure with its interval over patients (`_low`, `_high`).

    `f1_chance` is the F1 of saying yes to everything. PPV is unknown (NaN) where nothing is called positive, F1 is 0 then; means
    and intervals are over what is known. In the last row the numbers of items are sums, the rest are means of the rows above.
    """
    _check(truth, scores)
    scored = [k for k in truth.scored() if not np.isnan(thresholds[k])]
    if not scored:
        raise ValueError(f"no finding has a threshold, and {MIN_POSITIVE_PATIENTS} patients with it and as many without")
    part = truth.only([truth.names[k] for k in scored])
    weights = np.vstack([np.ones(len(scores)), patient_weights(truth.patients, n_bootstrap)])
    n_positive, n = (part.labels & part.asked).sum(0), part.asked.sum(0)
    table = pd.DataFrame({"finding": [*part.names, f"mean of {len(scored)}"]})
    table["n_positive"], table["n"] = [*n_positive, n_positive.sum()], [*n, n.sum()]
    table["prevalence"], table["f1_chance"] = (_with_mean(x) for x in (n_positive / n, 2 * n_positive / (n + n_positive)))
    for name, values in _measures(weights, part, scores[:, scored] >= thresholds[scored]).items():
        table[name] = values[0]
        table[[f"{name}_low", f"{name}_high"]] = [_interval(column[1:]) for column in values.T]
    return table


def _measures(weights: Float[np.ndarray, "resample item"], truth: Truth, called: np.ndarray) -> dict[str, np.ndarray]:
    """MEASURES of every (resample, finding), their mean behind them; NaN where nothing is divided by nothing."""
    yes, no = truth.labels & truth.asked, ~truth.labels & truth.asked
    tp, fn, fp, tn = (weights @ cell.astype(float) for cell in (yes & called, yes & ~called, no & called, no & ~called))
    parts = ((tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (2 * tp, 2 * tp + fp + fn))
    return {name: _with_mean(_ratio(*part)) for name, part in zip(MEASURES, parts, strict=True)}


def _best_threshold(labels: Bool[np.ndarray, " item"], scores: Float[np.ndarray, " item"]) -> float:
    if labels.all() or not labels.any():
        return np.nan
    order = np.argsort(scores, kind="stable")
    values, starts = np.unique(scores[order].astype(float), return_index=True)
    called = len(labels) - starts
    tp = np.cumsum(labels[order][::-1])[called - 1]
    f1 = 2 * tp / (called + labels.sum())
    between = np.maximum((values[:-1] + values[1:]) / 2, np.nextafter(values[:-1], np.inf))  # neighbouring floats have no middle
    return float(np.append(-np.inf, between)[np.flatnonzero(f1 == f1.max())[-1]])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return part / whole


def _with_mean(values: Float[np.ndarray, "*resample finding"]) -> Float[np.ndarray, "*resample finding_and_mean"]:
    mean = _ratio(np.nansum(values, axis=-1, keepdims=True), (~np.isnan(values)).sum(axis=-1, keepdims=True))
    return np.concatenate([values, mean], axis=-1)


def _interval(values: Float[np.ndarray, " resample"]) -> tuple[float, float]:
    return (np.nan, np.nan) if np.isnan(values).all() else percentile_interval(values)


def _check(truth: Truth, scores: Float[np.ndarray, "item finding"]) -> None:
    if scores.shape != truth.labels.shape:
        raise ValueError(f"scores are {scores.shape}, the labels are {truth.labels.shape}: (item, finding) is needed of both")
    for name, bad in zip(truth.names, (~np.isfinite(scores) & truth.asked).sum(0), strict=True):
        if bad:
            raise ValueError(f"scores of {name!r} that are not finite, among the items asked for it: {bad}; look at the model")
