"""Benchmarks: that all sides are measured and do the same work. No time is asserted."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from medclip_nb import bench
from medclip_nb.bench import course, images, losses, pooling, retrieval, rows, texts, training
from medclip_nb.bench.rows import QUICK, Curve, Row, beside, curve_of, fastest
from medclip_nb.data import catalog, preprocessing
from medclip_nb.model import text_tower
from medclip_nb.pages import run_times
from medclip_nb.text import similarity


@pytest.fixture
def tiny(monkeypatch, torso):
    monkeypatch.setattr(catalog, "load", lambda *_: torso)


def split(measured: list) -> tuple[list[Row], list[Curve]]:
    return [m for m in measured if isinstance(m, Row)], [m for m in measured if isinstance(m, Curve)]


def all_positive(measured: list) -> bool:
    """Whether every figure and every point is there; exponents may be anything."""
    own, curves = split(measured)
    figures = [x for r in own if r.unit != "exponent" for x in (r.ours, r.rival)]
    return all(x > 0 for x in [*figures, *(x for c in curves for way in c.points.values() for _, x in way)])


def test_the_image_cache_is_measured_beside_its_rival(tiny):
    found = images.image_cache(QUICK)
    assert [r.what for r in found] == ["second reading of images", "image cache on disk"]
    assert all_positive(found)


def test_caches_that_hold_different_pixels_are_not_compared(tiny, monkeypatch, torso):
    shape = (torso.contract.channels, *torso.contract.size)
    monkeypatch.setattr(preprocessing, "cached", lambda *_: np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="the comparison is void"):
        images.image_cache(QUICK)


def test_the_growth_of_the_audit_is_measured():
    assert all_positive(images.audit_growth(QUICK))


def test_the_training_step_is_measured_beside_bare_passes_over_the_same_batches(tiny, monkeypatch):
    AcceleratorState._reset_state()
    Accelerator(mixed_precision="no")  # as an earlier training of this process leaves it
    monkeypatch.setattr(training, "N_STEPS", 1)
    monkeypatch.setattr(training, "RUNS", {"radclip": training.RUNS["radclip"]})
    threads = torch.get_num_threads()
    step, overhead, work, _ = training.training_step(QUICK)
    assert [step.what, work.what] == ["training step, radclip", "its work on one core, radclip"]
    assert step.note.startswith("1 steps of 32 slices")
    assert min(step.ours, work.ours) > 0
    assert overhead.ours == pytest.approx(100 * (step.ours / step.rival - 1))
    assert overhead.met == "-"  # a single step at preset smoke says nothing of 5 %
    assert torch.get_num_threads() == threads


def test_organs_and_heads_have_a_training_step_too(tiny, monkeypatch, heads):
    monkeypatch.setattr(training, "N_STEPS", 1)
    monkeypatch.setattr(training.selip, "head_units", lambda *_, **__: heads)
    monkeypatch.setattr(training, "RUNS", {k: v for k, v in training.RUNS.items() if k != "radclip"})
    found = [row.what for row in training.training_step(QUICK)]
    assert found[::4] == ["training step, ct_glip", "training step, selip"]


def test_the_memory_of_the_loss_is_linear_and_that_of_the_matrix_is_not():
    last, curve, growth = losses.loss_memory(QUICK)
    assert [mib for _, mib in curve.points["ours"]] == [0.125, 0.25, 0.5]  # twice n x 64 numbers of 4 bytes
    assert last.rival > last.ours
    assert growth.ours < growth.budget == 1.1 < 1.8 < growth.rival
    assert growth.met == "yes"


def test_both_forms_of_the_loss_are_timed_forward_and_backward():
    found = losses.loss_time(QUICK)
    assert all_positive(found)
    assert torch.allclose(losses._pass(20, losses.in_chunks), losses._pass(20, losses.of_all_pairs), atol=1e-6)


def test_losses_that_differ_are_not_compared(monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "ours", lambda *emb: 2 * losses.of_all_pairs(*emb))
    with pytest.raises(ValueError, match="the comparison is void"):
        losses.loss_time(QUICK)


def test_the_figures_of_retrieval_are_measured_beside_the_whole_matrix_and_a_loop():
    found = retrieval.retrieval(QUICK)
    own, (curve,) = split(found)
    assert all_positive(found)
    assert [r.unit for r in own] == ["s", "s", "MiB", "exponent"]
    assert list(curve.points) == ["ours", "whole matrix", "query by query"]


def test_the_loop_over_queries_has_every_figure_of_ours():
    ours, _, loop = (way() for way in retrieval._ways(30))
    assert set(loop[0]) == set(ours[0])
    assert retrieval.same_figures(ours, loop)


@pytest.mark.parametrize("rival", ["whole_matrix", "query_by_query"])
def test_ways_that_give_different_figures_are_not_compared(monkeypatch, rival):
    monkeypatch.setattr(retrieval, rival, lambda queries, *_: {"mAP": np.zeros(len(queries))})
    with pytest.raises(ValueError, match="the comparison is void"):
        retrieval.retrieval(QUICK)


def test_the_similarity_of_reports_is_measured_beside_a_loop_over_pairs():
    found = texts.text_similarity(QUICK)
    own, (curve,) = split(found)
    assert all_positive(found)
    assert [len(points) for points in curve.points.values()] == [2, 2]
    assert [r.what.split(",")[0] for r in own[:3]] == ["20 reports against each other", "batch of 20", "batch of 20"]


def test_the_loop_over_pairs_is_the_same_similarity():
    reports = texts.made_up_reports(12)
    assert len({tuple(report) for report in reports}) == 12
    assert np.allclose(texts.pair_by_pair(reports), similarity.of_reports(reports), atol=1e-6)


def test_similarities_that_differ_are_not_compared(monkeypatch):
    monkeypatch.setattr(similarity, "of_reports", lambda reports: np.eye(len(reports)))
    with pytest.raises(ValueError, match="the comparison is void"):
        texts.text_similarity(QUICK)


def test_slice_pooling_is_measured_beside_single_volumes_and_self_attention():
    found = pooling.slice_pooling(QUICK)
    assert all_positive(found)
    assert list(split(found)[1][0].points) == ["ours", "volume by volume", "self-attention"]


def test_zero_shot_embeds_each_prompt_once_and_its_rival_in_each_batch(monkeypatch, home):
    n_run, run = [], text_tower._run
    monkeypatch.setattr(text_tower, "_run", lambda some, tower: n_run.append(len(some)) or run(some, tower))
    own, (curve,) = split(texts.zero_shot(QUICK._replace(prompts=(8, 16))))
    assert n_run == [8, 8, 16, 16]  # to compare the answers, and once more for each repeat
    assert all(figure > 0 for way in curve.points.values() for _, figure in way)
    assert own[0].what == "zero-shot with 16 prompts"


def test_starts_are_those_of_fresh_processes(monkeypatch):
    monkeypatch.setitem(course.STARTS, "torch", ("-c", "import json"))
    found = course.start_up(QUICK)
    assert [r.budget for r in found] == [0.3, 1.0]
    assert all_positive(found)


def test_a_process_that_fails_is_no_start(monkeypatch):
    monkeypatch.setitem(course.STARTS, "torch", ("-c", "import nothing_of_this_name"))
    with pytest.raises(course.subprocess.CalledProcessError):
        course.start_up(QUICK)


@pytest.fixture
def timed_course(monkeypatch) -> None:
    """Three lessons, of which the third needs the first and has no time at preset cpu."""
    needs = {"01": frozenset(), "02": frozenset(), "03": frozenset({"01"})}
    chosen = [course.course.Lesson(Path(n), n, n, "", own, {}) for n, own in needs.items()]
    times = [("smoke", "01", 10.0), ("smoke", "02", 50.0), ("smoke", "03", 20.0), ("cpu", "01", 1000.0), ("cpu", "02", 900.0)]
    monkeypatch.setattr(course.course, "choose", lambda _: chosen)
    monkeypatch.setattr(run_times, "shipped", lambda: [run_times.RunTime(*t, peak_mib=1, benchmark_s=0.5) for t in times])
    monkeypatch.setattr(run_times, "benchmark", lambda: 1.0)
    monkeypatch.setattr(course.config, "n_cores", lambda: 2)


def test_times_of_the_course_are_read_and_held_against_its_budgets(timed_course):
    found = {r.what: (r.ours, r.met) for r in course.course_times(QUICK)}
    assert found["notebook 02, smoke"] == (50, "no")
    assert found["notebook 02, cpu"] == (900, "-")
    assert found["course at smoke, two at a time"] == (50, "yes")  # 01 and 03, beside 02
    assert found["course at cpu, two at a time"] == (1000, "yes")
    assert found["course at cpu, summed"] == (1900, "no")


def test_times_of_the_course_say_what_was_not_measured(timed_course):
    notes = {r.what: r.note for r in course.course_times(QUICK)}
    assert notes["course at cpu, two at a time"].endswith("not measured: 03")
    assert "0.50 s then, takes 1.00 s here" in notes["course at smoke, two at a time"]


def test_a_lesson_waits_for_those_it_needs(timed_course):
    first, second, third = course.course.choose(None)
    assert course.two_at_a_time({first: 10.0, second: 5.0, third: 2.0}) == 12


def test_a_clock_may_be_chosen(monkeypatch):
    clock = iter([1.0, 4.0])
    monkeypatch.setattr(rows.time, "process_time", lambda: next(clock))
    assert fastest(lambda: None, repeats=1, clock="process_time") == [3]


def test_the_fastest_of_several_calls_counts_and_all_take_turns(monkeypatch):
    calls, clock = [], iter([0.0, 5.0, 5.0, 7.0, 10.0, 11.0, 20.0, 23.0])  # seconds: 5 and 2, then 1 and 3
    monkeypatch.setattr(rows.time, "perf_counter", lambda: next(clock))
    assert fastest(lambda: calls.append("a"), lambda: calls.append("b"), repeats=2) == [1, 2]
    assert calls == ["a", "b", "a", "b"]


def test_repeats_end_when_patience_does_but_not_before_two(monkeypatch):
    calls, clock = [], iter(np.arange(100.0).tolist())  # a second each
    monkeypatch.setattr(rows.time, "perf_counter", lambda: next(clock))
    fastest(lambda: calls.append("a"), repeats=9, patience_s=0.5)
    assert len(calls) == 2
    fastest(lambda: calls.append("a"), repeats=9, patience_s=4.5)
    assert len(calls) == 2 + 5


def test_each_rival_must_give_the_same():
    same = lambda a, b: a == b  # noqa: E731
    assert len(beside(lambda: 1, lambda: 1, lambda: 1, same=same, repeats=1)) == 3
    with pytest.raises(ValueError, match="the comparison is void"):
        beside(lambda: 1, lambda: 1, lambda: 2, same=same, repeats=1)


def test_exponents_are_those_of_the_power_that_made_the_points():
    curve = curve_of("x", "n", "s", {n: {"ours": 3.0 * n, "rival": 0.1 * n**2} for n in (10, 20, 80)})
    assert curve.exponents == pytest.approx({"ours": 1, "rival": 2})
    assert (curve.row().ours, curve.row().rival) == pytest.approx((1, 2))


def test_a_way_may_stop_before_the_largest_sizes():
    curve = curve_of("x", "n", "s", {1: {"ours": 1.0, "rival": 5.0}, 2: {"ours": 2.0, "rival": 9.0}, 4: {"ours": 4.0}})
    assert curve.points == {"ours": [(1, 1.0), (2, 2.0), (4, 4.0)], "rival": [(1, 5.0), (2, 9.0)]}


def test_a_row_says_its_ratio_and_whether_its_budget_is_met():
    found = Row("x", 2.0, 5.0, "s", "n", 2.0).as_dict()
    assert (found["ratio"], found["met"]) == (2.5, "yes")
    alone = Row("x", 2.1, None, "s", "n", 2.0).as_dict()
    assert (alone["rival"], alone["ratio"], alone["met"]) == (None, None, "no")
    assert Row("x", 1.0, 2.0, "exponent", "n").as_dict()["ratio"] is None


@pytest.fixture
def two(monkeypatch):
    """Two benchmarks that measure nothing; the second is interrupted when asked to."""
    from medclip_nb.bench import course as module

    one = lambda sizes: [Row("x", 1.0, 2.0, "s", f"{sizes.repeats} repeats")]  # noqa: E731
    monkeypatch.setattr(bench, "BENCHES", {"one": "course", "other": "course"})
    monkeypatch.setattr(module, "one", one, raising=False)
    monkeypatch.setattr(module, "other", one, raising=False)
    return module


def test_a_run_writes_what_it_found_and_the_facts_of_the_machine(two, tmp_path):
    found = bench.run([], tmp_path / "b.json", quick=True)
    assert json.loads((tmp_path / "b.json").read_text()) == found
    assert found["benchmarks"] == ["one", "other"]
    assert found["rows"][0]["note"] == "1 repeats"
    assert {"date", "cores", "threads", "load_average", "versions"} <= set(found["machine"])
    assert found["machine"]["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(("load", "quick", "said"), [([0.1], False, ""), ([5.0], False, "OTHER WORK"), (None, True, "--quick")])
def test_a_run_says_in_one_line_where_it_ran_and_whether_the_machine_was_busy(load, quick, said):
    machine = rows.machine() | {"load_average": load, "cores": 2}
    line = bench.about({"machine": machine, "quick": quick})
    assert said in line
    assert ("OTHER WORK" in line) == (load == [5.0])
    assert f"2 cores, {torch.get_num_threads()} threads, PyTorch {torch.__version__}" in line


def test_an_interrupt_leaves_what_was_measured_before(two, tmp_path, monkeypatch):
    def stop(sizes):
        raise KeyboardInterrupt

    monkeypatch.setattr(two, "other", stop)
    with pytest.raises(KeyboardInterrupt):
        bench.run([], tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text())["benchmarks"] == ["one"]


def test_a_comparison_that_is_void_names_its_benchmark(monkeypatch, tmp_path):
    monkeypatch.setattr(retrieval, "whole_matrix", lambda queries, *_: {"mAP": np.zeros(len(queries))})
    with pytest.raises(ValueError, match="benchmark retrieval: the two ways give different results"):
        bench.run(["retrieval"], tmp_path / "b.json", quick=True)


def test_an_unknown_benchmark_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="unknown benchmark 'x'; choose from: start_up, course_times"):
        bench.run(["loss_memory", "x"], tmp_path / "b.json")
    assert not list(tmp_path.iterdir())


def test_every_name_is_a_function_of_its_module():
    assert [
        name for name, module in bench.BENCHES.items() if not callable(getattr(import_module(f"medclip_nb.bench.{module}"), name))
    ] == []
