"""Freezing and LoRA: what moves, what does not, and that merging leaves no trace."""

import copy

import pytest
import torch
from tiny import save_bert, save_clip, save_vision
from torch import nn

from medclip_nb.model.encoders import image_tower
from medclip_nb.model.finetune import LORA_ALPHA, add_lora, freeze, merge_lora, n_trainable
from medclip_nb.model.text_tower import TextTower

RANK = 3
KINDS = ("slice_cnn", "efficientnet_lite0", "volume", "ViT", "ConvNext", "CLIP", "text")


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    """A tower and an input for it."""
    folder, kind = tmp_path_factory.mktemp(request.param), request.param
    torch.manual_seed(0)
    if kind == "text":
        tower = TextTower(save_bert(folder))
        return tower, tower.tokens(["chest ct", "a long sentence, liver"])
    if kind == "volume":
        return volume_net(), torch.randn(2, 1, 8, 8, 8)
    name = {"CLIP": save_clip, "ViT": lambda f: save_vision("ViT", f), "ConvNext": lambda f: save_vision("ConvNext", f)}
    return image_tower(name[kind](folder) if kind in name else kind, channels=3), torch.randn(2, 3, 32, 32)


@pytest.fixture
def tower(made):
    return copy.deepcopy(made[0])


@pytest.fixture
def x(made):
    return made[1]


def volume_net() -> nn.Module:
    """3D convolutions, one of them pointwise and one grouped."""
    net = nn.Sequential(nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 4, 3, groups=4), nn.Conv3d(4, 6, 1))
    net.dim, net.dims = 6, 3
    return net


def stir(tower: nn.Module) -> nn.Module:
    """As if trained: every weight that is trained gets another value."""
    with torch.no_grad():
        for p in (p for p in tower.parameters() if p.requires_grad):
            p.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    return tower


def test_a_frozen_tower_gives_in_train_mode_what_it_gives_in_eval_mode(tower, x):
    before = tower.eval()(x)
    freeze(tower).train()
    tower(x + 1 if x.is_floating_point() else x)
    assert torch.equal(tower(x), before)
    assert torch.equal(tower.eval()(x), before)
    assert n_trainable(tower)[0] == 0


def test_the_batch_norm_of_a_tower_that_is_not_frozen_does_learn():
    tower, x = image_tower("slice_cnn", channels=1).eval(), torch.randn(4, 1, 16, 16)
    before = tower(x)
    tower.train()(x)
    assert not torch.allclose(tower.eval()(x), before)


def test_a_frozen_part_stays_frozen_when_the_whole_is_trained():
    net = nn.Sequential(freeze(nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4))), nn.Dropout(0.5))
    net.train()(torch.randn(8, 4) + 3)
    assert net[0][1].running_mean.tolist() == [0] * 4
    assert net[1].training


def test_at_the_start_lora_changes_nothing_at_all(tower, x):
    before, about = tower.eval()(x), (tower.dim, getattr(tower, "dims", None))
    assert add_lora(tower, rank=RANK) is tower
    assert torch.equal(tower(x), before)
    assert torch.equal(tower.train()(x), before)
    assert (tower.dim, getattr(tower, "dims", None)) == about


def test_only_lora_is_trained_and_all_of_it(tower, x):
    before = {k: v.clone() for k, v in tower.state_dict().items()}
    stir(add_lora(tower, rank=RANK)).train()
    optimizer = torch.optim.SGD([p for p in tower.parameters() if p.requires_grad], lr=0.1)
    tower(x)[:, 0].sum().backward()
    assert {k for k, p in tower.named_parameters() if p.grad is not None} == {
        k for k, _ in tower.named_parameters() if "lora_" in k
    }
    assert all(p.grad.isfinite().all() for p in tower.parameters() if p.requires_grad)
    optimizer.step()
    after = {k.replace("base_layer.", ""): v for k, v in tower.state_dict().items() if "lora_" not in k}
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_a_merged_tower_gives_the_same_and_looks_as_if_nothing_had_been(tower, x):
    x = x.double() if x.is_floating_point() else x  # rounding grows through many layers: in double it shows no more
    names, plain = list(tower.state_dict()), tower.double().eval()(x)
    adapted = stir(add_lora(tower, rank=RANK))
    expected = adapted(x)
    merged = merge_lora(copy.deepcopy(adapted))
    assert (expected - plain).abs().max() > 1e-3
    assert torch.allclose(merged(x), expected, atol=1e-6)
    assert list(merged.state_dict()) == names
    assert not any(hasattr(part, "peft_config") or "peft" in type(part).__module__ for part in merged.modules())
    assert torch.equal(adapted(x), expected)


def test_the_weights_of_a_merged_tower_load_into_a_fresh_one(x, made, tower):
    merged = merge_lora(stir(add_lora(tower, rank=RANK)))
    fresh = copy.deepcopy(made[0])
    fresh.load_state_dict(merged.state_dict())
    assert torch.equal(fresh.eval()(x), merged.eval()(x))


def test_a_merged_tower_can_be_adapted_again(tower, x):
    merged = merge_lora(stir(add_lora(tower, rank=RANK)))
    expected = merged(x)
    assert torch.equal(add_lora(merged, rank=1)(x), expected)


def test_merging_a_tower_without_lora_leaves_it_as_it_is(tower, x):
    expected = tower.eval()(x)
    assert torch.equal(merge_lora(tower)(x), expected)


@pytest.mark.parametrize(("rank", "alpha"), [(1, 1.0), (2, 1.0), (4, LORA_ALPHA)])
def test_the_update_of_a_linear_layer_is_alpha_over_rank_times_b_a_x(rank, alpha):
    net, x = nn.Sequential(nn.Linear(5, 7)), torch.randn(3, 5)
    before = net(x)
    layer = stir(add_lora(net, rank=rank, alpha=alpha))[0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert torch.allclose(net(x) - before, alpha / rank * x @ a.T @ b.T, atol=1e-5)


def test_in_a_transformer_the_projections_of_attention_are_adapted(tmp_path):
    tower = add_lora(image_tower(save_vision("ViT", tmp_path), channels=3), rank=RANK)
    assert n_trainable(tower)[0] == 2 * 3 * RANK * (32 + 32)  # layers; query, key, value; A and B


def test_in_a_convolutional_tower_ungrouped_convolutions_are_adapted():
    net = volume_net()
    n_all = n_trainable(net)[1]
    added = RANK * (1 * 27 + 4) + RANK * (4 + 6)  # A and B of the first and of the last
    assert n_trainable(add_lora(net, rank=RANK)) == (added, n_all + added)


def test_targets_choose_the_layers(tmp_path):
    tower = add_lora(TextTower(save_bert(tmp_path)), rank=1, targets=["query", "value"])
    assert {k.split(".lora_")[0].split(".")[-1] for k, p in tower.named_parameters() if p.requires_grad} == {"query", "value"}


def test_weights_that_get_gradients_are_counted():
    net = nn.Sequential(nn.Linear(3, 2), freeze(nn.Linear(2, 5)))
    assert n_trainable(net) == (8, 23)


def test_a_target_that_is_not_there_lists_what_is():
    with pytest.raises(ValueError, match="no layer is called query; there are: 0, conv"):
        add_lora(image_tower("slice_cnn", channels=1), rank=1, targets=["query"])


def test_a_tower_without_any_layer_to_adapt_is_refused():
    with pytest.raises(ValueError, match="no linear layer and no ungrouped convolution"):
        add_lora(nn.Sequential(nn.BatchNorm1d(3)), rank=1)


def test_a_rank_below_one_and_a_second_lora_are_refused():
    net = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="rank of LoRA must be at least 1, got 0"):
        add_lora(net, rank=0)
    assert n_trainable(net)[0] == 12
    with pytest.raises(ValueError, match="has LoRA already; merge_lora"):
        add_lora(add_lora(net, rank=1), rank=1)
