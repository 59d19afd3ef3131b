"""The one equation against slow loops, closed forms and the facts the lessons rest on."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from medclip_nb.config import RECIPES
from medclip_nb.learn.batch import Answers
from medclip_nb.learn.losses import (
    cross_entropy,
    floor_level,
    loss_in_chunks,
    no_learning_level,
    recipe_loss,
    sigmoid_loss,
    soft_contrastive_loss,
)
from medclip_nb.learn.targets import TARGETS, from_relation, identity, same_text, similarity_mixed

IDS = torch.tensor([0, 1, 0, 2, 0, 1, 3, 4])
COUNTS = [3, 2, 3, 1, 3, 2, 1, 1]  # how often each of them is there
BY_TEXT = [name for name, recipe in RECIPES.items() if recipe.targets in TARGETS]  # recipes whose targets ask for texts only
SEEDS = st.integers(0, 10_000)


def random(*shape, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exact(targets: torch.Tensor) -> torch.Tensor:
    """Targets in float64, rows summing to 1 as closely as that allows."""
    return targets.double() / targets.double().sum(1, keepdim=True)


def of_recipe(name: str, ids: torch.Tensor = IDS):
    """The recipe's targets for these texts, exactly."""
    return tuple(map(exact, TARGETS[RECIPES[name].targets](ids)))


def similarity(n: int, seed: int = 0) -> torch.Tensor:
    """Not symmetric, the diagonal 1, some entries 0."""
    found = random(n, n, seed=seed).clamp(0, 1)
    return found.fill_diagonal_(1)


def relation(seed: int) -> torch.Tensor:
    """Several right texts for a unit, several units for a text."""
    return (torch.rand(8, 5, generator=torch.Generator().manual_seed(seed)) < 0.3) | torch.eye(5).bool().repeat(2, 1)[:8]


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


# what identical texts do


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


# against loops


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


@pytest.mark.parametrize("recipe", BY_TEXT)
def test_a_joint_permutation_leaves_the_loss_unchanged(recipe):
    order, logits = torch.randperm(8, generator=torch.Generator().manual_seed(0)), random(8, 8)
    moved = recipe_loss(RECIPES[recipe], logits[order][:, order], *of_recipe(recipe, IDS[order]))
    assert moved.item() == pytest.approx(recipe_loss(RECIPES[recipe], logits, *of_recipe(recipe)).item(), rel=1e-12)


@pytest.mark.parametrize("some", [False, True])
def test_the_sigmoid_loss_agrees_with_a_loop(some):
    logits, right = random(4, 6), random(4, 6, seed=1) > 0
    valid = random(4, 6, seed=2) > 0 if some else torch.ones(4, 6).bool()
    rows = zip(logits.ravel().tolist(), right.ravel().tolist(), valid.ravel().tolist(), strict=True)
    terms = [math.log1p(math.exp(-x if r else x)) for x, r, asked in rows if asked]
    assert sigmoid_loss(logits, right, valid if some else None).item() == pytest.approx(sum(terms) / 4, rel=1e-12)


@pytest.mark.parametrize("recipe", BY_TEXT)
def test_half_precision_logits_are_summed_in_full_precision(recipe):
    logits, right = (5 * random(64, 64)).bfloat16(), TARGETS[RECIPES[recipe].targets](torch.arange(64))
    loss = recipe_loss(RECIPES[recipe], logits, *right)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(recipe_loss(RECIPES[recipe], logits.double(), *right).item(), rel=1e-5)


# SeLIP is one of its cases


def selip(logits, sim):
    """L_clip + (KL from the texts' similarity to the softmax, mean of both directions), as the paper writes it."""
    total = soft_contrastive_loss(logits, *map(exact, identity(torch.arange(len(sim)))))
    for lines, share in ((logits, sim / sim.sum(1, keepdim=True)), (logits.T, sim.T / sim.T.sum(1, keepdim=True))):
        total = total + (torch.xlogy(share, share) - share * lines.log_softmax(1)).sum(1).mean() / 2
    return total


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_selips_loss_is_twice_the_mixed_one_less_the_entropy_of_the_similarities(seed):
    logits, sim = random(6, 6, seed=seed).requires_grad_(), similarity(6, seed)
    entropy = sum(-torch.xlogy(q, q).sum(1).mean() / 2 for q in (exact(sim), exact(sim.T)))
    paper, ours = selip(logits, sim), 2 * soft_contrastive_loss(logits, *similarity_mixed(sim, 0.5)) - entropy
    assert paper.item() == pytest.approx(ours.item(), rel=1e-12)
    grads = [torch.autograd.grad(value, logits)[0] for value in (paper, ours)]
    assert torch.linalg.norm(grads[0] - grads[1]) <= 1e-12 * torch.linalg.norm(grads[0])


# memory linear in n


def leaves():
    """Embeddings whose texts repeat, with the scale and the bias."""
    images, texts = normalize(random(8, 5)), normalize(random(5, 5, seed=1)[IDS])
    numbers = [torch.tensor(x, dtype=torch.float64) for x in (7.0, -2.0)]
    return [t.clone().requires_grad_() for t in (images, texts, *numbers)]


def in_chunks(recipe, images, texts, logits_of, relation, *, chunk):
    """The memory-linear loss of all pairs, with what is right as a matrix or as a function of units and texts."""
    n, block = len(images), relation if callable(relation) else lambda rows, columns: relation[rows, columns]
    every = (slice(0, n), slice(0, n))
    return loss_in_chunks(RECIPES[recipe], (images, texts), logits_of, Answers(n, n, block), span=every, chunk=chunk)


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
@pytest.mark.parametrize("targets", [identity, same_text])
def test_the_linear_form_is_the_same_loss_with_the_same_gradients(targets, chunk):
    images, texts, scale, _ = given = leaves()
    plain = soft_contrastive_loss(scale * images @ texts.T, *map(exact, targets(IDS)))
    relation = (targets(IDS)[0] > 0).double()
    linear = in_chunks("clip", images, texts, lambda x, y: scale * x @ y.T, relation, chunk=chunk)
    assert_same(*((value, torch.autograd.grad(value, given[:3])) for value in (plain, linear)))


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_the_linear_sigmoid_is_the_same_loss_with_the_same_gradients(chunk):
    images, texts, scale, bias = given = leaves()
    plain = sigmoid_loss(scale * images @ texts.T + bias, IDS[:, None] == IDS)
    linear = in_chunks("siglip", images, texts, lambda x, y: scale * x @ y.T + bias, IDS[:, None] == IDS, chunk=chunk)
    assert_same(*((value, torch.autograd.grad(value, given)) for value in (plain, linear)))


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that is made, in the backward pass too."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            self.elements = max(self.elements, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
        return made


def largest_tensor(loss) -> int:
    with Largest() as seen:
        loss().backward()
    return seen.elements


def kept_between_the_passes(loss) -> int:
    """Elements that are saved for the backward pass, all together."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        loss()
    return sum(sizes)


def test_the_linear_forms_neither_make_nor_keep_a_matrix_of_all_pairs():
    n, chunk, ids = 512, 32, torch.arange(512) % 100
    images, texts = (random(n, 4, seed=s).requires_grad_() for s in (0, 1))
    scale, bias = torch.tensor(3.0, dtype=torch.float64), torch.tensor(-1.0, dtype=torch.float64)
    plain = lambda: soft_contrastive_loss(scale * images @ texts.T, *same_text(ids))  # noqa: E731
    same = lambda rows, columns: ids[rows, None] == ids[columns]  # noqa: E731
    linear = [
        lambda: in_chunks("clip", images, texts, lambda x, y: scale * x @ y.T, same, chunk=chunk),
        lambda: in_chunks("siglip", images, texts, lambda x, y: scale * x @ y.T + bias, same, chunk=chunk),
    ]
    assert min(largest_tensor(plain), kept_between_the_passes(plain)) >= n * n
    for loss in linear:
        assert largest_tensor(loss) <= n * chunk
        assert kept_between_the_passes(loss) < n * chunk


# between the floor and the level of a model that sees nothing


@pytest.mark.parametrize("recipe", ["clip", "clip_same_text"])
def test_perfect_embeddings_reach_the_floor_that_identical_texts_leave(recipe):
    perfect = 100 * (IDS[:, None] == IDS).double()
    floor = floor_level("softmax", *of_recipe(recipe), IDS)
    assert floor == pytest.approx(np.mean(np.log(COUNTS)))
    assert recipe_loss(RECIPES[recipe], perfect, *of_recipe(recipe)).item() == pytest.approx(floor, rel=1e-12)


def test_perfect_embeddings_reach_0_under_the_sigmoid():
    perfect = torch.where(IDS[:, None] == IDS, 50.0, -50.0)
    assert floor_level("sigmoid", *of_recipe("siglip"), IDS) == 0
    assert recipe_loss(RECIPES["siglip"], perfect, *of_recipe("siglip")).item() == pytest.approx(0, abs=1e-12)


def test_under_the_sigmoid_identity_leaves_a_floor_that_one_logit_for_all_twins_reaches():
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    best = torch.where(IDS[:, None] == IDS, -(counts - 1).clamp(min=1e-20).log(), -50.0)  # odds of 1 to k - 1
    floor = floor_level("sigmoid", *of_recipe("siglip_identity"), IDS)
    assert floor > 0.5
    assert recipe_loss(RECIPES["siglip_identity"], best, *of_recipe("siglip_identity")).item() == pytest.approx(floor, rel=1e-12)


def test_several_right_texts_leave_a_floor_that_equal_logits_on_them_reach():
    right = relation(3)
    targets = tuple(map(exact, from_relation(right)))
    floor = floor_level("softmax", *targets, torch.arange(5))
    wanted = (right.sum(1).double().log().mean() + right.sum(0).double().log().mean()) / 2
    assert floor == pytest.approx(wanted.item())
    assert soft_contrastive_loss(100 * right.double(), *targets).item() == pytest.approx(floor, rel=1e-12)


def test_a_symmetric_similarity_with_equal_sums_leaves_a_floor_that_its_own_logarithm_reaches():
    circle = torch.tensor([[1, 0.5, 0.1, 0.5], [0.5, 1, 0.5, 0.1], [0.1, 0.5, 1, 0.5], [0.5, 0.1, 0.5, 1]], dtype=torch.float64)
    targets = similarity_mixed(circle, 0.5)
    floor = floor_level("softmax", *targets, torch.arange(4))
    assert soft_contrastive_loss(targets[0].log(), *targets).item() == pytest.approx(floor, rel=1e-12)


def test_the_two_sides_of_another_similarity_cannot_both_be_met():
    targets = similarity_mixed(similarity(8, 1).clamp(min=0.05), 0.5)
    logits = torch.zeros(8, 8, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe", tolerance_change=0)

    def loss():
        optimizer.zero_grad()
        value = soft_contrastive_loss(logits, *targets)
        value.backward()
        return value

    optimizer.step(loss)
    assert logits.grad.abs().max() < 1e-6  # it is convex, so this is the least there is
    assert loss().item() > floor_level("softmax", *targets, torch.arange(8)) + 1e-3


def any_targets(seed: int):
    """Each kind of targets, with the ids of its columns; identical texts are there in most."""
    return [
        (*map(exact, identity(IDS)), IDS),
        (*map(exact, same_text(IDS)), IDS),
        (*map(exact, from_relation(relation(seed))), torch.tensor([0, 1, 2, 1, 3])),
        (*similarity_mixed(similarity(8, seed), 0.5), IDS),
    ]


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, scale=st.floats(0.1, 30))
def test_no_logits_go_below_the_floor(seed, scale):
    for targets, targets_t, ids in any_targets(seed):
        logits = scale * random(8, 5, seed=seed)[:, ids]  # identical texts have equal logits
        valid = (random(8, len(ids), seed=seed + 1) > 0) | (targets > 0)
        valid[:, : len(targets_t)] |= targets_t.T > 0
        for loss in ("clip", "siglip"):
            for asked in (None, valid):
                value = recipe_loss(RECIPES[loss], logits, targets, targets_t, asked)
                assert value >= floor_level(RECIPES[loss].loss, targets, targets_t, ids, asked) - 1e-12


def test_where_twins_are_excluded_the_floor_is_0_and_is_reached():
    valid = (IDS[:, None] != IDS) | torch.eye(8).bool()
    perfect = 100 * (IDS[:, None] == IDS).double()
    assert floor_level("softmax", *of_recipe("clip"), IDS, valid) == 0
    assert soft_contrastive_loss(perfect, *of_recipe("clip"), valid).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("recipe", ["clip", "clip_same_text"])
def test_a_model_that_sees_nothing_has_ln_n_under_the_softmax(recipe):
    level = no_learning_level("softmax", *of_recipe(recipe))
    assert level == pytest.approx(math.log(8), rel=1e-12)
    constant = torch.full((8, 8), -3.0, dtype=torch.float64)
    assert recipe_loss(RECIPES[recipe], constant, *of_recipe(recipe)).item() == pytest.approx(level, rel=1e-12)


def test_a_model_that_sees_nothing_chooses_among_valid_pairs_only():
    valid = torch.tensor([[1, 1, 1, 0], [0, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]]).bool()
    level = no_learning_level("softmax", *of_recipe("clip", torch.arange(4)), valid)
    assert level == pytest.approx(np.mean([*np.log([3, 1, 3, 4]), *np.log([3, 3, 3, 2])]), rel=1e-6)


@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("ids", [IDS, torch.arange(6), torch.zeros(5, dtype=torch.long)])
def test_a_model_that_sees_nothing_has_the_best_constant_logit_under_the_sigmoid(ids, excluded):
    right, n = of_recipe("siglip", ids), len(ids)
    valid = (random(n, n, seed=4) > 0) | torch.eye(n).bool() if excluded else None

    def loss(logit: float) -> float:
        return recipe_loss(RECIPES["siglip"], torch.full((n, n), logit, dtype=torch.float64), *right, valid).item()

    best = minimize_scalar(loss, bounds=(-40, 40), method="bounded", options={"xatol": 1e-9}).fun
    assert no_learning_level("sigmoid", *right, valid) == pytest.approx(best, abs=1e-6)
