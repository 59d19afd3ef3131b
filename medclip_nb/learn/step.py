"""One step: the gradient of a batch, whole or a few images at a time, and the moving average of the weights."""

import copy

import torch
from torch import Tensor

from ..config import Recipe
from ..model.dual_encoder import TextSide
from .losses import floor_level, recipe_loss
from .pairs import Batch, Pairs

OVERFIT_RATE = 4e-3


def backward(model: TextSide, batch: Batch, recipe: Recipe, accelerator, *, micro_batch: int = 0) -> float:
    """Adds the gradient of the batch's loss to the weights; the loss. A loss that is not finite leaves no gradient.

    With a `micro_batch` images are encoded twice, a few at a time: first without a gradient, to have the loss of the whole batch
    and its gradient by embedding, then again to carry that on (Gao et al. 2021, "GradCache"). Memory falls, the negatives stay.
    Equal to the whole batch but for batch normalisation, whose statistics are then those of the few.
    """
    parts = list(zip(*(t.split(micro_batch or len(t)) for t in batch.images), strict=True))
    seed = torch.initial_seed() if len(parts) == 1 else int(torch.randint(2**31, ()))

    def encode(i: int) -> Tensor:
        if len(parts) > 1:
            torch.manual_seed(seed + i)  # the second time dropout falls as it did the first time
        with accelerator.autocast():
            return model.encode_images(*parts[i])

    with torch.set_grad_enabled(len(parts) == 1):
        image_emb = torch.cat([encode(i) for i in range(len(parts))])
    cached = image_emb if len(parts) == 1 else image_emb.requires_grad_()
    with accelerator.autocast():
        logits = model.logits(cached, model.encode_texts(batch.features))
    loss = recipe_loss(recipe, logits, batch.targets, batch.targets_t, batch.valid)
    if torch.isfinite(loss):
        accelerator.backward(loss)
        for i in range(len(parts) if len(parts) > 1 else 0):
            accelerator.backward((encode(i) * cached.grad[i * micro_batch : (i + 1) * micro_batch]).sum())
    return loss.item()


def overfit(model: TextSide, pairs: Pairs, *, recipe: Recipe, n: int = 16, n_steps: int = 80) -> tuple[float, float, float]:
    """Loss of n training pairs before and after a copy of the model has learnt them by heart, and the floor of that loss.

    A model that cannot do this has a fault that no amount of data mends.
    """
    learner = copy.deepcopy(model).train()
    batch = pairs.batch(pairs.train[:: max(1, len(pairs.train) // n)][:n])
    optimizer, losses = torch.optim.AdamW(learner.parameters(), lr=OVERFIT_RATE), []
    for _ in range(n_steps + 1):
        loss = recipe_loss(recipe, learner(batch.images, batch.features), batch.targets, batch.targets_t, batch.valid)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses[0], losses[-1], floor_level(recipe.loss, batch.targets, batch.targets_t, batch.text_ids, batch.valid)


@torch.no_grad()
def move_average(average: TextSide, model: TextSide, decay: float) -> None:
    """average = decay * average + (1 - decay) * model, weights and running statistics alike."""
    for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        mean.lerp_(new, 1 - decay) if mean.is_floating_point() else mean.copy_(new)
