"""What lesson 09 asks, on made-up embeddings whose answers are read by eye."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medclip_nb.config import PRESETS
from medclip_nb.lesson import steps
from medclip_nb.lesson import zero_shot as ask
from medclip_nb.lesson.notebook import Lesson
from medclip_nb.lesson.questions import Questions, questions_of
from medclip_nb.measure.findings import Truth
from medclip_nb.show.widgets import PromptBoard

SMOKE = PRESETS["smoke"]
CYST, MASS = "left kidney: renal cyst", "liver: hepatic mass"


def unit_vectors(values: np.ndarray) -> np.ndarray:
    """Each row divided by its length, as float32."""
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def embed(texts: list[str]) -> np.ndarray:
    """A text that names a finding points one way, a healthy one the other, anything else nowhere in particular."""
    rows = [[1.0, 0.2] if "cyst" in t or "mass" in t else [-1.0, 0.2] if "normal" in t else [0.0, 1.0] for t in texts]
    return unit_vectors(np.array(rows, np.float32))


def made(n: int = 60) -> Questions:
    """Sick items point to the finding, more or less; every fifth is not asked about its liver."""
    rng, labels = np.random.default_rng(0), np.arange(n)[:, None] % np.array([2, 3]) == 0
    emb = unit_vectors(np.stack([np.where(labels, 1, -1) + rng.normal(0, 0.8, (n, 2)), np.ones((n, 2))], -1).astype(np.float32))
    asked = np.ones((n, 2), bool)
    asked[::5, 1] = False
    emb[~asked] = np.nan
    truth = Truth((CYST, MASS), labels, asked, np.array([f"P{i // 2}" for i in range(n)]))
    found = [[{"organ": "kidney_left", "finding": "cyst", "n_voxels": 10 + i}] if labels[i, 0] else [] for i in range(n)]
    rows = pd.DataFrame({"findings": [json.dumps(f) for f in found], "sex": np.resize(["F", "M", ""], n), "scanner": "one"})
    rows["age"] = np.resize(["30", "45", "70", ""], n)
    yes = {CYST: ["renal cyst in the left kidney", "left kidney: cyst"], MASS: ["mass in the liver", "liver: mass"]}
    no = {CYST: ["normal kidney", "the kidney is normal"], MASS: ["normal liver", "the liver is normal"]}
    return Questions(
        yes,
        no,
        dict.fromkeys(("val", "test"), truth),
        dict.fromkeys(("val", "test"), emb),
        dict.fromkeys(("val", "test"), rows),
        embed,
        5.0,
    )


def test_a_score_is_above_zero_where_the_prompt_that_says_yes_is_nearer():
    scores, truth = made().scores("test"), made().truth["test"]
    assert np.isnan(scores[~truth.asked]).all()
    assert (scores[truth.asked] > 0).mean() > 0.3
    assert ask.plain_auc(truth, scores) > 0.8


def test_other_prompts_give_other_scores_and_both_sides_turned_round_the_opposite():
    asked = made()
    turned = asked.scores("test", yes=asked.no, no=asked.yes)
    assert np.allclose(turned, -asked.scores("test"), equal_nan=True)


def test_the_prompt_table_has_each_place_and_all_together_on_both_splits():
    table = ask.prompt_table(made())
    assert table.index.tolist() == ["renal cyst in the left kidney", "left kidney: cyst", "all together"]
    assert table.columns.tolist() == ["val", "test"]
    assert table["val"].tolist() == table["test"].tolist()


def test_thresholds_from_the_test_items_flatter():
    asked = made()
    noisy = np.random.default_rng(1).normal(0, 0.5, asked.emb["val"].shape).astype(np.float32)
    other = replace(asked, emb={"val": unit_vectors(asked.emb["val"] + noisy), "test": asked.emb["test"]})
    table = ask.chosen_on(other, n_bootstrap=20)
    assert table.loc["test", "f1"] >= table.loc["val", "f1"]


def test_pooled_pairs_are_those_that_are_asked():
    asked = made()
    logit, hit, patients = ask.pooled(asked, "test")
    truth = asked.truth["test"]
    assert len(logit) == len(hit) == len(patients) == truth.asked.sum()
    assert np.allclose(logit, 5 * asked.scores("test")[truth.asked])


def test_the_suite_changes_words_only_and_nonsense_names_no_finding():
    scores = {s.name: s for s in ask.suite_scores(made(), n_bootstrap=20)}
    assert list(scores) == [*ask.SUITE, "left and right swapped"]
    assert scores["denied"].value == scores["as asked"].value  # this toy hears the word and not its denial
    assert all(s.chance == 0.5 for s in scores.values())


def test_large_rather_than_small_follows_a_planted_size_and_is_none_without_sizes():
    asked = made()
    grows = unit_vectors(np.array([[1.0, 0.5], [1, 1], [-1, 1]], np.float32))
    hears = lambda texts: np.stack([grows[1 if "large" in t else 0 if "small" in t else 2] for t in texts])  # noqa: E731
    size = np.array([[json.loads(f)[0]["n_voxels"] if f != "[]" else 0] * 2 for f in asked.rows["test"]["findings"]])
    emb = unit_vectors(np.stack([np.ones(size.shape), size / 60], -1).astype(np.float32))
    planted = replace(asked, embed=hears, emb={"val": emb, "test": emb})
    assert ask.size_scores(planted, n_bootstrap=20).value == pytest.approx(1, abs=1e-6)
    blank = planted.rows["test"].assign(findings="")
    assert ask.size_scores(replace(planted, rows={"val": blank, "test": blank}), n_bootstrap=20) is None


def test_groups_have_two_values_or_are_left_out():
    groups = ask.groups_of(made(12).rows["test"])
    assert list(groups) == ["sex", "age"]
    assert groups["age"][:4].tolist() == ["under 40", "40 to 59", "60 and over", ""]


def test_on_pictures_questions_are_classes_against_all_others(tmp_path, monkeypatch, torso, torso_units, encoder):
    lesson = Lesson("09", preset=SMOKE, seed=0, dataset="torso")
    lesson._data = replace(torso, manifest=torso.manifest.assign(mask=""))
    lesson._data.manifest.attrs.update(torso.manifest.attrs)
    asked = questions_of(lesson, steps.Trained(encoder, torso_units))
    assert all(name.startswith("body part: ") for name in asked.yes)
    name = next(iter(asked.yes))
    assert not set(asked.yes[name]) & set(asked.no[name])
    assert asked.emb["test"].shape[:2] == asked.truth["test"].labels.shape
    assert (asked.rows["test"]["body_part"] == name.removeprefix("body part: ")).tolist() == asked.truth["test"].labels[
        :, 0
    ].tolist()


def test_a_board_holds_every_usable_organ_once_with_what_is_true_of_it(torso, torso_units, encoder):
    lesson, asked = Lesson("09", preset=SMOKE, seed=0, dataset="torso"), made()
    lesson._data = torso
    images, organs = ask.galleries(lesson, steps.Trained(encoder, torso_units), asked)
    n_images = torso_units.table["image"][torso_units.rows("test")].nunique()
    assert len(images.captions) == len(images.pictures) == min(n_images, ask.ON_BOARD)
    truth = asked.truth["test"]
    assert len(organs.captions) == truth.asked.sum() == len(set(zip(organs.captions, organs.vectors[:, 0].tolist(), strict=True)))
    said = [caption.split(": ")[1].split(" (")[0] for caption in organs.captions]
    expected = [("renal cyst", "hepatic mass")[k] if truth.labels[i, k] else "nothing that is asked about"
                for k in (0, 1) for i in range(60) if truth.asked[i, k]]  # fmt: skip
    assert said == expected
    assert np.array_equal(organs.vectors[:60], asked.emb["test"][:, 0])
    assert PromptBoard([images, organs], presets=("a cyst",)).still().count("<img") == 5


def test_own_data_without_masks_has_a_board_of_images_alone(torso, torso_units, encoder):
    lesson = Lesson("09", preset=SMOKE, seed=0, dataset="torso")
    lesson._data = replace(torso, manifest=torso.manifest.assign(mask=""))
    assert [g.name for g in ask.galleries(lesson, steps.Trained(encoder, torso_units), made())] == ["test images"]
