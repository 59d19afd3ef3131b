"""Lesson 04: forces against autograd and loops, the facts it tells, and its exercises against the package."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.learn import targets
from medclip_nb.learn.losses import floor_level, soft_contrastive_loss
from medclip_nb.lesson import equation as look
from medclip_nb.lesson import solutions
from medclip_nb.model.dual_encoder import TextSide

SEEDS = st.integers(0, 10_000)
IDS = st.lists(st.integers(0, 3), min_size=2, max_size=7)
EVERYTHING = ("images", "texts", "log_scale")


def angles(ids: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random angles of images, and of texts that are identical where their numbers are."""
    random = torch.Generator().manual_seed(seed)
    images, texts = (2 * math.pi * torch.rand(n, generator=random, dtype=torch.float64) for n in (len(ids), 4))
    return images, texts[torch.tensor(ids)]


def losses(ids: list[int], kind) -> tuple:
    return tuple(kind(wanted(torch.tensor(ids))) for wanted in (targets.identity, targets.same_text))


def random_relation(seed: int) -> np.ndarray:
    """Each unit and each text has a partner."""
    return (np.random.default_rng(seed).random((5, 5)) < 0.4) | np.eye(5, dtype=bool)


# the six units


def test_the_six_units_hold_a_twin_two_wordings_of_normal_and_a_caption_that_is_true_of_another():
    batch = look.six_units()
    assert batch["text_id"].tolist() == [0, 0, 1, 2, 3, 4]
    assert batch["normal"].tolist() == [False] * 4 + [True] * 2
    true = look.true_of(batch)
    assert true.diagonal().all()
    assert true[2].tolist() == [True, True, True, False, False, False]
    assert true[0].tolist() == [True, True, False, False, False, False]


def test_labels_of_an_image_are_what_it_shows_and_of_a_text_what_it_says():
    shown, said = look.label_vectors(look.six_units())
    assert shown[2].tolist() == [1, 1, 0, 0]
    assert said[2].tolist() == [0, 1, 0, 0]
    assert (said.sum(1) == 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_twins_start_equally_far_from_their_text_on_both_sides(seed):
    images, texts = look.start_angles(look.six_units(), seed=seed)
    away = images - texts
    assert away[0].item() == pytest.approx(-away[1].item())
    assert texts[0] == texts[1]
    assert (away.abs() > 0.1).all()


# forces


@settings(max_examples=20, deadline=None)
@given(ids=IDS, seed=SEEDS)
def test_pushes_add_up_to_minus_the_gradient_by_the_angle(ids, seed):
    images, texts = angles(ids, seed)
    images.requires_grad_()
    for loss in (*losses(ids, look.softmax), *losses(ids, look.sigmoid)):
        (wanted,) = torch.autograd.grad(-loss(torch.cos(images[:, None] - texts)), images)
        assert torch.allclose(look.pushes(loss, images.detach(), texts).sum(1), wanted, atol=1e-12)


def test_the_softmax_pulls_by_target_less_probability_from_both_sides():
    images, texts = angles([0, 1, 0], 0)
    right, right_t = targets.similarity_mixed(torch.tensor([[1, 0.2, 0.7], [0.1, 1, 0], [0.4, 0, 1]]).double(), 0.5)
    weights = np.exp(look.TOY_SCALE * look.cosines(images, texts).numpy())
    got = look.pulls(look.softmax((right, right_t)), images, texts)
    for i in range(3):
        for j in range(3):
            row, column = weights[i, j] / weights[i].sum(), weights[i, j] / weights[:, j].sum()
            wanted = look.TOY_SCALE * (right[i, j] - row + right_t[j, i] - column) / 6
            assert got[i, j].item() == pytest.approx(float(wanted), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(ids=IDS, seed=SEEDS)
def test_under_the_softmax_both_targets_take_the_same_path(ids, seed):
    one, other = (look.descend(loss, *angles(ids, seed), steps=20, rate=0.01) for loss in losses(ids, look.softmax))
    assert torch.allclose(one, other, rtol=0, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(ids=IDS, seed=SEEDS)
def test_under_the_sigmoid_paths_differ_for_those_who_have_a_twin_only(ids, seed):
    one, other = (look.descend(loss, *angles(ids, seed), steps=20, rate=0.01) for loss in losses(ids, look.sigmoid))
    moved = (one - other).abs().amax(0)
    twin = torch.tensor([ids.count(i) > 1 for i in ids])
    assert (moved[~twin] == 0).all()
    assert (moved[twin] > 0).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [look.softmax, look.sigmoid])
def test_the_loss_falls_along_a_path_that_starts_where_it_is_told(kind, seed):
    images, texts = look.start_angles(look.six_units(), seed=seed)
    loss = kind(targets.identity(torch.tensor([0, 0, 1, 2, 3, 4])))
    path = look.descend(loss, images, texts, steps=50)
    values = torch.stack([loss(look.cosines(moment, texts)) for moment in path])
    assert torch.equal(path[0], images)
    assert len(path) == 51
    assert (values.diff() < 1e-9).all()
    assert values[-1] < values[0]


def test_under_the_sigmoid_identity_leaves_twins_where_the_loss_is_undecided():
    images, texts = torch.tensor([1.0, -1.2]).double(), torch.zeros(2).double()
    own, same = (look.descend(loss, images, texts)[-1].abs() for loss in losses([0, 0], look.sigmoid))
    assert own.tolist() == pytest.approx([math.acos(-look.TOY_BIAS / look.TOY_SCALE)] * 2, abs=1e-3)
    assert (same < 0.01).all()


# temperature


def test_the_gradient_is_the_scale_times_what_is_missing_from_1():
    scales, negatives = np.array([1.0, 5, 50]), np.array([-1.0, look.RIGHT_COSINE, 0.95])
    probability, gradient = look.temperature_effect(scales, negatives)
    wanted = 1 / (1 + np.exp(scales * (negatives[:, None] - look.RIGHT_COSINE)))
    np.testing.assert_allclose(probability, wanted, rtol=1e-12)
    np.testing.assert_allclose(gradient, scales * (1 - wanted), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 9), scale=st.floats(0.1, 30), seed=SEEDS)
def test_no_embeddings_get_below_the_lowest_loss(n, scale, seed):
    vectors = torch.randn(2, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    images, texts = torch.nn.functional.normalize(vectors, dim=-1)
    loss = soft_contrastive_loss(scale * images @ texts.T, *targets.identity(torch.arange(n)))
    assert loss.item() >= look.lowest_loss(n, scale) - 1e-12


@pytest.mark.parametrize("n", [2, 3, 20])
def test_the_corners_of_a_simplex_reach_the_lowest_loss(n):
    corners = torch.nn.functional.normalize(torch.eye(n).double() - 1 / n, dim=1)
    loss = soft_contrastive_loss(3.0 * corners @ corners.T, *targets.identity(torch.arange(n)))
    assert loss.item() == pytest.approx(look.lowest_loss(n, 3.0), rel=1e-12)


def test_a_scale_that_is_not_handed_over_has_a_gradient_and_stays():
    fit = look.fit(torch.exp, EVERYTHING[:2], seed=1)
    assert fit["scale"].nunique() == 1
    assert (fit["gradient"] != 0).all()
    assert fit["loss"].iloc[-1] < 0.1 * fit["loss"].iloc[0]


def test_a_logarithm_as_the_scale_holds_the_loss_above_a_floor_that_it_comes_near():
    sound, bug = (look.fit(scale_of, EVERYTHING, seed=1) for scale_of in (torch.exp, lambda log_scale: log_scale))
    assert bug["scale"][0] == pytest.approx(math.log(sound["scale"][0]), rel=1e-5)
    floor = look.lowest_loss(look.N_PAIRS, bug["scale"])
    assert (bug["loss"] > floor - 1e-5).all()
    assert bug["loss"].iloc[-1] < 1.1 * floor.iloc[-1]
    assert sound["loss"].iloc[-1] < 0.1 * bug["loss"].iloc[-1]


# random batches


def test_a_change_is_relative_to_the_first():
    one, other = torch.tensor([[3.0], [4.0]]), torch.tensor([[3.0], [0.0]])
    assert look.relative_change(one, other) == pytest.approx(4 / 5)
    assert look.relative_change(other, one) == pytest.approx(4 / 3)


def test_what_is_true_of_a_unit_are_at_most_two_texts_its_own_among_them(monkeypatch):
    asked, from_relation = [], targets.from_relation
    monkeypatch.setattr(targets, "from_relation", lambda right: asked.append(right) or from_relation(right))
    monkeypatch.setattr(look, "N_BATCHES", 1)
    look.gaps(seed=0)
    (true,) = [right for right in asked if right.shape[1] == look.N_UNITS]
    assert true.diagonal().all()
    columns = [tuple(column) for column in true.T.tolist()]
    assert max(len({columns[j] for j in np.flatnonzero(row)}) for row in true.numpy()) == 2


def test_only_twins_under_the_softmax_leave_the_gradient_alone(monkeypatch):
    monkeypatch.setattr(look, "N_BATCHES", 10)
    table = look.gaps(seed=1)
    assert table.groupby("case")["batch"].nunique().tolist() == [10] * 6
    still = table["case"] == "twins, softmax"
    assert (table["gap"][still] < 1e-12).all()
    assert (table["gap"][~still] > 0.01).all()


def test_without_twins_only_other_words_and_other_truths_change_the_gradient(monkeypatch):
    monkeypatch.setattr(look, "N_BATCHES", 3)
    monkeypatch.setattr(look, "N_TEXTS", look.N_UNITS)
    mean = look.gaps(seed=1).groupby("case")["gap"].max()
    assert set(mean.index[mean > 1e-12]) == {"normals in other words", "true of another"}


def test_a_perfect_model_hits_its_own_copy_once_for_each_different_text(monkeypatch):
    monkeypatch.setattr(look, "N_BATCHES", 4000)
    accuracy = look.diagonal_accuracy(seed=1)
    wanted = look.N_TEXTS * (1 - (1 - 1 / look.N_TEXTS) ** look.N_UNITS) / look.N_UNITS
    assert accuracy.mean() == pytest.approx(wanted, abs=0.005)
    assert accuracy.max() == look.N_TEXTS / look.N_UNITS


def test_without_twins_a_perfect_model_hits_always(monkeypatch):
    monkeypatch.setattr(look, "N_TEXTS", 10**9)
    assert (look.diagonal_accuracy(seed=1) == 1).all()


def test_scores_are_means_over_batches_with_an_interval_over_batches(monkeypatch):
    monkeypatch.setattr(look, "N_BATCHES", 5)
    table = look.gaps(seed=1)
    scores = look.gap_scores(table, n_bootstrap=50)
    means = table.groupby("case", sort=False)["gap"].mean()
    assert [s.name for s in scores] == [f"gradient changed: {case}" for case in means.index]
    assert [s.value for s in scores] == pytest.approx(means.tolist())
    assert all(s.low <= s.value <= s.high and (s.n, s.unit) == (5, "batches") for s in scores)


# exercises against the package


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, 4), min_size=1, max_size=12))
@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_floor_of_the_exercise_is_that_of_the_package(name, ids):
    text_ids = torch.tensor(ids)
    floor = floor_level("softmax", *targets.TARGETS[name](text_ids), text_ids)
    assert solutions.batch_floor(ids) == pytest.approx(floor, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_and_the_texts_side_of_the_exercises_are_those_of_the_package(seed):
    right, logits = random_relation(seed), np.random.default_rng(seed).normal(size=(5, 5))
    sides = [side.double().numpy() for side in targets.from_relation(torch.from_numpy(right))]
    np.testing.assert_allclose(solutions.texts_side(right), sides[1], rtol=1e-6)
    wanted = soft_contrastive_loss(*map(torch.from_numpy, (logits, *sides))).item()
    assert solutions.soft_loss(logits, *sides) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 14.3, 99.0, 1000.0])
def test_the_scale_of_the_exercise_is_the_models(scale):
    model = SimpleNamespace(log_scale=torch.tensor(scale).log())
    wanted = TextSide.logit_scale.fget(model).item()
    assert solutions.logits(np.ones((1, 1)), np.ones((1, 1)), math.log(scale)).item() == pytest.approx(wanted, rel=1e-5)
