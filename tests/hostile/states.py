"""States of runs, and what is kept so as not to be computed twice: cut short, changed, another run's."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import save_bert

from medclip_nb.data import cache
from medclip_nb.learn.resume import STATE, load_state, save_state
from medclip_nb.model import text_tower

from . import Kind
from .checkpoints import Change
from .making import guarded


def state(folder: Path, *, change: Change, seed: int = 0) -> object:
    """A run that goes on from a state that was changed."""
    weights = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(weights.parameters())
    save_state(folder, {"settings": {"seed": 0}, "history": []}, {"model": weights.state_dict()}, optimizer)
    change(folder / STATE)
    return load_state(folder, {"seed": seed}, optimizer)


def half_written(folder: Path) -> object:
    """A state that a kill left half-written beside a whole one."""
    (folder / ".elsewhere-1-x.part").mkdir(parents=True)
    (folder / ".elsewhere-1-x.part" / STATE).write_bytes(b"half")
    return state(folder, change=lambda f: None)[0]["settings"]


def damaged_texts(folder: Path) -> object:
    """A cache of text embeddings that was cut short."""
    tower = save_bert(folder / "bert")
    before = text_tower.embed_texts(["chest ct"], tower)
    text_tower._cache_file(tower).write_bytes(b"PK\3\4half a file")
    return bool(torch.equal(text_tower.embed_texts(["chest ct"], tower), before))


def damaged_image(folder: Path) -> object:
    """A cached array that was cut short."""
    array = np.arange(50)
    cache.fetch("hostile/x", lambda: array)
    cache.file_of("hostile/x").write_bytes(cache.file_of("hostile/x").read_bytes()[:30])
    return bool((cache.fetch("hostile/x", lambda: array) == array).all())


def rewritten(file: Path, tensors: dict[str, torch.Tensor], **about: str) -> None:
    """The state with other tensors, or with other words about it."""
    with safe_open(file, "pt") as stored:
        told = stored.metadata()
    save_file(tensors, file, metadata=told | about)


STATES = {
    "state cut short": (lambda f: f.write_bytes(f.read_bytes()[:100]), "cannot be gone on from"),
    "state that is empty": (lambda f: f.write_bytes(b""), "cannot be gone on from"),
    "state with other tensors": (lambda f: rewritten(f, {"model/weight": torch.ones(2)}), "it was changed"),
    "state without words about it": (lambda f: save_file({"model/weight": torch.ones(2)}, f), "cannot be gone on from"),
    "words about a state cut short": (lambda f: rewritten(f, load_file(f), about='{"settings": '), "cannot be gone on from"),
}
REFUSED = [(name, expect, partial(state, change=change)) for name, (change, expect) in STATES.items()]
REPAIRED = [
    ("a state of another plan", "is not gone on from", partial(state, change=lambda f: None, seed=1),
     lambda found: found is None),
    ("a state half-written", "is passed over, the whole one holds", half_written, lambda found: found == {"seed": 0}),
    ("cached texts damaged", "are embedded again", damaged_texts, lambda same: same),
    ("cached image damaged", "is made again", damaged_image, lambda same: same),
]  # fmt: skip
KINDS = [Kind("state", name, expect, guarded(act)) for name, expect, act in REFUSED]
KINDS += [Kind("state", name, expect, guarded(act), ask) for name, expect, act, ask in REPAIRED]
