"""Slices of studies as stacks: order, padding, and the images behind them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from medclip_nb.data.volumes import Pixels, stack

IDS = np.array(["b", "a", "b", "b", "a", "c"])
PLACES = np.array([10.0, 5.0, -5.0, 0.0, 0.0, 7.0])
VECTORS = np.arange(12, dtype=np.float32).reshape(6, 2) + 1


def stack_loop(vectors, ids, places) -> dict[str, list]:
    """Study -> its (place, vector) in order, one after the other."""
    found = {}
    for name in sorted(set(ids)):
        own = [i for i in range(len(ids)) if ids[i] == name]
        found[name] = [(places[i], vectors[i].tolist()) for i in sorted(own, key=lambda i: places[i])]
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-50, 50)), min_size=1, max_size=30))
def test_stacks_agree_with_a_loop(slices):
    ids, places = np.array([s for s, _ in slices]), np.array([float(z) for _, z in slices])
    vectors = np.random.default_rng(0).normal(size=(len(ids), 3)).astype(np.float32)
    made = stack(vectors, ids, places)
    wanted = stack_loop(vectors, ids, places)
    assert made.study_ids.tolist() == list(wanted)
    for i, own in enumerate(wanted.values()):
        there = made.mask[i]
        assert list(zip(made.position_mm[i, there].tolist(), made.slices[i, there].tolist(), strict=True)) == own


def test_slices_lie_in_order_of_place_whatever_the_order_of_rows():
    order = np.random.default_rng(0).permutation(6)
    one, other = stack(VECTORS, IDS, PLACES), stack(VECTORS[order], IDS[order], PLACES[order])
    assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
    assert one.position_mm[1].tolist() == [-5, 0, 10]
    assert one.slices[1].tolist() == [[5, 6], [7, 8], [1, 2]]


def test_short_stacks_end_in_zeros_that_the_mask_leaves_out():
    made = stack(VECTORS, IDS, PLACES)
    assert made.mask.tolist() == [[True, True, False], [True, True, True], [True, False, False]]
    assert (made.slices[~made.mask] == 0).all()
    assert (made.position_mm[~made.mask] == 0).all()


def test_slices_at_the_same_place_stay_in_the_order_of_rows():
    made = stack(VECTORS, np.array(["a"] * 6), np.zeros(6))
    assert torch.equal(made.slices[0], torch.from_numpy(VECTORS))


def test_studies_are_in_order_of_name_even_if_they_are_numbers():
    made = stack(VECTORS, np.array([10, 2, 10, 2, 2, 2]), PLACES)
    assert made.study_ids.tolist() == ["10", "2"]
    assert made.mask.sum(1).tolist() == [2, 4]


def test_vectors_without_a_study_are_refused():
    with pytest.raises(ValueError, match="6 vectors, 5 studies and 6 positions: one each is needed"):
        stack(VECTORS, IDS[:5], PLACES)


def test_vectors_without_a_place_are_refused():
    with pytest.raises((ValueError, TypeCheckError)):
        stack(VECTORS, IDS, PLACES[:5])


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (6, 2, 1, 4, 5), np.uint8)


def test_pixels_are_the_image_of_each_slice_of_each_study(images):
    numbers = np.array([[4, 1, 0], [2, 3, 5]])
    found = Pixels(images, numbers)[torch.tensor([1, 0, 1])]
    assert found.shape == (3, 2, 3, 4, 5)
    for i, study in enumerate([1, 0, 1]):
        for k in range(3):
            assert np.array_equal(found[i, :, k].numpy(), images[numbers[study, k], :, 0])


def test_what_is_done_to_pixels_leaves_the_images_alone(images):
    before = images.copy()
    Pixels(images, np.array([[0, 1]]))[torch.tensor([0])].fill_(7)
    assert np.array_equal(images, before)
