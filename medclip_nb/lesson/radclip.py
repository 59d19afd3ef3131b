"""What lessons 05 and 06 and `medclip-nb claims` ask of RadCLIP: what is so, prompts, scores of slices and volumes."""

import json
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..config import ADAPTER_BATCH, ADAPTER_RATE, PROMPT_TAU, RECIPES, Preset
from ..data.catalog import Dataset
from ..data.manifest import ManifestError
from ..data.phantoms import FINDING_PHRASES, ORGAN_GROUPS, caption, finding_phrase
from ..data.phantoms.vocabulary import kind_of
from ..data.studies import Units
from ..data.volumes import Pixels, Stacks, stack
from ..learn.pairs import Rows, VolumePairs
from ..learn.plan import Plan, best_precision
from ..learn.pretrain import pretrain
from ..measure.embeddings import embed_chosen
from ..measure.findings import Truth
from ..model.adapter import SliceAdapter, with_encoder
from ..model.dual_encoder import DualEncoder, TextSide
from ..model.pooling import mean_weights, prompt_attention, weighted
from ..model.text_tower import embed_texts
from ..text.reports import stating
from ..text.sections import told

FOCAL_SHARE = 0.13  # a finding seen in at most this share of a volume's slices (4 of 32), in the median, is focal
END_TO_END_SHARE, END_TO_END_BATCH, END_TO_END_RATE = 13, 16, 0.1  # of the adapter's epochs; volumes; of its rate
WITHIN = ("region", "organ")  # what a slice must show to be asked for a finding
PICTURE_STEP_MM = 5.0  # between pictures of a stack whose positions nobody wrote down
ORGAN_OF = {phrase: organ for (organ, _), phrase in FINDING_PHRASES.items()}


def slice_truth(units: Units, images: Int[np.ndarray, " slice"], *, within: str) -> Truth:
    """Which slices show which finding. Asked are slices of the body regions where it occurs and, `within` "organ", only those
    of them that show its organ: else half of the answer is where the slice lies. Raises ValueError for another `within`."""
    if within not in WITHIN:
        raise ValueError(f"unknown within {within!r}; choose one of: {', '.join(WITHIN)}")
    table = units.table[units.table["image"].isin(images)]
    shown = table.groupby("image")["finding"].agg(set).reindex(images)
    first = table.groupby("image").first().reindex(images)
    names = tuple(sorted(set().union(*shown) - {""}))
    labels = np.array([[name in here for name in names] for here in shown]).reshape(len(images), len(names))
    region = first["body_part"].to_numpy()
    asked = np.stack([np.isin(region, region[labels[:, k]]) for k in range(len(names))], 1)
    if within == "organ":
        wanted = [classes_of(ORGAN_OF[name]) for name in names]
        asked &= np.array([[not own.isdisjoint(here) for own in wanted] for here in first["organs"]])
    return Truth(names, labels, asked, first["patient_id"].to_numpy(str))


def classes_of(organ: str) -> frozenset[str]:
    """The mask classes of an organ, both sides together: "kidney" -> kidney_left, kidney_right."""
    return frozenset(c for group, classes in ORGAN_GROUPS.items() if kind_of(group) == organ for c in classes)


@torch.inference_mode()
def slice_scores(
    model: TextSide, image_emb: Float[np.ndarray, "slice dim"], regions: np.ndarray, names: tuple[str, ...]
) -> Float[np.ndarray, "slice finding"]:
    """Cosine with "{region} CT, {finding}", the caption that the slice would have if it showed the finding."""
    places, which = np.unique(regions.astype(str), return_inverse=True)
    texts = [caption(place, name) for place in places for name in names]
    emb = model.encode_texts(embed_texts(texts)).numpy().reshape(len(places), len(names), -1)
    return np.einsum("sd,snd->sn", image_emb, emb[which])


def volume_truth(table: pd.DataFrame) -> Truth:
    """Which studies have which finding; all are asked."""
    found = [{finding_phrase(f) for f in json.loads(text)} for text in table["findings"]]
    names = tuple(sorted(set().union(*found)))
    labels = np.array([[name in here for name in names] for here in found])
    return Truth(names, labels, np.ones_like(labels), table["patient_id"].to_numpy(str))


def focal(units: Units) -> list[str]:
    """Findings that the median training study which has them shows in at most FOCAL_SHARE of its slices."""
    share = extent(units)
    return sorted(share.index[share <= FOCAL_SHARE])


def extent(units: Units) -> pd.Series:
    """Share of a study's slices that show each finding: the median over the training studies that have it."""
    train = units.table[(units.table["split"] == "train") & (units.table["finding"] != "")]
    if train.empty:
        return pd.Series(dtype=float)
    n_slices = units.table.groupby("study_id")["image"].nunique().iloc[0]
    return (train.groupby(["finding", "study_id"])["image"].nunique().groupby("finding").median() / n_slices).sort_values()


@dataclass
class Volumes:
    """Studies as stacks of slice embeddings, with the sentences of their reports; row i is row i of `table`."""

    stacks: Stacks
    table: pd.DataFrame
    sentences: list[str]  # unique
    said: list[Rows]  # of each study
    features: Float[Tensor, "sentence dim"]

    def pairs(self) -> VolumePairs:
        """What an adapter is trained on."""
        return VolumePairs(tuple(self.stacks[:3]), self.said, self.features, self.table)

    @cached_property
    def prompts(self) -> dict[str, Rows]:
        """Finding -> numbers of the training sentences that state it and nothing else."""
        train = sorted(set(np.concatenate([self.said[i] for i in self.rows("train")])))
        number = {sentence: i for i, sentence in enumerate(self.sentences)}
        stated = stating(self.sentences[i] for i in train)
        return {phrase: np.array([number[s] for s in stated.get(pair, [])], int) for pair, phrase in FINDING_PHRASES.items()}

    def prompt_features(self, finding: str) -> Float[Tensor, "prompt dim"]:
        """Features of a finding's prompts. Raises ValueError if no training report states it on its own."""
        if not len(self.prompts[finding]):
            raise ValueError(f"no sentence of a training report states {finding!r} and nothing else; leave the finding out")
        return self.features[self.prompts[finding]]

    def rows(self, split: str) -> Int[np.ndarray, " study"]:
        """Numbers of the studies of one split."""
        return np.flatnonzero(self.table["split"] == split)

    def of(self, rows: Int[np.ndarray, " study"]) -> tuple[Tensor, Tensor, Tensor]:
        """Slices, mask and positions of some studies."""
        return tuple(part[torch.from_numpy(rows)] for part in self.stacks[:3])


def volumes(model: DualEncoder, dataset: Dataset, units: Units) -> Volumes:
    """Stacks with every image embedded once by the frozen model: the slices of each study, or the pictures of each patient."""
    first = units.table.drop_duplicates("image").sort_values("image")
    if "slice" not in first:
        return _picture_stacks(model, units, first)
    emb = embed_chosen(model, units.images, first["image"].to_numpy())
    stacks = stack(emb, first["study_id"].to_numpy(), first["slice"].to_numpy() * dataset.contract.spacing_mm[0])
    table = dataset.manifest.set_index("study_id").loc[stacks.study_ids].reset_index()
    return Volumes(stacks, table, *sentence_table(table["report"]))


def _picture_stacks(model: DualEncoder, units: Units, first: pd.DataFrame) -> Volumes:
    """Pictures of a patient as a stack, PICTURE_STEP_MM apart in the order of the table, with all the patient's texts.

    Patients with one picture are left out: there is nothing to pool. Raises ManifestError if nobody has more.
    """
    first = first[first.groupby("patient_id")["image"].transform("size") > 1]
    if first.empty:
        raise ManifestError(
            "nobody has more than one picture: there are no stacks to pool; give several rows the same patient_id"
        )
    place = first.groupby("patient_id").cumcount().to_numpy()
    emb = embed_chosen(model, units.images, first["image"].to_numpy())
    stacks = stack(emb, first["patient_id"].to_numpy(), place * PICTURE_STEP_MM)
    cases = first.groupby("patient_id").agg(
        split=("split", "first"), report=("report", lambda texts: "\n\n".join(dict.fromkeys(texts)))
    )
    table = cases.loc[stacks.study_ids].reset_index().assign(study_id=stacks.study_ids, findings="")
    return Volumes(stacks, table, *sentence_table(table["report"]))


def shown(units: Units, volumes: Volumes, names: list[str]) -> Bool[np.ndarray, "study slice finding"]:
    """Which slice of each stack shows which finding, by the lesion masks."""
    study = {name: i for i, name in enumerate(volumes.stacks.study_ids)}
    seen = np.zeros((*volumes.stacks.mask.shape, len(names)), bool)
    found = units.table[units.table["finding"].isin(names)]
    seen[found["study_id"].map(study), found["slice"], found["finding"].map(names.index)] = True
    return seen


def sentence_table(reports: pd.Series) -> tuple[list[str], list[Rows], Float[Tensor, "sentence dim"]]:
    """Unique sentences of findings and impression, which of them each report has, and their features."""
    said = [told(report) for report in reports]
    sentences = sorted(set().union(*said))
    number = {sentence: i for i, sentence in enumerate(sentences)}
    return sentences, [np.unique(np.array([number[s] for s in own], int)) for own in said], embed_texts(sentences)


def adapter_plan(preset: Preset, *, seed: int) -> Plan:
    """How an adapter trains on cached slice embeddings."""
    return Plan(preset.adapter_epochs, ADAPTER_BATCH, ADAPTER_RATE, "no", seed)


def fine_tune(
    adapter: SliceAdapter, encoder: DualEncoder, volumes: Volumes, units: Units, *, preset: Preset, seed: int
) -> tuple[SliceAdapter, pd.DataFrame]:
    """Stage 2 end to end: a trained adapter and its slice encoder as one model, trained on at a low rate; with its history."""
    first = units.table.drop_duplicates("image").sort_values(["study_id", "slice"])
    pixels = Pixels(units.images, first["image"].to_numpy().reshape(len(volumes.table), -1))
    pairs = replace(volumes.pairs(), volumes=(pixels, *volumes.stacks[1:3]))
    model, epochs = with_encoder(adapter, encoder), max(1, preset.adapter_epochs // END_TO_END_SHARE)
    how = Plan(epochs, END_TO_END_BATCH, ADAPTER_RATE * END_TO_END_RATE, best_precision(False), seed)
    return model, pretrain(model, pairs, recipe=RECIPES["radclip"], plan=how)


@torch.inference_mode()
def volume_scores(
    adapter: SliceAdapter, volumes: Volumes, rows: Int[np.ndarray, " study"], names: tuple[str, ...]
) -> Float[np.ndarray, "study finding"]:
    """Cosine of studies with the mean embedding of each finding's prompts."""
    prompts = torch.stack([adapter.encode_mean(volumes.prompt_features(name)) for name in names])
    return adapter.similarity(adapter.encode_images(*volumes.of(rows)), prompts).numpy()


@torch.inference_mode()
def untrained_scores(
    model: DualEncoder, volumes: Volumes, units: Units, rows: Int[np.ndarray, " study"], names: tuple[str, ...], *, pooling: str
) -> Float[np.ndarray, "study finding"]:
    """Cosine of studies with slice captions, nothing trained on volumes: by the mean of the slices, or pooled by the prompt."""
    train = units.table[(units.table["split"] == "train") & (units.table["finding"] != "")]
    region = train.groupby("finding")["body_part"].agg(lambda parts: parts.mode().iloc[0])
    texts = model.encode_texts(embed_texts([caption(region[name], name) for name in names]))
    slices, mask, _ = volumes.of(rows)
    if pooling == "prompt":
        return prompt_attention(slices, texts, mask, tau=PROMPT_TAU)[0].numpy()
    return (torch.nn.functional.normalize(weighted(slices, mean_weights(mask)), dim=-1) @ texts.T).numpy()


@torch.inference_mode()
def report_similarity(
    adapter: SliceAdapter, volumes: Volumes, rows: Int[np.ndarray, " study"]
) -> Float[np.ndarray, "report study"]:
    """Cosine of each report, the mean of its sentences' embeddings, with each study: what retrieval ranks by."""
    reports = torch.stack([adapter.encode_mean(volumes.features[volumes.said[i]]) for i in rows])
    return adapter.similarity(adapter.encode_images(*volumes.of(rows)), reports).numpy().T
