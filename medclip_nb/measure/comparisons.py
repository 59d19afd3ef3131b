"""Is it a difference, and does an interval keep its word? Permutation, many comparisons, seeds, simulated studies."""

import numpy as np
from jaxtyping import Float

from ..config import CONFIDENCE
from .statistics import Score, patient_weights

N_FLIPS = 5000
RATE = 0.7  # share of hits in the simulated studies
WAYS = ("patient", "item")  # what is resampled
HOLDS, REVERSED, NOT_SHOWN = "holds", "reversed", "not shown"  # verdicts on a difference


def sign_flip_p(differences: Float[np.ndarray, " item"], patients: np.ndarray, *, seed: int = 0) -> float:
    """How often the mean would be at least as far from 0, were each patient's differences as likely of the other sign.

    Two-sided. Patients are flipped, not items. The observed order counts as one of the flips, so p is never 0 (Phipson & Smyth
    2010). Raises ValueError if a difference is NaN.
    """
    if np.isnan(differences).any():
        raise ValueError(f"{int(np.isnan(differences).sum())} of {len(differences)} differences are NaN; leave such items out")
    sums = np.bincount(np.unique(patients, return_inverse=True)[1], weights=differences)
    flips = np.random.default_rng(seed).choice([-1.0, 1.0], (N_FLIPS, len(sums)))
    far = np.abs(flips @ sums) >= np.abs(sums.sum()) - 1e-12 * np.abs(sums).sum()
    return float((1 + far.sum()) / (1 + N_FLIPS))


def resampled_p(differences: Float[np.ndarray, " resample"]) -> float:
    """Twice the share of resamples on the far side of 0, at most 1; NaN are resamples that could not be scored."""
    known = differences[~np.isnan(differences)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (1 + tail) / (1 + len(known))))


def holm(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """p values of several tests, corrected so that any false alarm among all is as rare as one (Holm 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is below one before it, none above 1. Raises
    ValueError for a value outside 0 to 1, NaN included.
    """
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"{int((~((p >= 0) & (p <= 1))).sum())} p values are no number from 0 to 1")
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


def over_seeds(name: str, values: Float[np.ndarray, " seed"], *, chance: float | None) -> Score:
    """Mean of one value per seed with Student's interval over seeds: how training varies, not how patients do.

    Raises ValueError for fewer than two seeds, or a NaN.
    """
    from scipy.stats import t

    if len(values) < 2 or np.isnan(values).any():
        raise ValueError(f"{name}: {len(values)} seeds, {int(np.isnan(values).sum())} of them NaN; two that are known are needed")
    reach = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    mean = float(values.mean())
    return Score(name, mean, mean - float(reach), mean + float(reach), len(values), "seeds", chance)


def seed_interval(differences: Float[np.ndarray, " seed"]) -> tuple[float, float]:
    """Student's interval of the mean over trainings; infinite for a single one, which says nothing about the next."""
    if len(differences) < 2:
        return -np.inf, np.inf
    found = over_seeds("difference", differences, chance=None)
    return found.low, found.high


def verdict(patients: tuple[float, float], seeds: tuple[float, float]) -> str:
    """What two intervals of a difference say, the one over patients and the one over trainings.

    It holds if both lie above 0, is reversed if both lie below it, and is not shown otherwise.
    """
    if min(patients[0], seeds[0]) > 0:
        return HOLDS
    return REVERSED if max(patients[1], seeds[1]) < 0 else NOT_SHOWN


def by_luck(n: int, *, confidence: float = CONFIDENCE) -> float:
    """How many of n differences that are nothing hold all the same by one interval, on average: half of its misses."""
    return n * (1 - confidence) / 2


def simulated_intervals(
    n_patients: int, n_items: int, *, alike: float, by: str, n_trials: int, seed: int = 0
) -> Float[np.ndarray, "trial 2"]:
    """Bootstrap intervals of simulated studies whose true share of hits is RATE; how many hold it is their coverage.

    Each patient has `n_items` items and a rate of hits of their own (beta-distributed); `alike`, above 0 and below 1, is the
    correlation of two items of a patient. `by` says what is resampled: "patient", or "item", as if items were independent.
    """
    if by not in WAYS or not 0 < alike < 1:
        raise ValueError(f"by {by!r} and alike {alike}: give one of {', '.join(WAYS)}, and a correlation between 0 and 1")
    rng, n_bootstrap, both = np.random.default_rng(seed), 1000, 1 / alike - 1
    hits = rng.binomial(n_items, rng.beta(RATE * both, (1 - RATE) * both, (n_trials, n_patients)))
    if by == "patient":
        weights = patient_weights(np.arange(n_patients), n_bootstrap, seed=seed)
        means = (weights @ hits.T / (n_patients * n_items)).T
    else:  # resampled items of a study hit as often as a coin with its share
        n, shares = n_patients * n_items, hits.sum(1, keepdims=True) / (n_patients * n_items)
        means = rng.binomial(n, np.broadcast_to(shares, (n_trials, n_bootstrap))) / n
    tail = (1 - CONFIDENCE) / 2
    return np.quantile(means, [tail, 1 - tail], axis=1).T


def coverage(intervals: Float[np.ndarray, "trial 2"], truth: float = RATE) -> float:
    """Share of intervals that hold the truth."""
    return float(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean())
