"""How well findings are told from their absence: one score per finding, then their mean, each with an interval over patients.

`Truth` says of each item (a slice, a volume) which findings it has, and whether it may be asked for one: "is there a mass in the
pancreas?" is asked of slices that show a pancreas.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .auc import auc_of_patients
from .statistics import Score, paired_difference, patient_counts, percentile_interval

MIN_POSITIVE_PATIENTS = 3  # a finding seen in fewer patients gets no score


@dataclass(frozen=True)
class Truth:
    """What is so: labels of items by finding, which items count for which finding, and whose they are."""

    names: tuple[str, ...]
    labels: Bool[np.ndarray, "item finding"]
    asked: Bool[np.ndarray, "item finding"]
    patients: np.ndarray

    def only(self, names: list[str]) -> "Truth":
        """The same items, fewer findings."""
        keep = [self.names.index(name) for name in names]
        return Truth(tuple(names), self.labels[:, keep], self.asked[:, keep], self.patients)

    def scored(self) -> list[int]:
        """Numbers of the findings with enough patients who have it, and some who have not."""
        enough = lambda k, side: len(set(self.patients[side[:, k] & self.asked[:, k]])) >= MIN_POSITIVE_PATIENTS  # noqa: E731
        return [k for k in range(len(self.names)) if enough(k, self.labels) and enough(k, ~self.labels)]


def resampled_aucs(
    truth: Truth, scores: Float[np.ndarray, "item finding"], *, n_bootstrap: int
) -> tuple[list[str], Float[np.ndarray, "scored resample_and_one"]]:
    """Names and AUCs of the findings that can be scored; column 0 is the value itself, the rest one per resample of patients."""
    scored = truth.scored()
    if not scored:
        raise ValueError(f"no finding has {MIN_POSITIVE_PATIENTS} patients with it and as many without among {len(scores)} items")
    return [truth.names[k] for k in scored], aucs_of(scored, truth, scores, n_bootstrap=n_bootstrap)


def aucs_of(
    findings: list[int], truth: Truth, scores: Float[np.ndarray, "item finding"], *, n_bootstrap: int
) -> Float[np.ndarray, "chosen resample_and_one"]:
    """AUCs of some findings, by number; column 0 is the value itself, the rest one per resample of patients."""
    known, patient = np.unique(truth.patients, return_inverse=True)
    counts = np.concatenate([np.ones((1, len(known)), int), patient_counts(len(known), n_bootstrap)])
    asked = {k: truth.asked[:, k] for k in findings}
    return np.stack([auc_of_patients(truth.labels[own, k], scores[own, k], patient[own], counts) for k, own in asked.items()])


def finding_scores(truth: Truth, scores: Float[np.ndarray, "item finding"], *, n_bootstrap: int) -> list[Score]:
    """AUC of each finding among the items that are asked for it."""
    n = len(np.unique(truth.patients))
    names, values = resampled_aucs(truth, scores, n_bootstrap=n_bootstrap)
    return [
        Score(name, float(row[0]), *percentile_interval(row[1:]), n, "patients", 0.5)
        for name, row in zip(names, values, strict=True)
    ]


def mean_auc(name: str, truth: Truth, runs: list[Float[np.ndarray, "item finding"]], *, n_bootstrap: int) -> Score:
    """Mean AUC over findings, and over the runs of several seeds where there are any."""
    values = _mean_over_runs(truth, runs, n_bootstrap)
    n = len(np.unique(truth.patients))
    return Score(name, float(values[0]), *percentile_interval(values[1:]), n, "patients", 0.5)


def mean_auc_difference(
    name: str,
    truth: Truth,
    runs: list[Float[np.ndarray, "item finding"]],
    against: list[Float[np.ndarray, "item finding"]],
    *,
    n_bootstrap: int,
) -> Score:
    """Mean AUC of `runs` minus that of `against`, paired: both are scored on the same resamples of patients."""
    ours, theirs = (_mean_over_runs(truth, r, n_bootstrap) for r in (runs, against))
    return paired_difference(name, ours[1:], theirs[1:], float(ours[0] - theirs[0]), n=len(np.unique(truth.patients)))


def _mean_over_runs(truth: Truth, runs: list[np.ndarray], n_bootstrap: int) -> Float[np.ndarray, " resample_and_one"]:
    means = [mean_known(resampled_aucs(truth, scores, n_bootstrap=n_bootstrap)[1]) for scores in runs]
    return np.mean(means, axis=0)


def mean_known(values: Float[np.ndarray, "finding resample"]) -> Float[np.ndarray, " resample"]:
    """Mean over the findings that a resample can score; NaN where it can score none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)
