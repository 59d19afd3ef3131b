"""Permutation, correction, seeds and simulated studies, against SciPy and against counting by hand."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from medclip_nb.measure import comparisons as compare


def some_patients(n: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, n, 40)
    return rng.normal(0.4, 1, 40), patients


def test_flipping_patients_agrees_with_all_flips():
    values, patients = some_patients()
    sums = np.array([values[patients == p].sum() for p in np.unique(patients)])
    flips = np.array(list(product((-1, 1), repeat=len(sums))))
    exact = (np.abs(flips @ sums) >= abs(sums.sum()) - 1e-9).mean()
    assert compare.sign_flip_p(values, patients) == pytest.approx(exact, abs=0.03)


def test_flipping_agrees_with_scipy_where_each_patient_has_one_item():
    values = np.random.default_rng(3).normal(0.5, 1, 9)
    exact = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert compare.sign_flip_p(values, np.arange(9)) == pytest.approx(exact, abs=0.03)


def test_no_difference_at_all_has_p_1_and_one_patient_can_show_nothing():
    assert compare.sign_flip_p(np.zeros(6), np.arange(6)) == 1
    assert compare.sign_flip_p(np.ones(50), np.zeros(50, int)) == 1


def test_the_same_difference_in_many_items_of_few_patients_is_no_proof():
    values, few, many = np.ones(60), np.repeat(np.arange(3), 20), np.arange(60)
    assert compare.sign_flip_p(values, few) > 0.2
    assert compare.sign_flip_p(values, many) < 0.001


def test_a_difference_that_is_nan_is_refused_by_name():
    with pytest.raises(ValueError, match="1 of 3 differences are NaN"):
        compare.sign_flip_p(np.array([1.0, np.nan, 2.0]), np.arange(3))


def test_p_of_resamples_counts_the_far_side_twice():
    values = np.array([*[1.0] * 97, -1.0, -2.0, np.nan])
    assert compare.resampled_p(values) == pytest.approx(2 * 3 / 100)
    assert compare.resampled_p(np.zeros(10)) == 1
    assert compare.resampled_p(-values) == compare.resampled_p(values)


def slow_holm(p: np.ndarray) -> list[float]:
    """The smallest level at which each test is rejected by stepping down, by hand."""
    order, found, largest = sorted(range(len(p)), key=lambda i: p[i]), [0.0] * len(p), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[i]))
        found[i] = largest
    return found


@pytest.mark.parametrize("seed", range(4))
def test_holm_agrees_with_stepping_down(seed):
    p = np.round(np.random.default_rng(seed).random(7) ** 3, 2)
    assert compare.holm(p).tolist() == pytest.approx(slow_holm(p))


def test_holm_lies_between_no_correction_and_bonferroni():
    p = np.random.default_rng(5).random(9) / 9
    assert (compare.holm(p) >= p).all()
    assert (compare.holm(p) <= np.minimum(1, 9 * p) + 1e-12).all()
    assert compare.holm(np.array([0.03])).tolist() == [0.03]


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.2])
def test_what_is_no_p_value_is_refused(bad):
    with pytest.raises(ValueError, match="1 p values are no number from 0 to 1"):
        compare.holm(np.array([0.2, bad]))


def test_the_interval_over_seeds_is_students():
    values = np.array([0.6, 0.62, 0.58, 0.65])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    score = compare.over_seeds("AUC", values, chance=0.5)
    assert (score.low, score.high) == pytest.approx((low, high))
    assert (score.n, score.unit, score.chance) == (4, "seeds", 0.5)


@pytest.mark.parametrize("values", [[0.5], [0.5, np.nan]])
def test_one_seed_or_an_unknown_one_is_refused(values):
    with pytest.raises(ValueError, match="seeds"):
        compare.over_seeds("AUC", np.array(values), chance=None)


def test_intervals_over_patients_cover_the_truth_and_those_over_items_do_not():
    how = {"alike": 0.3, "n_trials": 2000}
    over = {way: compare.coverage(compare.simulated_intervals(60, 20, by=way, **how)) for way in compare.WAYS}
    assert 0.92 <= over["patient"] <= 0.97
    assert over["item"] < 0.7


def test_with_one_item_a_patient_both_ways_cover():
    how = {"alike": 0.3, "n_trials": 2000}
    assert all(0.92 <= compare.coverage(compare.simulated_intervals(80, 1, by=way, **how)) <= 0.97 for way in compare.WAYS)


@pytest.mark.parametrize(("by", "alike"), [("slice", 0.3), ("item", 0.0), ("patient", 1.0)])
def test_a_simulation_that_makes_no_sense_is_refused(by, alike):
    with pytest.raises(ValueError, match="a correlation between 0 and 1"):
        compare.simulated_intervals(10, 2, alike=alike, by=by, n_trials=3)
