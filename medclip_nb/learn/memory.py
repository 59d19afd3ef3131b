"""How much memory a training step needs, before the first one is done: weights and what a backward pass keeps, by the unit."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..config import Recipe
from ..model.dual_encoder import TextSide
from .batch import Pairs
from .plan import Plan
from .processes import ALONE, Team, least
from .step import batch_loss, group_sizes

COPIES = 5  # of all weights: themselves, their gradient, AdamW's two moments, the last good state
TRIED = (2, 4)  # rows of the two batches that the growth is read off
SPARE = 0.9  # share of the free memory that is planned with: libraries need some, too


@dataclass(frozen=True)
class Need:
    """Bytes that a step needs; what grows is per row of `pairs.train`, of which a batch has `batch_size`."""

    fixed: float
    per_row: float
    batch_size: int
    micro_batch: int
    images_per_row: float = 1.0  # of organs: a row is a study; a micro_batch counts crops

    @property
    def total(self) -> float:
        """Of the step as planned."""
        rows = self.micro_batch / self.images_per_row if self.micro_batch else self.batch_size
        return self.fixed + self.per_row * min(rows, self.batch_size)

    def largest_micro_batch(self, available: float) -> int:
        """How many images may be encoded at a time; 0 if not even one."""
        return max(0, int(self.images_per_row * min(self.batch_size, (available - self.fixed) / self.per_row)))

    def told(self, available: float) -> str:
        """What is expected, for somebody who waits for it."""
        few = f"{self.micro_batch} images at a time" if self.micro_batch else "all images at once"
        needed, in_any_case, a_unit, free = (n / 2**30 for n in (self.total, self.fixed, self.per_row, available))
        return (
            f"memory: a step of {self.batch_size} units, {few}, is expected to need {needed:.2f} of {free:.1f} GiB that are free "
            f"({in_any_case:.2f} GiB in any case, {a_unit:.4f} GiB a unit)"
        )


def need_of(model: TextSide, pairs: Pairs, *, recipe: Recipe, plan: Plan) -> Need:
    """What a training step will need, from two tiny batches: what they keep grows with their rows, and so does a large one's."""
    bf16 = plan.precision == "bf16"
    few, more = (kept_bytes(model, pairs, recipe, n, bf16=bf16) for n in TRIED)
    n_images = sum(group_sizes(model, pairs.batch(pairs.train[: TRIED[1]]).images))
    per_row = max((more - few) / (TRIED[1] - TRIED[0]), 1)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    copies = COPIES + bool(plan.ema) + bool(plan.patience)
    fixed = copies * weights + max(few - TRIED[0] * per_row, 0)
    return Need(fixed, per_row, plan.batch_size, plan.micro_batch, n_images / min(TRIED[1], len(pairs.train)))


@contextmanager
def kept_for_backward() -> Iterator[dict[int, int]]:
    """Inside, bytes by storage of all tensors that passes keep for their backward pass; they must be alive when one looks."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept


def kept_bytes(model: TextSide, pairs: Pairs, recipe: Recipe, n_rows: int, *, bf16: bool = False) -> int:
    """Bytes of different tensors, weights left aside, that are kept for the backward pass of a batch of so many rows."""
    from accelerate.utils import send_to_device

    model = copy.deepcopy(model).train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    device = next(model.parameters()).device
    batch = send_to_device(pairs.batch(pairs.train[:n_rows]), device)
    with kept_for_backward() as kept, torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        loss = batch_loss(recipe, model, model.encode_images(*batch.images), batch)
    grown = sum(n for storage, n in kept.items() if storage not in own)
    return grown if loss.requires_grad else 0  # the loss is alive until here, and so is all that it keeps


def refuse_unless_it_fits(need: Need, available: float) -> None:
    """Raises ValueError, with the micro_batch that would fit, if a step needs more bytes than there are."""
    if need.total <= available * SPARE:
        return
    fits = need.largest_micro_batch(available * SPARE)
    hint = f"set micro_batch={fits} in the plan, which keeps all negatives" if fits else "use a smaller model or input"
    raise ValueError(
        f"a step of {need.batch_size} units is expected to need {need.total / 2**30:.1f} GiB of {available / 2**30:.1f} GiB "
        f"({need.fixed / 2**30:.2f} GiB for the weights, {need.per_row / 2**20:.1f} MiB a unit): {hint}"
    )


def fitted(model: TextSide, pairs: Pairs, *, recipe: Recipe, plan: Plan, team: Team = ALONE) -> tuple[Plan, str]:
    """The plan made to fit the GPU at hand, and what is told of it; without a GPU the plan as it is, and nothing.

    A plan without a micro_batch gets the largest power of two that fits, if all images at once do not; one that was asked for is
    refused if it does not fit. With checkpointing less is needed than is foretold here: then nothing is changed or refused.
    Of several processes the one with the least free memory decides for all.
    """
    if not torch.cuda.is_available():
        return plan, ""
    own = replace(plan, batch_size=math.ceil(plan.batch_size / team.size))
    need, available = need_of(model, pairs, recipe=recipe, plan=own), least(team, torch.cuda.mem_get_info()[0])
    if not plan.checkpointing:
        fits = need.largest_micro_batch(available * SPARE)
        if not plan.micro_batch and fits and need.total > available * SPARE:
            need = replace(need, micro_batch=2 ** (fits.bit_length() - 1))
        refuse_unless_it_fits(need, available)
    return replace(plan, micro_batch=need.micro_batch), need.told(available)
