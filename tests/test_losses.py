"""The one equation against slow loops, closed forms and the facts the lessons rest on."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import normalize

from medclip_nb.config import RECIPES
from medclip_nb.learn.losses import (
    cross_entropy,
    floor_level,
    no_learning_level,
    recipe_loss,
    sigmoid_loss,
    soft_contrastive_loss,
)
from medclip_nb.learn.targets import from_relation, identity, same_text

IDS = torch.tensor([0, 1, 0, 2, 0, 1, 3, 4])


def random(*shape, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exact(targets: torch.Tensor) -> torch.Tensor:
    """Targets in float64, rows summing to 1 as closely as that allows."""
    return targets.double() / targets.double().sum(1, keepdim=True)


def ce_loop(logits, targets, allowed) -> float:
    total = 0.0
    for row, wanted, ok in zip(logits.tolist(), targets.tolist(), allowed.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(x) for x, good in zip(row, ok, strict=True) if good))
        total += sum(y * (log_sum - x) for x, y in zip(row, wanted, strict=True))
    return total / len(logits)


def gradients(targets, targets_t, loss=soft_contrastive_loss):
    """Loss of units and duplicate text columns, with gradients by image, text and temperature."""
    images, texts, scale = random(8, 5), random(5, 5, seed=1), torch.tensor(2.0, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (images, texts, scale)]
    logits = scale.exp() * normalize(images) @ normalize(texts[IDS]).T
    value = loss(logits, targets, targets_t)
    return value, torch.autograd.grad(value, leaves)


def assert_same(a, b):
    for x, y in zip((a[0], *a[1]), (b[0], *b[1]), strict=True):
        assert torch.linalg.norm(x - y) <= 1e-12 * torch.linalg.norm(x)


def test_with_duplicate_columns_identity_and_same_text_are_one_softmax_loss():
    pairs = [[exact(t) for t in targets(IDS)] for targets in (identity, same_text)]
    assert_same(gradients(*pairs[0]), gradients(*pairs[1]))


def test_with_duplicate_columns_identity_and_same_text_are_two_sigmoid_losses():
    def loss(logits, targets, _):
        return sigmoid_loss(logits, targets > 0)

    (own, own_grads), (same, same_grads) = (gradients(*t(IDS), loss=loss) for t in (identity, same_text))
    assert abs(own - same) > 0.01 * own
    assert all(torch.linalg.norm(a - b) > 0.01 * torch.linalg.norm(a) for a, b in zip(own_grads, same_grads, strict=True))


def test_with_duplicates_worded_differently_identity_and_same_text_differ():
    logits = random(8, 8)
    assert abs(soft_contrastive_loss(logits, *identity(IDS)) - soft_contrastive_loss(logits, *same_text(IDS))) > 0.01


@pytest.mark.parametrize("targets", [identity, same_text])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_collapsed_embeddings_give_exactly_ln_n(targets, scale):
    collapsed = torch.full((8, 8), scale, dtype=torch.float64)
    assert soft_contrastive_loss(collapsed, *map(exact, targets(IDS))).item() == pytest.approx(math.log(8), rel=1e-14)


@pytest.mark.parametrize("recipe", ["clip", "clip_same_text"])
def test_perfect_embeddings_reach_the_floor_that_identical_texts_leave(recipe):
    perfect = 100 * (IDS[:, None] == IDS[None]).double()
    counts = [3, 2, 3, 1, 3, 2, 1, 1]
    floor = floor_level(RECIPES[recipe], IDS)
    assert floor == pytest.approx(np.mean(np.log(counts)))
    assert recipe_loss(RECIPES[recipe], perfect, IDS).item() == pytest.approx(floor, rel=1e-6)


def test_perfect_embeddings_reach_0_under_the_sigmoid():
    perfect = torch.where(IDS[:, None] == IDS[None], 50.0, -50.0)
    assert recipe_loss(RECIPES["siglip"], perfect, IDS).item() == pytest.approx(floor_level(RECIPES["siglip"], IDS), abs=1e-12)


def test_no_logits_go_below_the_floor():
    for seed in range(20):
        logits = 3 * random(8, 5, seed=seed)[:, IDS]  # identical texts have equal logits
        assert recipe_loss(RECIPES["clip"], logits, IDS) >= floor_level(RECIPES["clip"], IDS)


@pytest.mark.parametrize("n_extra", [0, 4])
def test_the_loss_agrees_with_a_loop_extra_columns_and_valid_included(n_extra):
    right = torch.rand(5, 6, generator=torch.Generator().manual_seed(1)) < 0.3
    right[:, 0] = right[0] = True
    logits, (targets, targets_t) = random(5, 6 + n_extra), map(exact, from_relation(right))
    targets = torch.cat([targets, torch.zeros(5, n_extra)], 1)
    valid = (random(5, 6 + n_extra, seed=2) > -0.5) | (targets > 0)
    wanted = (ce_loop(logits, targets, valid) + ce_loop(logits.T[:6], targets_t, valid.T[:6])) / 2
    assert soft_contrastive_loss(logits, targets, targets_t, valid).item() == pytest.approx(wanted, rel=1e-12)


def test_extra_columns_are_negatives_of_units_only():
    logits, (targets, targets_t) = random(4, 4), map(exact, identity(torch.arange(4)))
    more = torch.cat([logits, random(4, 3, seed=3)], 1)
    wider = torch.cat([targets, torch.zeros(4, 3)], 1)
    assert cross_entropy(more, wider) > cross_entropy(logits, targets)
    gain = soft_contrastive_loss(more, wider, targets_t) - soft_contrastive_loss(logits, targets, targets_t)
    assert gain.item() == pytest.approx((cross_entropy(more, wider) - cross_entropy(logits, targets)).item() / 2)


def test_excluded_pairs_neither_cost_nor_get_a_gradient():
    logits, valid = random(4, 4).requires_grad_(), torch.ones(4, 4).bool()
    valid[0, 1:] = valid[2, 0] = False
    loss = soft_contrastive_loss(logits, *map(exact, identity(torch.arange(4))), valid)
    (grad,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert (grad[~valid] == 0).all()
    assert (grad[valid][1:] != 0).any()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_joint_permutation_leaves_the_loss_unchanged(recipe):
    order, logits = torch.randperm(8, generator=torch.Generator().manual_seed(0)), random(8, 8)
    moved = recipe_loss(RECIPES[recipe], logits[order][:, order], IDS[order])
    assert moved.item() == pytest.approx(recipe_loss(RECIPES[recipe], logits, IDS).item(), rel=1e-6)


def test_the_sigmoid_loss_agrees_with_a_loop():
    logits, right = random(4, 6), random(4, 6, seed=1) > 0
    terms = [math.log1p(math.exp(-x if r else x)) for x, r in zip(logits.ravel().tolist(), right.ravel().tolist(), strict=True)]
    assert sigmoid_loss(logits, right).item() == pytest.approx(sum(terms) / 4, rel=1e-6)


def test_half_precision_logits_are_summed_in_full_precision():
    logits = (5 * random(64, 64)).bfloat16()
    ids = torch.arange(64)
    for recipe in RECIPES.values():
        loss = recipe_loss(recipe, logits, ids)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(recipe_loss(recipe, logits.double(), ids).item(), rel=1e-5)


@pytest.mark.parametrize("recipe", ["clip", "clip_same_text"])
def test_a_model_that_sees_nothing_has_ln_n_under_the_softmax(recipe):
    level = no_learning_level(RECIPES[recipe], IDS)
    assert level == pytest.approx(math.log(8), rel=1e-6)
    assert recipe_loss(RECIPES[recipe], torch.full((8, 8), -3.0), IDS).item() == pytest.approx(level, rel=1e-6)


@pytest.mark.parametrize("ids", [IDS, torch.arange(6), torch.zeros(5, dtype=torch.long)])
def test_a_model_that_sees_nothing_has_the_best_constant_logit_under_the_sigmoid(ids):
    def loss(logit: float) -> float:
        return recipe_loss(RECIPES["siglip"], torch.full((len(ids), len(ids)), logit, dtype=torch.float64), ids).item()

    best = minimize_scalar(loss, bounds=(-40, 40), method="bounded", options={"xatol": 1e-9}).fun
    assert no_learning_level(RECIPES["siglip"], ids) == pytest.approx(best, abs=1e-6)
