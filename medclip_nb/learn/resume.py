"""The state of a run after an epoch: written whole or not at all, without pickle, so that a killed run goes on exactly."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import whole

STATE = "training"  # folder inside the run's folder


def save_state(folder: Path, about: dict, tensors: dict[str, dict[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    """Groups of named tensors (weights of the model, of its moving average) and the optimiser's moments."""
    moments = {f"{i}.{k}": v for i, slot in optimizer.state_dict()["state"].items() for k, v in slot.items()}
    flat = {
        f"{group}/{k}": v.detach().cpu().contiguous().clone()
        for group, named in (*tensors.items(), ("optimizer", moments))
        for k, v in named.items()
    }
    with whole(folder / STATE) as part:
        part.mkdir(parents=True)
        save_file(flat, part / "state.safetensors")
        (part / "state.json").write_text(json.dumps(about))


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Short hash of what tensors hold: weights to start from, or data."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def load_state(
    folder: Path, settings: dict, optimizer: torch.optim.Optimizer
) -> tuple[dict, dict[str, dict[str, Tensor]]] | None:
    """What `save_state` wrote for a run of these settings; None if there is nothing, or it was another run's."""
    file = folder / STATE / "state.json"
    if not file.exists():
        return None
    about = json.loads(file.read_text())
    if about["settings"] != json.loads(json.dumps(settings)):
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(file.with_name("state.safetensors")).items():
        group, key = name.split("/", 1)
        groups.setdefault(group, {})[key] = tensor
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in groups.pop("optimizer", {}).items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    return about, groups
