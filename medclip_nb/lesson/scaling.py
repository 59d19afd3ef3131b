"""What lesson 14 measures of large batches: what accumulation does to a gradient, memory, and speed."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy.optimize import nnls
from torch import Tensor
from torch.nn.functional import normalize

from ..config import EMBED_DIM, RECIPES, Recipe
from ..data.studies import Units
from ..learn.batch import Answers, diagonal
from ..learn.lighter import lighter
from ..learn.losses import loss_in_chunks, recipe_loss
from ..learn.memory import kept_bytes, kept_for_backward
from ..learn.pairs import ImagePairs
from ..learn.plan import Plan
from ..learn.pretrain import pretrain
from ..learn.step import backward
from ..learn.targets import identity
from ..model.dual_encoder import DualEncoder, TextSide
from .notebook import Lesson
from .steps import fresh_model
from .teamwork import PLAIN

CLIP = RECIPES["clip"]
N_BATCHES = {"smoke": 3, "cpu": 6, "gpu": 10}  # whose gradients are compared
N_TIMED = {"smoke": (128, 32), "cpu": (1_024, 128), "gpu": (10_000, 1_000)}  # slices of training and validation that are timed
MOST_CACHED = 2  # batches that are cached, too


def gradient_of(model: TextSide, pairs: ImagePairs, rows: Int[np.ndarray, " row"], *, micro: int, cached: bool) -> tuple:
    """Loss and gradient (one long vector) of a batch, a few rows at a time: accumulated, or cached as `backward` does."""
    model = copy.deepcopy(model)
    if cached:
        loss = backward(model, pairs.batch(rows), pairs.recipe, PLAIN, micro_batch=micro)
    else:
        parts = np.split(rows, len(rows) // micro)
        loss = np.mean([backward(model, pairs.batch(part), pairs.recipe, PLAIN) for part in parts])
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return float(loss), flat if cached else flat / (len(rows) // micro)


def degrees_between(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> float:
    """Angle between two vectors; by half the chord, which a rounded cosine near 1 does not spoil."""
    half = (normalize(one.double(), dim=0) - normalize(other.double(), dim=0)).norm() / 2
    return float(torch.rad2deg(2 * torch.arcsin(half.clamp(max=1))))


def accumulation_study(model: TextSide, pairs: ImagePairs, batches: list[np.ndarray], sizes: list[int]) -> pd.DataFrame:
    """Both ways to take batches in parts, against the whole: columns how, micro, batch, loss, whole, degrees, change.

    The cached way, which takes longest and does not differ, is tried on the first MOST_CACHED batches.
    """
    rows = []
    for i, batch in enumerate(batches):
        whole, right = gradient_of(model, pairs, batch, micro=len(batch), cached=False)
        for how, cached in (("accumulated", False), ("cached", True))[: 1 + (i < MOST_CACHED)]:
            for micro in sizes:
                loss, found = gradient_of(model, pairs, batch, micro=micro, cached=cached)
                change = float((found - right).norm() / right.norm())
                rows.append((how, micro, i, loss, whole, degrees_between(found, right), change))
    return pd.DataFrame(rows, columns=["how", "micro", "batch", "loss", "whole", "degrees", "change"])


def kept_by_tower(model: TextSide, pairs: ImagePairs, sizes: list[int], *, checkpointing: bool = False) -> list[int]:
    """Bytes that a step on so many slices keeps for its backward pass, weights left aside."""
    with lighter(model, checkpointing=checkpointing):
        return [kept_bytes(model, pairs, pairs.recipe, n) for n in sizes]


def kept_by_loss(n: int, *, chunk: int = 0) -> int:
    """Bytes that the loss of n pairs keeps, embeddings included: as one matrix, or `chunk` rows at a time."""
    images, texts = (normalize(torch.randn(n, EMBED_DIM), dim=1).requires_grad_() for _ in range(2))
    answers = Answers(n, n, lambda units, columns: diagonal(units, columns, n))
    everything = (slice(0, n), slice(0, n))
    with kept_for_backward() as kept:
        kept |= {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in (images, texts)}
        if chunk:
            loss = loss_in_chunks(CLIP, (images, texts), lambda x, y: CLIP.scale * x @ y.T, answers, span=everything, chunk=chunk)
        else:
            loss = recipe_loss(CLIP, CLIP.scale * images @ texts.T, *identity(torch.arange(n)))
        return sum(kept.values()) if loss.requires_grad else 0  # asked while the loss, and so what it keeps, is alive


def growth(points: dict[int, int]) -> tuple[float, float]:
    """Bytes per unit and bytes per pair of units, neither below 0, that come nearest to the points in relative terms."""
    sizes, kept = np.array(list(points), float), np.array(list(points.values()), float)
    per_unit, per_pair = nnls(np.column_stack([sizes, sizes**2]) / kept[:, None], np.ones(len(kept)))[0]
    return float(per_unit), float(per_pair)


def some_units(units: Units, n_train: int, n_val: int, *, seed: int) -> Units:
    """A few units of each split, drawn at random."""
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(units.rows(s), min(n, len(units.rows(s))), replace=False) for s, n in (("train", n_train), ("val", n_val))
    ]
    return replace(units, table=units.table.iloc[np.sort(np.concatenate(drawn))].reset_index(drop=True))


def speeds(lesson: Lesson, pairs: ImagePairs, plans: dict[str, Plan], recipe: Recipe = CLIP) -> pd.DataFrame:
    """Units per second and the share of time spent waiting for data, of each epoch of each plan, as `pretrain` notes them."""
    found = []
    for name, how in plans.items():
        history = pretrain(fresh_model(lesson, pairs.units, recipe), pairs, recipe=recipe, plan=how)
        found.append(history[["epoch", "units_s", "data_share", "train_loss"]].assign(plan=name))
    return pd.concat(found, ignore_index=True)


def in_training(model: DualEncoder, training: bool) -> DualEncoder:
    """A copy whose batch norms use the batch (training) or what they remember (not)."""
    return copy.deepcopy(model).train(training)
