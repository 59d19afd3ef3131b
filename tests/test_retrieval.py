"""Ranks, recall and chance, against slow versions and hostile inputs."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.measure.retrieval import chance_recall_at, first_ranks, recall_at, same

SIM = np.array([[0.9, 0.8, 0.1, 0.0], [0.5, 0.5, 0.4, 0.1]])
RELEVANT = np.array([[0, 1, 0, 0], [1, 1, 0, 0]], bool)


def rank_loop(row: list[float], right: list[bool]) -> int:
    """Sort by similarity, wrong items first among equals; the place of the first right one."""
    order = sorted(range(len(row)), key=lambda j: (-row[j], right[j]))
    return 1 + next(place for place, j in enumerate(order) if right[j])


@st.composite
def cases(draw):
    n, m = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    relevant = rng.random((n, m)) < 0.4
    relevant[np.arange(n), rng.integers(0, m, n)] = True
    return rng.integers(-2, 3, (n, m)) / 2, relevant  # few values: many ties


def test_the_worked_example_is_read_by_eye():
    ranks = first_ranks(SIM, RELEVANT)
    assert ranks.tolist() == [2, 1]
    assert recall_at(ranks, 1).mean() == 0.5
    assert recall_at(ranks, 2).mean() == 1


@settings(max_examples=100, deadline=None)
@given(cases())
def test_ranks_agree_with_sorting_each_query_by_hand(case):
    sim, relevant = case
    assert first_ranks(sim, relevant).tolist() == [rank_loop(*pair) for pair in zip(sim.tolist(), relevant.tolist(), strict=True)]


@settings(max_examples=50, deadline=None)
@given(cases(), st.integers(0, 10_000))
def test_the_order_of_queries_and_items_does_not_matter(case, seed):
    (sim, relevant), rng = case, np.random.default_rng(seed)
    rows, columns = rng.permutation(len(sim)), rng.permutation(sim.shape[1])
    assert np.array_equal(first_ranks(sim[rows][:, columns], relevant[rows][:, columns]), first_ranks(sim, relevant)[rows])


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_collapsed_embeddings_do_not_beat_chance(k, value):
    labels = np.arange(60) % 20
    for relevant in (np.eye(60, dtype=bool), same(labels, labels)):
        recall = recall_at(first_ranks(np.full((60, 60), value), relevant), k).mean()
        assert recall <= chance_recall_at(relevant, k)


def test_one_wrong_item_as_similar_as_the_right_one_comes_first():
    assert first_ranks(np.array([[0.5, 0.5]]), np.array([[True, False]])).tolist() == [2]


def test_any_right_item_will_do_not_only_the_one_on_the_diagonal():
    sim = np.array([[0.1, 0.9], [0.9, 0.1]])
    assert first_ranks(sim, same(np.array(["x", "x"]), np.array(["x", "x"]))).tolist() == [1, 1]


def test_a_similarity_that_is_nan_is_refused_and_counted():
    sim = SIM.copy()
    sim[1, 2:] = np.nan
    with pytest.raises(ValueError, match="1 queries have a similarity that is NaN"):
        first_ranks(sim, RELEVANT)


def test_a_query_without_a_right_item_is_named():
    with pytest.raises(ValueError, match="no item is right for query 1; leave such queries out"):
        first_ranks(SIM, RELEVANT & [[True], [False]])


def test_when_k_exceeds_the_number_of_items_every_query_is_answered():
    assert recall_at(first_ranks(SIM, RELEVANT), 99).tolist() == [1, 1]
    assert chance_recall_at(RELEVANT, 99) == 1


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
def test_chance_agrees_with_trying_every_order(k):
    relevant = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 1, 1, 0]], bool)
    hits = [[any(row[j] for j in order[:k]) for order in permutations(range(5))] for row in relevant]
    assert chance_recall_at(relevant, k) == pytest.approx(np.mean(hits))


def test_chance_is_k_over_n_where_one_item_is_right_even_of_many():
    assert chance_recall_at(np.eye(3000, dtype=bool), 10) == pytest.approx(10 / 3000)


def test_recall_never_falls_with_k():
    sim, relevant = np.random.default_rng(0).normal(size=(40, 40)), np.eye(40, dtype=bool)
    recalls = [recall_at(first_ranks(sim, relevant), k).mean() for k in range(1, 41)]
    chances = [chance_recall_at(relevant, k) for k in range(1, 41)]
    assert (np.diff(recalls) >= 0).all()
    assert (np.diff(chances) > 0).all()


def test_relevance_by_equality_compares_each_with_each():
    assert same(np.array(["a", "b"]), np.array(["b", "b", "a"])).tolist() == [[False, False, True], [True, True, False]]
