"""Near-identical images and reports, found in time linear in their number: similar things share a bucket, then are compared."""

import re
import zlib

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, UInt8

N_FREQUENCIES = 256  # lowest ones of a thumbnail's cosine transform, the mean left out
N_BITS = 64  # of them whose signs choose the buckets: noise, window and compression change few of these
N_BANDS = 48  # buckets that each image lies in
N_NEIGHBOURS = 4  # compared with in each bucket: this keeps boilerplate from costing quadratic time
FEW = 12  # images: below this a cohort has no useful mean and spread
SAME_IMAGE, SAME_AMONG_FEW = 0.9, 0.995  # correlation from which two thumbnails show the same
SAME_TEXT = 0.6  # share of word pairs in common (Jaccard) from which two reports say the same
N_HASHES, HASHES_PER_BAND = 60, 3  # two reports at SAME_TEXT share one of the 20 bands with probability 0.99


def frequencies(thumbnails: UInt8[np.ndarray, "n slice row column"]) -> Float[np.ndarray, "n frequency"]:
    """Cosine transforms, lowest frequency first, of length 1: their products are correlations.

    Each frequency is taken relative to its mean and spread over the images, so that what all bodies share does not count.
    """
    from scipy.fft import dctn

    n, *size = thumbnails.shape
    order = np.argsort(sum((i / s) ** 2 for i, s in zip(np.indices(size), size, strict=True)).ravel(), kind="stable")
    waves = dctn(thumbnails.astype(np.float32), axes=(1, 2, 3), norm="ortho").reshape(n, -1)[:, order[1 : N_FREQUENCIES + 1]]
    if n >= FEW:
        waves = (waves - waves.mean(0)) / (waves.std(0) + 1e-6)
    return waves / (np.linalg.norm(waves, axis=1, keepdims=True) + 1e-6)


def near_images(thumbnails: UInt8[np.ndarray, "n slice row column"]) -> Int[np.ndarray, "pair 2"]:
    """Pairs of images that show the same up to noise, window, size in pixels or compression.

    Candidates share the signs of a band of low frequencies; all of them are confirmed by correlation.
    """
    waves = frequencies(thumbnails)
    bits = waves[:, :N_BITS] > 0
    width = min(bits.shape[1], int(np.log2(max(2, len(waves)))) + 3)
    chosen = np.random.default_rng(0).permuted(np.tile(np.arange(bits.shape[1]), (N_BANDS, 1)), axis=1)[:, :width]
    pairs = bucket_pairs(np.stack([_as_numbers(bits[:, band]) for band in chosen]))
    similar = np.einsum("pf,pf->p", waves[pairs[:, 0]], waves[pairs[:, 1]])
    return pairs[similar > (SAME_IMAGE if len(waves) >= FEW else SAME_AMONG_FEW)]


def near_texts(texts: list[str]) -> Int[np.ndarray, "pair 2"]:
    """Pairs of texts that share most of their word pairs, by MinHash (Broder 1997) and an exact comparison."""
    shingles = [_shingles(text) for text in texts]
    keys = _min_hashes(shingles).reshape(len(texts), -1, HASHES_PER_BAND)
    pairs = bucket_pairs((keys * np.array([1, 1_000_003, 998_244_353])).sum(2).T)
    sets = [set(s.tolist()) for s in shingles]
    shared = [len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in pairs]
    return pairs[np.array(shared, float) >= SAME_TEXT]


def bucket_pairs(keys: Int64[np.ndarray, "band n"]) -> Int[np.ndarray, "pair 2"]:
    """Pairs i < j that have the same key in some band; in large buckets only neighbours by another band's key."""
    n, found = keys.shape[1], [np.empty(0, np.int64)]
    for band, key in enumerate(keys):
        order = np.lexsort((keys[band - 1], key))
        for step in range(1, min(N_NEIGHBOURS, n - 1) + 1):
            first, second = order[:-step], order[step:]
            same = key[first] == key[second]
            low, high = np.minimum(first, second)[same], np.maximum(first, second)[same]
            found.append(low * n + high)
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // max(1, n), codes % max(1, n)], 1)


def groups(pairs: Int[np.ndarray, "pair 2"], n: int) -> list[list[int]]:
    """Rows linked by pairs, directly or through others: groups of at least two, each in order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return [part.tolist() for part in parts if len(part) > 1]


def _as_numbers(bits: Bool[np.ndarray, "n width"]) -> Int64[np.ndarray, " n"]:
    return bits @ (1 << np.arange(bits.shape[1], dtype=np.int64))


def _shingles(text: str) -> Int64[np.ndarray, " shingle"]:
    words = re.findall(r"\w+", text.lower()) or [""]
    pairs = zip(words, words[1:] or [""], strict=False)
    return np.unique(np.array([zlib.crc32(" ".join(pair).encode()) for pair in pairs], np.int64))


def _min_hashes(shingles: list[np.ndarray]) -> Int64[np.ndarray, "n hash"]:
    rng = np.random.default_rng(0)
    factors, shifts = rng.integers(1, 2**30, (2, N_HASHES))
    prime = 2**31 - 1
    return np.stack([((s[:, None] % prime * factors + shifts) % prime).min(0) for s in shingles])
