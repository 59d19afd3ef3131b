"""A training that is killed at any point goes on to the same end, step by step; and a folder has one training at a time.

Two kills by default; `MEDCLIP_NB_LONG=1` makes them twenty.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killed import trace
from toy import toy_pairs

from medclip_nb.config import RECIPES
from medclip_nb.learn.plan import Plan
from medclip_nb.learn.pretrain import pretrain
from medclip_nb.learn.resume import OWNER, only_run, read_trace
from medclip_nb.model.dual_encoder import build_model

N_KILLS = 20 if os.environ.get("MEDCLIP_NB_LONG") == "1" else 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What a process leaves that kills its own training several times."""
    found = tmp_path_factory.mktemp("kills")
    script = Path(__file__).with_name("killed.py")
    subprocess.run([sys.executable, str(script), str(found), str(N_KILLS), "0"], check=True, cwd=script.parent)
    return found


def test_a_killed_training_has_the_same_losses_step_by_step(folder):
    whole = trace(folder / "alone")
    assert len(whole) == 7 * 9
    assert trace(folder / "killed") == whole


def test_whatever_a_kill_left_is_a_beginning_of_the_whole_trace(folder):
    whole, left = trace(folder / "alone"), json.loads((folder / "left.json").read_text())
    assert len(left) == N_KILLS
    assert all(lines == whole[: len(lines)] for lines in left)
    assert any(0 < len(lines) < len(whole) for lines in left)


def test_a_killed_training_ends_with_the_same_history_and_weights(folder):
    one, other = (torch.load(folder / name / "end.pt") for name in ("alone", "killed"))
    assert one["history"] == other["history"]
    assert [k for k, v in one["weights"].items() if not torch.equal(v, other["weights"][k])] == []


def run(folder: Path):
    model = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0)
    return pretrain(model, toy_pairs(), recipe=RECIPES["clip"], plan=Plan(1, 8, 1e-3, "no", 0), folder=folder)


def test_two_trainings_in_one_folder_are_refused_and_the_first_is_named(tmp_path):
    with only_run(tmp_path), pytest.raises(ValueError, match=rf"process {os.getpid()} on .* trains in this folder"):
        run(tmp_path)
    assert len(run(tmp_path)) == 1


def test_the_lock_of_a_process_that_is_dead_is_taken_over(tmp_path):
    code = """import os, pathlib, sys
from medclip_nb.learn.resume import only_run
with only_run(pathlib.Path(sys.argv[1])):
    os._exit(9)"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    assert (tmp_path / OWNER).exists()
    assert len(run(tmp_path)) == 1
    assert not (tmp_path / OWNER).exists()


def test_a_line_that_a_kill_cut_short_is_no_step(tmp_path):
    (tmp_path / "trace.csv").write_text("1,1,0.5\n1,2,0.4\n1,3,0.")
    assert read_trace(tmp_path) == ["1,1,0.5\n", "1,2,0.4\n"]
