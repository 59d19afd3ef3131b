"""Studies over seeds: what is run, what is kept, what a table says. One real training; the rest is made up."""

from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medclip_nb import config
from medclip_nb.claims import radclip, runner, studies
from medclip_nb.claims.runner import Study
from medclip_nb.config import PRESETS
from medclip_nb.lesson import claims
from medclip_nb.measure.statistics import mean_score

SMOKE = PRESETS["smoke"]
COLUMNS = ["variant", "measure", "finding", "seed", "value", "low", "high", "n", "unit", "chance"]


class SameProcess:
    """Stands in for the pool: runs at once, here; the real one would start Python anew for every test."""

    def __init__(self, workers, mp_context, initializer):
        assert workers >= 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, work, *args) -> Future:
        future = Future()
        try:
            future.set_result(work(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, *, cancel_futures: bool):
        assert cancel_futures


def made_up(name: str, cells: list, **needs) -> Study:
    """Notes its cells in `cells`; one of them always fails."""

    def cell(variant, seed, preset):
        cells.append((name, variant, seed))
        if variant == "bad" and seed == 1:
            raise ValueError("out of luck")
        return {"x": np.array([seed + 0.5]), "word": np.array(variant)}

    def table(cells, preset):
        return pd.DataFrame(
            [{"variant": v, "seed": s, "x": found["x"][0], "preset": preset.name} for (v, s), found in cells.items()]
        )

    return Study(("good", "bad"), cell, table, **needs)


@pytest.fixture
def ran(monkeypatch, tmp_path) -> list:
    """Cells as they are run, of two made-up studies: "sum", and "more", which needs it."""
    cells = []
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    monkeypatch.setattr(runner, "ProcessPoolExecutor", SameProcess)
    monkeypatch.setattr(
        studies, "STUDIES", {"sum": made_up("sum", cells), "more": made_up("more", cells, needs=(("sum", "good"),))}
    )
    return cells


def test_every_variant_runs_with_every_seed_and_the_table_is_made_of_what_they_found(ran):
    tables = runner.run(["sum"], preset="smoke", seeds=(0, 2))
    assert ran == [("sum", v, s) for v in ("good", "bad") for s in (0, 2)]
    assert tables["sum"].to_dict("list") == {
        "variant": ["good", "good", "bad", "bad"], "seed": [0, 2, 0, 2], "x": [0.5, 2.5, 0.5, 2.5], "preset": ["smoke"] * 4,
    }  # fmt: skip


def test_what_is_on_disk_is_not_run_again(ran):
    first = runner.run(["sum"], preset="smoke", seeds=(0,))
    again = runner.run(["sum"], preset="smoke", seeds=(0, 2))
    assert ran == [("sum", "good", 0), ("sum", "bad", 0), ("sum", "good", 2), ("sum", "bad", 2)]
    assert len(again["sum"]) == 2 * len(first["sum"])


def test_an_interrupted_study_goes_on_where_it_stopped(ran):
    with pytest.raises(ValueError, match="out of luck"):
        runner.run(["sum"], preset="smoke", seeds=(0, 1))
    kept = sorted(f.parent.name for f in (config.artifacts_dir() / "claims").rglob("found.npz"))
    assert kept == ["smoke-bad-seed0", "smoke-good-seed0", "smoke-good-seed1"]
    ran.clear()
    with pytest.raises(ValueError, match="out of luck"):
        runner.run(["sum"], preset="smoke", seeds=(0, 1))
    assert ran == [("sum", "bad", 1)]


def test_the_table_of_a_study_is_there_though_a_later_one_fails(ran, tmp_path):
    studies.STUDIES["more"] = replace(studies.STUDIES["more"], cell=lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.run(["sum", "more"], preset="smoke", seeds=(0,), into=tmp_path / "tables")
    assert sorted(f.name for f in (tmp_path / "tables").iterdir()) == ["claims.csv", "sum.csv"]


def test_a_study_whose_models_are_needed_is_run_first_and_gives_no_table(ran):
    tables = runner.run(["more"], preset="smoke", seeds=(2,))
    assert [name for name, _, _ in ran] == ["sum", "more", "more"]
    assert list(tables) == ["more"]


def test_all_studies_run_when_none_is_named(ran):
    assert list(runner.run([], preset="smoke", seeds=(0,))) == ["sum", "more"]


def test_an_unknown_study_is_refused_before_anything_runs(ran):
    with pytest.raises(ValueError, match="unknown study 'product'; choose one of: sum, more"):
        runner.run(["sum", "product"], preset="smoke", seeds=(0,))
    assert ran == []


def test_a_cell_comes_back_as_it_was_found(ran):
    runner._run_cell("sum", "good", 3, SMOKE)
    found = runner._read(runner._file("sum", "good", 3, SMOKE))
    assert {name: array.tolist() for name, array in found.items()} == {"x": [3.5], "word": "good"}


def test_every_cell_has_a_folder_of_its_own(ran):
    settings = [("sum", "good", 0, SMOKE), ("more", "good", 0, SMOKE), ("sum", "bad", 0, SMOKE), ("sum", "good", 1, SMOKE)]
    folders = {runner.cell_folder(*s) for s in [*settings, ("sum", "good", 0, PRESETS["cpu"])]}
    assert len(folders) == 5


def toy_table() -> pd.DataFrame:
    """Two variants, two measures; a variant whose name looks like a missing value; an interval that is not known."""
    rows = [
        ("none", "AUC", "all findings", "mean", 0.61239, 0.5, 0.7, 12, "patients", 0.5),
        ("none", "AUC", "all findings", "0", 0.6, None, None, 12, "patients", 0.5),
        ("NA", "AUC", "all findings", "mean", 0.8, 0.7, 0.9, 12, "patients", 0.5),
        ("NA", "AUC", "all findings", "minus none", 0.2, 0.1, 0.25, 12, "patients", 0.0),
        ("NA", "R@1", "all findings", "minus none", 0.3, -0.1, 0.5, 9, "patients", 0.0),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def lying_beside(tmp_path, monkeypatch):
    """The toy table, saved where the lessons read."""
    monkeypatch.setattr(config, "shipped", lambda folder: tmp_path / folder)
    return runner.save({"toy": toy_table()}, tmp_path / "notebooks" / "results")


def test_a_saved_table_comes_back_rounded_names_that_look_missing_included(lying_beside):
    again = claims.published("toy")
    assert list(again) == COLUMNS
    assert again["variant"].tolist() == ["none", "none", "NA", "NA", "NA"]
    assert again["seed"].tolist() == ["mean", "0", "mean", "minus none", "minus none"]
    assert again["value"].tolist() == [0.6124, 0.6, 0.8, 0.2, 0.3]
    assert again["low"].isna().tolist() == [False, True, False, False, False]
    assert [f.name for f in lying_beside] == ["toy.csv", "claims.csv"]


def test_a_difference_is_the_row_of_its_variant_and_measure(lying_beside):
    score = claims.difference("toy", "NA", "R@1")
    assert (score.value, score.low, score.high, score.n, score.unit, score.chance) == (0.3, -0.1, 0.5, 9, "patients", 0)
    assert score.name == "NA minus none, R@1"
    assert claims.difference("toy", "NA", "AUC").low == 0.1


def test_a_difference_is_from_the_base_that_is_named(monkeypatch):
    other = ("NA", "AUC", "all findings", "minus none, distinct", 0.05, -0.1, 0.2, 12, "patients", 0.0)
    table = pd.concat([toy_table(), pd.DataFrame([other], columns=COLUMNS)])
    monkeypatch.setattr(claims, "published", lambda name: table)
    assert claims.difference("toy", "NA", "AUC").value == claims.difference("toy", "NA", "AUC", base="none").value == 0.2
    assert claims.difference("toy", "NA", "AUC", base="none, distinct").value == 0.05
    with pytest.raises(ValueError, match="no difference for 'NA'"):
        claims.difference("toy", "NA", "AUC", base="some")


@pytest.mark.parametrize(("variant", "measure"), [("none", "AUC"), ("NA", "R@5"), ("prompt", "AUC")])
def test_a_difference_that_is_not_in_the_table_is_named(lying_beside, variant, measure):
    with pytest.raises(ValueError, match=f"no difference for '{variant}' in '{measure}'; choose one of: NA: AUC, NA: R@1"):
        claims.difference("toy", variant, measure)


ASKED = {  # what lessons 05 and 06 read: measures, and variants of which they show the difference
    "slices": (["AUC within region", "AUC within organ"], ["radclip_true"]),
    "pooling": (
        ["AUC, focal findings", "AUC, diffuse findings", "R@1, report to study", "R@10, report to study"],
        ["attention", "attention_4", "self_attention", "prompt"],
    ),
}


@pytest.fixture(params=ASKED)
def shipped(request) -> tuple[str, pd.DataFrame]:
    """A table beside the lessons."""
    if not (config.shipped("notebooks") / "results" / f"{request.param}.csv").exists():
        pytest.skip(f"the table of {request.param} is not measured yet: medclip-nb claims {request.param} --commit")
    return request.param, claims.published(request.param)


def test_a_table_beside_the_lessons_has_what_they_read(shipped):
    name, table = shipped
    measures, variants = ASKED[name]
    assert list(table) == COLUMNS
    assert set(table["measure"]) == set(measures)
    assert tuple(dict.fromkeys(table["variant"])) == studies.STUDIES[name].variants
    assert all(np.isfinite(claims.difference(name, v, measures[0]).low) for v in variants)


def test_a_table_beside_the_lessons_is_of_three_seeds_or_more(shipped):
    name, table = shipped
    seeds = table[table["seed"].str.isdigit()].groupby(["variant", "measure"])["seed"].nunique()
    assert len(seeds) >= len(studies.STUDIES[name].variants)
    assert seeds.min() >= 3


def test_in_a_table_beside_the_lessons_values_lie_in_their_intervals(shipped):
    table = shipped[1]
    assert (table["low"] <= table["high"]).all()
    means = table[(table["finding"] == "all findings") & ~table["seed"].str.startswith("minus")]
    assert ((means["low"] <= means["value"]) & (means["value"] <= means["high"])).all()


@pytest.fixture(scope="module")
def cells(torso) -> dict[str, dict]:
    """One slice encoder and one adapter on it, really trained, at preset smoke."""
    found = {}
    for study, variant in (("slices", radclip.BASE), ("pooling", "attention")):
        runner._run_cell(study, variant, 0, SMOKE)
        found[study] = runner._read(runner._file(study, variant, 0, SMOKE))
    return found


def of_all_findings(table: pd.DataFrame, variant: str, measure: str) -> pd.DataFrame:
    """By seed."""
    chosen = (table["finding"] == "all findings") & (table["variant"] == variant) & (table["measure"] == measure)
    return table[chosen].set_index("seed")


def test_a_slice_cell_scores_every_test_slice_and_leaves_its_model(cells, torso):
    n_test = (torso.manifest["split"] == "test").sum()
    assert cells["slices"]["scores"].shape == (n_test * torso.contract.size[0], 17)
    assert (np.abs(cells["slices"]["scores"]) <= 1 + 1e-6).all()
    assert (runner.cell_folder("slices", radclip.BASE, 0, SMOKE) / "model" / "model.safetensors").is_file()


def test_a_pooling_cell_scores_and_ranks_every_test_study(cells, torso):
    n_test = (torso.manifest["split"] == "test").sum()
    assert cells["pooling"]["scores"].shape == (n_test, 17)
    assert cells["pooling"]["ranks"].shape == (n_test,)
    assert 1 <= cells["pooling"]["ranks"].min() <= cells["pooling"]["ranks"].max() <= n_test
    assert cells["pooling"]["seconds"] > 0


def test_the_table_of_slices_says_mean_seeds_findings_and_differences(cells):
    found, rng = cells["slices"], np.random.default_rng(0)
    noisy = {"scores": found["scores"] + rng.normal(0, 0.3, found["scores"].shape)}
    table = radclip.slices_table({("a", 0): found, ("a", 1): noisy, ("b", 0): noisy, ("b", 1): found}, SMOKE)
    assert list(table) == COLUMNS
    for measure in ASKED["slices"][0]:
        one, other = (of_all_findings(table, v, measure) for v in "ab")
        assert one.index.tolist() == ["mean", "0", "1"]
        assert other.index.tolist() == ["mean", "0", "1", "minus a"]
        assert one.loc["mean", "value"] == pytest.approx(one.loc[["0", "1"], "value"].mean())
        assert one.loc["mean", ["value", "low", "high"]].tolist() == pytest.approx(other.loc["mean", ["value", "low", "high"]])
        assert other.loc["minus a", ["value", "low", "high"]].tolist() == pytest.approx([0, 0, 0], abs=1e-12)


def test_the_table_of_poolings_scores_focal_and_diffuse_findings_and_recall(cells):
    found = cells["pooling"]
    perfect = {"scores": found["scores"], "ranks": np.ones_like(found["ranks"])}
    runs = {("mean", 0): found, ("attention", 0): perfect, ("untrained_mean", 0): {"scores": found["scores"]}}
    table = radclip.pooling_table(runs, SMOKE)
    assert list(table) == COLUMNS
    assert list(dict.fromkeys(table["measure"])) == ASKED["pooling"][0]
    kinds = {kind: set(table.loc[table["measure"] == f"AUC, {kind} findings", "finding"]) for kind in ("focal", "diffuse")}
    assert kinds["focal"] & kinds["diffuse"] == {"all findings"}
    assert set(table.loc[table["measure"].str.startswith("R@"), "variant"]) == {"mean", "attention"}
    recall = of_all_findings(table, "attention", "R@1, report to study")
    assert recall.loc["mean", "value"] == 1
    assert recall.loc["minus mean", "value"] == pytest.approx(1 - (found["ranks"] == 1).mean())


def test_two_runs_that_find_the_same_differ_by_nothing_not_by_an_interval(cells):
    runs = {(v, s): cells["pooling"] for v in ("mean", "attention") for s in (0, 1)}
    table = radclip.pooling_table(runs, SMOKE)
    for measure in ASKED["pooling"][0]:
        row = of_all_findings(table, "attention", measure).loc["minus mean"]
        assert row[["value", "low", "high", "chance"]].tolist() == [0, 0, 0, 0]


def test_the_gain_in_recall_has_the_interval_of_its_mean_over_patients(cells, torso):
    found, test = cells["pooling"], torso.manifest[torso.manifest["split"] == "test"].sort_values("study_id")
    other = found | {"ranks": np.where(np.arange(len(found["ranks"])) % 3 == 0, 1, 99)}
    table = radclip.pooling_table({("mean", 0): found, ("attention", 0): other}, SMOKE)
    gains = (other["ranks"] <= 10).astype(float) - (found["ranks"] <= 10)
    wanted = mean_score("", gains, test["patient_id"].to_numpy(str), chance=0.0, n_bootstrap=SMOKE.n_bootstrap)
    row = of_all_findings(table, "attention", "R@10, report to study").loc["minus mean"]
    assert row[["value", "low", "high", "n"]].tolist() == pytest.approx([wanted.value, wanted.low, wanted.high, wanted.n])
