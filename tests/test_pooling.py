"""From slices to a volume: what no pooling may depend on, and what each of them is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from medclip_nb.config import POSITION_MM
from medclip_nb.model.pooling import (
    POOLINGS,
    Attention,
    Grid,
    MeanMax,
    SelfAttention,
    encode_positions,
    masked_softmax,
    mean_weights,
    middle_weights,
    prompt_attention,
)

DIM, MOST = 16, 7
SEEDS = st.integers(0, 10_000)
LEARNT = ["mean", "max", "attention", "self_attention"]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pooling(name: str, dim: int = DIM):
    torch.manual_seed(5)
    return POOLINGS[name](dim).eval()


def volumes(seed: int = 0):
    """Three volumes of up to seven slices: embeddings, mask, positions in mm, 3 mm to 12 mm apart."""
    slices = torch.randn(3, MOST, DIM, generator=generator(seed))
    mask = torch.arange(MOST) < torch.randint(1, MOST + 1, (3, 1), generator=generator(seed))
    gaps = 3 + 9 * torch.rand(3, MOST, generator=generator(seed))
    return slices, mask, gaps.cumsum(1)


def pooled(name: str, *volume) -> torch.Tensor:
    with torch.no_grad():
        return pooling(name)(*volume)[0]


@pytest.mark.parametrize("name", POOLINGS)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_weights_are_shares_of_the_slices_that_are_there(name, seed):
    slices, mask, position_mm = volumes(seed)
    vector, weights = pooling(name)(slices, mask, position_mm)
    assert (weights >= 0).all()
    assert torch.allclose(weights.sum(2), torch.ones(weights.shape[:2]), atol=1e-6)
    assert (weights[~mask[:, None].expand_as(weights)] == 0).all()
    assert vector.shape == (3, pooling(name).dim)


@pytest.mark.parametrize("name", POOLINGS)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 5))
def test_garbage_in_padding_changes_nothing(name, seed, n):
    slices, mask, position_mm = volumes(seed)
    garbage = 1e4 * torch.randn(3, n, DIM, generator=generator(seed + 1))
    more = (
        torch.cat([slices, garbage], 1),
        torch.cat([mask, torch.zeros(3, n).bool()], 1),
        torch.cat([position_mm, garbage[..., 0]], 1),
    )
    assert torch.allclose(pooled(name, *more), pooled(name, slices, mask, position_mm), atol=1e-5)


@pytest.mark.parametrize("name", POOLINGS)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_volume_whose_slices_are_all_there_twice_is_the_same_volume(name, seed):
    volume = volumes(seed)
    twice = [t.repeat_interleave(2, 1) for t in volume]
    assert torch.allclose(pooled(name, *twice), pooled(name, *volume), atol=1e-5)


@pytest.mark.parametrize("name", LEARNT)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_the_order_in_which_slices_are_given_does_not_matter(name, seed):
    volume = volumes(seed)
    order = torch.randperm(MOST, generator=generator(seed))
    assert torch.allclose(pooled(name, *(t[:, order] for t in volume)), pooled(name, *volume), atol=1e-5)


@pytest.mark.parametrize(("name", "matters"), [("self_attention", True), ("self_attention_no_position", False)])
def test_where_slices_lie_matters_only_if_positions_are_encoded(name, matters):
    slices, mask, position_mm = volumes()
    moved = pooled(name, slices, mask, position_mm + 40)
    assert torch.allclose(moved, pooled(name, slices, mask, position_mm), atol=1e-5) != matters


@pytest.mark.parametrize("name", ["mean", "attention", "attention_4", "self_attention", "self_attention_no_position"])
@pytest.mark.parametrize("seed", range(5))
def test_half_the_slices_of_a_smooth_volume_give_nearly_its_vector(name, seed):
    dim, steps = 64, torch.randn(8, 60, 64, generator=generator(seed))
    slices = normalize(normalize(torch.randn(8, 1, dim, generator=generator(seed + 99)), dim=-1) + 0.02 * steps.cumsum(1), dim=-1)
    slices = slices * dim**0.5  # coordinates of size about 1, as the adapter makes them
    mask, position_mm = torch.ones(8, 60).bool(), 5.0 * torch.arange(60).expand(8, -1)
    pool = pooling(name, dim)
    whole, half = (pool(slices[:, ::n], mask[:, ::n], position_mm[:, ::n])[0] for n in (1, 2))
    assert torch.cosine_similarity(whole, half).min() > 0.99  # first and last slice of a volume have about 0.6
    other = pool(slices.roll(1, 0), mask, position_mm)[0]
    assert torch.cosine_similarity(whole, other).median() < 0.5  # and two volumes are not alike at all


@pytest.mark.parametrize("name", LEARNT[2:])
def test_a_learnt_pooling_can_be_learnt(name):
    pool, (slices, mask, position_mm) = pooling(name), volumes()
    slices.requires_grad_()
    (pool(slices, mask, position_mm)[0] ** 2).sum().backward()
    assert [n for n, p in pool.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []
    assert (slices.grad[~mask] == 0).all()
    assert (slices.grad[mask] != 0).any()


# what each of them is


def test_the_mean_is_that_of_the_slices_that_are_there_by_a_loop():
    slices, mask, position_mm = volumes(3)
    for found, own, there in zip(pooled("mean", slices, mask, position_mm), slices, mask, strict=True):
        kept = [s for s, t in zip(own, there.tolist(), strict=True) if t]
        assert torch.allclose(found, sum(kept) / len(kept), atol=1e-6)


def test_the_maximum_is_taken_coordinate_by_coordinate_and_its_weights_count_who_gave_it():
    slices = torch.tensor([[[1.0, 0, 5, -1], [3, 9, 2, -2], [99, 99, 99, 99]]])
    vector, weights = POOLINGS["max"](4)(slices, torch.tensor([[True, True, False]]), torch.zeros(1, 3))
    assert vector.tolist() == [[3, 9, 5, -1]]
    assert weights.tolist() == [[[0.5, 0.5, 0]]]


@pytest.mark.parametrize(("n", "middle"), [(1, 0), (2, 0), (3, 1), (4, 1), (7, 3)])
def test_the_middle_slice_is_the_lower_one_of_two(n, middle):
    weights = middle_weights(torch.arange(9)[None] < n)
    assert weights[0, 0].nonzero().tolist() == [[middle]]


def test_the_middle_is_counted_among_slices_that_are_there():
    assert middle_weights(torch.tensor([[False, True, True, False, True]]))[0, 0].tolist() == [0, 0, 1, 0, 0]
    assert mean_weights(torch.tensor([[False, True, True, False]]))[0, 0].tolist() == [0, 0.5, 0.5, 0]


def test_attention_agrees_with_a_loop_head_by_head():
    torch.manual_seed(0)
    pool, (slices, mask, position_mm) = Attention(DIM, 2), volumes(2)
    vector, weights = pool(slices, mask, position_mm)
    look, _, ask = pool.score
    for b, head in np.ndindex(3, 2):
        there = [n for n in range(MOST) if mask[b, n]]
        score = [(ask.weight[head] @ torch.tanh(look(slices[b, n]))).exp() for n in there]
        share = [s / sum(score) for s in score]
        assert torch.allclose(weights[b, head, there], torch.stack(share), atol=1e-6)
        mean = sum(a * slices[b, n] for a, n in zip(share, there, strict=True))
        assert torch.allclose(vector[b, head * DIM : (head + 1) * DIM], mean, atol=1e-5)


def test_self_attention_lets_slices_look_at_each_other():
    torch.manual_seed(0)
    pool, (slices, _, position_mm) = SelfAttention(DIM, 4).eval(), volumes()
    everywhere, one_less = torch.ones(3, MOST).bool(), torch.arange(MOST).expand(3, -1) > 0
    ratio = [
        pool(slices, mask, position_mm)[1][:, 0, 2] / pool(slices, mask, position_mm)[1][:, 0, 1]
        for mask in (everywhere, one_less)
    ]
    assert not torch.allclose(*ratio, rtol=1e-3)  # the first slice changes what two others count


def test_the_softmax_is_over_slices_that_are_there():
    found = masked_softmax(torch.tensor([[1.0, 50, 1], [0, 0, 2]]), torch.tensor([[True, False, True], [True, True, True]]))
    assert found[0].tolist() == [0.5, 0, 0.5]
    assert torch.allclose(found[1], torch.tensor([0.0, 0, 2]).softmax(0))


def test_a_place_has_one_code_whatever_the_spacing():
    thin, thick = (torch.arange(0.0, 60, step)[None] for step in (1.0, 5.0))
    assert torch.equal(encode_positions(thin, 32)[:, ::5], encode_positions(thick, 32))


def test_the_code_of_a_position_agrees_with_a_loop():
    code, (shortest, longest) = encode_positions(torch.tensor([[0.0, 13.0]]), 6)[0, 1].tolist(), POSITION_MM
    waves = [shortest, (shortest * longest) ** 0.5, longest]
    wanted = [f(2 * np.pi * 13 / wave) for f in (np.sin, np.cos) for wave in waves]
    assert code == pytest.approx(wanted, abs=1e-5)


def test_codes_of_places_are_different_and_alike_where_places_are_near():
    code = normalize(encode_positions(torch.arange(0.0, 1000, 5)[None], 32)[0], dim=-1)
    cosine = code @ code.T
    assert (cosine.triu(1).max() < 0.9999).all()
    assert cosine.diagonal(1).mean() > cosine.diagonal(20).mean()


# texts that look for their slices


def prompts(seed: int = 0):
    """Two volumes of five slices and three texts, of length 1, one slice of the second being padding."""
    slices = normalize(torch.randn(2, 5, DIM, generator=generator(seed)), dim=-1)
    texts = normalize(torch.randn(3, DIM, generator=generator(seed + 1)), dim=-1)
    mask = torch.ones(2, 5).bool()
    mask[1, 2] = False
    return slices, texts, mask


@pytest.mark.parametrize("tau", [0.05, 0.5, 3.0])
def test_prompt_attention_agrees_with_a_loop(tau):
    slices, texts, mask = prompts()
    found, weights = prompt_attention(slices, texts, mask, tau=tau)
    for b, t in np.ndindex(2, 3):
        there = [n for n in range(5) if mask[b, n]]
        score = [(slices[b, n] @ texts[t] / tau).exp() for n in there]
        volume = normalize(sum(s / sum(score) * slices[b, n] for s, n in zip(score, there, strict=True)), dim=0)
        assert found[b, t].item() == pytest.approx((volume @ texts[t]).item(), abs=1e-5)
        assert torch.allclose(weights[b, t, there], torch.stack(score) / sum(score), atol=1e-6)
    assert (weights[1, :, 2] == 0).all()


def test_at_a_low_temperature_a_text_sees_its_best_slice_only():
    slices, texts, mask = prompts()
    found, _ = prompt_attention(slices, texts, mask, tau=1e-4)
    best = (slices @ texts.T).masked_fill(~mask[..., None], -2).amax(1)
    assert torch.allclose(found, best, atol=1e-4)


def test_at_a_high_temperature_all_texts_see_the_mean():
    slices, texts, mask = prompts()
    found, weights = prompt_attention(slices, texts, mask, tau=1e5)
    mean = normalize((slices * mask[..., None]).sum(1), dim=-1)
    assert torch.allclose(found, mean @ texts.T, atol=1e-4)
    assert torch.allclose(weights, mean_weights(mask).expand_as(weights), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, tau=st.floats(0.01, 10))
def test_prompt_attention_gives_cosines_and_shares_whatever_the_padding_holds(seed, tau):
    slices, texts, mask = prompts(seed)
    found, weights = prompt_attention(slices, texts, mask, tau=tau)
    other, _ = prompt_attention(slices.masked_fill(~mask[..., None], 77.0), texts, mask, tau=tau)
    assert found.abs().max() <= 1 + 1e-5
    assert torch.allclose(weights.sum(2), torch.ones(2, 3), atol=1e-5)
    assert torch.allclose(other, found, atol=1e-5)


def test_two_opposite_slices_have_a_finite_similarity_and_gradient():
    slices = torch.tensor([[[1.0, 0], [-1, 0]]], requires_grad=True)
    found, _ = prompt_attention(slices, torch.tensor([[0.0, 1]]), torch.ones(1, 2).bool(), tau=0.07)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(slices.grad).all()


# cells of a map to one vector


def feature_map(*cells: int, dim: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(3, dim, *cells, generator=generator(seed))


@pytest.mark.parametrize("cells", [(5, 4), (2, 5, 4)])
def test_mean_and_maximum_of_a_map_agree_with_a_loop_and_are_normalised_over_the_batch(cells):
    pool, features = MeanMax(4).train(), feature_map(*cells)
    found = pool(features)
    plain = torch.stack([torch.stack([f(c.flatten()) for f in (torch.mean, torch.max) for c in one]) for one in features])
    wanted = (plain - plain.mean(0)) / (plain.var(0, unbiased=False) + pool.eps).sqrt()
    assert found.shape == (3, pool.dim)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_mean_and_maximum_forget_what_is_where_and_a_grid_does_not():
    features = feature_map(16, 16)
    turned = features.flip(2)
    torch.manual_seed(0)
    for pool, forgets in ((MeanMax(4).eval(), True), (Grid(4, (4, 4)).eval(), False)):
        assert torch.allclose(pool(features), pool(turned), atol=1e-5) == forgets


@pytest.mark.parametrize(("cells", "n_cells"), [((12, 8), (4, 4)), ((6, 12, 8), (3, 4, 4))])
def test_the_cells_of_a_grid_are_means_by_a_loop(cells, n_cells):
    torch.manual_seed(0)
    pool, features = Grid(4, n_cells, width=2, hidden=5).eval(), feature_map(*cells)
    narrow = torch.einsum("wd,bd...->bw...", pool.narrow.weight.flatten(1), features)
    narrow += pool.narrow.bias.view(-1, *[1] * len(cells))
    step = [a // b for a, b in zip(cells, n_cells, strict=True)]
    found = pool.cells(pool.narrow(features))
    for cell in np.ndindex(*n_cells):
        part = tuple(slice(i * s, (i + 1) * s) for i, s in zip(cell, step, strict=True))
        assert torch.allclose(found[(..., *cell)], narrow[(..., *part)].flatten(2).mean(-1), atol=1e-5)
    assert torch.allclose(pool(features), pool.mix(found), atol=1e-6)


@pytest.mark.parametrize("cells", [(3, 3), (8, 8), (20, 17)])
def test_a_grid_takes_maps_of_any_size_smaller_ones_too(cells):
    pool = Grid(4, (8, 8))
    assert pool(feature_map(*cells)).shape == (3, pool.dim)


def test_a_grid_does_not_depend_on_the_rest_of_the_batch():
    pool, features = Grid(4, (4, 4)).eval(), feature_map(8, 8)
    assert torch.allclose(pool(features)[:1], pool(features[:1]), atol=1e-6)


@pytest.mark.parametrize("pool", [MeanMax(4), Grid(4, (4, 4))])
def test_the_pooling_of_a_map_can_be_learnt(pool):
    found = pool.train()(feature_map(8, 8))
    (found * torch.randn(found.shape, generator=generator(1))).sum().backward()
    assert [name for name, p in pool.named_parameters() if not torch.isfinite(p.grad).all() or not p.grad.any()] == []
