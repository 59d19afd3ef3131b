"""Plain rulers for texts against worked values and slow loops."""

import numpy as np
import pytest

from medclip_nb.text import rulers
from medclip_nb.text.rulers import characters, cosines, dice_rows, set_dice, tfidf, words

TEXTS = ["Small left effusion.", "no left effusion", "small left effusion", "Cyst of the kidney", "", "  ", "低信号"]


def test_words_and_characters_are_sets():
    assert words("A cyst, a CYST (12 mm)") == {"a", "cyst", "12", "mm"}
    assert characters("高 高\n信") == {"高", "信"}


def test_dice_of_words_read_by_hand():
    assert set_dice(["small left effusion", "no left effusion"])[0, 1] == pytest.approx(2 * 2 / (3 + 3))
    assert set_dice(["small left effusion", "Small. LEFT effusion"])[0, 1] == 1


@pytest.mark.parametrize("split", [words, characters])
def test_dice_agrees_with_loops_and_two_blank_texts_are_alike(split):
    sets = [split(t) for t in TEXTS]
    slow = [[2 * len(a & b) / (len(a) + len(b)) if a or b else 1 for b in sets] for a in sets]
    assert np.allclose(set_dice(TEXTS, split), slow)


@pytest.mark.parametrize("most", [0, 10**9])
def test_rows_on_demand_are_those_of_the_matrix_by_either_product(most, monkeypatch):
    whole = set_dice(TEXTS)
    monkeypatch.setattr(rulers, "MOST_TOKENS", most)
    assert np.array_equal(dice_rows(TEXTS)(np.array([5, 0])), whole[[5, 0]])


def test_dice_of_blank_texts_only_and_of_none():
    assert np.array_equal(set_dice(["", " "]), np.ones((2, 2)))
    assert set_dice([]).shape == (0, 0)


def test_cosines_take_opposites_and_zero_vectors_for_nothing_alike():
    sim = cosines(np.array([[2.0, 0], [3, 3], [-1, 0], [0, 0]]))
    half = np.sqrt(0.5)
    assert np.allclose(sim, [[1, half, 0, 0], [half, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])


def test_cosines_never_exceed_1():
    emb = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    assert cosines(emb).max() <= 1


def test_tfidf_weighs_rare_words_more():
    common = [f"the organ{i} is normal" for i in range(8)]
    sim = tfidf(["the is cyst", "a cyst", "the is", *common])
    assert sim[0, 1] > sim[0, 3]
    assert np.allclose(sim, sim.T)
    assert np.allclose(np.diag(sim), 1)


def test_tfidf_weights_come_from_the_texts_it_is_fitted_on():
    texts = ["left cyst", "left stone", "unknown"]
    often, rarely = (tfidf(texts, fit_on=[*fit, "cyst stone"]) for fit in (["left"] * 9, ["left", *["right"] * 8]))
    assert often[2].tolist() == [0, 0, 0]
    assert often[0, 1] < rarely[0, 1]


def test_tfidf_without_a_word_is_refused():
    with pytest.raises(ValueError, match="none of the 2 texts to fit on has a word"):
        tfidf(["", " . "])
