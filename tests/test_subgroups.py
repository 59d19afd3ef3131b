"""Groups of patients against the rest: scikit-learn's AUC, a planted gap, nothing to find, groups that are too small."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medclip_nb.measure.findings import Truth
from medclip_nb.measure.subgroups import subgroup_table


def made(n: int = 240, n_findings: int = 3, seed: int = 0) -> tuple[Truth, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random((n, n_findings)) < 0.4
    truth = Truth(
        tuple("abc"[:n_findings]), labels, rng.random((n, n_findings)) < 0.9, np.array([f"P{i // 2}" for i in range(n)])
    )
    return truth, labels + rng.normal(0, 1, labels.shape)


def halves(n: int = 240) -> np.ndarray:
    return np.where(np.arange(n) // 2 % 2 == 0, "A", "B")


def test_values_agree_with_scikit_learn():
    truth, scores = made()
    table = subgroup_table(truth, scores, {"scanner": halves()}, n_bootstrap=50)
    mean = {}
    for group in "AB":
        rows = [(halves() == group) & truth.asked[:, k] for k in range(3)]
        mean[group] = np.mean([roc_auc_score(truth.labels[own, k], scores[own, k]) for k, own in enumerate(rows)])
    assert table["value"].tolist() == pytest.approx([mean["A"], mean["B"]], abs=1e-9)
    assert table["minus_rest"].tolist() == pytest.approx([mean["A"] - mean["B"], mean["B"] - mean["A"]], abs=1e-9)
    assert table["group"].tolist() == ["scanner A", "scanner B"]
    assert table["n_patients"].tolist() == [60, 60]


def test_a_group_that_the_model_fails_is_found_and_another_split_is_not():
    truth, scores = made(600)
    blind = np.where(halves(600)[:, None] == "B", np.random.default_rng(9).normal(size=scores.shape), scores)
    other = np.where(np.arange(600) // 2 % 3 == 0, "x", "y")
    table = subgroup_table(truth, blind, {"scanner": halves(600), "other": other}, n_bootstrap=400).set_index("group")
    assert table.loc["scanner B", "minus_high"] < 0
    assert table.loc["scanner B", "p_holm"] < 0.05 < table.loc["other x", "p_holm"]


def test_corrected_p_is_never_smaller():
    truth, scores = made()
    table = subgroup_table(truth, scores, {"a": halves(), "b": np.roll(halves(), 2)}, n_bootstrap=100)
    assert (table["p_holm"] >= table["p"]).all()


def test_a_group_of_two_patients_is_named_without_a_value():
    truth, scores = made()
    small = np.where(np.isin(truth.patients, ["P0", "P1"]), "rare", "common")
    table = subgroup_table(truth, scores, {"scanner": small}, n_bootstrap=20).set_index("group")
    assert table.loc["scanner rare", "n_patients"] == 2
    assert table[["value", "p", "p_holm"]].isna().all(axis=None)


def test_items_without_a_label_are_left_out_of_both_sides():
    truth, scores = made()
    labels = np.where(np.arange(240) < 40, "", halves())
    kept = np.arange(240) >= 40
    only = Truth(truth.names, truth.labels[kept], truth.asked[kept], truth.patients[kept])
    one, two = (
        subgroup_table(*x, n_bootstrap=20) for x in ((truth, scores, {"s": labels}), (only, scores[kept], {"s": labels[kept]}))
    )
    assert one["value"].tolist() == pytest.approx(two["value"].tolist())
    assert one["n_positive"].tolist() == two["n_positive"].tolist()
