"""One step: the gradient of a large batch in little memory, and the moving average."""

import copy

import pytest
import torch
from toy import toy_pairs, toy_volumes

from medclip_nb.config import RECIPES
from medclip_nb.learn.losses import recipe_loss
from medclip_nb.learn.step import backward, move_average
from medclip_nb.model.adapter import build_adapter
from medclip_nb.model.dual_encoder import build_model

CLIP = RECIPES["clip"]


@pytest.fixture
def accelerator():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    return Accelerator(mixed_precision="no", cpu=True)


@pytest.fixture(scope="module")
def batch():
    pairs = toy_volumes(48)
    return pairs.batch(pairs.train[:12])


def adapter(pooling: str = "self_attention"):
    """In eval mode, so without dropout."""
    encoder = build_model(CLIP, image_tower="slice_cnn", channels=1, seed=0)
    return build_adapter(pooling, encoder, seed=1).eval()


def loss_of(model, batch, recipe=CLIP) -> torch.Tensor:
    return recipe_loss(recipe, model(batch.images, batch.features), batch.targets, batch.targets_t, batch.valid)


def gradient(model) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def assert_near(found: torch.Tensor, wanted: torch.Tensor):
    assert found.shape == wanted.shape
    assert torch.linalg.norm(found - wanted) <= 1e-5 * torch.linalg.norm(wanted)


@pytest.mark.parametrize("micro_batch", [0, 1, 5, 6, 12, 50])
@pytest.mark.parametrize("pooling", ["self_attention", "prompt"])
def test_a_few_at_a_time_give_the_gradient_of_the_whole_batch(batch, accelerator, pooling, micro_batch):
    model, plain = adapter(pooling), adapter(pooling)
    wanted = loss_of(plain, batch)
    wanted.backward()
    assert backward(model, batch, CLIP, accelerator, micro_batch=micro_batch) == pytest.approx(wanted.item(), rel=1e-6)
    assert_near(gradient(model), gradient(plain))


@pytest.mark.parametrize("recipe", ["clip_same_text", "siglip"])
def test_a_few_images_at_a_time_give_the_gradient_of_the_whole_batch(accelerator, recipe):
    pairs, model = toy_pairs(8, recipe=recipe), build_model(RECIPES[recipe], image_tower="slice_cnn", channels=1, seed=0).eval()
    plain, batch = copy.deepcopy(model), pairs.batch(pairs.train)
    loss_of(plain, batch, RECIPES[recipe]).backward()
    backward(model, batch, RECIPES[recipe], accelerator, micro_batch=3)
    assert_near(gradient(model), gradient(plain))


@pytest.mark.parametrize("micro_batch", [5, 6])
def test_dropout_falls_the_second_time_as_it_did_the_first_time(batch, accelerator, micro_batch):
    model, plain = adapter().train(), adapter().train()
    torch.manual_seed(11)
    found, after = backward(model, batch, CLIP, accelerator, micro_batch=micro_batch), torch.rand(3)
    torch.manual_seed(11)
    seed, parts = int(torch.randint(2**31, ())), []
    for i, part in enumerate(zip(*(t.split(micro_batch) for t in batch.images), strict=True)):
        torch.manual_seed(seed + i)
        parts.append(plain.encode_images(*part))
    logits = plain.logits(torch.cat(parts), plain.encode_texts(batch.features))
    wanted = recipe_loss(CLIP, logits, batch.targets, batch.targets_t)
    wanted.backward()
    assert found == pytest.approx(wanted.item(), rel=1e-6)
    assert_near(gradient(model), gradient(plain))
    assert torch.equal(after, torch.rand(3))  # and what comes after is drawn from the same state


def test_each_part_has_its_own_dropout(accelerator):
    pairs, seen, model = toy_volumes(48), [], adapter("mean").train()
    model.drop.register_forward_hook(lambda module, args, out: seen.append(out == 0))
    torch.manual_seed(0)
    backward(model, pairs.batch(pairs.train[:8]), CLIP, accelerator, micro_batch=4)
    first, second, *again = seen
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat(again), torch.cat([first, second]))


def test_the_mean_of_small_batches_losses_is_another_loss_with_another_gradient(batch, accelerator):
    model, plain, losses = adapter(), adapter(), []
    whole = backward(model, batch, CLIP, accelerator)
    pairs = toy_volumes(48)
    for rows in pairs.train[:12].reshape(3, 4):
        losses.append(loss_of(plain, pairs.batch(rows)) / 3)
        losses[-1].backward()
    assert sum(losses).item() < whole - 0.3  # a third of the negatives is an easier choice
    assert torch.linalg.norm(gradient(model) - gradient(plain)) > 0.05 * torch.linalg.norm(gradient(model))


def test_gradients_are_added_to_those_that_are_there(batch, accelerator):
    model = adapter()
    backward(model, batch, CLIP, accelerator, micro_batch=5)
    once = gradient(model).clone()
    backward(model, batch, CLIP, accelerator, micro_batch=5)
    assert_near(gradient(model), 2 * once)


@pytest.mark.parametrize("micro_batch", [0, 5])
@pytest.mark.parametrize("hostile", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_leaves_no_gradient(batch, accelerator, micro_batch, hostile):
    model, bad = adapter(), batch._replace(features=batch.features.clone())
    bad.features[0, 0] = hostile
    assert not torch.isfinite(torch.tensor(backward(model, bad, CLIP, accelerator, micro_batch=micro_batch)))
    assert [name for name, p in model.named_parameters() if p.grad is not None] == []


def test_the_average_follows_the_recursion_weights_and_statistics_alike():
    models = [build_model(CLIP, image_tower="slice_cnn", channels=1, seed=seed) for seed in range(4)]
    for k, model in enumerate(models):
        model.image_head[0].running_mean.fill_(k)
        model.image_head[0].num_batches_tracked.fill_(10 * k)
    average, wanted = models[0], {k: v.clone() for k, v in models[0].state_dict().items()}
    for model in models[1:]:
        move_average(average, model, 0.9)
        wanted = {k: 0.9 * wanted[k] + 0.1 * v for k, v in model.state_dict().items()}
    state = average.state_dict()
    assert state.pop("image_head.0.num_batches_tracked").item() == 30
    for name, tensor in state.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, wanted[name], atol=1e-6), name
    assert state["image_head.0.running_mean"][0].item() == pytest.approx(0.1 * (3 + 0.9 * 2 + 0.81 * 1))


def test_the_average_has_no_gradient_and_leaves_the_model_alone():
    average, model = (build_model(CLIP, image_tower="slice_cnn", channels=1, seed=seed) for seed in (0, 1))
    before = copy.deepcopy(model.state_dict())
    move_average(average, model, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert all(p.is_leaf and p.grad is None for p in average.parameters())
