"""Towers, pooling and the logit scale together."""

import math

import numpy as np
import pytest
import torch
from toy import toy_features, toy_units

from medclip_nb.config import MAX_LOGIT_SCALE, RECIPES
from medclip_nb.learn.losses import recipe_loss
from medclip_nb.learn.pretrain import Plan, _optimizer
from medclip_nb.model.dual_encoder import DualEncoder, ModelConfig, build_model
from medclip_nb.model.pooling import mean_max, mean_slices

PLAN = Plan(epochs=1, batch_size=8, learning_rate=1e-3, precision="no", seed=0)


@pytest.fixture
def model() -> DualEncoder:
    return build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0)


@pytest.fixture
def batch():
    return torch.from_numpy(toy_units(8, splits=("train",)).images), toy_features(8)


def test_embeddings_of_images_and_texts_have_length_1(model, batch):
    for emb in (model.encode_images(batch[0]), model.encode_texts(batch[1])):
        assert torch.allclose(emb.norm(dim=1), torch.ones(8), atol=1e-6)


def test_logits_are_the_scaled_cosine_plus_bias(model, batch):
    model.eval()
    images, texts, logits = model.encode_images(batch[0]), model.encode_texts(batch[1]), model(*batch)
    for i, j in np.ndindex(8, 8):
        assert logits[i, j].item() == pytest.approx((images[i] @ texts[j]).item() / 0.07, abs=1e-4)


def test_the_scale_is_exponentiated_and_starts_where_the_recipe_says(model):
    assert model.log_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert model.logit_scale.item() == pytest.approx(1 / 0.07)


def test_the_scale_is_clamped(model):
    with torch.no_grad():
        model.log_scale.fill_(50.0)
    assert model.logit_scale.item() == MAX_LOGIT_SCALE


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_scale_is_in_the_optimiser_without_decay_and_gets_a_gradient(batch, recipe):
    model = build_model(RECIPES[recipe], image_tower="slice_cnn", channels=1, seed=0)
    optimizer, _ = _optimizer(model, PLAN, n_steps=4)
    (group,) = [g for g in optimizer.param_groups if any(p is model.log_scale for p in g["params"])]
    recipe_loss(RECIPES[recipe], model(*batch), torch.arange(8)).backward()
    assert group["weight_decay"] == 0
    assert model.log_scale.grad.abs() > 0
    assert model.bias.requires_grad == (recipe == "siglip")


def test_every_trained_weight_is_in_the_optimiser_once(model):
    optimizer, _ = _optimizer(model, PLAN, n_steps=4)
    held = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_the_bias_of_the_sigmoid_recipe_is_added(batch):
    model = build_model(RECIPES["siglip"], image_tower="slice_cnn", channels=1, seed=0).eval()
    sim = model.encode_images(batch[0]) @ model.encode_texts(batch[1]).T
    assert torch.allclose(model(*batch), 10 * sim - 10, atol=1e-4)


def test_the_same_seed_gives_the_same_weights():
    one, two, other = (build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=s) for s in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.text_head.weight, other.text_head.weight)


def test_an_embedding_does_not_depend_on_the_rest_of_the_batch(model, batch):
    model.eval()
    assert torch.allclose(model.encode_images(batch[0])[2:4], model.encode_images(batch[0][2:4]), atol=1e-6)


def test_the_mean_text_is_taken_away_before_the_head(model):
    features = toy_features(5)
    model.centre_texts(features)
    shifted = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    wanted = torch.nn.functional.normalize(model.text_head(shifted), dim=1)
    assert torch.allclose(model.encode_texts(features), wanted, atol=1e-6)


def test_padding_slices_do_not_count(model):
    images = torch.randint(0, 255, (2, 1, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    model.eval()
    masked = model.encode_images(images, mask)
    assert torch.allclose(masked[:1], model.encode_images(images[:1, :, :2]), atol=1e-5)
    assert torch.allclose(masked[1:], model.encode_images(images[1:]), atol=1e-5)


def test_pooling_by_mean_and_maximum_is_read_by_eye():
    features = torch.tensor([[[[1.0, 2], [3, 6]], [[0.0, 0], [0, 4]]]])
    assert mean_max(features).tolist() == [[3, 1, 6, 4]]


def test_the_mean_over_slices_agrees_with_a_loop_and_survives_an_empty_mask():
    slices, mask = torch.arange(24.0).reshape(2, 4, 3), torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]]).bool()
    assert mean_slices(slices, mask).tolist() == [
        [(a + b) / 2 for a, b in zip(slices[0, 0], slices[0, 2], strict=True)],
        [0, 0, 0],
    ]
    assert torch.equal(mean_slices(slices), slices.mean(1))


def test_the_configuration_alone_rebuilds_the_model(model):
    again = DualEncoder(ModelConfig(**model.to_dict()), pretrained=False)
    again.load_state_dict(model.state_dict())
    assert again.to_dict() == model.to_dict()
