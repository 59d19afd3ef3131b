"""One step: the gradient of a batch, whole or a few images at a time, and the moving average of the weights."""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..config import Recipe
from ..model.dual_encoder import TextSide
from .batch import Batch, Pairs, Term
from .losses import floor_level, loss_in_chunks, no_learning_level, recipe_loss
from .processes import ALONE, Team, gathered, gathered_units, joined_norms, share, span, total

OVERFIT_RATE = 4e-3


def backward(model: TextSide, batch: Batch, recipe: Recipe, accelerator, *, micro_batch: int = 0, team: Team = ALONE) -> float:
    """Adds the gradient of the batch's loss to the weights; the loss. A loss that is not finite leaves no gradient.

    Of several processes each embeds its share of the images and adds its part of the gradient: `sum_gradients` makes it whole.
    With a `micro_batch` images are encoded twice, a few at a time: first without a gradient, to have the loss of the whole batch
    and its gradient by embedding, then again to carry that on (Gao et al. 2021, "GradCache"). Memory falls, the negatives stay.
    Equal to the whole batch but for batch normalisation, whose statistics are then those of the few.
    """
    own = tuple(share(team, images) for images in batch.images)
    parts = (model.parts(own, micro_batch) if micro_batch else []) or [own]
    seed = torch.initial_seed() if len(parts) == 1 else int(torch.randint(2**31, ()))

    def encode(i: int) -> Tensor:
        if len(parts) > 1:
            torch.manual_seed(seed + i)  # the second time dropout falls as it did the first time
        with accelerator.autocast():
            return model.encode_images(*parts[i])

    with joined_norms(ALONE if micro_batch else team, model, batch.images):
        with torch.set_grad_enabled(len(parts) == 1):
            embedded = [encode(i) for i in range(len(parts))]
        image_emb, n_units = torch.cat(embedded), [len(part) for part in embedded]
        cached = image_emb if len(parts) == 1 else image_emb.requires_grad_()
        with accelerator.autocast():
            loss = batch_loss(recipe, model, gathered_units(team, cached, group_sizes(model, batch.images)), batch, team)
        value = total(team, loss)
        if math.isfinite(value):
            accelerator.backward(loss)
            if len(parts) > 1:
                for i, gradient in enumerate(cached.grad.split(n_units)):
                    encode(i).backward(gradient)  # which the accelerator has scaled already
    return value


def batch_loss(
    recipe: Recipe, model: TextSide, image_emb: Float[Tensor, "unit ..."], batch: Batch, team: Team = ALONE
) -> Float[Tensor, ""]:
    """The loss of a batch whose images are embedded: the recipe's, summed over the terms by their weights.

    Of several processes each has a part, and the parts add up to the loss.
    """
    return torch.stack([t.weight * _term_loss(recipe, model, image_emb, t, team) for t in batch.terms]).sum()


@torch.inference_mode()
def measured_loss(recipe: Recipe, model: TextSide, batch: Batch, team: Team = ALONE) -> float:
    """The loss of a batch, for validation; each process embeds its share."""
    own = model.encode_images(*(share(team, images) for images in batch.images))
    return total(team, batch_loss(recipe, model, gathered_units(team, own, group_sizes(model, batch.images)), batch, team))


def group_sizes(model: TextSide, images: tuple[Tensor, ...]) -> list[int]:
    """How many images there are of each kind that the model embeds one after the other."""
    return [len(group[0]) for group in model.parts(images, max(map(len, images)))]


def _term_loss(recipe: Recipe, model: TextSide, image_emb: Tensor, term: Term, team: Team) -> Float[Tensor, ""]:
    """A small batch has one matrix of all pairs, whose loss the processes halve; of a large one each computes its own rows."""
    text_emb = gathered(team, model.encode_texts(share(team, term.features)))
    if term.answers is None:
        return recipe_loss(recipe, model.logits(image_emb, text_emb), term.targets, term.targets_t, term.valid) / team.size
    rows = span(team, term.answers.n_units), span(team, term.answers.n_owned)
    return loss_in_chunks(recipe, (image_emb, text_emb), model.logits, term.answers, span=rows)


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
