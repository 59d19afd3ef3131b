"""Zero-shot: prompts in, class scores out. No label is seen in training, none in building the classes."""

from collections.abc import Callable
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from .auc import auc

N_SUBSETS = 200  # ensembles tried per size; all of them where there are no more
Embed = Callable[[list[str]], Float[np.ndarray, "text dim"]]


class Spread(NamedTuple):
    """AUC of prompt ensembles of one size: over all of them, or a random sample."""

    size: int
    mean: float
    low: float  # the worst ensemble
    high: float  # the best: what a lucky choice of prompts would report


def class_embeddings(embed: Embed, prompts: dict[str, list[str]]) -> Float[np.ndarray, "label dim"]:
    """One L2-normalised vector per class: the mean over its prompts' embeddings (CLIP's prompt ensemble).

    Each different prompt is embedded once, all in one call.
    """
    number = {text: i for i, text in enumerate(dict.fromkeys(text for own in prompts.values() for text in own))}
    emb = embed(list(number))
    means = np.stack([emb[[number[text] for text in own]].mean(0) for own in prompts.values()])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def predict(image_emb: Float[np.ndarray, "n dim"], class_emb: Float[np.ndarray, "label dim"]) -> Int[np.ndarray, " n"]:
    """Number of the class whose vector is nearest; the first of them where several are equally near."""
    return (image_emb @ class_emb.T).argmax(1)


def contrast(
    image_emb: Float[np.ndarray, "item question dim"],
    yes: Float[np.ndarray, "question dim"],
    no: Float[np.ndarray, "question dim"],
) -> Float[np.ndarray, "item question"]:
    """Cosine with the prompt that says yes to a question, minus cosine with the one that says no; above 0 the model says yes.

    An item may look different to each question (its own organ), or the same to all.
    """
    return np.einsum("iqd,qd->iq", image_emb, yes - no)


def majority_share(labels: np.ndarray) -> float:
    """Accuracy of always naming the most frequent class: the chance level to print beside an accuracy."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def spread(scores: Float[np.ndarray, "prompt unit"], truth: Bool[np.ndarray, " unit"], *, seed: int = 0) -> list[Spread]:
    """How many prompts matter: AUC by the size of the ensemble, whose score is the mean of its prompts' scores.

    `scores` holds one row per prompt (or pair of prompts), higher for more likely present. A mean of scores is what averaging
    the prompts' embeddings gives, but for their length. Raises ValueError where all units are of one kind.
    """
    rng = np.random.default_rng(seed)
    found = []
    for size in range(1, len(scores) + 1):
        values = np.array([auc(truth, scores[list(s)].mean(0)) for s in _subsets(len(scores), size, rng)])
        found.append(Spread(size, float(values.mean()), float(values.min()), float(values.max())))
    return found


def _subsets(n: int, size: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    if comb(n, size) <= N_SUBSETS:
        return list(combinations(range(n), size))
    return [tuple(rng.choice(n, size, replace=False).tolist()) for _ in range(N_SUBSETS)]
