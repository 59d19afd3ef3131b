"""How much memory a training step needs, before the first one is done: weights and what a backward pass keeps, by the unit."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import Recipe
from ..model.dual_encoder import TextSide
from .batch import Pairs
from .plan import Plan
from .step import batch_loss

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

    @property
    def total(self) -> float:
        """Of the step as planned."""
        return self.fixed + self.per_row * min(self.micro_batch or self.batch_size, self.batch_size)

    def largest_micro_batch(self, available: float) -> int:
        """How many rows may be encoded at a time; 0 if not even one."""
        return max(0, min(self.batch_size, int((available - self.fixed) // self.per_row)))


def need_of(model: TextSide, pairs: Pairs, *, recipe: Recipe, plan: Plan) -> Need:
    """What a training step will need, from two tiny batches: what they keep grows with their rows, and so does a large one's."""
    few, more = (kept_bytes(model, pairs, recipe, n) for n in TRIED)
    per_row = max((more - few) / (TRIED[1] - TRIED[0]), 1)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    copies = COPIES + bool(plan.ema) + bool(plan.patience)
    return Need(copies * weights + max(few - TRIED[0] * per_row, 0), per_row, plan.batch_size, plan.micro_batch)


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


def kept_bytes(model: TextSide, pairs: Pairs, recipe: Recipe, n_rows: int) -> int:
    """Bytes of different tensors, weights left aside, that are kept for the backward pass of a batch of so many rows."""
    from accelerate.utils import send_to_device

    model = copy.deepcopy(model).train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    batch = send_to_device(pairs.batch(pairs.train[:n_rows]), next(model.parameters()).device)
    with kept_for_backward() as kept:
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


def checked(model: TextSide, pairs: Pairs, *, recipe: Recipe, plan: Plan) -> None:
    """`refuse_unless_it_fits` on the GPU at hand. With checkpointing it needs less than is foretold here: not refused."""
    if torch.cuda.is_available() and not plan.checkpointing:
        refuse_unless_it_fits(need_of(model, pairs, recipe=recipe, plan=plan), torch.cuda.mem_get_info()[0])
