"""The model folder: model.safetensors, config.json, preprocessing.json, MODEL_CARD.md. No pickle anywhere."""

import copy
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..data.preprocessing import Preprocessing
from ..files import whole
from ..model.adapter import AdapterConfig, SliceAdapter
from ..model.checkpoints import PIXEL_FILES
from ..model.dual_encoder import DualEncoder, ModelConfig, TextSide
from ..model.finetune import merge_lora
from ..model.organ_encoder import OrganConfig, OrganEncoder

TOWER = "tower"  # folder with the configuration of a tower that came from a checkpoint
TRAINING = "training_images.txt"  # sha256 of each training image
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
        save_file({k: v.detach().contiguous().cpu() for k, v in model.state_dict().items()}, part / "model.safetensors")
        _copy_tower(_slices(model.to_dict()), part / TOWER)
        (part / "config.json").write_text(json.dumps(model.to_dict(), indent=1))
        about = asdict(contract) | {"seen": np.round(seen).tolist()}
        (part / "preprocessing.json").write_text(json.dumps(about, indent=1))
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

    Raises ValueError naming the file that is missing or the weights that do not fit.
    """
    folder = Path(folder)
    for name in ("config.json", "preprocessing.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: is no model folder, {name} is missing")
    try:
        model = _build(json.loads((folder / "config.json").read_text()), folder)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}/config.json describes no model of this version: {error}") from None
    try:
        weights = load_file(folder / "model.safetensors")
        model.load_state_dict({k: v for k, v in weights.items() if not k.endswith(HARMLESS_KEYS)})
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder}/model.safetensors does not fit config.json: {' '.join(str(error).split())}") from None
    about = json.loads((folder / "preprocessing.json").read_text())
    seen = np.array(about.pop("seen"), np.float64)
    return model.eval(), Preprocessing.from_dict(about), seen


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
