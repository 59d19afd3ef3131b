"""Zero-shot: prompts in, class scores out. No label is seen in training, none in building the classes."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

Embed = Callable[[list[str]], Float[np.ndarray, "text dim"]]


def class_embeddings(embed: Embed, prompts: dict[str, list[str]]) -> Float[np.ndarray, "label dim"]:
    """One L2-normalised vector per class: the mean over its prompts' embeddings (CLIP's prompt ensemble)."""
    means = np.stack([embed(sentences).mean(0) for sentences in prompts.values()])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def predict(image_emb: Float[np.ndarray, "n dim"], class_emb: Float[np.ndarray, "label dim"]) -> Int[np.ndarray, " n"]:
    """Number of the class whose vector is nearest; the first of them where several are equally near."""
    return (image_emb @ class_emb.T).argmax(1)


def presence_score(
    image_emb: Float[np.ndarray, "n dim"], positive: Float[np.ndarray, " dim"], negative: Float[np.ndarray, " dim"]
) -> Float[np.ndarray, " n"]:
    """Cosine with the positive prompt minus cosine with the negative one; higher means more likely present."""
    return image_emb @ (positive - negative)


def majority_share(labels: np.ndarray) -> float:
    """Accuracy of always naming the most frequent class: the chance level to print beside an accuracy."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))
