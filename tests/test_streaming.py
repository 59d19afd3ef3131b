"""Images mapped from the disk: the same as those in memory, batch by batch, and never all of them in memory."""

import numpy as np
import pytest
import torch
from toy import write_picture

from medclip_nb.config import RECIPES
from medclip_nb.data import cache, preprocessing, streaming
from medclip_nb.data.preprocessing import ct_contract, picture_contract
from medclip_nb.data.readers import ImageError
from medclip_nb.data.streaming import preprocess_files
from medclip_nb.data.studies import load_units, read_images
from medclip_nb.learn.pairs import ImagePairs
from medclip_nb.measure.embeddings import BATCH, embed_chosen, embed_images


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Seven pictures and an empty cache."""
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path / "home"))
    return [write_picture(tmp_path / f"{i}.png", np.eye(9, k=i, dtype=np.uint8) * 99) for i in range(7)]


@pytest.fixture
def map_all(monkeypatch):
    """Whatever the size, images are mapped."""
    monkeypatch.setattr(streaming, "IMAGES_GB", 0.0)


def test_up_to_the_stated_size_images_are_in_memory_and_beyond_it_they_are_mapped(paths, monkeypatch):
    contract = picture_contract(9)
    monkeypatch.setattr(streaming, "IMAGES_GB", 7 * 81 / 1e9)
    held = preprocess_files(paths, contract)
    monkeypatch.setattr(streaming, "IMAGES_GB", (7 * 81 - 1) / 1e9)
    mapped = preprocess_files(paths, contract)
    assert (isinstance(held, np.memmap), isinstance(mapped, np.memmap)) == (False, True)
    assert np.array_equal(held, mapped)


@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize("gigabytes", [0.0, 1.0])
def test_slices_first_is_the_same_with_two_axes_swapped(torso, monkeypatch, block, gigabytes):
    usual = read_images(torso)
    monkeypatch.setattr(streaming, "BLOCK", block)
    monkeypatch.setattr(streaming, "IMAGES_GB", gigabytes)
    first = read_images(torso, slices_first=True)
    assert first.flags.c_contiguous
    assert np.array_equal(first.swapaxes(1, 2), usual)


def test_the_batches_of_a_training_are_the_same_to_the_bit_and_in_memory_they_lie_alike(torso, torso_units, map_all):
    mapped = load_units(torso)
    assert isinstance(mapped.images, np.memmap)
    features = torch.eye(len(mapped.texts))
    one, other = (ImagePairs(u, features, RECIPES["radclip"]) for u in (torso_units, mapped))
    for rows in one.epoch(np.random.default_rng(0), 32):
        ours, theirs = (p.batch(rows, np.random.default_rng(1)).images[0] for p in (one, other))
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()


def test_the_mapped_file_is_made_once_and_read_only(paths, map_all, monkeypatch):
    first = preprocess_files(paths, picture_contract(9))
    monkeypatch.setattr(streaming, "cached", None)
    again = preprocess_files(paths, picture_contract(9))
    assert np.array_equal(first, again)
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 0


def test_other_files_another_order_and_another_contract_have_files_of_their_own(paths, map_all):
    kinds = [(paths, 9), (paths[::-1], 9), (paths[:3], 9), (paths, 8)]
    for some, side in kinds:
        found = preprocess_files(some, picture_contract(side))
        assert all(np.array_equal(a, preprocessing.cached(p, picture_contract(side))) for a, p in zip(found, some, strict=True))
    assert len(list(cache.folder().rglob("*.npy"))) == 4


def test_a_changed_image_is_never_read_from_an_old_file(paths, map_all):
    before = np.array(preprocess_files(paths, picture_contract(9)))
    write_picture(paths[2], np.eye(9, dtype=np.uint8)[::-1] * 50)
    after = preprocess_files(paths, picture_contract(9))
    assert (before != after).any((1, 2, 3, 4)).tolist() == [i == 2 for i in range(7)]


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_an_image_that_cannot_be_read_is_named_and_leaves_no_file(paths, map_all, content):
    paths[4].unlink()
    if content:
        paths[4].write_bytes(content)
    with pytest.raises(ImageError, match=str(paths[4])):
        preprocess_files(paths, picture_contract(9))
    assert not list(cache.folder().rglob("*.npy"))


def test_nothing_to_read_is_an_empty_array(paths):
    assert preprocess_files([], ct_contract((4, 5, 6))).shape == (0, 3, 4, 5, 6)
    assert preprocess_files([], ct_contract((4, 5, 6)), slices_first=True).shape == (0, 4, 3, 5, 6)


def test_chosen_images_have_the_embeddings_they_have_together(encoder, torso_units):
    which = np.random.default_rng(0).permutation(len(torso_units.images))[: BATCH + 7]
    wanted = embed_images(encoder, torso_units.images[which])
    assert np.array_equal(embed_chosen(encoder, torso_units.images, which), wanted)
