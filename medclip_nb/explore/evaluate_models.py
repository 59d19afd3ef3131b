"""What can be evaluated: our model folders and CLIP-like checkpoints, each as functions from images and texts to vectors."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from ..config import PRETRAINED_TOWER
from ..data.cache import fetch
from ..data.preprocessing import Preprocessing, picture_contract
from ..files import read_json, sha256
from ..learn.checkpoint import from_pretrained, training_images
from ..measure.embeddings import embed_text_features
from ..model.adapter import SliceAdapter
from ..model.checkpoint_pair import CheckpointPair
from ..model.dual_encoder import DualEncoder, ModelConfig, TextSide
from ..model.encoders import TOWERS
from ..model.organ_encoder import OrganEncoder
from ..model.text_tower import embed_texts
from ..text.sections import told

BATCH = 32
PART = 256  # images or texts that are kept together
STEP_MM = 5.0  # between slices where the contract states no spacing
Stack = UInt8[np.ndarray, "n channel slice row column"]
Vectors = Float[np.ndarray, "n width"]


@dataclass(frozen=True)
class Judged:
    """A model under evaluation."""

    name: str
    kind: str  # what it is, in words
    content: str  # hash of all files of its folder
    takes: str  # "pictures", "slices", "volumes" or "organs"
    contract: Preprocessing  # how images come to it
    channels: int  # of these images; a checkpoint has colours
    width: int  # of an embedding
    images: Callable[[Stack], Vectors]  # embeddings, and beside them the features that a probe reads
    texts: Callable[[list[str]], Vectors]
    before: Callable[[Stack], Vectors] | None = None  # features of a tower that this pretraining has not touched
    before_is: str = ""  # that tower, in words; or why there is none
    trained_on: str = ""  # the first lines of its card
    seen: np.ndarray | None = None  # the average training image
    model: TextSide | None = None
    trained_images: frozenset[str] = frozenset()  # hashes of their files, where the model folder has them

    @property
    def colour(self) -> bool:
        """Whether it reads pictures as they are, colours included."""
        return self.model is None


def load_judged(name_or_folder: str) -> Judged:
    """The model behind a folder, or behind the name of a checkpoint that is in the local Hugging Face cache.

    Raises ValueError in one line if there is none, and for a volume adapter without slices or without a vector of its own.
    """
    folder = _found(name_or_folder)
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: is no model folder, config.json is missing; give the folder that holds it (often model/)")
    about = read_json(folder / "config.json")
    name = folder.name if not folder.name.startswith("model") else f"{folder.resolve().parent.name}/{folder.name}"
    if "model_type" in about:
        return _of_checkpoint(name if Path(name_or_folder).is_dir() else name_or_folder, folder)
    return _of_ours(name, folder)


def _found(name_or_folder: str) -> Path:
    if Path(name_or_folder).is_dir():
        return Path(name_or_folder)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name_or_folder, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        raise ValueError(
            f"{name_or_folder}: no such folder, and no model of that name in the local Hugging Face cache; nothing is fetched "
            "here: run `hf download NAME` once, or give a folder"
        ) from None


def _of_ours(name: str, folder: Path) -> Judged:
    model, contract, seen = from_pretrained(folder)
    card = folder / "MODEL_CARD.md"
    said = ". ".join(card.read_text(encoding="utf-8").split("\n\n")[:2]) if card.is_file() else ""
    about = {"content": sha256(folder), "contract": contract, "seen": seen, "model": model, "width": model.config.embed_dim}
    about |= {"texts": partial(_our_texts, model), "trained_on": " ".join(said.lstrip("# ").replace("`", "").split())}
    about["trained_images"] = training_images(folder)
    if isinstance(model, OrganEncoder):
        return Judged(name, "organ encoder", takes="organs", channels=model.config.channels, images=_no_images, **about)
    if isinstance(model, SliceAdapter):
        _refuse_adapter(model, folder)
        config, takes, kind = model.config.slices, "volumes", f"volume adapter, pooling {model.config.pooling}"
        images = partial(_adapter_images, model, (contract.spacing_mm or (STEP_MM,))[0])
    else:
        config, images, kind = model.config, partial(_our_images, model), "dual encoder"
        takes = "volumes" if config.dims == 3 else "slices" if contract.size[0] > 1 else "pictures"
    kind += f", {config.dims}D tower {Path(config.image_tower).name}"
    return Judged(name, kind, takes=takes, channels=config.channels, images=images, **about, **_untouched(config))


def _of_checkpoint(name: str, folder: Path) -> Judged:
    pair = CheckpointPair(folder)

    def images(stack: Stack) -> Vectors:
        found = pair.embed_images(np.ascontiguousarray(stack[:, :, 0].transpose(0, 2, 3, 1)))
        return np.hstack([_unit(found), found])

    about = {"contract": picture_contract(pair.side_px), "channels": 3, "width": pair.embed_texts(["a"]).shape[1]}
    about |= {"texts": lambda texts: _unit(pair.embed_texts(texts)), "trained_on": "Published weights: see their own card."}
    kind = f"{pair.kind} checkpoint"
    return Judged(name, kind, sha256(folder), "pictures", images=images, **about, **_untouched(ModelConfig(PRETRAINED_TOWER, 3)))


def _refuse_adapter(model: SliceAdapter, folder: Path) -> None:
    if model.encoder is None:
        raise ValueError(f"{folder}: is a volume adapter without its slice encoder inside; save model.adapter.with_encoder(...)")
    if model.config.pooling == "prompt":
        raise ValueError(f"{folder}: pooling 'prompt' gives a volume no vector of its own; give an adapter with another pooling")


def _no_images(stack: Stack) -> Vectors:
    raise ValueError("an organ encoder takes organs, not images")


@torch.inference_mode()
def _our_images(model: DualEncoder, stack: Stack) -> Vectors:
    images = torch.from_numpy(stack)
    features = model.features(images)
    one_pass = stack.shape[2] == 1 or model.config.dims == 3  # else slices are normalised before their mean
    emb = normalize(model.image_head[1](features), dim=-1) if one_pass else model.encode_images(images)
    return np.hstack([emb.numpy(), features.numpy()])


@torch.inference_mode()
def _adapter_images(model: SliceAdapter, step_mm: float, stack: Stack) -> Vectors:
    n, n_slices = stack.shape[0], stack.shape[2]
    position = (torch.arange(n_slices) * step_mm).expand(n, -1)
    emb = model.encode_images(torch.from_numpy(stack), torch.ones(n, n_slices, dtype=torch.bool), position).numpy()
    return np.hstack([emb, emb])


@torch.inference_mode()
def _our_texts(model: TextSide, texts: list[str]) -> Vectors:
    inside = model.text_tower
    if isinstance(model, SliceAdapter):  # trained on sentences: a report is their mean
        means = [model.encode_mean(embed_texts(told(text) or [text], model.config.text_tower)) for text in texts]
        return torch.stack(means).numpy()
    if inside is not None:
        parts = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        return torch.cat([model.encode_texts(inside.tokens(part)) for part in parts]).numpy()
    return embed_text_features(model, embed_texts(texts, model.config.text_tower))


def _untouched(config: ModelConfig) -> dict:
    """The same tower with the weights that training starts from, seed 0."""
    if config.image_tower not in TOWERS:
        return {"before_is": "the weights that this tower started from are not in its folder"}
    words = "ImageNet weights" if config.image_tower == PRETRAINED_TOWER else "random weights"
    torch.manual_seed(0)
    model = DualEncoder(replace(config, train_texts=False), pretrained=True).eval()

    @torch.inference_mode()
    def before(stack: Stack) -> Vectors:
        return model.features(torch.from_numpy(stack)).numpy()

    return {"before": before, "before_is": f"{config.image_tower} with {words}"}


def embed_kept(judged: Judged, keys: list[str], read: Callable[[slice], Stack]) -> dict[str, Vectors]:
    """Embeddings, features, and features before training, of images that `read` gives by range; `keys` are their hashes.

    Kept in parts of PART images under the content of model and images: what is known is not read again, and an interrupt loses
    one part.
    """
    tower = hashlib.sha256(f"{judged.before_is} {judged.channels}".encode()).hexdigest()
    ways = {judged.content: judged.images} | ({tower: judged.before} if judged.before else {})
    parts = [slice(i, min(i + PART, len(keys))) for i in range(0, len(keys), PART)]
    found = []
    for part in tqdm(parts, desc="embeddings", unit=f"{PART} images", delay=2, leave=False):
        stack = cache(partial(read, part))
        name = hashlib.sha256(f"{judged.contract.digest()} {' '.join(keys[part])}".encode()).hexdigest()[:32]
        found.append([fetch(f"embeddings/{way[:16]}/{name}", lambda run=run, stack=stack: _in_batches(run, stack()))
                      for way, run in ways.items()])  # fmt: skip
    ours, *before = (np.concatenate(column) for column in zip(*found, strict=True))
    vectors = {"embedding": ours[:, : judged.width], "features": ours[:, judged.width :]}
    return vectors | ({"before": before[0]} if before else {})


def texts_kept(judged: Judged, texts: list[str]) -> Vectors:
    """Embeddings of texts, kept as those of images are."""
    found = []
    for i in tqdm(range(0, len(texts), PART), desc="texts", unit=f"{PART} texts", delay=2, leave=False):
        part = texts[i : i + PART]
        name = hashlib.sha256("\0".join(part).encode(errors="replace")).hexdigest()[:32]
        found.append(fetch(f"embeddings/{judged.content[:16]}/texts-{name}", lambda part=part: judged.texts(part)))
    return np.concatenate(found)


def _in_batches(run: Callable[[Stack], Vectors], stack: Stack) -> Vectors:
    return np.concatenate([run(stack[i : i + BATCH]) for i in range(0, len(stack), BATCH)])


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
