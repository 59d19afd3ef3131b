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


def same(a: np.ndarray, b: np.ndarray) -> Bool[np.ndarray, "query item"]:
    """Relevance by equality: item j is right for query i if their labels are the same."""
    return np.asarray(a)[:, None] == np.asarray(b)[None]
