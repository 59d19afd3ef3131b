"""Intervals over patients, and the area under the ROC curve."""

import json

import numpy as np
import pytest
import scipy.stats
from scipy.stats import binomtest

from medclip_nb.config import CONFIDENCE
from medclip_nb.measure.auc import auc, auc_resamples
from medclip_nb.measure.comparisons import coverage, simulated_intervals
from medclip_nb.measure.statistics import (
    FEW_PATIENTS,
    Score,
    draw_patients,
    jackknife_score,
    mean_score,
    paired_difference,
    patient_weights,
    percentile_interval,
    statistic_score,
)

PATIENTS = np.repeat(np.arange(30), np.random.default_rng(1).integers(1, 9, 30)).astype(str)
CLUSTERED = (np.random.default_rng(2).random(30)[PATIENTS.astype(int)] < 0.5).astype(float)  # one value per patient


def interval_loop(values, patients, draws) -> tuple[float, float]:
    """Writes each resample out, image by image."""
    names, means = sorted(set(patients)), []
    for draw in draws:
        chosen = [v for i in draw for v, p in zip(values, patients, strict=True) if p == names[i]]
        means.append(sum(chosen) / len(chosen))
    return tuple(np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))


def scored(values, patients, **kwargs) -> Score:
    return mean_score("hits", values, patients, chance=0.5, **{"n_bootstrap": 300} | kwargs)


def test_the_interval_agrees_with_a_loop_over_the_same_draws():
    score = scored(CLUSTERED, PATIENTS, seed=3)
    wanted = interval_loop(CLUSTERED.tolist(), PATIENTS.tolist(), draw_patients(30, 300, seed=3))
    assert (score.low, score.high) == pytest.approx(wanted)
    assert (score.value, score.n, score.unit) == (pytest.approx(CLUSTERED.mean()), 30, "patients")


def test_a_statistic_of_arrays_agrees_with_the_mean_where_it_is_the_mean():
    one = statistic_score("hits", lambda v: float(np.mean(v)), (CLUSTERED,), PATIENTS, chance=0.5, n_bootstrap=300)
    assert one == scored(CLUSTERED, PATIENTS)


def test_the_interval_really_resamples():
    score = scored(CLUSTERED, PATIENTS)
    assert score.low < score.value < score.high


@pytest.mark.parametrize("value", [0, 1, True])
def test_where_all_hit_or_all_miss_the_interval_is_the_exact_one_over_patients(value):
    score = scored(np.full(12, value), np.repeat(np.arange(4), 3))
    exact = binomtest(4 * int(value), 4).proportion_ci(CONFIDENCE, "exact")
    assert (score.low, score.high) == pytest.approx((exact.low, exact.high))
    assert score.n == 4


def test_resampling_patients_gives_a_wider_interval_than_resampling_images():
    by_patient, by_image = (scored(CLUSTERED, ids) for ids in (PATIENTS, np.arange(len(PATIENTS))))
    assert by_patient.high - by_patient.low > 1.5 * (by_image.high - by_image.low)


def test_more_copies_of_a_patients_images_do_not_narrow_the_interval():
    values, patients = np.arange(12.0), np.arange(12)
    once, often = scored(values, patients), scored(np.repeat(values, 50), np.repeat(patients, 50))
    assert (once.low, once.high) == pytest.approx((often.low, often.high))


def test_the_order_of_rows_does_not_change_the_interval():
    order = np.random.default_rng(0).permutation(len(PATIENTS))
    moved = scored(CLUSTERED[order], PATIENTS[order])
    assert (moved.low, moved.high) == pytest.approx((scored(CLUSTERED, PATIENTS).low, scored(CLUSTERED, PATIENTS).high))


def test_the_same_seed_gives_the_same_interval():
    assert scored(CLUSTERED, PATIENTS, seed=1) == scored(CLUSTERED, PATIENTS, seed=1)
    assert scored(CLUSTERED, PATIENTS, seed=1) != scored(CLUSTERED, PATIENTS, seed=2)


def test_a_cohort_of_one_patient_has_no_interval_and_says_so():
    with pytest.raises(ValueError, match="an interval needs at least 2 patients, there is 1"):
        scored(np.ones(9), np.repeat("p", 9))


def test_a_resample_draws_as_many_patients_with_replacement():
    draws = draw_patients(50, 20, seed=0)
    assert draws.shape == (20, 50)
    assert 0 <= draws.min() <= draws.max() < 50
    assert max(len(set(d)) for d in draws) < 50


def test_resamples_that_cannot_be_scored_are_left_out():
    labels, scores = np.array([1, 0, 0, 0, 0]), np.array([0.9, 0.8, 0.1, 0.95, 0.3])
    score = statistic_score("auc", auc, (labels, scores), np.arange(5), chance=0.5, n_bootstrap=200)
    assert 0 <= score.low <= score.value <= score.high <= 1
    assert percentile_interval(np.array([0.2, np.nan, 0.2])) == (0.2, 0.2)


def test_a_score_says_value_interval_number_and_chance():
    assert (
        str(Score("R@1", 0.5, 0.4, 0.625, 12, "patients", 0.1)) == "R@1: 0.500 (0.400 to 0.625), 12 patients (few), chance 0.100"
    )
    assert str(Score("loss", 2.0, None, None, 3, "batches", None)) == "loss: 2.000, 3 batches"


@pytest.mark.parametrize(
    ("n", "unit", "low", "warned"),
    [(19, "patients", 0.4, True), (20, "patients", 0.4, False), (3, "seeds", 0.4, False), (3, "patients", None, False)],
)
def test_an_interval_over_few_patients_says_so(n, unit, low, warned):
    score = Score("AUC", 0.5, low, low and 0.6, n, unit, None)
    assert ("few" in score.whose) == ("few" in str(score)) == warned
    assert score.whose.startswith(f"{n} {unit}")


def test_the_warning_begins_where_simulated_intervals_stop_keeping_their_word():
    held = {
        n: coverage(simulated_intervals(n, 20, alike=0.3, by="patient", n_trials=2000))
        for n in (FEW_PATIENTS // 2, 3 * FEW_PATIENTS)
    }
    assert held[FEW_PATIENTS // 2] < 0.915
    assert held[3 * FEW_PATIENTS] > 0.92


def test_a_score_goes_into_json_whole():
    score = scored(CLUSTERED, PATIENTS)
    assert Score(**json.loads(json.dumps(score.to_dict()))) == score


def test_an_item_counts_as_often_as_its_patient_is_drawn():
    weights, draws = patient_weights(PATIENTS, 20, seed=3), draw_patients(30, 20, seed=3)
    names = sorted(set(PATIENTS))
    for row, draw in zip(weights, draws, strict=True):
        assert row.tolist() == [sum(names[i] == p for i in draw) for p in PATIENTS]
    assert (weights == 0).any(axis=1).all()  # who is not drawn


def test_of_one_item_per_patient_every_resample_has_as_many():
    assert set(patient_weights(np.array(list("dacb")), 50).sum(1)) == {4}


def test_weights_give_the_interval_of_the_mean():
    weights, score = patient_weights(PATIENTS, 300), scored(CLUSTERED, PATIENTS)
    assert percentile_interval(weights @ CLUSTERED / weights.sum(1)) == pytest.approx((score.low, score.high))


def test_a_paired_difference_is_surer_than_one_of_separate_resamples():
    rng = np.random.default_rng(0)
    labels = rng.random(len(PATIENTS)) < 0.4
    hard = rng.normal(size=30)[PATIENTS.astype(int)]  # some patients are hard for both
    one, other = (labels + hard + rng.normal(0, 0.2, len(labels)) for _ in range(2))
    drawn = [[auc_resamples(labels, s, patient_weights(PATIENTS, 400, seed=seed)) for seed in (0, 1)] for s in (one, other)]
    paired = paired_difference("", drawn[0][0], drawn[1][0], 0.0, n=30)
    unpaired = paired_difference("", drawn[0][0], drawn[1][1], 0.0, n=30)
    assert 0 < paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_the_difference_of_a_thing_from_itself_is_0_for_sure():
    values = np.random.default_rng(0).random(50)
    score = paired_difference("none", values, values, 0.0, n=9)
    assert (score.value, score.low, score.high, score.n, score.chance) == (0, 0, 0, 9, 0)


def test_a_jackknife_of_a_mean_has_the_textbook_interval_of_students_t():
    values = np.random.default_rng(0).normal(size=10)
    score = jackknife_score("mean", np.mean, (values,), np.arange(10).astype(str), chance=0.0)
    low, high = scipy.stats.t.interval(0.95, 9, values.mean(), scipy.stats.sem(values))
    assert (score.value, score.low, score.high) == pytest.approx((values.mean(), low, high), abs=1e-9)
    assert (score.n, score.unit, score.chance) == (10, "patients", 0)


def test_a_jackknife_leaves_whole_patients_out_and_repeats_no_item():
    seen, everything = [], list(range(len(PATIENTS)))
    jackknife_score("n", lambda x: float(seen.append(x.tolist()) or len(x)), (np.array(everything),), PATIENTS, chance=None)
    *without, whole = seen
    assert whole == everything
    assert all(sorted(set(items)) == items for items in without)
    left_out = [sorted(set(everything) - set(items)) for items in without]
    assert sorted(sum(left_out, [])) == everything
    assert all(set(PATIENTS[out]).isdisjoint(PATIENTS[items]) for out, items in zip(left_out, without, strict=True))


def test_a_jackknife_covers_what_it_says_where_items_of_a_patient_go_together():
    rng, hits = np.random.default_rng(1), []
    for _ in range(200):
        values = np.repeat(rng.normal(size=40), 5) + rng.normal(size=200)
        score = jackknife_score("mean", np.mean, (values,), np.repeat(np.arange(40), 5), chance=None)
        hits.append(score.low <= 0 <= score.high)
    assert 0.9 <= np.mean(hits) <= 0.99


def test_a_jackknife_of_one_patient_is_refused():
    with pytest.raises(ValueError, match="an interval needs at least 2 patients, there is 1"):
        jackknife_score("mean", np.mean, (np.ones(3),), np.array(["a"] * 3), chance=None)
