"""For whom does it work? Mean AUC of parts of the patients, each against the rest, corrected for asking so often."""

from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from .comparisons import holm, resampled_p
from .findings import MIN_POSITIVE_PATIENTS, Truth, aucs_of, mean_known
from .statistics import percentile_interval

COLUMNS = ["group", "n_patients", "n_positive", "value", "low", "high", "minus_rest", "minus_low", "minus_high", "p"]


def subgroup_table(
    truth: Truth, scores: Float[np.ndarray, "item finding"], groups: dict[str, np.ndarray], *, n_bootstrap: int
) -> pd.DataFrame:
    """A row per group: patients, positives, mean AUC, and its difference from all others, with intervals over patients.

    `groups` are labels of items by what they say (sex, scanner); an item without one ("") is left out. A mean is over findings
    that both the group and the rest have in enough patients, NaN where there is none. `p` is two-sided, from the resamples;
    `p_holm` is corrected for all rows.
    """
    rows = []
    for what, labels in groups.items():
        for label in sorted(set(labels) - {""}):
            member, others = labels == label, (labels != label) & (labels != "")
            rows.append([f"{what} {label}", *_row(truth, scores, member, others, n_bootstrap)])
    table = pd.DataFrame(rows, columns=COLUMNS)
    known = table["p"].notna()
    table.loc[known, "p_holm"] = holm(table.loc[known, "p"].to_numpy(float))
    return table


def _row(truth: Truth, scores: np.ndarray, member: np.ndarray, others: np.ndarray, n_bootstrap: int) -> list:
    n_patients = len(np.unique(truth.patients[member]))
    asked = [k for k in range(len(truth.names)) if all(_enough(truth, k, side) for side in (member, others))]
    n_positive = int((truth.labels & truth.asked)[member][:, asked].sum())
    if not asked:
        return [n_patients, n_positive, *[np.nan] * 7]
    sides = (replace(truth, asked=truth.asked & side[:, None]) for side in (member, others))
    own, rest = (mean_known(aucs_of(asked, side, scores, n_bootstrap=n_bootstrap)) for side in sides)
    minus = own - rest
    ends = percentile_interval(own[1:]), percentile_interval(minus[1:])
    return [n_patients, n_positive, own[0], *ends[0], minus[0], *ends[1], resampled_p(minus[1:])]


def _enough(truth: Truth, k: int, side: Bool[np.ndarray, " item"]) -> bool:
    """Enough patients of a side with the finding, and without."""
    kinds = (truth.labels[:, k], ~truth.labels[:, k])
    return all(len(set(truth.patients[kind & side & truth.asked[:, k]])) >= MIN_POSITIVE_PATIENTS for kind in kinds)
