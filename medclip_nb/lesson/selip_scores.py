"""What SeLIP's lessons ask of a trained model on head MR: retrieval both ways, probes of frozen features, zero-shot states."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int

from ..measure.findings import Truth
from ..measure.retrieval import chance_ndcg_at, chance_recall_at, first_ranks, ndcg_at, recall_at
from ..measure.transfer import probe
from ..model.dual_encoder import TextSide
from ..model.text_tower import embed_texts
from ..text.similarity import Pair, signal_class
from .selip import NOTHING, HeadUnits, write

FEWEST = 5  # test volumes with a location or kind: fewer, and nothing is asked about it
I2T, T2I = "image to text", "text to image"
RECALLS, CUT = (1, 10), 10  # k of R@k and of nDCG@k
SHAPES = ("punctate", "patchy", "large")  # of prompts


def gains(a: list[list[Pair]], b: list[list[Pair]]) -> Float[np.ndarray, "query item"]:
    """Graded relevance that no target is made of: 2 |A & B| / (|A| + |B|) of the sets of (location, signal class).

    Two healthy texts are 1.
    """
    sets = [[{(place, signal_class(signal)) for place, signal in own} for own in side] for side in (a, b)]
    return np.array([[2 * len(x & y) / (len(x) + len(y)) if x or y else 1.0 for y in sets[1]] for x in sets[0]])


class Asked(NamedTuple):
    """The queries of a split, both ways: the image of each abnormal unit looks for texts, its text looks for images."""

    sick: Int[np.ndarray, " query"]  # which of the rows ask
    texts: Int[np.ndarray, " text"]  # of the split, each once
    own: Int[np.ndarray, " query"]  # which of these texts is the query's own
    right: dict[str, Bool[np.ndarray, "query item"]]  # by way: the findings are the same
    gain: dict[str, Float[np.ndarray, "query item"]]


def asked(heads: HeadUnits, rows: Int[np.ndarray, " unit"]) -> Asked:
    """What is asked of some units, and what is right: one text may be right for several images."""
    texts, first, number = np.unique(heads.table["text_id"].to_numpy()[rows], return_index=True, return_inverse=True)
    sick = np.flatnonzero([bool(heads.shown[i]) for i in rows])
    shown, keys = [heads.shown[i] for i in rows], heads.keys[rows]
    wanted = [shown[i] for i in sick]
    right = {I2T: keys[sick, None] == keys[first], T2I: keys[sick, None] == keys}
    gain = {I2T: gains(wanted, [shown[i] for i in first]), T2I: gains(wanted, shown)}
    return Asked(sick, texts, number[sick], right, gain)


def retrieval(
    heads: HeadUnits, rows: Int[np.ndarray, " unit"], image_emb: Float[np.ndarray, "unit dim"], model: TextSide
) -> dict[str, Float[np.ndarray, " query"]]:
    """R@1, R@10 and nDCG@10 of each query of `asked`."""
    queries, found = asked(heads, rows), {}
    with torch.inference_mode():
        sim = image_emb @ model.encode_texts(heads.features[queries.texts]).float().numpy().T
    for way, similarity in ((I2T, sim[queries.sick]), (T2I, sim.T[queries.own])):
        ranks = first_ranks(similarity, queries.right[way])
        found |= {f"{way}, R@{k}": recall_at(ranks, k) for k in RECALLS}
        found[f"{way}, nDCG@{CUT}"] = ndcg_at(similarity, queries.gain[way], CUT)
    return found


def retrieval_chances(queries: Asked) -> dict[str, float]:
    """Each measure of `retrieval` in a random order."""
    recalls = {f"{way}, R@{k}": chance_recall_at(right, k) for way, right in queries.right.items() for k in RECALLS}
    return recalls | {f"{way}, nDCG@{CUT}": chance_ndcg_at(gain, CUT) for way, gain in queries.gain.items()}


def truth(heads: HeadUnits, rows: Int[np.ndarray, " unit"], *, of: str) -> Truth:
    """Which units show a finding at which location ("location"), of which kind ("kind"), or
    at which location with which class of signal ("state")."""
    counts = pd.Series([name for i in rows.tolist() for name in names_of(heads, i, of=of)], dtype=object).value_counts()
    names = tuple(sorted(counts.index[counts >= FEWEST]))
    labels = label_matrix(heads, rows, names, of=of)
    return Truth(names, labels, np.ones_like(labels), heads.table["patient_id"].to_numpy(str)[rows])


def label_matrix(
    heads: HeadUnits, rows: Int[np.ndarray, " unit"], names: Sequence[str], *, of: str
) -> Bool[np.ndarray, "unit name"]:
    """Which units have which of the names."""
    return np.array([[name in names_of(heads, i, of=of) for name in names] for i in rows.tolist()], bool).reshape(
        len(rows), len(names)
    )


def names_of(heads: HeadUnits, unit: int, *, of: str) -> set[str]:
    """The locations, the kinds or the states (both location and class of signal) of a unit's findings."""
    if of == "kind":
        return heads.kinds[unit]
    return {place if of == "location" else f"{place}, {signal_class(signal)}" for place, signal in heads.shown[unit]}


def probe_scores(
    heads: HeadUnits, features: dict[str, Float[np.ndarray, "_ width"]], *, of: str
) -> dict[str, Float[np.ndarray, "_ name"]]:
    """What a linear probe of frozen features (`measure.transfer.probe`) says of the names of `truth` on "val" and on "test"."""
    asked = {split: truth(heads, heads.rows(split), of=of).names for split in ("val", "test")}
    names = sorted({name for own in asked.values() for name in own})
    labels = {split: label_matrix(heads, heads.rows(split), names, of=of) for split in features}
    said = probe(features, labels)
    return {split: scores[:, [names.index(name) for name in asked[split]]] for split, scores in said.items()}


@torch.inference_mode()
def zero_shot(
    model: TextSide, heads: HeadUnits, rows: Int[np.ndarray, " unit"], image_emb: Float[np.ndarray, "unit dim"]
) -> Float[np.ndarray, "unit state"]:
    """Of each state of `truth(of="state")`: cosine with the mean of its prompts less the cosine with "no abnormal signal"."""
    states = truth(heads, rows, of="state").names
    if not states:
        return np.zeros((len(rows), 0), np.float32)
    texts = [model.encode_mean(embed_texts(prompts(*state.split(", ")))) for state in states]
    healthy = model.encode_texts(embed_texts([NOTHING]))
    return image_emb @ (torch.stack(texts) - healthy).float().numpy().T


def prompts(location: str, signal: str) -> list[str]:
    """A finding in SeLIP's form, in each shape that its signal comes in."""
    shapes = [f"{shape} {signal}" for shape in SHAPES] if signal.endswith(" signal") and " " not in signal[:-7] else [signal]
    return [write([(location, shape)]) for shape in shapes]
