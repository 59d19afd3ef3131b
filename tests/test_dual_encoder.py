"""Towers, pooling and the logit scale together."""

import json
import math

import numpy as np
import pytest
import torch
from toy import toy_features, toy_units

from medclip_nb.config import EMBED_DIM, MAX_LOGIT_SCALE, RECIPES
from medclip_nb.model.dual_encoder import DualEncoder, ModelConfig, build_model, scaled
from medclip_nb.model.pooling import MeanMax


@pytest.fixture
def model() -> DualEncoder:
    return build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(toy_units(8, splits=("train",)).images)


def volumes(n_slices: int = 3) -> torch.Tensor:
    """Two volumes of random pixels."""
    pixels = torch.randint(0, 255, (2, 1, n_slices, 32, 32), generator=torch.Generator().manual_seed(0))
    return pixels.to(torch.uint8)


def test_embeddings_of_images_and_texts_have_length_1(model, images):
    for emb in (model.encode_images(images), model.encode_texts(toy_features(8))):
        assert torch.allclose(emb.norm(dim=1), torch.ones(8), atol=1e-6)


def test_logits_are_the_scaled_cosine_plus_bias(model, images):
    model.eval()
    features = toy_features(8)
    found, texts, logits = model.encode_images(images), model.encode_texts(features), model((images,), features)
    for i, j in np.ndindex(8, 8):
        assert logits[i, j].item() == pytest.approx((found[i] @ texts[j]).item() / 0.07, abs=1e-4)


def test_the_bias_of_the_sigmoid_recipe_is_added(images):
    model = build_model(RECIPES["siglip"], image_tower="slice_cnn", channels=1, seed=0).eval()
    sim = model.encode_images(images) @ model.encode_texts(toy_features(8)).T
    assert torch.allclose(model((images,), toy_features(8)), 10 * sim - 10, atol=1e-4)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_bias_is_learnt_where_the_recipe_has_one(recipe):
    model = build_model(RECIPES[recipe], image_tower="slice_cnn", channels=1, seed=0)
    assert model.bias.item() == RECIPES[recipe].bias
    assert model.bias.requires_grad == (RECIPES[recipe].loss == "sigmoid")


def test_the_scale_is_exponentiated_and_starts_where_the_recipe_says(model):
    assert model.log_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert model.logit_scale.item() == pytest.approx(1 / 0.07)


def test_the_scale_is_clamped(model):
    with torch.no_grad():
        model.log_scale.fill_(50.0)
    assert model.logit_scale.item() == MAX_LOGIT_SCALE


def test_a_scale_beyond_the_limit_has_no_gradient_until_it_is_brought_back(model):
    with torch.no_grad():
        model.log_scale.fill_(50.0)
    (beyond,) = torch.autograd.grad(model.logit_scale, model.log_scale)
    model.clamp_scale()
    (back,) = torch.autograd.grad(model.logit_scale, model.log_scale)
    assert beyond == 0
    assert back.item() == pytest.approx(MAX_LOGIT_SCALE, rel=1e-5)
    assert model.logit_scale.item() == pytest.approx(MAX_LOGIT_SCALE, rel=1e-5)


def test_a_scale_below_the_limit_is_left_alone(model):
    before = model.log_scale.item()
    model.clamp_scale()
    assert model.log_scale.item() == before


def test_the_same_seed_gives_the_same_weights():
    one, two, other = (build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=s) for s in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.text_head.weight, other.text_head.weight)


def test_an_embedding_does_not_depend_on_the_rest_of_the_batch(model, images):
    model.eval()
    assert torch.allclose(model.encode_images(images)[2:4], model.encode_images(images[2:4]), atol=1e-6)


def test_the_mean_text_is_taken_away_before_the_head(model):
    features = toy_features(5)
    model.centre_texts(features)
    shifted = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    wanted = torch.nn.functional.normalize(model.text_head(shifted), dim=1)
    assert torch.allclose(model.encode_texts(features), wanted, atol=1e-6)


def test_each_slice_is_embedded_as_if_it_were_alone(model):
    model.eval()
    slices = model.encode_slices(volumes())
    assert slices.shape[:2] == (2, 3)
    for i, z in np.ndindex(2, 3):
        assert torch.allclose(slices[i, z], model.encode_images(volumes()[i : i + 1, :, z : z + 1])[0], atol=1e-5)


def test_a_volume_is_the_mean_of_its_slices_by_a_loop(model):
    model.eval()
    for found, slices in zip(model.encode_images(volumes()), model.encode_slices(volumes()), strict=True):
        mean = sum(slices) / len(slices)
        assert torch.allclose(found, mean / mean.norm(), atol=1e-6)


def test_padding_slices_do_not_count(model):
    mask = torch.tensor([[True, True, False], [True, True, True]])
    model.eval()
    masked = model.encode_images(volumes(), mask)
    assert torch.allclose(masked[:1], model.encode_images(volumes()[:1, :, :2]), atol=1e-5)
    assert torch.allclose(masked[1:], model.encode_images(volumes()[1:]), atol=1e-5)


def test_pooling_by_mean_and_maximum_is_read_by_eye():
    features = torch.tensor([[[[1.0, 2], [3, 6]], [[0.0, 0], [0, 4]]]])
    found = MeanMax(2).eval()(features)  # fresh: its running mean is 0 and its variance 1
    assert torch.allclose(found, torch.tensor([[3.0, 1, 6, 4]]), atol=1e-4)


@pytest.fixture
def volume_model() -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(ModelConfig("resnet10", 1, embed_dim=16, dims=3), pretrained=False).eval()


def test_a_volume_tower_sees_the_volume_at_once_and_gives_one_embedding(volume_model):
    pixels = volumes(16)
    slices, found = volume_model.encode_slices(pixels), volume_model.encode_images(pixels)
    assert slices.shape == (2, 1, 16)
    assert torch.allclose(slices[:, 0], found, atol=1e-6)
    assert not torch.allclose(found, volume_model.encode_images(pixels.flip(2)), atol=1e-3)


def test_a_volume_tower_has_no_slices_to_mask(volume_model):
    pixels, mask = volumes(16), torch.arange(16).expand(2, -1) < 9
    assert torch.equal(volume_model.encode_images(pixels, mask), volume_model.encode_images(pixels))


def test_the_configuration_alone_rebuilds_the_model(model):
    again = DualEncoder(ModelConfig(**json.loads(json.dumps(model.to_dict()))), pretrained=False)
    again.load_state_dict(model.state_dict())
    assert again.to_dict() == model.to_dict()


# where things are


@pytest.fixture(params=[2, 3])
def grid_model(request) -> DualEncoder:
    model = build_model(RECIPES["selip"], image_tower="patch_cnn", channels=1, seed=0, dims=request.param, map_pooling="grid")
    return model.eval()


def test_pixels_are_brought_from_minus_1_to_1_and_left_as_they_were():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 1, 3)
    assert torch.allclose(scaled(pixels), torch.tensor([-1.0, -0.6, 1]).reshape(pixels.shape))
    assert pixels.flatten().tolist() == [0, 51, 255]


def test_embedding_images_leaves_them_as_they_were(grid_model):
    pixels = volumes(8)
    before = pixels.clone()
    grid_model.encode_images(pixels)
    grid_model.features(pixels)
    assert torch.equal(pixels, before)


def test_a_model_that_keeps_what_is_where_says_so_and_embeds(grid_model):
    found = grid_model.encode_images(volumes(8))
    assert grid_model.config.map_pooling == "grid"
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-6)
    assert not torch.allclose(found, grid_model.encode_images(volumes(8).flip(4)), atol=1e-3)


def test_the_embedding_of_a_volume_is_the_projection_of_its_features():
    model = build_model(RECIPES["selip"], image_tower="patch_cnn", channels=1, seed=0, dims=3, map_pooling="grid").eval()
    projected = torch.nn.functional.normalize(model.image_head[1](model.features(volumes(8))), dim=1)
    assert torch.allclose(projected, model.encode_images(volumes(8)), atol=1e-6)


@pytest.mark.parametrize("map_pooling", ["grid", "mean_max"])
def test_features_of_slices_are_the_mean_of_each_alone(map_pooling):
    model = build_model(RECIPES["selip"], image_tower="patch_cnn", channels=1, seed=0, map_pooling=map_pooling).eval()
    alone = [model.features(volumes()[:, :, z : z + 1]) for z in range(3)]
    assert torch.allclose(model.features(volumes()), sum(alone) / 3, atol=1e-5)


def test_the_mean_and_maximum_of_a_new_model_have_the_weights_of_old_files(model):
    width = 2 * model.tower.dim
    shapes = {k.removeprefix("image_head."): tuple(v.shape) for k, v in model.state_dict().items() if k.startswith("image_head.")}
    norm = {f"0.{name}": (width,) for name in ("weight", "bias", "running_mean", "running_var")}
    assert shapes == norm | {"0.num_batches_tracked": (), "1.weight": (EMBED_DIM, width), "1.bias": (EMBED_DIM,)}


def test_the_head_is_the_norm_and_the_layer_that_old_models_had(model, images):
    old = torch.nn.Sequential(torch.nn.BatchNorm1d(2 * model.tower.dim), torch.nn.Linear(2 * model.tower.dim, EMBED_DIM))
    model.encode_images(images)  # in training: the norm's means move
    old.load_state_dict(model.image_head.state_dict())
    cells = model.eval().tower(scaled(images)[:, :, 0]).flatten(2)
    wanted = old.eval()(torch.cat([cells.mean(-1), cells.amax(-1)], 1))
    assert torch.allclose(model.encode_images(images), torch.nn.functional.normalize(wanted, dim=1), atol=1e-5)


def test_an_unknown_map_pooling_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown map pooling 'max'; choose one of: mean_max, grid"):
        build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0, map_pooling="max")
