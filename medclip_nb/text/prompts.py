"""Prompts for zero-shot: templates for organ, finding, modality and region, and how many of them it takes.

The templates of a state and of its opposite stand in the same order, so that prompt i of one is the counterpart of prompt i
of the other: same words but for the state. Zero-shot compares the two (CT-GLIP, arXiv 2404.15272; the wordings are ours).
"""

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

NORMAL = "{organ} shows no significant abnormality"  # CT-GLIP's template for an organ without a finding
# what is filled in, and the state: None names a thing, True says that something is there, False that it is not
TEMPLATES = {
    (("organ",), None): ("{organ}", "the {organ}", "a scan of the {organ}", "an image of the {organ}", "this is the {organ}"),
    (("organ",), True): (
        "{organ} shows a significant abnormality", "the {organ} is abnormal", "abnormal {organ}", "abnormality of the {organ}",
        "there is an abnormality of the {organ}", "the {organ} shows disease", "pathological appearance of the {organ}",
    ),
    (("organ",), False): (
        NORMAL, "the {organ} is normal", "normal {organ}", "no abnormality of the {organ}",
        "there is no abnormality of the {organ}", "the {organ} shows no disease", "normal appearance of the {organ}",
    ),
    (("finding",), True): (
        "{finding}", "there is {finding}", "evidence of {finding}", "{finding} is present", "{finding} is seen",
        "findings consistent with {finding}", "the scan shows {finding}", "positive for {finding}",
    ),
    (("finding",), False): (
        "no {finding}", "there is no {finding}", "no evidence of {finding}", "{finding} is absent", "{finding} is not seen",
        "findings not consistent with {finding}", "the scan shows no {finding}", "negative for {finding}",
    ),
    (("finding", "organ"), True): (
        "{finding} in the {organ}", "there is {finding} in the {organ}", "the {organ} shows {finding}", "{organ} with {finding}",
        "evidence of {finding} in the {organ}", "{finding} of the {organ} is seen", "{organ}: {finding}",
    ),
    (("finding", "organ"), False): (
        "no {finding} in the {organ}", "there is no {finding} in the {organ}", "the {organ} shows no {finding}",
        "{organ} without {finding}", "no evidence of {finding} in the {organ}", "{finding} of the {organ} is not seen",
        "{organ}: no {finding}",
    ),
    (("finding", "modality"), True): ("{modality} showing {finding}", "{modality}, {finding}", "{modality} image with {finding}"),
    (("finding", "modality"), False): (
        "{modality} showing no {finding}", "{modality}, no {finding}", "{modality} image without {finding}",
    ),
    (("finding", "modality", "region"), True): (
        "{region} {modality}, {finding}", "{modality} of the {region} showing {finding}",
        "{modality} of the {region} with {finding}",
    ),
    (("finding", "modality", "region"), False): (
        "{region} {modality}, no {finding}", "{modality} of the {region} showing no {finding}",
        "{modality} of the {region} without {finding}",
    ),
    (("modality",), None): ("{modality}", "{modality} image", "a {modality} scan", "this is a {modality} image"),
    (("region",), None): ("{region}", "the {region}", "a scan of the {region}", "an image of the {region}"),
    (("modality", "region"), None): (
        "{region} {modality}", "{modality} of the {region}", "a {modality} image of the {region}", "a {region} {modality} scan",
    ),
    (("modality", "organ"), None): (
        "{modality} of the {organ}", "{organ} on {modality}", "a {modality} image of the {organ}",
        "the {organ} in a {modality} scan",
    ),
}  # fmt: skip
N_SUBSETS = 200  # ensembles tried per size; all of them where there are no more


class Spread(NamedTuple):
    """AUC of prompt ensembles of one size: over all of them, or a random sample."""

    size: int
    mean: float
    low: float  # the worst ensemble
    high: float  # the best: what a lucky choice of prompts would report


def ensemble(
    *, organ: str = "", finding: str = "", modality: str = "", region: str = "", present: bool | None = None
) -> list[str]:
    """All prompts for what is given: `present` None names it, True says that it is there, or abnormal, False that it is not.

    "lung" and present=False gives "lung shows no significant abnormality" and its synonyms. Prompt i of True and prompt i of
    False differ in the state only. Raises ValueError for a combination without templates.
    """
    slots = {"finding": finding, "modality": modality, "organ": organ, "region": region}
    key = tuple(name for name, value in slots.items() if value), present
    if key not in TEMPLATES:
        known = "; ".join(f"{' + '.join(names)}, present={state}" for names, state in TEMPLATES)
        raise ValueError(f"no prompts for {' + '.join(key[0]) or 'nothing'}, present={present}; there are some for: {known}")
    return [template.format(**slots) for template in TEMPLATES[key]]


def spread(scores: Float[np.ndarray, "prompt unit"], truth: Bool[np.ndarray, " unit"], *, seed: int = 0) -> list[Spread]:
    """How many prompts matter: AUC by the size of the ensemble, whose score is the mean of its prompts' scores.

    `scores` holds one row per prompt (or pair of prompts), higher for more likely present. A mean of scores is what averaging
    the prompts' embeddings gives, but for their length. Raises ValueError where all units are of one kind.
    """
    rng = np.random.default_rng(seed)
    found = []
    for size in range(1, len(scores) + 1):
        values = auc(np.stack([scores[list(s)].mean(0) for s in _subsets(len(scores), size, rng)]), truth)
        found.append(Spread(size, float(values.mean()), float(values.min()), float(values.max())))
    return found


def auc(scores: Float[np.ndarray, "row unit"], truth: Bool[np.ndarray, " unit"]) -> Float[np.ndarray, " row"]:
    """Area under the ROC curve of each row: the share of (positive, negative) pairs in the right order, a tie for one half.

    Raises ValueError where all units are of one kind.
    """
    from scipy.stats import rankdata

    n_true, n = int(truth.sum()), len(truth)
    if n_true in (0, n):
        raise ValueError(f"{n_true} of {n} units are positive: an AUC needs both kinds; pass units with and without the finding")
    ranks = rankdata(scores, axis=1)[:, truth].sum(1)
    return (ranks - n_true * (n_true + 1) / 2) / (n_true * (n - n_true))


def _subsets(n: int, size: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    if comb(n, size) <= N_SUBSETS:
        return list(combinations(range(n), size))
    return [tuple(rng.choice(n, size, replace=False).tolist()) for _ in range(N_SUBSETS)]
