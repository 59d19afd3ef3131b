"""Does a probability of .8 mean eight in ten? Temperature and Platt scaling, fitted on validation items; reliability, ECE.

Bins hold equally many items, in the order of the probability; items of equal probability are kept together.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from .statistics import patient_weights, percentile_interval

N_BINS = 10
N_DRAWS = 500  # of hits from calibrated probabilities
REACH = 5.0  # of the logarithm of a temperature


def probabilities(logits: Float[np.ndarray, "item class"], temperature: float = 1.0) -> Float[np.ndarray, "item class"]:
    """Softmax of the logits divided by the temperature: above 1 it is less sure, below 1 surer; the order stays."""
    from scipy.special import softmax

    return softmax(np.asarray(logits, float) / temperature, axis=1)


def fit_temperature(logits: Float[np.ndarray, "item class"], labels: Int[np.ndarray, " item"]) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017). Give it validation items only.

    Raises ValueError where a logit is not finite.
    """
    from scipy.optimize import minimize_scalar

    _refuse(logits)
    right = np.arange(len(labels)), labels
    loss = lambda log_t: -np.log(np.maximum(probabilities(logits, np.exp(log_t))[right], 1e-300)).mean()  # noqa: E731
    return float(np.exp(minimize_scalar(loss, bounds=(-REACH, REACH), method="bounded").x))


def fit_platt(logit: Float[np.ndarray, " item"], hit: Bool[np.ndarray, " item"]) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of hits on a yes-no logit (Platt 1999). Give it validation items only.

    A temperature is a slope alone and keeps probability one half where the logit is 0; the intercept is what a rare finding
    needs. Raises ValueError where all are hits or none is, or a logit is not finite.
    """
    from sklearn.linear_model import LogisticRegression

    _refuse(logit)
    if hit.all() or not hit.any():
        raise ValueError(f"{int(hit.sum())} hits among {len(hit)} items: both kinds are needed to fit a probability")
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(logit[:, None], hit)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def bins(probability: Float[np.ndarray, " item"], n_bins: int = N_BINS) -> Int[np.ndarray, " item"]:
    """The bin of each item, from 0. Raises ValueError for a value outside 0 to 1, NaN included."""
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"{int((~((probability >= 0) & (probability <= 1))).sum())} probabilities are no number from 0 to 1")
    first = np.searchsorted(np.sort(probability), probability)  # so equal ones share a bin
    return first * n_bins // max(len(probability), 1)


def ece(probability: Float[np.ndarray, " item"], hit: Bool[np.ndarray, " item"], n_bins: int = N_BINS) -> float:
    """Expected calibration error: the mean distance of a bin's share of hits from its mean probability, by items.

    It is never 0, even for perfect probabilities, since shares are noisy: see `ece_if_calibrated`.
    """
    own = bins(probability, n_bins)
    return float(np.abs(np.bincount(own, weights=probability - hit)).sum() / len(hit))


def ece_if_calibrated(probability: Float[np.ndarray, " item"], n_bins: int = N_BINS, *, seed: int = 0) -> float:
    """The mean ECE that these probabilities would have if they were right: its bias, and the level to print beside it.

    Hits are drawn as if items were independent; several items of one patient make it larger.
    """
    own, rng = bins(probability, n_bins), np.random.default_rng(seed)
    drawn = rng.random((N_DRAWS, len(probability))) < probability
    gaps = np.stack([np.bincount(own, weights=probability - one) for one in drawn])
    return float(np.abs(gaps).sum(1).mean() / len(probability))


def reliability(
    probability: Float[np.ndarray, " item"],
    hit: Bool[np.ndarray, " item"],
    patients: np.ndarray,
    *,
    n_bootstrap: int,
    n_bins: int = N_BINS,
) -> pd.DataFrame:
    """A row per bin: mean probability, share of hits with its interval over patients, items and patients."""
    own, weights = bins(probability, n_bins), patient_weights(patients, n_bootstrap)
    rows = []
    for k in np.unique(own):
        inside = own == k
        with np.errstate(invalid="ignore"):
            shares = weights[:, inside] @ hit[inside] / weights[:, inside].sum(1)
        low, high = percentile_interval(shares)
        n_patients = len(np.unique(patients[inside]))
        rows.append((probability[inside].mean(), hit[inside].mean(), low, high, int(inside.sum()), n_patients))
    return pd.DataFrame(rows, columns=["predicted", "observed", "low", "high", "n", "n_patients"])


def _refuse(logits: np.ndarray) -> None:
    if not np.isfinite(logits).all():
        raise ValueError(f"{int((~np.isfinite(logits)).sum())} of {logits.size} logits are not finite; look at the model")
