"""The study behind RadCLIP's first claim, and its rivals: towers that learnt from captions, labels, ImageNet, or nothing.

All are asked the same of slices of the synthetic CT: which finding is there, by a linear probe on what the tower gives and by
captions; and which caption belongs to a slice. A tower without texts gets them by ridge regression to sentence embeddings.
"""

from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from .. import config
from ..data.studies import Units, draw_epoch
from ..learn.augment import moved_together
from ..learn.checkpoint import from_pretrained
from ..learn.plan import descend, plan
from ..lesson import radclip
from ..measure import transfer
from ..measure.retrieval import chance_recall_at, first_ranks
from ..model.dual_encoder import DualEncoder, build_model
from .radclip import BASE, torso
from .runner import cell_folder
from .spaces import features, learnt, regressed
from .tables import Cells, auc_rows, recall_rows, runs_of

N_READ = {"train": 8000, "val": 2000}  # slices that probes and regressions read, at most
GENERAL, UNTRAINED, LABELS = "ImageNet, as it is", "untrained", "labels instead of captions"
CAPTIONS = {"RadCLIP": BASE, "RadCLIP, as published": "radclip"}  # -> whose model, of the study "slices"
VARIANTS = (GENERAL, UNTRAINED, LABELS, *CAPTIONS)
NEEDS = tuple(("slices", variant) for variant in CAPTIONS.values())
PROBE, ZERO_SHOT, MATCHED = "AUC within organ, probe", "AUC within organ, captions", "caption of a sick slice, R@1"


def towers_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """What one tower tells of the test slices."""
    _, units = torso(preset)
    images = {split: _images(units, split, seed) for split in ("train", "val", "test")}
    truths = {split: _truth(preset, split, tuple(own.tolist())) for split, own in images.items()}
    names = truths["test"].names
    labels = {split: _labels(truth, names) for split, truth in truths.items()}
    if variant == LABELS:
        model, out = fit_findings(units, names, preset=preset, seed=seed)
    else:
        model = _tower(variant, units, seed, preset)
    read = {split: features(model, units.images[own]) for split, own in images.items()}
    found = {"probe": transfer.probe(read, labels)["test"]}
    if variant == LABELS:
        return found | {"captions": _logits(model, out, units, images["test"])}
    captions = {split: [units.texts[i] for i in _rows(units, images[split])["text_id"]] for split in ("train", "val")}
    space = learnt(model) if variant in CAPTIONS else regressed(model, read, captions)
    emb, prompts = (
        space.pictures(units.images[images["test"]]),
        space.texts([radclip.caption(place, name) for place in _places(units) for name in names]),
    )
    where = _rows(units, images["test"])["body_part"].map(_places(units).index).to_numpy()
    scores = np.einsum("sd,snd->sn", emb, prompts.reshape(len(_places(units)), len(names), -1)[where])
    sick = _sick(units, images["test"])
    said, true = _true_captions(units, images["test"][sick])
    return found | {"captions": scores, "ranks": first_ranks(emb[sick] @ space.texts(said).T, true)}


def towers_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Mean AUC by probe and by captions, and how often the first caption for a slice is true of it."""
    _, units = torso(preset)
    images = _images(units, "test", 0)
    truth, sick = _truth(preset, "test", tuple(images.tolist())), images[_sick(units, images)]
    patients = _rows(units, sick)["patient_id"].to_numpy(str)
    rows = auc_rows(runs_of(cells, "probe"), PROBE, truth, preset, each=False, bases=_bases)
    rows += auc_rows(runs_of(cells, "captions"), ZERO_SHOT, truth, preset, each=False, bases=_bases)
    how = {"chance": chance_recall_at(_true_captions(units, sick)[1], 1), "preset": preset, "bases": _bases}
    return pd.DataFrame([*rows, *recall_rows(runs_of(cells, "ranks"), MATCHED, 1, patients, **how)])


def _bases(variant: str, variants: list[str]) -> list[str]:
    return [base for base in (GENERAL, UNTRAINED, LABELS) if base in variants and base != variant]


def fit_findings(units: Units, names: tuple[str, ...], *, preset: config.Preset, seed: int) -> tuple[DualEncoder, nn.Linear]:
    """A tower of RadCLIP's kind that learns the findings from labels: the slices, the steps and the rate that RadCLIP has."""
    how, recipe = plan(preset, seed=seed), config.RECIPES[BASE]
    model = build_model(recipe, image_tower=config.SLICE_TOWER, channels=units.images.shape[1], seed=seed).train()
    out, rng, rows = nn.Linear(model.image_head[0].dim, len(names)), np.random.default_rng(seed), units.rows("train")
    table, number = units.table, {name: i for i, name in enumerate(names)}
    shown = table[table["finding"] != ""].groupby("image")["finding"].agg(set)
    drawn: list[int] = []

    def loss() -> Tensor:
        nonlocal drawn
        if len(drawn) < how.batch_size:
            drawn = draw_epoch(units, rows, rng, normals=recipe.normals).tolist()
        picked, drawn = table["image"].to_numpy()[drawn[: how.batch_size]], drawn[how.batch_size :]
        wanted = torch.zeros(len(picked), len(names))
        for i, image in enumerate(picked):
            wanted[i, [number[f] for f in shown.get(image, ()) if f in number]] = 1
        images = moved_together(torch.from_numpy(units.images[picked]), rng)
        return binary_cross_entropy_with_logits(out(model.features(images)), wanted)

    n_steps = how.epochs * (len(draw_epoch(units, rows, rng, normals=recipe.normals)) // how.batch_size)
    descend([([*model.parameters(), *out.parameters()], how.learning_rate)], loss, n_steps=max(1, n_steps))
    return model.eval(), out.eval()


def _tower(variant: str, units: Units, seed: int, preset: config.Preset) -> DualEncoder:
    if variant in CAPTIONS:
        return from_pretrained(cell_folder("slices", CAPTIONS[variant], seed, preset) / "model")[0]
    name = config.PRETRAINED_TOWER if variant == GENERAL else config.SLICE_TOWER
    return build_model(config.RECIPES["clip"], image_tower=name, channels=units.images.shape[1], seed=seed).eval()


@torch.inference_mode()
def _logits(model: DualEncoder, out: nn.Linear, units: Units, images: np.ndarray) -> Float[np.ndarray, "slice finding"]:
    return out(torch.from_numpy(features(model, units.images[images]))).numpy()


def _sick(units: Units, images: np.ndarray) -> Bool[np.ndarray, " slice"]:
    """Which slices show a finding: of the others most share the caption of their region, which is no matching."""
    return np.isin(images, units.table["image"][units.table["finding"] != ""])


def _true_captions(units: Units, images: np.ndarray) -> tuple[list[str], Bool[np.ndarray, "slice caption"]]:
    own = units.table[units.table["image"].isin(images)].groupby("image")["text_id"].agg(set).reindex(images)
    ids = sorted(set().union(*own))
    return [units.texts[i] for i in ids], np.array([[i in here for i in ids] for here in own])


@lru_cache(maxsize=8)
def _truth(preset: config.Preset, split: str, images: tuple[int, ...]):
    return radclip.slice_truth(torso(preset)[1], np.array(images), within="organ")


def _labels(truth, names: tuple[str, ...]) -> Bool[np.ndarray, "slice finding"]:
    """Labels in the order of the test slices' findings; one that nobody here has is False."""
    at = {name: k for k, name in enumerate(truth.names)}
    none = np.zeros(len(truth.labels), bool)
    return np.stack([truth.labels[:, at[name]] if name in at else none for name in names], axis=1)


def _images(units: Units, split: str, seed: int) -> Int[np.ndarray, " slice"]:
    """Images of a split, each once; of many a number that the seed draws. All of the test split."""
    images = np.unique(units.table["image"].to_numpy()[units.rows(split)])
    most = N_READ.get(split, len(images))
    return images if len(images) <= most else np.sort(np.random.default_rng(seed).choice(images, most, replace=False))


def _rows(units: Units, images: np.ndarray) -> pd.DataFrame:
    """One row of the table for each image."""
    return units.table.drop_duplicates("image").set_index("image").loc[images]


def _places(units: Units) -> list[str]:
    return sorted(units.table["body_part"].unique())
