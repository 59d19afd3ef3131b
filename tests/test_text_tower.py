"""The frozen text tower and its cache."""

import numpy as np
import pytest
import torch

from medclip_nb.model import text_tower
from medclip_nb.model.text_tower import TEXT_DIM, embed_texts

TEXTS = ["Chest CT, nodule", "Head CT", "Chest CT, nodule", "Abdomen CT, a much longer sentence about the liver"]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def fake_run(monkeypatch):
    """A network that answers with the length of the text, and notes what it was asked."""
    asked = []

    def run(texts):
        asked.extend(texts)
        return np.stack([np.full(TEXT_DIM, len(t), np.float32) for t in texts])

    monkeypatch.setattr(text_tower, "_run", run)
    return asked


def forbid(monkeypatch):
    def fail(*_):
        raise AssertionError("the network was loaded")

    monkeypatch.setattr(text_tower, "_run", fail)


def test_texts_come_in_their_order_with_duplicates_and_length_1(own_cache):
    emb = embed_texts(TEXTS)
    assert emb.shape == (len(TEXTS), TEXT_DIM)
    assert torch.allclose(emb.norm(dim=1), torch.ones(len(TEXTS)), atol=1e-5)
    assert torch.equal(emb[0], emb[2])
    assert torch.allclose(embed_texts(TEXTS[::-1]), emb.flip(0))


def test_company_in_the_batch_does_not_change_an_embedding(own_cache, monkeypatch):
    together = embed_texts(TEXTS)
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(own_cache / "other"))
    assert torch.allclose(embed_texts(TEXTS[1:2]), together[1:2], atol=1e-5)


def test_alike_sentences_are_nearer_than_others(own_cache):
    a, b, c = embed_texts(["a nodule in the lung", "pulmonary nodule", "fracture of the wrist"])
    assert a @ b > max(a @ c, b @ c)


def test_known_texts_come_from_the_cache_and_the_network_is_not_loaded(own_cache, fake_run, monkeypatch):
    first = embed_texts(TEXTS)
    forbid(monkeypatch)
    assert torch.equal(embed_texts(TEXTS[::-1]), first.flip(0))


def test_only_new_texts_are_embedded_and_each_once(own_cache, fake_run):
    embed_texts(TEXTS[:2])
    assert embed_texts(TEXTS)[:, 0].tolist() == [len(t) for t in TEXTS]
    assert fake_run == [*TEXTS[:2], TEXTS[3]]


def test_a_write_that_fails_leaves_the_old_cache(own_cache, fake_run, monkeypatch):
    embed_texts(TEXTS[:2])

    def savez(handle, **_):
        handle.write(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", savez)
        with pytest.raises(OSError, match="disk full"):
            embed_texts(TEXTS)
    forbid(monkeypatch)
    assert embed_texts(TEXTS[:2])[:, 0].tolist() == [len(t) for t in TEXTS[:2]]


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_a_blank_text_is_refused_with_its_number(blank):
    with pytest.raises(ValueError, match="text 1 is blank; 2 of 3 are. Drop these rows or fill them in"):
        embed_texts(["x", blank, blank])


def test_weights_with_another_checksum_are_refused(own_cache, monkeypatch):
    monkeypatch.setattr(text_tower, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="model.safetensors: these are not the published weights"):
        embed_texts(["never seen before"])


def test_a_text_longer_than_the_network_reads_still_has_an_embedding(own_cache):
    assert torch.isfinite(embed_texts(["liver " * 2000])).all()
