"""Solutions of the exercises whose answer is not a function of the package already."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from ..data.preprocessing import to_window


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

    from ..learn.losses import no_learning_level
    from ..learn.targets import identity

    return no_learning_level("softmax", *identity(torch.arange(n)))


def slice_weights(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Softmax of the scores of slices that are there; 0 on padding."""
    raised = np.exp(scores - scores[mask].max()) * mask
    return raised / raised.sum()


def batch_floor(text_ids: list[int]) -> float:
    """Lowest contrastive loss (nats) of a batch whose units have these texts: identical ones share their probability."""
    counts = Counter(text_ids)
    return float(np.mean([np.log(counts[t]) for t in text_ids]))


def texts_side(right: Bool[np.ndarray, "unit text"]) -> Float[np.ndarray, "text unit"]:
    """Targets of each text: equal parts for all units that it is right for."""
    parts = right.T.astype(float)
    return parts / parts.sum(1, keepdims=True)


def soft_loss(
    logits: Float[np.ndarray, "unit text"], targets: Float[np.ndarray, "unit text"], targets_t: Float[np.ndarray, "text unit"]
) -> float:
    """The one equation: half the units' cross-entropy and half the texts', each a mean over rows, in nats."""

    def cross_entropy(rows, wanted):
        return -(wanted * (rows - np.log(np.exp(rows).sum(1, keepdims=True)))).sum(1).mean()

    return float(cross_entropy(logits, targets) + cross_entropy(logits.T, targets_t)) / 2


def weight_on(weights: np.ndarray, shows: np.ndarray) -> np.ndarray:
    """Of each study, the share of its weight that lies on slices that show the finding."""
    return (weights * shows).sum(1) / weights.sum(1)


def organ_mean(features: Float[np.ndarray, "dim cell"], share: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " dim"]:
    """Mean of the cells, each counting by its share inside the organ."""
    return features @ share / share.sum()


def asked(
    unit_has: Bool[np.ndarray, "unit finding"], text_states: Bool[np.ndarray, "text finding"], own: Bool[np.ndarray, "unit text"]
) -> Bool[np.ndarray, "unit text"]:
    """Which texts a unit is asked about: its own, and those that state nothing that it has."""
    shared = (unit_has[:, None] & text_states).any(-1)
    return own | ~shared


def against_rest(cosine: float, others: Float[np.ndarray, " state"], scale: float) -> float:
    """A state's logit minus the log-sum-exp of the logits of all other states of the organ."""
    return float(scale * cosine - np.logaddexp.reduce(scale * others))


def finding_score(a: tuple[str, str], b: tuple[str, str]) -> float:
    """SeLIP's score of two findings (location, class of signal) without the Dice of their words: half a point for each."""
    return 0.5 * (a[0] == b[0]) + 0.5 * (a[1] == b[1])


def mixed_target(sim: np.ndarray, weight: float) -> np.ndarray:
    """SeLIP's target of the units: the identity, mixed with the similarity whose rows sum to 1."""
    return (1 - weight) * np.eye(len(sim)) + weight * sim / sim.sum(1, keepdims=True)


def ndcg(gains: np.ndarray, k: int) -> float:
    """nDCG@k of gains in ranked order."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = np.sort(gains)[::-1]
    return float(gains[:k] @ discount[: len(gains)] / (best[:k] @ discount[: len(gains)]))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Twice what two masks share, over the sum of their sizes; two empty masks agree."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(np.logical_and(a, b)) / total if total else 1.0


def tempered(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probability of yes from logits that are divided by a temperature."""
    return 1 / (1 + np.exp(-logits / temperature))


def binned_ece(probability: np.ndarray, hit: np.ndarray, bins: np.ndarray) -> float:
    """Mean distance of a bin's share of hits from its mean probability, by items."""
    parts = [bins == k for k in np.unique(bins)]
    return float(sum(part.sum() * abs(probability[part].mean() - hit[part].mean()) for part in parts) / len(bins))


def occlusion_drops(image: np.ndarray, score: Callable[[np.ndarray], float], patch: int) -> np.ndarray:
    """How far the score falls when each square patch, side by side, is set to 0; a value per patch."""
    drops = np.zeros((image.shape[0] // patch, image.shape[1] // patch))
    for row, column in np.ndindex(*drops.shape):
        hidden = image.copy()
        hidden[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = 0
        drops[row, column] = score(image) - score(hidden)
    return drops


def rank_alike(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two maps."""
    from ..measure.explain import rank_correlation

    return float(rank_correlation(a[None, None].astype(float), b[None, None].astype(float))[0])


def pointing_hit(values: np.ndarray, lesion: np.ndarray, inside: np.ndarray) -> float:
    """Share of the highest pixels inside the area that lie on the lesion: 1 or 0 where one pixel is highest."""
    top = inside & (values == values[inside].max())
    return float(lesion[top].mean())


def votes(near: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of each item's nearest labelled items that have the label; `near` holds their numbers, a row per item."""
    return labels[near].mean(1)


def in_test(patients: np.ndarray, studies: np.ndarray, every: int) -> Bool[np.ndarray, " row"]:
    """Whether a row goes to the test set: of the patients, by name, the first of each `every` goes there with all rows."""
    numbers = np.unique(patients, return_inverse=True)[1]
    return numbers % every == 0


def soft_tissue(values: Num[np.ndarray, "*axes"], units: str, slope: float, intercept: float) -> Num[np.ndarray, "*axes"]:
    """Grey levels of -100 to 155 HU, from values that are "stored" or "HU" already."""
    return to_window(np.asarray(values, float) if units == "HU" else to_hu(values, slope, intercept), -100.0, 155.0)


def logits(
    images: Float[np.ndarray, "unit dim"], texts: Float[np.ndarray, "text dim"], log_scale: float
) -> Float[np.ndarray, "unit text"]:
    """Cosines times the exponential of what is learnt; that factor is at most 100."""
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return np.exp(np.minimum(log_scale, np.log(100))) * images @ texts.T


def true_loss(logits: Float[np.ndarray, "unit text"], right: Bool[np.ndarray, "unit text"]) -> float:
    """The one equation where several texts are right, in equal parts from each side."""
    return soft_loss(logits, right / right.sum(1, keepdims=True), texts_side(right))


def nearest_images(
    texts: Float[np.ndarray, "query dim"], images: Float[np.ndarray, "item dim"], k: int
) -> Int[np.ndarray, "query k"]:
    """Numbers of the k images with the largest cosine to each text, largest first."""
    texts, images = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (texts, images))
    return np.argsort(-texts @ images.T, axis=1)[:, :k]


def interval(hits: Num[np.ndarray, " image"], patients: np.ndarray, n: int) -> Float[np.ndarray, " bound"]:
    """Bounds of the central 95 % of the mean over n resamples: as many patients as there are, with replacement."""
    rng, who = np.random.default_rng(0), np.unique(patients)
    rows = [np.flatnonzero(patients == p) for p in who]
    draws = rng.integers(0, len(who), (n, len(who)))
    return np.percentile([hits[np.concatenate([rows[i] for i in draw])].mean() for draw in draws], [2.5, 97.5])


def denied(sentence: str, name: str) -> bool:
    """Whether a word of denial stands before what a sentence names."""
    return not {"no", "not", "without"}.isdisjoint(sentence.lower().split(name.lower())[0].split())
