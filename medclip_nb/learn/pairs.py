"""What a model is trained on: which units an epoch draws, and the batch that some of them make."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..config import Recipe, choose
from ..data.manifest import patients_across_splits
from ..data.studies import Units, draw_epoch
from ..data.volumes import Pixels
from ..model.dual_encoder import Texts
from .augment import moved_together
from .batch import CHUNK, Answers, Batch, Block, Pairs, Rows, Term, diagonal, similar_block
from .targets import TARGETS, Targets, from_relation, sharpened, similarity_mixed

__all__ = ["Batch", "ImagePairs", "Pairs", "Rows", "Term", "VolumePairs", "checked_splits", "full_batches"]

FEWEST_WORDS = 3  # of a reason to train although patients cross splits


@dataclass
class ImagePairs:
    """Slices, pictures or volumes with one text each.

    `features` are those of `units.texts`, `similarity` is how alike these are (for targets "similar"). Raises ValueError if a
    split is empty, if that similarity is needed and not given, or if a patient is in two splits and `overlap_because` does not
    say in words why that is wanted.
    """

    units: Units
    features: Texts
    recipe: Recipe
    overlap_because: str = ""
    similarity: Float[Tensor, "text text"] | None = None
    augment: Callable[[Tensor, np.random.Generator], Tensor] = moved_together  # of training images
    beside: tuple[Tensor, ...] = ()  # what `encode_images` takes besides images, a row for each of them

    def __post_init__(self):
        if self.recipe.targets == "similar" and self.similarity is None:
            raise ValueError(f"recipe {self.recipe.name} needs the texts' similarity; text.alike.text_similarity makes it")
        self.train, self.val = checked_splits(self.units.table, self.overlap_because)
        self._image, self._text = (self.units.table[c].to_numpy(np.int64) for c in ("image", "text_id"))
        self._true = np.unique(self._image * len(self.units.texts) + self._text)

    def epoch(self, rng: np.random.Generator, size: int) -> list[Rows]:
        """Every unit with a finding and some without, in full batches."""
        drawn = draw_epoch(self.units, self.train, rng, normals=self.recipe.normals)
        return choose(BATCHES, "batches", self.recipe.batches)(drawn, self._text[drawn], size, rng)

    def batch(self, rows: Rows, rng: np.random.Generator | None = None) -> Batch:
        """Images, augmented if there is a generator, and one column for the text of each."""
        which, text_ids = self._image[rows], torch.from_numpy(self._text[rows])
        images, beside = torch.from_numpy(self.units.images[which]), tuple(one[which] for one in self.beside)
        if rng is not None:
            images = self.augment(images, rng)
        batch = Batch((images, *beside), self.features[text_ids], text_ids, None, None)
        if len(rows) > CHUNK:
            return batch._replace(answers=self.answers(rows))
        targets, targets_t = self._targets(rows, text_ids)
        return batch._replace(targets=targets, targets_t=targets_t)

    def answers(self, rows: Rows) -> Answers:
        """What is right for some units, to be asked block by block: what a batch has in place of matrices if it is large."""
        weight = self.recipe.similarity_weight if self.recipe.targets == "similar" else 1.0
        return Answers(len(rows), len(rows), self._block(rows, torch.from_numpy(self._text[rows])), weight=weight)

    def _block(self, rows: Rows, text_ids: Int[Tensor, " text"]) -> Block:
        if self.recipe.targets == "similar":
            return similar_block(self.similarity, text_ids, power=self.recipe.power, keep=self.recipe.keep)
        blocks = {
            "identity": lambda units, texts: diagonal(units, texts, len(rows)),
            "same_text": lambda units, texts: text_ids[units, None] == text_ids[texts],
            "true_text": lambda units, texts: self._is_true(rows[units], rows[texts]),
        }
        return choose(blocks, "targets", self.recipe.targets)

    def _is_true(self, units: Rows, texts: Rows) -> Bool[Tensor, "unit text"]:
        """Whether each unit's image has, anywhere in the dataset, the text of the other."""
        pairs = self._image[units][:, None] * len(self.units.texts) + self._text[texts]
        return torch.from_numpy(np.isin(pairs, self._true))

    def _targets(self, rows: Rows, text_ids: Int[Tensor, " text"]) -> Targets:
        if self.recipe.targets == "similar":
            alike = self.similarity[text_ids[:, None], text_ids].fill_diagonal_(1)  # a unit is like itself: SeLIP's S_ii
            return similarity_mixed(
                sharpened(alike, power=self.recipe.power, keep=self.recipe.keep), self.recipe.similarity_weight
            )
        if self.recipe.targets != "true_text":
            return TARGETS[self.recipe.targets](text_ids)
        return from_relation(self._is_true(rows, rows))

    def training_features(self) -> Texts:
        """Each training text once."""
        return self.features[np.unique(self._text[self.train])]


@dataclass
class VolumePairs:
    """Volumes with the sentences of their reports: a volume owns all its sentences, and identical ones are one column.

    `volumes` are the tensors that `encode_images` takes, a row per study: slice embeddings (or pixels), mask, positions in mm.
    `sentences[i]` are the rows of `features` that belong to study i.
    """

    volumes: tuple[Tensor | Pixels, ...]
    sentences: list[Rows]
    features: Texts
    table: pd.DataFrame
    overlap_because: str = ""

    def __post_init__(self):
        self.train, self.val = checked_splits(self.table, self.overlap_because)
        silent = [i for i, own in enumerate(self.sentences) if not len(own)]
        if silent:
            raise ValueError(f"study {self.table['study_id'].iloc[silent[0]]} has no sentence; {len(silent)} studies have none")

    def epoch(self, rng: np.random.Generator, size: int) -> list[Rows]:
        """Every training study once, in full batches."""
        return full_batches(rng.permutation(self.train), size)

    def batch(self, rows: Rows, rng: np.random.Generator | None = None) -> Batch:
        """The volumes, and a column for each sentence that any of them has."""
        ids = np.unique(np.concatenate([self.sentences[i] for i in rows]))
        picked, text_ids = torch.from_numpy(rows), torch.from_numpy(ids)
        batch = Batch(tuple(v[picked] for v in self.volumes), self.features[text_ids], text_ids, None, None)
        if max(len(rows), len(ids)) > CHUNK:
            return batch._replace(answers=self.answers(rows, ids))
        targets, targets_t = from_relation(self._is_right(rows, ids))
        return batch._replace(targets=targets, targets_t=targets_t)

    def answers(self, rows: Rows, ids: Rows) -> Answers:
        """What is right for some volumes among some sentences, to be asked block by block."""
        return Answers(len(rows), len(ids), lambda units, texts: self._is_right(rows[units], ids[texts]))

    def _is_right(self, rows: Rows, ids: Rows) -> Bool[Tensor, "unit text"]:
        return torch.from_numpy(np.stack([np.isin(ids, self.sentences[i]) for i in rows]))

    def training_features(self) -> Texts:
        """Each sentence of a training report once."""
        return self.features[np.unique(np.concatenate([self.sentences[i] for i in self.train]))]


def full_batches(rows: Rows, size: int) -> list[Rows]:
    """Batches of so many rows, in order; a last one that is not full is left out, unless it is the only one."""
    size = min(size, len(rows))
    return [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]


def distinct_batches(rows: Rows, text_ids: Rows, size: int, rng: np.random.Generator) -> list[Rows]:
    """As many batches as `full_batches` gives, of `size` units (or as many as there are texts) with no text twice.

    Texts are gone through in a random order, then in another; each is there with any of its units. So a frequent text counts as
    much as a rare one: this changes the data, too, not only the false negatives. Raises ValueError for a single text.
    """
    own = _by_text(rows, text_ids)
    if len(own) < 2:
        raise ValueError(f"no batch of {size} distinct texts: the {len(rows)} units have {len(own)}; allow identical texts")
    width, batches, texts = min(size, len(own)), [], rng.permutation(len(own))
    for _ in full_batches(rows, size):
        if len(texts) < width:
            again = rng.permutation(len(own))
            texts = np.concatenate([texts, again[~np.isin(again, texts)], again[np.isin(again, texts)]])
        batches.append(np.array([rng.choice(own[t]) for t in texts[:width]]))
        texts = texts[width:]
    return batches


def balanced_batches(rows: Rows, text_ids: Rows, size: int, rng: np.random.Generator) -> list[Rows]:
    """As many batches as `full_batches` gives; each unit is any one of a text drawn freely, so that a batch may hold it twice."""
    own = _by_text(rows, text_ids)
    drawn = [rng.choice(own[t]) for t in rng.integers(len(own), size=len(rows))]
    return full_batches(np.array(drawn), size)


def _by_text(rows: Rows, text_ids: Rows) -> list[Rows]:
    """The units of each text."""
    order = np.argsort(text_ids, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(text_ids[order])) + 1)


def checked_splits(table: pd.DataFrame, overlap_because: str = "") -> tuple[Rows, Rows]:
    """Rows of the training and the validation split. Raises ValueError if one is empty or a patient is in both."""
    shared = patients_across_splits(table)
    if shared and len(overlap_because.split()) < FEWEST_WORDS:
        raise ValueError(
            f"{len(shared)} patients are in more than one split (first: {shared[0]}); split by patient, or say in "
            f"overlap_because, in at least {FEWEST_WORDS} words, why a score on patients seen in training is wanted"
        )
    rows = tuple(np.flatnonzero(table["split"] == split) for split in ("train", "val"))
    if min(map(len, rows)) < 2:
        sizes = f"train has {len(rows[0])} and val {len(rows[1])} units; each needs at least 2"
        raise ValueError(f"{sizes}: correct column 'split', or give images of more patients")
    return rows


BATCHES = {
    "shuffled": lambda rows, text_ids, size, rng: full_batches(rows, size),
    "distinct": distinct_batches,
    "balanced": balanced_batches,
}
