"""Experiments: what is run and what is not run again, what is refused, what the comparison says. One real run, of CT-GLIP."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toy import lps_volume, write_nifti, write_picture

from medclip_nb import cli, config
from medclip_nb.config import PRESETS, RECIPES
from medclip_nb.explore import arms, experiment, experiment_scores, grid
from medclip_nb.explore.arms import Arm
from medclip_nb.explore.prepare import Made
from medclip_nb.learn.organ_units import organ_units
from medclip_nb.learn.pairs import ImagePairs
from medclip_nb.learn.plan import plan
from medclip_nb.lesson.notebook import Lesson
from medclip_nb.measure.detection import detection_scores
from medclip_nb.measure.findings import Truth, mean_auc
from medclip_nb.measure.statistics import draw_patients, mean_score
from medclip_nb.model.organ_encoder import build_organ_encoder
from medclip_nb.model.text_tower import embed_texts
from medclip_nb.pages import course
from medclip_nb.pages.execute import injected
from medclip_nb.pages.progress import Progress
from medclip_nb.pages.site import Outcome

SMOKE = PRESETS["smoke"]
N = {"n_bootstrap": 50}
SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 2


@pytest.fixture
def my_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten pictures of ten patients in three splits."""
    root = tmp_path / "mine"
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(10):
        write_picture(root / f"{i}.png", rng.integers(0, 255, (20, 16), np.uint8))
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(10)], "text": [f"finding {i % 4}" for i in range(10)]})
    table.assign(patient_id=[f"p{i}" for i in range(10)], split=SPLITS).to_csv(root / "texts.csv", index=False)
    return root


@pytest.fixture
def executed(my_home, monkeypatch) -> list[dict]:
    """Parameters of each notebook that is run; none is. `siglip` with seed 7 fails, and with seed 8 is interrupted."""
    seen = []

    def execute(path, parameters, **settings):
        seen.append(parameters)
        recipe, seed = parameters["RECIPE"], parameters["SEED"]
        if (recipe, seed) == ("siglip", 8):
            raise KeyboardInterrupt
        leave(Arm(recipe, parameters["POOLING"], parameters["TOWER"]), seed, parameters["DATASET"])
        return nbformat.v4.new_notebook(), "cell [3]: ValueError: <b>no</b>" if (recipe, seed) == ("siglip", 7) else None

    monkeypatch.setattr(grid, "execute", execute)
    monkeypatch.setattr(course, "n_cores", lambda: 1)
    return seen


def leave(arm: Arm, seed: int, dataset: str) -> None:
    """What a notebook leaves: one score, which is 0.1 higher for siglip, and rises with the seed."""
    products = config.run_dir(arms.number_of(*arm), preset="smoke", dataset=dataset, seed=seed)
    products.mkdir(parents=True, exist_ok=True)
    value = 0.3 + 0.1 * (arm.recipe == "siglip") + 0.01 * seed
    figure = {"name": "R@1", "value": value, "low": value - 0.05, "high": value + 0.05, "n": 2, "unit": "patients"}
    (products / "metrics.json").write_text(json.dumps({"figures": [figure | {"chance": 0.25, "key": True}], "synthetic": False}))
    np.savez(products / "values.npz", names=np.array(["R@1"]), values=value + np.array([[0, -0.05, 0.05, 0.02]]))
    answer = {"picture": "data:,", "true": "its <b>text</b>", "found": [["<i>right</i>", True], [f"{arm.recipe} thinks", False]]}
    about = {"settings": {"image tower": "<u>x</u>"}, "learnt": 0.5, "examples": [answer]}
    (products / "about.json").write_text(json.dumps(about))


def run(where: Path, recipes: list[str], seeds: list[int], *, poolings=(), towers=(), **options) -> tuple[Path, list]:
    asked = grid.Asked(tuple(recipes), tuple(seeds), tuple(poolings), tuple(towers))
    return grid.run(str(where), asked, preset="smoke", **options)


def ran(executed: list[dict]) -> list[tuple[str, int]]:
    return [(p["RECIPE"], p["SEED"]) for p in executed]


def reports(home: Path, folder: Path) -> Path:
    return home / "reports" / "experiments" / config.label_of(str(folder))


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def test_a_grid_has_files_for_each_recipe_and_seed_and_one_page(folder, executed, my_home):
    page, outcomes = run(folder, ["clip", "siglip"], [0, 3, 0])
    assert page == reports(my_home, folder) / "index.html"
    names = [f"{r}-seed{s}" for r in ("clip", "siglip") for s in (0, 3)]
    expected = [f"{n}.{suffix}" for n in names for suffix in ("html", "ipynb", "metrics.json", "values.npz")]
    assert files(page.parent) == sorted([*expected, "index.html"])
    assert [o.error for o in outcomes] == [None] * 4


def test_every_parameter_reaches_the_notebook_and_seeds_go_round_before_recipes_do(folder, executed):
    run(folder, ["siglip", "clip"], [0, 1])
    assert ran(executed) == [("siglip", 0), ("clip", 0), ("siglip", 1), ("clip", 1)]
    about = {"PRESET": "smoke", "SEED": 0, "DATASET": str(folder), "RECIPE": "siglip", "POOLING": "", "TOWER": ""}
    assert executed[0] == about


def test_poolings_and_towers_are_arms_of_their_own_with_files_of_their_own(folder, executed):
    page, _ = run(folder, ["clip", "siglip"], [0], poolings=["mean_max", "grid"], towers=["slice_cnn"])
    arms_of = [(p["RECIPE"], p["POOLING"], p["TOWER"]) for p in executed]
    assert arms_of == [(r, q, "slice_cnn") for r in ("clip", "siglip") for q in ("mean_max", "grid")]
    assert "siglip-grid-slice_cnn-seed0.html" in files(page.parent)
    assert "siglip · grid · slice_cnn" in page.read_text()


def test_without_a_recipe_those_that_the_data_can_serve_are_run(folder, executed):
    run(folder, [], [0])
    assert ran(executed) == [("clip", 0), ("siglip", 0), ("selip", 0)]


def test_with_organ_masks_ct_glip_is_one_of_the_usual_recipes(torso):
    assert arms.suited(torso) == ("clip", "siglip", "ct_glip")
    assert arms.suited(replace(torso, manifest=torso.manifest.assign(mask=""))) == ("clip", "siglip", "selip")


def test_two_folders_of_one_name_share_neither_reports_nor_run_folders(folder, executed, tmp_path):
    other = tmp_path / "elsewhere" / "mine"
    shutil.copytree(folder, other)
    pages = [run(where, ["clip"], [0])[0] for where in (folder, other)]
    assert pages[0] != pages[1]
    assert ran(executed) == [("clip", 0)] * 2
    assert len(list((config.artifacts_dir() / "lessons").glob("90-mine-*"))) == 2


def test_a_second_process_in_the_same_folder_is_refused_and_a_dead_one_holds_nothing(folder, executed):
    holds = "lock = FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True); time.sleep(60)"
    code = f"import sys, time; from filelock import FileLock; {holds}"
    page, _ = run(folder, ["clip"], [0])
    with subprocess.Popen([sys.executable, "-c", code, page.parent / ".lock"], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match="another experiment on mine is running here"):
            run(folder, ["siglip"], [0])
        other.kill()
    run(folder, ["siglip"], [0])
    assert ran(executed) == [("clip", 0), ("siglip", 0)]


def test_finished_runs_are_not_run_again_unless_that_is_asked_for(folder, executed):
    run(folder, ["clip"], [0])
    run(folder, ["clip", "siglip"], [0])
    assert ran(executed) == [("clip", 0), ("siglip", 0)]
    state = config.run_dir("90", preset="smoke", dataset=str(folder), seed=0) / "clip" / "training"
    state.mkdir(parents=True)
    run(folder, ["clip"], [0], again=True)
    assert ran(executed)[2:] == [("clip", 0)]
    assert not state.exists()  # or it would go on from the end of the first training


def other_text(folder: Path) -> None:
    file = folder / "texts.csv"
    file.write_text(file.read_text().replace("finding 3", "nothing"))


def other_image(folder: Path) -> None:
    write_picture(folder / "3.png", np.zeros((20, 16), np.uint8))


@pytest.mark.parametrize("change", [other_text, other_image])
def test_other_data_of_the_same_name_is_run_anew_and_the_old_score_is_not_shown(folder, executed, change):
    run(folder, ["clip", "siglip"], [0])
    change(folder)
    page, _ = run(folder, ["clip"], [0])
    assert ran(executed)[2:] == [("clip", 0)]
    assert "siglip-seed0" not in page.read_text()


def test_another_recipe_of_the_same_name_is_another_run(folder, executed, monkeypatch):
    run(folder, ["clip"], [0])
    monkeypatch.setitem(RECIPES, "clip", replace(RECIPES["clip"], scale=20.0))
    run(folder, ["clip"], [0])
    assert ran(executed) == [("clip", 0)] * 2


def test_what_an_older_version_left_in_the_folder_is_no_run_of_this_one(folder, executed, my_home):
    reports(my_home, folder).mkdir(parents=True)
    (reports(my_home, folder) / "clip-seed0.metrics.json").write_text('{"recipe": "clip", "seed": 0, "settings": "x"}')
    run(folder, ["clip"], [0])
    assert ran(executed) == [("clip", 0)]


def test_a_later_experiment_keeps_earlier_recipes_on_its_page(folder, executed):
    run(folder, ["siglip"], [0])
    page, _ = run(folder, ["clip"], [0])
    assert "siglip-seed0.html" in page.read_text()
    assert "against clip" in page.read_text()


def test_a_failed_run_is_named_with_its_reason_counts_for_nothing_and_is_run_again(folder, executed):
    page, outcomes = run(folder, ["clip", "siglip"], [7])
    assert [o.error for o in outcomes] == [None, "cell [3]: ValueError: <b>no</b>"]
    assert "&lt;b&gt;no" in page.read_text()
    assert "1 run stopped" in page.read_text()
    assert not (page.parent / "siglip-seed7.metrics.json").exists()
    run(folder, ["clip", "siglip"], [7])
    assert ran(executed) == [("clip", 7), ("siglip", 7), ("siglip", 7)]


def test_an_interrupt_loses_only_the_run_it_is_in_and_leaves_whole_files(folder, executed, my_home):
    with pytest.raises(KeyboardInterrupt):
        run(folder, ["clip", "siglip"], [8])
    found = reports(my_home, folder)
    assert [name.split(".")[0] for name in files(found)] == ["clip-seed8"] * 4 + ["index"]
    assert "clip-seed8.html" in (found / "index.html").read_text()
    assert not list(my_home.rglob("*.part*"))
    run(folder, ["clip"], [8])
    assert ran(executed) == [("clip", 8), ("siglip", 8)]


@pytest.mark.parametrize("name", ["write_report", "write_text"])
def test_a_run_whose_files_could_not_all_be_written_is_not_finished(folder, executed, monkeypatch, name):
    page, _ = run(folder, ["clip", "siglip"], [0])

    def full(path, *args):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(grid, "write_page", lambda *args: page)
        patch.setattr(grid, name, full)
        with pytest.raises(OSError, match="disk full"):
            run(folder, ["clip"], [0], again=True)
    assert not (page.parent / "clip-seed0.metrics.json").exists()
    run(folder, ["clip"], [0])
    assert ran(executed)[2:] == [("clip", 0)] * 2


def test_the_page_has_data_chance_seeds_and_the_paired_difference_and_asks_nobody(folder, executed):
    page, _ = run(folder, ["clip", "siglip"], [0, 1])
    text = page.read_text()
    plain = " ".join(re.sub(r"<[^>]+>", " ", text[text.index("<header>") :]).split())
    assert "train 6 6 4 2 val 2 2 2 2 test 2 2 2 2" in plain
    assert "real images" in plain
    assert "R@1 2 patients, chance 0.25" in plain
    assert "R@1 clip 0.30 0.26 to 0.35 0.25 – 0 : 0.30 (0.25 to 0.35) 1 : 0.31 (0.26 to 0.36)" in plain
    assert "siglip 0.41 0.36 to 0.45 0.25 +0.10 (+0.10 to +0.10; seeds +0.10 to +0.10) 0 : 0.40 (0.35 to 0.45)" in plain
    assert all(f'href="{r}-seed{s}.html"' in text for r in ("clip", "siglip") for s in (0, 1))
    assert "<script" not in text
    assert "default-src &#39;none&#39;" in text


def test_the_page_shows_what_each_model_answers_with_right_and_wrong_marked_and_all_escaped(folder, executed):
    text = run(folder, ["clip", "siglip"], [0])[0].read_text()
    assert "its &lt;b&gt;text&lt;/b&gt;" in text
    assert '<dd class="right"><span class="mark">✓</span>&lt;i&gt;right&lt;/i&gt;</dd>' in text
    assert text.index("<dt>clip</dt>") < text.index("clip thinks") < text.index("<dt>siglip</dt>") < text.index("siglip thinks")
    assert "image tower: &lt;u&gt;x&lt;/u&gt;" in text


def test_a_run_of_an_experiment_is_headed_as_one_and_leads_back_to_the_comparison(folder, executed):
    page, _ = run(folder, ["clip"], [0])
    text = (page.parent / "clip-seed0.html").read_text()
    assert '<p class="number">Experiment</p>' in text
    assert "← The comparison" in text
    assert "Lesson 90" not in text


def figures(values: np.ndarray) -> list[dict]:
    return [{"name": "x", "value": values[0], "low": 0.1, "high": 0.3, "n": 5, "unit": "patients", "chance": 0.2}]


def made_up(keys: list[tuple[str, int]], n: int = 40) -> dict:
    rng = np.random.default_rng(0)
    return {key: {"values": {"x": (v := rng.random(n))}, "figures": figures(v)} for key in keys}


def test_a_mean_over_seeds_has_the_interval_of_the_mean_on_each_resample():
    runs = made_up([("a", 2), ("a", 10), ("b", 0)])
    row, _ = experiment_scores.compare(runs, ["a", "b"])
    both = [runs["a", 2]["values"]["x"], runs["a", 10]["values"]["x"]]
    means = sorted((p + q) / 2 for p, q in zip(both[0][1:], both[1][1:], strict=True))
    assert row["value"] == pytest.approx((both[0][0] + both[1][0]) / 2)
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist())
    assert list(row["seeds"]) == [2, 10]


def test_a_difference_is_taken_over_the_seeds_that_both_recipes_have():
    runs = made_up([("a", 0), ("a", 1), ("b", 1), ("b", 2), ("c", 5)])
    gains = {row["recipe"]: row.get("gain") for row in experiment_scores.compare(runs, ["a", "b", "c"])}
    steps = runs["b", 1]["values"]["x"] - runs["a", 1]["values"]["x"]
    assert (gains["a"], gains["c"]) == (None, None)
    assert gains["b"].value == pytest.approx(steps[0])
    assert [gains["b"].low, gains["b"].high] == pytest.approx(np.quantile(steps[1:], [0.025, 0.975]).tolist())


def test_a_difference_has_an_interval_over_seeds_by_the_t_distribution():
    runs = made_up([(name, seed) for name in "ab" for seed in range(3)])
    row = experiment_scores.compare(runs, ["a", "b"])[1]
    steps = [runs["b", s]["values"]["x"][0] - runs["a", s]["values"]["x"][0] for s in range(3)]
    low, high = stats.t.interval(0.95, 2, np.mean(steps), stats.sem(steps))
    assert [row["gain_seeds"].low, row["gain_seeds"].high] == pytest.approx([low, high])
    assert list(row["gain_by_seed"].values()) == pytest.approx(steps)


def test_a_score_that_no_resample_moves_keeps_the_seeds_own_interval():
    runs = {("a", 0): {"values": {"x": np.zeros(20)}, "figures": figures(np.zeros(1))}}
    (row,) = experiment_scores.compare(runs, ["a"])
    assert (row["value"], row["low"], row["high"]) == (0, 0.1, 0.3)


def test_a_measure_that_only_one_recipe_has_stands_alone():
    runs = made_up([("a", 0), ("b", 0)])
    runs["b", 0]["values"]["y"], y = np.ones(40), figures(np.ones(1))[0] | {"name": "y"}
    runs["b", 0]["figures"].append(y)
    rows = experiment_scores.compare(runs, ["a", "b"])
    assert [(r["name"], r["recipe"]) for r in rows] == [("x", "a"), ("x", "b"), ("y", "b")]
    assert "gain" not in rows[-1]


def some_truth(n: int = 60) -> tuple[Truth, np.ndarray]:
    rng = np.random.default_rng(1)
    labels, asked = rng.random((n, 3)) < 0.4, rng.random((n, 3)) < 0.9
    patients = np.array([f"p{i // 2}" for i in range(n)])
    return Truth(("a", "b", "c"), labels, asked, patients), np.where(asked, rng.normal(size=(n, 3)) + labels, np.nan)


def test_the_values_of_a_mean_are_those_of_a_loop_over_resamples():
    truth, _ = some_truth()
    hits = truth.labels[:, 0]
    measure = experiment_scores.of_items("x", hits, truth.patients, chance=0.1, **N)
    assert measure.score == mean_score("x", hits, truth.patients, chance=0.1, **N)
    people = np.unique(truth.patients)
    slow = [np.concatenate([hits[truth.patients == people[i]] for i in draw]).mean() for draw in draw_patients(30, 50, seed=0)]
    assert measure.values.tolist() == pytest.approx([hits.mean(), *slow])


def test_the_values_of_a_mean_auc_give_its_interval():
    truth, scores = some_truth()
    measure = experiment_scores.of_findings("x", truth, scores, **N)
    assert measure.score == mean_auc("x", truth, [scores], **N)
    ends = np.nanquantile(measure.values[1:], [0.025, 0.975])
    assert [measure.values[0], *ends] == pytest.approx([measure.score.value, measure.score.low, measure.score.high])


@pytest.mark.parametrize("limits", [[0.5, 0.2, 0.9], [0.5, np.nan, -np.inf]])
def test_the_values_of_a_mean_f1_give_its_interval_and_the_tables(limits):
    truth, scores = some_truth()
    limits = np.array(limits)
    measure, table = experiment_scores.of_yes_or_no("x", truth, scores, limits, **N)
    pd.testing.assert_frame_equal(table, detection_scores(truth, scores, limits, **N))
    ends = np.nanquantile(measure.values[1:], [0.025, 0.975])
    assert [measure.values[0], *ends] == pytest.approx(table.iloc[-1][["f1", "f1_low", "f1_high"]].tolist())


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_put_into_words(name):
    said, recipe = experiment.describe(RECIPES[name]), RECIPES[name]
    assert said.startswith(experiment.SAYS[recipe.loss])
    assert experiment.SAYS[recipe.targets] in said
    assert (experiment.SAYS["same_organ"] in said) == (recipe.normals == "same_organ")
    assert ("No batch holds a text twice" in said) == (recipe.batches == "distinct")
    assert ("matches organs with their names" in said) == bool(recipe.names_weight)


@pytest.mark.parametrize(("name", "harmed"), [("clip", True), ("clip_same_text", False)])
def test_own_words_among_wrong_texts_are_counted(name, harmed, torso_units, encoder):
    pairs = ImagePairs(torso_units, embed_texts(torso_units.texts), RECIPES[name])
    made = Made(Arm(name), torso_units, pairs, encoder, plan(SMOKE, seed=0))
    right, wrong, own_words = experiment.one_batch(made)
    assert not (right & wrong).any()
    assert (right | wrong).all()
    assert own_words.any() == harmed


def test_a_split_table_counts_patients_images_and_texts():
    rows = [("p", "train", "a b"), ("p", "train", "a b"), ("q", "train", "a b c d"), ("r", "test", "one")]
    table = experiment.split_table(pd.DataFrame(rows, columns=["patient_id", "split", "report"]))
    assert table.index.tolist() == ["train", "test"]
    assert table.to_numpy().tolist() == [[2, 3, 2, 2], [1, 1, 1, 1]]


def consistent(result: experiment_scores.Result) -> None:
    for score, values in result.measures:
        assert values[0] == pytest.approx(score.value)
        assert score.low <= score.value <= score.high
        assert score.chance is not None
    assert len({len(values) for _, values in result.measures}) == 1


def test_images_are_scored_both_ways_by_class_and_by_finding(torso_units, encoder):
    lesson = Lesson("90", preset=SMOKE, seed=0, dataset="torso")
    result = experiment_scores.score_images(lesson, encoder, torso_units)
    consistent(result)
    ways = [f"{way} R@{k}" for way in ("image to text", "text to image") for k in (1, 10)]
    assert [s.name for s in result.scores[1:]] == ["zero-shot body part accuracy", *ways]
    assert np.mean([s.value for s in result.parts]) == pytest.approx(result.scores[0].value)


def test_without_the_column_findings_organs_are_scored_by_rules_and_the_report_says_so(torso):
    silent = replace(torso, manifest=torso.manifest.assign(findings=""))
    units = organ_units(silent)
    model = build_organ_encoder(RECIPES["ct_glip"], units.organs.names, channels=3, seed=0).eval()
    result = experiment_scores.score_organs(Lesson("90", preset=SMOKE, seed=0, dataset="torso"), model, units)
    consistent(result)
    assert "by rules" in result.truth
    assert result.scores[-1].chance == pytest.approx(1 / 12)
    assert len(result.yes_or_no) > 1


def volumes(folder: Path) -> Path:
    """CT volumes with reports, without masks."""
    for i in range(10):
        write_nifti(folder / f"{i}.nii.gz", lps_volume(i), "LPS")
    rows = [f"{i}.nii.gz,a scan,CT,{split}" for i, split in enumerate(SPLITS)]
    (folder / "texts.csv").write_text("\n".join(["image,text,modality,split", *rows]))
    return folder


def crossing(folder: Path) -> Path:
    (folder / "texts.csv").write_text((folder / "texts.csv").read_text().replace(",p0,", ",p9,"))
    return folder


def one_tested(folder: Path) -> Path:
    (folder / "texts.csv").write_text((folder / "texts.csv").read_text().replace(",p8,", ",p9,"))
    return folder


def broken(folder: Path) -> Path:
    (folder / "4.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize(
    ("change", "recipe", "says"),
    [
        (volumes, "ct_glip", "recipe ct_glip cannot be run on mine: it needs organ masks, and column 'mask' is empty"),
        (volumes, "radclip_true", "rows with one text do not say which organs they show; choose clip_same_text"),
        (None, "ct_glip", "it learns from organs in volumes, and these are pictures; choose clip"),
        (None, "radclip_true", "rows with one text do not say which organs they show; choose clip_same_text"),
        (None, "glip", "unknown recipe 'glip'; choose one of: clip, "),
        (crossing, "clip", "1 patients are in more than one split"),
        (one_tested, "clip", "the test split has 1 patients, and an interval needs 2"),
        (broken, "clip", "row 6, column 'image'"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_code_2_before_anything_is_run(
    change, recipe, says, folder, executed, capsys, my_home
):
    data = change(folder) if change else folder
    assert cli.main(["experiment", str(data), "--preset", "smoke", "--recipe", recipe]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.strip().count("\n") == 0
    assert executed == []
    assert not (my_home / "reports").exists()


@pytest.mark.parametrize(("data", "says"), [("no_such_data", "unknown dataset 'no_such_data'"), ("no/such", "no such file")])
def test_unknown_data_is_one_line_and_code_2(data, says, executed, capsys):
    assert cli.main(["experiment", data]) == 2
    assert says in capsys.readouterr().err
    assert executed == []


def test_the_command_hands_its_options_on_says_where_the_page_is_and_fails_with_a_run(monkeypatch, capsys, tmp_path):
    asked = []

    def fake(*args, **options):
        asked.append((args, options))
        return tmp_path / "index.html", [
            SimpleNamespace(error=None),
            SimpleNamespace(error="broke" if options["again"] else None),
        ]

    monkeypatch.setattr(grid, "run", fake)
    assert cli.main(["experiment", "x"]) == 0
    more = ["--recipe", "a", "b", "--seed", "4", "4", "--pooling", "p", "q", "--tower", "t", "-o", "d"]
    assert cli.main(["experiment", "x", *more, "--preset", "smoke", "--again"]) == 1
    assert asked[0] == (("x", grid.Asked()), {"preset": "cpu", "folder": None, "again": False})
    assert asked[1] == (
        ("x", grid.Asked(("a", "b"), (4,), ("p", "q"), ("t",))),
        {"preset": "smoke", "folder": Path("d"), "again": True},
    )
    assert capsys.readouterr().out == f"{tmp_path / 'index.html'}\n" * 2


def test_the_line_of_an_ended_run_says_how_many_are_left_and_about_how_long(capsys):
    about = {"number": "90", "title": "", "question": "", "preset": "smoke", "dataset": "x", "seed": 0, "date": ""}
    with Progress(4, at_once=2) as progress:
        progress.finished(Outcome(name="clip-seed0", seconds=30.0, **about))
        progress.finished(Outcome(name="clip-seed1", seconds=60.0, **about))
    first, second = capsys.readouterr().err.strip().splitlines()
    assert first.endswith("clip-seed0  30 s  3 left, about 45 s")
    assert second.endswith("2 left, about 45 s")


def test_its_help_says_what_is_run_when_no_recipe_is_named(capsys):
    assert cli.main(["experiment", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{' '.join(arms.TRIED_WITH_MASKS)} where there are organ masks, else {' '.join(arms.TRIED)}" in said


def test_its_help_has_examples(capsys):
    assert cli.main(["experiment", "--help"]) == 0
    assert "examples:\n  medclip-nb experiment ./my_images" in capsys.readouterr().out


def test_ct_glip_runs_from_the_command_to_the_page(torso, home, tmp_path):
    page, (outcome,) = run("torso", ["ct_glip"], [5], folder=tmp_path)
    assert outcome.error is None
    executed = nbformat.read(tmp_path / "ct_glip-seed5.ipynb", 4)
    about = {"PRESET": "smoke", "SEED": 5, "DATASET": "torso", "RECIPE": "ct_glip", "POOLING": "", "TOWER": ""}
    assert injected(executed) == about
    record = json.loads((tmp_path / "ct_glip-seed5.metrics.json").read_text())
    names = [figure["name"] for figure in record["figures"]]
    assert names[0] == "mean AUC, finding against normal"
    assert "organs named rightly" in names
    assert all(name in page.read_text() for name in names)
    assert "The data are synthetic" in page.read_text()
    assert "known from the column 'findings'" in json.dumps(executed.cells)
