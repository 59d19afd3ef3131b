"""How a run trains: its settings, its learning rate, its optimiser."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medclip_nb.config import PRESETS, RECIPES, WARMUP_SHARE, WEIGHT_DECAY
from medclip_nb.learn.losses import recipe_loss
from medclip_nb.learn.plan import Plan, best_precision, learning_rate, optimizer_of, plan
from medclip_nb.learn.targets import identity
from medclip_nb.model.dual_encoder import build_model

PLAN = Plan(epochs=1, batch_size=8, learning_rate=1e-3, precision="no", seed=0)
PROGRESS = st.floats(0, 1)


@pytest.fixture
def model():
    return build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0)


def test_the_learning_rate_starts_at_0_peaks_after_the_warm_up_and_ends_at_0():
    assert learning_rate(0.0, 0.3) == 0
    assert learning_rate(WARMUP_SHARE, 0.3) == 0.3
    assert learning_rate(1.0, 0.3) == pytest.approx(0, abs=1e-16)
    assert learning_rate((1 + WARMUP_SHARE) / 2, 0.3) == pytest.approx(0.15)


@given(a=PROGRESS, b=PROGRESS)
def test_the_learning_rate_only_grows_before_the_peak_and_only_falls_after_it(a, b):
    first, second = learning_rate(min(a, b), 1.0), learning_rate(max(a, b), 1.0)
    assert 0 <= first <= 1
    assert first <= second or max(a, b) > WARMUP_SHARE
    assert first >= second or min(a, b) < WARMUP_SHARE


@given(progress=st.floats(WARMUP_SHARE, 1))
def test_the_learning_rate_falls_along_half_a_cosine(progress):
    angle = math.pi * (progress - WARMUP_SHARE) / (1 - WARMUP_SHARE)
    assert learning_rate(progress, 4.0) == pytest.approx(2 * (1 + math.cos(angle)), abs=1e-12)


@pytest.mark.parametrize("recipe", ["clip", "siglip"])
def test_every_trained_weight_is_in_the_optimiser_once(recipe):
    model = build_model(RECIPES[recipe], image_tower="slice_cnn", channels=1, seed=0)
    held = [id(p) for g in optimizer_of(model, PLAN).param_groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert (id(model.bias) in held) == (recipe == "siglip")


def test_a_frozen_weight_is_left_out_of_the_optimiser(model):
    model.tower.requires_grad_(False)
    held = {id(p) for g in optimizer_of(model, PLAN).param_groups for p in g["params"]}
    assert not held & {id(p) for p in model.tower.parameters()}


def test_matrices_decay_and_norms_biases_and_the_scale_do_not(model):
    decay = {id(p): g["weight_decay"] for g in optimizer_of(model, PLAN).param_groups for p in g["params"]}
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert decay[id(p)] == (WEIGHT_DECAY if p.ndim > 1 else 0), name
    assert decay[id(model.log_scale)] == 0


@pytest.mark.parametrize("recipe", ["clip", "siglip"])
def test_the_scale_gets_a_gradient(recipe):
    model = build_model(RECIPES[recipe], image_tower="slice_cnn", channels=1, seed=0)
    pixels = torch.randint(0, 255, (8, 1, 1, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    features = torch.randn(8, 384, generator=torch.Generator().manual_seed(0))
    recipe_loss(RECIPES[recipe], model((pixels,), features), *identity(torch.arange(8))).backward()
    assert model.log_scale.grad.abs() > 0


def test_a_plan_has_its_presets_numbers():
    found, preset = plan(PRESETS["gpu"], seed=3), PRESETS["gpu"]
    assert (found.epochs, found.batch_size, found.learning_rate) == (preset.epochs, preset.batch_size, preset.learning_rate)
    assert (found.seed, found.micro_batch, found.ema, found.patience) == (3, 0, 0, 0)


def test_a_pretrained_tower_gets_a_lower_rate_and_no_larger_batch():
    small, large = plan(PRESETS["gpu"], seed=3, pretrained_tower=True), plan(PRESETS["gpu"], seed=3)
    assert small.learning_rate < large.learning_rate
    assert small.batch_size <= large.batch_size
    assert small.epochs == PRESETS["gpu"].pretrained_epochs


def test_the_precision_is_the_presets_or_what_the_device_gains_from():
    assert plan(PRESETS["smoke"], seed=0).precision == "no"
    for pretrained in (False, True):
        assert plan(PRESETS["gpu"], seed=0, pretrained_tower=pretrained).precision == best_precision(pretrained) in ("no", "bf16")


@pytest.mark.parametrize(("on_cpu", "pretrained", "wanted"), [(True, False, "bf16"), (True, True, "no"), (False, False, "no")])
def test_on_a_cpu_only_the_small_tower_gains_from_bf16(monkeypatch, on_cpu, pretrained, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: on_cpu, raising=False)
    assert best_precision(pretrained) == wanted


def test_freed_memory_is_kept_where_the_c_library_can():
    keep = "from medclip_nb.learn.plan import keep_freed_memory; kept = keep_freed_memory()"
    work = "exec('for _ in range(8): x = torch.empty(2**25).fill_(1); del x')"
    count = "print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)"
    programs = [f"import resource, torch; {first}; {work}; {count}" for first in (keep, "kept = False")]
    ends = [subprocess.run([sys.executable, "-c", p], capture_output=True, text=True, check=True).stdout for p in programs]
    (kept, faults), (_, plain) = (end.split() for end in ends)
    assert kept == "False" or int(faults) < int(plain)
