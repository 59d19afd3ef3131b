"""What lesson 13 looks up and makes of maps: cases, pairs of prompts, checks, verdicts, poolings and organs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from medclip_nb import config
from medclip_nb.data.preprocessing import Preprocessing
from medclip_nb.data.studies import load_units
from medclip_nb.lesson import explanations, grounding, map_checks, organ_maps, steps
from medclip_nb.lesson.notebook import Lesson
from medclip_nb.measure import explain
from medclip_nb.model.adapter import build_adapter, with_encoder
from medclip_nb.model.organ_encoder import build_organ_encoder
from medclip_nb.show import explanations as sheets
from medclip_nb.text.organ_texts import spoken

PATIENTS = np.array([f"p{i}" for i in range(8)])
SHAPE = (8, 1, 6, 6)


@pytest.fixture(scope="module")
def lesson(torso):
    return Lesson("13", preset=config.PRESETS["smoke"], seed=0, dataset="torso")


@pytest.fixture(scope="module")
def trained(encoder, torso_units):
    return steps.Trained(encoder, torso_units)


@pytest.fixture(scope="module")
def cases(lesson, trained):
    return explanations.cases_of(lesson, trained)


def lesions() -> np.ndarray:
    found = np.zeros(SHAPE, bool)
    found[:, :, 2, 3] = True
    return found


def perfect_and_blind() -> explanations.Maps:
    """Two methods: one finds the lesion when asked for it and something else for nonsense, one hears no prompt."""
    rng = np.random.default_rng(0)
    noise, heard = rng.random((2, *SHAPE)), rng.random((2, *SHAPE))
    heard[0][lesions()] = 9
    return {"hears": heard, "deaf": np.stack([noise[0], noise[0]])}


def test_each_case_is_one_patient_with_a_lesion_inside_of_its_organ_and_body(cases):
    assert len(set(cases.patients)) == len(cases.patients) == len(cases.images)
    sizes, organs = cases.lesions.sum((1, 2, 3)), cases.organs.sum((1, 2, 3))
    assert (sizes >= explanations.FEWEST_PX).all()
    assert (sizes < explanations.MOST_OF_ORGAN * organs).all()
    assert (cases.organs & ~cases.body).sum() < 0.01 * cases.organs.sum()


def test_cases_are_test_slices_that_show_what_their_prompt_says(cases, torso_units):
    table = torso_units.table
    for image, text, normal, study in zip(cases.images, cases.texts, cases.normal, cases.studies, strict=True):
        own = table[(table["study_id"] == study) & (table["text"] == text)]
        assert set(own["split"]) == {"test"}
        assert any((torso_units.images[i] == image).all() for i in own["image"])
        assert text.startswith(f"{normal}, ")


def test_pictures_without_masks_are_asked_for_their_own_texts(picture_folder, encoder):
    own = Lesson("13", preset=config.PRESETS["smoke"], seed=0, dataset=str(picture_folder))
    units = load_units(own.data)
    found = explanations.cases_of(own, steps.Trained(encoder, units))
    assert found.lesions is None
    assert found.normal == []
    assert found.body.all()
    assert set(found.texts) <= set(units.texts)


def test_directions_come_in_pairs_and_the_contrast_is_a_difference(trained, cases):
    asked = explanations.directions(trained, cases)
    assert asked.shape == (4, len(cases.images), 128)
    assert np.allclose(asked[0] - asked[2], asked[1] - asked[3], atol=1e-6)
    assert np.allclose(np.linalg.norm(asked[:2], axis=-1), 1, atol=1e-5)
    assert np.ptp(asked[1], axis=0).max() == 0


def test_maps_are_linear_in_what_is_asked(trained, cases, torso):
    asked, fill = explanations.directions(trained, cases)[:, :2], explanations.fills(torso.contract)["air"]
    for maps in explanations.slice_maps(trained.model, cases.images[:2], asked, fill).values():
        assert maps.shape == (4, 2, 1, *cases.images.shape[-2:])
        assert np.allclose(maps[0] - maps[2], maps[1] - maps[3], atol=1e-4)


def test_fills_are_air_and_soft_tissue_in_each_window_and_greys_of_a_picture(torso):
    filled = explanations.fills(torso.contract)
    (low, high), grey = torso.contract.windows_hu[1], explanations.FILL_HU["soft tissue"]
    assert filled["air"][1] == 0
    assert filled["soft tissue"][1] == pytest.approx(255 * (grey - low) / (high - low), abs=1)
    assert explanations.fills(Preprocessing((1, 8, 8)))["grey"] == (128,)


def judged() -> tuple[pd.DataFrame, pd.DataFrame]:
    maps, by = perfect_and_blind(), (1, -1)
    moved = {name: explain.shifted(m, by, fill=0.0) for name, m in maps.items()}
    forgot = {"hears": np.random.default_rng(1).random((2, *SHAPE)), "deaf": maps["deaf"]}
    area = np.ones(SHAPE, bool)
    judges = map_checks.sanity(maps, forgot, moved, by, area) | map_checks.pointing(maps, lesions(), area)
    table = map_checks.per_image(maps, PATIENTS, judges)
    return table, map_checks.pointing_table(table, n_bootstrap=50)


def test_a_map_that_hears_the_prompt_passes_and_a_deaf_one_does_not():
    table, pointed = judged()
    verdict = map_checks.verdicts(table, pointed, n_bootstrap=50).droplevel("asked")
    assert verdict.loc["hears", "passed"] == 5
    deaf = verdict.loc["deaf"]
    assert not deaf["unlike nonsense"]
    assert not deaf["unlike random weights"]
    assert deaf["moves along"]
    assert not deaf["points better than nonsense"]


def test_gains_are_paired_differences_of_the_columns():
    table, pointed = judged()
    own = table[table["map"] == "hears"]
    row = pointed.loc[("hears", "prompt alone")]
    assert row["above chance"] == pytest.approx((own["hit"] - own["chance"]).mean())
    assert row["above nonsense hit"] == pytest.approx((own["hit"] - own["nonsense hit"]).mean())
    assert row["chance"] == pytest.approx(1 / 36)
    assert pointed.loc[("deaf", "prompt alone"), "above nonsense hit"] == 0


def test_a_map_that_is_constant_everywhere_fails_what_cannot_be_checked():
    maps = {"flat": np.ones((2, *SHAPE))}
    judges = map_checks.sanity(maps, maps, maps, (1, 1), np.ones(SHAPE, bool))
    table = map_checks.per_image(maps, PATIENTS, judges)
    assert map_checks.means(table, n_bootstrap=50) == {}
    assert map_checks.verdicts(table, None, n_bootstrap=50)["passed"].tolist() == [0]


def test_attention_is_deaf_to_the_prompt_and_the_prompts_own_pooling_is_not(trained, cases):
    few = replace(cases, texts=cases.texts[:3], studies=cases.studies[:3], patients=cases.patients[:3])
    adapters = {p: with_encoder(build_adapter(p, trained.model, seed=0).eval(), trained.model) for p in ("attention_4", "prompt")}
    alike = organ_maps.weights_alike(adapters, trained, few, slice_mm=5.0).groupby("map")["a nonsense prompt"].mean()
    assert alike["slice weights, attention_4"] == pytest.approx(1)
    assert alike["slice weights, prompt"] < 0.999


@pytest.fixture(scope="module")
def organs(lesson):
    units = grounding.units_of(lesson)
    model = build_organ_encoder(grounding.RECIPE, units.organs.names, channels=3, seed=0).eval()
    return model, units, organ_maps.organ_cases(model, units)


def test_organs_with_a_lesion_come_by_the_size_of_their_crops(organs):
    _, units, groups = organs
    assert len({g.crops.shape[2:] for g in groups}) == len(groups)
    for group in groups:
        assert (group.lesions & group.inside).any((1, 2, 3)).all()
        assert np.allclose(group.asked[0] - group.asked[2], group.asked[1] - group.asked[3], atol=1e-6)
        names = [spoken(units.organs.names[k]) for k in group.organ]
        assert all(title.startswith(name) for title, name in zip(group.titles, names, strict=True))


def test_the_cells_of_an_organ_are_lesson_sevens_map(organs):
    model, units, groups = organs
    group = groups[0]
    maps = organ_maps.maps_of(model, group.crops, group)
    with torch.inference_mode():
        cells = model.encode_cells(*(torch.from_numpy(x) for x in (group.crops[:, :-1], group.crops[:, -1], group.organ))).numpy()
    heat = np.einsum("nzyxd,nd->nzyx", cells, group.asked[2])
    assert explain.rank_correlation(maps["cells of the organ"][2][..., ::2, ::2], heat.astype(float)).min() > 0.5
    assert (maps[organ_maps.MASK] == maps[organ_maps.MASK][:1]).all()


def test_the_mask_passes_nothing_but_the_shift(organs):
    model, _, groups = organs
    table = organ_maps.checked(model, groups, seed=1)
    own = table[table["map"] == organ_maps.MASK]
    assert np.allclose(own["a nonsense prompt"].dropna(), 1)
    assert np.allclose(own["random weights"].dropna(), 1)
    assert (own["hit"] == own["nonsense hit"]).all()


def test_a_sheet_has_an_image_and_a_map_per_column_and_survives_a_map_without_a_positive():
    images, none = np.zeros((2, 8, 8), np.uint8), -np.ones((2, 8, 8))
    figure = sheets.relevance_sheet(images, {"a": none, "b": none + 2}, None, ["x", "y"])
    assert [ax.get_title() for ax in figure.axes[:3]] == ["image", "a", "b"]
    assert figure.axes[1].images[-1].get_array().max() == 0
    assert figure.axes[2].images[-1].get_array().max() == 1


def test_pairs_and_boxes_show_each_map_once():
    table, pointed = judged()
    ax = sheets.pointing_pairs(pointed, xlabel="hits")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["hears, prompt alone", "deaf, prompt alone"]
    boxes = sheets.alike_boxes(table.rename(columns={"a nonsense prompt": "value"}), 0.5, xlabel="alike")
    assert [t.get_text() for t in boxes.get_yticklabels()] == ["hears", "deaf"]
