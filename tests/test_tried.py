"""What the searches try: hard phrases, a temperature per organ, batches of texts that resemble each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_organ_units import NAMES, toy_units
from toy import toy_pairs

from medclip_nb.claims import heads, organs, radclip
from medclip_nb.claims.tried import HardPhrases, NearTexts, OwnTemperatures
from medclip_nb.config import PRESETS, RECIPES
from medclip_nb.learn.organ_pairs import OrganPairs
from medclip_nb.model.organ_encoder import build_organ_encoder

RECIPE = replace(RECIPES["ct_glip"], n_dictionary=1)
UNITS = toy_units()
ROWS = np.arange(4)


def drawn_phrases(kind: type[OrganPairs], seed: int) -> list[int]:
    pairs = kind(UNITS, RECIPE)
    batch = pairs.batch(ROWS, np.random.default_rng(seed))
    owned = set(np.unique(pairs.texts.own_column[pairs._entries(UNITS.unit[ROWS][UNITS.unit[ROWS] >= 0])[0]]))
    return [int(c) for c in batch.text_ids if int(c) not in owned]


def nearness(columns: list[int]) -> float:
    """Mean cosine of drawn phrases with the nearest sentence that the batch says of their organ."""
    pairs = HardPhrases(UNITS, RECIPE)
    said = np.unique(pairs.texts.own_column[pairs._entries(UNITS.unit[ROWS][UNITS.unit[ROWS] >= 0])[0]])
    found = []
    for c in columns:
        own = [s for s in said if pairs.texts.organ[s] == pairs.texts.organ[c]]
        vectors = pairs._meaning[pairs.texts.sentence[own]] @ pairs._meaning[pairs.texts.sentence[c]]
        found.append(vectors.max().item())
    return float(np.mean(found))


def test_hard_phrases_are_nearer_to_what_the_batch_says():
    usual, hard = ([c for seed in range(40) for c in drawn_phrases(kind, seed)] for kind in (OrganPairs, HardPhrases))
    assert len(hard)
    assert nearness(hard) > nearness(usual)


def test_hard_phrases_are_drawn_from_the_generator_alone_and_never_for_validation():
    assert drawn_phrases(HardPhrases, 3) == drawn_phrases(HardPhrases, 3)
    pairs = HardPhrases(UNITS, RECIPE)
    assert torch.equal(pairs.batch(ROWS).text_ids, OrganPairs(UNITS, RECIPE).batch(ROWS).text_ids)


def test_a_temperature_is_the_length_of_an_organs_embedding():
    build = lambda kind: build_organ_encoder(RECIPE, NAMES, channels=1, seed=0, kind=kind).eval()  # noqa: E731
    own, usual, images = build(OwnTemperatures), build(organs.OrganEncoder), UNITS.images(ROWS, form="crops")
    with torch.inference_mode():
        assert torch.allclose(own.encode_images(*images), usual.encode_images(*images))
        own.log_length[1] = 1.0
        lengths, organ = own.encode_images(*images).norm(dim=1), torch.cat([images[i + 2] for i in range(0, len(images), 3)])
    assert torch.allclose(lengths, torch.where(organ == 1, np.e, 1.0), atol=1e-5)


@pytest.mark.parametrize(("n", "size"), [(64, 8), (16, 8), (16, 16), (70, 8)])
def test_near_texts_share_a_batch_and_no_unit_stands_twice(n, size):
    pairs = toy_pairs(n)
    along, axes = np.random.default_rng(0).normal(size=(n, 2)), np.eye(2, pairs.features.shape[1])  # of two kinds of likeness
    pairs.features = torch.from_numpy(along @ axes).float()
    near = NearTexts(pairs.units, pairs.features, pairs.recipe)
    batches, usual = near.epoch(np.random.default_rng(0), size), pairs.epoch(np.random.default_rng(0), size)
    rows = np.concatenate(batches)
    assert {len(b) for b in batches} == {size}
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(np.concatenate(usual))
    if n >= 8 * size:
        spread = lambda some: np.mean([near.features[near._text[b]].var(0).sum().item() for b in some])  # noqa: E731
        assert spread(batches) < spread(usual)


def test_each_search_begins_with_the_method_as_it_is():
    assert next(iter(radclip.SEARCH)) == radclip.BASE
    assert organs.SEARCH["CT-GLIP"] == organs.PARTS["ct_glip"]
    assert replace(heads.BATCHES["near texts"], kind=heads.ImagePairs) == heads.MAIN["rare words, distinct"]


def test_a_search_tells_validation_from_test_patients(torso, monkeypatch):
    preset = PRESETS["smoke"]
    monkeypatch.setattr(organs, "units_of", lambda _: organs.organ_units(torso))
    units = organs.units_of(preset)
    asked = organs.ct_glip.states(units)
    shape = {s: organs.ct_glip.truth(units, units.rows(s), asked).labels for s in ("val", "test")}
    cell = {f"{p}{a}": shape[s].astype(float) for p, s in ((organs.VALIDATION, "val"), ("", "test")) for a in organs.AGAINST}
    table = organs.search_table({("CT-GLIP", 0): cell}, preset)
    assert table["value"].eq(1).all()
    n = table.groupby("measure")["n"].first()
    assert n[f"{organs.VALIDATION}AUC against normal"] < n["AUC against normal"]
