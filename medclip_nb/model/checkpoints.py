"""Towers from folders that hold Hugging Face checkpoints. Only folders: nothing here reaches for the network."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn

from ..files import read_json

UNUSED_HEAD = "pooler"  # many checkpoints come without it, and maps and means do not need it
MOST_PER_BYTE = 4  # weights that a byte of a checkpoint may stand for: two in the tightest packing, and some that are missing
PIXEL_FILES = ("preprocessor_config.json", "processor_config.json")


class CheckpointTower(nn.Module):
    """The image part of a checkpoint as an image tower: ViT-like (patches as tokens) or ConvNeXt-like (a map).

    Pixels are scaled as the checkpoint's own processor file says; without one they stay in [-1, 1]. Channels that the
    checkpoint does not have are averaged and repeated. Tokens that belong to no patch (CLS, registers) are dropped.
    """

    def __init__(self, folder: Path, *, pretrained: bool = True):
        super().__init__()
        self.model = load_part(folder, part="vision_model", reads="pixel_values", pretrained=pretrained)
        config = self.model.config
        self.dim = getattr(config, "hidden_size", None) or config.hidden_sizes[-1]
        self.resizes = "interpolate_pos_encoding" in inspect.signature(self.model.forward).parameters
        self.register_buffer("pixel_scale", _pixel_scale(folder, getattr(config, "num_channels", 3)))

    def forward(self, x: Float[Tensor, "b channel row column"]) -> Float[Tensor, "b dim row2 column2"]:
        mean, std = self.pixel_scale
        if x.shape[1] != len(mean):
            x = x.mean(1, keepdim=True).expand(-1, len(mean), -1, -1)
        options = {"interpolate_pos_encoding": True} if self.resizes else {}
        states = self.model(pixel_values=((x + 1) / 2 - mean) / std, **options).last_hidden_state
        return states if states.ndim == 4 else self._grid(states, x.shape[2:])

    def _grid(self, tokens: Float[Tensor, "b token dim"], space: tuple[int, int]) -> Float[Tensor, "b dim row2 column2"]:
        patch = self.model.config.patch_size
        rows, columns = (n // p for n, p in zip(space, (patch, patch) if isinstance(patch, int) else patch, strict=True))
        extra = tokens.shape[1] - rows * columns
        if extra < 0:
            kind = type(self.model).__name__
            raise ValueError(f"{kind} gives {tokens.shape[1]} tokens for {rows} x {columns} patches; use a ViT or a ConvNeXt")
        return tokens[:, extra:].transpose(1, 2).unflatten(2, (rows, columns))


def checkpoint_folder(name: str | Path, *, known: tuple[str, ...]) -> Path:
    """The folder, if it can hold a checkpoint. Raises ValueError otherwise, saying which names are `known` and how to get one."""
    if not Path(name).is_dir():
        raise ValueError(
            f"{str(name)!r} is no folder and no known tower ({', '.join(known)}). Nothing is fetched here: if it is a name on "
            f"the Hugging Face hub, run `hf download {name} --local-dir DIR` once and give DIR"
        )
    if not (Path(name) / "config.json").is_file():
        raise ValueError(f"{name}: holds no config.json, so it is no Hugging Face checkpoint; give the folder that does")
    return Path(name)


def load_part(folder: Path, *, part: str, reads: str, pretrained: bool = True) -> nn.Module:
    """The model of a checkpoint, or its `part` if it has one (a CLIP has two), in float32.

    Raises ValueError if the model is not one that `reads` that input, or if weights are missing or do not fit.
    """
    model, missing = _load(folder, pretrained)
    if not hasattr(model, part) and model.main_input_name != reads:
        raise ValueError(f"{folder}: is a {type(model).__name__}, which reads {model.main_input_name}; wanted: {reads}")
    if missing:
        raise ValueError(f"{folder}: {len(missing)} weights of {type(model).__name__} are missing, {missing[0]} first")
    return getattr(model, part, model).float().train()


def load_pair(folder: Path) -> nn.Module:
    """The whole of a checkpoint that embeds pictures and texts in one space, in eval mode and float32, from safetensors only."""
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"{folder}: holds no *.safetensors; other formats can run code when they are read, so none is")
    model, missing = _load(folder, pretrained=True)
    sides = [name for name in ("get_image_features", "get_text_features") if hasattr(model, name)]
    if len(sides) < 2 or missing:
        lacks = f"{len(missing)} weights are missing, {missing[0]} first" if missing else "it has no image or no text side"
        raise ValueError(f"{folder}: this {type(model).__name__} cannot match pictures with texts: {lacks}")
    return model.float().eval()


def read_config(folder: Path):
    """The checkpoint's configuration; its own code, if it brings any, is not run. Raises ValueError if it is none."""
    from transformers import AutoConfig

    with reading(folder):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _load(folder: Path, pretrained: bool) -> tuple[nn.Module, list[str]]:
    """The whole model, and the names of weights that it needs and its file does not have."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    # pickled weights can run code when they are read, so none are
    options = {"local_files_only": True, "trust_remote_code": False, "output_loading_info": True, "use_safetensors": True}
    config = read_config(folder)
    with reading(folder):
        if not pretrained:
            return AutoModel.from_config(config, trust_remote_code=False), []
        _refuse_enormous(folder, config)
        model, info = AutoModel.from_pretrained(folder, **options)
    spoilt = next((name for name, weight in model.state_dict().items() if not bool(torch.isfinite(weight).all())), "")
    if spoilt:
        raise ValueError(f"{folder}: {spoilt} holds NaN or infinite weights; fetch the checkpoint anew")
    return model, sorted(key for key in info["missing_keys"] if UNUSED_HEAD not in key)


def _refuse_enormous(folder: Path, config) -> None:
    """Raises ValueError where a configuration asks for far more weights than the files hold, before memory is asked for."""
    from transformers import AutoModel

    with torch.device("meta"):
        n_wanted = sum(weight.numel() for weight in AutoModel.from_config(config, trust_remote_code=False).parameters())
    held = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if n_wanted > MOST_PER_BYTE * held > 0:
        raise ValueError(f"config.json asks for {n_wanted} weights and the files hold {held} bytes")


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes a ValueError in one line that names the folder."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{folder}: cannot be read as a checkpoint: {' '.join(str(error).split())}") from None


def _pixel_scale(folder: Path, channels: int) -> Float[Tensor, "2 channel 1 1"]:
    """Mean and standard deviation of pixels in [0, 1]; halves leave [-1, 1] as it is."""
    found = [folder / name for name in PIXEL_FILES if (folder / name).is_file()]
    about = read_json(found[0]) if found else {}
    about = about.get("image_processor", about)
    values = (about.get("image_mean") or [0.5], about.get("image_std") or [0.5])
    if not about.get("do_normalize", True):
        values = ([0.0], [1.0])
    if any(len(value) not in (1, channels) for value in values):
        raise ValueError(f"{found[0]}: image_mean and image_std are for {len(values[0])} channels, the model has {channels}")
    return torch.stack([torch.tensor(value).expand(channels) for value in values])[..., None, None]
