"""Spaces in which towers are compared, and the studies on real pictures that use them."""

import numpy as np
import pandas as pd
import pytest
import torch

from medclip_nb.claims import real
from medclip_nb.claims.spaces import features, learnt, nearest_caption, regressed
from medclip_nb.config import EMBED_DIM, PRESETS, RECIPES, SLICE_TOWER
from medclip_nb.model.dual_encoder import build_model
from medclip_nb.model.text_tower import embed_texts

SMOKE = PRESETS["smoke"]
WORDS = [
    "a cat on a mat",
    "a dog in the fog",
    "a bird that was heard",
    "a fish in a dish",
    "a mouse in the house",
    "a goat on a boat",
]


@pytest.fixture(scope="module")
def known():
    """An untrained tower, pictures that it tells apart, and a caption for each; validation pictures are the same."""
    model = build_model(RECIPES["clip"], image_tower=SLICE_TOWER, channels=1, seed=0).eval()
    pictures = np.random.default_rng(0).integers(0, 255, (len(WORDS), 1, 1, 32, 32), np.uint8)
    read = features(model, pictures)
    return model, pictures, {"train": read, "val": read}, {"train": WORDS, "val": WORDS}


def test_features_do_not_depend_on_how_many_are_read_at_a_time(known, monkeypatch):
    model, pictures, read, _ = known
    monkeypatch.setattr("medclip_nb.claims.spaces.AT_A_TIME", 4)
    assert np.allclose(features(model, pictures), read["train"], atol=1e-5)


def test_a_regression_brings_training_pictures_to_their_captions(known):
    model, pictures, read, captions = known
    space = regressed(model, read, captions)
    emb, texts = space.pictures(pictures), space.texts(WORDS)
    assert np.allclose(np.linalg.norm(emb, axis=1), 1, atol=1e-5)
    assert ((emb @ texts.T).argmax(1) == np.arange(len(WORDS))).all()


def test_texts_are_compared_less_the_mean_of_the_training_captions(known):
    space = regressed(known[0], known[2], known[3])
    wanted = embed_texts(WORDS) - embed_texts(WORDS).mean(0)
    assert np.allclose(space.texts(WORDS), torch.nn.functional.normalize(wanted, dim=1).numpy(), atol=1e-5)


def test_a_picture_speaks_with_the_caption_of_the_nearest(known):
    model, pictures, read, captions = known
    space = nearest_caption(model, read, captions)
    assert np.allclose(space.pictures(pictures[::-1].copy()), space.texts(WORDS[::-1]))
    assert (space.texts(["nothing like it"]) == 0).all()


def test_a_models_own_space_is_what_it_embeds(known):
    model, pictures, *_ = known
    space = learnt(model)
    assert space.pictures(pictures).shape == space.texts(WORDS).shape == (len(WORDS), EMBED_DIM)
    with torch.inference_mode():
        assert np.allclose(space.pictures(pictures), model.encode_images(torch.from_numpy(pictures)).numpy(), atol=1e-5)


def test_right_are_the_texts_of_the_case_and_the_same_words_elsewhere():
    table = pd.DataFrame({"patient_id": ["a", "a", "b", "c"], "text_id": [0, 1, 1, 2]})
    assert real._right(table).astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_heads_are_mr_of_the_head():
    table = pd.DataFrame({"modality": ["MR", "CT", "MR"], "body_part": ["head", "head", "spine"]})
    assert real._heads(table).tolist() == [True, False, False]


def test_naming_is_a_hit_where_the_nearest_words_are_the_own_class(known):
    model, pictures, read, captions = known
    space = nearest_caption(model, read, captions)
    prompts = {"cat": ["a cat"], "boat": ["a boat"]}
    hits = real._named(space, space.pictures(pictures[[0, 5]]), prompts, pd.Series(["cat", "cat"]))
    assert hits.tolist() == [1.0, 0.0]


def test_a_study_of_real_pictures_scores_every_test_picture(real_data, home, monkeypatch):
    folders = {"medpix2": "MedPix-2.0", "mednist": "mednist", "covid_ct": "covid_ct"}
    load = real.catalog.load
    monkeypatch.setattr(real.catalog, "load", lambda name, preset: load(real_data / folders[name], preset))
    real.pictures_of.cache_clear()
    table = real.pictures_table({(real.GENERAL, 0): real.pictures_cell(real.GENERAL, 0, SMOKE)}, SMOKE)
    means = table[table["seed"] == "mean"].set_index(["variant", "measure"])
    assert means.loc[(real.GENERAL, real.NAMED), "n"] == 180
    assert means.loc[(real.GENERAL, "caption of a picture, R@10"), "n"] == 69
    assert means.loc[(real.GENERAL, real.PROBED), "value"] > means.loc[(real.GENERAL, real.PROBED), "chance"]
    assert set(table["measure"]) >= {real.COVID_NAMED, real.COVID_PROBED, "head MR: picture of a caption, R@1"}
