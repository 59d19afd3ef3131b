"""The studies behind lesson 12: SeLIP's and CLIP's towers against scratch, with few masks or few labels."""

from itertools import product

import numpy as np
import pandas as pd

from .. import config
from ..data import catalog
from ..data.phantoms.head import FIELD_MM
from ..learn.checkpoint import from_pretrained
from ..learn.segmentation import predict_masks
from ..lesson import selip, selip_scores
from ..lesson.little_data import (
    ALARMS,
    DICE,
    DISTANCE,
    N_STUDIES,
    RATES,
    SHARES,
    TOUCHED,
    WAYS,
    fit_outlines,
    focal,
    images_of,
    labelled,
    lesion_labels,
    read_labels,
    share_of,
)
from ..measure import segmentation
from ..model.dual_encoder import DualEncoder
from .heads import SELIP, SEQUENCES, heads_of
from .runner import cell_folder
from .tables import Cells, auc_rows, mean_rows, runs_of, those_before

STARTS = {"from scratch": "", "clip": "clip, distinct", "selip": "selip, distinct"}  # -> whose tower, of the study "selip"
NEEDS = tuple(("selip", variant) for variant in STARTS.values() if variant)
MASKS = tuple(f"{start}, {n} studies" for n in N_STUDIES for start in STARTS)
LABELS = tuple(f"{start}, {share} %" for share in SHARES for start in STARTS)


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


def masks_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Each measure: the mean over seeds of a volume's value, and its difference from scratch with the same number of studies."""
    rows = []
    for n, name in product(N_STUDIES, (DICE, DISTANCE, TOUCHED, ALARMS)):
        group = {key: found for key, found in cells.items() if key[0].endswith(f", {n} studies")}
        if group:
            whose = next(iter(group.values()))[_whose(name)]
            rows += mean_rows(runs_of(group, name), name, whose, chance=None, preset=preset, bases=those_before)
    return pd.DataFrame(rows)


def labels_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """Kinds of finding on the test volumes, from one start and labels of a share of the studies: by a probe, by fine-tuning."""
    start, share = variant.split(", ")[0], int(variant.split()[-2])
    heads = _heads(preset)
    return read_labels(encoder(start, heads, seed, preset), heads, share_of(heads, share, seed), seed=seed)


def labels_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Mean AUC over kinds of both ways; with each share of the labels the pretrained starts against scratch."""
    heads = _heads(preset)
    truth, rows = selip_scores.truth(heads, heads.rows("test"), of="kind"), []
    for share, way in product(SHARES, WAYS):
        group = {key: found for key, found in cells.items() if key[0].endswith(f", {share} %")}
        rows += auc_rows(runs_of(group, way), f"AUC, {way}", truth, preset, bases=those_before)
    return pd.DataFrame(rows)


def encoder(start: str, heads: selip.HeadUnits, seed: int, preset: config.Preset) -> DualEncoder:
    """The model that a start of STARTS names: fresh, or as the study "selip" left it with the same seed."""
    if not STARTS[start]:
        return selip.head_model(heads, SELIP, seed=seed).eval()
    return from_pretrained(cell_folder("selip", STARTS[start], seed, preset) / "model")[0]


def _heads(preset: config.Preset) -> selip.HeadUnits:
    return heads_of(preset, "structured", SEQUENCES, 0)


def _whose(measure: str) -> str:
    return f"{measure}, whose"
