"""Retrieval: a similarity matrix and a matrix of what is right -> ranks -> figures, each with its level of chance.

Worked example, two queries and four items:

    sim      [[.9, .8, .1, .0],     relevant [[0, 1, 0, 0],     ranks [2, 1]     average precision [1/2, (1 + 2/2) / 2]
              [.5, .5, .4, .1]]               [1, 1, 0, 0]]     recall at 1 = .5, at 2 = 1

Two rules for ties. Ranks and all that is made of them (R@k, MRR, median rank, average precision) are read off one order, in
which the wrong items come first among equals. nDCG shares the discounts of the places that equals take. By either rule
collapsed embeddings, where all similarities are equal, score no better than chance.

Chance is a random order. It depends on how many of how many items are right, and on nothing else.
"""

from bisect import bisect_left

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import digamma, gammaln

Counts = Int[np.ndarray, " query"]  # how many items are right for each query
TINY = 1e-9  # rounding of a probability


def first_ranks(sim: Float[np.ndarray, "query item"], relevant: Bool[np.ndarray, "query item"]) -> Int[np.ndarray, " query"]:
    """Rank (1 is best) of the best right item of each query, behind every wrong item that is as similar.

    Raises ValueError naming the first query for which no item is right, or if a similarity is NaN.
    """
    _refuse(sim, relevant)
    best = np.where(relevant, sim, -np.inf).max(1, keepdims=True)
    return 1 + ((sim >= best) & ~relevant).sum(1)


def recall_at(ranks: Int[np.ndarray, " query"], k: int) -> Float[np.ndarray, " query"]:
    """1 where a right item is among the first k, else 0; its mean is R@k."""
    return (ranks <= k).astype(float)


def average_precision(
    sim: Float[np.ndarray, "query item"], relevant: Bool[np.ndarray, "query item"]
) -> Float[np.ndarray, " query"]:
    """Mean, over the right items of a query, of the share of right ones down to each; its mean over queries is mAP.

    Wrong items come first among equals, which is harsher than scikit-learn, where equals share one precision. Raises as
    `first_ranks` does.
    """
    _refuse(sim, relevant)
    n_right = relevant.sum(1)
    wrong = np.sort(np.where(relevant, -np.inf, sim), axis=1)  # right ones stand in front, as if dissimilar to all
    right = np.split(sim[relevant], np.cumsum(n_right)[:-1])
    return np.array([_precision(np.sort(r)[::-1], w) for r, w in zip(right, wrong, strict=True)])


def _precision(right: Float[np.ndarray, " right"], wrong: Float[np.ndarray, " item"]) -> float:
    """Average precision of one query, given its right items falling and its wrong ones rising, padded to all items in front."""
    ahead = np.minimum(len(wrong) - np.searchsorted(wrong, right), len(wrong) - len(right))  # less only for a right item at -inf
    places = np.arange(1, len(right) + 1)
    return float((places / (places + ahead)).mean())


def ndcg_at(sim: Float[np.ndarray, "query item"], gain: Float[np.ndarray, "query item"], k: int) -> Float[np.ndarray, " query"]:
    """Gain of the first k items, discounted by log2 of their rank, over that of the best order (Jarvelin & Kekalainen 2002).

    Items of equal similarity share their places' discounts, so that a tie helps nobody. Raises ValueError for k below 1, a gain
    that is negative or NaN, naming the first query for which no item has any, or if a similarity is NaN.
    """
    _refuse_nan(sim)
    best, k = _best_dcg(gain, k), min(k, sim.shape[1])
    query, item = np.nonzero(sim >= low_cut(sim, k))
    value = sim[query, item]
    order = np.lexsort((-value, query))
    query, item, value = query[order], item[order], value[order]
    new = np.flatnonzero(np.diff(query, prepend=-1).astype(bool) | (value != np.roll(value, 1)))  # where a run of equals starts
    sizes = np.diff(new, append=len(query))
    place = new - np.searchsorted(query, query[new])  # of the run's first item, in its query's list
    summed = np.concatenate([[0], np.cumsum(_discounts(sim.shape[1], k))])
    share = (summed[place + sizes] - summed[place]) / sizes
    return np.bincount(query, gain[query, item] * np.repeat(share, sizes), minlength=len(sim)) / best


def low_cut(sim: Float[np.ndarray, "query item"], k: int) -> Float[np.ndarray, "query 1"]:
    """What all that can take one of the k places reach, and few others: the k-th largest maximum of groups of items.

    It is never above the k-th largest similarity, and many times faster to find.
    """
    n_items, n_groups = sim.shape[1], min(sim.shape[1], 8 * k)
    grouped = sim[:, : n_items // n_groups * n_groups].reshape(len(sim), -1, n_groups)
    return np.sort(grouped.max(1), axis=1)[:, [-k]]


def _best_dcg(gain: Float[np.ndarray, "query item"], k: int) -> Float[np.ndarray, " query"]:
    """Discounted gain of the first k items in the best order. Raises ValueError as `ndcg_at` does."""
    if k < 1 or not (gain >= 0).all():
        raise ValueError(f"k is {k} and {int((~(gain >= 0)).sum())} gains are below 0 or NaN; k starts at 1, gains at 0")
    if not (gain > 0).any(1).all():
        raise ValueError(f"no item has a gain for query {int((~(gain > 0).any(1)).argmax())}; leave such queries out")
    k = min(k, gain.shape[1])
    return np.sort(gain, axis=1)[:, : -k - 1 : -1] @ _discounts(k, k)


def chance_recall(n_right: Counts, n_items: int, k: int) -> Float[np.ndarray, " query"]:
    """R@k of each query in a random order: 1 - C(wrong, k) / C(items, k)."""
    n_wrong, k = n_items - n_right, min(k, n_items)
    log_miss = gammaln(n_wrong + 1) - gammaln(np.maximum(n_wrong - k, 0) + 1)
    log_miss += gammaln(n_items - k + 1) - gammaln(n_items + 1)
    return np.where(n_wrong >= k, 1 - np.exp(log_miss), 1.0)


def chance_recall_at(relevant: Bool[np.ndarray, "query item"], k: int) -> float:
    """R@k of a random order, averaged over queries."""
    return float(chance_recall(relevant.sum(1), relevant.shape[1], k).mean())


def chance_reciprocal_rank(n_right: Counts, n_items: int) -> Float[np.ndarray, " query"]:
    """Mean of 1 / rank of the first right item in a random order: r / (n - r + 1) * (H(n) - H(r - 1)), H harmonic numbers."""
    return n_right / (n_items - n_right + 1) * (digamma(n_items + 1) - digamma(n_right))


def chance_average_precision(n_right: Counts, n_items: int) -> Float[np.ndarray, " query"]:
    """Mean average precision of a random order: (H(n) + (r - 1) / (n - 1) * (n - H(n))) / n (Bestgen 2015)."""
    harmonic = digamma(n_items + 1) + np.euler_gamma
    return (harmonic + (n_right - 1) / max(n_items - 1, 1) * (n_items - harmonic)) / n_items


def chance_median_rank(n_right: Counts, n_items: int) -> float:
    """Median rank of the first right item, over queries and random orders; the middle of two ranks where it lies between them."""
    counts, weights = np.unique(n_right, return_counts=True)
    share = lambda k: np.average(chance_recall(counts, n_items, k), weights=weights)  # noqa: E731
    below, above = (1 + bisect_left(range(1, n_items + 1), 0.5 + slack, key=share) for slack in (-TINY, TINY))
    return (below + above) / 2


def chance_ndcg(gain: Float[np.ndarray, "query item"], k: int) -> Float[np.ndarray, " query"]:
    """nDCG@k of each query in a random order: each place gains the mean of all items."""
    return gain.mean(1) * _discounts(gain.shape[1], k).sum() / _best_dcg(gain, k)


def chance_ndcg_at(gain: Float[np.ndarray, "query item"], k: int) -> float:
    """nDCG@k of a random order, averaged over queries."""
    return float(chance_ndcg(gain, k).mean())


def same(a: np.ndarray, b: np.ndarray) -> Bool[np.ndarray, "query item"]:
    """Relevance by equality: item j is right for query i if their labels are the same."""
    return np.asarray(a)[:, None] == np.asarray(b)[None]


def _refuse(sim: np.ndarray, relevant: np.ndarray) -> None:
    _refuse_nan(sim)
    if not relevant.any(1).all():
        raise ValueError(f"no item is right for query {int((~relevant.any(1)).argmax())}; leave such queries out")


def _refuse_nan(sim: np.ndarray) -> None:
    if np.isnan(sim).any():
        raise ValueError(f"{int(np.isnan(sim).any(1).sum())} queries have a similarity that is NaN")


def _discounts(n_items: int, k: int) -> Float[np.ndarray, " item"]:
    """1 / log2(1 + rank) of the first k places, 0 behind them."""
    return np.where(np.arange(n_items) < k, 1 / np.log2(np.arange(n_items) + 2), 0)
