"""How sure may you be? Intervals by resampling patients, never images: images of one patient are not independent."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from ..config import CONFIDENCE

MIN_PATIENTS = 2
FEW_PATIENTS = 20  # below it, percentile intervals of simulated studies held the truth in 80 to 91 of 100 (see `comparisons`)
N_GROUPS = 10  # of patients that a jackknife leaves out in turn


@dataclass(frozen=True)
class Score:
    """A measured figure with what is needed to judge it: interval, how many of what, and the level of chance."""

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str
    chance: float | None
    higher_is_better: bool = True

    @property
    def whose(self) -> str:
        """How many of what; "(few)" warns that an interval over so few patients is too narrow."""
        few = self.unit == "patients" and self.n < FEW_PATIENTS and self.low is not None
        return f"{self.n} {self.unit}{' (few)' if few else ''}"

    def __str__(self) -> str:
        interval = f" ({self.low:.3f} to {self.high:.3f})" if self.low is not None else ""
        chance = f", chance {self.chance:.3f}" if self.chance is not None else ""
        return f"{self.name}: {self.value:.3f}{interval}, {self.whose}{chance}"

    def to_dict(self) -> dict:
        """As it goes into metrics.json."""
        return asdict(self)


def mean_score(
    name: str,
    values: Real[np.ndarray, " item"] | Bool[np.ndarray, " item"],
    patients: np.ndarray,
    *,
    chance: float | None,
    n_bootstrap: int,
    seed: int = 0,
) -> Score:
    """Mean of a value per item (a hit, an error) with a percentile interval over patients.

    If all are 0 or all are 1, resampling cannot show how sure that is: the exact interval of Clopper and Pearson over
    patients is given instead of one of width zero.
    """
    values = np.asarray(values, float)
    sums, counts = _per_patient(values, patients)
    draws = draw_patients(len(sums), n_bootstrap, seed=seed)
    low, high = percentile_interval(sums[draws].sum(1) / counts[draws].sum(1))
    if values.min() == values.max() and values[0] in (0, 1):
        reach = ((1 - CONFIDENCE) / 2) ** (1 / len(sums))
        low, high = (0.0, 1 - reach) if values[0] == 0 else (reach, 1.0)
    return Score(name, float(np.mean(values)), low, high, len(sums), "patients", chance)


def statistic_score(
    name: str, statistic: Callable[..., float], arrays: tuple, patients: np.ndarray, *, chance: float | None, n_bootstrap: int
) -> Score:
    """Any statistic of arrays with one entry per item (an AUC), with a percentile interval over patients.

    Resamples on which the statistic is undefined (ValueError or NaN, as of one class only) are left out.
    """
    groups = _items_of_patients(patients)
    draws = draw_patients(len(groups), n_bootstrap, seed=0)
    values = [_or_nan(statistic, arrays, np.concatenate([groups[i] for i in draw])) for draw in draws]
    low, high = percentile_interval(np.array(values))
    return Score(name, float(statistic(*arrays)), low, high, len(groups), "patients", chance)


def jackknife_score(
    name: str, statistic: Callable[..., float], arrays: tuple, patients: np.ndarray, *, chance: float | None
) -> Score:
    """A statistic that copies of an item would distort (of distances, of neighbours), with an interval over patients.

    Patients are dealt into at most N_GROUPS groups, each of which is left out in turn; Student's t (delete-a-group jackknife,
    Shao & Tu 1995).
    """
    from scipy.stats import t

    groups = _items_of_patients(patients)
    _refuse_few(len(groups))
    n_groups = min(N_GROUPS, len(groups))
    dealt = np.random.default_rng(0).permutation(len(groups)) % n_groups
    kept = [np.sort(np.concatenate([groups[i] for i in np.flatnonzero(dealt != g)])) for g in range(n_groups)]
    without = np.array([statistic(*(np.asarray(a)[items] for a in arrays)) for items in kept])
    error = np.sqrt((n_groups - 1) * without.var()) * t.ppf((1 + CONFIDENCE) / 2, n_groups - 1)
    value = float(statistic(*arrays))
    return Score(name, value, value - error, value + error, len(groups), "patients", chance)


def paired_difference(
    name: str, better: Float[np.ndarray, " resample"], worse: Float[np.ndarray, " resample"], value: float, *, n: int
) -> Score:
    """`value`, the difference of two statistics, with the interval of their difference on the same resamples of n patients.

    Two intervals that overlap say little about a difference: the same hard patients are in both.
    """
    low, high = percentile_interval(better - worse)
    return Score(name, value, low, high, n, "patients", 0.0)


def mean_difference(
    better: Float[np.ndarray, " item"], worse: Float[np.ndarray, " item"], patients: np.ndarray, *, n_bootstrap: int
) -> Score:
    """Mean of one value per item less the mean of another value of the same items, paired, with an interval over patients."""
    weights = patient_weights(patients, n_bootstrap)
    means = (weights @ values / weights.sum(1) for values in (better, worse))
    return paired_difference("", *means, float(np.mean(better - worse)), n=len(np.unique(patients)))


def patient_weights(patients: np.ndarray, n_bootstrap: int, *, seed: int = 0) -> Int[np.ndarray, "resample item"]:
    """How often each item counts in each resample of patients: what fast statistics take instead of resampled arrays."""
    numbers = np.unique(np.asarray(patients), return_inverse=True)[1]
    return patient_counts(int(numbers.max()) + 1, n_bootstrap, seed=seed)[:, numbers]


def patient_counts(n_patients: int, n_bootstrap: int, *, seed: int = 0) -> Int[np.ndarray, "resample patient"]:
    """How often each patient is drawn in each resample."""
    draws = draw_patients(n_patients, n_bootstrap, seed=seed)
    return np.stack([np.bincount(draw, minlength=n_patients) for draw in draws])


def draw_patients(n_patients: int, n_bootstrap: int, *, seed: int) -> Int[np.ndarray, "resample patient"]:
    """Numbers of the patients in each resample: n out of n, with replacement.

    Raises ValueError below MIN_PATIENTS: one patient says nothing about the next.
    """
    _refuse_few(n_patients)
    return np.random.default_rng(seed).integers(0, n_patients, (n_bootstrap, n_patients))


def percentile_interval(values: Float[np.ndarray, " resample"]) -> tuple[float, float]:
    """The central CONFIDENCE of the resampled values; NaN are resamples that could not be scored."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _refuse_few(n_patients: int):
    if n_patients < MIN_PATIENTS:
        raise ValueError(f"an interval needs at least {MIN_PATIENTS} patients, there is {n_patients}")


def _per_patient(values: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.unique(np.asarray(patients), return_inverse=True)[1]
    return np.bincount(numbers, weights=values), np.bincount(numbers)


def _items_of_patients(patients: np.ndarray) -> list[np.ndarray]:
    numbers = np.unique(np.asarray(patients), return_inverse=True)[1]
    return np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])


def _or_nan(statistic: Callable[..., float], arrays: tuple, items: np.ndarray) -> float:
    try:
        return statistic(*(np.asarray(a)[items] for a in arrays))
    except ValueError:
        return np.nan
