"""Target matrices: which text counts as right for which unit.

Each function gives `(targets, targets_t)`: rows of the first belong to units, rows of the second to texts, and in both
each row sums to 1. `targets_t` is normalised on its own: the transpose of `targets` has rows that do not sum to 1.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Targets = tuple[Float[Tensor, "unit text"], Float[Tensor, "text unit"]]


def identity(text_ids: Int[Tensor, " unit"]) -> Targets:
    """Only the text that came with the unit is right (CLIP)."""
    eye = torch.eye(len(text_ids), device=text_ids.device)
    return eye, eye


def same_text(text_ids: Int[Tensor, " unit"]) -> Targets:
    """Every identical text is right, in equal parts."""
    return from_relation(text_ids[:, None] == text_ids[None])


def from_relation(right: Bool[Tensor, "unit text"]) -> Targets:
    """Equal parts for all that are right, from each side. Every row and column needs at least one."""
    right = right.float()
    return right / right.sum(1, keepdim=True), right.T / right.T.sum(1, keepdim=True)


TARGETS = {"identity": identity, "same_text": same_text}
