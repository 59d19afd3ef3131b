"""What the lessons ask of RadCLIP: truth from the masks, prompts from training reports, scores against slow loops."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from medclip_nb.claims.radclip import _slices
from medclip_nb.config import ADAPTER_BATCH, ADAPTER_RATE, PRESETS, PROMPT_TAU, RECIPES, SLICE_TOWER
from medclip_nb.data.catalog import load
from medclip_nb.data.phantoms import FINDING_PHRASES, caption
from medclip_nb.data.studies import load_units
from medclip_nb.lesson import radclip
from medclip_nb.measure.embeddings import embed_images
from medclip_nb.model.adapter import build_adapter
from medclip_nb.model.dual_encoder import build_model
from medclip_nb.model.text_tower import embed_texts
from medclip_nb.text.reports import findings
from medclip_nb.text.sections import told

NAMES = ("gallstone", "lung nodule", "splenomegaly")


@pytest.fixture(scope="module")
def some(volumes) -> np.ndarray:
    """A few test studies, not in order."""
    return volumes.rows("test")[[3, 0, 7]]


@pytest.fixture(scope="module")
def test_images(torso_units) -> np.ndarray:
    return _slices(torso_units, "test")[0]


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("within", radclip.WITHIN)
def test_the_truth_of_slices_agrees_with_a_loop_over_their_captions(torso_units, test_images, within):
    made, table = radclip.slice_truth(torso_units, test_images, within=within), torso_units.table
    rows = dict(list(table[table["image"].isin(test_images)].groupby("image")))
    for k, name in enumerate(made.names):
        has = [name in set(rows[i]["finding"]) for i in test_images]
        regions = {rows[i]["body_part"].iloc[0] for i, h in zip(test_images, has, strict=True) if h}
        classes = radclip.classes_of(radclip.ORGAN_OF[name])
        asked = [rows[i]["body_part"].iloc[0] in regions for i in test_images]
        if within == "organ":
            asked = [a and bool(classes & set(rows[i]["organs"].iloc[0])) for a, i in zip(asked, test_images, strict=True)]
        assert made.labels[:, k].tolist() == has
        assert made.asked[:, k].tolist() == asked


def test_within_the_organ_fewer_are_asked_and_the_truth_is_the_same(torso_units, test_images):
    region, organ = (radclip.slice_truth(torso_units, test_images, within=w) for w in radclip.WITHIN)
    assert not (organ.asked & ~region.asked).any()
    assert (organ.asked.sum(0) < region.asked.sum(0)).sum() > len(organ.names) / 2
    assert np.array_equal(organ.labels, region.labels)
    assert (region.asked | ~region.labels).all()  # who shows it is always asked


def test_the_order_of_images_is_the_order_of_the_truth(torso_units, test_images):
    one, turned = (radclip.slice_truth(torso_units, i, within="organ") for i in (test_images, test_images[::-1]))
    assert np.array_equal(one.labels, turned.labels[::-1])
    assert np.array_equal(one.asked, turned.asked[::-1])
    assert one.patients.tolist() == turned.patients[::-1].tolist()


def test_another_way_to_ask_is_refused(torso_units, test_images):
    with pytest.raises(ValueError, match="unknown within 'organs'; choose one of: region, organ"):
        radclip.slice_truth(torso_units, test_images, within="organs")


def test_an_organ_has_the_classes_of_both_its_sides():
    assert radclip.classes_of("kidney") == {"kidney_left", "kidney_right"}
    assert len(radclip.classes_of("lung")) == 5
    assert radclip.classes_of("liver") == {"liver"}
    assert all(radclip.classes_of(organ) for organ, _ in FINDING_PHRASES)


def test_the_truth_of_volumes_is_the_manifests(torso):
    table = torso.manifest[torso.manifest["split"] == "test"]
    made = radclip.volume_truth(table)
    assert made.asked.all()
    assert made.patients.tolist() == table["patient_id"].tolist()
    for row, text in zip(made.labels, table["findings"], strict=True):
        said = {FINDING_PHRASES[pair] for pair in FINDING_PHRASES if f'"{pair[1]}"' in text and f'"{pair[0]}' in text}
        assert {name for name, has in zip(made.names, row, strict=True) if has} <= said
    assert made.labels.any(0).all()


def test_the_extent_of_a_finding_agrees_with_a_loop(torso_units, torso):
    table = torso_units.table[torso_units.table["split"] == "train"]
    for name, share in radclip.extent(torso_units).items():
        counts = [len(set(own["image"])) for _, own in table[table["finding"] == name].groupby("study_id")]
        assert share == pytest.approx(np.median(counts) / torso.contract.size[0])


def test_focal_findings_are_those_of_small_extent(torso_units):
    extent, focal = radclip.extent(torso_units), radclip.focal(torso_units)
    assert set(focal) < set(extent.index)
    assert extent[focal].max() <= radclip.FOCAL_SHARE < extent.drop(focal).min()
    assert "gallstone" in focal
    assert "emphysema" not in focal


def test_where_masks_are_not_known_nothing_is_focal(picture_folder):
    units = load_units(load(str(picture_folder), PRESETS["smoke"]))
    assert len(radclip.extent(units)) == 0
    assert radclip.focal(units) == []


def test_a_slice_is_scored_with_the_caption_of_its_own_region(encoder):
    emb = torch.nn.functional.normalize(torch.randn(5, 128, generator=torch.Generator().manual_seed(0)), dim=-1).numpy()
    regions = np.array(["chest", "pelvis", "abdomen", "chest", "abdomen"])
    found = radclip.slice_scores(encoder, emb, regions, NAMES)
    for i, region in enumerate(regions):
        for k, name in enumerate(NAMES):
            text = encoder.encode_texts(embed_texts([caption(region, name)]))[0]
            assert found[i, k] == pytest.approx(float(text.detach().numpy() @ emb[i]), abs=1e-5)


def test_volumes_are_the_slices_of_each_study_from_the_feet_upwards(encoder, volumes, torso, torso_units):
    table = torso_units.table.drop_duplicates("image")
    assert volumes.table["study_id"].tolist() == volumes.stacks.study_ids.tolist() == sorted(torso.manifest["study_id"])
    assert volumes.stacks.mask.all()
    assert volumes.stacks.position_mm[5].tolist() == pytest.approx(np.arange(24) * torso.contract.spacing_mm[0])
    for i in (0, 17, 103):
        own = table[table["study_id"] == volumes.stacks.study_ids[i]].sort_values("slice")
        wanted = embed_images(encoder, torso_units.images[own["image"]])
        assert volumes.stacks.slices[i].numpy() == pytest.approx(wanted, abs=1e-5)


def test_a_study_says_the_sentences_of_its_report_and_no_others(volumes):
    for report, own in zip(volumes.table["report"], volumes.said, strict=True):
        assert [volumes.sentences[k] for k in own] == sorted(set(told(report)))
    assert sorted(set(np.concatenate(volumes.said))) == list(range(len(volumes.sentences)))
    assert torch.equal(volumes.features[:3], embed_texts(volumes.sentences[:3]))


def test_a_report_of_nothing_has_no_sentence():
    sentences, said, features = radclip.sentence_table(pd.Series(["A cyst.", "<br>"]))
    assert sentences == ["A cyst."]
    assert [own.tolist() for own in said] == [[0], []]
    assert features.shape == (1, 384)


def test_every_prompt_states_its_finding_and_nothing_else_in_words_of_training_reports(volumes):
    train = {s for report in volumes.table["report"][volumes.table["split"] == "train"] for s in told(report)}
    read = {s: {(f.organ, f.finding, f.present) for f in findings(s)} for s in train}
    assert set(volumes.prompts) == set(FINDING_PHRASES.values())
    for pair, phrase in FINDING_PHRASES.items():
        said = [volumes.sentences[k] for k in volumes.prompts[phrase]]
        assert sorted(said) == sorted(s for s in train if read[s] == {(*pair, True)})
        assert len(said) >= 3


def test_sentences_of_other_splits_are_no_prompts(volumes):
    first = volumes.rows("train")[0]
    alone = volumes.table.assign(split=np.where(np.arange(104) == first, "train", "test"))
    moved = replace(volumes, table=alone)
    assert any(map(len, moved.prompts.values()))
    assert all(set(prompts) <= set(volumes.said[first]) for prompts in moved.prompts.values())
    missing = next(name for name, prompts in moved.prompts.items() if not len(prompts))
    with pytest.raises(ValueError, match=f"states '{missing}' and nothing else"):
        moved.prompt_features(missing)


@pytest.mark.parametrize("pooling", ["attention", "prompt"])
def test_volumes_are_scored_with_the_mean_of_a_findings_prompts(encoder, volumes, some, pooling):
    adapter = build_adapter(pooling, encoder, seed=1).eval()
    found = radclip.volume_scores(adapter, volumes, some, NAMES)
    assert found.shape == (3, 3)
    for i, row in enumerate(some):
        emb = adapter.encode_images(*volumes.of(np.array([row])))
        for k, name in enumerate(NAMES):
            text = unit(adapter.encode_texts(volumes.features[volumes.prompts[name]]).mean(0))
            assert found[i, k] == pytest.approx(adapter.similarity(emb, text[None]).item(), abs=1e-5)


def region_of(units, name: str) -> str:
    """Where training slices show a finding most often."""
    rows = units.table[(units.table["split"] == "train") & (units.table["finding"] == name)]
    return rows["body_part"].value_counts().index[0]


@pytest.mark.parametrize("pooling", ["mean", "prompt"])
def test_without_a_second_stage_captions_are_asked_of_the_slices(encoder, volumes, torso_units, some, pooling):
    found = radclip.untrained_scores(encoder, volumes, torso_units, some, NAMES, pooling=pooling)
    assert found.shape == (3, 3)
    for k, name in enumerate(NAMES):
        text = encoder.encode_texts(embed_texts([caption(region_of(torso_units, name), name)]))[0].detach()
        for i, row in enumerate(some):
            slices = volumes.stacks.slices[row]
            weights = (slices @ text / PROMPT_TAU).softmax(0) if pooling == "prompt" else torch.full((24,), 1 / 24)
            assert found[i, k] == pytest.approx(float(unit(weights @ slices) @ text), abs=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "prompt"])
def test_reports_ask_with_the_mean_of_their_sentences(encoder, volumes, some, pooling):
    adapter = build_adapter(pooling, encoder, seed=1).eval()
    found = radclip.report_similarity(adapter, volumes, some)
    assert found.shape == (3, 3)
    for i, report in enumerate(some):
        text = unit(adapter.encode_texts(volumes.features[volumes.said[report]]).mean(0))
        for j, study in enumerate(some):
            emb = adapter.encode_images(*volumes.of(np.array([study])))
            assert found[i, j] == pytest.approx(adapter.similarity(emb, text[None]).item(), abs=1e-5)


def test_what_is_shown_agrees_with_the_table(volumes, torso_units):
    seen, table = radclip.shown(torso_units, volumes, list(NAMES)), torso_units.table
    wanted = {(r.study_id, r.slice, r.finding) for r in table.itertuples() if r.finding in NAMES}
    found = {(volumes.stacks.study_ids[i], z, NAMES[k]) for i, z, k in np.argwhere(seen)}
    assert seen.shape == (104, 24, 3)
    assert found == wanted != set()


def test_nothing_is_shown_where_nothing_is_asked(volumes, torso_units):
    assert not radclip.shown(torso_units, volumes, ["no such finding"]).any()


def test_pictures_are_stacked_by_patient_with_all_their_texts(picture_folder):
    data = load(str(picture_folder), PRESETS["smoke"])
    units = load_units(data)
    model = build_model(RECIPES["clip"], image_tower=SLICE_TOWER, channels=units.images.shape[1], seed=0).eval()
    made, emb = radclip.volumes(model, data, units), embed_images(model, units.images)
    assert made.stacks.study_ids.tolist() == made.table["study_id"].tolist() == [f"p{i}" for i in range(6)]
    assert made.stacks.slices.numpy() == pytest.approx(emb.reshape(6, 2, -1), abs=1e-5)
    assert made.stacks.position_mm.tolist() == [[0, radclip.PICTURE_STEP_MM]] * 6
    assert [[made.sentences[k] for k in own] for own in made.said] == [["finding 0", "finding 1"], ["finding 2", "finding 3"]] * 3
    assert set(made.table["findings"]) == {""}
    assert made.table["split"].tolist() == data.manifest["split"].tolist()[::2]


def test_an_adapter_trains_for_its_own_number_of_passes():
    how = radclip.adapter_plan(PRESETS["cpu"], seed=3)
    wanted = PRESETS["cpu"].adapter_epochs, ADAPTER_BATCH, ADAPTER_RATE, 3
    assert (how.epochs, how.batch_size, how.learning_rate, how.seed) == wanted


def test_end_to_end_the_pixels_are_those_that_the_slices_were_made_of(encoder, volumes, torso_units, some, monkeypatch):
    given = []
    monkeypatch.setattr(radclip, "pretrain", lambda model, pairs, **_: given.append((model, pairs)) or pd.DataFrame())
    adapter = build_adapter("attention", encoder, seed=1)
    radclip.fine_tune(adapter, encoder, volumes, torso_units, preset=PRESETS["smoke"], seed=0)
    ((model, pairs),) = given
    images, mask, position_mm = pairs.batch(some).images
    assert torch.allclose(encoder.encode_slices(images), volumes.stacks.slices[some], atol=1e-5)
    assert torch.equal(position_mm, volumes.stacks.position_mm[some])
    wanted = adapter.eval().encode_images(*volumes.of(some))
    assert torch.allclose(model.encode_images(images, mask, position_mm), wanted, atol=1e-5)
