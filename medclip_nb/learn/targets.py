"""Target matrices: which text counts as right for which unit, and how much.

Each function gives `(targets, targets_t)`: rows of the first belong to units, rows of the second to texts, and in both each row
sums to 1. `targets_t` is normalised on its own: the transpose of `targets` has rows that do not sum to 1. Texts that no unit of
the batch owns (negatives only) stand last and have no row in `targets_t`.

Worked example, three units of which the first two have the same text:

    identity   [[1, 0, 0],      same_text   [[.5, .5, 0],
                [0, 1, 0],                   [.5, .5, 0],
                [0, 0, 1]]                   [ 0,  0, 1]]
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Targets = tuple[Float[Tensor, "row text"], Float[Tensor, "owned unit_again"]]
ALL = slice(None)


def identity(text_ids: Int[Tensor, " unit"], rows: slice = ALL) -> Targets:
    """Only the text that came with the unit is right (CLIP; RadCLIP's choice too)."""
    numbers = torch.arange(len(text_ids), device=text_ids.device)
    eye = (numbers[rows, None] == numbers).float()
    return eye, eye


def same_text(text_ids: Int[Tensor, " unit"], rows: slice = ALL) -> Targets:
    """Every identical text is right, in equal parts."""
    same = shares(text_ids[rows, None] == text_ids)
    return same, same


def both_normal(text_ids: Int[Tensor, " unit"], normal: Bool[Tensor, " unit"], rows: slice = ALL) -> Targets:
    """Identical texts are right, and all texts of normal units for a normal unit, however worded (fVLM, arXiv 2501.14548)."""
    right = shares((text_ids[rows, None] == text_ids) | (normal[rows, None] & normal))
    return right, right


def label_agreement(unit_labels: Float[Tensor, "unit label"], text_labels: Float[Tensor, "text label"]) -> Targets:
    """Softmax of the cosine between label vectors (MedCLIP: Wang et al., arXiv 2210.10163): never 0, so no text is quite wrong.

    A unit or text without any label has cosine 0 with all; give normality a label of its own.
    """
    cosine = torch.nn.functional.normalize(unit_labels, dim=1) @ torch.nn.functional.normalize(text_labels, dim=1).T
    return cosine.softmax(1), cosine.T.softmax(1)


def similarity_mixed(similarity: Float[Tensor, "unit unit"], weight: float) -> Targets:
    """(1 - weight) identity + weight * row-normalised similarity of the texts (SeLIP, arXiv 2503.19801, has weight 1/2).

    Each side normalises the similarity itself and then mixes; normalising the mixture again is another loss. Raises ValueError
    for a weight outside 0 to 1, a similarity below 0, or a unit that is similar to nothing, not even itself.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"the weight of the similarity is a share from 0 to 1, not {weight}")
    if (similarity < 0).any():
        raise ValueError(f"a similarity is {similarity.min():.2f}; targets are shares, so clamp it at 0")
    if not (similarity.sum(1) > 0).all() or not (similarity.sum(0) > 0).all():
        raise ValueError("a text is similar to nothing: the diagonal of a similarity is 1")
    eye = torch.eye(len(similarity), dtype=similarity.dtype, device=similarity.device)
    return (1 - weight) * eye + weight * shares(similarity), (1 - weight) * eye + weight * shares(similarity.T)


def sharpened(similarity: Float[Tensor, "unit unit"], *, power: float = 1.0, keep: int = 0) -> Float[Tensor, "unit unit"]:
    """The similarity to a power, and of each row only the `keep` largest and their equals (0: all); ours.

    A batch holds one twin and dozens of texts that share a word: without this most of a row's share goes to the dozens.
    """
    raised = similarity**power
    if not 0 < keep < raised.shape[1]:
        return raised
    least = raised.topk(keep, dim=1).values[:, -1:]
    return torch.where(raised >= least, raised, 0)


def class_level(unit_class: Int[Tensor, " unit"], text_class: Int[Tensor, " text"]) -> Targets:
    """One text per class, the organs' names for example; the classes that no unit has stand last (CT-GLIP's organ-text term)."""
    return from_relation(unit_class[:, None] == text_class)


def from_relation(right: Bool[Tensor, "unit text"]) -> Targets:
    """Equal parts for all that are right, from each side.

    Raises ValueError for a unit without a right text, and for a text that nobody owns in front of one that somebody does.
    """
    owned = right.any(0)
    n_owned = int(owned.sum())
    if not right.any(1).all():
        raise ValueError(f"unit {int((~right.any(1)).int().argmax())} has no right text")
    if not owned[:n_owned].all():
        raise ValueError(f"no unit owns text {int((~owned).int().argmax())}: negatives stand behind all texts that have an owner")
    return shares(right), shares(right[:, :n_owned].T)


def shares(parts: Bool[Tensor, "row column"] | Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """Each row divided by its sum."""
    parts = parts if parts.is_floating_point() else parts.float()
    return parts / parts.sum(1, keepdim=True)


TARGETS = {"identity": identity, "same_text": same_text}  # those that ask for nothing but the texts
