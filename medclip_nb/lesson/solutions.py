"""Solutions of the exercises whose answer is not a function of the package already."""

from collections import Counter

import numpy as np


def class_embedding(prompt_emb: np.ndarray) -> np.ndarray:
    """One vector for a class: the mean of its prompts' embeddings, made unit length again."""
    mean = prompt_emb.mean(0)
    return mean / np.linalg.norm(mean)


def patients_across_splits(patients: list[str], splits: list[str]) -> list[str]:
    """Patients, sorted, that have rows in more than one split."""
    pairs = set(zip(patients, splits, strict=True))
    return sorted(p for p, n in Counter(p for p, _ in pairs).items() if n > 1)


def share_repeated(texts: list[str]) -> float:
    """Share of texts that some other row has too."""
    counts = Counter(texts)
    return sum(counts[t] > 1 for t in texts) / len(texts)


def set_f1(a: set, b: set) -> float:
    """F1 between two sets: twice what they share, over their sizes together; two empty sets agree."""
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


def volume_ml(mask: np.ndarray, spacing_mm: tuple) -> float:
    """Millilitres covered by a mask whose voxels are so many mm thick, high and wide."""
    return float(mask.sum() * np.prod(spacing_mm) / 1000)


def to_hu(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Hounsfield units of a CT's stored values, by the two numbers in its DICOM header."""
    return np.asarray(stored, float) * slope + intercept


def draw_weights(counts: list[int], power: float) -> np.ndarray:
    """Probabilities of drawing phrases that occur so often: ~ count ** power."""
    weights = np.asarray(counts, float) ** power
    return weights / weights.sum()


def word_dice(a: str, b: str) -> float:
    """Twice the words that two texts share, over the words of both; each word counts once in a text."""
    words_a, words_b = set(a.split()), set(b.split())
    return 2 * len(words_a & words_b) / (len(words_a) + len(words_b))


def no_learning(n: int) -> float:
    """Loss (nats) of a model that sees nothing, in a batch of n different texts."""
    import torch

    from ..config import RECIPES
    from ..learn.losses import no_learning_level

    return no_learning_level(RECIPES["clip"], torch.arange(n))
