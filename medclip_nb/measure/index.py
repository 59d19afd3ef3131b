"""The most similar items of each query: exact up to a stated number of items, beyond it by an index whose misses are measured.

The index (faiss, an optional extra) deals the items into about sqrt(n) lists by k-means and looks into the few lists nearest to a
query (inverted file: Sivic & Zisserman 2003; Johnson et al. 2017). What lies in another list is missed; how much, a sample of the
queries says, and the answer stands beside the result.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from .ranking import refuse_not_finite
from .retrieval import low_cut

EXACT_ITEMS = 500_000  # up to here a query of all takes some 10 ms on two cores: a thousand queries, ten seconds
N_PROBES = 32  # lists looked into
N_SAMPLE = 200  # queries that are also answered exactly, to measure recall
CELLS = 2**23  # similarities of a chunk: 32 MiB
SLACK = 1e-6  # two libraries round a dot product of unit vectors this far apart at most
SEED = 0  # of the sample and of k-means


class Nearest(NamedTuple):
    """The most similar items of each query, best first, and how far they can be trusted."""

    items: Int[np.ndarray, "query k"]  # row numbers; -1 where the index found fewer than k
    sim: Float32[np.ndarray, "query k"]  # dot products; -inf there
    recall: float  # share of the k places, over sampled queries, with an item as similar as the k-th best of all; 1 if exact
    n_sampled: int  # queries that this was measured on; 0 if exact


def nearest(
    queries: Float[np.ndarray, "query dim"],
    items: Float[np.ndarray, "item dim"],
    *,
    k: int,
    most_exact: int = EXACT_ITEMS,
    n_probes: int = N_PROBES,
) -> Nearest:
    """The k items (all, if there are fewer) with the largest dot product with each query.

    Up to `most_exact` items the answer is exact, and items as similar stand in order of their number. Beyond it an index looks
    into `n_probes` of its lists: with all of them it is exact again, and slow. It needs memory for a second copy of the items.
    Raises ValueError for k below 1, no items, an embedding that is not finite, and where an index is needed without faiss.
    """
    if min(k, n_probes, len(items)) < 1:
        raise ValueError(f"k is {k}, n_probes {n_probes}, and there are {len(items)} items; each must be at least 1")
    for name, emb in (("query", queries), ("item", items)):
        refuse_not_finite(name, emb)
    queries, items = (np.ascontiguousarray(emb, np.float32) for emb in (queries, items))
    k = min(k, len(items))
    if len(items) <= most_exact:
        return Nearest(*_exact(queries, items, k), 1.0, 0)
    found, sim = _by_index(queries, items, k, n_probes)
    some = np.random.default_rng(SEED).permutation(len(queries))[:N_SAMPLE]
    best = _exact(queries[some], items, k)[1]
    return Nearest(found, sim, float(np.mean(sim[some] >= best[:, -1:] - SLACK)), len(some))


def _exact(
    queries: Float32[np.ndarray, "query dim"], items: Float32[np.ndarray, "item dim"], k: int
) -> tuple[Int[np.ndarray, "query k"], Float32[np.ndarray, "query k"]]:
    size = max(1, CELLS // max(1, len(items)))
    parts = [_best(queries[i : i + size] @ items.T, k) for i in range(0, len(queries), size)]
    empty = np.empty((0, k), np.int64), np.empty((0, k), np.float32)
    return tuple(np.concatenate(column) for column in zip(empty, *parts, strict=True))


def _best(sim: Float32[np.ndarray, "query item"], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of each row, the first of equals first."""
    query, item = np.nonzero(sim >= low_cut(sim, k))
    value = sim[query, item]
    order = np.lexsort((-value, query))  # stable: equals stay in order of their number
    starts = np.searchsorted(query, np.arange(len(sim)))
    chosen = order[starts[:, None] + np.arange(k)]
    return item[chosen], value[chosen]


def _by_index(
    queries: Float32[np.ndarray, "query dim"], items: Float32[np.ndarray, "item dim"], k: int, n_probes: int
) -> tuple[Int[np.ndarray, "query k"], Float32[np.ndarray, "query k"]]:
    faiss = _faiss(len(items))
    n_lists, dim = round(len(items) ** 0.5), items.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, n_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.min_points_per_centroid, index.nprobe = SEED, 1, min(n_probes, n_lists)
    index.train(items)
    index.add(items)
    sim, found = index.search(queries, k)
    return found, np.where(found < 0, -np.inf, sim).astype(np.float32)


def _faiss(n_items: int):
    try:
        import faiss
    except ImportError:
        raise ValueError(
            f"{n_items} items want an approximate index: pip install 'medclip_nb[big]', or say most_exact={n_items} to search all"
        ) from None
    return faiss
