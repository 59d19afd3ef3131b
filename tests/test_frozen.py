"""Linear probe and nearest neighbours on frozen features: closed forms, scikit-learn, and what they must not look at."""

import numpy as np
import pytest

from medclip_nb.measure.auc import auc
from medclip_nb.measure.transfer import NEIGHBOURS, PENALTIES, nearest, probe


def random_features(seed: int = 0, n: int = 60) -> tuple[dict, dict]:
    """Features of three splits, whose first column says the label."""
    rng = np.random.default_rng(seed)
    features = {split: rng.normal(size=(n, 5)) for split in ("train", "val", "test")}
    return features, {split: x[:, :1] + rng.normal(size=(n, 1)) > 0 for split, x in features.items()}


def test_a_probe_is_the_best_ridge_on_validation_by_its_closed_form():
    features, labels = random_features()
    mean, sd = features["train"].mean(0), features["train"].std(0)
    x, y = {s: (f - mean) / sd for s, f in features.items()}, labels["train"].astype(float)
    found = []
    for alpha in PENALTIES:
        w = np.linalg.solve(x["train"].T @ x["train"] + alpha * np.eye(5), x["train"].T @ (y - y.mean()))
        found.append((auc(labels["val"][:, 0], (x["val"] @ w)[:, 0]), x["test"] @ w + y.mean()))
    assert np.allclose(probe(features, labels)["test"], max(found, key=lambda pair: pair[0])[1])


def test_a_probe_never_looks_at_test_labels():
    features, labels = random_features()
    blind = {s: v for s, v in labels.items() if s != "test"}
    assert np.array_equal(probe(features, labels)["test"], probe(features, blind)["test"])


def test_a_label_that_no_training_volume_has_is_scored_the_same_everywhere():
    features, labels = random_features()
    labels = {s: np.hstack([v, v & (s != "train")]) for s, v in labels.items()}
    found = probe(features, labels)["test"]
    assert np.ptp(found[:, 1]) == pytest.approx(0, abs=1e-9)
    assert np.ptp(found[:, 0]) > 0.1


def test_where_no_label_can_be_scored_the_middle_penalty_is_taken():
    features, labels = random_features()
    labels["val"] = np.ones_like(labels["val"])
    middle = PENALTIES[len(PENALTIES) // 2]
    x = (features["train"] - features["train"].mean(0)) / features["train"].std(0)
    w = np.linalg.solve(x.T @ x + middle * np.eye(5), x.T @ (labels["train"] - labels["train"].mean(0)))
    test = (features["test"] - features["train"].mean(0)) / features["train"].std(0)
    assert np.allclose(probe(features, labels)["test"], test @ w + labels["train"].mean(0))


# nearest neighbours


def votes(features: dict, labels: dict, k: int, split: str) -> np.ndarray:
    """Share of the k nearest training items with the label, by the cosine of standardised features, in a loop."""
    mean, sd = features["train"].mean(0), features["train"].std(0)
    unit = {s: (x - mean) / sd / np.linalg.norm((x - mean) / sd, axis=1, keepdims=True) for s, x in features.items()}
    return np.array([labels["train"][np.argsort(-(unit["train"] @ one))[:k], 0].mean() for one in unit[split]])


def test_neighbours_vote_by_the_number_that_is_best_on_validation():
    features, labels = random_features()
    found = [(auc(labels["val"][:, 0], votes(features, labels, k, "val")), -k) for k in NEIGHBOURS]
    k = -max(found)[1]
    assert np.allclose(nearest(features, labels)["test"][:, 0], votes(features, labels, k, "test"))


def test_with_fewer_items_than_neighbours_all_vote():
    features, labels = random_features(n=2)
    labels["train"] = np.array([[True], [False]])
    labels["val"] = np.array([[True], [True]])  # nothing to choose by: the larger of one and two
    assert nearest(features, labels)["test"][:, 0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("way", [nearest, probe])
def test_the_unit_of_a_feature_does_not_matter(way):
    features, labels = random_features(3)
    scaled = {s: x * np.array([1, 10, 0.1, 5, 2]) + 7 for s, x in features.items()}
    assert np.allclose(way(features, labels)["test"], way(scaled, labels)["test"])
