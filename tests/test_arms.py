"""Arms of an experiment: what fits which data, the models behind them, and a tower that is left as it is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_experiment import SMOKE, SPLITS, executed, folder, my_home, ran, run  # noqa: F401  fixtures
from tiny import save_vision
from toy import lps_volume, write_nifti

from medclip_nb.config import RECIPES
from medclip_nb.data import catalog
from medclip_nb.explore import arms, experiment
from medclip_nb.explore.arms import Arm
from medclip_nb.explore.experiment_scores import score_images
from medclip_nb.explore.prepare import prepare, settings
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.lesson import selip
from medclip_nb.lesson.notebook import Lesson
from medclip_nb.model.adapter import SliceAdapter


@pytest.fixture
def scans(tmp_path):
    """Ten small MR volumes with different texts."""
    for i in range(10):
        write_nifti(tmp_path / f"{i}.nii.gz", lps_volume(i), "LPS")
    table = pd.DataFrame({"image": [f"{i}.nii.gz" for i in range(10)], "text": [f"finding {i}" for i in range(10)]})
    table.assign(modality="MR", split=SPLITS).to_csv(tmp_path / "texts.csv", index=False)
    return tmp_path


def lesson_on(path) -> Lesson:
    return Lesson("90", preset=SMOKE, seed=0, dataset=str(path))


@pytest.mark.parametrize(
    ("recipe", "pooling", "says"),
    [
        ("clip", "attention", "of a picture the cells of its map are pooled; choose mean_max, grid"),
        ("clip", "prompt", "pooling prompt does not fit"),
        ("clip", "query", "pooling query does not fit"),
    ],
)
def test_a_pooling_that_does_not_fit_pictures_is_refused_with_those_that_do(recipe, pooling, says, folder, executed):  # noqa: F811
    with pytest.raises(ValueError, match=says):
        run(folder, [recipe], [0], poolings=[pooling])
    assert executed == []


def test_slices_are_pooled_of_volumes_only_and_organs_have_poolings_of_their_own(torso, scans):
    volumes = catalog.load(scans, SMOKE)
    assert arms.missing(volumes, Arm("clip", "attention")) == ""
    assert "slice" in arms.missing(torso, Arm("clip", "attention"))
    assert arms.missing(torso, Arm("ct_glip", "query")) == ""
    assert "organ" in arms.missing(torso, Arm("ct_glip", "grid"))
    assert "leave the tower out" in arms.missing(torso, Arm("ct_glip", tower="resnet10"))


@pytest.mark.parametrize("tower", ["no_such_tower", "volume_cnn"])
def test_a_tower_that_cannot_be_had_is_refused_before_anything_is_run(tower, folder, executed):  # noqa: F811
    with pytest.raises(ValueError, match=tower):
        run(folder, ["clip"], [0], towers=[tower])
    assert executed == []


@pytest.mark.parametrize("pooling", ["", "mean_max", "mean", "attention", "self_attention"])
def test_every_pooling_of_volumes_trains_and_is_scored(pooling, scans):
    lesson = lesson_on(scans)
    made = prepare(lesson, "clip", pooling)
    assert isinstance(made.model, SliceAdapter) == (pooling in arms.OF_SLICES)
    history = pretrain(made.model, made.pairs, recipe=made.recipe, plan=replace(made.plan, epochs=1))
    result = score_images(lesson, made.model, made.units, beside=made.pairs.beside)
    assert np.isfinite(history["val_loss"]).all()
    assert all(score.low <= score.value <= score.high for score in result.scores)
    assert len(result.examples) == 2
    assert (pooling or "grid") == settings(made)["pooling"]


def test_a_tower_with_few_pictures_stays_as_it_is_and_its_maps_give_what_it_gives(folder):  # noqa: F811
    lesson = lesson_on(folder)
    made = prepare(lesson, "clip")
    assert made.frozen
    before = [p.clone() for p in made.model.tower.parameters()]
    pretrain(made.model, made.pairs, recipe=made.recipe, plan=replace(made.plan, epochs=2))
    assert all(torch.equal(a, b) for a, b in zip(before, made.model.tower.parameters(), strict=True))
    images = torch.from_numpy(made.units.images)
    with torch.inference_mode():
        known = made.model.encode_images(images, *made.pairs.beside)
        torch.testing.assert_close(known, made.model.encode_images(images))


def test_with_enough_steps_the_tower_is_trained(folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr("medclip_nb.explore.prepare.FEWEST_STEPS", 1)
    made = prepare(lesson_on(folder), "clip")
    assert not made.frozen
    assert made.pairs.beside == ()
    assert all(p.requires_grad for p in made.model.tower.parameters())


def test_a_folder_with_a_checkpoint_is_a_tower_by_path_and_keeps_the_machine_out_of_the_page(folder, executed, tmp_path):  # noqa: F811
    tower = save_vision("ViT", tmp_path / "my_vit")
    made = prepare(lesson_on(folder), "clip", "", str(tower))
    assert made.frozen
    assert settings(made)["image tower"].startswith("my_vit")
    page, _ = run(folder, ["clip"], [0], towers=[str(tower)])
    assert executed[0]["TOWER"] == str(tower)
    assert str(tmp_path) not in page.read_text()
    (tower / "config.json").write_text((tower / "config.json").read_text() + " ")
    run(folder, ["clip"], [0], towers=[str(tower)])
    assert ran(executed) == [("clip", 0)] * 2  # other weights are another run


@pytest.mark.parametrize(
    ("text", "by_rules"), [("A nodule in the left upper lobe, case {}.", True), ("Figure {} of the paper.", False)]
)
def test_selip_reads_findings_only_from_texts_that_the_rules_understand(text, by_rules, folder):  # noqa: F811
    table = pd.read_csv(folder / "texts.csv")
    table.assign(text=[text.format(i) for i in range(10)]).to_csv(folder / "texts.csv", index=False)
    made = prepare(lesson_on(folder), "selip")
    said = experiment.compared_by(made)
    assert ("100%" in said) == by_rules
    assert ("nothing but their sentence embeddings" in said) == (not by_rules)
    alike = made.pairs.similarity.numpy()
    emb = made.pairs.features.numpy() - made.pairs.features.numpy()[selip.training_texts(made.units)].mean(0)
    cosines = np.clip(emb @ emb.T / np.outer(*[np.linalg.norm(emb, axis=1)] * 2), 0, 1)
    assert np.allclose(alike, cosines, atol=1e-5) == (not by_rules)


def test_a_csv_of_texts_is_a_dataset_as_its_folder_is(folder, executed):  # noqa: F811
    page, _ = run(folder / "texts.csv", ["clip"], [0])
    assert ran(executed) == [("clip", 0)]
    by_file, by_folder = (catalog.load(path, SMOKE).manifest for path in (folder / "texts.csv", folder))
    pd.testing.assert_frame_equal(by_file, by_folder)


def test_every_recipe_says_whether_it_runs_on_pictures(folder):  # noqa: F811
    data = catalog.load(folder, SMOKE)
    runs = [name for name in RECIPES if not arms.missing(data, Arm(name))]
    assert {"clip", "siglip", "selip"} <= set(runs)
    assert {"ct_glip", "radclip_true"}.isdisjoint(runs)
