"""The model folder: model.safetensors, config.json, preprocessing.json, MODEL_CARD.md. No pickle anywhere."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..data.preprocessing import Preprocessing
from ..files import whole
from ..model.dual_encoder import DualEncoder, ModelConfig

HARMLESS_KEYS = ("embeddings.position_ids",)  # come and go with library versions and hold nothing learnt


def save_model(
    model: DualEncoder, folder: str | Path, *, contract: Preprocessing, seen: Float[np.ndarray, "channel z y x"], card: str
) -> Path:
    """Writes the model folder whole or not at all; one that is there is replaced.

    `seen` is the `small_map` of the training images: what a first batch is compared with.
    """
    folder = Path(folder)
    with whole(folder) as part:
        part.mkdir()
        save_file({k: v.detach().contiguous().cpu() for k, v in model.state_dict().items()}, part / "model.safetensors")
        (part / "config.json").write_text(json.dumps(model.to_dict(), indent=1))
        about = asdict(contract) | {"seen": np.round(seen).tolist()}
        (part / "preprocessing.json").write_text(json.dumps(about, indent=1))
        (part / "MODEL_CARD.md").write_text(card)
    return folder


def from_pretrained(folder: str | Path) -> tuple[DualEncoder, Preprocessing, Float[np.ndarray, "channel z y x"]]:
    """The model in eval mode, its preprocessing contract, and the average image it was trained on, as a small map.

    Raises ValueError naming the file that is missing or the weights that do not fit.
    """
    folder = Path(folder)
    for name in ("config.json", "preprocessing.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: is no model folder, {name} is missing")
    try:
        model = DualEncoder(ModelConfig(**json.loads((folder / "config.json").read_text())), pretrained=False)
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
