"""Detection at a threshold: against scikit-learn, against loops, by eye, and where nothing can be said."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support, recall_score

from medclip_nb.measure.detection import MEASURES, detection_scores, thresholds
from medclip_nb.measure.findings import Truth
from medclip_nb.measure.statistics import patient_weights, percentile_interval

N = 80  # resamples
NAMES = ("cyst", "mass", "stone")
SEEDS = range(6)


def truth(seed: int = 0, *, n_patients: int = 12, asked: float = 0.8) -> Truth:
    """Four items per patient, some asked for some findings."""
    rng, shape = np.random.default_rng(seed), (4 * n_patients, 3)
    return Truth(NAMES, rng.random(shape) < 0.35, rng.random(shape) < asked, np.repeat(np.arange(n_patients), 4).astype(str))


def scores(of: Truth, seed: int = 1) -> np.ndarray:
    """Better than chance, with ties."""
    return np.round(np.random.default_rng(seed).normal(size=of.labels.shape) + of.labels, 1)


def one(labels: str, values: list[float]) -> tuple[Truth, np.ndarray]:
    """One finding, one item per patient; + has it, - has it not, ? is not asked (and has it)."""
    signs = np.array(list(labels))[:, None]
    return Truth(("cyst",), signs != "-", signs != "?", np.arange(len(labels)).astype(str)), np.array(values, float)[:, None]


def f1_of(labels: np.ndarray, called: np.ndarray) -> float:
    return 2 * (labels & called).sum() / (labels.sum() + called.sum())


def threshold_loop(labels: np.ndarray, values: np.ndarray) -> float:
    """The best of all candidates, each tried; the last, hence the highest, of equally good ones."""
    distinct = sorted(set(values.tolist()))
    candidates = [-np.inf, *((a + b) / 2 for a, b in zip(distinct[:-1], distinct[1:], strict=True))]
    return max(reversed(candidates), key=lambda t: f1_of(labels, values >= t))


def measures_loop(labels: list[bool], called: list[bool]) -> dict[str, float]:
    """Counts written out; NaN where nothing is divided by nothing."""
    pairs = list(zip(labels, called, strict=True))
    tp, fn, fp, tn = (sum(p == case for p in pairs) for case in ((True, True), (True, False), (False, True), (False, False)))
    parts = ((tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (2 * tp, 2 * tp + fp + fn))
    return {name: a / b if b else np.nan for name, (a, b) in zip(MEASURES, parts, strict=True)}


def resamples_loop(of: Truth, called: np.ndarray) -> list[pd.DataFrame]:
    """A table (measure, finding) per resample: every item written out as often as it was drawn."""
    tables = []
    for weights in patient_weights(of.patients, N):
        items = [i for i, weight in enumerate(weights) for _ in range(weight)]
        chosen = {name: [i for i in items if of.asked[i, k]] for k, name in enumerate(NAMES)}
        found = {n: measures_loop(of.labels[i, k].tolist(), called[i, k].tolist()) for k, (n, i) in enumerate(chosen.items())}
        tables.append(pd.DataFrame(found))
    return tables


@pytest.mark.parametrize("seed", SEEDS)
def test_thresholds_are_those_of_a_loop_over_all_candidates(seed):
    made = truth(seed)
    values = scores(made, seed)
    slow = [threshold_loop(made.labels[a, k], values[a, k]) for k, a in enumerate(made.asked.T)]
    assert thresholds(made, values).tolist() == slow


@pytest.mark.parametrize(
    ("labels", "values", "threshold"),
    [
        ("--++", [1, 2, 3, 4], 2.5),
        ("-+-+", [1, 2, 3, 4], 1.5),  # F1 .8; at 3.5 it is .67
        ("+--+", [1, 2, 3, 4], 3.5),  # as good as saying yes to all: the higher one
        ("--++", [1, 3, 3, 4], 2.0),  # equal scores stay together
        ("++--", [1, 2, 3, 4], -np.inf),
        ("-+-+", [5, 5, 5, 5], -np.inf),
        ("--?+", [1, 2, 3, 4], 3.0),  # between 2 and 4: the 3 was not asked
        ("?--+", [np.nan, 1, 2, 4], 3.0),
    ],
)
def test_thresholds_read_by_eye(labels, values, threshold):
    assert thresholds(*one(labels, values)).tolist() == [threshold]


@pytest.mark.parametrize("labels", ["++++", "----", "????", "+?+?", "-?-?"])
def test_a_finding_of_one_class_has_no_threshold(labels):
    assert np.isnan(thresholds(*one(labels, [1, 2, 3, 4]))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_between_neighbouring_floats_the_threshold_still_parts_them(dtype):
    low = dtype(1)
    made, values = one("-+", [low, np.nextafter(low, dtype(2))])
    values = values.astype(dtype)
    assert (values >= thresholds(made, values)).ravel().tolist() == [False, True]


def test_thresholds_move_with_the_scores():
    made = truth()
    values = scores(made)
    assert thresholds(made, 8 * values - 2) == pytest.approx(8 * thresholds(made, values) - 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_measures_agree_with_scikit_learn(seed):
    made, limits = truth(seed), np.array([0.2, 0.5, 0.8])
    values = scores(made, seed)
    table = detection_scores(made, values, limits, n_bootstrap=5)
    for k, row in table.iloc[:3].iterrows():
        yes, called = (part[made.asked[:, k]] for part in (made.labels[:, k], values[:, k] >= limits[k]))
        ppv, sensitivity, f1, _ = precision_recall_fscore_support(yes, called, average="binary")
        specificity = recall_score(~yes, ~called)
        assert row[list(MEASURES)].tolist() == pytest.approx([sensitivity, specificity, ppv, f1])
        assert (row["n_positive"], row["n"]) == (yes.sum(), len(yes))
        everything = precision_recall_fscore_support(yes, np.ones_like(yes), average="binary")
        assert [row["prevalence"], row["f1_chance"]] == pytest.approx([everything[0], everything[2]])


@pytest.mark.parametrize("limits", [[0.2, 0.5, 0.8], [-np.inf, 2.4, 0.5]])
def test_intervals_are_those_of_resamples_written_out(limits):
    made = truth()
    values = scores(made)
    table = detection_scores(made, values, np.array(limits), n_bootstrap=N).set_index("finding")
    resamples = resamples_loop(made, values >= limits)
    for measure in MEASURES:
        rows = pd.DataFrame([r.loc[measure] for r in resamples]).assign(mean=[r.loc[measure].mean() for r in resamples])
        slow = [percentile_interval(column) for column in rows.to_numpy(float).T]
        assert table[[f"{measure}_low", f"{measure}_high"]].to_numpy() == pytest.approx(np.array(slow))


def test_the_last_row_is_the_mean_of_the_others_and_the_sum_of_their_items():
    made = truth()
    table = detection_scores(made, scores(made), np.full(3, 0.5), n_bootstrap=N)
    *rest, last = table.index
    assert table["finding"].tolist() == [*NAMES, "mean of 3"]
    means = [*MEASURES, "prevalence", "f1_chance"]
    assert table.loc[last, means].tolist() == pytest.approx(table.loc[rest, means].mean().tolist())
    assert table.loc[last, ["n_positive", "n"]].tolist() == [(made.labels & made.asked).sum(), made.asked.sum()]


def test_a_case_read_by_eye():
    made, values = one("+++---?---", [9, 8, 1, 7, 2, 2, 9, 1, 1, 0])
    row = detection_scores(made, values, np.array([5.0]), n_bootstrap=N).iloc[0]
    assert row[["n_positive", "n"]].tolist() == [3, 9]
    assert row[list(MEASURES)].tolist() == pytest.approx([2 / 3, 5 / 6, 2 / 3, 2 / 3])
    assert [row["prevalence"], row["f1_chance"]] == pytest.approx([1 / 3, 1 / 2])


def test_saying_yes_to_everything_scores_its_chance_level():
    made = truth()
    table = detection_scores(made, scores(made), np.full(3, -np.inf), n_bootstrap=N)
    assert table["f1"].tolist() == pytest.approx(table["f1_chance"].tolist())
    assert (table[["sensitivity", "sensitivity_low"]] == 1).all(axis=None)
    assert (table[["specificity", "specificity_high"]] == 0).all(axis=None)


def test_where_nothing_is_called_positive_precision_is_unknown_and_f1_zero():
    made = truth()
    limits = np.array([0.5, 99.0, 0.5])
    table = detection_scores(made, scores(made), limits, n_bootstrap=N)
    assert table.loc[1, ["ppv", "ppv_low", "ppv_high"]].isna().all()
    assert table.loc[1, ["sensitivity", "f1", "f1_low", "f1_high"]].tolist() == [0, 0, 0, 0]
    assert table.loc[3, "ppv"] == pytest.approx(table.loc[[0, 2], "ppv"].mean())
    assert detection_scores(made, scores(made), np.full(3, 99.0), n_bootstrap=N)["ppv_low"].isna().all()


def test_what_is_not_asked_never_counts():
    made = truth()
    values = scores(made)
    noise = np.random.default_rng(5).random(values.shape) < 0.5
    other = Truth(NAMES, np.where(made.asked, made.labels, noise), made.asked, made.patients)
    changed = np.where(made.asked, values, np.where(noise, np.nan, 99.0))
    limits = thresholds(made, values)
    assert thresholds(other, changed).tolist() == limits.tolist()
    tables = [detection_scores(*case, limits, n_bootstrap=N) for case in ((made, values), (other, changed))]
    pd.testing.assert_frame_equal(*tables)


def test_findings_without_a_threshold_or_with_few_patients_are_left_out():
    made = truth()
    made.labels[:, 0] = np.isin(made.patients, ["0", "1"])
    values, limits = scores(made), np.array([0.5, np.nan, 0.7])
    table = detection_scores(made, values, limits, n_bootstrap=N)
    assert table["finding"].tolist() == ["stone", "mean of 1"]
    assert table.iloc[0, 1:].tolist() == table.iloc[1, 1:].tolist()
    alone = detection_scores(made.only(["stone"]), values[:, 2:], limits[2:], n_bootstrap=N)
    pd.testing.assert_frame_equal(table, alone)


@pytest.mark.parametrize(("n_patients", "limit"), [(1, 0.5), (2, 0.5), (12, np.nan)])
def test_where_no_finding_can_be_scored_that_is_said(n_patients, limit):
    made = truth(n_patients=n_patients)
    with pytest.raises(ValueError, match="no finding has a threshold, and 3 patients with it and as many without"):
        detection_scores(made, scores(made), np.full(3, limit), n_bootstrap=N)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_number_are_refused_by_the_name_of_their_finding(bad):
    made = truth()
    values = scores(made)
    values[made.asked[:, 1].argmax(), 1] = bad
    for call in (thresholds, lambda *a: detection_scores(*a, np.zeros(3), n_bootstrap=N)):
        with pytest.raises(ValueError, match="scores of 'mass' that are not finite, among the items asked for it: 1;"):
            call(made, values)


def test_scores_of_other_items_or_findings_are_refused():
    made = truth()
    for wrong in (scores(made)[:-1], scores(made)[:, :2]):
        with pytest.raises(ValueError, match="the labels are \\(48, 3\\)"):
            thresholds(made, wrong)
