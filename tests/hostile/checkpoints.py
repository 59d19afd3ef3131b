"""Model folders, checkpoints and states of runs that were cut short, tampered with or poisoned."""

import json
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tiny import save_clip, save_vision

from medclip_nb.config import RECIPES
from medclip_nb.data.preprocessing import picture_contract
from medclip_nb.learn.checkpoint import from_pretrained, save_model
from medclip_nb.model.dual_encoder import build_model
from medclip_nb.model.encoders import image_tower

from . import Kind
from .making import guarded, manifest
from .outcome import command

HUGE = 10**9
Change = Callable[[Path], object]


def saved(folder: Path) -> Path:
    """A model folder as training leaves it."""
    model = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0)
    return save_model(model, folder / "model", contract=picture_contract(16), seen=np.zeros((1, 1, 8, 8)), card="# A card")


def loaded(folder: Path, *, change: Change) -> object:
    """What comes of a model folder after a change."""
    change(saved(folder))
    try:
        return from_pretrained(folder / "model")
    finally:
        assert not (folder / "boom").exists(), "code in a model folder was run"


def evaluated(folder: Path, *, change: Change) -> str:
    """The same at the command line."""
    change(saved(folder))
    return command("evaluate", folder / "model", manifest(folder / "data", label=list("ababab")), "--preset", "smoke")


def edited(name: str, **fields) -> Change:
    """Fields of a JSON file changed; None drops one."""

    def change(folder: Path) -> None:
        about = json.loads((folder / name).read_text()) | fields
        (folder / name).write_text(json.dumps({k: v for k, v in about.items() if v is not None}))

    return change


def replaced(name: str, content: bytes) -> Change:
    """Another content of a file."""
    return lambda folder: (folder / name).write_bytes(content)


def reweighted(name: str, make: Callable[[torch.Tensor], torch.Tensor | None]) -> Change:
    """One tensor changed; None drops it."""

    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights[name] = make(weights.get(name, torch.zeros(2)))
        save_file({k: v for k, v in weights.items() if v is not None}, folder / "model.safetensors")

    return change


def cut(folder: Path) -> None:
    """The weights, half of them."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def linked(folder: Path) -> None:
    """The weights are a link to themselves."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("model.safetensors")


class Bomb:
    """What makes a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def poisoned(folder: Path, *, use: Callable[[Path], object], name: str = "pytorch_model.bin", code: str = "") -> object:
    """A checkpoint whose weights are a pickle with code in it; whatever is done with it, the code must not run."""
    checkpoint = save_clip(folder / "clip")
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / name).write_bytes(pickle.dumps({"a": Bomb(folder / "boom")}))
    if code:
        (checkpoint / "modeling.py").write_text(f"import os; os.mkdir({str(folder / 'boom')!r})")
        edited("config.json", model_type="mine", auto_map={"AutoConfig": "modeling.A", "AutoModel": "modeling.B"})(checkpoint)
    try:
        return use(checkpoint)
    finally:
        assert not (folder / "boom").exists(), "code in a checkpoint was run"


def as_tower(folder: Path) -> object:
    """A checkpoint as an image tower."""
    return image_tower(str(folder), channels=3)


def of_checkpoint(folder: Path, *, change: Change) -> object:
    """A vision transformer of Hugging Face's form as an image tower, after a change."""
    change(save_vision("ViT", folder / "vit"))
    return as_tower(folder / "vit")


CONFIG, CONTRACT, WEIGHTS = "config.json", "preprocessing.json", "model.safetensors"
NO_MODEL, NO_FIT = r"config\.json describes no model of this version", r"model\.safetensors does not fit config\.json"
HEADER = (2**40).to_bytes(8, "little") + b'{"a":'
DAMAGED = {  # a model folder, by its change
    "weights cut short": (cut, NO_FIT),
    "weights empty": (replaced(WEIGHTS, b""), NO_FIT),
    "weights whose header claims a terabyte": (replaced(WEIGHTS, HEADER), NO_FIT),
    "weights that are a pickle": (lambda f: (f / WEIGHTS).write_bytes(pickle.dumps(Bomb(f.parent / "boom"))), NO_FIT),
    "weights that are a link to themselves": (linked, r"model\.safetensors is missing"),
    "a weight missing": (reweighted("log_scale", lambda w: None), NO_FIT + ".*log_scale"),
    "a weight too many": (reweighted("surplus", lambda w: w), NO_FIT + ".*surplus"),
    "a weight of another shape": (reweighted("text_mean", lambda w: w[:3]), NO_FIT + ".*text_mean"),
    "a weight in whole numbers": (reweighted("text_mean", lambda w: w.long()), NO_FIT + ".*text_mean is torch.int64"),
    "a weight that is NaN": (reweighted("text_mean", lambda w: w * np.nan), r"text_mean holds NaN"),
    "a weight that is infinite": (reweighted("log_scale", lambda w: w + np.inf), r"log_scale holds NaN or infinite"),
    "another architecture": (edited(CONFIG, image_tower="patch_cnn"), NO_FIT),
    "other channels": (edited(CONFIG, channels=3), NO_FIT + ".*stem"),
    "sizes below nought": (edited(CONFIG, embed_dim=-3), NO_MODEL),
    "channels below nought": (edited(CONFIG, channels=-1), NO_MODEL + "|" + NO_FIT),
    "an enormous embedding": (edited(CONFIG, embed_dim=HUGE), NO_FIT + ".*text_head"),
    "enormous channels": (edited(CONFIG, channels=HUGE), NO_FIT + ".*stem"),
    "a size in words": (edited(CONFIG, embed_dim="many"), NO_MODEL),
    "a scale below nought": (edited(CONFIG, scale=-1.0), NO_MODEL),
    "a tower of no such name": (edited(CONFIG, image_tower="nothing"), NO_MODEL + ".*no known tower"),
    "a tower that is a number": (edited(CONFIG, image_tower=7), NO_MODEL),
    "a text tower of no such name": (edited(CONFIG, text_tower="nothing"), NO_MODEL),
    "a pooling of no such name": (edited(CONFIG, map_pooling="nothing"), NO_MODEL + ".*unknown map pooling"),
    "five axes": (edited(CONFIG, dims=5), NO_MODEL),
    "a setting of another version": (edited(CONFIG, novelty=1), NO_MODEL + ".*novelty"),
    "config.json that is a list": (replaced(CONFIG, b"[]"), r"config\.json: holds a list"),
    "config.json in another encoding": (replaced(CONFIG, "{}".encode("utf-16")), r"config\.json: is no JSON"),
    "config.json nested without end": (replaced(CONFIG, b"[" * 10**5), r"config\.json: is no JSON"),
    "preprocessing.json cut short": (replaced(CONTRACT, b'{"size": [1,'), r"preprocessing\.json: is no JSON"),
    "preprocessing without the average image": (edited(CONTRACT, seen=None), r"preprocessing\.json: .*'seen'"),
    "preprocessing of another version": (edited(CONTRACT, novelty=1), r"preprocessing\.json: .*novelty"),
    "preprocessing to no size": (edited(CONTRACT, size=[1, 0, 16]), r"preprocessing\.json: .*size is \(1, 0, 16\)"),
    "preprocessing to an enormous size": (edited(CONTRACT, size=[HUGE] * 3), r"preprocessing\.json: .*size is"),
    "preprocessing to another size": (edited(CONTRACT, size=[1, 32, 32]), r"preprocessing\.json: is not the one"),
    "preprocessing to another spacing": (edited(CONTRACT, spacing_mm=[1.0, 1.0, 1.0]), r"preprocessing\.json: is not the one"),
    "preprocessing to a spacing of nought": (edited(CONTRACT, spacing_mm=[0.0, 1.0, 1.0]), r"spacing_mm is"),
    "preprocessing to another window": (edited(CONTRACT, windows_hu=[[0.0, 80.0]]), r"preprocessing\.json: is not the one"),
    "preprocessing to a window upside down": (edited(CONTRACT, windows_hu=[[80.0, 0.0]]), r"windows_hu or percentiles"),
    "no preprocessing.json": (lambda f: (f / CONTRACT).unlink(), r"preprocessing\.json is missing"),
}  # fmt: skip
TOLD = {  # the same at the command line
    "config.json cut short, evaluated": (replaced(CONFIG, b"{"), r"config\.json: is no JSON"),
    "config.json null, evaluated": (replaced(CONFIG, b"null"), r"config\.json: holds a NoneType"),
    "no config.json, evaluated": (lambda f: (f / CONFIG).unlink(), r"config\.json is missing"),
    "NaN, evaluated": (reweighted("text_mean", lambda w: w * np.nan), r"text_mean holds NaN"),
    "preprocessing changed, evaluated": (edited(CONTRACT, crop_bottom=0.5), r"preprocessing\.json: is not the one"),
}
ELSEWHERE = {
    "checkpoint with NaN": (reweighted("embeddings.cls_token", lambda w: w * np.nan), "holds NaN"),
    "checkpoint without a weight": (reweighted("embeddings.cls_token", lambda w: None), "weights of ViTModel are missing"),
    "checkpoint of enormous sizes": (
        edited(CONFIG, hidden_size=2**15, intermediate_size=8),
        "vit: cannot be read as a checkpoint",
    ),
    "checkpoint of a kind that is none": (edited(CONFIG, model_type="nothing"), "vit: cannot be read as a checkpoint"),
    "checkpoint with a list for a configuration": (replaced(CONFIG, b"[]"), "vit: cannot be read as a checkpoint"),
    "checkpoint scaled by words": (replaced("preprocessor_config.json", b"half"), r"preprocessor_config\.json: is no JSON"),
}
REFUSED = [
    *((name, expect, partial(loaded, change=change)) for name, (change, expect) in DAMAGED.items()),
    *((name, expect, partial(evaluated, change=change)) for name, (change, expect) in TOLD.items()),
    *((name, expect, partial(of_checkpoint, change=change)) for name, (change, expect) in ELSEWHERE.items()),
    ("a pickle with code, evaluated", r"holds no \*\.safetensors",
     partial(poisoned, use=lambda f: command("evaluate", f, manifest(f.parent / "data")))),
    ("a pickle with code, as a tower", "cannot be read as a checkpoint", partial(poisoned, use=as_tower)),
    ("a pickle of another name", "cannot be read as a checkpoint",
     partial(poisoned, name="model.pt", use=as_tower)),
    ("a checkpoint with code of its own", "cannot be read as a checkpoint",
     partial(poisoned, code="x", use=as_tower)),
    ("a folder with nothing in it", r"config\.json is missing", lambda f: command("evaluate", f, "torso")),
    ("a folder that is not there", "no such folder", lambda f: command("evaluate", f / "none", "torso")),
]  # fmt: skip
KINDS = [Kind("checkpoint", name, expect, guarded(act)) for name, expect, act in REFUSED]
