"""The embedding table: vectors, and a table that says what each row is. All later figures start from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ..data.studies import Units
from ..files import whole
from ..model.dual_encoder import TextSide

BATCH = 256


@dataclass
class EmbeddingTable:
    """L2-normalised float32 `vectors` and `rows`, one row each."""

    vectors: Float[np.ndarray, "n dim"]
    rows: pd.DataFrame

    def save(self, folder: str | Path, name: str) -> None:
        """Writes NAME.safetensors and NAME.parquet."""
        with whole(Path(folder) / f"{name}.parquet") as part:
            self.rows.to_parquet(part)
        with whole(Path(folder) / f"{name}.safetensors") as part:
            save_file({"vectors": np.ascontiguousarray(self.vectors)}, part)

    @classmethod
    def load(cls, folder: str | Path, name: str) -> "EmbeddingTable":
        """What `save` wrote."""
        vectors = load_file(Path(folder) / f"{name}.safetensors")["vectors"]
        return cls(vectors, pd.read_parquet(Path(folder) / f"{name}.parquet"))


def embed_units(
    model: TextSide, units: Units, rows: Int[np.ndarray, " unit"], *, beside: tuple[Tensor, ...] = ()
) -> EmbeddingTable:
    """Embeds the images of some units, each image once, in the order of `rows`; `beside` as `learn.pairs.ImagePairs` has it."""
    table = units.table.iloc[rows].reset_index(drop=True)
    images, inverse = np.unique(table["image"].to_numpy(), return_inverse=True)
    return EmbeddingTable(embed_chosen(model, units.images, images, *beside)[inverse], table)


def embed_chosen(
    model: TextSide, images: UInt8[np.ndarray, "n channel slice row column"], which: Int[np.ndarray, " chosen"], *beside: Tensor
) -> Float[np.ndarray, "chosen dim"]:
    """`embed_images` of some of the images, taken a batch at a time: those that are on the disk are never all in memory."""
    parts = [which[i : i + BATCH] for i in range(0, len(which), BATCH)]
    return np.concatenate([embed_images(model, images[part], *(one[part] for one in beside)) for part in parts])


@torch.inference_mode()
def embed_images(
    model: TextSide, images: UInt8[np.ndarray, "n channel slice row column"], *beside: Tensor
) -> Float[np.ndarray, "n dim"]:
    """Embeddings of preprocessed images, and of what the model takes beside them, computed on the model's device."""
    device, whole = next(model.parameters()).device, (torch.from_numpy(images), *beside)
    batches = ([one[i : i + BATCH].to(device) for one in whole] for i in range(0, len(images), BATCH))
    return torch.cat([model.encode_images(*batch).float().cpu() for batch in batches]).numpy()


@torch.inference_mode()
def embed_text_features(model: TextSide, features: Float[torch.Tensor, "text dim"]) -> Float[np.ndarray, "text dim2"]:
    """Embeddings of texts, given the frozen tower's features."""
    return model.encode_texts(features.to(next(model.parameters()).device)).float().cpu().numpy()
