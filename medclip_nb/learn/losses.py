"""The one equation. What differs between papers is in the targets; here is what a wrong answer costs."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from ..config import Recipe
from .targets import TARGETS


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
    log_probability = log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return -torch.where(targets > 0, targets * log_probability, 0).sum(1).mean()


def sigmoid_loss(logits: Float[Tensor, "unit text"], right: Bool[Tensor, "unit text"]) -> Float[Tensor, ""]:
    """-1/n sum over all pairs of log sigmoid(+-logit) (SigLIP: Zhai et al. 2023, equation 1), in nats per unit."""
    signs = torch.where(right, 1.0, -1.0)
    return -logsigmoid(signs * logits.to(torch.promote_types(logits.dtype, torch.float32))).sum(1).mean()


def recipe_loss(recipe: Recipe, logits: Float[Tensor, "unit text"], text_ids: Tensor) -> Float[Tensor, ""]:
    """The recipe's loss of a batch whose column j is the text of unit j."""
    targets, targets_t = TARGETS[recipe.targets](text_ids)
    if recipe.loss == "sigmoid":
        return sigmoid_loss(logits, targets > 0)
    return soft_contrastive_loss(logits, targets, targets_t)


def no_learning_level(recipe: Recipe, text_ids: Tensor) -> float:
    """The loss of a model that sees nothing: ln n for the softmax; for the sigmoid n times the entropy of "is right"."""
    targets, _ = TARGETS[recipe.targets](text_ids)
    n = len(text_ids)
    if recipe.loss == "softmax":
        return torch.tensor(float(n)).log().item()
    share = (targets > 0).double().mean()
    return -(n * (torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))).item()


def floor_level(recipe: Recipe, text_ids: Tensor) -> float:
    """The least the loss can reach: identical texts cannot be told apart, which costs the entropy of their number."""
    if recipe.loss == "sigmoid":
        return 0.0
    n_same = (text_ids[:, None] == text_ids[None]).sum(1).double()
    return n_same.log().mean().item()
