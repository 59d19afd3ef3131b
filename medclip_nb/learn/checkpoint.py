"""The model folder: model.safetensors, config.json, preprocessing.json, MODEL_CARD.md. No pickle anywhere."""

import copy
import hashlib
import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ..data.preprocessing import Preprocessing
from ..files import read_json, whole
from ..model.adapter import AdapterConfig, SliceAdapter
from ..model.checkpoints import PIXEL_FILES
from ..model.dual_encoder import DualEncoder, ModelConfig, TextSide
from ..model.finetune import merge_lora
from ..model.organ_encoder import OrganConfig, OrganEncoder

TOWER = "tower"  # folder with the configuration of a tower that came from a checkpoint
TRAINING = "training_images.txt"  # sha256 of each training image
MOST_VOXELS = 2**28  # of a preprocessed image; more is no setting but an accident
HARMLESS_KEYS = ("embeddings.position_ids",)  # come and go with library versions and hold nothing learnt


def save_model(
    model: TextSide, folder: str | Path, *, contract: Preprocessing, seen: Float[np.ndarray, "channel z y x"], card: str,
    training: list[str] | None = None,
) -> Path:  # fmt: skip
    """Writes the model folder whole or not at all; one that is there is replaced.

    `seen` is the `small_map` of the training images: what a first batch is compared with. `training` are hashes of their files,
    so that an evaluation can tell whether it asks about them.
    """
    folder = Path(folder)
    model = _merged(model)
    with whole(folder) as part:
        part.mkdir()
        weights = {k: v.detach().contiguous().cpu() for k, v in model.state_dict().items()}
        about = json.loads(json.dumps(asdict(contract)))
        save_file(weights, part / "model.safetensors", metadata={"preprocessing": _digest(about)})
        _copy_tower(_slices(model.to_dict()), part / TOWER)
        (part / "config.json").write_text(json.dumps(model.to_dict(), indent=1))
        (part / "preprocessing.json").write_text(json.dumps(about | {"seen": np.round(seen).tolist()}, indent=1))
        (part / "MODEL_CARD.md").write_text(card)
        if training:
            (part / TRAINING).write_text("".join(f"{name}\n" for name in sorted(set(training))))
    return folder


def training_images(folder: str | Path) -> frozenset[str]:
    """Hashes of the files that a model was trained on; empty where its folder does not say."""
    file = Path(folder) / TRAINING
    return frozenset(file.read_text().split()) if file.is_file() else frozenset()


def from_pretrained(folder: str | Path) -> tuple[TextSide, Preprocessing, Float[np.ndarray, "channel z y x"]]:
    """The model in eval mode, its preprocessing contract, and the average image it was trained on, as a small map.

    Raises ValueError naming the file that is missing, or is not the one that was saved with the others, or the weights that do
    not fit or are no numbers. The sizes in config.json are held against the weights before anything of these sizes is made.
    """
    folder = Path(folder)
    for name in ("config.json", "preprocessing.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: is no model folder, {name} is missing")
    about = read_json(folder / "config.json")
    try:
        with torch.device("meta"):  # shapes without memory
            outline = _build(copy.deepcopy(about), folder)
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, OverflowError) as error:
        raise ValueError(f"{folder}/config.json describes no model of this version: {error}") from None
    weights, contract_digest = _read_weights(folder / "model.safetensors", outline)
    model = _build(about, folder)
    model.load_state_dict(weights)
    contract, seen = _read_contract(folder / "preprocessing.json", contract_digest)
    n_channels = getattr(model.config, "channels", contract.channels)
    if contract.channels not in (1, n_channels):
        given = f"{folder}/preprocessing.json makes images of {contract.channels} channels"
        raise ValueError(f"{given}, the model takes {n_channels}; restore the file that was saved with it")
    return model.eval(), contract, seen


def _read_weights(file: Path, outline: TextSide) -> tuple[dict[str, torch.Tensor], str]:
    """Weights that fit a model without memory, all of them finite numbers; and the hash of the contract they were saved with."""
    try:
        weights = {k: v for k, v in load_file(file).items() if not k.endswith(HARMLESS_KEYS)}
        with safe_open(file, "pt") as opened:
            digest = (opened.metadata() or {}).get("preprocessing", "")
        wanted = outline.state_dict()
        outline.load_state_dict(weights, assign=True)
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{file} does not fit config.json: {' '.join(str(error).split())}") from None
    for name, weight in weights.items():
        if weight.is_floating_point() != wanted[name].is_floating_point():
            raise ValueError(f"{file} does not fit config.json: {name} is {weight.dtype}, wanted is {wanted[name].dtype}")
        if not bool(torch.isfinite(weight).all()):
            raise ValueError(f"{file}: {name} holds NaN or infinite weights; restore the file or train anew")
    return weights, digest


def _read_contract(file: Path, digest: str) -> tuple[Preprocessing, Float[np.ndarray, "channel z y x"]]:
    about = read_json(file)
    try:
        seen = np.array(about.pop("seen"), np.float64)
        contract = Preprocessing.from_dict(about)
        _refuse_nonsense(contract, seen)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{file}: is no preprocessing contract of this version: {error}; restore the file") from None
    if digest not in ("", _digest(about)):
        raise ValueError(
            f"{file}: is not the one that these weights were trained with; restore the file that was saved with them"
        )
    return contract, seen


def _refuse_nonsense(contract: Preprocessing, seen: np.ndarray) -> None:
    windows = (*contract.windows_hu, contract.percentiles)
    sound = {
        "size": len(contract.size) == 3 and min(contract.size) > 0 and math.prod(map(int, contract.size)) <= MOST_VOXELS,
        "spacing_mm": contract.spacing_mm is None
        or (len(contract.spacing_mm) == 3 and all(0 < s < math.inf for s in contract.spacing_mm)),
        "windows_hu or percentiles": all(-math.inf < low < high < math.inf for low, high in windows),
        "crop_bottom": 0 <= contract.crop_bottom < 1,
        "seen": seen.ndim == 4 and bool(np.isfinite(seen).all()),
    }
    bad = [name for name, is_sound in sound.items() if not is_sound]
    if bad:
        raise ValueError(f"{bad[0]} is {getattr(contract, bad[0], 'what cannot be')}")


def _digest(about: dict) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _build(config: dict, folder: Path) -> TextSide:
    """A slice encoder, or, where the configuration names a pooling, a slice adapter, or organs, an organ encoder."""
    if (folder / TOWER).is_dir():
        _slices(config)["image_tower"] = str(folder / TOWER)
    if "pooling" in config:
        slices = config.pop("slices", None)
        return SliceAdapter(AdapterConfig(**config, slices=slices and ModelConfig(**slices)))
    if "organs" in config:
        return OrganEncoder(OrganConfig(tuple(config.pop("organs")), **config))
    return DualEncoder(ModelConfig(**config), pretrained=False)


def _merged(model: TextSide) -> TextSide:
    """The model with LoRA's updates, where there are any, added to the weights, so that a reader needs no peft."""
    return merge_lora(copy.deepcopy(model)) if any("lora_" in name for name, _ in model.named_parameters()) else model


def _slices(config: dict) -> dict:
    """The part of the configuration that is the slice encoder's; empty for an adapter that has none inside."""
    return (config.get("slices") or {}) if "pooling" in config else config


def _copy_tower(config: dict, target: Path) -> None:
    """What a tower from a checkpoint needs besides its weights."""
    checkpoint = Path(config.get("image_tower", target))
    if (checkpoint / "config.json").is_file():
        target.mkdir()
        for name in ("config.json", *PIXEL_FILES):
            if (checkpoint / name).is_file():
                shutil.copyfile(checkpoint / name, target / name)
