"""The state of a run: written whole or not at all, without pickle, so that a killed run goes on exactly; its trace, its lock."""

import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..files import explained, held, whole, write_text

STATE = "training.safetensors"  # in the run's folder
TRACE = "trace.csv"  # epoch, step and loss of each step, without a header
LOCK, OWNER = "training.lock", "training.owner"  # held while a process trains; who it is


def save_state(folder: Path, about: dict, tensors: dict[str, dict[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    """Groups of named tensors (weights of the model, of its moving average) and the optimiser's moments."""
    moments = {f"{i}.{k}": v for i, slot in optimizer.state_dict()["state"].items() for k, v in slot.items()}
    flat = {
        f"{group}/{k}": v.detach().cpu().contiguous().clone()
        for group, named in (*tensors.items(), ("optimizer", moments))
        for k, v in named.items()
    }
    with whole(folder / STATE) as part:  # one file: a folder cannot take another's place in one stroke
        save_file(flat, part, metadata={"about": json.dumps(about), "hash": _hash(flat)})


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Short hash of what tensors hold: weights to start from, or data."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def load_state(
    folder: Path, settings: dict, optimizer: torch.optim.Optimizer
) -> tuple[dict, dict[str, dict[str, Tensor]]] | None:
    """What `save_state` wrote for a run of these settings; None if there is nothing, or it was another run's.

    Raises ValueError for a state that is not as it was written.
    """
    file = folder / STATE
    if not file.exists():
        return None
    about, tensors = _read(file)
    if about.get("settings") != json.loads(json.dumps(settings)):
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, key = name.split("/", 1)
        groups.setdefault(group, {})[key] = tensor
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in groups.pop("optimizer", {}).items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    return about, groups


def _read(file: Path) -> tuple[dict, dict[str, Tensor]]:
    try:
        with safe_open(file, "pt") as stored:
            told = stored.metadata() or {}
        about, tensors = json.loads(told.get("about", "")), load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        about, tensors, why = {}, {}, str(error)
    else:
        why = "" if told.get("hash") == _hash(tensors) else "it was changed"
    if why:
        raise ValueError(f"{file}: cannot be gone on from ({why}); delete it to train from the start")
    return about, tensors


def _hash(tensors: dict[str, Tensor]) -> str:
    return fingerprint(tensors[name] for name in sorted(tensors))


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Inside, no other process trains in this folder. Raises ValueError, naming the one that does."""
    owner = folder / OWNER

    def busy() -> str:
        who = owner.read_text() if owner.exists() else "another process"
        return f"{folder.name}: {who} trains in this folder; wait for it, end it, or use another folder"

    with held(folder / LOCK, busy):
        write_text(owner, f"process {os.getpid()} on {socket.gethostname()}")
        yield
        owner.unlink(missing_ok=True)


def read_trace(folder: Path) -> list[str]:
    """Lines "epoch,step,loss" of each step that was done, in order; a last one that a kill cut short is left out."""
    file = folder / TRACE
    return file.read_text().splitlines(keepends=True)[: file.read_bytes().count(b"\n")] if file.exists() else []


def begin_trace(folder: Path, n_done: int) -> None:
    """Keeps the steps that the state knows; those after it are done again."""
    write_text(folder / TRACE, "".join(read_trace(folder)[:n_done]))


def trace_step(folder: Path, epoch: int, step: int, loss: float) -> None:
    """Adds a step to the trace, in one write."""
    with explained(folder / TRACE), (folder / TRACE).open("a") as file:
        file.write(f"{epoch},{step},{loss!r}\n")


def copied(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model as they are now."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
