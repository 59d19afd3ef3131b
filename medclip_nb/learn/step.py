"""One step: the gradient of a batch, whole or a few images at a time, and the moving average of the weights."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from ..config import Recipe
from ..model.dual_encoder import TextSide
from .losses import floor_level, no_learning_level, recipe_loss
from .pairs import Batch, Pairs

OVERFIT_RATE = 4e-3


def backward(model: TextSide, batch: Batch, recipe: Recipe, accelerator, *, micro_batch: int = 0) -> float:
    """Adds the gradient of the batch's loss to the weights; the loss. A loss that is not finite leaves no gradient.

    With a `micro_batch` images are encoded twice, a few at a time: first without a gradient, to have the loss of the whole batch
    and its gradient by embedding, then again to carry that on (Gao et al. 2021, "GradCache"). Memory falls, the negatives stay.
    Equal to the whole batch but for batch normalisation, whose statistics are then those of the few.
    """
    parts = model.parts(batch.images, micro_batch) if micro_batch else [batch.images]
    seed = torch.initial_seed() if len(parts) == 1 else int(torch.randint(2**31, ()))

    def encode(i: int) -> Tensor:
        if len(parts) > 1:
            torch.manual_seed(seed + i)  # the second time dropout falls as it did the first time
        with accelerator.autocast():
            return model.encode_images(*parts[i])

    with torch.set_grad_enabled(len(parts) == 1):
        embedded = [encode(i) for i in range(len(parts))]
    image_emb, n_units = torch.cat(embedded), [len(part) for part in embedded]
    cached = image_emb if len(parts) == 1 else image_emb.requires_grad_()
    with accelerator.autocast():
        loss = batch_loss(recipe, model, cached, batch)
    if torch.isfinite(loss):
        accelerator.backward(loss)
        if len(parts) > 1:
            for i, gradient in enumerate(cached.grad.split(n_units)):
                accelerator.backward((encode(i) * gradient).sum())
    return loss.item()


def batch_loss(recipe: Recipe, model: TextSide, image_emb: Tensor, batch: Batch) -> Float[Tensor, ""]:
    """The loss of a batch whose images are embedded: the recipe's, summed over the terms by their weights."""
    losses = [
        t.weight * recipe_loss(recipe, model.logits(image_emb, model.encode_texts(t.features)), t.targets, t.targets_t, t.valid)
        for t in batch.terms
    ]
    return torch.stack(losses).sum()


def loss_levels(recipe: Recipe, batch: Batch) -> tuple[float, float]:
    """The loss of a model that sees nothing, and what none gets below, summed over the terms as the loss is."""
    nothing = [t.weight * no_learning_level(recipe.loss, t.targets, t.targets_t, t.valid) for t in batch.terms]
    floor = [t.weight * floor_level(recipe.loss, t.targets, t.targets_t, t.text_ids, t.valid) for t in batch.terms]
    return sum(nothing), sum(floor)


def overfit(model: TextSide, pairs: Pairs, *, recipe: Recipe, n: int = 16, n_steps: int = 80) -> tuple[float, float, float]:
    """Loss of n training pairs before and after a copy of the model has learnt them by heart, and the floor of that loss.

    A model that cannot do this has a fault that no amount of data mends.
    """
    learner = copy.deepcopy(model).train()
    batch = pairs.batch(pairs.train[:: max(1, len(pairs.train) // n)][:n])
    optimizer, losses = torch.optim.AdamW(learner.parameters(), lr=OVERFIT_RATE), []
    for _ in range(n_steps + 1):
        loss = batch_loss(recipe, learner, learner.encode_images(*batch.images), batch)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses[0], losses[-1], loss_levels(recipe, batch)[1]


@torch.no_grad()
def move_average(average: TextSide, model: TextSide, decay: float) -> None:
    """average = decay * average + (1 - decay) * model, weights and running statistics alike."""
    for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        mean.lerp_(new, 1 - decay) if mean.is_floating_point() else mean.copy_(new)
