"""What a leak is worth: copying from the nearest training image, under honest and leaking splits."""

import json

import numpy as np
import pandas as pd
import pytest

from medclip_nb.lesson.leakage import (
    coarse_vectors,
    copied_score,
    finding_sets,
    is_named,
    nearest_in_training,
    published,
    repeated_splits,
)


def two_visits(n_patients: int = 60):
    """Every patient twice, with a face and a set of diseases of their own; both visits look and are alike."""
    rng = np.random.default_rng(0)
    faces = rng.normal(size=(n_patients, 20)).repeat(2, axis=0)
    vectors = faces + 0.1 * rng.normal(size=faces.shape)
    diseases = [json.dumps([{"organ": "liver", "finding": str(d)} for d in rng.choice(9, 2, replace=False)]) for _ in faces[::2]]
    table = pd.DataFrame({"patient_id": np.arange(n_patients).repeat(2).astype(str), "findings": np.repeat(diseases, 2)})
    return table.assign(report="", study_id=[f"s{i}" for i in range(len(table))]), vectors


def test_the_neighbour_is_the_training_row_that_is_alike():
    vectors = np.array([[1.0, 0, 3], [0, 1, 5], [0.9, 0.2, 2.9], [0.1, 1, 5.2]])
    near = nearest_in_training(vectors, np.array(["train", "train", "test", "test"]))
    assert near.to_dict("list") == {"row": [2, 3], "neighbour": [0, 1]}


def test_copying_works_where_patients_cross_and_not_where_they_do_not():
    table, vectors = two_visits()
    means = repeated_splits(table, vectors, n_splits=4).groupby("split")[["score", "chance"]].mean()
    assert means.loc["by row", "score"] > 0.5
    assert means.loc["by patient", "score"] == pytest.approx(means.loc["by patient", "chance"], abs=0.15)


def test_a_study_copied_onto_itself_scores_one():
    table, _ = two_visits(5)
    near = pd.DataFrame({"row": np.arange(10), "neighbour": np.arange(10)})
    score = copied_score(table, near, name="same", n_bootstrap=10)
    assert score.value == 1
    assert score.chance < 1


def test_texts_stand_for_findings_that_are_not_known():
    table = pd.DataFrame({"findings": ["[]", ""], "report": ["a", "b"]})
    assert finding_sets(table) == [{"a"}, {"b"}]
    assert finding_sets(table.assign(findings="[]")) == [set(), set()]


def test_a_constant_channel_moves_no_neighbour():
    images = np.random.default_rng(0).integers(0, 255, (6, 2, 1, 32, 32), np.uint8)
    images[:, 1] = 7
    splits = np.array(["train"] * 4 + ["test"] * 2)
    one, both = (nearest_in_training(coarse_vectors(images[:, :n]), splits) for n in (1, 2))
    assert one.equals(both)
    assert np.isfinite(coarse_vectors(images)).all()


def test_only_what_is_more_than_a_note_counts_as_found():
    table = pd.DataFrame({"study_id": ["a", "b"]})
    found = pd.DataFrame({"severity": ["note", "warning"], "rows": [[0], [1]]})
    assert not is_named(found, table, ["a"])
    assert is_named(found, table, ["b"])


def test_a_dataset_that_is_not_here_is_none():
    assert published("ixi") is None
