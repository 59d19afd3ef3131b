"""Training without a notebook, and what several processes may be started for."""

import json
import os
import re

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from medclip_nb.__main__ import refused
from medclip_nb.cli import main
from medclip_nb.config import run_dir
from medclip_nb.explore import prepare, train
from medclip_nb.learn.resume import STATE, TRACE, only_run


@pytest.mark.parametrize("command", [["run", "05"], ["experiment", "torso"], ["lab"], []])
def test_several_processes_do_not_run_notebooks(command):
    assert "done by one process" in refused(command, {"WORLD_SIZE": "2"})
    assert refused(command, {"WORLD_SIZE": "1"}) == refused(command, {}) == ""


def test_several_processes_may_train():
    assert refused(["train", "torso"], {"WORLD_SIZE": "2"}) == ""


def test_a_folder_of_pictures_is_trained_on_and_the_model_history_and_trace_are_there(picture_folder, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "refuse", lambda data, recipes: None)  # six patients are too few for a report, which is not made
    assert main(["train", str(picture_folder), "--recipe", "siglip", "--preset", "smoke"]) == 0
    *told, folder = capsys.readouterr().out.strip().splitlines()
    assert any(re.match(r"epoch \d+: \d+ units/s, .* of them reading; training loss", line) for line in told)
    folder = train.Path(folder)
    assert load_file(folder / "model" / "model.safetensors")
    assert (folder / "history.csv").exists()
    steps = (folder / "siglip" / TRACE).read_text().splitlines()
    with safe_open(folder / "siglip" / STATE, "pt") as state:
        assert json.loads(state.metadata()["about"])["steps"] == len(steps)


def test_a_second_training_in_the_same_folder_is_refused_and_the_first_is_not_disturbed(picture_folder, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "refuse", lambda data, recipes: None)
    command = ["train", str(picture_folder), "--preset", "smoke", "--seed", "7"]
    folder = run_dir("90", preset="smoke", dataset=str(picture_folder.resolve()), seed=7)
    with only_run(folder / "clip"):
        assert main(command) == 2
        assert f"process {os.getpid()} on" in capsys.readouterr().err
    assert [p.name for p in folder.iterdir()] == ["clip"]  # no model and no history of the one that was refused
    assert not (folder / "clip" / TRACE).exists()
    assert main(command) == 0


def test_an_unknown_recipe_is_an_error_in_one_line(capsys):
    assert main(["train", "torso", "--recipe", "unknown"]) == 2
    assert "unknown" in capsys.readouterr().err
