"""Organs with what the reports say of them: CT-GLIP's pairs (Lin et al., arXiv 2404.15272).

The unit is one organ of one scan. Its texts are the sentences of the report that find something in it, else a template that calls
it normal; an organ that a report does not mention counts as normal, as radiologists mean it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data.catalog import Dataset
from ..data.manifest import ManifestError
from ..data.organs import Organs, label_maps, load_organs
from ..data.phantoms import ORGAN_GROUPS
from ..data.studies import read_images
from ..model.text_tower import embed_texts
from ..text import dictionary
from ..text.dictionary import Dictionary, Entry
from ..text.organ_texts import normal_sentence, spoken, unit_entries
from .pairs import Rows

NONE = "none"  # the state of an organ without a finding


@dataclass(frozen=True)
class OrganTexts:
    """Sentences about organs as columns, and which unit owns which.

    Column c is the sentence `sentence[c]` (a row of the features) about organ `organ[c]`; it states `findings[c]`, of which
    "none" is one. Unit `own_unit[e]` owns column `own_column[e]`, entries in order of their unit.
    """

    sentence: Rows
    organ: Rows
    findings: Bool[np.ndarray, "column finding"]
    own_unit: Rows
    own_column: Rows


@dataclass(frozen=True)
class Negatives:
    """The dictionary as columns of `OrganTexts`: each organ's phrases and how often each occurs, 0 on padding."""

    column: Int[np.ndarray, "organ phrase"]
    count: Int[np.ndarray, "organ phrase"]

    def draw(
        self, rng: np.random.Generator, m: int, *, power: float, more: Float[np.ndarray, "organ phrase"] | float = 0.0
    ) -> Rows:
        """Up to m different phrases of every organ, with probability ~ exp(more) * count ** power, all organs at once (Gumbel's
        top m)."""
        noise = rng.gumbel(size=self.count.shape)
        noisy = np.where(self.count > 0, power * np.log(self.count.clip(min=1)) + more + noise, -np.inf)
        chosen = np.argsort(-noisy, axis=1)[:, :m]
        there = np.isfinite(np.take_along_axis(noisy, chosen, 1))
        return np.take_along_axis(self.column, chosen, 1)[there]


@dataclass(frozen=True)
class OrganUnits:
    """The organs of a dataset with their texts; row i is row i of the manifest."""

    dataset: Dataset
    organs: Organs
    unit: Int[np.ndarray, "study organ"]  # number of each organ that can be used, -1 for others
    entries: list[list[Entry]]  # what each report says of each organ
    states: tuple[str, ...]  # findings in the order of `texts.findings`, "none" first
    texts: OrganTexts
    features: Float[Tensor, "sentence width"]
    names: Float[Tensor, "organ width"]  # features of the organs' names
    dictionary: Dictionary  # of the training reports, by organ
    negatives: Negatives

    @property
    def table(self) -> pd.DataFrame:
        """The manifest."""
        return self.dataset.manifest

    def rows(self, split: str) -> Int[np.ndarray, " study"]:
        """Numbers of the studies of one split."""
        return np.flatnonzero(self.table["split"] == split)

    def of(self, rows: Rows, *, form: str = "crops") -> tuple[Rows, Rows]:
        """Place among `rows` and organ of each usable organ, in the order in which a model of that form embeds them."""
        study, organ = np.nonzero(self.unit[rows] >= 0)
        order = np.argsort(self.organs.group[0, organ], kind="stable") if form == "crops" else slice(None)
        return study[order], organ[order]

    def images(self, rows: Rows, *, form: str = "crops", boxes: bool = False) -> tuple[Tensor, ...]:
        """What a model of that form takes for all usable organs of some studies.

        "crops": crops, their masks and organs, then the same of large organs; with `boxes` the mask is the whole box, so that its
        shape cannot give the organ away. "map": volumes, label maps, and which organs are wanted.
        """
        if form == "map":
            volumes, labels = (torch.from_numpy(array[rows]) for array in self.volumes)
            return volumes, labels, torch.from_numpy(self.unit[rows] >= 0)
        study, organ = self.of(rows)
        kind, place = self.organs.group[:, organ]
        parts = []
        for large, crops in enumerate(self.organs.crops):
            own = kind == large
            picked = torch.from_numpy(crops[rows[study[own]], place[own]])
            parts += [
                picked[:, :-1],
                torch.full_like(picked[:, -1], 255) if boxes else picked[:, -1],
                torch.from_numpy(organ[own]),
            ]
        return tuple(parts)

    @cached_property
    def volumes(self) -> tuple[np.ndarray, np.ndarray]:
        """Whole volumes and their label maps, for the paper's form."""
        return read_images(self.dataset), label_maps(self.dataset, self.organs.names)


def organ_units(dataset: Dataset, names: tuple[str, ...] = tuple(ORGAN_GROUPS)) -> OrganUnits:
    """Organs, sentences and dictionary of a dataset; the dictionary is built from its training reports."""
    organs = load_organs(dataset, names)
    unit = np.where(organs.used, np.cumsum(organs.used).reshape(organs.used.shape) - 1, -1)
    said = [unit_entries(report, names) for report in dataset.manifest["report"]]
    train = np.flatnonzero(dataset.manifest["split"] == "train")
    known = dictionary.build([entry for i in train for entry in said[i] if entry.findings])
    stated = [Entry(organ, text, phrase.findings) for organ, own in known.items() for text, phrase in own.items()]
    normal = [Entry(name, normal_sentence(name), frozenset()) for name in names]
    columns = {(e.organ, e.text): e.findings for e in [*normal, *stated, *(e for own in said for e in own)]}
    place = {key: number for number, key in enumerate(columns)}
    if not organs.used.any():
        raise ManifestError(f"{dataset.name}: no organ of any study can be used: {organs.counts().to_dict('records')}")
    own = sorted(
        (unit[i, names.index(e.organ)], place[e.organ, e.text])
        for i, entries in enumerate(said)
        for e in entries
        if unit[i, names.index(e.organ)] >= 0
    )
    sentences, states, texts = _as_columns(columns, np.array(own), names)
    negatives = _as_negatives(known, names, place)
    features, spoken_names = embed_texts(sentences), embed_texts([spoken(name) for name in names])
    return OrganUnits(dataset, organs, unit, said, states, texts, features, spoken_names, known, negatives)


def _as_columns(
    columns: dict[tuple[str, str], frozenset[str]], own: Int[np.ndarray, "entry 2"], names: tuple[str, ...]
) -> tuple[list[str], tuple[str, ...], OrganTexts]:
    """Unique sentences, states, and (organ, sentence) pairs as arrays."""
    sentences = sorted({text for _, text in columns})
    number = {text: i for i, text in enumerate(sentences)}
    states = (NONE, *sorted(set().union(*columns.values())))
    findings = np.array([[state in stated if stated else state == NONE for state in states] for stated in columns.values()])
    sentence, organ = np.array([[number[text], names.index(name)] for name, text in columns]).T
    return sentences, states, OrganTexts(sentence, organ, findings, own[:, 0], own[:, 1])


def _as_negatives(known: Dictionary, names: tuple[str, ...], place: dict[tuple[str, str], int]) -> Negatives:
    longest = max((len(own) for own in known.values()), default=0)
    column, count = np.zeros((2, len(names), longest), int)
    for k, name in enumerate(names):
        for j, (text, phrase) in enumerate(known.get(name, {}).items()):
            column[k, j], count[k, j] = place[name, text], phrase.count
    return Negatives(column, count)
