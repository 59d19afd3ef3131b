"""Lesson 06 on stacks of a fresh encoder: cases, weights against the masks, other spacings, what is handed over."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from medclip_nb.config import PRESETS, RECIPES, SLICE_TOWER
from medclip_nb.data.catalog import load
from medclip_nb.data.studies import load_units
from medclip_nb.learn.checkpoint import from_pretrained
from medclip_nb.lesson import images, pooling, radclip
from medclip_nb.lesson.notebook import Lesson
from medclip_nb.lesson.steps import Trained
from medclip_nb.model.adapter import build_adapter
from medclip_nb.model.dual_encoder import build_model

QUICK = replace(PRESETS["smoke"], adapter_epochs=1, n_bootstrap=50)


@pytest.fixture(scope="module")
def adapters(encoder) -> dict:
    """Untrained, of every pooling that the lesson shows."""
    return {name: build_adapter(name, encoder, seed=1).eval() for name in pooling.SHOWN}


@pytest.fixture
def lesson(tmp_path, monkeypatch, torso) -> Lesson:
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    made = Lesson("06", preset=QUICK, seed=0, dataset="torso")
    made._data = torso
    return made


@pytest.fixture
def of_pictures(picture_folder):
    """Stacks and units of a folder of pictures, of which nobody knows what they show, and one adapter."""
    data = load(str(picture_folder), QUICK)
    units = load_units(data)
    model = build_model(RECIPES["clip"], image_tower=SLICE_TOWER, channels=units.images.shape[1], seed=0).eval()
    stacks = radclip.volumes(model, data, units)
    split = ["train", "train", "val", "val", "test", "test"]
    return replace(stacks, table=stacks.table.assign(split=split)), units, {"mean": build_adapter("mean", model, seed=0).eval()}


def test_a_case_is_the_finding_on_fewest_slices_but_on_two(volumes, torso_units):
    case = pooling.a_case(volumes, torso_units)
    table = torso_units.table
    table = table[(table["split"] == "test") & table["finding"].isin(radclip.focal(torso_units))]
    counts = table.groupby(["study_id", "finding"])["slice"].agg(sorted)
    assert case.row in volumes.rows("test")
    own = counts[volumes.stacks.study_ids[case.row], case.finding]
    assert np.flatnonzero(case.shows).tolist() == own
    assert len(own) == min(len(slices) for slices in counts if len(slices) >= 2)


def test_without_a_finding_on_two_slices_there_is_no_case(volumes, torso_units):
    once = torso_units.table.drop_duplicates(["study_id", "finding"])
    units = replace(torso_units, table=pd.concat([once, torso_units.table[torso_units.table["split"] == "train"]]))
    assert radclip.focal(units) != []
    assert pooling.a_case(volumes, units) is None


def test_pictures_without_masks_have_no_case_and_no_lesion(of_pictures):
    stacks, units, adapters = of_pictures
    assert pooling.a_case(stacks, units) is None
    assert pooling.weight_on_lesion(adapters, stacks, units, n_bootstrap=20) == []


def test_the_volume_of_a_case_is_what_the_network_gets(volumes, torso_units, torso):
    case = pooling.a_case(volumes, torso_units)
    volume = pooling.case_volume(case, torso_units, volumes)
    study = torso.manifest.index[torso.manifest["study_id"] == volumes.stacks.study_ids[case.row]][0]
    assert volume.shape[:2] == (3, 24)
    for z in range(24):
        assert np.array_equal(volume[:, z], torso_units.images[24 * study + z, :, 0])


def test_the_outline_of_a_finding_lies_where_its_slices_show_it(volumes, torso_units, torso):
    case = pooling.a_case(volumes, torso_units)
    lesson = Lesson("06", preset=PRESETS["smoke"], seed=0, dataset="torso")
    lesson._data = torso
    masks = images.outlines(lesson, volumes.table.iloc[case.row], case.finding)
    volume = pooling.case_volume(case, torso_units, volumes)
    assert next(iter(masks)) == case.finding
    assert all(mask.shape == volume.shape[1:] for mask in masks.values())
    assert set(np.flatnonzero(case.shows)) <= set(np.flatnonzero(masks[case.finding].any((1, 2))))
    assert np.median(volume[1][masks["left lung"]]) == 0 < np.median(volume[1][masks["liver"]])
    assert np.argwhere(masks["left lung"])[:, 2].mean() > np.argwhere(masks["right lung"])[:, 2].mean()
    assert list(images.outlines(lesson, volumes.table.iloc[case.row], case.finding, organs=())) == [case.finding]


def test_weights_of_a_case_sum_to_1_and_the_prompt_asks_for_the_finding(volumes, torso_units, adapters):
    case = pooling.a_case(volumes, torso_units)
    found = pooling.weights_of(case, adapters, volumes)
    assert list(found) == list(adapters)
    assert all(weights.sum() == pytest.approx(1, abs=1e-5) for weights in found.values())
    assert found["mean"].tolist() == pytest.approx([1 / 24] * 24)
    assert sorted(found["middle"])[-2:] == [0, 1]
    other = pooling.weights_of(replace(case, finding="splenomegaly"), adapters, volumes)
    assert [name for name in found if not np.allclose(found[name], other[name], atol=1e-7)] == ["prompt"]


def test_equal_weights_are_at_chance_exactly(volumes, torso_units, adapters):
    scores = {s.name.split(":")[0]: s for s in pooling.weight_on_lesion(adapters, volumes, torso_units, n_bootstrap=50)}
    assert list(scores) == list(adapters)
    assert scores["mean"].value == pytest.approx(scores["mean"].chance, abs=1e-7)
    assert len({s.chance for s in scores.values()}) == 1
    assert 0 < scores["mean"].chance < radclip.FOCAL_SHARE
    assert all(s.low <= s.value <= s.high for s in scores.values())


def test_an_adapter_that_looks_at_lesions_alone_scores_1(volumes, torso_units, encoder):
    """Coordinate k of a slice says whether it shows finding k, coordinate k of a text whether it is its prompt."""
    focal = radclip.focal(torso_units)
    slices = torch.zeros(104, 24, 128)
    slices[:, :, : len(focal)] = torch.from_numpy(radclip.shown(torso_units, volumes, focal)).float()
    features = torch.zeros_like(volumes.features)
    for k, name in enumerate(focal):
        features[volumes.prompts[name], k] = 1
    seer = build_adapter("prompt", encoder, seed=0).eval()
    seer.encode_texts = lambda texts: texts[:, :128]
    share = lambda s, mask, mm, text: (s @ text.T / (s @ text.T).sum(1, keepdim=True)).transpose(1, 2)  # noqa: E731
    seer.weights = share
    told = replace(volumes, stacks=volumes.stacks._replace(slices=slices), features=features)
    (score,) = pooling.weight_on_lesion({"seer": seer}, told, torso_units, n_bootstrap=20)
    assert score.value == pytest.approx(1, abs=1e-6)


def test_doubled_slices_and_padding_change_nothing_and_halving_does(volumes, adapters):
    moved = pooling.respaced(adapters, volumes, volumes.rows("test"))
    assert list(moved.index) == list(pooling.SHOWN)
    assert list(moved) == ["doubled", "halved", "padded"]
    assert moved[["doubled", "padded"]].to_numpy() == pytest.approx(1, abs=1e-4)
    assert (moved["halved"] < 1 - 1e-6).all()


def test_a_study_counts_alike_in_any_company(volumes, adapters):
    rows = volumes.rows("test")[:4]
    together = pooling.respaced(adapters, volumes, rows)["halved"]
    alone = [pooling.respaced(adapters, volumes, rows[i : i + 1])["halved"] for i in range(4)]
    assert together.to_numpy() == pytest.approx(np.mean(alone, axis=0), abs=1e-5)


def test_all_poolings_are_trained_alike_from_the_same_weights(lesson, volumes, encoder, monkeypatch):
    given = []
    monkeypatch.setattr(pooling, "pretrain", lambda model, pairs, recipe, plan: given.append((recipe, plan)) or pd.DataFrame())
    made, histories = pooling.train_all(lesson, encoder, volumes)
    assert list(made) == list(histories) == list(pooling.SHOWN)
    assert given == [(RECIPES["radclip"], radclip.adapter_plan(QUICK, seed=0))] * len(pooling.SHOWN)
    assert all(torch.equal(a.text_head.weight, encoder.text_head.weight) for a in made.values())


def test_an_adapter_really_trains_and_is_left_ready(lesson, volumes, encoder, monkeypatch):
    monkeypatch.setattr(pooling, "SHOWN", ("attention",))
    made, histories = pooling.train_all(lesson, encoder, volumes)
    assert not made["attention"].training
    assert not torch.equal(made["attention"].text_head.weight, encoder.text_head.weight)
    assert len(histories["attention"]) == QUICK.adapter_epochs


def test_every_pooling_has_its_three_figures(lesson, volumes, torso_units, adapters):
    chosen = {name: adapters[name] for name in ("mean", "prompt")}
    found = pooling.score_all(lesson, chosen, volumes, torso_units)
    for name, scores in found.items():
        what = ["AUC of focal findings", "AUC of diffuse findings", "report to study R@1"]
        assert [s.name for s in scores] == [f"{name}: {w}" for w in what]
        assert [s.chance for s in scores][:2] == [0.5, 0.5]
        assert scores[2].chance == pytest.approx(1 / 24, abs=0.01)
    assert list(found) == ["mean", "prompt"]


def test_of_pictures_only_retrieval_is_scored(lesson, of_pictures):
    stacks, units, adapters = of_pictures
    (score,) = pooling.score_all(lesson, adapters, stacks, units)["mean"]
    assert score.name == "mean: report to study R@1"
    assert score.n == 2


def pixels_of(units, study_ids: np.ndarray) -> torch.Tensor:
    """(study, channel, slice, row, column), by the units' own table."""
    table = units.table.drop_duplicates("image").sort_values("slice")
    images = [units.images[table.loc[table["study_id"] == name, "image"], :, 0] for name in study_ids]
    return torch.from_numpy(np.stack(images)).transpose(1, 2)


def test_what_is_handed_over_gives_from_pixels_what_adapter_and_encoder_gave(lesson, volumes, torso_units, encoder, adapters):
    history = pd.DataFrame({"val_loss": [3.0], "no_learning": [4.0]})
    pooling.hand_over(lesson, Trained(encoder, torso_units), adapters, dict.fromkeys(pooling.KEPT, history))
    rows, texts = volumes.rows("test")[:2], volumes.features[:30]
    slices, mask, position_mm = volumes.of(rows)
    pixels = pixels_of(torso_units, volumes.stacks.study_ids[rows])
    for name in pooling.KEPT:
        model, contract, _ = from_pretrained(lesson.folder / f"model_{name}")
        found = model((pixels, mask, position_mm), texts)
        assert torch.allclose(found, adapters[name]((slices, mask, position_mm), texts), atol=1e-4)
        assert contract == lesson.data.contract
