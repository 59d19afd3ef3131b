"""Several processes: the same loss, gradients and training as one process. Two of them run here, on gloo."""

import copy
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_organ_units import NAMES
from test_organ_units import toy_units as organ_units
from toy import toy_features, toy_units, toy_volumes

from medclip_nb.config import RECIPES
from medclip_nb.learn import organ_pairs as organ_pairs_module
from medclip_nb.learn import pairs as pairs_module
from medclip_nb.learn.batch import CHUNK
from medclip_nb.learn.organ_pairs import OrganPairs
from medclip_nb.learn.pairs import ImagePairs
from medclip_nb.learn.plan import Plan, accelerator_of
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.learn.processes import ALONE, Team, least, share, span, sum_gradients
from medclip_nb.learn.resume import TRACE
from medclip_nb.learn.step import backward, measured_loss
from medclip_nb.model.adapter import build_adapter
from medclip_nb.model.dual_encoder import build_model
from medclip_nb.model.organ_encoder import OrganConfig, OrganEncoder

PLAN = Plan(3, 8, 3e-4, "no", 0)
TRAINED = ("clip", "selip", "ct_glip")
TIMES = ["data_s", "step_s", "seconds", "units_s", "data_share"]


def image_pairs(recipe: str) -> ImagePairs:
    """Sixteen patterns of which some share a text, with a similarity of the texts."""
    units = toy_units(16)
    units.table["text_id"] = np.arange(32) % 16 // (1 if "distinct" in RECIPES[recipe].batches else 2)
    features = toy_features(16)
    return ImagePairs(units, features, RECIPES[recipe], similarity=(features @ features.T).clamp(min=0))


def organ_pairs(form: str) -> OrganPairs:
    return OrganPairs(organ_units(unused=((0, "spleen"), (4, "liver"))), replace(RECIPES["ct_glip"], n_dictionary=2), form=form)


def organ_model(form: str) -> OrganEncoder:
    torch.manual_seed(0)
    return OrganEncoder(OrganConfig(NAMES, form, channels=1, embed_dim=8))


def image_model(recipe: str):
    return build_model(RECIPES[recipe], image_tower="slice_cnn", channels=1, seed=0)


def adapter(pooling: str):
    return build_adapter(pooling, image_model("clip"), seed=1).eval()


def setting(recipe: str, form: str = "crops"):
    """Model and pairs for a recipe."""
    if recipe == "ct_glip":
        return organ_model(form), organ_pairs(form)
    return image_model(recipe), image_pairs(recipe)


def cases() -> dict[str, tuple]:
    """Name -> model, pairs, rows, micro_batch, chunk; trained norms but where a few are embedded at a time."""
    found = {}
    for recipe in RECIPES:
        model, pairs = setting(recipe)
        found[recipe] = (model.train(), pairs, pairs.train[:8], 0, CHUNK)
        found[f"{recipe}, uneven"] = (model.train(), pairs, pairs.train[:7], 0, CHUNK)
        found[f"{recipe}, chunks"] = (model.train(), pairs, pairs.train[:7], 0, 3)
    for name, (model, pairs) in {"clip": setting("clip"), "ct_glip": setting("ct_glip")}.items():
        found[f"{name}, few"] = (copy.deepcopy(model).eval(), pairs, pairs.train[:7], 3, CHUNK)
    found["map"] = (*setting("ct_glip", "map"), np.array([0, 2, 4]), 0, CHUNK)
    for pooling in ("self_attention", "prompt"):
        pairs = toy_volumes(48)
        found[pooling] = (adapter(pooling), pairs, pairs.train[:9], 0, CHUNK)
    return found


def measured(case: tuple, accelerator) -> dict[str, torch.Tensor]:
    """Loss, gradient, running statistics and validation loss of one case, in this process and its team."""
    model, pairs, rows, micro_batch, chunk = case
    team = Team(accelerator.process_index, accelerator.num_processes)
    model, batch = copy.deepcopy(model), chunked(pairs, rows, chunk)
    recipe = getattr(pairs, "recipe", RECIPES["clip"])
    loss = backward(model, batch, recipe, accelerator, micro_batch=micro_batch, team=team)
    sum_gradients(team, model.parameters())
    gradients = {f"gradient {k}": p.grad for k, p in model.named_parameters() if p.grad is not None}
    buffers = {f"buffer {k}": b for k, b in model.named_buffers()}
    validation = torch.tensor(measured_loss(recipe, model.eval(), batch, team))
    return {"loss": torch.tensor(loss), "validation": validation} | gradients | buffers


def chunked(pairs, rows: np.ndarray, chunk: int):
    """A batch as it is made where more rows than `chunk` have no matrix."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pairs_module, organ_pairs_module):
            patch.setattr(module, "CHUNK", chunk)
        return pairs.batch(rows, np.random.default_rng(5))


def trained(recipe: str, folder: Path | None) -> dict[str, torch.Tensor]:
    """A short training: the loss of each step, the history, the weights.

    A bias in front of a norm has no gradient but rounding, which AdamW blows up to steps of full size: they are left out.
    """
    model, pairs = setting(recipe)
    for name, parameter in model.named_parameters():
        if name in ("tower.stem.0.bias", "tower.down.0.bias"):
            parameter.requires_grad_(False)
    plan = replace(PLAN, ema=0.7, patience=5, batch_size=3 if recipe == "ct_glip" else 7)
    history = pretrain(model, pairs, recipe=pairs.recipe, plan=plan, folder=folder)
    found = {f"history {k}": torch.tensor(history[k].tolist()) for k in history.columns.drop(TIMES)}
    return found | {f"weights {k}": v for k, v in model.state_dict().items()}


def work(rank: int, size: int, port: int, folder: Path):
    """One of several processes; the first writes what it found."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    accelerator = accelerator_of(PLAN)
    found = {name: measured(case, accelerator) for name, case in cases().items()}
    runs = {recipe: trained(recipe, folder / recipe) for recipe in TRAINED}
    (folder / f"{rank}.least").write_text(str(least(Team(rank, size), [7e9, 5e9 + 1][rank])))
    torch.save((found, runs), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[dict, dict, Path]:
    """What the first of two processes found."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, args=(2, port, folder), nprocs=2)
    return *torch.load(folder / "0.pt"), folder


@pytest.fixture(scope="module")
def alone() -> dict[str, dict]:
    accelerator = accelerator_of(PLAN)
    return {name: measured(case, accelerator) for name, case in cases().items()}


def assert_near(found: dict, wanted: dict, tolerance: float):
    """Each tensor by its norm, against the largest of its kind."""
    assert found.keys() == wanted.keys()
    for kind in {name.split()[0] for name in wanted}:
        size = max(torch.linalg.norm(v.double()) for name, v in wanted.items() if name.split()[0] == kind)
        off = {k: float(torch.linalg.norm((found[k] - v).double()) / size) for k, v in wanted.items() if k.split()[0] == kind}
        assert {k: v for k, v in off.items() if v > tolerance} == {}


@pytest.mark.parametrize("name", cases())
def test_two_processes_have_the_loss_the_gradient_and_the_statistics_of_one(name, together, alone):
    assert_near(together[0][name], alone[name], 1e-5)
    assert any(key.startswith("gradient") for key in alone[name])


@pytest.mark.parametrize("recipe", TRAINED)
def test_two_processes_train_to_the_same_end_as_one(recipe, together, tmp_path):
    wanted = trained(recipe, tmp_path)
    assert_near(together[1][recipe], wanted, 1e-5)
    traces = [np.loadtxt(folder / TRACE, delimiter=",") for folder in (together[2] / recipe, tmp_path)]
    np.testing.assert_allclose(*traces, rtol=1e-5)


def test_both_processes_hold_the_same_weights_at_the_end(together):
    other = torch.load(together[2] / "1.pt")[1]
    for recipe in TRAINED:
        assert all(torch.equal(v, other[recipe][k]) for k, v in together[1][recipe].items())


def test_the_least_of_a_number_is_the_same_for_all_processes(together):
    assert [float((together[2] / f"{rank}.least").read_text()) for rank in (0, 1)] == [5e9 + 1] * 2
    assert least(ALONE, 3) == 3.0


@pytest.mark.parametrize("n", [0, 1, 5, 6])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_shares_and_spans_are_all_rows_once(n, size):
    rows = torch.arange(n)
    teams = [Team(rank, size) for rank in range(size)]
    assert torch.equal(torch.cat([share(team, rows) for team in teams]), rows)
    assert torch.equal(torch.cat([rows[span(team, n)] for team in teams]), rows)
