"""Few masks and few labels: which studies have them, and what is learnt from them. Lesson 12 and its studies share this."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from ..data.phantoms.head import examination
from ..data.phantoms.head.vocabulary import SYSTEMS
from ..data.readers import read_mask
from ..learn import head_labels
from ..learn.segmentation import fit_masks
from ..measure import transfer
from ..model.dual_encoder import DualEncoder
from ..model.segmenter import Segmenter
from . import selip, selip_scores

N_STUDIES = (5, 20, 100)  # with masks
RATES = {"from scratch": 1e-2, "clip": 4e-3, "selip": 4e-3}  # for masks; each the better of both on validation volumes
SHARES = (1, 10, 100)  # per cent of the training studies, with labels
FEWEST = 2  # labelled studies
WAYS = ("neighbours", "probe", "fine-tuned")
DICE, DISTANCE, TOUCHED, ALARMS = "Dice", "surface distance, mm", "lesions touched", "volumes with a false alarm"


def fit_outlines(
    model: DualEncoder,
    heads: selip.HeadUnits,
    train: np.ndarray,
    *,
    root: Path,
    seed: int,
    rate: float,
    n_steps: int | None = None,
) -> Segmenter:
    """A copy of the model's tower with a decoder, after the masks of some training volumes."""
    wanted = lesion_labels(root, heads.table.iloc[train]) > 0
    return fit_masks(model.tower, images_of(heads, train), wanted, seed=seed, rate=rate, n_steps=n_steps)


def read_labels(
    model: DualEncoder, heads: selip.HeadUnits, train: np.ndarray, *, seed: int, n_steps: int | None = None
) -> dict[str, Float[np.ndarray, "unit kind"]]:
    """Scores of the kinds on the test volumes in each of WAYS, from the labels of some training volumes."""
    names = selip_scores.truth(heads, heads.rows("test"), of="kind").names
    rows = {"train": train, "val": heads.rows("val"), "test": heads.rows("test")}
    labels = {split: selip_scores.label_matrix(heads, own, names, of="kind") for split, own in rows.items()}
    features = {split: selip.features(model, heads, own) for split, own in rows.items()}
    fitted = head_labels.fit_labels(model, images_of(heads, train), labels["train"], seed=seed, n_steps=n_steps)
    frozen = (way(features, labels)["test"] for way in (transfer.nearest, transfer.probe))
    return dict(zip(WAYS, (*frozen, head_labels.label_scores(fitted, images_of(heads, rows["test"]))), strict=True))


def focal(heads: selip.HeadUnits) -> np.ndarray:
    """Which units show a lesion that has a place, rather than wide ventricles or atrophy alone."""
    return np.array([bool(kinds - set(SYSTEMS)) for kinds in heads.kinds])


def labelled(heads: selip.HeadUnits, n: int, seed: int) -> Int[np.ndarray, " unit"]:
    """All units of `n` training studies that show a focal lesion, drawn by the seed; of all of them where there are fewer."""
    return _of_studies(heads, np.intersect1d(np.flatnonzero(focal(heads)), heads.rows("train")), n, seed)


def lesion_labels(root: Path, table: pd.DataFrame) -> UInt8[np.ndarray, "unit slice row column"]:
    """The mask of each unit with the labels of the focal findings that its own sequence shows; the rest is 0."""
    maps = {name: read_mask(root / name).astype(np.uint8) for name in table["lesions"].unique()}
    shown = [[f["label"] for f in selip.said(text) if f["kind"] not in SYSTEMS] for text in table["findings"]]
    pairs = zip(table["lesions"], shown, strict=True)
    return np.stack([np.where(np.isin(maps[name], labels), maps[name], np.uint8(0)) for name, labels in pairs])


def images_of(heads: selip.HeadUnits, rows: np.ndarray) -> np.ndarray:
    """The volumes of some units."""
    return heads.units.images[heads.table["image"].to_numpy()[rows]]


def share_of(heads: selip.HeadUnits, percent: int, seed: int) -> np.ndarray:
    """Units of a share of the training studies, drawn by the seed."""
    train = heads.rows("train")
    n = len(set(heads.table["study_id"].iloc[train].map(examination)))
    return _of_studies(heads, train, max(FEWEST, round(n * percent / 100)), seed)


def _of_studies(heads: selip.HeadUnits, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Units of `n` of the studies that some rows belong to; every start gets the same with a seed."""
    studies = heads.table["study_id"].map(examination).to_numpy(str)
    chosen = np.random.default_rng(seed).permutation(np.unique(studies[rows]))[:n]
    return np.flatnonzero(np.isin(studies, chosen))
