"""Several processes as one: each embeds its share of a batch, and the loss is that of the whole batch.

Every process draws the same units, texts and augmentation from the same generator and embeds only its share of them. Embeddings
are gathered with their gradient, so that all see all negatives. Each process has a part of the loss; the parts add up to the loss
of one process, and so do the parts' gradients: everything here is a sum, and there is no factor to forget.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..model.dual_encoder import TextSide


class Team(NamedTuple):
    """This process among those that train together."""

    rank: int = 0
    size: int = 1


ALONE = Team()


def share(team: Team, tensor: Tensor) -> Tensor:
    """The rows of a tensor that this process embeds; of an uneven number the first processes have one more."""
    return tensor.tensor_split(team.size)[team.rank]


def span(team: Team, n: int) -> slice:
    """The rows, of n, whose loss this process computes."""
    starts = [len(part) for part in torch.arange(n).tensor_split(team.size)]
    before = sum(starts[: team.rank])
    return slice(before, before + starts[team.rank])


def gathered(team: Team, own: Float[Tensor, "share *dim"]) -> Float[Tensor, "row *dim"]:
    """All processes' rows in order of rank; in the backward pass each row's gradients from all processes come home, summed."""
    if team.size == 1:
        return own
    if torch.is_grad_enabled() and not own.requires_grad:  # every process takes part in the backward pass, or all wait
        own = own.detach().requires_grad_()
    sizes = [torch.zeros(1, dtype=torch.long, device=own.device) for _ in range(team.size)]
    distributed.all_gather(sizes, torch.tensor([len(own)], device=own.device))
    return _Gather.apply(own, [int(n) for n in sizes], team.rank)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, own: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(found, padded)
        return torch.cat([part[:n] for part, n in zip(found, sizes, strict=True)])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient.split(ctx.sizes)[ctx.rank], None, None


def gathered_units(team: Team, own: Float[Tensor, "share *dim"], group_sizes: list[int]) -> Float[Tensor, "unit *dim"]:
    """`gathered` in the order of one process, which embeds groups (crops of one size, then of another) one after the other."""
    found = gathered(team, own)
    if team.size == 1 or len(group_sizes) == 1:
        return found
    shares = [numbers.tensor_split(team.size) for numbers in torch.arange(sum(group_sizes)).split(group_sizes)]
    came = torch.cat([group[rank] for rank in range(team.size) for group in shares])
    return found[came.argsort().to(found.device)]


def start_together(team: Team, model: TextSide) -> None:
    """Gives every process the weights of the first."""
    for tensor in model.state_dict().values() if team.size > 1 else ():
        distributed.broadcast(tensor, 0)


def agreed(team: Team, answer: bool) -> bool:
    """Whether all processes say the same."""
    return total(team, torch.tensor(float(answer), device=_device(team))) in (0, team.size)


def random_state(team: Team) -> dict[str, Tensor]:
    """The state of PyTorch's generators, a row per process."""
    states = {"cpu": torch.get_rng_state()} | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})
    with torch.no_grad():
        return {kind: gathered(team, state[None].to(_device(team))).cpu() for kind, state in states.items()}


def set_random_state(states: dict[str, Tensor], team: Team) -> None:
    """Goes back to a state; with more processes than it was kept of, the others have that of one."""
    for kind, rows in states.items():
        {"cpu": torch.set_rng_state, "cuda": torch.cuda.set_rng_state}[kind](rows[team.rank % len(rows)])


def _device(team: Team) -> torch.device:
    """Where messages between processes must lie."""
    on_gpu = team.size > 1 and distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def total(team: Team, part: Tensor) -> float:
    """The sum of a number over all processes."""
    part = part.detach().clone()
    if team.size > 1:
        distributed.all_reduce(part)
    return part.item()


def least(team: Team, number: int | float) -> float:
    """The smallest of a number over all processes."""
    found = torch.tensor(float(number), dtype=torch.float64, device=_device(team))
    if team.size > 1:
        distributed.all_reduce(found, distributed.ReduceOp.MIN)
    return found.item()


def sum_gradients(team: Team, parameters: Iterable[nn.Parameter]) -> None:
    """Sums the gradients over all processes, in one message; one that no process has stays None, as with one process."""
    trained = [p for p in parameters if p.requires_grad]
    if team.size == 1 or not trained:
        return
    has = torch.tensor([p.grad is not None for p in trained], dtype=trained[0].dtype, device=trained[0].device)
    flat = torch.cat([has, *((torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained)])
    distributed.all_reduce(flat)
    has, *parts = flat.split([len(trained), *(p.numel() for p in trained)])
    for parameter, gradient, anybody in zip(trained, parts, has.tolist(), strict=True):
        parameter.grad = gradient.view_as(parameter) if anybody else None


@contextmanager
def joined_norms(team: Team, model: TextSide, images: tuple[Tensor, ...]) -> Iterator[None]:
    """Inside, batch norms that are trained use mean and variance of the whole batch, as one process does.

    A group of images that some process has no share of keeps the statistics of each process.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
    if team.size == 1 or any(0 < len(t) < team.size for t in images):
        norms = []
    for norm in norms:
        setattr(norm, _norm_method(norm), partial(_joined, norm, team))
    try:
        yield
    finally:
        for norm in norms:
            delattr(norm, _norm_method(norm))


def _norm_method(norm: _BatchNorm) -> str:
    """What normalises; `MeanMax` is a batch norm that pools first."""
    return "normalised" if hasattr(norm, "normalised") else "forward"


def _joined(norm: _BatchNorm, team: Team, x: Float[Tensor, "b channel *space"]) -> Float[Tensor, "b channel *space"]:
    """Batch norm by moments of all processes (Chan's formula joins them). PyTorch's SyncBatchNorm runs on GPUs only."""
    axes, wide = [0, *range(2, x.ndim)], x.float()
    n = torch.full((1, x.shape[1]), x.numel() / x.shape[1], device=x.device)
    own_var, own_mean = torch.var_mean(wide, axes, correction=0)
    counts, means, variances = gathered(team, torch.stack([n, own_mean[None], own_var[None]], dim=1)).unbind(1)
    parts = counts / counts.sum(0)
    mean = (parts * means).sum(0)
    var = (parts * (variances + (means - mean).square())).sum(0)
    if norm.track_running_stats:
        _track(norm, mean.detach(), var.detach(), counts.sum(0)[0])
    shape = (1, -1, *[1] * (x.ndim - 2))
    scale = norm.weight * torch.rsqrt(var + norm.eps)
    # in the order in which PyTorch does it, so that one process and several round alike
    return (wide * scale.view(shape) + (norm.bias - mean * scale).view(shape)).to(x.dtype)


@torch.no_grad()
def _track(norm: _BatchNorm, mean: Tensor, var: Tensor, n: Tensor) -> None:
    """Moves the running statistics, the variance unbiased, as PyTorch does."""
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(var * n / (n - 1), norm.momentum)
