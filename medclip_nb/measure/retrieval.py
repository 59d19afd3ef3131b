"""Retrieval: a similarity matrix and a matrix of what is right -> ranks -> recall.

Worked example, two queries and four items:

    sim      [[.9, .8, .1, .0],     relevant [[0, 1, 0, 0],     ranks [2, 1]
              [.5, .5, .4, .1]]               [1, 1, 0, 0]]     recall at 1 = .5, at 2 = 1

Ties count against the query: a right item that is as similar as a wrong one comes after it. Collapsed embeddings,
where all similarities are equal, therefore score no better than chance.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import gammaln


def first_ranks(sim: Float[np.ndarray, "query item"], relevant: Bool[np.ndarray, "query item"]) -> Int[np.ndarray, " query"]:
    """Rank (1 is best) of the best right item of each query, behind every wrong item that is as similar.

    Raises ValueError naming the first query for which no item is right, or if a similarity is NaN.
    """
    if np.isnan(sim).any():
        raise ValueError(f"{int(np.isnan(sim).any(1).sum())} queries have a similarity that is NaN")
    if not relevant.any(1).all():
        raise ValueError(f"no item is right for query {int((~relevant.any(1)).argmax())}; leave such queries out")
    best = np.where(relevant, sim, -np.inf).max(1, keepdims=True)
    return 1 + ((sim >= best) & ~relevant).sum(1)


def recall_at(ranks: Int[np.ndarray, " query"], k: int) -> Float[np.ndarray, " query"]:
    """1 where a right item is among the first k, else 0; its mean is R@k."""
    return (ranks <= k).astype(float)


def chance_recall_at(relevant: Bool[np.ndarray, "query item"], k: int) -> float:
    """R@k of a random order: 1 - C(wrong, k) / C(items, k), averaged over queries."""
    n_items, n_wrong = relevant.shape[1], (~relevant).sum(1)
    k = min(k, n_items)
    log_miss = gammaln(n_wrong + 1) - gammaln(np.maximum(n_wrong - k, 0) + 1)
    log_miss += gammaln(n_items - k + 1) - gammaln(n_items + 1)
    return float(np.where(n_wrong >= k, 1 - np.exp(log_miss), 1).mean())


def ndcg_at(sim: Float[np.ndarray, "query item"], gain: Float[np.ndarray, "query item"], k: int) -> Float[np.ndarray, " query"]:
    """Gain of the first k items, discounted by log2 of their rank, over that of the best order (Jarvelin & Kekalainen 2002).

    Items of equal similarity share their places' discounts, so that a tie helps nobody. Raises ValueError for k below 1, a gain
    that is negative or NaN, naming the first query for which no item has any, or if a similarity is NaN.
    """
    if np.isnan(sim).any():
        raise ValueError(f"{int(np.isnan(sim).any(1).sum())} queries have a similarity that is NaN")
    best, order = _best_dcg(gain, k), np.argsort(-sim, axis=1, kind="stable")
    ranked, places = np.take_along_axis(sim, order, 1), np.arange(sim.shape[1])
    new = np.column_stack([np.ones(len(sim), bool), ranked[:, 1:] != ranked[:, :-1]])
    first = np.maximum.accumulate(np.where(new, places, 0), axis=1)  # of each item's run of equal similarities
    last = np.minimum.accumulate(
        np.where(np.roll(new, -1, axis=1) | (places == places[-1]), places, len(places))[:, ::-1], axis=1
    )
    last = last[:, ::-1]
    summed = np.concatenate([[0], np.cumsum(_discounts(sim.shape[1], k))])
    share = (summed[last + 1] - summed[first]) / (last + 1 - first)
    return (np.take_along_axis(gain, order, 1) * share).sum(1) / best


def chance_ndcg_at(gain: Float[np.ndarray, "query item"], k: int) -> float:
    """nDCG@k of a random order, averaged over queries."""
    best = _best_dcg(gain, k)
    return float((gain.mean(1) * _discounts(gain.shape[1], k).sum() / best).mean())


def _best_dcg(gain: Float[np.ndarray, "query item"], k: int) -> Float[np.ndarray, " query"]:
    if k < 1 or not (gain >= 0).all():
        raise ValueError(f"k is {k} and {int((~(gain >= 0)).sum())} gains are below 0 or NaN; k starts at 1, gains at 0")
    if not (gain > 0).any(1).all():
        raise ValueError(f"no item has a gain for query {int((~(gain > 0).any(1)).argmax())}; leave such queries out")
    return -np.sort(-gain, axis=1) @ _discounts(gain.shape[1], k)


def _discounts(n_items: int, k: int) -> Float[np.ndarray, " item"]:
    """1 / log2(1 + rank) of the first k places, 0 behind them."""
    return np.where(np.arange(n_items) < k, 1 / np.log2(np.arange(n_items) + 2), 0)


def same(a: np.ndarray, b: np.ndarray) -> Bool[np.ndarray, "query item"]:
    """Relevance by equality: item j is right for query i if their labels are the same."""
    return np.asarray(a)[:, None] == np.asarray(b)[None]
