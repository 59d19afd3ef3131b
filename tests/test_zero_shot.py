"""Prompts to class vectors to answers."""

import numpy as np
import pytest
from toy import unit_vectors

from medclip_nb.measure.zero_shot import class_embeddings, majority_share, predict, presence_score

VECTORS = {"cat": [1.0, 0], "kitten": [0.0, 1], "dog": [-1.0, 0]}


def embed(texts: list[str]) -> np.ndarray:
    return np.array([VECTORS[t] for t in texts], np.float32)


def test_prompts_of_a_class_are_averaged_and_made_unit_length_again():
    emb = class_embeddings(embed, {"feline": ["cat", "kitten"], "canine": ["dog"]})
    assert np.allclose(emb, [[0.5**0.5, 0.5**0.5], [-1, 0]])


def test_a_class_with_more_prompts_has_no_advantage():
    few, many = ({"a": ["cat"] * n, "b": ["kitten"]} for n in (1, 9))
    assert np.allclose(class_embeddings(embed, few), class_embeddings(embed, many))


def test_predictions_agree_with_a_loop():
    images, classes = unit_vectors(20, 5), unit_vectors(4, 5, seed=1)
    wanted = [max(range(4), key=lambda j: sum(a * b for a, b in zip(image, classes[j], strict=True))) for image in images]
    assert predict(images, classes).tolist() == wanted


def test_collapsed_images_are_all_given_one_class():
    assert predict(np.ones((6, 3), np.float32), np.ones((4, 3), np.float32)).tolist() == [0] * 6


def test_presence_is_read_by_eye_and_changes_sign_with_the_prompts():
    images = np.array([[1.0, 0], [0, 1], [0.6, 0.8]], np.float32)
    positive, negative = np.array([[1.0, 0], [0, 1]], np.float32)
    assert presence_score(images, positive, negative).tolist() == pytest.approx([1, -1, -0.2])
    assert np.allclose(presence_score(images, negative, positive), -presence_score(images, positive, negative))


def test_the_majority_share_is_what_naming_one_class_scores():
    assert majority_share(np.array(["a", "b", "a", "c"])) == 0.5
    assert majority_share(np.array(["a"])) == 1
