"""Solutions of the exercises of lesson 14."""

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp


def chunked_loss(images: Float[np.ndarray, "pair dim"], texts: Float[np.ndarray, "pair dim"], chunk: int) -> float:
    """What images ask of all texts, in nats, with no more than `chunk` rows of logits at a time."""
    losses = []
    for i in range(0, len(images), chunk):
        some, own = images[i : i + chunk], texts[i : i + chunk]
        losses.extend(logsumexp(some @ texts.T, axis=1) - (some * own).sum(1))
    return float(np.mean(losses))


def crossing(per_unit: float, per_pair: float) -> float:
    """Batch size from which n * n * per_pair is more than n * per_unit."""
    return per_unit / per_pair


def n_negatives(rows: int, processes: int, accumulated: int, gathered: bool) -> int:
    """Wrong texts that each image is told from: those of its own step, of all processes if these gather their embeddings."""
    return rows * (processes if gathered else 1) - 1


def gpu_hours(flop: float, tflops: float, utilisation: float) -> float:
    """Hours for so many operations on one GPU of that peak (10^12 a second), of which `utilisation` (0 to 1) is reached."""
    return flop / (tflops * 1e12 * utilisation) / 3600
