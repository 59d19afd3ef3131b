"""Benchmarks of the contrastive loss as the loop takes it for large batches, against the matrix of all pairs."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..config import RECIPES
from ..learn.batch import Answers
from ..learn.losses import loss_in_chunks, recipe_loss
from ..learn.memory import kept_for_backward
from ..learn.targets import identity
from .rows import Curve, Row, Sizes, beside, curve_of

DIM, SCALE = 64, 10
MOST_EXPONENT = 1.1  # budget of the memory's growth: linear
RIVAL = "matrix of all pairs"


def loss_memory(sizes: Sizes) -> list[Row | Curve]:
    """MiB that the loss keeps for the backward pass, and how they grow with the batch."""
    measured = {n: {name: _kept_mib(n, loss) for name, loss in LOSSES.items()} for n in sizes.losses}
    curve = curve_of("memory of the loss", "pairs", "MiB", measured, most_exponent=MOST_EXPONENT)
    n = sizes.losses[-1]
    note = f"kept for the backward pass, {DIM} dimensions, float32, embeddings included; rival: {RIVAL}"
    return [Row(f"memory of the loss, {n:,} pairs", *measured[n].values(), "MiB", note), curve, curve.row()]


def loss_time(sizes: Sizes) -> list[Row | Curve]:
    """Seconds of the loss forward and backward, in which ours makes each logit twice."""
    measured = {n: _seconds(n, sizes.repeats) for n in sizes.timed_losses}
    curve = curve_of("time of the loss", "pairs", "s", measured)
    n = sizes.timed_losses[-1]
    note = f"forward + backward, {DIM} dimensions, float32; rival: {RIVAL}"
    return [Row(f"time of the loss, {n:,} pairs", *measured[n].values(), "s", note), curve, curve.row()]


def in_chunks(images: Tensor, texts: Tensor) -> Tensor:
    """The loss in memory that grows linearly."""
    n = len(images)
    answers = Answers(n, n, lambda rows, columns: identity(torch.arange(n), rows)[0][:, columns])
    span = slice(0, n), slice(0, n)
    return loss_in_chunks(RECIPES["clip"], (images, texts), lambda x, y: SCALE * x @ y.T, answers, span=span)


def of_all_pairs(images: Tensor, texts: Tensor) -> Tensor:
    """The loss from the matrix of all logits."""
    return recipe_loss(RECIPES["clip"], SCALE * images @ texts.T, *identity(torch.arange(len(images))))


LOSSES = {"ours": in_chunks, RIVAL: of_all_pairs}
Loss = Callable[[Tensor, Tensor], Tensor]


def _embeddings(n: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [normalize(torch.randn(n, DIM)).requires_grad_() for _ in range(2)]


def _kept_mib(n: int, loss_of: Loss) -> float:
    emb = _embeddings(n)
    with kept_for_backward() as kept:
        kept |= {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in emb}
        loss = loss_of(*emb)
    return sum(kept.values()) / 2**20 if loss.requires_grad else 0.0  # the loss is alive, and so is all that it keeps


def _seconds(n: int, repeats: int) -> dict[str, float]:
    ways = [partial(_pass, n, loss) for loss in LOSSES.values()]
    return dict(zip(LOSSES, beside(*ways, same=partial(torch.allclose, atol=1e-5), repeats=repeats), strict=True))


def _pass(n: int, loss_of: Loss) -> Tensor:
    """The loss and its gradient, in one row."""
    emb = _embeddings(n)
    loss = loss_of(*emb)
    loss.backward()
    return torch.cat([loss.detach()[None], *(e.grad.flatten() for e in emb)])
