"""Scores of findings: against a loop, only over what is asked, over patients and seeds."""

import numpy as np
import pytest

from medclip_nb.measure.auc import auc
from medclip_nb.measure.findings import (
    MIN_POSITIVE_PATIENTS,
    Truth,
    finding_scores,
    mean_auc,
    mean_auc_difference,
    resampled_aucs,
)
from medclip_nb.measure.statistics import draw_patients, percentile_interval, statistic_score

N = 80  # resamples
NAMES = ("cyst", "mass", "stone")


def truth(*, n_patients: int = 12, asked: float = 0.8, seed: int = 0) -> Truth:
    """Four items per patient, some asked for some findings."""
    rng, shape = np.random.default_rng(seed), (4 * n_patients, 3)
    patients = np.repeat([f"p{i}" for i in range(n_patients)], 4)
    return Truth(NAMES, rng.random(shape) < 0.35, rng.random(shape) < asked, patients)


def sparse() -> Truth:
    """Each finding on one item of three patients in twenty: some resamples draw none of them."""
    labels = np.zeros((80, 3), bool)
    for k in range(3):
        labels[4 * np.arange(k, k + 3), k] = True
    return Truth(NAMES, labels, np.ones_like(labels), np.repeat([f"p{i:02}" for i in range(20)], 4))


def scores(of: Truth, seed: int = 1) -> np.ndarray:
    """Better than chance, with ties."""
    return np.round(np.random.default_rng(seed).normal(size=of.labels.shape) + of.labels, 1)


def aucs_loop(of: Truth, values: np.ndarray) -> np.ndarray:
    """AUC of each finding on each resample, its items written out; NaN where one class is missing."""
    names = sorted(set(of.patients))
    draws = [range(len(names)), *draw_patients(len(names), N, seed=0)]
    found = np.full((len(of.names), len(draws)), np.nan)
    for r, draw in enumerate(draws):
        items = np.array([i for p in draw for i in range(len(of.patients)) if of.patients[i] == names[p]])
        for k in range(len(of.names)):
            chosen = items[of.asked[items, k]]
            if len(set(of.labels[chosen, k])) == 2:
                found[k, r] = auc(of.labels[chosen, k], values[chosen, k])
    return found


def of_patients(n_with: int, n_without: int) -> Truth:
    """One finding, two items per patient."""
    patients = np.repeat(np.arange(n_with + n_without), 2).astype(str)
    labels = (np.arange(len(patients)) < 2 * n_with)[:, None]
    return Truth(("cyst",), labels, np.ones_like(labels), patients)


@pytest.mark.parametrize(("n_with", "n_without", "scored"), [(3, 3, [0]), (2, 9, []), (9, 2, []), (0, 9, []), (9, 0, [])])
def test_a_finding_needs_three_patients_with_it_and_three_without(n_with, n_without, scored):
    assert MIN_POSITIVE_PATIENTS == 3
    assert of_patients(n_with, n_without).scored() == scored


def test_patients_who_are_not_asked_do_not_count():
    made = of_patients(4, 4)
    made.asked[:4] = False
    assert made.scored() == []


def test_where_no_finding_can_be_scored_that_is_said():
    with pytest.raises(ValueError, match="no finding has 3 patients with it and as many without among 22 items"):
        resampled_aucs(of_patients(2, 9), np.zeros((22, 1)), n_bootstrap=5)


def test_a_truth_of_fewer_findings_keeps_their_columns():
    made = truth()
    part = made.only(["stone", "cyst"])
    assert part.names == ("stone", "cyst")
    assert np.array_equal(part.labels, made.labels[:, [2, 0]])
    assert np.array_equal(part.asked, made.asked[:, [2, 0]])


def with_a_rare_one() -> Truth:
    """`sparse`, with a finding in the middle that cannot be scored."""
    made = sparse()
    made.labels[:, 1] = made.patients == "p05"
    return made


@pytest.mark.parametrize("made", [truth(), truth(n_patients=5, seed=3), sparse(), with_a_rare_one()])
def test_every_resample_agrees_with_a_loop_over_written_out_items(made):
    names, found = resampled_aucs(made, scores(made), n_bootstrap=N)
    wanted = aucs_loop(made, scores(made))[made.scored()]
    assert names == [NAMES[k] for k in made.scored()] != []
    assert found == pytest.approx(wanted, nan_ok=True)


def test_where_all_are_asked_a_finding_has_the_score_of_the_slow_statistic():
    made = truth(asked=1.1)
    for k, score in enumerate(finding_scores(made, scores(made), n_bootstrap=N)):
        slow = statistic_score(NAMES[k], auc, (made.labels[:, k], scores(made)[:, k]), made.patients, chance=0.5, n_bootstrap=N)
        assert (score.name, score.n, score.unit, score.chance) == (slow.name, slow.n, slow.unit, slow.chance)
        assert (score.value, score.low, score.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_the_mean_skips_what_a_resample_cannot_score():
    made = sparse()
    wanted = aucs_loop(made, scores(made))
    score = mean_auc("mean", made, [scores(made)], n_bootstrap=N)
    assert np.isnan(wanted).any()
    assert (score.low, score.high) == pytest.approx(percentile_interval(np.nanmean(wanted[:, 1:], axis=0)))
    assert score.value == pytest.approx(wanted[:, 0].mean())


def test_the_mean_over_runs_is_the_mean_of_their_means():
    made = truth()
    runs = [scores(made, seed) for seed in (1, 2, 3)]
    both = mean_auc("mean", made, runs, n_bootstrap=N)
    alone = [mean_auc("one", made, [run], n_bootstrap=N).value for run in runs]
    resamples = np.mean([np.nanmean(aucs_loop(made, run)[:, 1:], axis=0) for run in runs], axis=0)
    assert both.value == pytest.approx(np.mean(alone))
    assert len(set(alone)) == 3
    assert (both.low, both.high) == pytest.approx(percentile_interval(resamples))


def test_scores_of_items_that_are_not_asked_change_nothing():
    made, before = truth(), scores(truth())
    after = np.where(made.asked, before, 99.0)
    assert not np.array_equal(after, before)
    assert finding_scores(made, after, n_bootstrap=N) == finding_scores(made, before, n_bootstrap=N)


def test_the_truth_scores_1_and_a_constant_one_half():
    made = truth()
    right, same = (mean_auc("", made, [s], n_bootstrap=N) for s in (made.labels.astype(float), np.zeros(made.labels.shape)))
    assert (right.value, right.low, right.high) == (1, 1, 1)
    assert (same.value, same.low, same.high) == (0.5, 0.5, 0.5)


def test_a_run_is_not_better_than_itself():
    made = truth()
    score = mean_auc_difference("", made, [scores(made)], [scores(made)], n_bootstrap=N)
    assert (score.value, score.low, score.high, score.chance) == (0, 0, 0, 0)


def test_a_difference_turned_round_has_the_other_sign():
    made = truth()
    one, other = [scores(made, 1), scores(made, 2)], [scores(made, 3)]
    a, b = (mean_auc_difference("", made, *runs, n_bootstrap=N) for runs in ((one, other), (other, one)))
    assert (a.value, a.low, a.high) == pytest.approx((-b.value, -b.high, -b.low))
    values = [mean_auc("", made, runs, n_bootstrap=N).value for runs in (one, other)]
    assert a.value == pytest.approx(values[0] - values[1])


def test_scores_that_are_nan_are_refused():
    made, bad = truth(), scores(truth())
    bad[made.asked[:, 0].argmax(), 0] = np.nan
    with pytest.raises(ValueError, match="1 of [0-9]+ scores are NaN"):
        mean_auc("", made, [bad], n_bootstrap=N)
