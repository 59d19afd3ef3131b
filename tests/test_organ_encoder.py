"""CT-GLIP's image side: what it takes in both forms, what it learns from, and that it comes back from its folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_organ_units import NAMES, toy_units
from toy import toy_features

from medclip_nb.config import RECIPES
from medclip_nb.data.preprocessing import mr_contract
from medclip_nb.learn.checkpoint import from_pretrained, save_model
from medclip_nb.model.encoders import image_tower
from medclip_nb.model.organ_encoder import FORMS, OrganConfig, OrganEncoder, build_organ_encoder
from medclip_nb.model.organ_pooling import ORGAN_POOLINGS

CONTRACT = mr_contract((4, 8, 8))
UNITS, ROWS = toy_units(unused=((0, "spleen"), (4, "liver"))), np.array([0, 4, 5])
KINDS = [(form, pooling) for form in FORMS for pooling in ORGAN_POOLINGS]


def encoder(form: str = "crops", pooling: str = "mean_max", **config) -> OrganEncoder:
    torch.manual_seed(0)
    return OrganEncoder(OrganConfig(NAMES, form, pooling, **{"channels": 1, "embed_dim": 8} | config)).eval()


def volumes(size: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two noisy volumes in which each organ is a quarter of the columns."""
    noise = torch.randint(0, 256, (2, 1, *size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels = (torch.arange(size[2]) * len(NAMES) // size[2] + 1).to(torch.uint8).expand(2, *size)
    return noise, labels, torch.tensor([[True] * 4, [True, False, True, False]])


@pytest.mark.parametrize(("form", "pooling"), KINDS)
def test_each_usable_organ_becomes_a_vector_of_length_1(form, pooling):
    found = encoder(form, pooling).encode_images(*UNITS.images(ROWS, form=form))
    assert found.shape == (UNITS.organs.used[ROWS].sum(), 8)
    assert torch.allclose(found.norm(dim=1), torch.ones(len(found)), atol=1e-5)
    assert len({tuple(row) for row in found.tolist()}) == len(found)


@pytest.mark.parametrize("pooling", ORGAN_POOLINGS)
def test_crops_of_two_sizes_are_embedded_as_each_size_alone(pooling):
    model, images = encoder(pooling=pooling), UNITS.images(ROWS)
    assert images[0].shape[2:] != images[3].shape[2:]
    both = model.encode_images(*images)
    alone = torch.cat([model.encode_images(*images[:3]), model.encode_images(*images[3:])])
    assert torch.allclose(both, alone, atol=1e-6)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_batch_without_any_crop_of_one_size_has_those_of_the_other(missing):
    model, images = encoder(), list(UNITS.images(ROWS))
    images[3 * missing : 3 * missing + 3] = [t[:0] for t in images[3 * missing : 3 * missing + 3]]
    kept = UNITS.images(ROWS)[3 - 3 * missing : 6 - 3 * missing]
    assert torch.equal(model.encode_images(*images), model.encode_images(*kept))


@pytest.mark.parametrize("form", FORMS)
def test_studies_without_any_usable_organ_have_no_vector(form):
    nothing = toy_units(unused=tuple((3, name) for name in NAMES))
    assert encoder(form).encode_images(*nothing.images(np.array([3]), form=form)).shape == (0, 8)


@pytest.mark.parametrize("place", [0, 1])
def test_a_crop_depends_on_its_pixels_and_on_its_mask(place):
    model, images = encoder(), [t.clone() for t in UNITS.images(ROWS)]
    before = model.encode_images(*images)
    images[place][0] = 255 - images[place][0]
    moved = (model.encode_images(*images) - before).norm(dim=1)
    assert moved[0] > 1e-3
    assert (moved[1:] < 1e-6).all()


def test_in_the_form_of_maps_an_organ_depends_on_its_own_mask():
    model, (noise, labels, wanted) = encoder("map"), volumes((4, 8, 8))
    swapped = labels.clone()
    swapped[labels == 1], swapped[labels == 2] = 2, 1
    one, other = (model.encode_images(noise, m, wanted) for m in (labels, swapped))
    assert torch.allclose(one[2:4], other[2:4], atol=1e-6)
    assert (one[:2] - other[:2]).norm(dim=1).min() > 1e-3


def test_what_is_not_wanted_of_a_map_is_left_out():
    model, (noise, labels, wanted) = encoder("map"), volumes((4, 8, 8))
    everything = model.encode_images(noise, labels, torch.ones_like(wanted))
    assert torch.allclose(model.encode_images(noise, labels, wanted), everything[wanted.flatten()], atol=1e-6)


@pytest.mark.parametrize("pooling", ORGAN_POOLINGS)
def test_a_cell_is_embedded_as_if_it_were_the_whole_organ(pooling):
    model, (crops, masks, organ) = encoder(pooling=pooling), UNITS.images(ROWS)[:3]
    with torch.inference_mode():
        found, (features, _, number) = model.encode_cells(crops, masks, organ), model.features(crops, masks, organ)
        assert found.shape == (len(crops), *features.shape[2:], 8)
        for place in [(0, 0, 0), (2, 1, 0), (1, 0, 1)]:
            alone = torch.zeros(len(crops), 1, *features.shape[2:])
            alone[(slice(None), 0, *place)] = 1
            wanted = model.embed(model.pool(features, alone, number)[:, 0])
            assert torch.allclose(found[(slice(None), *place)], wanted, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_weights(form):
    shape = {"channels": 1, "form": form, "organ_pooling": "query"}
    one, two, other = (build_organ_encoder(RECIPES["ct_glip"], NAMES, seed=seed, **shape).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["tower.stem.0.weight"], other["tower.stem.0.weight"])


def test_a_fresh_model_starts_from_the_scale_and_bias_of_its_recipe():
    recipe = replace(RECIPES["ct_glip"], scale=7.0, bias=-2.0)
    model = build_organ_encoder(recipe, NAMES, channels=3, seed=0)
    assert model.logit_scale.item() == pytest.approx(7.0, rel=1e-5)
    assert model.bias.item() == -2.0
    assert model.config.organs == NAMES


@pytest.mark.parametrize(("form", "pooling"), KINDS)
def test_every_weight_of_the_image_side_gets_a_gradient(form, pooling):
    model = encoder(form, pooling).train()
    model.encode_images(*UNITS.images(ROWS, form=form))[:, 0].sum().backward()
    parts = {name: p.grad for name, p in model.named_parameters() if name.startswith(("tower", "pool", "head"))}
    unmoved = [name for name, grad in parts.items() if grad is None or not torch.isfinite(grad).all() or not grad.any()]
    assert [name for name in unmoved if name != "pool.key.bias"] == []  # which a softmax does not see


def test_masks_are_a_channel_of_crops_and_none_of_maps():
    shapes = [encoder(form, channels=3).tower.stem[0].weight.shape[1] for form in FORMS]
    assert shapes == [4, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "slices"}, "unknown form 'slices' of organ units; choose one of: crops, map"),
        ({"organ_pooling": "median"}, "unknown organ pooling 'median'; choose one of: mean, mean_max, query"),
        ({"image_tower": "slice_cnn"}, "'slice_cnn' has no form with dims=3; for volumes"),
    ],
)
def test_what_there_is_not_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        OrganEncoder(OrganConfig(NAMES, **change))


@pytest.mark.parametrize(("form", "pooling"), [("crops", "mean_max"), ("map", "query")])
def test_a_model_that_comes_back_gives_identical_embeddings(tmp_path, form, pooling):
    model, images, seen = encoder(form, pooling), UNITS.images(ROWS, form=form), np.zeros((1, 4, 4, 4))
    model.centre_texts(toy_features(4))
    folder = save_model(model, tmp_path / "model", contract=CONTRACT, seen=seen, card="")
    again, contract, _ = from_pretrained(folder)
    assert type(again) is OrganEncoder
    assert (again.config, contract, again.training) == (model.config, CONTRACT, False)
    assert torch.equal(again.encode_images(*images), model.encode_images(*images))
    assert torch.equal(again(images, toy_features(4)), model(images, toy_features(4)))


# towers for volumes


def test_the_small_tower_halves_rows_and_columns_and_no_slice():
    tower = image_tower("volume_cnn", channels=2, dims=3)
    assert tower(torch.zeros(2, 2, 5, 8, 12)).shape == (2, tower.dim, 5, 4, 6)
    assert (tower.dims, sum(p.numel() for p in tower.parameters()) < 100_000) == (3, True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_lit_voxel_moves_the_cells_around_it_and_no_other(axis):
    tower, dark = image_tower("volume_cnn", channels=1, dims=3).eval(), torch.zeros(1, 1, 12, 24, 24)
    lit, place = dark.clone(), [6, 12, 12]
    lit[0, 0, 6, 12, 12] = 1
    with torch.inference_mode():
        moved = torch.nonzero((tower(lit) - tower(dark))[0].abs().amax(0) > 1e-6)[:, axis]
    cell = place[axis] // (1 if axis == 0 else 2)
    assert cell in moved
    assert (moved - cell).abs().max() <= 2  # two blocks of kernel 3


def test_the_small_tower_has_no_form_for_slices():
    with pytest.raises(ValueError, match="volume_cnn"):
        image_tower("volume_cnn", channels=1, dims=2)


def test_residual_blocks_for_slices_still_take_slices():
    assert image_tower("slice_cnn", channels=1)(torch.zeros(2, 1, 16, 16)).shape[2:] == (4, 4)


@pytest.mark.parametrize("tower", ["resnet10", "vit"])
def test_monais_towers_give_maps_to_pool(tower):
    model, images = encoder("map", image_tower=tower), volumes((16, 32, 64))
    with torch.inference_mode():
        found, (features, share, _) = model.encode_images(*images), model.features(*images)
    assert found.shape == (6, 8)
    assert torch.allclose(found.norm(dim=1), torch.ones(6), atol=1e-5)
    assert share.shape[2:] == features.shape[2:]
    assert torch.allclose(share.sum(1), torch.ones(2, *features.shape[2:]), atol=1e-5)
