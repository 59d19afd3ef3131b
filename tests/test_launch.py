"""Training as launchers start it: one process, or two that train as one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import toy_pairs

from medclip_nb.config import RECIPES
from medclip_nb.learn.plan import Plan
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.learn.resume import TRACE
from medclip_nb.model.dual_encoder import build_model

SCRIPT = """
import pathlib, sys
sys.path.insert(0, {here!r})
import torch
from test_launch import train
torch.set_num_threads(1)
train(pathlib.Path(sys.argv[1]))
"""
ACCELERATE = ["accelerate.commands.launch"]
LAUNCHERS = {
    "accelerate, one process": [*ACCELERATE, "--cpu", "--num_processes", "1"],
    "accelerate, two processes": [*ACCELERATE, "--multi_gpu", "--num_processes", "2"],  # CPUs where there is no GPU
}


def train(folder: Path) -> np.ndarray:
    """A short training; epoch, step and loss of each step."""
    model = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0)
    pretrain(model, toy_pairs(), recipe=RECIPES["clip"], plan=Plan(2, 8, 1e-3, "no", 0), folder=folder)
    return np.loadtxt(folder / TRACE, delimiter=",")


@pytest.mark.skipif(torch.cuda.is_available(), reason="two processes need two GPUs, or none")
@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_starts_a_training_with_the_losses_of_one_process(name, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent)))
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-m", *LAUNCHERS[name], str(script), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.loadtxt(tmp_path / "run" / TRACE, delimiter=","), train(tmp_path), rtol=1e-4)
