"""Prompts to class vectors to answers."""

from itertools import combinations

import numpy as np
import pytest
from toy import unit_vectors

from medclip_nb.measure import zero_shot
from medclip_nb.measure.zero_shot import class_embeddings, contrast, majority_share, predict, spread

VECTORS = {"cat": [1.0, 0], "kitten": [0.0, 1], "dog": [-1.0, 0]}
TRUTH = np.array([True, True, False, False, False])


def slow_auc(scores, truth) -> float:
    """Share of (positive, negative) pairs in the right order."""
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[truth] for n in scores[~truth]]
    return sum(pairs) / len(pairs)


def embed(texts: list[str]) -> np.ndarray:
    return np.array([VECTORS[t] for t in texts], np.float32)


def test_prompts_of_a_class_are_averaged_and_made_unit_length_again():
    emb = class_embeddings(embed, {"feline": ["cat", "kitten"], "canine": ["dog"]})
    assert np.allclose(emb, [[0.5**0.5, 0.5**0.5], [-1, 0]])


def test_a_class_with_more_prompts_has_no_advantage():
    few, many = ({"a": ["cat"] * n, "b": ["kitten"]} for n in (1, 9))
    assert np.allclose(class_embeddings(embed, few), class_embeddings(embed, many))


def test_a_prompt_of_several_classes_is_embedded_once_and_all_in_one_call():
    asked = []
    class_embeddings(lambda texts: asked.append(texts) or embed(texts), {"a": ["cat", "kitten"], "b": ["kitten", "dog"]})
    assert asked == [["cat", "kitten", "dog"]]


def test_predictions_agree_with_a_loop():
    images, classes = unit_vectors(20, 5), unit_vectors(4, 5, seed=1)
    wanted = [max(range(4), key=lambda j: sum(a * b for a, b in zip(image, classes[j], strict=True))) for image in images]
    assert predict(images, classes).tolist() == wanted


def test_collapsed_images_are_all_given_one_class():
    assert predict(np.ones((6, 3), np.float32), np.ones((4, 3), np.float32)).tolist() == [0] * 6


def test_a_contrast_is_read_by_eye_and_changes_sign_with_the_sides():
    images = np.array([[[1.0, 0], [0, 1]], [[0.6, 0.8], [np.nan, np.nan]]], np.float32)
    yes, no = np.array([[1.0, 0], [1, 0]], np.float32), np.array([[0.0, 1], [0, 1]], np.float32)
    found = contrast(images, yes, no)
    assert found[0].tolist() == [1, -1]
    assert found[1, 0] == pytest.approx(-0.2)
    assert np.isnan(found[1, 1])
    assert np.allclose(contrast(images, no, yes), -found, equal_nan=True)


def test_the_majority_share_is_what_naming_one_class_scores():
    assert majority_share(np.array(["a", "b", "a", "c"])) == 0.5
    assert majority_share(np.array(["a"])) == 1


@pytest.mark.parametrize("truth", [np.zeros(5, bool), np.ones(5, bool)])
def test_an_auc_of_one_kind_only_is_refused(truth):
    with pytest.raises(ValueError, match="an AUC needs both classes"):
        spread(np.zeros((2, 5)), truth)


def test_the_spread_of_few_prompts_is_over_all_their_subsets():
    scores = np.random.default_rng(1).normal(size=(4, 5))
    for row in spread(scores, TRUTH):
        values = [slow_auc(scores[list(s)].mean(0), TRUTH) for s in combinations(range(4), row.size)]
        assert (row.low, row.high) == pytest.approx((min(values), max(values)))
        assert row.mean == pytest.approx(np.mean(values))


def test_prompts_that_agree_do_not_matter_and_all_together_have_no_spread():
    scores = np.tile([3.0, 1, 2, 0, 0], (5, 1))
    assert {(r.mean, r.low, r.high) for r in spread(scores, TRUTH)} == {(5 / 6,) * 3}
    last = spread(np.random.default_rng(2).normal(size=(5, 5)), TRUTH)[-1]
    assert last.size == 5
    assert last.low == last.high


def test_many_prompts_are_sampled_by_seed(monkeypatch):
    monkeypatch.setattr(zero_shot, "N_SUBSETS", 10)
    scores = np.random.default_rng(3).normal(size=(8, 30))
    truth = np.arange(30) < 12
    first, again, other = (spread(scores, truth, seed=s) for s in (1, 1, 2))
    assert first == again != other
    assert first[0] == other[0]  # of size 1 all are tried
