"""What an embedding space looks like, and how far its map can be trusted."""

import warnings

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

N_NEIGHBOURS = 15


def umap_map(vectors: Float[np.ndarray, "n dim"], *, seed: int, n_neighbours: int = N_NEIGHBOURS) -> Float[np.ndarray, "n 2"]:
    """A 2D map by UMAP (McInnes et al. 2018), cosine distance. The same seed gives the same map on one machine."""
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value 1 overridden")  # a fixed seed means one thread
        reducer = UMAP(n_neighbors=min(n_neighbours, len(vectors) - 1), metric="cosine", random_state=seed)
        return np.asarray(reducer.fit_transform(vectors), dtype=np.float32)


def neighbours(vectors: Float[np.ndarray, "n dim"], k: int = N_NEIGHBOURS) -> Int[np.ndarray, "n k"]:
    """The k nearest others of each point, all n - 1 if there are fewer; on unit vectors the order is that of the cosine."""
    distance = cdist(vectors, vectors)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, : min(k, len(vectors) - 1)]


def neighbour_overlap(a: Int[np.ndarray, "n k"], b: Int[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Share of each point's k neighbours in one space that are its neighbours in the other: 1 faithful, k/(n-1) chance."""
    return (a[:, :, None] == b[:, None, :]).any(2).mean(1)


def neighbour_agreement(near: Int[np.ndarray, "n k"], labels: np.ndarray, groups: np.ndarray) -> Float[np.ndarray, " n"]:
    """Share of each point's neighbours with its own label; neighbours of its own group (patient) do not count.

    NaN where all neighbours are of the point's own group.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    counts = groups[near] != groups[:, None]
    hits = ((labels[near] == labels[:, None]) & counts).sum(1)
    return np.divide(hits, counts.sum(1), out=np.full(len(near), np.nan), where=counts.any(1))


def chance_agreement(labels: np.ndarray) -> float:
    """Neighbour agreement if neighbours were drawn at random: the chance that two points share a label."""
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float((shares**2).sum())


def modality_gap(image_emb: Float[np.ndarray, "n dim"], text_emb: Float[np.ndarray, "m dim"]) -> float:
    """Distance between the mean image and the mean text (Liang et al. 2022); 0 to 2."""
    return float(np.linalg.norm(image_emb.mean(0) - text_emb.mean(0)))
