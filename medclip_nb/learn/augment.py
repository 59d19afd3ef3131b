"""What is done to the images of a training batch, so that no two passes see the same; left and right are never exchanged."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ..config import GAIN_SD, SHIFT_PX

Images = UInt8[Tensor, "b channel slice row column"]


def moved_together(images: Images, rng: np.random.Generator) -> Images:
    """The whole batch moved by a few pixels."""
    return torch.roll(images, tuple(rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2).tolist()), dims=(-2, -1))


def moved_and_dimmed(images: Images, rng: np.random.Generator) -> Images:
    """Each volume moved by a few pixels and up to a slice, and made brighter or darker: MR intensities have no unit."""
    steps = np.column_stack([rng.integers(-1, 2, len(images)), rng.integers(-SHIFT_PX, SHIFT_PX + 1, (len(images), 2))])
    gains = np.exp(rng.normal(0, GAIN_SD, len(images))).astype(np.float32)
    moved = torch.empty_like(images)
    for to, one, gain, step in zip(moved, images, gains.tolist(), steps.tolist(), strict=True):  # volume by volume: in the cache
        lit = torch.roll(one, step, dims=(-3, -2, -1)).float().mul_(gain).clamp_(max=255)
        to.copy_(lit.int())  # from float32 to bytes at once takes ten times as long
    return moved
