"""All figures from embeddings in chunks, against the whole matrix, loops over lists and hostile inputs."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.measure import ranking, retrieval
from medclip_nb.measure.ranking import WAYS, best_of_case, both_ways, by_label, figures, graded, recall_by_list_size

NAMES = {"R@1", "R@10", "MRR", "mAP", "nDCG@10", "median rank"}


def embeddings(n: int, m: int, *, seed: int = 0, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Small whole numbers: their products are exact, whatever the chunk, and many are equal."""
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(-2, 3, (size, width)).astype(np.float32) for size in (n, m))


@st.composite
def paired(draw):
    """Embeddings of paired images and texts, with labels that some share."""
    n, seed = draw(st.integers(1, 9)), draw(st.integers(0, 10_000))
    return *embeddings(n, n, seed=seed), np.random.default_rng(seed).integers(0, draw(st.integers(1, n)), n)


@settings(max_examples=60, deadline=None)
@given(paired())
def test_figures_are_those_of_the_whole_matrix_in_both_directions(case):
    images, texts, labels = case
    relevant, found = retrieval.same(labels, labels), both_ways(images, texts, by_label(labels, labels))
    for way, sim in zip(WAYS, (images @ texts.T, texts @ images.T), strict=True):
        ranks, n_right = retrieval.first_ranks(sim, relevant), relevant.sum(1)
        assert set(found[way]) == NAMES
        assert np.array_equal(found[way]["R@1"].values, ranks == 1)
        assert np.array_equal(found[way]["MRR"].values, 1 / ranks)
        assert np.allclose(found[way]["mAP"].values, retrieval.average_precision(sim, relevant))
        assert np.allclose(found[way]["nDCG@10"].values, retrieval.ndcg_at(sim, relevant.astype(float), 10))
        assert found[way]["median rank"].value == np.median(ranks)
        assert found[way]["mAP"].chance == pytest.approx(retrieval.chance_average_precision(n_right, len(images)).mean())
        assert found[way]["nDCG@10"].chance == pytest.approx(retrieval.chance_ndcg_at(relevant.astype(float), 10))


@pytest.mark.parametrize("cells", [1, 7, 50, 300])
def test_chunks_of_any_size_give_what_one_chunk_gives(monkeypatch, cells):
    images, texts = embeddings(20, 13)
    cases = np.arange(20) % 6, np.arange(13) % 6
    right, gain = by_label(*cases), graded(by_label(*cases), by_label(cases[0] % 2, cases[1] % 2))
    whole = both_ways(images, texts, right, gain=gain, cases=cases)
    monkeypatch.setattr(ranking, "CELLS", cells)
    parts = both_ways(images, texts, right, gain=gain, cases=cases)
    for way in WAYS:
        for name, figure in whole[way].items():
            assert np.allclose(parts[way][name].values, figure.values)
            assert parts[way][name][1:] == pytest.approx(figure[1:])


def test_a_rule_is_never_asked_for_more_than_a_chunk(monkeypatch):
    monkeypatch.setattr(ranking, "CELLS", 40)
    images, texts = embeddings(30, 10)
    rule, shapes = by_label(np.arange(30) % 10, np.arange(10)), []

    def watched(rows: slice, columns: slice) -> np.ndarray:
        shapes.append(rule(rows, columns).shape)
        return rule(rows, columns)

    both_ways(images, texts, watched)
    assert {shape for shape in shapes if shape[1] == 10} == {(4, 10), (2, 10)}
    assert {shape for shape in shapes if shape[0] == 30} == {(30, 1)}


def test_labels_may_be_words_or_numbers():
    words, numbers = np.array(["b", "a", "c"]), np.array([1, 0, 2])
    found = by_label(words, words[:2])(slice(0, 3), slice(None))
    assert np.array_equal(found, by_label(numbers, numbers[:2])(slice(0, 3), slice(None)))
    assert found.tolist() == [[True, False], [False, True], [False, False]]


def test_a_graded_rule_gives_the_share_of_rules_that_hold():
    rule = graded(by_label(np.array([0, 1]), np.array([0, 1])), by_label(np.array([0, 0]), np.array([0, 0])))
    assert rule(slice(None), slice(None)).tolist() == [[1, 0.5], [0.5, 1]]
    assert rule(slice(1, 2), slice(0, 1)).tolist() == [[0.5]]


def test_the_gain_moves_ndcg_only():
    images, texts = embeddings(12, 12)
    right, region = by_label(np.arange(12), np.arange(12)), by_label(np.arange(12) % 3, np.arange(12) % 3)
    plain, with_gain = (both_ways(images, texts, right, gain=gain)["image to text"] for gain in (None, graded(right, region)))
    assert {name for name in NAMES if plain[name].value != with_gain[name].value} == {"nDCG@10"}
    wanted = retrieval.ndcg_at(images @ texts.T, graded(right, region)(slice(None), slice(None)), 10)
    assert np.allclose(with_gain["nDCG@10"].values, wanted)


def test_a_case_is_listed_once_at_its_best_item():
    block, cases = np.array([[0.1, 0.9, 0.3, 0.2], [0.5, -1.0, 0.4, 0.6]]), np.array(["b", "a", "b", "a"])
    assert best_of_case(block, cases).tolist() == [[0.9, 0.3], [0.6, 0.5]]
    assert best_of_case(block > 0.5, cases).tolist() == [[True, False], [True, False]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_ranks_by_case_agree_with_a_loop_over_cases(seed):
    rng, (queries, items) = np.random.default_rng(seed), embeddings(6, 11, seed=seed)
    cases = np.concatenate([np.arange(4), rng.integers(0, 4, 7)])
    asked = rng.integers(0, 4, 6)
    found = figures(queries, items, by_label(asked, cases), cases=cases)
    for query, case, rank in zip(queries, asked, found["median rank"].values, strict=True):
        best = {c: max(float(query @ item) for item in items[cases == c]) for c in range(4)}
        assert rank == 1 + sum(best[c] >= best[case] for c in best if c != case)
    assert found["R@1"].chance == pytest.approx(1 / 4)


def test_items_that_are_equal_tie_although_their_products_are_rounded_apart():
    rng = np.random.default_rng(0)
    for n_items in range(2, 40):
        items = np.repeat(rng.normal(size=(1, 128)).astype(np.float32), n_items, 0)
        queries = rng.normal(size=(n_items, 128)).astype(np.float32)
        found = figures(queries, items, by_label(np.arange(n_items), np.arange(n_items)))
        assert (found["median rank"].values == n_items).all()


@pytest.mark.parametrize("labels", [np.arange(30), np.arange(30) % 4, np.zeros(30, int)])
def test_collapsed_embeddings_do_not_beat_chance_by_any_figure(labels):
    one = np.ones((30, 5), np.float32)
    for way in both_ways(one, one, by_label(labels, labels), cases=(labels, labels)).values():
        median = way.pop("median rank")
        assert median.value >= median.chance
        assert all(figure.value <= figure.chance + 1e-6 for figure in way.values())


def test_one_image_and_one_text_are_always_right():
    for way in both_ways(*embeddings(1, 1), by_label(np.array(["x"]), np.array(["x"]))).values():
        assert {(figure.value, figure.chance) for figure in way.values()} == {(1, 1)}


@pytest.mark.parametrize(("where", "name"), [(0, "query"), (1, "item")])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_is_refused_and_named(where, name, bad):
    both = embeddings(4, 4)
    both[where][2, 0] = bad
    with pytest.raises(ValueError, match=f"1 of 4 {name} embeddings are NaN or infinite, the first is 2"):
        figures(*both, by_label(np.arange(4), np.arange(4)))


def test_a_query_without_an_answer_is_named_by_its_number_in_the_whole(monkeypatch):
    monkeypatch.setattr(ranking, "CELLS", 8)
    images, texts = embeddings(6, 4)
    with pytest.raises(ValueError, match="no item is right for query 5; leave such queries out"):
        figures(images, texts, by_label(np.array([0, 1, 2, 3, 0, 9]), np.arange(4)))
    everyone, gain = by_label(np.zeros(6), np.zeros(4)), by_label(np.array([0, 0, 0, 0, 1, 0]), np.zeros(4, int))
    with pytest.raises(ValueError, match="no item has a gain for query 4"):
        figures(images, texts, everyone, gain=gain)


# the size of the list


@pytest.mark.parametrize("k", [1, 2, 3])
def test_recall_in_a_smaller_list_agrees_with_trying_every_list(k):
    n_items, ranks = 6, np.array([1, 2, 4, 6])
    found = recall_by_list_size(ranks, n_items, sizes=np.arange(1, 7), k=k)
    for i, rank in enumerate(ranks):
        others = [r for r in range(1, n_items + 1) if r != rank]
        for size in range(1, 7):
            hits = [sum(r < rank for r in drawn) < k for drawn in combinations(others, size - 1)]
            assert found[i, size - 1] == pytest.approx(np.mean(hits))


def test_in_the_whole_list_recall_is_what_it_was_and_in_a_list_of_k_it_is_one():
    ranks = np.array([1, 7, 30, 100])
    found = recall_by_list_size(ranks, 100, sizes=np.array([5, 100]), k=5)
    assert np.allclose(found, np.column_stack([np.ones(4), retrieval.recall_at(ranks, 5)]))


def test_over_all_ranks_recall_in_a_smaller_list_is_that_of_chance():
    found = recall_by_list_size(np.arange(1, 51), 50, sizes=np.array([10, 25]), k=3)
    assert found.mean(0) == pytest.approx([3 / 10, 3 / 25])
