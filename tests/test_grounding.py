"""What lesson 07 shows: a batch as a picture, sides, maps, broken masks; and what claims make of organs."""

import numpy as np
import pandas as pd
import pytest

from medclip_nb import config
from medclip_nb.claims import organs as organ_studies
from medclip_nb.data.manifest import ManifestError
from medclip_nb.learn.organ_units import organ_units
from medclip_nb.lesson import claims, ct_glip, grounding
from medclip_nb.lesson.notebook import Lesson
from medclip_nb.measure.organs import embed_organs
from medclip_nb.model.organ_encoder import build_organ_encoder
from medclip_nb.pages import organ_page

CASES = 6  # studies


@pytest.fixture(scope="module")
def units(torso):
    return organ_units(torso)


@pytest.fixture(scope="module")
def model(units):
    return build_organ_encoder(grounding.RECIPE, units.organs.names, channels=3, seed=0).eval()


def test_in_the_picture_of_a_batch_each_organ_owns_a_text_and_asks_only_its_own_kind(units):
    code, of_unit, of_text, n_owned = grounding.batch_codes(units, units.rows("train")[:8], ("liver", "spleen"))
    assert (code == 2).any(1).all()
    assert not (code[:, n_owned:] == 2).any()
    same = np.array(of_unit)[:, None] == np.array(of_text)
    assert (code[~same] == 0).all()
    assert (code[same] != 0).all()


def test_an_organ_with_one_kind_of_finding_has_only_phrases_that_collide(units):
    table = grounding.collisions(units)
    assert table.loc["spleen", "collision rate"] == 1
    assert 0 < table.loc["liver", "collision rate"] < 1


def test_a_finding_on_both_sides_says_nothing_about_sides():
    labels, usable = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool), np.ones((4, 2), bool)
    usable[3, 0] = False
    assert [tuple(map(int, item)) for item in grounding.side_items(labels, usable, [(0, 1)])] == [(0, 0, 1, 1)]


def test_with_the_organ_chosen_by_its_mask_the_oracle_of_both_sides_is_found(units, model, monkeypatch):
    truth_of = ct_glip.truth

    def oracle(model, units, emb, asked, *, wording="reports", change=str):
        labels = truth_of(units, units.rows("train"), asked).labels.astype(float)
        return {"normal": labels, "all other states": labels}

    monkeypatch.setattr(ct_glip, "organ_scores", oracle)
    scores = grounding.sides(model, units, units.rows("train"), ct_glip.states(units), n_bootstrap=20)
    assert scores[0].value == 1
    assert len(scores) == 4


def test_swapping_left_and_right_in_the_words_changes_no_score_of_an_unpaired_organ(units, model):
    rows, asked = units.rows("test")[:CASES], ct_glip.states(units)
    emb = embed_organs(model, units, rows)
    plain, swap = (
        ct_glip.organ_scores(model, units, emb, asked, wording="templates", change=c)["normal"] for c in (str, grounding.swapped)
    )
    paired = np.array(["left" in s[0] or "right" in s[0] for s in asked if s[1]])
    assert np.allclose(plain[:, ~paired], swap[:, ~paired], equal_nan=True)
    assert not np.allclose(plain[:, paired], swap[:, paired], equal_nan=True)


def test_maps_lie_on_the_grid_of_the_crop_and_point_where_they_are_made_to(units, model):
    rows = units.rows("test")[:CASES]
    found = grounding.looks(model, units, rows, ct_glip.states(units))
    assert found
    assert all(one.crop.shape == one.heat.shape == one.lesion.shape for _, _, one in found)
    perfect = [(row, state, grounding.replace(one, heat=one.lesion.astype(float))) for row, state, one in found]
    scores = grounding.pointing(units, perfect, n_bootstrap=20)
    assert scores[0].value == 1
    assert 0 < scores[0].chance < 0.5


def test_a_mask_beside_its_organs_a_lost_half_and_a_short_list_are_noticed(units):
    table = grounding.broken_masks(units, units.rows("test")[0])
    assert not table["as it is"].isin(["misplaced", "not labelled", "empty"]).any()
    assert (table.iloc[:, 1] == "misplaced").any()
    assert (table.iloc[:, 2] == "empty").any()
    assert table.loc["liver", "one class list short"] == "not labelled"


def test_pictures_are_refused_with_what_to_do():
    lesson = Lesson("07", preset=config.PRESETS["smoke"], seed=0, dataset="radiographs")
    with pytest.raises(ManifestError, match="TotalSegmentator"):
        grounding.units_of(lesson)


def test_a_table_of_organs_compares_each_variant_with_the_first_on_the_same_patients(units, monkeypatch):
    monkeypatch.setattr(organ_studies, "units_of", lambda preset: units)
    asked, test = ct_glip.states(units), units.rows("test")
    labels, rng = ct_glip.truth(units, test, asked).labels.astype(float), np.random.default_rng(0)
    named = np.where(units.organs.used[test], np.arange(len(units.organs.names)), np.nan)
    cells = {
        (v, 0): {"normal": s, "all other states": s, "seconds": np.array(5.0), "named": named}
        for v, s in (("good", labels), ("blind", rng.normal(size=labels.shape)))
    }
    table = organ_studies.organs_table(cells, config.PRESETS["smoke"]).set_index(["variant", "measure", "seed"])
    assert table.loc[("good", "AUC against normal", "mean")]["value"].iloc[0] == 1
    assert table.loc[("blind", "AUC against normal", "minus good")]["high"].item() < 0
    assert table.loc[("good", "organs named rightly", "mean")]["value"].item() == 1


def test_every_variant_of_the_studies_is_published():
    for name, variants in (
        ("organs", organ_studies.FORMS),
        ("organ_parts", organ_studies.PARTS),
        ("organ_dictionary", organ_studies.DICTIONARY),
        ("organ_ideas", organ_studies.COMBINED),
        ("organ_labels", organ_studies.LABELS),
    ):
        table = claims.published(name)
        assert set(table["variant"]) == set(variants)
        assert {"0", "1", "2"} <= set(table["seed"].astype(str))


def test_one_scan_is_looked_at_organ_by_organ(units, tmp_path):
    study = units.table.iloc[units.rows("test")[0]]
    (tmp_path / "classes.json").write_text(pd.Series(units.dataset.mask_classes).to_json())
    mask = tmp_path / "organs.nii.gz"
    mask.write_bytes((units.dataset.root / study["mask"]).read_bytes())
    scan, organs, table = organ_page.examine(units.dataset.root / study["image"], mask)
    assert (table["use"] == "used").sum() >= 10
    assert table.loc[table["organ"] == "liver", "median HU"].item() > 0
    assert len(organ_page.picture(scan, organs).axes) >= organ_page.N_SLICES
