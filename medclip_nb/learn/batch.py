"""What a batch is: units, texts, and which text is right for which unit, as a matrix or, of a large batch, block by block."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..model.dual_encoder import Texts
from .targets import ALL, shares

Rows = Int[np.ndarray, " _"]
CHUNK = 1024  # rows of logits made at a time; a batch with more units or texts never has a matrix of all pairs
Block = Callable[[slice, slice], Tensor]  # of these units and these texts


@dataclass(frozen=True)
class Answers:
    """What is right in a large batch: rows of the target matrices are made when they are asked for, and forgotten."""

    n_units: int
    n_owned: int  # texts that a unit owns; they stand first
    block: Block  # what is right, or how similar it is
    valid: Block | None = None  # what is asked at all
    weight: float = 1.0  # share of the target that goes by `block`; the rest goes to the own texts
    own: Block | None = None  # which texts are own; without it text i is unit i's

    def of_units(self, rows: slice) -> tuple[Float[Tensor, "row text"], Bool[Tensor, "row text"] | None]:
        """Rows of `targets`, and which of their pairs are asked about."""
        own = None if self.own is None else self.own(rows, ALL)
        return self._mixed(self.block(rows, ALL), rows, own), None if self.valid is None else self.valid(rows, ALL)

    def of_texts(self, rows: slice) -> tuple[Float[Tensor, "row unit"], Bool[Tensor, "row unit"] | None]:
        """Rows of `targets_t`, and which of their pairs are asked about."""
        own = None if self.own is None else self.own(ALL, rows).T
        return self._mixed(self.block(ALL, rows).T, rows, own), None if self.valid is None else self.valid(ALL, rows).T

    def _mixed(self, parts: Tensor, rows: slice, own: Tensor | None) -> Float[Tensor, "row column"]:
        targets = shares(parts)
        if self.weight == 1:
            return targets
        return self.weight * targets + (1 - self.weight) * (diagonal(rows, ALL, self.n_units) if own is None else shares(own))


def diagonal(units: slice, texts: slice, n: int) -> Bool[Tensor, "unit text"]:
    """A block of the identity."""
    numbers = torch.arange(n)
    return numbers[units, None] == numbers[texts]


def similar_block(
    similarity: Float[Tensor, "text text"], text_ids: Int[Tensor, " unit"], *, power: float, keep: int, chunk: int = CHUNK
) -> Block:
    """Blocks of the units' `sharpened` similarity, each unit being like itself. What a row keeps is found out once."""
    n = len(text_ids)

    def alike(units: slice, texts: slice) -> Float[Tensor, "unit text"]:
        found = similarity[text_ids[units, None], text_ids[texts]]
        return found.masked_fill(diagonal(units, texts, n), 1) ** power

    if not 0 < keep < n:
        return alike
    least = torch.cat([alike(slice(i, i + chunk), ALL).topk(keep, dim=1).values[:, -1:] for i in range(0, n, chunk)])

    def kept(units: slice, texts: slice) -> Float[Tensor, "unit text"]:
        found = alike(units, texts)
        return torch.where(found >= least[units], found, 0)

    return kept


class Term(NamedTuple):
    """Texts that the units of a batch are matched with, and what is right: as matrices, or by `answers` if they are None."""

    features: Texts  # of the texts: the frozen tower's
    text_ids: Int[Tensor, " text"]  # equal where texts are identical
    targets: Float[Tensor, "unit text"] | None
    targets_t: Float[Tensor, "owned unit_again"] | None
    valid: Bool[Tensor, "unit text"] | None = None
    weight: float = 1.0  # of this term in the loss
    answers: Answers | None = None


class Batch(NamedTuple):
    """Units and texts of one step, with what is right; `also` are further terms of the loss, on the same units."""

    images: tuple[Tensor, ...]  # what the model's encode_images takes
    features: Texts
    text_ids: Int[Tensor, " text"]
    targets: Float[Tensor, "unit text"] | None
    targets_t: Float[Tensor, "owned unit_again"] | None
    valid: Bool[Tensor, "unit text"] | None = None
    also: tuple[Term, ...] = ()
    answers: Answers | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms of the loss; the first has weight 1."""
        return Term(*self[1:6], answers=self.answers), *self.also


@runtime_checkable
class Pairs(Protocol):
    """What `pretrain` asks of data."""

    train: Rows
    val: Rows
    overlap_because: str

    def epoch(self, rng: np.random.Generator, size: int) -> list[Rows]:
        """The batches of one epoch."""

    def batch(self, rows: Rows, rng: np.random.Generator | None = None) -> Batch:
        """The batch of some units; with a generator its images are augmented."""

    def training_features(self) -> Texts:
        """Features of the training texts, for their mean."""
