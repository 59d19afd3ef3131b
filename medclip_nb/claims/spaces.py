"""One space for pictures and texts: a trained model's own, or one made for a tower that never saw a text."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.nn.functional import normalize

from ..measure.embeddings import embed_chosen
from ..model.dual_encoder import DualEncoder
from ..model.text_tower import embed_texts

AT_A_TIME = 256
PENALTIES = (1e1, 1e2, 1e3, 1e4, 1e5)  # of the regression to texts
Pictures = UInt8[np.ndarray, "picture channel slice row column"]
Vectors = Float[np.ndarray, "item dim"]


class Space(NamedTuple):
    """Where pictures and texts are compared: both of unit length (TF-IDF: at most)."""

    pictures: Callable[[Pictures], Vectors]
    texts: Callable[[list[str]], Vectors]


@torch.inference_mode()
def features(model: DualEncoder, pictures: Pictures) -> Float[np.ndarray, "picture width"]:
    """What a probe reads of some pictures."""
    parts = [torch.from_numpy(pictures[i : i + AT_A_TIME]) for i in range(0, len(pictures), AT_A_TIME)]
    return torch.cat([model.features(part).float() for part in parts]).numpy()


def learnt(model: DualEncoder) -> Space:
    """As the model learnt it."""

    @torch.inference_mode()
    def texts(said: list[str]) -> Vectors:
        return model.encode_texts(embed_texts(said)).numpy()

    return Space(lambda pictures: embed_chosen(model, pictures, np.arange(len(pictures))), texts)


def regressed(model: DualEncoder, read: dict[str, Vectors], captions: dict[str, list[str]]) -> Space:
    """By ridge regression from what a tower reads of pictures to the sentence embeddings of their captions.

    Both are of the splits "train" and "val"; the penalty is the one of PENALTIES that comes nearest to validation captions.
    """
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    mean = embed_texts(captions["train"]).mean(0)

    def texts(said: list[str]) -> Vectors:
        return normalize(embed_texts(said) - mean, dim=1).numpy()

    scaler, wanted = StandardScaler().fit(read["train"]), {split: texts(said) for split, said in captions.items()}
    x = {split: scaler.transform(read[split]) for split in captions}
    fitted = [Ridge(alpha).fit(x["train"], wanted["train"]) for alpha in PENALTIES]
    best = max(fitted, key=lambda ridge: (_unit(ridge.predict(x["val"])) * wanted["val"]).sum(1).mean())
    return Space(lambda pictures: _unit(best.predict(scaler.transform(features(model, pictures)))), texts)


def nearest_caption(model: DualEncoder, read: dict[str, Vectors], captions: dict[str, list[str]]) -> Space:
    """A picture stands for the caption of the training picture that is nearest to it by the tower; captions by their words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    words, scaler = TfidfVectorizer().fit(captions["train"]), StandardScaler().fit(read["train"])
    neighbours = NearestNeighbors(n_neighbors=1, metric="cosine").fit(scaler.transform(read["train"]))

    def texts(said: list[str]) -> Vectors:
        return words.transform(said).toarray().astype(np.float32)

    def pictures(some: Pictures) -> Vectors:
        nearest = neighbours.kneighbors(scaler.transform(features(model, some)), return_distance=False)[:, 0]
        return texts([captions["train"][i] for i in nearest])

    return Space(pictures, texts)


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
