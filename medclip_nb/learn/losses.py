"""The one equation. What differs between papers is in the targets; here is what a wrong answer costs.

The memory-linear form, `loss_in_chunks`, takes embeddings instead of logits: it makes a few rows of logits at a time, forgets
them, and makes them again for the gradient, so that a batch of 30,000 needs no matrix of 30,000 x 30,000.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid
from torch.utils.checkpoint import checkpoint

from ..config import Recipe
from .batch import CHUNK, Answers

Span = tuple[slice, slice]  # of the units and of the owned texts


def soft_contrastive_loss(
    logits: Float[Tensor, "unit text"],
    targets: Float[Tensor, "unit text"],
    targets_t: Float[Tensor, "owned unit"],
    valid: Bool[Tensor, "unit text"] | None = None,
) -> Float[Tensor, ""]:
    """1/2 CE(targets, softmax over texts) + 1/2 CE(targets_t, softmax over units), in nats.

    The first `owned` columns of `logits` are texts that a unit of the batch owns; further columns are negatives only
    and have no row in `targets_t`. Pairs where `valid` is False leave both softmaxes.
    """
    if valid is not None:
        logits = logits.masked_fill(~valid, -torch.inf)
    return (cross_entropy(logits, targets) + cross_entropy(logits.T[: len(targets_t)], targets_t)) / 2


def cross_entropy(logits: Float[Tensor, "row column"], targets: Float[Tensor, "row column"]) -> Float[Tensor, ""]:
    """Mean over rows of -sum targets * log softmax; entries with target 0 count nothing, even at logit -inf."""
    log_probability = log_softmax(_wide(logits), dim=1)
    return -torch.where(targets > 0, targets * log_probability, 0).sum(1).mean()


def sigmoid_loss(
    logits: Float[Tensor, "unit text"], right: Bool[Tensor, "unit text"], valid: Bool[Tensor, "unit text"] | None = None
) -> Float[Tensor, ""]:
    """-1/n sum over all (valid) pairs of log sigmoid(+-logit) (SigLIP: Zhai et al. 2023, equation 1), in nats per unit."""
    log_probability = logsigmoid(torch.where(right, 1.0, -1.0) * _wide(logits))
    return -(log_probability if valid is None else log_probability * valid).sum(1).mean()


def recipe_loss(
    recipe: Recipe,
    logits: Float[Tensor, "unit text"],
    targets: Float[Tensor, "unit text"],
    targets_t: Float[Tensor, "owned unit"],
    valid: Bool[Tensor, "unit text"] | None = None,
) -> Float[Tensor, ""]:
    """The recipe's loss; for the sigmoid a text is right where it has any share of the target."""
    if recipe.loss == "sigmoid":
        return sigmoid_loss(logits, targets > 0, valid)
    return soft_contrastive_loss(logits, targets, targets_t, valid)


def loss_in_chunks(
    recipe: Recipe,
    emb: tuple[Float[Tensor, "unit ..."], Float[Tensor, "text dim"]],
    logits_of: Callable[[Tensor, Tensor], Float[Tensor, "some_units some_texts"]],
    answers: Answers,
    *,
    span: Span,
    chunk: int = CHUNK,
) -> Float[Tensor, ""]:
    """What some units and owned texts add to `recipe_loss`, with memory linear in the batch; over all of them, it is the loss.

    `emb` are the embeddings of all units and texts, `logits_of` is the model's.
    """
    images, texts = emb
    half = 1.0 if recipe.loss == "sigmoid" else 0.5

    def of_units(rows: slice) -> Float[Tensor, ""]:
        targets, valid = _beside(images, *answers.of_units(rows))
        return half * len(targets) / answers.n_units * _row_loss(recipe, logits_of(images[rows], texts), targets, valid)

    def of_texts(rows: slice) -> Float[Tensor, ""]:
        targets, valid = _beside(images, *answers.of_texts(rows))
        return half * len(targets) / answers.n_owned * _row_loss(recipe, logits_of(images, texts[rows]).T, targets, valid)

    sides = [(of_units, span[0])] + ([] if recipe.loss == "sigmoid" else [(of_texts, span[1])])
    pieces = [
        checkpoint(side, slice(i, min(i + chunk, rows.stop)), use_reentrant=False, preserve_rng_state=False)
        for side, rows in sides
        for i in range(rows.start, rows.stop, chunk)
    ]
    return torch.stack(pieces).sum() if pieces else 0 * (images.sum() + texts.sum())


def _row_loss(
    recipe: Recipe,
    logits: Float[Tensor, "row column"],
    targets: Float[Tensor, "row column"],
    valid: Bool[Tensor, "row column"] | None,
) -> Float[Tensor, ""]:
    if recipe.loss == "sigmoid":
        return sigmoid_loss(logits, targets > 0, valid)
    return cross_entropy(logits if valid is None else logits.masked_fill(~valid, -torch.inf), targets)


def _beside(emb: Tensor, targets: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return targets.to(emb.device), None if valid is None else valid.to(emb.device)


def no_learning_level(
    loss: str,
    targets: Float[Tensor, "unit text"],
    targets_t: Float[Tensor, "owned unit"],
    valid: Bool[Tensor, "unit text"] | None = None,
) -> float:
    """The loss of a model that sees nothing: log of the number of choices; for the sigmoid the entropy of "is right"."""
    if loss == "sigmoid":
        right, asked = _counted(targets, valid)
        return (_one_answer(right.sum(), asked.sum()) / len(targets)).item()
    return soft_contrastive_loss(torch.zeros_like(targets), targets, targets_t, valid).item()


def floor_level(
    loss: str,
    targets: Float[Tensor, "unit text"],
    targets_t: Float[Tensor, "owned unit"],
    text_ids: Int[Tensor, " text"],
    valid: Bool[Tensor, "unit text"] | None = None,
) -> float:
    """No model gets below: identical texts have equal logits, and a target that is spread has an entropy.

    From the units' side the best a model can do is to give each group of identical texts its share of the target, in equal
    parts; from the texts' side identical texts share one answer, so the best is the mean of their targets. Where `valid` is
    given, identical texts may have other choices, and the texts' side counts the entropy of each one's own target.
    """
    groups, group_of = torch.unique(text_ids, return_inverse=True)
    member = (group_of[:, None] == torch.arange(len(groups), device=text_ids.device)).double()  # (text, group)
    right, asked = (part @ member for part in _counted(targets, valid))
    if loss == "sigmoid":
        return _one_answer(right, asked).sum(1).mean().item()
    best = (targets.double() @ member / asked.clamp(min=1)) @ member.T
    owned = member[: len(targets_t)]
    mean = owned @ (owned.T @ targets_t.double() / owned.sum(0).clamp(min=1)[:, None])
    return ((_entropy(targets, best) + _entropy(targets_t, mean if valid is None else targets_t.double())) / 2).item()


def _counted(targets: Float[Tensor, "unit text"], valid: Bool[Tensor, "unit text"] | None) -> tuple[Tensor, Tensor]:
    """1 where a pair is right, and 1 where it is asked about at all."""
    asked = torch.ones_like(targets, dtype=torch.bool) if valid is None else valid
    return ((targets > 0) & asked).double(), asked.double()


def _one_answer(right: Float[Tensor, "*b"], asked: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Least sigmoid loss of so many pairs that all get the same logit, so many of them right."""
    share = right / asked.clamp(min=1)
    return -(torch.xlogy(right, share) + torch.xlogy(asked - right, 1 - share))


def _entropy(targets: Float[Tensor, "row column"], answers: Float[Tensor, "row column"]) -> Float[Tensor, ""]:
    return -torch.xlogy(targets.double(), answers).sum(1).mean()


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
