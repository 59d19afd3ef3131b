"""What lesson 07 asks of CT-GLIP: states, truth, prompts and scores."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_organ_units import NAMES, features_of, texts_of, toy_units

from medclip_nb.config import ORGAN_BATCH, PRESETS, RECIPES
from medclip_nb.data.manifest import ManifestError
from medclip_nb.data.phantoms import FINDING_PHRASES
from medclip_nb.learn.organ_pairs import OrganPairs
from medclip_nb.learn.organ_units import OrganUnits
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.lesson import ct_glip, radclip
from medclip_nb.lesson.ct_glip import FEWEST, found, prompts, states, truth
from medclip_nb.measure.organs import AGAINST, embed_organs, state_cosines, state_scores
from medclip_nb.model.organ_encoder import OrganEncoder, build_organ_encoder
from medclip_nb.text.organ_texts import finding_prompts, normal_sentence, swapped

REPORTS = (
    *("Hepatic cyst. Splenomegaly. Cyst in the left kidney.", "Liver cyst. The spleen is enlarged.") * 3,
    *("Hepatic steatosis. Cyst in the left kidney.",) * 5,
    "Hepatic cyst and steatosis.",
    *("Normal.", "Large hepatic cyst, 40 mm. Stone in the right kidney.") * 2,
    *("Stone in the right kidney. A cyst of the liver is seen.",) * 6,
)
SPLITS = ("train",) * 12 + ("val",) * 4 + ("test",) * 6
ASKED = [
    ("kidney_left", ""), ("kidney_left", "cyst"), ("liver", ""), ("liver", "cyst"), ("liver", "steatosis"),
    ("spleen", ""), ("spleen", "splenomegaly"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_text_tower(monkeypatch):
    """Features that are made up, and known by their text."""
    monkeypatch.setattr(ct_glip, "embed_texts", features_of)
    monkeypatch.setattr(radclip, "embed_texts", features_of)


@pytest.fixture(scope="module")
def units() -> OrganUnits:
    """Reports, and no findings that were drawn."""
    return toy_units(REPORTS, SPLITS, unused=((0, "liver"), (16, "spleen")))


@pytest.fixture(scope="module")
def drawn() -> OrganUnits:
    """Findings that were drawn, and reports that say something else."""
    units = toy_units(REPORTS, SPLITS)
    kinds = [("liver", "metastases"), ("kidney_right", "stone"), ("kidney_left", "stone"), ("heart", "cardiomegaly")]
    own = [[kinds[0]] + [kinds[1]] * (i < 5) + [kinds[2]] * (i > 7) + [kinds[3]] for i in range(len(REPORTS))]
    units.table["findings"] = [
        json.dumps([{"organ": o, "finding": f} for o, f in pairs] * (i != 20)) for i, pairs in enumerate(own)
    ]
    return units


@pytest.fixture(scope="module")
def model() -> OrganEncoder:
    return build_organ_encoder(RECIPES["ct_glip"], NAMES, channels=1, seed=0).eval()


# what is so


def test_without_drawn_findings_reports_say_what_is_so(units):
    assert found(units)[0] == {("liver", "cyst"), ("spleen", "splenomegaly"), ("kidney_left", "cyst")}
    assert found(units)[11] == {("liver", "cyst"), ("liver", "steatosis")}
    assert found(units)[12] == set()


def test_drawn_findings_count_where_every_study_has_some(drawn):
    assert found(drawn)[0] == {("liver", "metastases"), ("kidney_right", "stone"), ("heart", "cardiomegaly")}
    assert found(drawn)[20] == set()


def test_findings_that_only_some_studies_have_do_not_count():
    units = toy_units(REPORTS, SPLITS)
    units.table.loc[3:, "findings"] = "[]"
    assert found(units)[0] == {("liver", "cyst"), ("spleen", "splenomegaly"), ("kidney_left", "cyst")}


@pytest.mark.parametrize("text", ["cyst", "{}x", '["cyst"]', '[{"organ": "liver"}]', "3"])
def test_drawn_findings_that_cannot_be_read_are_named_by_row_and_column(text):
    units = toy_units(REPORTS, SPLITS)
    units.table["findings"] = "[]"
    units.table.loc[2, "findings"] = text
    with pytest.raises(ManifestError, match=r"made up: row 4, column 'findings': .* is no list like"):
        found(units)


def test_of_each_organ_the_normal_state_comes_first_and_then_its_frequent_findings(units):
    assert states(units) == ASKED


def test_findings_of_a_handful_of_training_studies_are_asked_about_and_others_not(drawn):
    n_train = {side: sum((f"kidney_{side}", "stone") in found(drawn)[i] for i in range(12)) for side in ("left", "right")}
    assert n_train == {"left": FEWEST - 1, "right": FEWEST}
    assert states(drawn) == [("kidney_right", ""), ("kidney_right", "stone"), ("liver", ""), ("liver", "metastases")]


def test_a_finding_that_a_report_repeats_counts_once():
    repeated = "Hepatic cyst. There is a liver cyst. The liver has a cyst.\n\nIMPRESSION: Hepatic cyst."
    units = toy_units((repeated,) * 4 + ("Normal.",) * 4, ("train",) * 4 + ("val",) * 4)
    assert states(units) == []


def test_truth_says_who_has_what_and_asks_usable_organs_only(units):
    rows = np.array([0, 16, 12, 11])
    found = truth(units, rows, ASKED)
    assert found.names == ("left kidney: renal cyst", "liver: hepatic cyst", "liver: hepatic steatosis", "spleen: splenomegaly")
    assert found.labels.tolist() == [
        [True, True, False, True], [False, True, False, False], [False] * 4, [False, True, True, False]
    ]  # fmt: skip
    assert found.asked.tolist() == [[True, False, False, True], [True, True, True, False], [True] * 4, [True] * 4]
    assert found.patients.tolist() == ["s0", "s16", "s12", "s11"]


def test_truth_is_what_was_drawn_where_that_is_known(drawn):
    found = truth(drawn, np.array([0, 6, 20]), states(drawn))
    assert found.names == ("right kidney: renal stone", "liver: hepatic metastases")
    assert found.labels.tolist() == [[True, True], [False, True], [False, False]]


# prompts


def test_prompts_from_reports_are_the_phrases_that_training_reports_state_it_with(units):
    assert prompts(units, ("liver", "cyst")) == ["hepatic cyst", "liver cyst"]
    assert prompts(units, ("spleen", "splenomegaly")) == ["splenomegaly", "the spleen is enlarged"]
    assert prompts(units, ("kidney_left", "cyst")) == ["cyst in the left kidney"]


def test_no_prompt_comes_from_the_reports_of_other_splits(units):
    asked = [(organ, f) for organ in NAMES for f in ("", "cyst", "stone", "steatosis", "splenomegaly")]
    told = {text for state in asked for wording in ct_glip.WORDINGS for text in prompts(units, state, wording)}
    assert not told & {"a cyst of the liver is seen", "large hepatic cyst", "stone in the right kidney"}
    assert "hepatic cyst and steatosis" not in told  # states two


def test_what_no_training_report_says_and_what_is_asked_for_has_templates(units):
    stone = finding_prompts("kidney_right", "renal stone", present=True)
    assert prompts(units, ("kidney_right", "stone")) == prompts(units, ("kidney_right", "stone"), "templates") == stone
    assert prompts(units, ("liver", "cyst"), "templates") == finding_prompts("liver", "hepatic cyst", present=True)


def test_normal_has_the_sentence_of_the_training_texts_or_its_ensemble(units):
    assert prompts(units, ("liver", "")) == [normal_sentence("liver")]
    assert prompts(units, ("liver", ""), "templates") == finding_prompts("liver", "", present=False)


@pytest.mark.parametrize("change", [str, swapped])
def test_a_state_is_embedded_as_the_mean_of_its_prompts(units, model, change):
    embedded = ct_glip.state_embeddings(model, units, ASKED, change=change)
    for row, state in zip(embedded, ASKED, strict=True):
        own = [model.encode_texts(features_of([change(text)]))[0] for text in prompts(units, state)]
        wanted = torch.nn.functional.normalize(torch.stack(own).mean(0), dim=0)
        assert np.allclose(row, wanted.detach().numpy(), atol=1e-5)


def test_asking_about_the_other_side_changes_paired_organs_only(units, model):
    one, other = (ct_glip.state_embeddings(model, units, ASKED, change=change) for change in (str, swapped))
    paired = np.array([organ.startswith("kidney") for organ, _ in ASKED])
    assert np.allclose(one[~paired], other[~paired], atol=1e-6)
    assert (np.abs(one[paired] - other[paired]).max(1) > 1e-3).all()


# scores


def test_both_scores_are_those_of_the_states_cosines(units, model):
    rows = units.rows("test")
    emb, texts = embed_organs(model, units, rows), ct_glip.state_embeddings(model, units, ASKED)
    cosines = state_cosines(emb, texts, np.array([NAMES.index(organ) for organ, _ in ASKED]))
    scores = ct_glip.organ_scores(model, units, emb, ASKED)
    assert list(scores) == list(AGAINST)
    for against, own in scores.items():
        wanted = state_scores(cosines, ASKED, scale=model.logit_scale.item(), against=against)
        assert np.allclose(own, wanted, atol=1e-5, equal_nan=True)
        assert np.array_equal(np.isnan(own), ~truth(units, rows, ASKED).asked)


def test_an_organ_is_named_by_the_nearest_name_by_a_loop(units, model):
    emb = embed_organs(model, units, np.arange(4))
    names, found = model.encode_texts(units.names).detach().numpy(), ct_glip.named(model, units, emb)
    for i, k in np.ndindex(4, len(NAMES)):
        wanted = max(range(len(NAMES)), key=lambda n: emb[i, k] @ names[n]) if units.organs.used[i, k] else np.nan
        assert np.array_equal(found[i, k], wanted, equal_nan=True)
    assert np.isnan(found).sum() == 1


def test_clip_on_whole_volumes_is_scored_in_the_same_way(units):
    model, rows = ct_glip.global_model(units, seed=0).eval(), np.array([5, 0, 16])
    emb = model.encode_images(torch.from_numpy(units.volumes[0][rows])).detach().numpy()
    cosines = emb @ ct_glip.state_embeddings(model, units, ASKED).T
    for against, own in ct_glip.global_scores(model, units, rows, ASKED).items():
        assert np.allclose(own, state_scores(cosines, ASKED, scale=model.logit_scale.item(), against=against), atol=1e-4)


def test_clip_on_whole_volumes_is_trained_with_whole_reports(units):
    batch = ct_glip.global_pairs(units).batch(np.array([0, 11]))
    assert set(texts_of(batch.features)) == {REPORTS[0], REPORTS[11]}
    assert torch.equal(batch.images[0], torch.from_numpy(units.volumes[0][[0, 11]]))


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_a_plan_has_several_steps_in_an_epoch(preset):
    plan = ct_glip.organ_plan(preset, seed=3)
    assert (plan.epochs, plan.seed) == (preset.organ_epochs, 3)
    assert 4 <= plan.batch_size <= ORGAN_BATCH
    assert preset.n_train // plan.batch_size >= 8


def test_every_finding_that_is_drawn_has_a_phrase():
    assert {ct_glip.phrase_of((organ, finding)) for organ, finding in FINDING_PHRASES} == set(FINDING_PHRASES.values())
    assert ct_glip.phrase_of(("kidney_left", "cyst")) == FINDING_PHRASES["kidney", "cyst"]
    assert ct_glip.phrase_of(("brain", "tumour")) == "tumour"


@pytest.mark.parametrize("form", ["crops", "map"])
def test_a_model_trains_on_organs_and_says_how_well(units, form):
    plan, recipe = ct_glip.organ_plan(PRESETS["smoke"], seed=0), RECIPES["ct_glip"]
    plan = replace(plan, precision="no")  # bf16 is refused for volumes of so few slices
    model = build_organ_encoder(recipe, NAMES, channels=1, seed=0, form=form)
    history = pretrain(model, OrganPairs(units, recipe, form=form), recipe=recipe, plan=plan)
    assert len(history) == plan.epochs
    assert (history["floor"] < history["val_loss"]).all()
    assert history["val_loss"].notna().all()
