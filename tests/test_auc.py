"""The area under the ROC curve, of items and of resamples of patients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from medclip_nb.measure import auc as module
from medclip_nb.measure.auc import auc, auc_of_patients, auc_resamples
from medclip_nb.measure.statistics import patient_counts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40).filter(lambda x: len({a for a, _ in x}) == 2)
)
def test_the_auc_agrees_with_scikit_learn_and_with_counting_pairs_ties_included(pairs):
    labels, scores = (np.array(x) for x in zip(*pairs, strict=True))
    wins = [(a > b) + (a == b) / 2 for a in scores[labels] for b in scores[~labels]]
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert auc(labels, scores) == pytest.approx(np.mean(wins))


def test_collapsed_scores_have_an_auc_of_one_half():
    assert auc(np.array([1, 0, 0, 1, 0]), np.zeros(5)) == 0.5


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_an_auc_of_one_class_is_refused(labels):
    with pytest.raises(ValueError, match="an AUC needs both classes, there are"):
        auc(np.array(labels), np.array([0.1, 0.2]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=25), st.integers(0, 999))
def test_an_auc_by_weights_is_that_of_items_written_out_as_often(items, seed):
    labels, scores = (np.array(x) for x in zip(*items, strict=True))
    weights = np.random.default_rng(seed).integers(0, 3, (8, len(labels)))
    for found, times in zip(auc_resamples(labels, scores.astype(float), weights), weights, strict=True):
        written = np.repeat(np.arange(len(labels)), times)
        both = len(set(labels[written])) == 2
        assert found == pytest.approx(auc(labels[written], scores[written]) if both else np.nan, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([-np.inf, 0, 1, 2, np.inf]), st.integers(0, 5)), min_size=1, max_size=25)
)
def test_an_auc_by_patients_is_that_by_the_weights_of_their_items(items):
    labels, scores, patient = (np.array(x) for x in zip(*items, strict=True))
    counts = np.random.default_rng(0).integers(0, 3, (8, 6))
    found = auc_of_patients(labels, scores.astype(float), patient, counts)
    assert found == pytest.approx(auc_resamples(labels, scores.astype(float), counts[:, patient]), nan_ok=True)


def test_an_auc_is_the_same_when_there_are_too_many_counts_to_keep(monkeypatch):
    rng = np.random.default_rng(0)
    patient, labels, scores = rng.integers(0, 40, 200), rng.random(200) < 0.3, rng.normal(size=200)
    counts = patient_counts(40, 2 * module.RESAMPLES_AT_ONCE + 1)
    kept = auc_of_patients(labels, scores, patient, counts)
    monkeypatch.setattr(module, "MOST_KEPT", 1000)
    assert auc_of_patients(labels, scores, patient, counts) == pytest.approx(kept)


def test_infinite_scores_are_ties_like_others():
    labels, scores = np.array([True, False, True, False]), np.array([np.inf, np.inf, -np.inf, -np.inf])
    assert auc_resamples(labels, scores, np.ones((1, 4), int)).tolist() == [0.5]


def test_a_score_that_is_no_number_has_no_rank():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auc_resamples(np.array([True, False]), np.array([0.1, np.nan]), np.ones((1, 2), int))
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auc_of_patients(np.array([True, False]), np.array([0.1, np.nan]), np.arange(2), np.ones((1, 2), int))
