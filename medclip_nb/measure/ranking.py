"""All figures of retrieval from embeddings, both ways, in chunks of queries: the whole matrix of similarities is never held.

What is right is a rule: a function of two index ranges, of images and of texts, that gives their block of a matrix. A rule made
by `by_label` needs two columns of labels, whatever the size of the lists.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.stats import hypergeom

from . import retrieval

Rule = Callable[[slice, slice], Shaped[np.ndarray, "image text"]]  # booleans, or gains from 0
CELLS = 2**19  # similarities of a chunk: some MiB, whatever the lists
ALL = slice(None)
WAYS = ("image to text", "text to image")
MEDIAN = "median rank"  # the one figure that is no mean over queries, and better when lower


class Figure(NamedTuple):
    """One figure of retrieval in one direction."""

    values: Float[np.ndarray, " query"]  # of each query: hits, 1 / rank, ... or the rank itself
    value: float  # their mean; of ranks the median
    chance: float  # the same in a random order


def by_label(image_labels: np.ndarray, text_labels: np.ndarray) -> Rule:
    """Right are pairs with equal labels: row numbers (the own text only), numbers of texts, findings, patients."""
    numbers = np.unique(np.concatenate([image_labels, text_labels]), return_inverse=True)[1]  # faster to compare than words
    ours, theirs = np.split(numbers, [len(image_labels)])
    return lambda images, texts: retrieval.same(ours[images], theirs[texts])


def graded(*rules: Rule) -> Rule:
    """A pair gains the share of the rules by which it is right."""
    return lambda images, texts: np.mean([rule(images, texts) for rule in rules], axis=0)


def both_ways(
    image_emb: Float[np.ndarray, "image dim"],
    text_emb: Float[np.ndarray, "text dim"],
    right: Rule,
    *,
    gain: Rule | None = None,
    cases: tuple[np.ndarray, np.ndarray] | None = None,
    ks: tuple[int, ...] = (1, 10),
) -> dict[str, dict[str, Figure]]:
    """`figures` of each direction, by its name in WAYS; `cases` says whose each image and whose each text is."""
    image_cases, text_cases = cases or (None, None)
    turned = lambda rule: rule and (lambda texts, images: rule(images, texts).T)  # noqa: E731
    to_text = figures(image_emb, text_emb, right, gain=gain, cases=text_cases, ks=ks)
    to_image = figures(text_emb, image_emb, turned(right), gain=turned(gain), cases=image_cases, ks=ks)
    return dict(zip(WAYS, (to_text, to_image), strict=True))


def figures(
    queries: Float[np.ndarray, "query dim"],
    items: Float[np.ndarray, "item dim"],
    right: Rule,
    *,
    gain: Rule | None = None,
    cases: np.ndarray | None = None,
    ks: tuple[int, ...] = (1, 10),
) -> dict[str, Figure]:
    """R@k, MRR, mAP, median rank and nDCG at the largest k of all queries, by the dot product with the items.

    With `cases`, one per item, a case is listed once: at its most similar item, right if any item of it is, and with the largest
    gain of them. Without `gain` a right item gains 1. Raises ValueError for an embedding that is not finite and naming the
    first query for which nothing is right.
    """
    for name, emb in (("query", queries), ("item", items)):
        refuse_not_finite(name, emb)
    different, column = np.unique(items, axis=0, return_inverse=True)  # equal items must tie: BLAS may round equal columns apart
    size = max(1, CELLS // len(items))
    parts = []
    for start in range(0, len(queries), size):
        rows = slice(start, start + size)
        blocks = [(queries[rows] @ different.T)[:, column], right(rows, ALL), (gain or right)(rows, ALL)]
        _refuse_unanswered(blocks, start)
        parts.append(_of_chunk(*(blocks if cases is None else [best_of_case(b, cases) for b in blocks]), k=max(ks)))
    n_items = len(items) if cases is None else len(np.unique(cases))
    return _together({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, n_items, ks)


def best_of_case(block: Shaped[np.ndarray, "query item"], cases: np.ndarray) -> Shaped[np.ndarray, "query case"]:
    """The largest value of each case's items, cases in the order of `np.unique`."""
    order = np.argsort(cases, kind="stable")
    starts = np.unique(np.asarray(cases)[order], return_index=True)[1]
    return np.maximum.reduceat(block[:, order], starts, axis=1)


def recall_by_list_size(
    ranks: Int[np.ndarray, " query"], n_items: int, *, sizes: Int[np.ndarray, " size"], k: int
) -> Float[np.ndarray, "query size"]:
    """R@k that each query has on average in a list of `size` items: its one right item and others drawn from its n_items.

    Exact, by the hypergeometric distribution of how many of the rank - 1 better ones are drawn. The right item must be the only
    one; sizes go from 1 to n_items.
    """
    return hypergeom.cdf(k - 1, n_items - 1, ranks[:, None] - 1, sizes - 1)


def _of_chunk(sim: np.ndarray, relevant: np.ndarray, gain: np.ndarray, *, k: int) -> dict[str, np.ndarray]:
    """What is known of each query of a chunk: where the right ones stand, and how many they are."""
    gain = gain.astype(sim.dtype)
    return {
        "rank": retrieval.first_ranks(sim, relevant),
        "n_right": relevant.sum(1),
        "mAP": retrieval.average_precision(sim, relevant),
        "nDCG": retrieval.ndcg_at(sim, gain, k),
        "nDCG by chance": retrieval.chance_ndcg(gain, k),
    }


def _together(each: dict[str, np.ndarray], n_items: int, ks: tuple[int, ...]) -> dict[str, Figure]:
    ranks, n_right = each["rank"], each["n_right"]
    of_mean = {f"R@{k}": (retrieval.recall_at(ranks, k), retrieval.chance_recall(n_right, n_items, k)) for k in ks}
    of_mean["MRR"] = 1 / ranks, retrieval.chance_reciprocal_rank(n_right, n_items)
    of_mean["mAP"] = each["mAP"], retrieval.chance_average_precision(n_right, n_items)
    of_mean[f"nDCG@{max(ks)}"] = each["nDCG"], each["nDCG by chance"]
    found = {name: Figure(values, float(values.mean()), float(chance.mean())) for name, (values, chance) in of_mean.items()}
    median = Figure(ranks.astype(float), float(np.median(ranks)), retrieval.chance_median_rank(n_right, n_items))
    return found | {MEDIAN: median}


def refuse_not_finite(name: str, emb: np.ndarray) -> None:
    """Raises ValueError, naming the first row, if an embedding is NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(emb).all(1))
    if len(bad):
        raise ValueError(f"{len(bad)} of {len(emb)} {name} embeddings are NaN or infinite, the first is {bad[0]}; see the model")


def _refuse_unanswered(blocks: list[np.ndarray], start: int) -> None:
    for block, missing in zip(blocks[1:], ("no item is right", "no item has a gain"), strict=True):
        bad = np.flatnonzero(~(block > 0).any(1))
        if len(bad):
            raise ValueError(f"{missing} for query {start + bad[0]}; leave such queries out")
