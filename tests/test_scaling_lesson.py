"""Lesson 14: negatives, parts of a batch, memory, processes that forget a gradient, and what the papers' scale costs."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from torch.nn.functional import cross_entropy, normalize
from toy import toy_pairs

from medclip_nb.config import N_SEEDS, PRESETS, RECIPES
from medclip_nb.lesson import negatives, scaling, scaling_cost, scaling_solutions, teamwork
from medclip_nb.lesson.negatives import Studies
from medclip_nb.model.dual_encoder import build_model
from medclip_nb.show import scaling as draw


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def toy_model(seed: int = 0):
    """With batch norms that remember."""
    return build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=seed).eval()


def toy_studies(n: int = 40, width: int = 8) -> Studies:
    """Studies whose report points where their image does; every fifth has its neighbour's findings."""
    rng = np.random.default_rng(0)
    both = torch.from_numpy(rng.normal(size=(n, width)).astype(np.float32))
    names = [f"s{i}" for i in range(n)]
    findings = [f'[{{"organ": "liver", "finding": "{("cyst", "metastases")[i % 2]}"}}]' for i in range(n)]
    table = pd.DataFrame({"study_id": names, "patient_id": names, "report": names, "findings": findings})
    return Studies(both, both.flip(1), table.assign(split=np.repeat(["train", "test"], n // 2)))


def grouped_slowly(images, texts, scale, group) -> float:
    """Every group's loss on its own, added up."""
    total = 0.0
    for a, b, s in zip(images, texts, scale, strict=True):
        losses = []
        for i in range(0, len(a), group):
            logits, right = s * a[i : i + group] @ b[i : i + group].T, torch.arange(group)
            losses.append((cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2)
        total += float(torch.stack(losses).mean())
    return total


@pytest.mark.parametrize("group", [1, 2, 3, 6, 12])
def test_the_loss_in_groups_is_the_mean_of_each_groups_own(group):
    images, texts = (normalize(torch.randn(3, 12, 5, generator=torch.Generator().manual_seed(k)), dim=-1) for k in (0, 1))
    scale = torch.tensor([1.0, 5.0, 20.0])
    found = negatives.grouped_loss(images, texts, scale, group).item()
    assert found == pytest.approx(grouped_slowly(images, texts, scale, group), abs=1e-5)


def test_embeddings_that_collapsed_have_the_log_of_the_group_as_loss():
    same = torch.ones(2, 12, 4) / 2
    assert negatives.grouped_loss(same, same, torch.ones(2), 4).item() == pytest.approx(2 * np.log(4), rel=1e-6)


def test_each_seed_draws_each_study_once_an_epoch_whatever_the_batch():
    torch.manual_seed(0)
    batches = negatives._batches(torch.arange(100, 120), 16, 4)
    epoch = torch.cat([next(batches) for _ in range(4)], 1)
    assert all(len(set(row.tolist())) == 16 for row in epoch)
    assert epoch.min() >= 100
    assert not torch.equal(epoch[0], epoch[1])


def test_heads_learn_to_find_the_study_that_a_report_is_of():
    studies = toy_studies()
    run = {"batch": 16, "group": 16, "seed": 0}
    before, after = (negatives.report_hits(studies, n_seen=n, **run) for n in (16, 16 * 100))
    assert after.shape == (N_SEEDS, 20)
    assert after.mean() > before.mean() + 0.1
    np.testing.assert_array_equal(after, negatives.report_hits(studies, n_seen=16 * 100, **run))


def test_more_hits_are_a_gain_and_the_same_hits_are_none():
    studies, hits = toy_studies(), np.random.default_rng(0).random(20)
    assert negatives.gain(studies, hits, hits, "x", n_bootstrap=50).value == 0
    more = negatives.gain(studies, hits + 0.25, hits, "x", n_bootstrap=50)
    assert (more.low, more.value, more.high) == pytest.approx((0.25, 0.25, 0.25))
    assert negatives.hit_score(studies, hits, "x", n_bootstrap=50).chance == pytest.approx(0.5)


@pytest.mark.parametrize(("findings", "share"), [(np.arange(9), 0.0), (np.zeros(9, int), 1.0)])
def test_studies_of_the_same_findings_are_alike(findings, share):
    assert negatives.alike_in_batch(findings, 3, seed=0, n_batches=5) == share


def test_findings_of_studies_are_numbered_alike_where_they_are_the_same():
    numbers = toy_studies().findings
    assert numbers[0] == numbers[2] != numbers[1]


@pytest.mark.parametrize("micro", [1, 2, 4, 8])
def test_cached_parts_keep_the_gradient_and_accumulated_ones_do_not(micro):
    pairs = toy_pairs(8)
    model, rows = toy_model(), pairs.train[:8]
    whole, right = scaling.gradient_of(model, pairs, rows, micro=8, cached=False)
    loss, cached = scaling.gradient_of(model, pairs, rows, micro=micro, cached=True)
    assert loss == pytest.approx(whole, rel=1e-5)
    assert torch.linalg.norm(cached - right) <= 1e-4 * torch.linalg.norm(right)
    loss, plain = scaling.gradient_of(model, pairs, rows, micro=micro, cached=False)
    assert (torch.linalg.norm(plain - right) > 0.01 * torch.linalg.norm(right)) == (micro < 8)
    assert (loss < whole - 0.1) == (micro < 8)


def test_the_accumulated_gradient_is_that_of_the_mean_of_the_parts_losses():
    pairs, model = toy_pairs(8), toy_model()
    _, found = scaling.gradient_of(model, pairs, pairs.train[:8], micro=4, cached=False)
    model = copy.deepcopy(model)
    for rows in np.split(pairs.train[:8], 2):
        batch = pairs.batch(rows)
        logits, right = model(batch.images, batch.features), torch.arange(4)
        ((cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 4).backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_the_study_of_parts_has_a_row_for_each_and_caches_the_first_batches_only():
    pairs = toy_pairs(8)
    found = scaling.accumulation_study(toy_model(), pairs, [pairs.train[:4]] * 3, [2])
    assert found["how"].tolist() == ["accumulated", "cached", "accumulated", "cached", "accumulated"]
    assert (found["degrees"] >= 0).all()


@pytest.mark.parametrize(("other", "degrees"), [((1.0, 0.0), 0), ((1.0, 1.0), 45), ((0.0, 3.0), 90), ((-2.0, 0.0), 180)])
def test_angles_are_read_by_eye(other, degrees):
    assert scaling.degrees_between(torch.tensor([2.0, 0.0]), torch.tensor(other)) == pytest.approx(degrees, abs=1e-4)


def test_a_tower_keeps_in_proportion_to_the_batch_and_less_when_checkpointed():
    pairs, model = toy_pairs(16), toy_model()
    plain, light = (scaling.kept_by_tower(model, pairs, [4, 8, 16], checkpointing=how) for how in (False, True))
    assert np.polyfit(np.log([4, 8, 16]), np.log(plain), 1)[0] == pytest.approx(1, abs=0.05)
    assert all(a < b for a, b in zip(light, plain, strict=True))
    assert "forward" not in vars(model.tower.fine)


def test_the_matrix_of_a_loss_is_kept_by_the_pair_and_in_rows_it_is_not():
    sizes = [64, 128, 256, 512]
    _, per_pair = scaling.growth({n: scaling.kept_by_loss(n) for n in sizes})
    _, in_rows = scaling.growth({n: scaling.kept_by_loss(n, chunk=32) for n in sizes})
    assert per_pair >= 4  # bytes of one float
    assert in_rows < 0.1


@pytest.mark.parametrize("law", [(3.0, 0.0), (0.0, 2.0), (1e6, 16.0)])
def test_a_law_of_growth_is_found_again(law):
    points = {n: int(law[0] * n + law[1] * n**2) for n in (2, 10, 300, 4000)}
    assert scaling.growth(points) == pytest.approx(law, abs=1e-6 * max(law))


def test_some_units_are_of_both_splits_and_no_more_than_asked_for():
    found = scaling.some_units(toy_pairs(16).units, 5, 100, seed=0).table
    assert found["split"].value_counts().to_dict() == {"val": 16, "train": 5}


@pytest.fixture(scope="module")
def case() -> tuple:
    pairs = toy_pairs(8)
    return toy_model(), pairs.batch(pairs.train[:7]), RECIPES["clip"]


@pytest.fixture(scope="module")
def two(case) -> dict:
    return teamwork.in_processes(case)


def off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted))


def test_two_processes_are_one_if_the_gradient_comes_home(case, two):
    loss, right = teamwork.alone(case)
    assert two[teamwork.RIGHT][0] == pytest.approx(loss, rel=1e-5)
    assert off(two[teamwork.RIGHT][1], right) < 1e-4


@pytest.mark.parametrize("how", teamwork.HOWS[1:])
def test_without_it_the_loss_is_right_and_the_gradient_is_not(how, case, two):
    loss, right = teamwork.alone(case)
    assert two[how][0] == pytest.approx(loss, rel=1e-5)
    assert off(two[how][1], right) > 0.05


@pytest.mark.parametrize("how", teamwork.HOWS[1:])
def test_detached_rows_of_one_process_are_what_two_processes_see(how, case, two):
    loss, gradient = teamwork.as_if(case, 2, how)
    assert loss == pytest.approx(two[how][0], rel=1e-5)
    assert off(gradient, two[how][1]) < 1e-4


@pytest.mark.parametrize("how", teamwork.HOWS[1:])
def test_one_process_forgets_nothing(how, case):
    assert off(teamwork.as_if(case, 1, how)[1], teamwork.alone(case)[1]) < 1e-4


@pytest.mark.parametrize("size", [2, 4])
def test_of_the_whole_matrix_the_towers_keep_one_share_of_their_gradient(size, case):
    """Each row's gradient comes from one process of so many; that of the scale from all."""
    model, batch, recipe = case
    frozen = copy.deepcopy(model)
    frozen.log_scale.requires_grad_(False)
    _, right = teamwork.alone((frozen, batch, recipe))
    _, found = teamwork.as_if((frozen, batch, recipe), size, teamwork.WHOLE)
    assert off(found * size, right) < 1e-4


def test_operations_of_a_layer_are_two_by_multiply_add_and_three_times_that_with_the_backward_pass():
    layer = torch.nn.Sequential(torch.nn.Linear(7, 11), torch.nn.Linear(11, 13))
    first, second = 2 * 7 * 11, 2 * 11 * 13
    assert scaling_cost.flops(layer, (7,)) == 2 * first + 3 * second  # the input of the first needs no gradient


def test_hours_are_read_by_eye():
    assert scaling_solutions.gpu_hours(3.6e18, 100.0, 0.1) == pytest.approx(100)


def test_published_runs_have_ranges_the_right_way_round():
    table = scaling_cost.published(1e10)
    assert (table["GFLOP low"] <= table["GFLOP high"]).all()
    assert (table["hours low"] < table["hours high"]).all()
    run = scaling_cost.RUNS[0]
    wanted = table["GFLOP low"].iloc[0] * 1e9 * run.units * run.epochs[0] / 1e10
    assert table["here low s"].iloc[0] == pytest.approx(wanted)
    assert len(scaling_cost.shown(table)) == len(scaling_cost.RUNS)


def test_the_largest_batch_is_a_power_of_two_that_the_studies_fill():
    assert negatives.largest_batch(toy_studies(40)) == 16
    assert negatives.largest_batch(replace(toy_studies(600), table=toy_studies(600).table)) == negatives.MOST_ROWS


def test_every_preset_has_its_amount_of_work():
    assert set(negatives.SEEN) == set(scaling.N_BATCHES) == set(scaling.N_TIMED) == set(PRESETS)


def test_the_figures_show_every_line_they_are_given():
    curves = {how: {2: (0.3, 0.2, 0.4), 4: (0.5, 0.4, 0.6)} for how in ("a", "b")}
    assert len(draw.negatives_curves(curves, 0.1, ylabel="y").containers) == 2
    lines = {"tower": {4: 400, 8: 800}, "loss": {4: 64, 8: 256}}
    ax = draw.memory_curves(lines, {name: scaling.growth(points) for name, points in lines.items()}, (4.0, 100.0))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["tower (slope 1.00)", "loss (slope 2.00)"]
    figure = draw.gradient_arrows({"a": {"2": (0.5, 10.0)}, "b": {"2": (1.5, 60.0)}})
    assert [len(ax.get_legend().get_texts()) for ax in figure.axes] == [2, 2]


def test_figures_of_parts_speed_and_cost_have_a_mark_for_each_row():
    table = pd.DataFrame([("accumulated", 2, 0, 0.5, 1.0, 30.0), ("cached", 2, 0, 1.0, 1.0, 0.0)])
    table.columns = ["how", "micro", "batch", "loss", "whole", "degrees"]
    assert len(draw.accumulation_panels(table, 4).axes) == 2
    speeds = pd.DataFrame({"plan": ["a", "a", "b"], "units_s": [1.0, 2.0, 3.0], "data_share": 0.1})
    assert len(draw.speed_bars(speeds).patches) == 2
    ax = draw.cost_ranges(pd.DataFrame({"low": [0.5, 12.0], "high": [140.0, 50.0]}, index=["a", "b"]), xlabel="x")
    assert [t.get_text() for t in ax.texts] == ["0.5 to 140", "12 to 50"]
