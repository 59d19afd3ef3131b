"""A process that trains in children and kills them: `python killed.py FOLDER N SEED`. Run by test_kills.py."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from toy import toy_pairs

from medclip_nb.config import RECIPES
from medclip_nb.learn.plan import Plan
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.learn.resume import TRACE
from medclip_nb.model.dual_encoder import build_model

PLAN = Plan(7, 5, 1e-3, "no", 0, ema=0.8, patience=6, save_steps=2)  # nine steps an epoch


def train(folder: Path) -> None:
    """A model with dropout and norms, on images that are moved; writes its history and weights at the end."""
    model = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0, map_pooling="grid")
    history = pretrain(model, toy_pairs(48), recipe=RECIPES["clip"], plan=PLAN, folder=folder)
    columns = ["epoch", "train_loss", "val_loss", "scale"]
    torch.save({"history": history[columns].values.tolist(), "weights": model.state_dict()}, folder / "end.pt")


def trace(folder: Path) -> list[str]:
    """Whole lines of the trace."""
    text = (folder / TRACE).read_text() if (folder / TRACE).exists() else ""
    return text.splitlines()[: text.count("\n")]


def in_child(folder: Path) -> int:
    """Starts the training in a child."""
    child = os.fork()
    if child == 0:
        try:
            train(folder)
        finally:
            os._exit(int(not (folder / "end.pt").exists()))
    return child


def kill_one(folder: Path, rng: np.random.Generator) -> list[str]:
    """Starts the training and kills it a random number of steps later, anywhere in a step; the trace that it leaves."""
    wanted = len(trace(folder)) // 2 * 2 + int(rng.integers(1, 5))  # what was done since the last state is done again
    child, started = in_child(folder), time.time_ns()
    while not (folder / TRACE).exists() or (folder / TRACE).stat().st_mtime_ns < started or len(trace(folder)) < wanted:
        time.sleep(0.001)
        if os.waitpid(child, os.WNOHANG)[0]:
            return trace(folder)
    time.sleep(rng.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return trace(folder)


if __name__ == "__main__":
    folder, n_kills, rng = Path(sys.argv[1]), int(sys.argv[2]), np.random.default_rng(int(sys.argv[3]))
    torch.set_num_threads(1)
    (folder / "alone").mkdir()
    os.waitpid(in_child(folder / "alone"), 0)
    (folder / "killed").mkdir()
    left = [kill_one(folder / "killed", rng) for _ in range(n_kills)]
    os.waitpid(in_child(folder / "killed"), 0)
    (folder / "left.json").write_text(json.dumps(left))
