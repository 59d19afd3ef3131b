"""Benchmarks: that both sides are measured and do the same work. No time is asserted."""

import numpy as np
import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from medclip_nb import bench, bench_training
from medclip_nb.data import catalog, preprocessing


@pytest.fixture
def tiny(monkeypatch, torso):
    monkeypatch.setattr(bench, "N_STUDIES", 3)
    monkeypatch.setattr(bench, "REPEATS", 1)
    monkeypatch.setattr(catalog, "load", lambda *_: torso)


def test_the_image_cache_is_measured_beside_its_rival(tiny):
    rows = bench.image_cache()
    assert [r["what"] for r in rows] == ["second reading", "cache on disk"]
    assert all(r["ours"] > 0 and r["rival"] > 0 for r in rows)
    assert all(r["ratio"] == pytest.approx(r["rival"] / r["ours"], rel=0.05) for r in rows)


def test_caches_that_hold_different_pixels_are_not_compared(tiny, monkeypatch, torso):
    shape = (torso.contract.channels, *torso.contract.size)
    monkeypatch.setattr(preprocessing, "cached", lambda *_: np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="the comparison is void"):
        bench.image_cache()


def test_the_growth_of_the_audit_is_measured(monkeypatch):
    monkeypatch.setattr(bench, "AUDIT_ROWS", (20, 40))
    (row,) = bench.audit_growth()
    assert row["ours"] > 0
    assert row["rival"] > 0


def test_the_training_step_is_measured_beside_bare_passes_over_the_same_batches(tiny, monkeypatch):
    AcceleratorState._reset_state()
    Accelerator(mixed_precision="no")  # as an earlier training of this process leaves it
    monkeypatch.setattr(bench_training, "N_STEPS", 1)
    monkeypatch.setattr(bench_training, "RUNS", {"radclip": bench_training.RUNS["radclip"]})
    threads = bench_training.torch.get_num_threads()
    rows = bench.training_step()
    assert [row["what"] for row in rows] == ["training step, radclip", "its work on one core, radclip"]
    assert all(row["ours"] > 0 and row["rival"] > 0 for row in rows)
    assert rows[0]["note"].startswith("1 steps of 128 slices")
    assert bench_training.torch.get_num_threads() == threads


def test_organs_and_heads_have_a_training_step_too(tiny, monkeypatch, heads):
    monkeypatch.setattr(bench_training, "N_STEPS", 1)
    monkeypatch.setattr(bench_training.selip, "head_units", lambda *_, **__: heads)
    monkeypatch.setattr(bench_training, "RUNS", {k: v for k, v in bench_training.RUNS.items() if k != "radclip"})
    rows = bench.training_step()
    assert [row["what"] for row in rows][::2] == ["training step, ct_glip", "training step, selip"]


def test_the_memory_of_the_loss_is_linear_and_that_of_the_matrix_is_not(monkeypatch):
    monkeypatch.setattr(bench_training, "LOSS_SIZES", (256, 512, 1024))
    *sizes, growth = bench.loss_memory()
    assert [row["ours"] for row in sizes] == [0.125, 0.25, 0.5]  # twice n x 64 numbers of 4 bytes
    assert all(row["rival"] > row["ours"] for row in sizes)
    assert growth["ours"] < 1.1 < 1.8 < growth["rival"]


def test_the_figures_of_retrieval_are_measured_beside_sorting_the_whole_matrix(tiny, monkeypatch):
    monkeypatch.setattr(bench, "N_PAIRS", 40)
    rows = bench.retrieval_figures()
    assert [r["unit"] for r in rows] == ["s", "MiB"]
    assert all(r["ours"] > 0 and r["rival"] > 0 for r in rows)


def test_ways_that_give_different_figures_are_not_compared(tiny, monkeypatch):
    monkeypatch.setattr(bench, "N_PAIRS", 40)
    monkeypatch.setattr(bench, "_sorted_whole", lambda *_: {"mAP": np.zeros(40)})
    with pytest.raises(ValueError, match="the comparison is void"):
        bench.retrieval_figures()


def test_a_clock_may_be_chosen(monkeypatch):
    clock = iter([1.0, 4.0])
    monkeypatch.setattr(bench, "REPEATS", 1)
    monkeypatch.setattr(bench.time, "process_time", lambda: next(clock))
    assert bench.fastest(lambda: None, clock="process_time") == [3]


def test_the_fastest_of_several_calls_counts_and_all_take_turns(monkeypatch):
    calls, clock = [], iter([0.0, 5.0, 5.0, 7.0, 10.0, 11.0, 20.0, 23.0])  # seconds: 5 and 2, then 1 and 3
    monkeypatch.setattr(bench, "REPEATS", 2)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    assert bench.fastest(lambda: calls.append("a"), lambda: calls.append("b")) == [1, 2]
    assert calls == ["a", "b", "a", "b"]
