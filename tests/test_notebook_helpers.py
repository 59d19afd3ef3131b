"""What a lesson starts and finishes with, and what it says in between."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from medclip_nb.config import PRESETS, RECIPES
from medclip_nb.data.preprocessing import picture_contract
from medclip_nb.lesson import checks
from medclip_nb.lesson.notebook import Lesson, expect_error, figure_table, finish, require, score_table, show_source, start
from medclip_nb.measure.retrieval import recall_at
from medclip_nb.measure.statistics import Score

SCORE = Score("R@1", 0.5, 0.4, 0.6, 12, "patients", 0.1)
LOSS = Score("loss", 2.0, None, None, 3, "batches", None)


@pytest.fixture
def lesson(picture_folder, tmp_path, monkeypatch) -> Lesson:
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path / "home"))
    return Lesson("11", preset=PRESETS["smoke"], seed=3, dataset=str(picture_folder))


def test_a_start_sets_the_seeds_and_says_what_runs_in_one_line(capsys):
    draws = []
    for _ in range(2):
        start("05", preset="smoke", seed=7, dataset="/some/where/torso")
        draws.append((np.random.random(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("lesson 05 · preset smoke · seed 7 · data torso · ")


def test_a_preset_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="unknown preset 'tiny'; choose one of: smoke, cpu, gpu"):
        start("05", preset="tiny", seed=0, dataset="torso")


def test_the_folder_of_a_lesson_names_its_settings(lesson, picture_folder):
    of_data = re.fullmatch(rf"11-({picture_folder.name}-[0-9a-f]{{6}})-smoke-seed3", lesson.folder.name)[1]
    assert lesson.sibling("05").name == f"05-{of_data}-smoke-seed3"


def test_the_data_of_a_lesson_is_loaded_once(lesson):
    assert lesson.data is lesson.data
    assert len(lesson.data.manifest) == 12


def test_a_check_that_holds_is_ticked_and_one_that_does_not_stops(capsys):
    checks.that("one is one", True)
    assert capsys.readouterr().out == "✓ one is one\n"
    with pytest.raises(AssertionError, match="check failed: one is two"):
        checks.that("one is two", False)


def test_a_finding_may_fail_to_come_except_on_the_embedded_cohort_beyond_smoke(lesson, capsys):
    checks.found(lesson, "scanners show", True)
    checks.found(lesson, "scanners show", False)
    assert capsys.readouterr().out == "✓ scanners show\n✗ not so in this run: scanners show\n"
    lesson.data.synthetic, lesson.preset = True, PRESETS["cpu"]
    with pytest.raises(AssertionError, match="check failed: scanners show"):
        checks.found(lesson, "scanners show", False)


def fail():
    raise ValueError("no such thing")


def test_an_expected_error_is_printed(capsys):
    expect_error(fail)
    assert capsys.readouterr().out == "ValueError: no such thing\n"


def test_an_expected_error_that_does_not_come_or_is_another_stops():
    with pytest.raises(AssertionError, match="should have raised ValueError"):
        expect_error(lambda: None)
    with pytest.raises(ValueError, match="no such thing"):
        expect_error(fail, KeyError)


def test_the_source_is_shown_without_its_docstring():
    imports = "from medclip_nb.lesson import notebook; from medclip_nb.measure import retrieval"
    code = f"{imports}; notebook.show_source(retrieval.recall_at)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("def recall_at(")
    assert "return (ranks <= k).astype(float)" in shown
    assert '"""' not in shown


def test_the_source_of_a_class_can_be_shown(capsys):
    show_source(Score)
    assert "class Score" in capsys.readouterr().out
    assert recall_at.__doc__


def test_what_an_earlier_lesson_hands_over_is_built_once(lesson, capsys):
    built = []

    def build(_, folder):
        built.append(folder)
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.safetensors").touch()

    assert require(lesson, "05", build) == require(lesson, "05", build) == lesson.sibling("05")
    assert built == [lesson.sibling("05")]
    assert capsys.readouterr().out.count("lesson 05 has not run") == 1


def test_a_table_of_scores_leaves_blank_what_is_not_known():
    table = score_table([SCORE, LOSS])
    assert table.loc["R@1"].tolist() == ["0.500", "0.400 to 0.600", "12 patients (few)", "0.100"]
    assert table.loc["loss"].tolist() == ["2.000", "", "3 batches", ""]


def test_a_finished_lesson_leaves_metrics_that_name_data_and_split(lesson, capsys):
    finish(lesson, title="T", question="Q?", scores=[LOSS, SCORE], key=SCORE, thumbnail=plt.figure())
    metrics = json.loads((lesson.folder / "metrics.json").read_text())
    assert (metrics["lesson"], metrics["seed"], metrics["preset"], metrics["synthetic"]) == ("11", 3, "smoke", False)
    assert metrics["figures"] == [LOSS.to_dict() | {"key": False}, SCORE.to_dict() | {"key": True}]
    assert len(metrics["data_sha256"]) == len(metrics["split_sha256"]) == 16
    assert metrics["versions"]["torch"] == torch.__version__
    assert (lesson.folder / metrics["thumbnail"]).read_bytes()[:4] == b"\x89PNG"
    assert "2 figures written" in capsys.readouterr().out


def test_the_split_hash_changes_with_the_split_only(lesson):
    def hashes():
        finish(lesson, title="T", question="Q?", scores=[SCORE], key=SCORE)
        metrics = json.loads((lesson.folder / "metrics.json").read_text())
        return metrics["data_sha256"], metrics["split_sha256"]

    first = hashes()
    lesson.data.manifest["report"] = "other"
    texts = hashes()
    lesson.data.manifest["split"] = "train"
    assert (texts[0] != first[0], texts[1] == first[1]) == (True, True)
    assert hashes()[1] != first[1]


def test_a_figure_that_is_nan_is_not_written_over_good_metrics(lesson):
    finish(lesson, title="T", question="Q?", scores=[SCORE], key=SCORE)
    before = (lesson.folder / "metrics.json").read_bytes()
    broken = replace(SCORE, value=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        finish(lesson, title="T", question="Q?", scores=[broken], key=broken)
    assert (lesson.folder / "metrics.json").read_bytes() == before


@pytest.fixture
def trained(lesson):
    from medclip_nb.data.studies import load_units
    from medclip_nb.lesson import steps
    from medclip_nb.model.dual_encoder import build_model

    units = load_units(lesson.data)
    model = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0).eval()
    return steps.Trained(model, units)


def test_every_text_of_an_image_and_every_image_of_a_text_is_right(trained):
    from medclip_nb.lesson.steps import caption_relevance

    images, texts = np.arange(12), np.arange(4)
    for i, j in np.ndindex(12, 4):
        right = ((trained.units.table["image"] == i) & (trained.units.table["text_id"] == j)).any()
        assert caption_relevance(trained.units, images, texts)[i, j] == right


def test_a_sample_of_rows_keeps_their_order_and_does_not_repeat():
    from medclip_nb.lesson.steps import sample_rows

    rows = np.arange(100) * 3
    sample = sample_rows(rows, 20, seed=1)
    assert len(set(sample)) == 20
    assert (np.diff(sample) > 0).all()
    assert sample_rows(rows, 500, seed=1).tolist() == rows.tolist()


def test_zero_shot_accuracy_is_that_of_its_predictions(trained):
    from medclip_nb.lesson.steps import class_score
    from medclip_nb.measure.embeddings import embed_units

    table = embed_units(trained.model, trained.units, np.arange(12))
    table.rows["body_part"] = ["head", "chest", "chest"] * 4
    score, named = class_score(trained, table, "body_part", {p: [f"{p} CT"] for p in ("head", "chest")}, n_bootstrap=50)
    assert score.value == pytest.approx((named == table.rows["body_part"]).mean())
    assert score.chance == pytest.approx(2 / 3)
    assert (score.n, score.name) == (6, "zero-shot body part accuracy")


def test_figures_of_retrieval_become_scores_with_intervals_over_the_patients_who_ask():
    from medclip_nb.lesson.steps import retrieval_scores
    from medclip_nb.measure.ranking import both_ways, by_label

    emb, ids = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) // 3
    found = both_ways(emb, emb[::-1].copy(), by_label(ids, ids))
    scores = retrieval_scores(found, "same case", ids, n_bootstrap=20)
    assert {(way, figure) for way, _, figure in scores} == {(way, name) for way in found for name in found[way]}
    for (way, _, name), score in scores.items():
        assert (score.name, score.n, score.chance) == (f"{way} {name}, same case", 10, found[way][name].chance)
        assert score.value == found[way][name].value
        assert score.low <= score.value <= score.high
    assert [name for (way, _, name), s in scores.items() if way == "text to image" and not s.higher_is_better] == ["median rank"]


def test_recall_over_list_sizes_ends_at_the_recall_of_the_whole_list():
    from medclip_nb.lesson.steps import list_size_curve

    ranks, sizes = np.array([1, 3, 40, 50]), np.array([5, 20, 50])
    curve = list_size_curve(ranks, sizes, np.array(list("aabc")), k=5, n_bootstrap=50)
    assert curve[:, 0][[0, -1]].tolist() == [1, 0.5]
    assert curve[:, 3].tolist() == [1, 0.25, 0.1]
    assert (curve[:, 1] <= curve[:, 0]).all()
    assert (curve[:, 0] <= curve[:, 2]).all()


def test_a_table_of_figures_has_both_directions_beside_each_other_and_chance_beside_each_value():
    few = Score("", 0.04, 0.021, 0.11, 3, "patients", 0.5)
    ranks = Score("", 12.6, 9.0, 30.0, 3, "patients", 100.0)
    kind = {("a to b", "own", "R@1"): SCORE, ("a to b", "own", "median rank"): ranks, ("b to a", "own", "R@1"): few}
    table = figure_table(kind | {("a to b", "any", "R@1"): SCORE})
    assert list(table.columns) == [(way, part) for way in ("a to b", "b to a") for part in ("value", "chance")]
    assert list(table.index) == [("own", "R@1"), ("own", "median rank"), ("any", "R@1")]
    assert table.loc[("own", "R@1")].tolist() == ["0.50 (0.40–0.60)", "0.10", "0.040 (0.021–0.110)", "0.500"]
    assert table.loc[("own", "median rank")].tolist() == ["13 (9–30)", "100", "", ""]
    assert table.loc[("any", "R@1")].tolist() == ["0.50 (0.40–0.60)", "0.10", "", ""]


def test_rows_of_patients_seen_in_training_are_counted():
    from medclip_nb.lesson.steps import seen_in_training

    table = pd.DataFrame({"patient_id": list("aabbcd")})
    score = seen_in_training(table, np.array(["train", "test", "train", "val", "test", "test"]), "by row", n_bootstrap=20)
    assert (score.value, score.n) == (pytest.approx(1 / 3), 3)
    assert score.name.endswith("by row")
    assert not score.higher_is_better


def test_a_model_under_another_contract_is_refused(lesson, trained):
    from medclip_nb.learn.checkpoint import save_model
    from medclip_nb.lesson.steps import trained_slices

    save_model(trained.model, lesson.sibling("05") / "model", contract=picture_contract(8), seen=np.zeros((1, 1, 8, 8)), card="")
    with pytest.raises(ValueError, match="another preprocessing contract; run lesson 05 again"):
        trained_slices(lesson)


def test_lesson_05s_model_is_trained_when_it_is_asked_for_first(lesson, monkeypatch, capsys):
    from medclip_nb.lesson import steps

    monkeypatch.setattr(steps, "PRETRAINED_TOWER", "slice_cnn")
    once, again = steps.trained_slices(lesson), steps.trained_slices(lesson)
    assert all(torch.equal(a, b) for a, b in zip(once.model.parameters(), again.model.parameters(), strict=True))
    card = (lesson.sibling("05") / "model" / "MODEL_CARD.md").read_text()
    assert "Not for clinical use" in card
    assert "synthetic" not in card
