"""The embedding table: order, length, and that it survives the disk."""

import numpy as np
import pandas as pd
import pytest
import torch
from toy import toy_features, toy_units, unit_vectors

from medclip_nb.config import RECIPES
from medclip_nb.measure import embeddings
from medclip_nb.measure.embeddings import EmbeddingTable, embed_images, embed_text_features, embed_units
from medclip_nb.model.dual_encoder import build_model


@pytest.fixture(scope="module")
def model():
    return build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0).eval()


def one_by_one(model, images) -> np.ndarray:
    with torch.inference_mode():
        return np.concatenate([model.encode_images(torch.from_numpy(image[None])).numpy() for image in images])


def test_embeddings_do_not_depend_on_the_batch_they_are_computed_in(model, monkeypatch):
    images = toy_units(10, splits=("train",)).images
    for size in (3, 10, 64):
        monkeypatch.setattr(embeddings, "BATCH", size)
        assert np.allclose(embed_images(model, images), one_by_one(model, images), atol=1e-6)


def test_rows_keep_their_order_and_an_image_with_two_texts_is_embedded_once(model, monkeypatch):
    units = toy_units(6, splits=("train",))
    units.table["image"] = [4, 4, 0, 2, 0, 5]
    asked = []
    monkeypatch.setattr(embeddings, "embed_images", lambda m, images: asked.append(len(images)) or embed_images(m, images))
    table = embed_units(model, units, np.array([5, 0, 1, 2]))
    assert asked == [3]
    assert np.allclose(table.vectors, one_by_one(model, units.images[[5, 4, 4, 0]]), atol=1e-6)
    assert table.rows["text_id"].tolist() == [5, 0, 1, 2]


def test_images_and_texts_have_length_1(model):
    vectors = embed_units(model, toy_units(6), np.arange(12)).vectors
    for emb in (vectors, embed_text_features(model, toy_features(7))):
        assert emb.dtype == np.float32
        assert np.allclose(np.linalg.norm(emb, axis=1), 1, atol=1e-6)


def test_a_saved_table_comes_back_the_same(tmp_path):
    rows = pd.DataFrame({"patient_id": ["ä", "b", ""], "image": [2, 0, 1]})
    EmbeddingTable(unit_vectors(3, 4)[::-1], rows).save(tmp_path / "new", "test")
    again = EmbeddingTable.load(tmp_path / "new", "test")
    assert np.array_equal(again.vectors, unit_vectors(3, 4)[::-1])
    pd.testing.assert_frame_equal(again.rows, rows)
