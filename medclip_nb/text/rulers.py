"""Plain rulers for texts: shared tokens (Dice), TF-IDF and embeddings. All in [0, 1] and symmetric.

A ruler that ends in `_rows` gives any rows of its matrix when asked, for texts too many for the whole.
"""

import re
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

Split = Callable[[str], set[str]]
Rows = Callable[[Int[np.ndarray, " row"]], Float[np.ndarray, "row item"]]  # any rows of a matrix, made when asked for
MOST_ROWS = 512  # of a matrix made at a time
WORD = re.compile(r"\w+")
MOST_TOKENS = 2**27  # entries of a dense text-by-token table (512 MB); above, a slower sparse one


def characters(text: str) -> set[str]:
    """Characters of a text, without white space: SeLIP's unit, made for Chinese."""
    return set("".join(text.split()))


def words(text: str) -> set[str]:
    """Lower-case words of a text: the unit for English, where nearly all sentences share their letters."""
    return set(WORD.findall(text.lower()))


def dice_rows(texts: list[str], split: Split = words) -> Rows:
    """Rows of 2 |A & B| / (|A| + |B|) of the texts' token sets; two texts without any token are alike (1)."""
    tokens = _tokens([split(text) for text in texts])
    sizes = np.asarray(tokens.sum(1), np.float32).ravel()
    columns = tokens.T.toarray() if tokens.shape[0] * tokens.shape[1] <= MOST_TOKENS else tokens.T

    def rows(chosen: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row text"]:
        shared = tokens[chosen] @ columns
        shared = shared.toarray() if sparse.issparse(shared) else shared
        total = np.add.outer(sizes[chosen], sizes)
        shared[total == 0], total[total == 0] = 1, 2
        return np.divide(2 * shared, total, out=shared)

    return rows


def set_dice(texts: list[str], split: Split = words) -> Float[np.ndarray, "text text"]:
    """The Dice of the token sets of each pair of texts, see `dice_rows`."""
    return whole(dice_rows(texts, split), len(texts))


def whole(rows: Rows, n: int) -> Float[np.ndarray, "item item"]:
    """The n by n matrix, made MOST_ROWS rows at a time: less memory for what comes in between, and faster."""
    parts = [rows(np.arange(start, min(start + MOST_ROWS, n))) for start in range(0, n, MOST_ROWS)]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def cosines(emb: Float[np.ndarray, "text dim"]) -> Float[np.ndarray, "text text"]:
    """Cosine of each pair of embeddings (sentences or whole reports), below 0 taken as 0; a zero vector is like nothing."""
    if not np.isfinite(emb).all():
        raise ValueError(
            f"row {int(np.argmin(np.isfinite(emb).all(1)))} of the embeddings holds NaN or infinite values; embed it anew"
        )
    unit = emb / np.maximum(np.linalg.norm(emb, axis=1, keepdims=True), np.finfo(emb.dtype).tiny)
    return np.clip(unit @ unit.T, 0, 1)


def tfidf(texts: list[str], *, fit_on: list[str] | None = None) -> Float[np.ndarray, "text text"]:
    """Cosine of TF-IDF vectors of words, the baseline; weights from `fit_on` (training texts), else from `texts` themselves.

    A text without a known word is like nothing, itself included. Raises ValueError where no text to fit on has a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    fit_on = texts if fit_on is None else fit_on
    if not any(map(words, fit_on)):
        raise ValueError(f"none of the {len(fit_on)} texts to fit on has a word; pass texts that are not blank")
    vectors = TfidfVectorizer(token_pattern=WORD.pattern).fit(fit_on).transform(texts)
    return np.clip(vectors @ vectors.T.toarray(), 0, 1)


def _tokens(sets: list[set[str]]) -> sparse.csr_array:
    """Which text has which token, as 0 and 1."""
    number = {token: i for i, token in enumerate(sorted(set().union(*sets)))}
    columns = [number[token] for tokens in sets for token in tokens]
    rows = np.repeat(np.arange(len(sets)), [len(tokens) for tokens in sets])
    return sparse.csr_array((np.ones(len(columns), np.float32), (rows, columns)), shape=(len(sets), len(number)))
