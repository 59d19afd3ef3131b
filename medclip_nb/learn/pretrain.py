"""The training loop, on accelerate: what you read is what runs, on a laptop or on a GPU."""

import copy
import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..config import GRAD_CLIP_NORM, Recipe
from ..model.dual_encoder import TextSide
from .batch import CHUNK, Batch, Pairs, Rows
from .lighter import lighter
from .memory import fitted
from .plan import Plan, accelerator_of, learning_rate, optimizer_of, set_rate
from .prefetch import made
from .processes import Team, agreed, random_state, set_random_state, start_together, sum_gradients
from .progress import Within, advice, named
from .resume import begin_trace, copied, fingerprint, load_state, only_run, save_state, trace_step
from .shallow import refuse_unless_safe
from .step import backward, loss_levels, measured_loss, move_average

HIDDEN = 0.05  # from this share on, the next batch is read while the model works


def pretrain(model: TextSide, pairs: Pairs, *, recipe: Recipe, plan: Plan, folder: Path | None = None) -> pd.DataFrame:
    """Trains `model` in place; gives one row per epoch.

    Columns: epoch, train_loss, val_loss, no_learning (the loss of a model that sees nothing), floor, scale, data_s, step_s,
    seconds, units_s (units per second), data_share. With a `folder` the state is kept there after each epoch (and each
    `plan.save_steps`), a run that was killed goes on from it to the same end, and the loss of each step is in trace.csv.
    Started as several processes, they train as one (`processes`). Raises FloatingPointError, naming the batch, if the loss or the
    gradient is not finite; the model is then as the last whole epoch left it. Raises ValueError if another process trains in the
    folder, if no batch fits the GPU, or if the plan's precision gives wrong gradients here.
    """
    accelerator = accelerator_of(plan)
    writes = folder if accelerator.is_main_process else None
    with only_run(folder) if writes else nullcontext():
        run = Run(model, pairs, recipe, plan, accelerator)
        history = run.resume(folder) if folder else []
        with lighter(run.model, checkpointing=plan.checkpointing, compile=plan.compile):
            run.train(history, writes)
    table = pd.DataFrame(history)
    table.attrs.update(overlap_because=pairs.overlap_because, advice=advice(table))
    return table


class Run:
    """What changes while a model trains: its weights, their average, the optimiser, and the best state so far."""

    def __init__(self, model: TextSide, pairs: Pairs, recipe: Recipe, plan: Plan, accelerator):
        self.pairs, self.recipe, self.plan, self.accelerator = pairs, recipe, plan, accelerator
        self.team = Team(accelerator.process_index, accelerator.num_processes)
        model.centre_texts(pairs.training_features())
        self.given, self.model = model, model.to(accelerator.device)
        start_together(self.team, self.model)
        self.optimizer = accelerator.prepare(optimizer_of(self.model, plan))
        self.average = copy.deepcopy(self.model) if plan.ema else self.model
        self.good, self.best, self.within, self.n_steps = copied(self.model), {}, Within(0), 0
        self.left: Within | None = None  # what a killed run left of an epoch
        val = np.random.default_rng(0).permutation(pairs.val)  # rows that follow each other are one study's, with one text
        size = min(plan.batch_size, CHUNK)
        self.val_batches = [val[i : i + size] for i in range(0, len(val), size)]

    def train(self, history: list[dict], folder: Path | None) -> None:
        """All epochs that are left; a row of each is added to `history`."""
        from tqdm.auto import tqdm

        refuse_unless_safe(self.plan, self.model, self.pairs)
        self.plan, expected = fitted(self.model, self.pairs, recipe=self.recipe, plan=self.plan, team=self.team)
        shown = {"desc": f"pretrain {self.recipe.name}", "unit": "epoch", "leave": False, "disable": self.team.rank > 0 or None}
        if expected and self.team.rank == 0:
            tqdm.write(expected)
        with tqdm(total=self.plan.epochs, initial=len(history), **shown) as bar:
            for epoch in range(len(history) + 1, self.plan.epochs + 1):
                if self.is_over(history):
                    break
                trained = self.train_epoch(epoch, bar, history=history, folder=folder)
                history.append({"epoch": epoch, **trained, **self.validate()})
                self.keep(history, folder)
                bar.n = epoch
                bar.refresh()
        self.finish(history)

    def train_epoch(self, epoch: int, bar, *, history: list[dict], folder: Path | None = None) -> dict[str, float]:
        """One pass; an epoch has its own random numbers, so that one which is run again is the same."""
        rng = np.random.default_rng([self.plan.seed, epoch])
        torch.manual_seed(int(rng.integers(2**31)) + self.team.rank)
        batches, began = self.pairs.epoch(rng, self.plan.batch_size), time.perf_counter()
        done = self.begin(epoch, rng)
        ahead = any(row["data_share"] > HIDDEN for row in history)
        loaded = made(lambda rows: (self._load(rows, rng), rng.bit_generator.state), batches[len(done.losses) :], ahead=ahead)
        self.model.train()
        for i in range(len(done.losses), len(batches)):
            asked = time.perf_counter()
            batch, done.drawn = next(loaded)
            done.data_s += time.perf_counter() - asked
            rate = learning_rate((epoch - 1 + (i + 0.5) / len(batches)) / self.plan.epochs, self.plan.learning_rate)
            done.losses.append(self.step(batch, rate, where=f"epoch {epoch}, batch {i + 1} {named(batches[i])}"))
            done.n_units += len(batches[i])
            self.note(history, folder)
            bar.update(1 / len(batches))
            bar.set_postfix_str(done.speed(time.perf_counter() - began), refresh=False)
        return {"train_loss": float(np.mean(done.losses))} | done.times(time.perf_counter() - began)

    def begin(self, epoch: int, rng: np.random.Generator) -> Within:
        """The epoch from its start, or from where a killed run kept its state within it."""
        self.within, self.left = self.left or Within(epoch), None
        if self.within.losses:
            rng.bit_generator.state = self.within.drawn
            set_random_state(self.within.random, self.team)
        return self.within

    def note(self, history: list[dict], folder: Path | None) -> None:
        """The trace of the last step, and every `save_steps` the state."""
        done = self.within
        self.n_steps += 1
        if folder:
            trace_step(folder, done.epoch, len(done.losses), done.losses[-1])
        if self.plan.save_steps and len(done.losses) % self.plan.save_steps == 0:
            done.random = random_state(self.team)
            if folder:
                self.save(history, folder)

    def step(self, batch: Batch, rate: float, *, where: str) -> float:
        """One step of the optimiser on one batch; its loss."""
        loss = backward(self.model, batch, self.recipe, self.accelerator, micro_batch=self.plan.micro_batch, team=self.team)
        self.refuse_unless_finite(loss, where)
        sum_gradients(self.team, self.model.parameters())
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), GRAD_CLIP_NORM)
        if self.plan.precision != "fp16":  # there a step whose gradient overflows is left out, and the scale lowered
            self.refuse_unless_finite(float(norm), where, what="gradient's norm")
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        self.model.clamp_scale()
        self.optimizer.zero_grad()
        if self.plan.ema:
            move_average(self.average, self.model, self.plan.ema)
        return loss

    def refuse_unless_finite(self, value: float, where: str, *, what: str = "loss") -> None:
        """Raises FloatingPointError for a loss or norm that is none; the model goes back to its last good state first."""
        if not math.isfinite(value):
            self.model.load_state_dict(self.good)
            raise FloatingPointError(
                f"the {what} is {value} in {where}; the model is back where the last whole epoch left it. "
                "Look at these units, or lower the learning rate"
            )

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Mean loss of the validation units, with the levels it lies between; batches weigh by their size."""
        self.average.eval()
        sums = np.zeros(3)
        for rows in self.val_batches:
            batch = self._load(rows)
            loss = measured_loss(self.recipe, self.average, batch, self.team)
            self.refuse_unless_finite(loss, f"validation {named(rows)}")
            sums += len(rows) * np.array([loss, *loss_levels(self.recipe, batch)])
        found = dict(zip(("val_loss", "no_learning", "floor"), (sums / len(self.pairs.val)).tolist(), strict=True))
        return found | {"scale": self.average.logit_scale.item()}

    def keep(self, history: list[dict], folder: Path | None) -> None:
        """The state after an epoch: in memory as the last good one, and on disk if there is a folder."""
        self.good, self.within = copied(self.model), Within(len(history))
        losses = [row["val_loss"] for row in history]
        if self.plan.patience and losses[-1] == min(losses):
            self.best = copied(self.average)
        if folder:
            self.save(history, folder)

    def save(self, history: list[dict], folder: Path) -> None:
        """What `resume` reads."""
        done, ema = self.within, {"average": self.average.state_dict()} if self.plan.ema else {}
        groups = {"model": self.model.state_dict(), "best": self.best, "random": done.random} | ema
        groups |= {"good": self.good} if done.losses else {}
        about = {"settings": self.about, "history": history, "steps": self.n_steps}
        about["within"] = {"epoch": done.epoch, "losses": done.losses, "drawn": done.drawn}
        save_state(folder, about, groups, self.optimizer)

    def resume(self, folder: Path) -> list[dict]:
        """Goes to where an earlier run of the same settings stopped; its history."""
        self.about = self.settings()
        found = load_state(folder, self.about, self.optimizer)
        if not agreed(self.team, found is not None):
            raise ValueError(
                f"{folder.name}: some processes see an earlier state there and some do not; all need the same folder"
            )
        about, groups = found or ({"history": [], "within": {"epoch": 0}, "steps": 0}, {})
        if found:
            self.model.load_state_dict(groups["model"])
            if self.plan.ema:
                self.average.load_state_dict(groups["average"])
            self.good, self.best = groups.get("good") or copied(self.model), groups.get("best", {})
        within, self.n_steps = Within(**about["within"], random=groups.get("random", {})), about["steps"]
        self.left = within if within.losses else None
        if self.team.rank == 0:
            begin_trace(folder, self.n_steps)
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
