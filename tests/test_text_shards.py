"""Very many texts: in shards that a killed run leaves whole, with the embeddings that few texts have."""

import numpy as np
import pytest
import torch

from medclip_nb.data import cache
from medclip_nb.model import text_tower
from medclip_nb.model.text_tower import TEXT_DIM, embed_texts

TEXTS = [f"finding {i} of the {part}" for i in range(40) for part in ("liver", "lung")]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty cache, and a table of ten texts is a large one."""
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    monkeypatch.setattr(text_tower, "MANY_TEXTS", 10)


def vector(text: str) -> np.ndarray:
    """What the network in these tests makes of a text."""
    return np.random.default_rng(list(text.encode())).normal(size=TEXT_DIM).astype(np.float32)


WANTED = torch.from_numpy(np.stack([vector(t) for t in TEXTS]))


@pytest.fixture
def asked(monkeypatch) -> list[list[str]]:
    """What the network was asked, call by call; the text "stop" kills it."""
    calls = []

    def run(texts, tower):
        if "stop" in texts:
            raise KeyboardInterrupt
        calls.append(texts)
        return np.stack([vector(t) for t in texts])

    monkeypatch.setattr(text_tower, "_run", run)
    return calls


def flat(calls) -> list[str]:
    return sorted(t for call in calls for t in call)


def test_each_text_has_its_embedding_in_the_order_given_and_is_embedded_once(asked):
    order = np.random.default_rng(0).integers(len(TEXTS), size=300)
    assert torch.equal(embed_texts([TEXTS[i] for i in order]), WANTED[order])
    assert flat(asked) == sorted({TEXTS[i] for i in order})


def test_known_texts_are_not_embedded_again_and_new_ones_are_added(asked):
    embed_texts(TEXTS[:50])
    del asked[:]
    assert torch.equal(embed_texts(TEXTS), WANTED)
    assert flat(asked) == sorted(TEXTS[50:])
    assert torch.equal(embed_texts(TEXTS[::-1]), WANTED.flip(0))
    assert len(flat(asked)) == 30


def test_a_killed_run_goes_on(asked):
    with pytest.raises(KeyboardInterrupt):
        embed_texts([*TEXTS, "stop"])
    done = flat(asked)
    assert 0 < len(done) < len(TEXTS)
    assert [p for p in cache.folder().rglob("*") if p.name.startswith(".")] == []
    del asked[:]
    assert torch.equal(embed_texts(TEXTS), WANTED)
    assert flat(asked) == sorted(set(TEXTS) - set(done))


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_damaged_shard_is_made_again_and_no_other(asked, content):
    embed_texts(TEXTS)
    file = sorted(cache.folder().rglob("*.safetensors"))[3]
    file.write_bytes(content)
    del asked[:]
    assert torch.equal(embed_texts(TEXTS), WANTED)
    assert len(asked) == 1


def test_one_shard_at_a_time_is_asked_for(asked):
    embed_texts(TEXTS)
    assert len(list(cache.folder().rglob("*.safetensors"))) == len(asked) > 10


def test_a_table_of_so_many_texts_is_kept_as_ever_and_one_more_makes_shards(asked):
    few = [*TEXTS[:10], *TEXTS[:10]]
    assert torch.equal(embed_texts(few), torch.cat([WANTED[:10]] * 2))
    assert [p.suffix for p in cache.folder().iterdir()] == [".npz"]
    embed_texts(TEXTS[:11])
    assert len(list(cache.folder().rglob("*.safetensors"))) > 1


def test_a_blank_text_is_refused_before_anything_is_embedded(asked):
    with pytest.raises(ValueError, match="text 80 is blank"):
        embed_texts([*TEXTS, " "])
    assert asked == []


def test_the_tower_gives_what_it_gives_to_few(monkeypatch):
    in_shards = embed_texts(TEXTS[:12])
    monkeypatch.setattr(text_tower, "MANY_TEXTS", 50)
    assert torch.allclose(embed_texts(TEXTS[:12]), in_shards, atol=1e-6)
