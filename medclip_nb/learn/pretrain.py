"""The training loop, on accelerate: what you read is what runs, on a laptop or on several GPUs."""

import math
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..config import GRAD_CLIP_NORM, PRETRAINED_BATCH, PRETRAINED_RATE, WARMUP_SHARE, WEIGHT_DECAY, Preset, Recipe
from ..data.manifest import patients_across_splits
from ..data.studies import Units, draw_epoch
from ..model.dual_encoder import DualEncoder
from .losses import floor_level, no_learning_level, recipe_loss

SHIFT_PX = 2  # a training batch is moved by up to so many pixels
FEWEST_WORDS = 3  # of a reason to train although patients cross splits
NORM_LIKE = 1  # parameters with at most so many axes (norms, biases, scale) are not decayed


@dataclass(frozen=True)
class Plan:
    """How one run trains; `plan` fills it from a preset."""

    epochs: int
    batch_size: int
    learning_rate: float
    precision: str
    seed: int


class UnitBatches(Dataset):
    """Units of an epoch in batches: images, text features and text ids."""

    def __init__(self, units: Units, features: Float[Tensor, "text dim"], rows: Int[np.ndarray, " unit"]):
        self.units, self.features, self.rows = units, features, rows
        self.image_ids = units.table["image"].to_numpy()
        self.text_ids = units.table["text_id"].to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, numbers: list[int]) -> dict[str, Tensor]:
        rows = self.rows[numbers]
        text_ids = torch.from_numpy(self.text_ids[rows])
        images = torch.from_numpy(self.units.images[self.image_ids[rows]])
        return {"images": images, "features": self.features[text_ids], "text_ids": text_ids}


def plan(preset: Preset, *, seed: int, pretrained_tower: bool = False) -> Plan:
    """The preset's plan; a pretrained tower gets its own number of epochs, a smaller batch and a lower rate."""
    precision = best_precision(pretrained_tower) if preset.precision == "auto" else preset.precision
    if not pretrained_tower:
        return Plan(preset.epochs, preset.batch_size, preset.learning_rate, precision, seed)
    rate, batch_size = preset.learning_rate * PRETRAINED_RATE, min(preset.batch_size, PRETRAINED_BATCH)
    return Plan(preset.pretrained_epochs, batch_size, rate, precision, seed)


def best_precision(pretrained_tower: bool) -> str:
    """bf16 on a GPU that has it; on a CPU only for the small tower: depthwise convolutions lose by it (measured)."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bf16" if has_bf16 and not pretrained_tower else "no"


def pretrain(
    model: DualEncoder,
    units: Units,
    features: Float[Tensor, "text dim"],
    *,
    recipe: Recipe,
    plan: Plan,
    overlap_because: str = "",
) -> pd.DataFrame:
    """Trains `model` in place on the units of split "train"; gives one row per epoch.

    Columns: epoch, train_loss, val_loss, no_learning (the loss of a model that sees nothing), floor, scale, seconds.
    A patient in two splits is refused unless `overlap_because` says why in words; the words stay in the history's attrs.
    Raises ValueError if a patient is in two splits or a split is empty, FloatingPointError if the loss is not finite.
    """
    from accelerate import Accelerator
    from tqdm.auto import tqdm

    train_rows, val_rows = _checked_rows(units, overlap_because)
    rng, accelerator = np.random.default_rng(plan.seed), Accelerator(mixed_precision=plan.precision)
    model.centre_texts(features[np.unique(units.table["text_id"].to_numpy()[train_rows])])
    # the same validation batches for every seed
    val_batches = list(_loader(units, features, np.random.default_rng(0).permutation(val_rows), plan.batch_size))
    n_drawn = len(draw_epoch(units, train_rows, rng))  # each epoch draws other units, but as many
    size, n_steps = min(plan.batch_size, n_drawn), plan.epochs * (n_drawn // min(plan.batch_size, n_drawn))
    parts = accelerator.prepare(model, *_optimizer(model, plan, n_steps=n_steps))
    history = []
    with tqdm(total=n_steps, desc=f"pretrain {recipe.name}", leave=False) as bar:
        for epoch in range(1, plan.epochs + 1):
            start = time.perf_counter()
            loader = _loader(units, features, draw_epoch(units, train_rows, rng), size, drop_last=True)
            train_loss = _train_epoch(accelerator, parts, accelerator.prepare(loader), recipe=recipe, rng=rng, bar=bar)
            row = {"epoch": epoch, "train_loss": train_loss, **validate(parts[0], val_batches, recipe)}
            history += [row | {"scale": model.logit_scale.item(), "seconds": time.perf_counter() - start}]
    model.eval()
    return _as_table(history, overlap_because)


def _as_table(history: list[dict], overlap_because: str) -> pd.DataFrame:
    table = pd.DataFrame(history)
    table.attrs["overlap_because"] = overlap_because
    return table


def _train_epoch(accelerator, parts: tuple, loader: DataLoader, *, recipe: Recipe, rng: np.random.Generator, bar) -> float:
    """One pass; the mean loss. Raises FloatingPointError naming the batch whose loss is not finite."""
    (net, optimizer, schedule), losses = parts, []
    net.train()
    for batch in loader:
        with accelerator.autocast():
            logits = net(_shifted(batch["images"], rng), batch["features"])
        loss = recipe_loss(recipe, logits, batch["text_ids"])
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} in batch {len(losses)}; lower the learning rate")
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(net.parameters(), GRAD_CLIP_NORM)
        optimizer.step()
        schedule.step()
        accelerator.unwrap_model(net).clamp_scale()
        optimizer.zero_grad()
        losses.append(loss.item())
        bar.update()
    return float(np.mean(losses))


@torch.inference_mode()
def validate(net: DualEncoder, batches: list[dict[str, Tensor]], recipe: Recipe) -> dict[str, float]:
    """Mean loss of fixed batches, with the levels it lies between; weighted by batch size."""
    net.eval()
    device, sums, n_units = next(net.parameters()).device, np.zeros(3), 0
    for batch in batches:
        ids = batch["text_ids"].to(device)
        loss = recipe_loss(recipe, net(batch["images"].to(device), batch["features"].to(device)), ids).item()
        sums += len(ids) * np.array([loss, no_learning_level(recipe, ids), floor_level(recipe, ids)])
        n_units += len(ids)
    return dict(zip(("val_loss", "no_learning", "floor"), sums / n_units, strict=True))


def _checked_rows(units: Units, overlap_because: str) -> tuple[np.ndarray, np.ndarray]:
    shared = patients_across_splits(units.table)
    if shared and len(overlap_because.split()) < FEWEST_WORDS:
        raise ValueError(
            f"{len(shared)} patients are in more than one split (first: {shared[0]}); split by patient, or say in "
            f"overlap_because, in at least {FEWEST_WORDS} words, why a score on patients seen in training is wanted"
        )
    rows = units.rows("train"), units.rows("val")
    if min(map(len, rows)) < 2:
        raise ValueError(f"train has {len(rows[0])} and val {len(rows[1])} units; each needs at least 2")
    return rows


def _loader(units: Units, features: Tensor, rows: np.ndarray, size: int, *, drop_last: bool = False) -> DataLoader:
    return DataLoader(UnitBatches(units, features, rows), batch_size=size, drop_last=drop_last, collate_fn=lambda batch: batch)


def _optimizer(model: DualEncoder, plan: Plan, *, n_steps: int):
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > NORM_LIKE], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in trained if p.ndim <= NORM_LIKE], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate)
    n_warm = max(1, round(WARMUP_SHARE * n_steps))

    def factor(step: int) -> float:
        done = (step - n_warm) / max(1, n_steps - n_warm)
        return (step + 1) / n_warm if step < n_warm else 0.5 * (1 + math.cos(math.pi * min(done, 1)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _shifted(images: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.roll(images, tuple(rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2).tolist()), dims=(-2, -1))
