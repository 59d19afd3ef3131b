"""Which ruler SeLIP's targets are made with: how alike two texts are, by their findings or by their sentence embeddings.

`text_similarity("selip", found, emb)` gives the matrix that `learn.pairs.ImagePairs` takes. A text without findings is healthy
(`[]`) or was not understood (`None`): the second kind is compared by its embedding, whatever the ruler.
"""

import math
from collections import Counter

import numpy as np
from jaxtyping import Float

from ..config import choose
from .rulers import cosines, dice_rows, whole, words
from .similarity import Pair, best_match, finding_scores, indexed, mean_of_pairs, signal_class

PLACE_SHARE = 0.8  # of a finding's score that its location decides in the ruler "place"; SeLIP has a half
Findings = list[list[Pair] | None]


def text_similarity(
    ruler: str, found: Findings, emb: Float[np.ndarray, "text dim"], *, fit_on: Findings | None = None
) -> Float[np.ndarray, "text text"]:
    """How alike unique texts are, from 0 to 1, by a ruler of RULERS; `emb` are their sentence embeddings, centred.

    `fit_on` are the texts that "rare" counts words in (training texts; all if None). Raises ValueError for an unknown ruler.
    """
    if len(found) != len(emb):
        raise ValueError(f"{len(found)} texts and {len(emb)} embeddings: one for each is needed")
    by_meaning = cosines(emb)
    if choose(RULERS, "ruler", ruler) is None:
        return by_meaning
    known = [own or [] for own in found]
    counted = [own for own in (found if fit_on is None else fit_on) if own]
    sim = RULERS[ruler](known, counted).astype(np.float32)
    unread = np.array([own is None for own in found], bool)
    return np.where(unread[:, None] | unread, by_meaning, sim)


def selip(found: list[list[Pair]], counted: list[list[Pair]]) -> Float[np.ndarray, "text text"]:
    """SeLIP as published, with sets of words for its sets of characters: mean over all pairs, healthy is like nothing."""
    findings, which = indexed(found)
    return mean_of_pairs(finding_scores(findings, words), which)


def selip_healthy(found: list[list[Pair]], counted: list[list[Pair]]) -> Float[np.ndarray, "text text"]:
    """The same, but healthy texts are like each other."""
    healthy = np.array([not own for own in found], bool)
    return selip(found, counted) + np.logical_and.outer(healthy, healthy)


def best(found: list[list[Pair]], counted: list[list[Pair]]) -> Float[np.ndarray, "text text"]:
    """Each finding's best partner; healthy texts are alike."""
    findings, which = indexed(found)
    return best_match(finding_scores(findings, words), which)


def place(found: list[list[Pair]], counted: list[list[Pair]]) -> Float[np.ndarray, "text text"]:
    """`best`, with PLACE_SHARE of a finding's score for its location: a signal is shared by most findings and tells little."""
    findings, which = indexed(found)
    return best_match(_weighted(findings, {None: PLACE_SHARE}, {None: 1 - PLACE_SHARE}), which)


def rare(found: list[list[Pair]], counted: list[list[Pair]]) -> Float[np.ndarray, "text text"]:
    """`best`, in which a location or a signal counts the more the fewer texts have it (inverse document frequency)."""
    findings, which = indexed(found)
    places, signals = ([{part(f) for f in own} for own in counted] for part in (lambda f: f[0], lambda f: signal_class(f[1])))
    return best_match(_weighted(findings, _rarity(places), _rarity(signals)), which)


def _rarity(sets: list[set[str]]) -> dict[str | None, float]:
    """log (1 + texts / texts that have it); under None, that of what no text has."""
    counts, n = Counter(name for own in sets for name in own), max(1, len(sets))
    return {None: math.log(1 + n)} | {name: math.log(1 + n / count) for name, count in counts.items()}


def _weighted(
    findings: list[Pair], of_place: dict[str | None, float], of_signal: dict[str | None, float]
) -> Float[np.ndarray, "finding finding"]:
    """The weight of what two findings share over the mean of all they have, times the Dice of their words."""
    places, signals = np.array([f[0] for f in findings], object), np.array([signal_class(f[1]) for f in findings], object)
    w_place = np.array([of_place.get(name, of_place[None]) for name in places])
    w_signal = np.array([of_signal.get(name, of_signal[None]) for name in signals])
    shared = (places[:, None] == places) * w_place + (signals[:, None] == signals) * w_signal
    total = w_place + w_signal
    dice = whole(dice_rows([f"{location} {signal}" for location, signal in findings], words), len(findings))
    return (2 * shared / np.add.outer(total, total) * dice).astype(np.float32)


# ruler -> function; None: the sentence embeddings alone
RULERS = {"selip": selip, "selip_healthy": selip_healthy, "best": best, "place": place, "rare": rare, "semantic": None}
