"""Probabilities against what happens: scikit-learn, closed forms, and probabilities that are right by construction."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from medclip_nb.measure import calibration as cal


def right_probabilities(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = rng.random(n)
    return probability, rng.random(n) < probability


def test_the_temperature_of_logits_that_were_multiplied_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, 4))
    labels = np.array([rng.choice(4, p=p) for p in cal.probabilities(logits)])
    assert cal.fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)
    assert cal.fit_temperature(logits / 2, labels) == pytest.approx(0.5, rel=0.1)


def test_no_temperature_on_a_grid_is_better():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 3, (200, 3)), rng.integers(0, 3, 200)
    loss = lambda t: log_loss(labels, cal.probabilities(logits, t), labels=[0, 1, 2])  # noqa: E731
    assert loss(cal.fit_temperature(logits, labels)) <= min(loss(t) for t in np.geomspace(0.05, 100, 200)) + 1e-6


def test_a_temperature_keeps_the_order():
    logits = np.random.default_rng(2).normal(size=(50, 5))
    assert np.array_equal(cal.probabilities(logits, 7.0).argmax(1), logits.argmax(1))


def test_platt_finds_slope_and_intercept_of_a_logistic_world():
    rng = np.random.default_rng(3)
    x = rng.normal(0, 2, 20000)
    hit = rng.random(20000) < 1 / (1 + np.exp(-(0.7 * x - 2)))
    assert cal.fit_platt(x, hit) == pytest.approx((0.7, -2), abs=0.1)


def test_after_platt_the_mean_probability_is_the_share_of_hits():
    rng = np.random.default_rng(4)
    x, hit = rng.normal(size=300), rng.random(300) < 0.1
    slope, intercept = cal.fit_platt(x, hit)
    assert (1 / (1 + np.exp(-(slope * x + intercept)))).mean() == pytest.approx(hit.mean(), abs=1e-4)


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_only_cannot_be_fitted(kind):
    with pytest.raises(ValueError, match="both kinds are needed"):
        cal.fit_platt(np.arange(4.0), np.full(4, kind))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="1 of 3 logits are not finite"):
        cal.fit_platt(np.array([0.0, bad, 1.0]), np.array([True, False, True]))
    with pytest.raises(ValueError, match="1 of 4 logits are not finite"):
        cal.fit_temperature(np.array([[0.0, bad], [1.0, 1.0]]), np.array([0, 1]))


def test_bins_and_shares_agree_with_scikit_learn():
    probability, hit = right_probabilities(1000)
    table = cal.reliability(probability, hit, np.arange(1000), n_bootstrap=20)
    observed, predicted = calibration_curve(hit, probability, n_bins=10, strategy="quantile")
    assert table["predicted"].to_numpy() == pytest.approx(predicted, abs=1e-6)
    assert table["observed"].to_numpy() == pytest.approx(observed, abs=1e-6)
    assert table["n"].tolist() == [100] * 10


def test_ece_agrees_with_a_loop():
    probability, hit = right_probabilities(300)
    own = cal.bins(probability, 7)
    slow = sum(abs(hit[own == k].mean() - probability[own == k].mean()) * (own == k).sum() for k in set(own)) / 300
    assert cal.ece(probability, hit, 7) == pytest.approx(slow)


def test_ece_of_right_probabilities_is_its_bias_and_shrinks_with_n():
    small, large = (right_probabilities(n) for n in (200, 20000))
    assert cal.ece_if_calibrated(small[0]) > 3 * cal.ece_if_calibrated(large[0]) > 0
    values = [cal.ece(*right_probabilities(200, seed)) for seed in range(200)]
    assert np.mean(values) == pytest.approx(cal.ece_if_calibrated(small[0]), rel=0.1)


def test_overconfidence_is_read_off():
    hit = np.random.default_rng(0).random(5000) < 0.6
    assert cal.ece(np.full(5000, 0.9), hit) == pytest.approx(0.9 - hit.mean())


def test_equal_probabilities_share_a_bin_and_one_item_is_a_bin():
    assert cal.bins(np.array([0.2] * 5 + [0.9] * 5)).tolist() == [0] * 5 + [5] * 5
    assert cal.ece(np.array([0.3]), np.array([True])) == pytest.approx(0.7)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(ValueError, match="1 probabilities are no number from 0 to 1"):
        cal.ece(np.array([0.5, bad]), np.array([True, False]))


def test_few_patients_give_wider_bins_than_as_many_items_of_many():
    probability, hit = right_probabilities(400)
    order = np.argsort(probability)
    clumped = np.empty(400, int)
    clumped[order] = np.arange(400) // 10  # neighbours in a bin are one patient's
    hit = np.repeat(np.random.default_rng(0).random(40) < np.sort(probability).reshape(40, 10).mean(1), 10)[np.argsort(order)]
    wide, narrow = (cal.reliability(probability, hit, who, n_bootstrap=300) for who in (clumped, np.arange(400)))
    assert (wide["high"] - wide["low"]).mean() > 1.5 * (narrow["high"] - narrow["low"]).mean()
    assert (wide["n_patients"] <= 5).all()
