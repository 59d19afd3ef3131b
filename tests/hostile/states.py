"""States of runs, and what is kept so as not to be computed twice: cut short, changed, another run's."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tiny import save_bert

from medclip_nb.data import cache
from medclip_nb.learn.resume import STATE, load_state, save_state
from medclip_nb.model import text_tower

from . import Kind
from .checkpoints import Change, replaced
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
    (folder / ".1-1.part-training").mkdir(parents=True)
    (folder / ".1-1.part-training" / "state.json").write_text('{"settings": ')
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


STATES = {
    "state cut short": (lambda f: (f / "state.safetensors").write_bytes(b"half"), r"state\.safetensors: cannot be gone on from"),
    "state without tensors": (lambda f: (f / "state.safetensors").unlink(), r"state\.safetensors: cannot be gone on from"),
    "state with other tensors": (lambda f: save_file({"model/weight": torch.ones(2)}, f / "state.safetensors"), "it was changed"),
    "state.json cut short": (replaced("state.json", b'{"settings": '), r"state\.json: is no JSON"),
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
