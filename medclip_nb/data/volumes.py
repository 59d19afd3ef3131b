"""Slices of studies, put together again: ragged stacks made equal by padding, with a mask and positions in mm."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


class Stacks(NamedTuple):
    """Slices by study, and which study each is; the first three are what a slice adapter takes."""

    slices: Float[Tensor, "study slice dim"]
    mask: Bool[Tensor, "study slice"]
    position_mm: Float[Tensor, "study slice"]
    study_ids: np.ndarray


def stack(vectors: Float[np.ndarray, "n dim"], study_ids: np.ndarray, position_mm: Float[np.ndarray, " n"]) -> Stacks:
    """One stack per study, its slices in order of position, padded with zeros at the end; studies by name.

    Raises ValueError if the three do not have the same length.
    """
    if not len(vectors) == len(study_ids) == len(position_mm):
        raise ValueError(f"{len(vectors)} vectors, {len(study_ids)} studies and {len(position_mm)} positions: one each is needed")
    names, number = np.unique(np.asarray(study_ids).astype(str), return_inverse=True)
    order = np.lexsort((position_mm, number))
    counts = np.bincount(number)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)  # of each slice in its stack
    slices = np.zeros((len(names), counts.max(), vectors.shape[1]), np.float32)
    where, mask = np.zeros(slices.shape[:2], np.float32), np.zeros(slices.shape[:2], bool)
    at = number[order], place
    slices[at], where[at], mask[at] = vectors[order], np.asarray(position_mm)[order], True
    return Stacks(torch.from_numpy(slices), torch.from_numpy(mask), torch.from_numpy(where), names)


class Pixels:
    """The slices' images, to be asked for by study, as the first of `Stacks` is: made when asked, kept nowhere.

    `numbers[i, k]` is the image that is slice k of study i; all stacks have as many slices.
    """

    def __init__(self, images: UInt8[np.ndarray, "image channel 1 row column"], numbers: Int[np.ndarray, "study slice"]):
        self.images, self.numbers = images, numbers

    def __getitem__(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b channel slice row column"]:
        return torch.from_numpy(self.images[self.numbers[rows.numpy()]][:, :, :, 0].swapaxes(1, 2).copy())
