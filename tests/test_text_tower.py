"""Text towers, frozen with a cache and trainable."""

import numpy as np
import pytest
import torch
from tiny import POSITIONS, WORDS, add_tokenizer, save_bert, save_clip, save_vision
from torch.nn.functional import normalize

from medclip_nb.model import text_tower
from medclip_nb.model.finetune import add_lora
from medclip_nb.model.text_tower import MINILM, TEXT_DIM, TextTower, embed_texts, text_dim

TEXTS = ["Chest CT, nodule", "Head CT", "Chest CT, nodule", "Abdomen CT, a much longer sentence about the liver"]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def fake_run(monkeypatch):
    """A network that answers with the length of the text, and notes what it was asked."""
    asked = []

    def run(texts, tower):
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


@pytest.fixture(params=[save_bert, save_clip])
def folder(request, tmp_path):
    """A checkpoint that reads text."""
    return request.param(tmp_path / "some-checkpoint")


def cache_files(home) -> list[str]:
    return sorted(p.name for p in (home / "artifacts" / "cache").iterdir())


def mean_of_tokens(tower: TextTower, text: str) -> torch.Tensor:
    """One text, nothing padded, token by token."""
    ids = torch.tensor([tower.tokenizer(text)["input_ids"]])
    states = tower.model(input_ids=ids).last_hidden_state[0]
    return normalize(sum(states[i] for i in range(len(states))) / len(states), dim=0)


def test_a_checkpoint_gives_the_mean_over_its_tokens_however_long_the_others_are(own_cache, folder):
    tower, emb = TextTower(folder).eval(), embed_texts(TEXTS, folder)
    with torch.inference_mode():
        for text, found in zip(TEXTS, emb, strict=True):
            assert torch.allclose(found, mean_of_tokens(tower, text), atol=1e-5)


@pytest.mark.parametrize("name", [MINILM, None])
def test_a_trainable_tower_in_eval_mode_gives_what_is_cached(own_cache, folder, name):
    tower = TextTower(name or folder).eval()
    with torch.inference_mode():
        assert torch.allclose(tower(tower.tokens(TEXTS)), embed_texts(TEXTS, name or str(folder)), atol=1e-5)


def test_tokens_are_ids_and_mask_padded_to_the_longest(folder):
    tokens = TextTower(folder).tokens(["Chest CT", "a long sentence, head"])
    assert tokens.shape == (2, 2, 7)
    assert [WORDS[i] for i in tokens[0, 0]] == ["[CLS]", "chest", "ct", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert tokens[:, 1].sum(1).tolist() == [4, 7]


def test_a_text_is_cut_where_a_checkpoint_has_no_more_positions(own_cache, folder):
    tower = TextTower(folder)
    assert tower.tokens(["liver " * 99]).shape == (1, 2, POSITIONS)
    assert torch.isfinite(embed_texts(["liver " * 99], folder)).all()


def test_every_tower_has_its_own_cache(own_cache, folder, fake_run):
    embed_texts(TEXTS[:1])
    embed_texts(TEXTS[:1], folder)
    embed_texts(TEXTS[:1], folder)
    assert fake_run == [TEXTS[0]] * 2
    assert len(cache_files(own_cache)) == 2
    assert any(name.startswith("texts-some-checkpoint-") for name in cache_files(own_cache))


def test_the_cache_of_minilm_keeps_its_name(own_cache, fake_run):
    embed_texts(TEXTS)
    assert cache_files(own_cache) == ["texts-minilm-53aa51172d14-256.npz"]


@pytest.mark.parametrize("file", ["model.safetensors", "vocab.txt", "config.json"])
def test_a_checkpoint_that_changed_is_not_answered_for_from_the_cache(own_cache, fake_run, tmp_path, file):
    folder = save_bert(tmp_path / "one")
    embed_texts(TEXTS[:1], folder)
    content = bytearray((folder / file).read_bytes())
    content[-2] ^= 1
    (folder / file).write_bytes(content)
    embed_texts(TEXTS[:1], folder)
    assert len(fake_run) == 2


def test_no_texts_give_no_rows_of_the_right_length(own_cache, folder, monkeypatch):
    forbid(monkeypatch)
    assert embed_texts([]).shape == (0, TEXT_DIM)
    (folder / "model.safetensors").unlink()
    assert embed_texts([], folder).shape == (0, 32)


@pytest.mark.parametrize("tower", [MINILM, None])
def test_the_length_of_embeddings_is_known_before_the_tower_is_loaded(folder, tower):
    tower = tower or folder
    assert text_dim(tower) == TextTower(tower).dim


def test_only_a_clips_text_part_is_kept(tmp_path):
    assert not [k for k in TextTower(save_clip(tmp_path)).state_dict() if "vision" in k or "projection" in k]


def test_a_text_tower_learns_through_lora_to_tell_two_texts_apart(folder):
    tower = add_lora(TextTower(folder), rank=2)
    tokens = tower.tokens(TEXTS[:2])
    optimizer = torch.optim.Adam([p for p in tower.parameters() if p.requires_grad], lr=0.02)
    cosines = []
    for _ in range(20):
        one, other = tower(tokens)
        cosines.append(one @ other)
        optimizer.zero_grad()
        cosines[-1].backward()
        optimizer.step()
    assert cosines[-1] < cosines[0] - 0.05


def test_a_blank_text_has_no_tokens_either(folder):
    with pytest.raises(ValueError, match="text 1 is blank; 1 of 2 are"):
        TextTower(folder).tokens(["x", " "])


def test_an_image_model_is_no_text_tower(tmp_path):
    with pytest.raises(ValueError, match="is a ViTModel, which reads pixel_values; wanted: input_ids"):
        TextTower(add_tokenizer(save_vision("ViT", tmp_path)))


def test_a_checkpoint_without_a_tokenizer_is_refused(own_cache, tmp_path):
    (save_bert(tmp_path) / "vocab.txt").unlink()
    with pytest.raises(ValueError, match="holds no tokenizer"):
        embed_texts(["x"], tmp_path)


@pytest.mark.parametrize("call", [TextTower, text_dim, lambda name: embed_texts(["x"], name)])
def test_a_name_on_the_hub_is_not_fetched(call):
    with pytest.raises(ValueError, match=r"no known tower \(minilm\).*hf download some/bert --local-dir DIR"):
        call("some/bert")
