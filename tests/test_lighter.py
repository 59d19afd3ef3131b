"""Options that make a step lighter: the same loss and gradients, the same names; and what a step will need, foretold."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_processes import organ_model, organ_pairs
from toy import toy_pairs, toy_volumes

from medclip_nb.config import RECIPES
from medclip_nb.learn.lighter import lighter, stages, towers
from medclip_nb.learn.memory import SPARE, TRIED, Need, fitted, kept_bytes, need_of, refuse_unless_it_fits
from medclip_nb.learn.plan import Plan, accelerator_of
from medclip_nb.learn.prefetch import made
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.learn.processes import ALONE, Team
from medclip_nb.learn.step import backward
from medclip_nb.model.adapter import build_adapter
from medclip_nb.model.dual_encoder import build_model
from medclip_nb.model.encoders import EfficientNetLite0

CLIP = RECIPES["clip"]
PLAN = Plan(2, 8, 1e-3, "no", 0)
TWO = Team(0, 2)
TIMES = ["data_s", "step_s", "seconds", "units_s", "data_share"]


def fresh():
    return build_model(CLIP, image_tower="slice_cnn", channels=1, seed=0)


def step(model, **options) -> tuple[float, dict, int]:
    """Loss, then gradients and running statistics, then bytes that the forward pass of the tower keeps."""
    pairs, sizes = toy_pairs(), []
    batch = pairs.batch(pairs.train)
    kept = torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t)
    with lighter(model.train(), **options), kept:
        model.encode_images(*batch.images)
    model.load_state_dict(fresh().state_dict())
    with lighter(model, **options):
        loss = backward(model, batch, CLIP, accelerator_of(PLAN), micro_batch=options.get("micro_batch", 0))
    found = {k: p.grad for k, p in model.named_parameters() if p.grad is not None} | dict(model.named_buffers())
    return loss, found, sum(sizes)


def test_activations_computed_twice_give_the_same_step_and_the_same_running_statistics_and_keep_less():
    (loss, plain, much), (again, found, little) = step(fresh()), step(fresh(), checkpointing=True)
    assert loss == again
    assert plain.keys() == found.keys()
    assert all(torch.allclose(found[k], v, rtol=1e-5, atol=1e-6) for k, v in plain.items())
    assert little < 0.7 * much


@pytest.mark.parametrize("name", ["slice_cnn", "efficientnet_lite0", "patch_cnn", "densenet121", "vit"])
def test_every_tower_has_stages_and_is_as_before_afterwards(name, monkeypatch):
    monkeypatch.setattr("medclip_nb.model.encoders._lite0", lambda pretrained: EfficientNetLite0())
    model = build_model(CLIP, image_tower=name, channels=1, seed=0).train()
    names, x = list(model.state_dict()), torch.randn(2, 1, 64, 64)
    with lighter(model, checkpointing=True):
        assert len(stages(model.tower)) >= 2
        model.tower(x).sum().backward()
        assert list(model.state_dict()) == names
    assert all("forward" not in vars(module) for module in model.modules())


def test_a_whole_training_with_checkpointing_is_the_same_training():
    histories = []
    for on in (False, True):
        histories.append(pretrain(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, checkpointing=on)).drop(columns=TIMES))
    assert histories[0].to_numpy() == pytest.approx(histories[1].to_numpy(), rel=1e-4)


COMPILED = """
import torch
from test_lighter import fresh, step
torch.set_num_threads(1)
model = fresh()
names, (loss, plain, _), (again, found, _) = list(model.state_dict()), step(fresh()), step(model, compile=True)
assert abs(again - loss) < 1e-5 * loss
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
one, other = (torch.cat([t.flatten().double() for t in of.values()]) for of in (plain, found))
assert torch.linalg.norm(one - other) < 1e-4 * torch.linalg.norm(one)
assert list(model.state_dict()) == names and model.tower._compiled_call_impl is None
"""


@pytest.mark.skipif(shutil.which("g++") is None or os.environ.get("MEDCLIP_NB_LONG") != "1", reason="minutes; MEDCLIP_NB_LONG=1")
def test_a_compiled_tower_gives_the_same_step_and_its_names_stay():
    """In a process of its own: what checks shapes in tests cannot be compiled."""
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_tower_is_compiled_inside_and_is_as_before_afterwards(monkeypatch):
    model, compiled = fresh(), []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    with lighter(model, compile=True):
        assert compiled == [model.tower]
    assert model.tower._compiled_call_impl is None
    assert list(model.state_dict()) == list(fresh().state_dict())


def test_a_model_without_an_image_tower_has_nothing_to_make_lighter():
    assert towers(build_adapter("mean", fresh(), seed=0)) == []
    assert len(towers(build_adapter("mean", fresh(), seed=0, end_to_end=True))) == 1


def test_fp16_is_refused_where_there_is_no_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match='precision "fp16" needs a GPU'):
        pretrain(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, precision="fp16"))


@pytest.mark.parametrize("micro_batch", [0, 3])
def test_a_scaled_loss_gives_a_gradient_scaled_once(micro_batch):
    pairs, accelerator, gradients = toy_volumes(48), accelerator_of(PLAN), []
    for scale in (1.0, 8.0):
        model = build_adapter("self_attention", fresh(), seed=1).eval()
        accelerator.backward = lambda loss, scale=scale: (scale * loss).backward()
        backward(model, pairs.batch(pairs.train[:8]), CLIP, accelerator, micro_batch=micro_batch)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(gradients[1], 8 * gradients[0], rtol=1e-4, atol=1e-6)


# what a step will need


def test_what_a_step_keeps_is_foretold_from_two_tiny_batches():
    model, pairs = fresh(), toy_pairs()
    need = need_of(model, pairs, recipe=CLIP, plan=replace(PLAN, batch_size=16))
    weights = sum(p.nbytes for p in model.parameters())
    assert need.total - 5 * weights == pytest.approx(kept_bytes(model, pairs, CLIP, 16), rel=0.05)
    assert kept_bytes(model, pairs, CLIP, TRIED[1]) > kept_bytes(model, pairs, CLIP, TRIED[0]) > 0


def test_foretelling_leaves_the_model_alone():
    model = fresh()
    need_of(model, toy_pairs(), recipe=CLIP, plan=PLAN)
    assert all(torch.equal(v, fresh().state_dict()[k]) for k, v in model.state_dict().items())


def test_a_step_that_does_not_fit_is_refused_with_the_micro_batch_that_does():
    need = Need(fixed=100.0, per_row=10.0, batch_size=64, micro_batch=0)
    refuse_unless_it_fits(need, 1000.0)
    with pytest.raises(ValueError, match="set micro_batch=35"):
        refuse_unless_it_fits(need, 500.0)
    refuse_unless_it_fits(replace(need, micro_batch=35), 500.0)
    with pytest.raises(ValueError, match="a smaller model"):
        refuse_unless_it_fits(need, 50.0)


@pytest.fixture
def gpu(monkeypatch):
    """As if there were a GPU with so much free memory."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return lambda n: monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (n, n))


def bytes_for(rows: float, **change) -> float:
    """Free memory that so many rows of the toy pairs fit in."""
    need = need_of(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, batch_size=16, **change))
    return (need.fixed + (rows + 0.5) * need.per_row) / SPARE


@pytest.mark.parametrize(
    ("rows", "wanted", "words"), [(20, 0, "all images at once"), (11, 8, "8 images at a time"), (1, 1, "1 images")]
)
def test_a_micro_batch_is_chosen_that_fits_the_gpu_and_what_is_expected_is_told(gpu, rows, wanted, words):
    gpu(bytes_for(rows))
    plan, told = fitted(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, batch_size=16))
    assert plan == replace(PLAN, batch_size=16, micro_batch=wanted)
    assert f"a step of 16 units, {words}" in told
    assert "GiB a unit" in told


def test_what_does_not_fit_at_all_and_a_micro_batch_that_was_asked_for_are_refused(gpu):
    gpu(bytes_for(-1))
    with pytest.raises(ValueError, match="use a smaller model"):
        fitted(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, batch_size=16))
    gpu(bytes_for(5))
    with pytest.raises(ValueError, match="set micro_batch=5 in the plan"):
        fitted(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, batch_size=16, micro_batch=12))
    plan, _ = fitted(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, batch_size=16, micro_batch=12, checkpointing=True))
    assert plan.micro_batch == 12


def test_several_processes_need_less_each(gpu, monkeypatch):
    monkeypatch.setattr("medclip_nb.learn.memory.least", lambda team, number: number)
    gpu(bytes_for(9))
    plans = [fitted(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, batch_size=16), team=t)[0] for t in (ALONE, TWO)]
    assert [plan.micro_batch for plan in plans] == [8, 0]
    assert [plan.batch_size for plan in plans] == [16, 16]


def test_without_a_gpu_nothing_is_changed_measured_or_told(monkeypatch):
    monkeypatch.setattr("medclip_nb.learn.memory.need_of", None)
    assert fitted(fresh(), toy_pairs(), recipe=CLIP, plan=PLAN) == (PLAN, "")


def test_a_micro_batch_counts_images_of_which_a_study_has_several():
    need = Need(fixed=100.0, per_row=90.0, batch_size=16, micro_batch=0, images_per_row=9.0)
    assert need.total == 100 + 16 * 90
    assert need.largest_micro_batch(100 + 5.5 * 90) == 49
    assert replace(need, micro_batch=45).total == 100 + 5 * 90
    pairs = organ_pairs("crops")
    found = need_of(organ_model("crops"), pairs, recipe=pairs.recipe, plan=replace(PLAN, batch_size=3)).images_per_row
    rows = pairs.train[:4]
    assert found == (pairs.units.unit[rows] >= 0).sum() / len(rows)


def test_in_bf16_less_is_kept():
    pairs = toy_pairs()
    assert kept_bytes(fresh(), pairs, CLIP, 8, bf16=True) < 0.8 * kept_bytes(fresh(), pairs, CLIP, 8)


def test_a_training_tells_what_it_expects_of_the_memory(monkeypatch, capsys):
    monkeypatch.setattr(
        "medclip_nb.learn.pretrain.fitted", lambda *_, plan, **__: (replace(plan, micro_batch=4), "memory: so much")
    )
    few, asked = (pretrain(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, micro_batch=n)) for n in (0, 4))
    assert capsys.readouterr().out == "memory: so much\n" * 2
    assert few.drop(columns=TIMES).equals(asked.drop(columns=TIMES))


# reading ahead


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_batches_come_in_order_whether_they_are_read_ahead_or_not(ahead, n):
    drawn = iter(range(n))
    assert list(made(lambda job: (job, next(drawn)), list(range(n)), ahead=ahead)) == [(i, i) for i in range(n)]


def test_an_error_of_the_reader_comes_when_its_batch_is_asked_for():
    def make(job: int) -> int:
        if job == 2:
            raise KeyboardInterrupt
        return job

    coming = made(make, [0, 1, 2, 3], ahead=True)
    assert [next(coming), next(coming)] == [0, 1]
    with pytest.raises(KeyboardInterrupt):
        next(coming)


def test_what_reads_ahead_takes_one_core_and_leaves_the_model_the_others():
    before = torch.get_num_threads()
    assert list(made(lambda job: torch.get_num_threads(), [0, 1], ahead=True)) == [1, 1]
    assert torch.get_num_threads() == before


def test_reading_ahead_changes_no_figure(monkeypatch):
    histories = []
    for limit in (-1.0, 2.0):
        monkeypatch.setattr("medclip_nb.learn.pretrain.HIDDEN", limit)
        histories.append(pretrain(fresh(), toy_pairs(), recipe=CLIP, plan=replace(PLAN, epochs=3)).drop(columns=TIMES))
    assert histories[0].equals(histories[1])
