"""From a feature map to one vector per organ: means, smooth maxima and attention inside masks."""

import numpy as np
import pytest
import torch

from medclip_nb.model.organ_pooling import (
    FULL,
    LARGEST,
    ORGAN_POOLINGS,
    SHARPNESS,
    MaskPool,
    OrganQuery,
    masked_max,
    masked_mean,
    masks_of,
    shares_inside,
)

GRID, N_ORGANS, DIM = (2, 3, 3), 5, 4
BIG, RIM, SMALL, EMPTY, WHOLE = range(N_ORGANS)  # what the organs of `share` are
NUMBERS = torch.arange(N_ORGANS).expand(2, -1)


def features(seed: int = 0) -> torch.Tensor:
    """As behind a ReLU: from 0 to 4."""
    return 4 * torch.rand(2, DIM, *GRID, generator=torch.Generator().manual_seed(seed))


def share() -> torch.Tensor:
    """Organs of several cells with a rim, of a rim alone, of a part of one cell, of no cell, and of all."""
    share = torch.zeros(2, N_ORGANS, *GRID)
    share[:, BIG, 0, :2] = 1.0
    share[:, BIG, 0, 2], share[:, BIG, 1, 0] = 0.5, 0.1
    share[:, RIM, 1, 1] = torch.tensor([0.2, 0.6, 0.6])
    share[:, SMALL, 1, 2, 2] = 0.03
    share[:, WHOLE] = 1.0
    share[1] = share[1].flip(-1)
    return share


def pool_of(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return ORGAN_POOLINGS[name](DIM, N_ORGANS)


# masks


def test_the_share_of_a_cell_is_the_mean_of_its_voxels_by_a_loop():
    masks = torch.rand(2, 3, 4, 6, 9, generator=torch.Generator().manual_seed(0))
    found = shares_inside(masks, GRID)
    for i, k, z, y, x in np.ndindex(*found.shape):
        wanted = masks[i, k, 2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 3 * x : 3 * x + 3].mean()
        assert found[i, k, z, y, x].item() == pytest.approx(wanted.item(), abs=1e-6)


def test_an_organ_smaller_than_a_cell_keeps_its_part_of_one():
    mask = torch.zeros(1, 1, 8, 12, 12)
    mask[0, 0, 5, 6, 7] = 1
    found = shares_inside(mask, GRID)
    assert (found > 0).sum() == 1
    assert found[0, 0, 1, 1, 1].item() == pytest.approx(1 / (4 * 4 * 4))
    assert torch.allclose(masked_mean(features()[:1], found)[0, 0], features()[0, :, 1, 1, 1], atol=1e-5)


def test_a_label_map_is_one_mask_for_each_organ():
    labels = torch.randint(0, 4, (2, 3, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = masks_of(labels, 3)
    assert found.shape == (2, 3, 3, 4, 5)
    for k in range(3):
        assert torch.equal(found[:, k], (labels == k + 1).float())


# mean and maximum


def test_the_mean_is_weighted_by_the_share_by_a_loop():
    found, f, s = masked_mean(features(), share()), features().numpy(), share().numpy()
    for i, k in np.ndindex(2, N_ORGANS):
        cells = list(np.ndindex(*GRID))
        total = sum(s[(i, k, *cell)] for cell in cells)
        wanted = sum(s[(i, k, *cell)] * f[(i, slice(None), *cell)] for cell in cells) / (total or 1)
        assert np.allclose(found[i, k].numpy(), wanted, atol=1e-5)


def test_the_maximum_is_the_smooth_one_of_the_cells_that_count_by_a_loop():
    found, f, s = masked_max(features(), share()), features().numpy(), share().numpy()
    for i, k in np.ndindex(2, N_ORGANS):
        fullest = s[i, k].max()
        cells = [c for c in np.ndindex(*GRID) if s[(i, k, *c)] > 0 and s[(i, k, *c)] >= min(FULL, fullest)]
        if cells:
            values = np.stack([f[(i, slice(None), *c)] for c in cells])
            wanted = np.log(np.mean(np.exp(SHARPNESS * values), axis=0)) / SHARPNESS
            assert np.allclose(found[i, k].numpy(), wanted, atol=1e-4)


def test_the_maximum_lies_between_mean_and_maximum_of_the_cells_inside():
    inside = share()[:, [WHOLE]]
    found, flat = masked_max(features(), inside)[:, 0], features().flatten(2)
    assert (found > flat.mean(2)).all()
    assert (found < flat.amax(2)).all()
    assert torch.allclose(masked_max(torch.full_like(features(), 3.0), share())[:, BIG], torch.tensor(3.0), atol=1e-4)


def test_cells_of_the_rim_do_not_count_for_the_maximum_where_there_are_full_ones():
    lit = features()
    lit[share()[:, BIG, None].expand_as(lit) == 0.5] = LARGEST
    assert torch.equal(masked_max(lit, share())[:, BIG], masked_max(features(), share())[:, BIG])
    assert (masked_mean(lit, share())[:, BIG] > masked_mean(features(), share())[:, BIG]).all()


def test_where_no_cell_is_full_the_fullest_count():
    f, s = features(), share()
    pair = f.flatten(2)[torch.arange(2)[:, None], :, s[:, RIM].flatten(1).topk(2).indices].transpose(1, 2)
    wanted = (SHARPNESS * pair).exp().mean(2).log() / SHARPNESS
    assert torch.allclose(masked_max(f, s)[:, RIM], wanted, atol=1e-4)
    assert torch.allclose(masked_max(f, s)[0, SMALL], f[0, :, 1, 2, 2], atol=1e-4)


def test_features_beyond_the_largest_count_as_the_largest():
    found = masked_max(torch.full_like(features(), 1e4), share())[:, [BIG, RIM, SMALL, WHOLE]]
    assert torch.allclose(found, torch.tensor(LARGEST), atol=1e-4)


@pytest.mark.parametrize("name", ORGAN_POOLINGS)
def test_an_empty_organ_has_mean_0_and_nothing_that_is_not_finite_nor_has_its_gradient(name):
    pool, f = pool_of(name), features().requires_grad_()
    found = pool(f, share(), NUMBERS)
    found.square().sum().backward()
    assert torch.equal(found[:, EMPTY, :DIM], torch.zeros(2, DIM))
    assert torch.isfinite(found).all()
    assert torch.isfinite(f.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in pool.parameters())


# the poolings


@pytest.mark.parametrize(("name", "dim"), [("mean", DIM), ("mean_max", 2 * DIM), ("query", DIM)])
def test_a_pooling_says_how_wide_its_vectors_are(name, dim):
    pool = pool_of(name)
    assert pool.dim == dim
    assert pool(features(), share(), NUMBERS).shape == (2, N_ORGANS, dim)


def test_mean_max_is_the_mean_with_the_maximum_beside_it():
    found = MaskPool(DIM, N_ORGANS, with_max=True)(features(), share(), NUMBERS)
    assert torch.equal(found[..., :DIM], MaskPool(DIM, N_ORGANS, with_max=False)(features(), share(), NUMBERS))
    assert torch.equal(found[..., DIM:], masked_max(features(), share()))


@pytest.mark.parametrize("name", ORGAN_POOLINGS)
def test_what_lies_outside_a_mask_changes_nothing(name):
    pool = pool_of(name)
    found = pool(features(), share(), NUMBERS)
    for organ in (BIG, RIM, SMALL):
        other = torch.where(share()[:, [organ]] > 0, features(), 50 * features(seed=1))
        assert torch.allclose(pool(other, share(), NUMBERS)[:, organ], found[:, organ], atol=1e-5)
        assert not torch.allclose(pool(other, share(), NUMBERS)[:, WHOLE], found[:, WHOLE], atol=1e-2)


@pytest.mark.parametrize("name", ORGAN_POOLINGS)
def test_all_organs_and_scans_at_once_are_as_one_by_one(name):
    pool = pool_of(name)
    found = pool(features(), share(), NUMBERS)
    for i, k in np.ndindex(2, N_ORGANS):
        alone = pool(features()[[i]], share()[[i]][:, [k]], NUMBERS[[i]][:, [k]])
        assert torch.allclose(alone[0, 0], found[i, k], atol=1e-5)


def test_weights_of_a_query_sum_to_1_inside_and_are_0_outside():
    weights = pool_of("query").weights(features(), share(), NUMBERS)
    inside = share().flatten(2) > 0
    assert (weights[~inside] == 0).all()
    assert (weights[inside] > 0).all()
    assert torch.allclose(weights.sum(2), torch.tensor([1.0, 1, 1, 0, 1]).expand(2, -1), atol=1e-6)


def test_what_a_query_sees_is_its_weights_times_the_features_by_a_loop():
    pool = pool_of("query")
    found, weights = pool(features(), share(), NUMBERS), pool.weights(features(), share(), NUMBERS)
    for i, k in np.ndindex(2, N_ORGANS):
        wanted = sum(w * cell for w, cell in zip(weights[i, k], features()[i].flatten(1).T, strict=True))
        assert torch.allclose(found[i, k], wanted, atol=1e-5)


def test_each_organ_has_its_own_query():
    pool, same = pool_of("query"), share()[:, [WHOLE, WHOLE]]
    one = pool(features(), same, torch.tensor([[0, 1], [0, 1]]))
    other = pool(features(), same, torch.tensor([[1, 0], [1, 0]]))
    assert not torch.allclose(one[:, 0], one[:, 1], atol=1e-4)
    assert torch.allclose(one, other.flip(1), atol=1e-6)


def test_a_query_is_a_softmax_of_its_product_with_the_keys():
    torch.manual_seed(0)
    pool, cells = OrganQuery(DIM, N_ORGANS), features().flatten(2).transpose(1, 2)
    wanted = (cells @ pool.key.weight.T + pool.key.bias) @ pool.query[BIG]
    weights = wanted.masked_fill(share()[:, BIG].flatten(1) == 0, -torch.inf).softmax(1)
    assert torch.allclose(pool.weights(features(), share(), NUMBERS)[:, BIG], weights, atol=1e-5)


def test_slices_of_an_organ_count_by_their_weights_by_a_loop():
    pool, f, s = pool_of("slices"), features(), share()
    weights, found = pool.weights(f, s, NUMBERS), pool(f, s, NUMBERS)
    for b, k in np.ndindex(*s.shape[:2]):
        touched = s[b, k].flatten(1).sum(1) > 0
        assert (weights[b, k][~touched] == 0).all()
        one = [torch.cat([masked_mean(f[b : b + 1, :, [n]], s[b : b + 1, k : k + 1, [n]]),
                          masked_max(f[b : b + 1, :, [n]], s[b : b + 1, k : k + 1, [n]])], -1)[0, 0]
               for n in range(f.shape[2])]  # fmt: skip
        wanted = sum(w * v for w, v in zip(weights[b, k], one, strict=True))
        assert torch.allclose(found[b, k], wanted, atol=1e-5)
        assert weights[b, k].sum().item() == pytest.approx(float(touched.any()))
