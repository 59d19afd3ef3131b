"""The studies on real pictures: towers that learnt from MedPix's captions against ImageNet's, and stacks of its pictures pooled.

MedNIST and COVID-CT are never trained on: their classes are named in words, and probed with labels. COVID-CT's and MedPix's
pictures come from publications: what tells them apart may be how a journal prints, not what a patient has.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from .. import config
from ..data import catalog
from ..data.adapters.layout import spoken_label
from ..data.catalog import Dataset
from ..data.studies import Units, load_units
from ..learn.checkpoint import from_pretrained
from ..learn.pairs import ImagePairs
from ..learn.plan import plan
from ..learn.pretrain import pretrain
from ..lesson import pooling, radclip, selip
from ..measure import transfer
from ..measure.findings import Truth
from ..measure.retrieval import chance_recall_at, first_ranks, same
from ..measure.zero_shot import class_embeddings, majority_share
from ..model.adapter import build_adapter
from ..model.dual_encoder import DualEncoder, build_model
from ..model.text_tower import embed_texts
from ..text.prompts import ensemble
from .runner import cell_folder, keep_model
from .spaces import Space, features, learnt, nearest_caption, regressed
from .tables import Cells, auc_rows, mean_rows, recall_rows, runs_of
from .towers import GENERAL

TRAINED_ON, CLASSES, COVID = DATA = ("medpix2", "mednist", "covid_ct")
NEAREST = "caption of the nearest picture"
DISTINCT = replace(config.RECIPES["clip"], batches="distinct")
LEARNT = {
    "captions": config.RECIPES["clip"],
    "captions, distinct": DISTINCT,
    "similar captions, distinct": replace(config.RECIPES["selip"], similarity="semantic"),
}
VARIANTS = (GENERAL, NEAREST, *LEARNT)
POOLINGS = ("mean", "max", "self_attention")
START = "captions"  # whose tower the stacks are read by
N_LABELS = 5  # of each class of MedNIST, for its probe
BY_WORDS = {"modality by words": "modality", "region by words": "body_part"}  # measure -> column of the manifest
RANKED = {"caption of a picture": False, "picture of a caption": True}  # measure -> whether texts ask
HEADS = "head MR: "  # before a measure on pictures of head MR among themselves
TOP = {"": 10, HEADS: 1}  # K of R@K: there are few heads
STACKS = "case of a report, R@10"
NAMED, PROBED = "MedNIST, class by words", f"MedNIST, probe of {N_LABELS} labels a class"
COVID_NAMED, COVID_PROBED = "COVID-CT, AUC by words", "COVID-CT, AUC of a probe"
COVID_PROMPTS = {
    "COVID": ["chest CT of COVID-19 pneumonia", "ground-glass opacities of viral pneumonia"],
    "NonCOVID": ["chest CT without COVID-19", "chest CT without ground-glass opacities"],
}


@lru_cache(maxsize=len(DATA))
def pictures_of(name: str, preset: config.Preset) -> tuple[Dataset, Units]:
    """A dataset that was downloaded, and its pictures with their texts; row i of the units' table is row i of the manifest."""
    data = catalog.load(name, preset)
    return data, load_units(data)


def pictures_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """What one tower tells of the test pictures of MedPix, and of two datasets that it never saw."""
    data, units = pictures_of(TRAINED_ON, preset)
    if variant in LEARNT:
        model = _trained(LEARNT[variant], data, units, seed, preset)
        keep_model(model, cell_folder("pictures", variant, seed, preset), data.contract, units.images[:1])
        space = learnt(model)
    else:
        model, *known = _general(preset)
        space = (nearest_caption if variant == NEAREST else regressed)(model, *known)
    found = _on_medpix(space, data, units) | _by_words(space, preset)
    return found if variant == NEAREST else found | _by_probe(model, seed, preset)


def pictures_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Each measure of each tower, and how it differs from ImageNet's and from what learnt without similarity."""
    _, units = pictures_of(TRAINED_ON, preset)
    table = units.table.iloc[units.rows("test")]
    patients, how, rows = table["patient_id"].to_numpy(str), {"preset": preset, "bases": bases_of}, []
    for name, column in BY_WORDS.items():
        rows += mean_rows(runs_of(cells, name), name, patients, chance=majority_share(table[column].to_numpy(str)), **how)
    for prefix, some in (("", np.ones(len(table), bool)), (HEADS, _heads(table))):
        right, k = _right(table[some]), TOP[prefix]
        for name in RANKED:
            ranks, chance = runs_of(cells, prefix + name), chance_recall_at(right, k)
            rows += recall_rows(ranks, f"{prefix}{name}, R@{k}", k, patients[some], chance=chance, **how)
    labels = _test(CLASSES, preset)
    for name in (NAMED, PROBED):
        chance = majority_share(labels["label"].to_numpy(str))
        own = mean_rows(runs_of(cells, name), name, labels["patient_id"].to_numpy(str), chance=chance, **how)
        rows += [row | {"unit": "images"} for row in own]  # MedNIST names no patients
    sick = _test(COVID, preset)
    labels = (sick["label"] == "COVID").to_numpy()[:, None]
    truth = Truth(("COVID",), labels, np.ones_like(labels), sick["patient_id"].to_numpy(str))
    for name in (COVID_NAMED, COVID_PROBED):
        rows += auc_rows(runs_of(cells, name), name, truth, preset, each=False, bases=bases_of)
    return pd.DataFrame(rows)


def bases_of(variant: str, variants: list[str]) -> list[str]:
    """What a tower is compared with."""
    return [base for base in (GENERAL, NEAREST, "captions, distinct") if base in variants and base != variant]


def stacks_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """RadCLIP's stage 2 on the pictures of each case: ranks of the test cases for their reports."""
    data, units = pictures_of(TRAINED_ON, preset)
    encoder, _, _ = from_pretrained(cell_folder("pictures", START, seed, preset) / "model")
    stacks = radclip.volumes(encoder, data, units)
    adapter, how = build_adapter(variant, encoder, seed=seed), radclip.adapter_plan(preset, seed=seed)
    pretrain(adapter, stacks.pairs(), recipe=config.RECIPES["radclip"], plan=replace(how, patience=pooling.PATIENCE))
    rows = stacks.rows("test")
    reports, patients = (stacks.table[column].to_numpy(str)[rows] for column in ("report", "patient_id"))
    right = same(reports, reports)
    ranks = first_ranks(radclip.report_similarity(adapter, stacks, rows), right)
    return {"ranks": ranks, "patients": patients, "chance": np.array(chance_recall_at(right, TOP[""]))}


def stacks_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """R@10 of a report's case, by pooling."""
    one = next(iter(cells.values()))
    how = {"chance": float(one["chance"]), "preset": preset, "bases": stack_bases}
    return pd.DataFrame(recall_rows(runs_of(cells, "ranks"), STACKS, TOP[""], one["patients"], **how))


def stack_bases(variant: str, variants: list[str]) -> list[str]:
    """Every pooling is compared with the mean and the maximum."""
    return [base for base in ("mean", "max") if base in variants and base != variant]


def _trained(recipe: config.Recipe, data: Dataset, units: Units, seed: int, preset: config.Preset) -> DualEncoder:
    """ImageNet's tower, trained on by MedPix's captions."""
    model = build_model(recipe, image_tower=config.PRETRAINED_TOWER, channels=units.images.shape[1], seed=seed)
    text_features = embed_texts(units.texts)
    pairs = ImagePairs(units, text_features, recipe, similarity=selip.text_matrix(units, text_features, recipe))
    pretrain(model, pairs, recipe=recipe, plan=plan(preset, seed=seed, pretrained_tower=True))
    return model.eval()


@lru_cache(maxsize=1)
def _general(preset: config.Preset) -> tuple[DualEncoder, dict[str, np.ndarray], dict[str, list[str]]]:
    """ImageNet's tower, what it reads of MedPix's training and validation pictures, and their captions."""
    _, units = pictures_of(TRAINED_ON, preset)
    channels, rows = units.images.shape[1], {split: units.rows(split) for split in ("train", "val")}
    model = build_model(config.RECIPES["clip"], image_tower=config.PRETRAINED_TOWER, channels=channels, seed=0).eval()
    read = {split: features(model, units.images[own]) for split, own in rows.items()}
    return model, read, {split: _texts(units, own) for split, own in rows.items()}


def _on_medpix(space: Space, data: Dataset, units: Units) -> dict[str, np.ndarray]:
    """Hits of the classes by words, and ranks both ways, of the test pictures."""
    rows = units.rows("test")
    table, emb = units.table.iloc[rows], space.pictures(units.images[rows])
    found = {name: _named(space, emb, data.prompts[column], table[column]) for name, column in BY_WORDS.items()}
    sim = emb @ space.texts(_texts(units, rows)).T
    for prefix, some in (("", np.ones(len(rows), bool)), (HEADS, _heads(table))):
        right, part = _right(table[some]), sim[np.ix_(some, some)]
        found |= {prefix + name: first_ranks(part.T if texts_ask else part, right) for name, texts_ask in RANKED.items()}
    return found


def _by_words(space: Space, preset: config.Preset) -> dict[str, np.ndarray]:
    """Of pictures that nobody trained on: hits of MedNIST's classes, and how much nearer to COVID's words than to the others."""
    classes, sick = (_test(name, preset) for name in (CLASSES, COVID))
    names = sorted(set(classes["label"]))
    prompts = {name: ensemble(label=spoken_label(name)) for name in names}
    emb = space.pictures(pictures_of(COVID, preset)[1].images[sick["image"].to_numpy(int)])
    yes, no = class_embeddings(space.texts, COVID_PROMPTS)
    return {
        NAMED: _named(space, space.pictures(_images(CLASSES, classes, preset)), prompts, classes["label"]),
        COVID_NAMED: (emb @ (yes - no))[:, None],
    }


def _by_probe(model: DualEncoder, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """The same by a linear probe on what the tower gives; of MedNIST a few training labels that the seed draws."""
    found = {}
    for name, measure in ((CLASSES, PROBED), (COVID, COVID_PROBED)):
        parts = {split: _of_split(name, split, preset) for split in ("train", "val", "test")}
        if name == CLASSES:
            parts["train"] = parts["train"].groupby("label").sample(N_LABELS, random_state=seed)
        names = sorted(set(parts["test"]["label"]))
        read = {split: features(model, _images(name, part, preset)) for split, part in parts.items()}
        labels = {split: part["label"].to_numpy(str)[:, None] == np.array(names) for split, part in parts.items()}
        said = transfer.probe(read, labels)["test"]
        found[measure] = (said.argmax(1) == labels["test"].argmax(1)).astype(float) if name == CLASSES else said[:, :1]
    return found


def _named(space: Space, emb: Float[np.ndarray, "picture dim"], prompts: dict[str, list[str]], truth: pd.Series) -> np.ndarray:
    """1 where a picture is nearest to the words of its class."""
    names = np.array(list(prompts))
    return (names[(emb @ class_embeddings(space.texts, prompts).T).argmax(1)] == truth.to_numpy(str)).astype(float)


def _right(table: pd.DataFrame) -> Bool[np.ndarray, "picture text"]:
    """Right for a picture are the texts of its case, and the same words elsewhere."""
    cases, texts = table["patient_id"].to_numpy(str), table["text_id"].to_numpy()
    return same(cases, cases) | same(texts, texts)


def _heads(table: pd.DataFrame) -> Bool[np.ndarray, " picture"]:
    return ((table["modality"] == "MR") & (table["body_part"] == "head")).to_numpy()


def _texts(units: Units, rows: Int[np.ndarray, " unit"]) -> list[str]:
    return [units.texts[i] for i in units.table["text_id"].to_numpy()[rows]]


def _of_split(name: str, split: str, preset: config.Preset) -> pd.DataFrame:
    table = pictures_of(name, preset)[1].table
    return table[table["split"] == split]


def _test(name: str, preset: config.Preset) -> pd.DataFrame:
    return _of_split(name, "test", preset)


def _images(name: str, table: pd.DataFrame, preset: config.Preset) -> np.ndarray:
    return pictures_of(name, preset)[1].images[table["image"].to_numpy(int)]
