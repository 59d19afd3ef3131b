"""CT-GLIP's batches: organs of some studies, their sentences, and the dictionary's phrases as further negatives.

Everything is asked within an organ: a liver is matched with texts about livers. A text that shares a finding with a unit, and is
not its own, is neither right nor wrong for it and leaves both softmaxes; with a similarity (ours, after SeLIP) it is right by as
much as it resembles the unit's own sentences, as other texts about the organ are.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from ..config import Recipe
from ..model.dual_encoder import Texts
from .batch import CHUNK, Answers, Batch, Rows, Term
from .organ_units import OrganUnits
from .pairs import checked_splits, full_batches
from .targets import ALL, class_level


@dataclass
class OrganPairs:
    """Organs with the sentences of their reports. Rows are studies; a batch has a unit for each organ that can be used.

    `form` is the model's: "crops" (one by one), "map" (the volume with its label map). With `boxes` masks of crops say nothing.
    """

    units: OrganUnits
    recipe: Recipe
    form: str = "crops"
    boxes: bool = False
    overlap_because: str = ""

    def __post_init__(self):
        splits, self.texts = checked_splits(self.units.table, self.overlap_because), self.units.texts
        self.train, self.val = (rows[(self.units.unit[rows] >= 0).any(1)] for rows in splits)
        if min(len(self.train), len(self.val)) < 2:
            n = f"train has {len(self.train)} and val {len(self.val)}"
            raise ValueError(f"{n} studies with an organ that can be used; each needs 2: look at Organs.counts()")
        self._start = np.searchsorted(self.texts.own_unit, np.arange(self.units.unit.max() + 2))
        if self.recipe.similarity not in ("", "semantic"):
            raise ValueError(
                f"sentences about organs are compared by meaning: similarity is 'semantic', not {self.recipe.similarity!r}"
            )
        self._has = np.logical_or.reduceat(self.texts.findings[self.texts.own_column], self._start[:-1])  # (unit, finding)

    def epoch(self, rng: np.random.Generator, size: int) -> list[Rows]:
        """Every training study once, in full batches."""
        return full_batches(rng.permutation(self.train), size)

    def batch(self, rows: Rows, rng: np.random.Generator | None = None) -> Batch:
        """All usable organs of some studies; the dictionary's phrases are drawn by `rng`, and none are without it."""
        study, organ = self.units.of(rows, form=self.form)
        units, images = self.units.unit[rows[study], organ], self.units.images(rows, form=self.form, boxes=self.boxes)
        columns, answers = self.answers(units, organ, self._drawn(units, rng))
        text_ids, features = torch.from_numpy(columns), self.units.features[torch.from_numpy(self.texts.sentence[columns])]
        also = (self._names(torch.from_numpy(organ)),) if self.recipe.names_weight else ()
        if max(len(units), len(columns)) > CHUNK:
            return Batch(images, features, text_ids, None, None, None, also, answers)
        (targets, valid), (targets_t, _) = answers.of_units(ALL), answers.of_texts(slice(0, answers.n_owned))
        return Batch(images, features, text_ids, targets, targets_t, valid, also)

    def relation(
        self, units: Rows, organ: Rows, drawn: Rows
    ) -> tuple[Rows, Bool[np.ndarray, "unit column"], Bool[np.ndarray, "unit column"]]:
        """Columns of a batch, own ones first and drawn ones after; which are right for each unit, and which are asked at all."""
        columns, answers = self.answers(units, organ, drawn)
        return columns, answers.block(ALL, ALL).numpy(), answers.valid(ALL, ALL).numpy()

    def answers(self, units: Rows, organ: Rows, drawn: Rows) -> tuple[Rows, Answers]:
        """Columns of a batch, and what is right and what is asked, block by block."""
        entries, of_unit = self._entries(units)
        own, place = np.unique(self.texts.own_column[entries], return_inverse=True)
        columns = np.concatenate([own, np.setdiff1d(drawn, own)])

        def right(rows: slice, texts: slice) -> Bool[Tensor, "unit column"]:
            found = np.zeros((len(units[rows]), len(columns[texts])), bool)
            (first, last, _), (left, end, _) = rows.indices(len(units)), texts.indices(len(columns))
            inside = (first <= of_unit) & (of_unit < last) & (left <= place) & (place < end)
            found[of_unit[inside] - first, place[inside] - left] = True
            return torch.from_numpy(found)

        def asked(rows: slice, texts: slice) -> Bool[Tensor, "unit column"]:
            has, says = self._has[units[rows]].astype(np.float32), self.texts.findings[columns[texts]].astype(np.float32)
            same_organ = organ[rows, None] == self.texts.organ[columns[texts]]
            return torch.from_numpy(same_organ) & (right(rows, texts) | torch.from_numpy(has @ says.T == 0))

        hard = Answers(len(units), len(own), right, asked)
        return columns, self._softened(hard, columns, organ, of_unit, place) if self.recipe.similarity else hard

    def _softened(self, hard: Answers, columns: Rows, organ: Rows, of_unit: Rows, place: Rows) -> Answers:
        """The same, but owned texts about the same organ are right by the cosine with the nearest of the unit's own sentences."""
        said = self.texts.sentence[columns]

        def alike(rows: slice, texts: slice) -> Float[Tensor, "unit column"]:
            first, last, _ = rows.indices(hard.n_units)
            inside = (first <= of_unit) & (of_unit < last)
            cosines = self._meaning[said[place[inside]]] @ self._meaning[said[texts]].T
            found = torch.zeros(last - first, cosines.shape[1])  # what points the other way is unlike
            unit = torch.from_numpy(of_unit[inside] - first)[:, None].expand_as(cosines)
            found.scatter_reduce_(0, unit, cosines, "amax")
            owned = np.arange(len(columns))[texts] < hard.n_owned
            there = torch.from_numpy((organ[rows, None] == self.texts.organ[columns[texts]]) & owned)
            return torch.where(hard.block(rows, texts), 1.0, there * found**self.recipe.power)

        def asked(rows: slice, texts: slice) -> Bool[Tensor, "unit column"]:
            return hard.valid(rows, texts) | (alike(rows, texts) > 0)

        return replace(hard, block=alike, valid=asked, weight=self.recipe.similarity_weight, own=hard.block)

    @cached_property
    def _meaning(self) -> Float[Tensor, "sentence width"]:
        """What sentences are compared by: their features less the mean of the training reports'."""
        return normalize(self.units.features - self.training_features().mean(0), dim=1)

    def training_features(self) -> Texts:
        """Each sentence of a training report once."""
        units = self.units.unit[self.train]
        entries, _ = self._entries(units[units >= 0])
        return self.units.features[np.unique(self.texts.sentence[self.texts.own_column[entries]])]

    def _drawn(self, units: Rows, rng: np.random.Generator | None) -> Rows:
        if rng is None or not self.recipe.n_dictionary:
            return np.zeros(0, np.int64)
        return self.units.negatives.draw(rng, self.recipe.n_dictionary, power=self.recipe.dictionary_power)

    def _entries(self, units: Rows) -> tuple[Rows, Rows]:
        """Numbers of the entries (own_unit, own_column) of some units, and the place of each entry's unit among them."""
        n = self._start[units + 1] - self._start[units]
        of_unit = np.repeat(np.arange(len(units)), n)
        within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        return self._start[units][of_unit] + within, of_unit

    def _names(self, organ: Int[Tensor, " unit"]) -> Term:
        """Organ-text alignment: every unit of an organ is right for its name (class level), names of absent organs stand last."""
        number = torch.arange(len(self.units.names))
        there = torch.isin(number, organ)
        order = torch.cat([number[there], number[~there]])
        return Term(self.units.names[order], order, *class_level(organ, order), weight=self.recipe.names_weight)
