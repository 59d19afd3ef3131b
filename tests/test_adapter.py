"""Slices become a volume: what the adapter takes over, what it gives, and that it learns."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import toy_features, toy_volumes

from medclip_nb.config import RECIPES
from medclip_nb.learn.losses import recipe_loss
from medclip_nb.learn.pairs import Batch, VolumePairs
from medclip_nb.learn.plan import Plan
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.learn.targets import identity
from medclip_nb.model.adapter import AdapterConfig, SliceAdapter, build_adapter, with_encoder
from medclip_nb.model.dual_encoder import DualEncoder, ModelConfig, build_model
from medclip_nb.model.pooling import POOLINGS, prompt_attention


@pytest.fixture
def encoder() -> DualEncoder:
    """A slice encoder whose scale, bias and mean text are no longer those it started from."""
    model = build_model(RECIPES["siglip"], image_tower="slice_cnn", channels=1, seed=0)
    model.centre_texts(toy_features(5))
    with torch.no_grad():
        model.log_scale.fill_(2.5)
        model.bias.fill_(-3.0)
    return model.eval()


@pytest.fixture
def volumes() -> tuple[torch.Tensor, ...]:
    """Slice embeddings, mask and positions of four volumes; some slices are padding."""
    pairs = toy_volumes(12)
    return tuple(v[:4] for v in pairs.volumes)


def pixels(n_slices: int = 6) -> torch.Tensor:
    shape = (4, 1, n_slices, 32, 32)
    return torch.randint(0, 255, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("end_to_end", [False, True])
def test_an_adapter_starts_from_the_encoders_text_side(encoder, pooling, end_to_end):
    adapter = build_adapter(pooling, encoder, seed=1, end_to_end=end_to_end)
    assert torch.equal(adapter.encode_texts(toy_features(5)), encoder.encode_texts(toy_features(5)))
    assert adapter.logit_scale.item() == pytest.approx(np.exp(2.5), rel=1e-6)
    assert adapter.bias.item() == -3
    assert adapter.bias.requires_grad


def test_the_same_seed_gives_the_same_adapter(encoder):
    one, two, other = (build_adapter("attention", encoder, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_an_unknown_pooling_is_named(encoder):
    with pytest.raises(ValueError, match="unknown pooling 'median'; choose one of: mean, max"):
        build_adapter("median", encoder, seed=0)


@pytest.mark.parametrize("pooling", [name for name in POOLINGS if name != "prompt"])
def test_volumes_have_length_1_and_padding_does_not_count(encoder, volumes, pooling):
    adapter = build_adapter(pooling, encoder, seed=1).eval()
    found = adapter.encode_images(*volumes)
    slices, mask, position_mm = (v.clone() for v in volumes)
    slices[~mask], position_mm[~mask] = 9.0, -1e3
    assert torch.allclose(found.norm(dim=1), torch.ones(4), atol=1e-6)
    assert torch.allclose(adapter.encode_images(slices, mask, position_mm), found, atol=1e-5)
    assert torch.allclose(adapter.encode_images(*(v[1:2] for v in volumes)), found[1:2], atol=1e-5)


def test_by_prompt_the_slices_stay_and_those_of_padding_are_zeros(encoder, volumes):
    adapter = build_adapter("prompt", encoder, seed=1).eval()
    found, mask = adapter.encode_images(*volumes), volumes[1]
    assert not mask.all()
    assert torch.allclose(found[mask].norm(dim=1), torch.ones(int(mask.sum())), atol=1e-6)
    assert (found[~mask] == 0).all()


def test_by_prompt_each_text_pools_the_slices_that_are_there(encoder, volumes):
    adapter, texts = build_adapter("prompt", encoder, seed=1).eval(), toy_features(5)
    found = adapter(volumes, texts)
    slices, text_emb = adapter.encode_images(*volumes), adapter.encode_texts(texts)
    for i, there in enumerate(volumes[1]):
        alone = slices[i : i + 1, there]
        cosine, _ = prompt_attention(alone, text_emb, torch.ones(alone.shape[:2]).bool(), tau=0.07)
        assert torch.allclose(found[i], adapter.logit_scale * cosine[0] + adapter.bias, atol=1e-4)


@pytest.mark.parametrize(("pooling", "rows"), [("mean", 1), ("attention", 1), ("attention_4", 4), ("prompt", 5)])
def test_there_is_a_row_of_weights_for_each_head_or_text(encoder, volumes, pooling, rows):
    adapter = build_adapter(pooling, encoder, seed=1).eval()
    weights = adapter.weights(*volumes, adapter.encode_texts(toy_features(5)))
    assert weights.shape == (4, rows, 6)
    assert torch.allclose(weights.sum(2), torch.ones(4, rows), atol=1e-5)
    assert (weights.transpose(1, 2)[~volumes[1]] == 0).all()


def test_the_weights_that_are_shown_are_those_that_pool(encoder, volumes):
    adapter = build_adapter("attention", encoder, seed=1).eval()
    weights = adapter.weights(*volumes)
    by_hand = adapter.head((weights @ volumes[0])[:, 0] * np.sqrt(128))
    assert torch.allclose(adapter.encode_images(*volumes), torch.nn.functional.normalize(by_hand, dim=-1), atol=1e-5)


def test_with_the_encoder_inside_pixels_give_what_its_slices_give(encoder, volumes):
    both, apart = (build_adapter("self_attention", encoder, seed=1, end_to_end=inside).eval() for inside in (True, False))
    apart.load_state_dict({k: v for k, v in both.state_dict().items() if not k.startswith("encoder.")})
    found = both.encode_images(pixels(), *volumes[1:])
    assert torch.allclose(found, apart.encode_images(encoder.encode_slices(pixels()), *volumes[1:]), atol=1e-6)


def test_the_encoder_inside_is_a_copy_that_gets_gradients_and_the_original_none(encoder, volumes):
    adapter, before = build_adapter("attention", encoder, seed=1, end_to_end=True), copy.deepcopy(encoder.state_dict())
    texts = toy_features(4)
    recipe_loss(RECIPES["siglip"], adapter((pixels(), *volumes[1:]), texts), *identity(torch.arange(4))).backward()
    torch.optim.SGD(adapter.parameters(), lr=1.0).step()
    moved = adapter.encoder.state_dict()
    assert all(p.grad is not None for p in adapter.encoder.tower.parameters())
    assert not torch.equal(moved["tower.stem.0.weight"], before["tower.stem.0.weight"])
    assert all(p.grad is None for p in encoder.parameters())
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


@pytest.mark.parametrize("pooling", ["self_attention", "prompt"])
def test_an_adapter_gets_the_encoder_it_was_trained_on_and_then_takes_pixels(encoder, volumes, pooling):
    adapter = build_adapter(pooling, encoder, seed=1).eval()
    whole, texts = with_encoder(adapter, encoder), toy_features(5)
    wanted = adapter((encoder.encode_slices(pixels()), *volumes[1:]), texts)
    assert torch.allclose(whole((pixels(), *volumes[1:]), texts), wanted, atol=1e-4)
    assert whole.config.slices == encoder.config
    assert adapter.encoder is None
    assert not whole.training


@pytest.mark.parametrize("end_to_end", [False, True])
def test_the_configuration_alone_rebuilds_the_adapter(encoder, end_to_end):
    adapter = build_adapter("attention_4", encoder, seed=1, end_to_end=end_to_end)
    about = json.loads(json.dumps(adapter.to_dict()))
    inside = ModelConfig(**about.pop("slices")) if end_to_end else about.pop("slices")
    again = SliceAdapter(AdapterConfig(**about, slices=inside))
    again.load_state_dict(adapter.state_dict())
    assert again.to_dict() == adapter.to_dict()


def trained(pooling: str, pairs: VolumePairs) -> tuple[SliceAdapter, Batch]:
    """A fresh adapter after a short training, and the test volumes."""
    adapter = build_adapter(pooling, build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0), seed=0)
    pretrain(adapter, pairs, recipe=RECIPES["clip"], plan=Plan(30, 16, 2e-3, "no", 0))
    return adapter, pairs.batch(np.flatnonzero(pairs.table["split"] == "test"))


def share_right(pooling: str, pairs: VolumePairs) -> float:
    """How often a test volume chooses its own sentence among all."""
    adapter, batch = trained(pooling, pairs)
    with torch.no_grad():
        chosen = adapter(batch.images, pairs.features).argmax(1)
    own = np.concatenate(pairs.sentences)[pairs.table["split"] == "test"]
    return (chosen.numpy() == own).mean()


@pytest.mark.parametrize("pooling", ["prompt", "attention", "self_attention"])
def test_it_learns_which_slice_the_text_is_about(pooling):
    assert share_right(pooling, toy_volumes(96, kinds=4)) > 0.7  # by chance 0.25, of 32 volumes


@pytest.mark.parametrize(("pooling", "learns"), [("self_attention", True), ("self_attention_no_position", False)])
def test_where_a_slice_lies_is_learnt_if_positions_are_encoded(pooling, learns):
    pairs = toy_volumes(192, kinds=1)
    special = np.random.default_rng(0).integers(0, 4, 192)  # where toy_volumes put it
    low_or_high = replace(pairs, sentences=[np.array([k]) for k in special // 2], features=toy_features(2))
    assert (share_right(pooling, low_or_high) > 0.8) == learns  # by chance 0.5, of 64 volumes


def test_by_prompt_the_text_looks_at_its_slice_after_training():
    pairs = toy_volumes(96, kinds=4)
    adapter, batch = trained("prompt", pairs)
    special = np.random.default_rng(0).integers(0, 4, 96)[64:]
    kind = np.concatenate(pairs.sentences)[64:]
    with torch.no_grad():
        weights = adapter.weights(*batch.images, adapter.encode_texts(pairs.features))
    assert (weights[np.arange(32), kind].argmax(1).numpy() == special).mean() > 0.75  # by chance 0.25 at most
