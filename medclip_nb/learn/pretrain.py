"""The training loop, on accelerate: what you read is what runs, on a laptop or on a GPU."""

import copy
import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..config import GRAD_CLIP_NORM, Recipe
from ..model.dual_encoder import TextSide
from .pairs import Batch, Pairs, Rows
from .plan import Plan, learning_rate, optimizer_of
from .resume import fingerprint, load_state, save_state
from .step import backward, batch_loss, loss_levels, move_average

STUCK = 0.02  # a validation loss this close to the no-learning level, as a share of it, has learnt nothing
SLOW_DATA = 0.5  # share of the time that reading batches may take before the user is told


def pretrain(model: TextSide, pairs: Pairs, *, recipe: Recipe, plan: Plan, folder: Path | None = None) -> pd.DataFrame:
    """Trains `model` in place; gives one row per epoch.

    Columns: epoch, train_loss, val_loss, no_learning (the loss of a model that sees nothing), floor, scale, data_s, step_s,
    seconds. With a `folder` the state is kept there after each epoch, and a run that was killed goes on from it to the same end.
    Raises FloatingPointError, naming the batch, if the loss is not finite; the model is then as the last whole epoch left it.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from tqdm.auto import tqdm

    AcceleratorState._reset_state()  # or the precision of an earlier run of this process would be asked for again
    run = Run(model, pairs, recipe, plan, Accelerator(mixed_precision=plan.precision))
    history = run.resume(folder) if folder else []
    bar = tqdm(total=plan.epochs, initial=len(history), desc=f"pretrain {recipe.name}", unit="epoch", leave=False)
    with bar:
        for epoch in range(len(history) + 1, plan.epochs + 1):
            if run.is_over(history):
                break
            history.append({"epoch": epoch, **run.train_epoch(epoch, bar), **run.validate()})
            run.keep(history, folder)
            bar.n = epoch
            bar.refresh()
    run.finish(history)
    table = pd.DataFrame(history)
    table.attrs.update(overlap_because=pairs.overlap_because, advice=advice(table))
    return table


def advice(history: pd.DataFrame) -> list[str]:
    """What somebody who watched the run would say."""
    last, said = history.iloc[-1], []
    if last["val_loss"] > (1 - STUCK) * last["no_learning"]:
        said.append(
            f"the validation loss ({last['val_loss']:.2f}) is at the level of a model that sees nothing "
            f"({last['no_learning']:.2f}): look at the texts, the images and the learning rate"
        )
    data_s, step_s = history["data_s"].sum(), history["step_s"].sum()
    if data_s > SLOW_DATA * (data_s + step_s):
        said.append(f"reading batches took {data_s:.0f} s and computing {step_s:.0f} s: the data is the bottleneck")
    return said


class Run:
    """What changes while a model trains: its weights, their average, the optimiser, and the best state so far."""

    def __init__(self, model: TextSide, pairs: Pairs, recipe: Recipe, plan: Plan, accelerator):
        self.pairs, self.recipe, self.plan, self.accelerator = pairs, recipe, plan, accelerator
        model.centre_texts(pairs.training_features())
        self.given, self.model = model, model.to(accelerator.device)
        self.optimizer = accelerator.prepare(optimizer_of(self.model, plan))
        self.average = copy.deepcopy(self.model) if plan.ema else self.model
        self.good, self.best = _copied(self.model), {}
        val = np.random.default_rng(0).permutation(pairs.val)  # rows that follow each other are one study's, with one text
        self.val_batches = [val[i : i + plan.batch_size] for i in range(0, len(val), plan.batch_size)]

    def train_epoch(self, epoch: int, bar) -> dict[str, float]:
        """One pass; an epoch has its own random numbers, so that one which is run again is the same."""
        rng = np.random.default_rng([self.plan.seed, epoch])
        torch.manual_seed(int(rng.integers(2**31)))
        batches, began, data_s, losses = self.pairs.epoch(rng, self.plan.batch_size), time.perf_counter(), 0.0, []
        self.model.train()
        for i, rows in enumerate(batches):
            asked = time.perf_counter()
            batch = self._load(rows, rng)
            data_s += time.perf_counter() - asked
            rate = learning_rate((epoch - 1 + (i + 0.5) / len(batches)) / self.plan.epochs, self.plan.learning_rate)
            losses.append(self.step(batch, rate, where=f"epoch {epoch}, batch {i + 1} {_named(rows)}"))
            bar.update(1 / len(batches))
        seconds = time.perf_counter() - began
        return {"train_loss": float(np.mean(losses)), "data_s": data_s, "step_s": seconds - data_s, "seconds": seconds}

    def step(self, batch: Batch, rate: float, *, where: str) -> float:
        """One step of the optimiser on one batch; its loss."""
        loss = backward(self.model, batch, self.recipe, self.accelerator, micro_batch=self.plan.micro_batch)
        self.refuse_unless_finite(loss, where)
        self.accelerator.clip_grad_norm_(self.model.parameters(), GRAD_CLIP_NORM)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.model.clamp_scale()
        self.optimizer.zero_grad()
        if self.plan.ema:
            move_average(self.average, self.model, self.plan.ema)
        return loss

    def refuse_unless_finite(self, loss: float, where: str) -> None:
        """Raises FloatingPointError for a loss that is none; the model goes back to its last good state first."""
        if not math.isfinite(loss):
            self.model.load_state_dict(self.good)
            raise FloatingPointError(
                f"the loss is {loss} in {where}; the model is back where the last whole epoch left it. "
                "Look at these units, or lower the learning rate"
            )

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Mean loss of the validation units, with the levels it lies between; batches weigh by their size."""
        self.average.eval()
        sums = np.zeros(3)
        for rows in self.val_batches:
            batch = self._load(rows)
            loss = batch_loss(self.recipe, self.average, self.average.encode_images(*batch.images), batch).item()
            self.refuse_unless_finite(loss, f"validation {_named(rows)}")
            sums += len(rows) * np.array([loss, *loss_levels(self.recipe, batch)])
        found = dict(zip(("val_loss", "no_learning", "floor"), (sums / len(self.pairs.val)).tolist(), strict=True))
        return found | {"scale": self.average.logit_scale.item()}

    def keep(self, history: list[dict], folder: Path | None) -> None:
        """The state after an epoch: in memory as the last good one, and on disk if there is a folder."""
        self.good = _copied(self.model)
        losses = [row["val_loss"] for row in history]
        if self.plan.patience and losses[-1] == min(losses):
            self.best = _copied(self.average)
        if folder:
            groups = {"model": self.good, "best": self.best} | ({"average": _copied(self.average)} if self.plan.ema else {})
            save_state(folder, {"settings": self.about, "history": history}, groups, self.optimizer)

    def resume(self, folder: Path) -> list[dict]:
        """Goes to where an earlier run of the same settings stopped; its history."""
        self.about = self.settings()
        found = load_state(folder, self.about, self.optimizer)
        if found is None:
            return []
        about, groups = found
        self.model.load_state_dict(groups["model"])
        if self.plan.ema:
            self.average.load_state_dict(groups["average"])
        self.good, self.best = _copied(self.model), groups.get("best", {})
        return about["history"]

    def is_over(self, history: list[dict]) -> bool:
        """Whether the validation loss has not become better for as long as patience lasts."""
        losses = [row["val_loss"] for row in history]
        return bool(self.plan.patience and losses) and len(losses) - 1 - int(np.argmin(losses)) >= self.plan.patience

    def finish(self, history: list[dict]) -> None:
        """The weights that are kept go into the model that was given."""
        self.given.load_state_dict(self.best or self.average.state_dict())
        self.given.eval()

    def settings(self) -> dict:
        """What makes a run this run: a state of another, or of one that starts elsewhere, is not gone on from."""
        sample = self.pairs.batch(self.val_batches[0])
        start = (*self.model.state_dict().values(), *sample.images, sample.features, sample.targets)
        return {
            "plan": asdict(self.plan),
            "recipe": asdict(self.recipe),
            "model": self.model.to_dict(),
            "units": [len(self.pairs.train), len(self.pairs.val)],
            "start": fingerprint(start),
        }

    def _load(self, rows: Rows, rng: np.random.Generator | None = None) -> Batch:
        from accelerate.utils import send_to_device

        return send_to_device(self.pairs.batch(rows, rng), self.accelerator.device)


def _named(rows: Rows) -> str:
    return f"(units {', '.join(map(str, rows[:4]))}, ...)"


def _copied(model: TextSide) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
