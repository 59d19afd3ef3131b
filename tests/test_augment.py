"""What is done to images of a training batch, against slow loops."""

import numpy as np
import pytest
import torch

from medclip_nb.config import GAIN_SD, SHIFT_PX
from medclip_nb.learn.augment import moved_and_dimmed, moved_together


def volumes(n: int = 5, shape: tuple[int, ...] = (2, 4, 9, 7)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8))


@pytest.mark.parametrize("seed", range(4))
def test_each_volume_is_rolled_by_its_own_steps_and_multiplied_by_its_own_gain(seed):
    images, rng = volumes(), np.random.default_rng(seed)
    slices, in_plane = rng.integers(-1, 2, len(images)), rng.integers(-SHIFT_PX, SHIFT_PX + 1, (len(images), 2))
    gains = np.exp(rng.normal(0, GAIN_SD, len(images))).astype(np.float32)
    found = moved_and_dimmed(images, np.random.default_rng(seed)).numpy()
    for one, new, z, (y, x), gain in zip(images.numpy(), found, slices, in_plane, gains, strict=True):
        rolled = np.roll(np.roll(np.roll(one, z, 1), y, 2), x, 3)
        wanted = [min(255, int(np.float32(value) * gain)) for value in rolled.ravel().tolist()]
        assert new.ravel().tolist() == wanted


def test_what_gets_brighter_than_255_stays_255_and_does_not_wrap_to_black():
    bright = torch.full((200, 1, 3, 4, 4), 250, dtype=torch.uint8)
    found = moved_and_dimmed(bright, np.random.default_rng(0)).flatten(1)
    assert (found == found[:, :1]).all()
    assert (found[:, 0] == 255).any()
    assert found.min() > 250 * np.exp(-5 * GAIN_SD)


@pytest.mark.parametrize("augment", [moved_together, moved_and_dimmed])
def test_the_given_images_stay_as_they_are_and_the_same_generator_gives_the_same(augment):
    images = volumes()
    before = images.clone()
    found = [augment(images, np.random.default_rng(7)) for _ in range(2)]
    assert torch.equal(*found)
    assert torch.equal(images, before)
    assert found[0].dtype == torch.uint8
    assert not torch.equal(found[0], images)


def test_an_empty_batch_stays_empty():
    assert moved_and_dimmed(volumes(0), np.random.default_rng(0)).shape == (0, 2, 4, 9, 7)
