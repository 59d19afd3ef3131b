"""Where bf16 on a CPU is wrong: found out from the model and its input, refused, and avoided where nobody asked for it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from toy import toy_features, toy_pairs

from medclip_nb.config import RECIPES
from medclip_nb.data.studies import Units
from medclip_nb.learn.pairs import ImagePairs
from medclip_nb.learn.plan import Plan
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.learn.shallow import refuse_unless_safe, safe, shallow
from medclip_nb.model.dual_encoder import build_model

CLIP, BF16 = RECIPES["clip"], Plan(1, 4, 1e-3, "bf16", 0)


def model_of(tower: str):
    return build_model(CLIP, image_tower=tower, channels=1, seed=0, dims=3)


def volumes_of(n_slices: int) -> ImagePairs:
    images = np.random.default_rng(0).integers(0, 255, (8, 1, n_slices, 32, 32), np.uint8)
    names = [f"v{i}" for i in range(8)]
    table = pd.DataFrame({"image": range(8), "text_id": range(8), "finding": "", "split": ["train", "val"] * 4})
    return ImagePairs(Units(images, names, table.assign(patient_id=names, study_id=names)), toy_features(8), CLIP)


@pytest.mark.parametrize(
    ("tower", "n_slices", "wanted"),
    [
        ("patch_cnn", 8, ["tower.blocks.0.conv", "tower.blocks.1.conv"]),  # a quarter of the slices: 2
        ("patch_cnn", 24, []),
        ("volume_cnn", 2, ["tower.blocks.0.conv", "tower.blocks.1.conv"]),
        ("volume_cnn", 8, []),
    ],
)
def test_convolutions_that_get_few_slices_are_found_and_the_model_stays_as_it_is(tower, n_slices, wanted):
    model, pairs = model_of(tower).train(), volumes_of(n_slices)
    assert shallow(model, pairs.batch(pairs.train[:2]).images) == wanted
    assert all(torch.equal(v, model_of(tower).state_dict()[k]) for k, v in model.state_dict().items())
    assert not any(module._forward_pre_hooks for name, module in model.named_modules() if "conv" in name)


def test_a_deep_tower_runs_out_of_slices_that_its_input_has():
    pairs = volumes_of(24)
    assert "tower.layer1.0.conv1" not in shallow(model_of("resnet10"), pairs.batch(pairs.train[:2]).images)
    assert "tower.layer3.0.conv2" in shallow(model_of("resnet10"), pairs.batch(pairs.train[:2]).images)


def test_bf16_over_few_slices_is_refused_before_anything_is_trained():
    model = model_of("patch_cnn")
    before = {k: v.clone() for k, v in model.state_dict().items() if "mean" not in k}
    with pytest.raises(ValueError, match=r'2 3D convolutions \(first: tower.blocks.0.conv\).* set precision="no"'):
        pretrain(model, volumes_of(8), recipe=CLIP, plan=BF16)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())
    assert len(pretrain(model, volumes_of(8), recipe=CLIP, plan=replace(BF16, precision="no"))) == 1


def test_a_plan_that_nobody_asked_bf16_of_falls_back_only_where_it_would_be_wrong():
    assert safe(BF16, model_of("patch_cnn"), volumes_of(8)) == replace(BF16, precision="no")
    assert safe(BF16, model_of("patch_cnn"), volumes_of(24)) == BF16
    flat = build_model(CLIP, image_tower="slice_cnn", channels=1, seed=0)
    assert safe(BF16, flat, toy_pairs()) == BF16


def test_full_precision_is_safe_everywhere():
    refuse_unless_safe(replace(BF16, precision="no"), model_of("patch_cnn"), volumes_of(8))


@pytest.mark.parametrize(("kernel", "n_slices"), [(3, 4), (5, 6), (7, 8)])
def test_with_more_slices_than_the_kernel_is_deep_the_gradient_is_right(kernel, n_slices):
    gradients = []
    for bf16 in (False, True, True):
        torch.manual_seed(0)
        conv, x = torch.nn.Conv3d(8, 8, kernel, padding=kernel // 2, bias=False), torch.randn(2, 8, n_slices, 8, 8)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = conv(x)
        out.float().square().mean().backward()
        gradients.append(conv.weight.grad)
    exact, one, again = gradients
    assert torch.equal(one, again)
    assert torch.linalg.norm(one - exact) < 0.02 * torch.linalg.norm(exact)
