"""What lessons 08 and 12 and `medclip-nb claims` ask of SeLIP: units, texts and their findings, training, retrieval, scores."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..config import HEAD_BATCH, HEAD_TOWER, Preset, Recipe, choose
from ..data.catalog import Dataset
from ..data.phantoms.head import FIELD_MM, SEQUENCES, STUDIES, structured
from ..data.studies import Units, row_units
from ..learn.augment import moved_and_dimmed
from ..learn.pairs import ImagePairs
from ..learn.plan import Plan, best_precision
from ..model.adapter import SliceAdapter, build_adapter
from ..model.dual_encoder import DualEncoder, TextSide, build_model
from ..model.text_tower import embed_texts
from ..text.alike import Findings, text_similarity
from ..text.reports import findings, normal_organs
from ..text.sections import sections
from ..text.similarity import Pair
from ..text.similarity import pairs as pairs_of

NOTHING = "no abnormal signal"
WORDINGS = {"structured": False, "free": True}  # -> whether the report's own words are taken
EMBEDDED_AT_A_TIME = 128
READ_SHARE = 0.75  # of training texts that the rules must understand, or findings are left alone (measured on MedPix captions)


@dataclass
class HeadUnits:
    """MR volumes with a text each, and what they show. Row i of `shown` and `kinds` is row i of `units.table`."""

    units: Units
    shown: list[list[Pair]]  # (location, signal) of each finding of a unit
    kinds: list[set[str]]
    features: Tensor  # of `units.texts`

    @property
    def table(self) -> pd.DataFrame:
        """A row per unit."""
        return self.units.table

    @cached_property
    def found(self) -> list[list[Pair]]:
        """What each text of `units.texts` finds."""
        of_text = dict(zip(self.table["text_id"], self.shown, strict=True))
        return [of_text[i] for i in range(len(self.units.texts))]

    @cached_property
    def keys(self) -> np.ndarray:
        """One number per unit; units of equal findings, in any order and words, have the same."""
        return pd.factorize(pd.Series([";".join(sorted(f"{p} {s}" for p, s in own)) for own in self.shown]))[0]

    def rows(self, split: str) -> Int[np.ndarray, " unit"]:
        """Units of one split."""
        return self.units.rows(split)


def head_units(data: Dataset, *, wording: str = "structured", sequences: tuple[str, ...] = (), n_train: int = 0) -> HeadUnits:
    """The volumes of a head MR dataset whose manifest says what they show; some sequences, the first `n_train` training studies.

    `wording` "structured" writes findings as SeLIP does, "at … shows …", and "free" takes the section FINDINGS of the report.
    Raises ValueError for another wording, and where no volume is of these sequences.
    """
    table = data.manifest[data.manifest["sequence"].isin(sequences)] if sequences else data.manifest
    if table.empty:
        raise ValueError(
            f"{data.name} has no volume of {', '.join(sequences)}; it has {', '.join(sorted(set(data.manifest['sequence'])))}"
        )
    if n_train:
        study = table["study_id"].str.rpartition("-")[0]
        first = study[table["split"] == "train"].unique()[:n_train]
        table = table[(table["split"] != "train") | study.isin(first)]
    shown = [shown_by(text) for text in table["findings"]]
    kinds = [{f["kind"] for f in said(text)} for text in table["findings"]]
    free = choose(WORDINGS, "wording", wording)
    texts = [sections(text)["findings"] for text in table["report"]] if free else [write(own) for own in shown]
    table = table.assign(report=texts).reset_index(drop=True)
    table.attrs.update(data.manifest.attrs)
    units = row_units(replace(data, manifest=table))
    return HeadUnits(units, shown, kinds, embed_texts(units.texts))


def said(column: str) -> list[dict]:
    """What the manifest's column `findings` says of a volume."""
    return json.loads(column)


def shown_by(column: str) -> list[Pair]:
    """(location, signal) of each finding, sorted: the order of a report's findings says nothing."""
    return sorted(structured(said(column)))


def text_of(column: str) -> str:
    """The structured text of a volume."""
    return write(shown_by(column))


def write(found: list[Pair]) -> str:
    """Findings as SeLIP writes them."""
    return ", ".join(f"at {location} shows {signal}" for location, signal in found) or NOTHING


def pairs(
    heads: HeadUnits, recipe: Recipe, *, beside: tuple[Tensor, ...] = (), kind: type[ImagePairs] = ImagePairs
) -> ImagePairs:
    """What SeLIP is trained on: volumes, texts, and how alike the texts are where the recipe asks."""
    sim = text_matrix(heads.units, heads.features, recipe, heads.found)
    return kind(heads.units, heads.features, recipe, similarity=sim, augment=moved_and_dimmed, beside=beside)


def text_matrix(
    units: Units, features: Tensor, recipe: Recipe, found: Findings | None = None
) -> Float[Tensor, "text text"] | None:
    """How alike the texts of some units are by the recipe's ruler; None where the recipe does not ask.

    What nobody says that the texts find is read from them, if they are of a kind that the rules understand; else all texts are
    compared by their sentence embeddings.
    """
    if recipe.targets != "similar":
        return None
    train = training_texts(units)
    if found is None:
        found = read_findings(units.texts)
        found = found if share_read(found, train) >= READ_SHARE else [None] * len(found)
    emb = (features - features[train].mean(0)).numpy()
    return torch.from_numpy(text_similarity(recipe.similarity, found, emb, fit_on=[found[i] for i in train]))


def share_read(found: Findings, texts: Int[np.ndarray, " text"]) -> float:
    """Of some texts, the share whose findings the rules read, or that they call normal."""
    return float(np.mean([found[i] is not None for i in texts]))


def read_findings(texts: list[str]) -> Findings:
    """What texts of any kind find, by the rules of lesson 03: organ and finding; None where they find nothing and call nothing
    normal, so that nobody knows."""
    found = [pairs_of(findings(text)) for text in texts]
    return [own or ([] if normal_organs(text) else None) for own, text in zip(found, texts, strict=True)]


def centred(heads: HeadUnits, texts: list[str]) -> Float[np.ndarray, "text dim"]:
    """Sentence embeddings of any texts less the mean of the training texts: what all sentences share says nothing."""
    return (embed_texts(texts) - heads.features[training_texts(heads.units)].mean(0)).numpy()


def training_texts(units: Units) -> Int[np.ndarray, " text"]:
    """Numbers of the texts that training units have."""
    return np.unique(units.table["text_id"].to_numpy()[units.rows("train")])


def head_plan(preset: Preset, n_units: int, *, seed: int) -> Plan:
    """How a head encoder trains: as many steps for a part of the cohort as for all of it."""
    cohort = len(SEQUENCES) * STUDIES[preset.name][0]
    epochs = max(1, round(preset.head_epochs * cohort / n_units))
    return Plan(epochs, HEAD_BATCH, preset.learning_rate, best_precision(False), seed)


def head_model(heads: HeadUnits, recipe: Recipe, *, seed: int) -> DualEncoder:
    """A fresh model for volumes that keeps what is where."""
    channels = heads.units.images.shape[1]
    return build_model(recipe, image_tower=HEAD_TOWER, channels=channels, seed=seed, dims=3, map_pooling="grid")


def slice_model(heads: HeadUnits, recipe: Recipe, *, seed: int) -> SliceAdapter:
    """A fresh model of the other kind: the same tower on slices, which RadCLIP's adapter makes one volume, trained together."""
    channels = heads.units.images.shape[1]
    encoder = build_model(recipe, image_tower=HEAD_TOWER, channels=channels, seed=seed, map_pooling="grid")
    return build_adapter("self_attention", encoder, seed=seed, end_to_end=True)


def slice_places(heads: HeadUnits) -> tuple[Tensor, Tensor]:
    """What the other kind takes besides images: which slices are there (all), and where they lie in mm."""
    n, n_slices = len(heads.units.images), heads.units.images.shape[2]
    position = torch.arange(n_slices) * (FIELD_MM[0] / n_slices)
    return torch.ones(n, n_slices, dtype=torch.bool), position.float().expand(n, -1)


@torch.inference_mode()
def embed(
    model: TextSide, heads: HeadUnits, rows: Int[np.ndarray, " unit"], *, beside: tuple[Tensor, ...] = ()
) -> Float[np.ndarray, "unit dim"]:
    """Embeddings of some units."""
    return np.concatenate([model.encode_images(*part).float().numpy() for part in _parts(heads, rows, beside)])


@torch.inference_mode()
def features(model: DualEncoder, heads: HeadUnits, rows: Int[np.ndarray, " unit"]) -> Float[np.ndarray, "unit width"]:
    """What a probe reads of some units."""
    return np.concatenate([model.features(*part).float().numpy() for part in _parts(heads, rows, ())])


def _parts(heads: HeadUnits, rows: Int[np.ndarray, " unit"], beside: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    which = heads.table["image"].to_numpy()[rows]
    for part in np.array_split(which, -(-len(which) // EMBEDDED_AT_A_TIME)):
        yield torch.from_numpy(heads.units.images[part]), *(one[part] for one in beside)
