"""Ranks, recall and chance, against slow versions and hostile inputs."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, ndcg_score

from medclip_nb.measure.retrieval import (
    average_precision,
    chance_average_precision,
    chance_median_rank,
    chance_ndcg_at,
    chance_recall,
    chance_recall_at,
    chance_reciprocal_rank,
    first_ranks,
    ndcg_at,
    recall_at,
    same,
)

SIM = np.array([[0.9, 0.8, 0.1, 0.0], [0.5, 0.5, 0.4, 0.1]])
RELEVANT = np.array([[0, 1, 0, 0], [1, 1, 0, 0]], bool)


def rank_loop(row: list[float], right: list[bool]) -> int:
    """Sort by similarity, wrong items first among equals; the place of the first right one."""
    order = sorted(range(len(row)), key=lambda j: (-row[j], right[j]))
    return 1 + next(place for place, j in enumerate(order) if right[j])


def precision_loop(row: list[float], right: list[bool]) -> float:
    """Walk down the same order and note the share of right items so far at each right one."""
    n_right, shares = 0, []
    for place, j in enumerate(sorted(range(len(row)), key=lambda j: (-row[j], right[j])), start=1):
        if right[j]:
            n_right += 1
            shares.append(n_right / place)
    return sum(shares) / len(shares)


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


# average precision


def test_average_precision_of_the_worked_example_is_read_by_eye():
    assert average_precision(SIM, RELEVANT).tolist() == [1 / 2, (1 + 2 / 2) / 2]


@settings(max_examples=100, deadline=None)
@given(cases())
def test_average_precision_agrees_with_walking_down_each_list(case):
    sim, relevant = case
    wanted = [precision_loop(*pair) for pair in zip(sim.tolist(), relevant.tolist(), strict=True)]
    assert np.allclose(average_precision(sim, relevant), wanted)


@settings(max_examples=50, deadline=None)
@given(cases(), st.integers(0, 10_000))
def test_average_precision_agrees_with_scikit_learn_where_nothing_is_tied(case, seed):
    relevant, rng = case[1], np.random.default_rng(seed)
    sim = rng.normal(size=relevant.shape)
    found = average_precision(sim, relevant)
    assert np.allclose(found, [average_precision_score(r, s) for r, s in zip(relevant, sim, strict=True)])
    assert found.mean() == pytest.approx(label_ranking_average_precision_score(relevant, sim))


@settings(max_examples=50, deadline=None)
@given(cases())
def test_ties_cost_no_less_than_in_scikit_learn_and_as_much_as_when_wrong_items_are_nearer(case):
    sim, relevant = case
    found = average_precision(sim, relevant)
    shared = [average_precision_score(r, s) for r, s in zip(relevant, sim, strict=True)]
    assert (found <= np.array(shared) + 1e-9).all()
    assert np.allclose(found, average_precision(sim + 0.1 * ~relevant, relevant))  # similarities are half a unit apart


@settings(max_examples=50, deadline=None)
@given(cases())
def test_with_one_right_item_average_precision_is_one_over_its_rank_and_with_all_right_one(case):
    sim, relevant = case
    one = np.arange(sim.shape[1]) == relevant.argmax(1)[:, None]
    assert np.allclose(average_precision(sim, one), 1 / first_ranks(sim, one))
    assert (average_precision(sim, np.ones_like(relevant)) == 1).all()


def test_average_precision_takes_similarities_without_bounds():
    sim = np.array([[-np.inf, -np.inf, np.inf]])
    assert average_precision(sim, np.array([[True, False, False]])).tolist() == [1 / 3]
    assert average_precision(sim, np.array([[True, False, True]])) == pytest.approx([(1 + 2 / 3) / 2])


@pytest.mark.parametrize(("sim", "right", "said"), [
    (np.nan, True, "1 queries have a similarity that is NaN"), (0.0, False, "no item is right for query 0"),
])  # fmt: skip
def test_average_precision_refuses_what_has_no_order_and_what_has_no_answer(sim, right, said):
    with pytest.raises(ValueError, match=said):
        average_precision(np.full((1, 3), sim), np.full((1, 3), right))


# chance


TRIED = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 1, 1, 0]], bool)
ORDERS = -np.array(list(permutations(range(5))), float)


@pytest.mark.parametrize("rows", [[0], [1], [2], [3], [0, 1], [0, 0, 3], [0, 1, 2, 3]])
def test_chance_of_all_figures_agrees_with_trying_every_order(rows):
    relevant, n_right = TRIED[rows], TRIED[rows].sum(1)
    tried = [np.tile(order, (len(rows), 1)) for order in ORDERS]
    ranks = np.array([first_ranks(sim, relevant) for sim in tried])
    assert np.allclose(chance_reciprocal_rank(n_right, 5), (1 / ranks).mean(0))
    assert np.allclose(chance_average_precision(n_right, 5), np.mean([average_precision(sim, relevant) for sim in tried], axis=0))
    assert np.allclose(chance_recall(n_right, 5, 2), (ranks <= 2).mean(0))
    assert chance_median_rank(n_right, 5) == np.median(ranks)


@pytest.mark.parametrize("n_items", [1, 2, 3, 4, 10, 11])
def test_the_chance_of_the_median_rank_of_one_right_item_is_the_middle_of_the_list(n_items):
    assert chance_median_rank(np.ones(3, int), n_items) == (n_items + 1) / 2


def test_chance_agrees_with_simulated_orders_of_a_longer_list():
    n_items, rng = 60, np.random.default_rng(0)
    relevant = np.arange(n_items) < rng.integers(1, 30, 6000)[:, None]
    n_right, sim = relevant.sum(1), rng.random(relevant.shape)
    ranks = first_ranks(sim, relevant)
    for found, chance in (
        (1 / ranks, chance_reciprocal_rank(n_right, n_items)),
        (average_precision(sim, relevant), chance_average_precision(n_right, n_items)),
        (recall_at(ranks, 3), chance_recall(n_right, n_items, 3)),
    ):
        assert abs(found.mean() - chance.mean()) < 4 * found.std() / len(found) ** 0.5


def test_a_list_of_one_item_and_a_list_of_right_items_leave_nothing_to_chance():
    for n_right, n_items in ((np.array([1]), 1), (np.array([7, 7]), 7)):
        assert np.allclose(chance_reciprocal_rank(n_right, n_items), 1)
        assert np.allclose(chance_average_precision(n_right, n_items), 1)
        assert chance_median_rank(n_right, n_items) == 1


@settings(max_examples=50, deadline=None)
@given(cases(), st.sampled_from([0.0, -0.3, 1.0]))
def test_by_no_figure_do_collapsed_embeddings_beat_chance(case, value):
    relevant = case[1]
    n_right, n_items, sim = relevant.sum(1), relevant.shape[1], np.full(relevant.shape, value)
    ranks = first_ranks(sim, relevant)
    assert (1 / ranks <= chance_reciprocal_rank(n_right, n_items) + 1e-9).all()
    assert (average_precision(sim, relevant) <= chance_average_precision(n_right, n_items) + 1e-9).all()
    assert np.median(ranks) >= chance_median_rank(n_right, n_items)


# graded relevance


GAIN = np.array([[0.5, 1, 0, 0], [0, 0.25, 0, 1]])


@st.composite
def graded(draw):
    """Similarities of few values, so that many are tied, or of many; each query has an item with a gain."""
    n, m = draw(st.integers(1, 5)), draw(st.integers(2, 8))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    gain = rng.integers(0, 4, (n, m)) / 3
    gain[np.arange(n), rng.integers(0, m, n)] = 1
    return (rng.integers(-2, 3, (n, m)) / 2 if draw(st.booleans()) else rng.normal(size=(n, m))), gain


@settings(max_examples=100, deadline=None)
@given(graded(), st.integers(1, 12))
def test_ndcg_agrees_with_scikit_learn_row_by_row_where_items_are_tied_too(case, k):
    sim, gain = case
    wanted = [ndcg_score(g[None], s[None], k=k) for s, g in zip(sim, gain, strict=True)]
    assert np.allclose(ndcg_at(sim, gain, k), wanted)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
def test_chance_of_ndcg_agrees_with_trying_every_order(k):
    orders = [ndcg_at(-np.array([order] * 2, float), GAIN, k).mean() for order in permutations(range(4))]
    assert chance_ndcg_at(GAIN, k) == pytest.approx(np.mean(orders))


@settings(max_examples=50, deadline=None)
@given(graded(), st.integers(1, 12), st.sampled_from([0.0, -0.3, 1.0]))
def test_collapsed_embeddings_have_the_ndcg_of_chance(case, k, value):
    sim, gain = case
    assert ndcg_at(np.full(sim.shape, value), gain, k).mean() == pytest.approx(chance_ndcg_at(gain, k))


@settings(max_examples=50, deadline=None)
@given(graded(), st.integers(1, 12), st.integers(0, 10_000))
def test_ndcg_is_a_share_blind_to_the_order_of_items_and_1_where_they_are_sorted_by_gain(case, k, seed):
    (sim, gain), order = case, np.random.default_rng(seed).permutation(case[0].shape[1])
    found = ndcg_at(sim, gain, k)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()
    assert np.allclose(ndcg_at(sim[:, order], gain[:, order], k), found)
    assert np.allclose(ndcg_at(gain, gain, k), 1)
    assert np.allclose(ndcg_at(sim, 7 * gain, k), found)


def test_a_k_beyond_the_items_asks_for_all_of_them():
    assert np.array_equal(ndcg_at(SIM, GAIN, 4), ndcg_at(SIM, GAIN, 99))
    assert chance_ndcg_at(GAIN, 4) == chance_ndcg_at(GAIN, 99)
    assert ndcg_at(np.ones((1, 1)), np.ones((1, 1)), 5).tolist() == [1]


def test_ndcg_of_two_items_is_read_by_eye():
    assert ndcg_at(np.array([[0.1, 0.9], [0.9, 0.1]]), np.array([[1.0, 0], [1, 0]]), 2) == pytest.approx([1 / np.log2(3), 1])
    assert ndcg_at(np.array([[0.1, 0.9]]), np.array([[1.0, 0]]), 1).tolist() == [0]


def test_a_query_without_any_gain_is_named():
    with pytest.raises(ValueError, match="no item has a gain for query 1; leave such queries out"):
        ndcg_at(SIM, GAIN * [[1], [0]], 2)


@pytest.mark.parametrize(("sim", "gain", "k", "said"), [
    (np.nan, 1.0, 2, "1 queries have a similarity that is NaN"), (0.0, -1.0, 2, "k is 2 and 4 gains are below 0 or NaN"),
    (0.0, np.nan, 2, "4 gains are below 0 or NaN"), (0.0, 1.0, 0, "k is 0"), (0.0, 0.0, 1, "no item has a gain for query 0"),
])  # fmt: skip
def test_a_similarity_that_is_nan_and_a_gain_or_k_that_makes_no_sense_are_refused(sim, gain, k, said):
    with pytest.raises(ValueError, match=said):
        ndcg_at(np.full((1, 4), sim), np.full((1, 4), gain), k)


def test_infinite_similarities_tie_like_all_others():
    assert ndcg_at(np.array([[-np.inf, -np.inf]]), np.array([[1.0, 0]]), 2) == pytest.approx([(1 + 1 / np.log2(3)) / 2])


@pytest.mark.parametrize("k", [1, 3, 10])
def test_ndcg_of_long_lists_agrees_with_scikit_learn_with_and_without_ties(k):
    rng = np.random.default_rng(k)
    gain = (rng.random((6, 700)) < 0.05) * rng.random((6, 700))
    for sim in (rng.normal(size=(6, 700)), rng.integers(0, 9, (6, 700)).astype(float), np.sort(rng.normal(size=(6, 700)))):
        wanted = [ndcg_score(g[None], s[None], k=k) for g, s in zip(gain, sim, strict=True)]
        assert np.allclose(ndcg_at(sim, gain, k), wanted)
