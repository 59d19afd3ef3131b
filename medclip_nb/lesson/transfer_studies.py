"""The studies behind lesson 12: what SeLIP's and CLIP's towers are worth where few studies have masks or labels."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from .. import config
from ..data import catalog
from ..data.phantoms.head import FIELD_MM, examination
from ..data.phantoms.head.vocabulary import SYSTEMS
from ..data.readers import read_mask
from ..learn import head_labels
from ..learn.checkpoint import from_pretrained
from ..learn.segmentation import fit_masks, predict_masks
from ..measure import segmentation, transfer
from ..measure.statistics import mean_difference, mean_score
from ..model.dual_encoder import DualEncoder
from ..model.segmenter import Segmenter
from . import selip, selip_scores
from .claims import Cells, auc_rows, cell_folder, score_row
from .head_studies import SELIP, SEQUENCES, heads_of

STARTS = {"from scratch": "", "clip": "clip, distinct", "selip": "selip, distinct"}  # -> whose tower, of the study "selip"
NEEDS = tuple(("selip", variant) for variant in STARTS.values() if variant)
N_STUDIES = (5, 20, 100)  # with masks
RATES = {"from scratch": 1e-2, "clip": 4e-3, "selip": 4e-3}  # for masks; each the better of both on validation volumes
SHARES = (1, 10, 100)  # per cent of the training studies, with labels
FEWEST = 2  # labelled studies
MASKS = tuple(f"{start}, {n} studies" for n in N_STUDIES for start in STARTS)
LABELS = tuple(f"{start}, {share} %" for share in SHARES for start in STARTS)
WAYS = ("neighbours", "probe", "fine-tuned")
DICE, DISTANCE, TOUCHED, ALARMS = "Dice", "surface distance, mm", "lesions touched", "volumes with a false alarm"


def masks_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """Segmentation from one start with so many studies: a value per test volume or lesion of each measure, and whose it is.

    Dice, surface distance and touched lesions are of volumes with a focal lesion, false alarms of the others.
    """
    start, n = variant.split(", ")[0], int(variant.split()[-2])
    data, heads = catalog.load("head", preset), _heads(preset)
    test, model = heads.rows("test"), encoder(start, heads, seed, preset)
    lesions, sick = lesion_labels(data.root, heads.table.iloc[test]), focal(heads)[test]
    network = fit_outlines(model, heads, labelled(heads, n, seed), root=data.root, seed=seed, rate=RATES[start])
    predicted = predict_masks(network, images_of(heads, test))
    patients = heads.table["patient_id"].to_numpy(str)[test]
    pair, spacing = (predicted[sick], lesions[sick] > 0), tuple(mm / k for mm, k in zip(FIELD_MM, lesions.shape[1:], strict=True))
    touched, volume = segmentation.touched(predicted[sick], lesions[sick])
    found = {
        DICE: (segmentation.dice(*pair), patients[sick]),
        DISTANCE: (segmentation.surface_distance_mm(*pair, spacing_mm=spacing), patients[sick]),
        TOUCHED: (touched, patients[sick][volume]),
        ALARMS: (predicted[~sick].any((1, 2, 3)), patients[~sick]),
    }
    return {name: values for name, (values, _) in found.items()} | {_whose(name): whose for name, (_, whose) in found.items()}


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


def masks_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Each measure: the mean over seeds of a volume's value, and its difference from scratch with the same number of studies."""
    groups = [{key: found for key, found in cells.items() if key[0].endswith(f", {n} studies")} for n in N_STUDIES]
    names = (DICE, DISTANCE, TOUCHED, ALARMS)
    return pd.DataFrame([row for group in groups if group for name in names for row in _mean_rows(group, name, preset)])


def labels_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """Kinds of finding on the test volumes, from one start and labels of a share of the studies: by a probe, by fine-tuning."""
    start, share = variant.split(", ")[0], int(variant.split()[-2])
    heads = _heads(preset)
    return read_labels(encoder(start, heads, seed, preset), heads, share_of(heads, share, seed), seed=seed)


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


def labels_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Mean AUC over kinds of both ways; with each share of the labels the pretrained starts against scratch."""
    heads = _heads(preset)
    truth = selip_scores.truth(heads, heads.rows("test"), of="kind")
    groups = [{key: found for key, found in cells.items() if key[0].endswith(f", {share} %")} for share in SHARES]
    rows = []
    for group in filter(None, groups):
        for way in WAYS:
            rows += auc_rows({key: {"scores": found[way]} for key, found in group.items()}, {f"AUC, {way}": truth}, preset)
    return pd.DataFrame(rows)


def encoder(start: str, heads: selip.HeadUnits, seed: int, preset: config.Preset) -> DualEncoder:
    """The model that a start of STARTS names: fresh, or as the study "selip" left it with the same seed."""
    if not STARTS[start]:
        return selip.head_model(heads, SELIP, seed=seed).eval()
    return from_pretrained(cell_folder("selip", STARTS[start], seed, preset) / "model")[0]


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


def _heads(preset: config.Preset) -> selip.HeadUnits:
    return heads_of(preset, "structured", SEQUENCES, 0)


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


def _whose(measure: str) -> str:
    return f"{measure}, whose"


def _mean_rows(cells: Cells, measure: str, preset: config.Preset) -> list[dict]:
    """Of a value per volume or lesion: what no seed of a variant knows (a distance from nothing) does not count."""
    variants, rows = list(dict.fromkeys(v for v, _ in cells)), []
    whose = next(iter(cells.values()))[_whose(measure)]
    runs = {v: np.array([found[measure] for (w, _), found in cells.items() if w == v], float) for v in variants}
    means = {v: _known_mean(own) for v, own in runs.items()}
    for variant, own in means.items():
        known, about = ~np.isnan(own), {"variant": variant, "measure": measure}
        if known.sum() == 0:
            continue
        score = mean_score("", own[known], whose[known], chance=None, n_bootstrap=preset.n_bootstrap)
        rows.append(about | score_row("", "mean", score))
        both = known & ~np.isnan(means[variants[0]])
        if variant != variants[0] and both.any():
            gain = mean_difference(own[both], means[variants[0]][both], whose[both], n_bootstrap=preset.n_bootstrap)
            rows.append(about | score_row("", f"minus {variants[0]}", gain))
    return rows


def _known_mean(runs: np.ndarray) -> np.ndarray:
    known = ~np.isnan(runs)
    with np.errstate(invalid="ignore"):
        return np.where(known, runs, 0).sum(0) / known.sum(0)
