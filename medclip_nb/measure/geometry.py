"""What an embedding space looks like, and how far a map of it can be trusted.

Of points as near as each other the one with the lower number is the nearer neighbour. NaN and infinite values are refused.
"""

import warnings
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from scipy.stats import skew

N_NEIGHBOURS = 15
PERPLEXITY = 30.0  # of t-SNE: about as many neighbours as it tries to keep
CHUNK = 2_000_000  # distances held at once: 16 MB, whatever the number of points
SHARPNESS = 2.0  # Wang and Isola's t


def pca_map(vectors: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n 2"]:
    """The two directions of largest variance: a projection, so distances on the map are never larger than in the space."""
    from sklearn.decomposition import PCA

    return PCA(2, svd_solver="full").fit_transform(_finite(vectors))


def tsne_map(vectors: Float[np.ndarray, "n dim"], *, seed: int, perplexity: float = PERPLEXITY) -> Float[np.ndarray, "n 2"]:
    """A 2D map by t-SNE (van der Maaten & Hinton 2008), cosine distance, started from PCA.

    A perplexity above a third of the others is lowered to it.
    """
    from sklearn.manifold import TSNE

    perplexity = min(perplexity, (len(vectors) - 1) / 3)
    reducer = TSNE(2, perplexity=perplexity, metric="cosine", init="pca", random_state=seed)
    return reducer.fit_transform(_finite(vectors))


def umap_map(vectors: Float[np.ndarray, "n dim"], *, seed: int, n_neighbours: int = N_NEIGHBOURS) -> Float[np.ndarray, "n 2"]:
    """A 2D map by UMAP (McInnes et al. 2018), cosine distance. The same seed gives the same map on one machine."""
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value 1 overridden")  # a fixed seed means one thread
        reducer = UMAP(n_neighbors=min(n_neighbours, len(vectors) - 1), metric="cosine", random_state=seed)
        return np.asarray(reducer.fit_transform(_finite(vectors)), dtype=np.float32)


def neighbours(
    vectors: Float[np.ndarray, "n dim"], k: int = N_NEIGHBOURS, *, groups: np.ndarray | None = None
) -> Int[np.ndarray, "n k"]:
    """The k nearest others of each point, nearest first; on unit vectors the order is that of the cosine.

    With `groups` (patients) only points of other groups are neighbours. Where a point has fewer than k of them, all points get
    as many as that one has. Raises ValueError if some point has none.
    """
    groups = np.arange(len(vectors)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    k = min(k, len(vectors) - int(np.bincount(groups, minlength=1).max()))
    if k < 1:
        raise ValueError(f"{len(vectors)} vectors of {len(set(groups))} patients or groups: some have no neighbour of another")
    return np.concatenate([_nearest(far, k) for far in _distances(vectors, groups)])


def neighbour_overlap(a: Int[np.ndarray, "n k"], b: Int[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Share of each point's k neighbours in one space that are its neighbours in the other: 1 faithful, k/(n-1) chance."""
    return (a[:, :, None] == b[:, None, :]).any(2).mean(1)


def seed_overlap(maps: list[Float[np.ndarray, "n 2"]], k: int = N_NEIGHBOURS) -> Float[np.ndarray, " n"]:
    """Neighbour overlap of each point between two of the maps, averaged over all pairs of them. Raises ValueError below two."""
    if len(maps) < 2:
        raise ValueError(f"an overlap needs two maps or more, there is {len(maps)}; draw the map again with another seed")
    pairs = combinations([neighbours(points, k) for points in maps], 2)
    return np.mean([neighbour_overlap(a, b) for a, b in pairs], axis=0)


def trustworthiness(vectors: Float[np.ndarray, "n dim"], points: Float[np.ndarray, "n 2"], k: int = N_NEIGHBOURS) -> float:
    """How little a map invents neighbours (Venna & Kaski 2001, scikit-learn's): 1 faithful, about one half by chance.

    A neighbour on the map that is none in the space costs more, the farther off it is there. k is at most n / 2 - 1. Takes
    memory for n x n distances.
    """
    from sklearn.manifold import trustworthiness as of_map

    k = min(k, (len(vectors) - 1) // 2)
    if k < 1:
        raise ValueError(f"{len(vectors)} points have no order to keep: trustworthiness needs three")
    return float(of_map(_finite(vectors), _finite(points), n_neighbors=k))


def chance_trustworthiness(n: int, k: int = N_NEIGHBOURS) -> float:
    """Trustworthiness of a map whose neighbours were drawn at random."""
    k = min(k, (n - 1) // 2)
    return 1 - (n - 1 - k) * (n - k) / ((n - 1) * (2 * n - 3 * k - 1))


def alignment(a: Float[np.ndarray, "n dim"], b: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, " n"]:
    """Squared distance between each unit vector and its partner; the mean is Wang and Isola's (2020, eq. 1): 0 best, 4 worst."""
    return ((_finite(a).astype(float) - _finite(b)) ** 2).sum(1)


def chance_alignment(a: Float[np.ndarray, "n dim"], b: Float[np.ndarray, "n dim"]) -> float:
    """Mean squared distance between any of `a` and any of `b`: the alignment of partners drawn at random."""
    a, b = _finite(a).astype(float), _finite(b).astype(float)
    return float((a**2).sum(1).mean() + (b**2).sum(1).mean() - 2 * a.mean(0) @ b.mean(0))


def uniformity(vectors: Float[np.ndarray, "n dim"]) -> float:
    """Wang and Isola (2020, eq. 2): log of the mean of exp(-2 d^2) over all pairs. 0 collapsed; lower is spread more evenly."""
    n = len(vectors)
    if n < 2:
        raise ValueError(f"uniformity is about pairs, there is {n} vector")
    total = sum(np.exp(-SHARPNESS * far**2).sum() for far in _distances(vectors, np.arange(n)))
    return float(np.log(total / (n * (n - 1))))


def effective_rank(vectors: Float[np.ndarray, "n dim"]) -> float:
    """Exponential of the entropy of the singular values' shares (Roy & Vetterli 2007): 1 to the smaller of n and dim.

    Not centred, as in the paper: a mean that all share counts as one direction. Raises ValueError if all vectors are 0.
    """
    sizes = np.linalg.svd(_finite(vectors).astype(float), compute_uv=False)
    if not sizes.any():
        raise ValueError(f"all {len(vectors)} vectors are 0: they have no direction")
    shares = sizes[sizes > 0] / sizes.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def k_occurrence(near: Int[np.ndarray, "n k"]) -> Int[np.ndarray, " n"]:
    """How often each point is among the k nearest of the others; k on average."""
    return np.bincount(near.ravel(), minlength=len(near))


def hubness(near: Int[np.ndarray, "n k"]) -> float:
    """Skewness of the k-occurrence (Radovanovic et al. 2010): 0 none; large if a few points are near to everything."""
    counts = k_occurrence(near)
    return float(skew(counts)) if np.ptp(counts) else 0.0


def never_neighbours(near: Int[np.ndarray, "n k"]) -> float:
    """Share of points that are nobody's neighbour: no query ever finds them."""
    return float((k_occurrence(near) == 0).mean())


def modality_gap(image_emb: Float[np.ndarray, "n dim"], text_emb: Float[np.ndarray, "m dim"]) -> float:
    """Distance between the mean image and the mean text (Liang et al. 2022); 0 to 2 for unit vectors."""
    return float(np.linalg.norm(_finite(image_emb).mean(0) - _finite(text_emb).mean(0)))


def _distances(vectors: Float[np.ndarray, "n dim"], groups: Int[np.ndarray, " n"]) -> Iterator[Float[np.ndarray, "chunk n"]]:
    """Distances of some points at a time to all, infinite within a group."""
    vectors, size = _finite(vectors).astype(float), max(1, CHUNK // len(vectors))
    for start in range(0, len(vectors), size):
        far = cdist(vectors[start : start + size], vectors)
        far[groups[start : start + size, None] == groups] = np.inf
        yield far


def _nearest(far: Float[np.ndarray, "chunk n"], k: int) -> Int[np.ndarray, "chunk k"]:
    limit = np.partition(far, k - 1, axis=1)[:, [k - 1]]
    row, column = np.nonzero(far <= limit)
    order = np.lexsort((far[row, column], row))  # stable: of equal distances the lower number stays first
    return column[order][np.searchsorted(row, np.arange(len(far)))[:, None] + np.arange(k)]


def _finite(vectors: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    bad = ~np.isfinite(vectors).all(1)
    if bad.any():
        raise ValueError(f"{int(bad.sum())} of {len(bad)} vectors hold NaN or infinity, number {int(bad.argmax())} first")
    return vectors
