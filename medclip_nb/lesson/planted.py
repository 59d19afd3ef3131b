"""Hidden bugs as they are shipped: functions that run, look right and are not. `solutions` holds each one mended.

A notebook shows the same code in a cell of its own; the tests hold the two against each other.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.special import log_softmax, logsumexp

from ..data.preprocessing import to_window


def in_test(patients: np.ndarray, studies: np.ndarray, every: int) -> Bool[np.ndarray, " row"]:
    """Deals out studies: a patient with two of them lands on both sides."""
    numbers = np.unique(studies, return_inverse=True)[1]
    return numbers % every == 0


def soft_tissue(values: Num[np.ndarray, "*axes"], units: str, slope: float, intercept: float) -> Num[np.ndarray, "*axes"]:
    """Rescales whatever comes, also what the reader has rescaled already."""
    hu = values * slope + intercept
    return to_window(hu, -100.0, 155.0)


def logits(
    images: Float[np.ndarray, "unit dim"], texts: Float[np.ndarray, "text dim"], log_scale: float
) -> Float[np.ndarray, "unit text"]:
    """Limits the logarithm of the scale as it should, and then multiplies by the logarithm."""
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    scale = np.minimum(log_scale, np.log(100))
    return scale * images @ texts.T


def true_loss(logits: Float[np.ndarray, "unit text"], right: Bool[np.ndarray, "unit text"]) -> float:
    """Gives the texts the targets of the images."""
    wanted = right / right.sum(1, keepdims=True)
    images_ask = -(wanted * log_softmax(logits, axis=1)).sum(1).mean()
    texts_ask = -(wanted * log_softmax(logits.T, axis=1)).sum(1).mean()
    return float(images_ask + texts_ask) / 2


def nearest_images(
    texts: Float[np.ndarray, "query dim"], images: Float[np.ndarray, "item dim"], k: int
) -> Int[np.ndarray, "query k"]:
    """Makes the queries unit length and leaves the images as long as they are."""
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return np.argsort(-texts @ images.T, axis=1)[:, :k]


def interval(hits: Num[np.ndarray, " image"], patients: np.ndarray, n: int) -> Float[np.ndarray, " bound"]:
    """Draws all patients in another order: the same mean, n times."""
    rng, who = np.random.default_rng(0), np.unique(patients)
    rows = {p: np.flatnonzero(patients == p) for p in who}
    means = []
    for _ in range(n):
        drawn = rng.permutation(who)
        means.append(hits[np.concatenate([rows[p] for p in drawn])].mean())
    return np.percentile(means, [2.5, 97.5])


def denied(sentence: str, name: str) -> bool:
    """Looks for letters where it should look for words: "noncalcified" has a "no" in it."""
    before = sentence.lower().split(name.lower())[0]
    return any(word in before for word in ("no", "not", "without"))


def chunked_loss(images: Float[np.ndarray, "pair dim"], texts: Float[np.ndarray, "pair dim"], chunk: int) -> float:
    """Cuts the texts along with the images: each image is told from the texts of its own chunk only."""
    losses = []
    for i in range(0, len(images), chunk):
        some, own = images[i : i + chunk], texts[i : i + chunk]
        losses.extend(logsumexp(some @ own.T, axis=1) - (some * own).sum(1))
    return float(np.mean(losses))


def verdict(patients: tuple[float, float], seeds: tuple[float, float]) -> str:
    """Looks at the patients only: one lucky training is enough to hold."""
    if patients[0] > 0:
        return "holds"
    return "reversed" if patients[1] < 0 else "not shown"
