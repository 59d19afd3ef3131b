"""The studies behind lessons 05 and 06: RadCLIP's stage 1 by recipe, its stage 2 by pooling."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from .. import config
from ..data import catalog
from ..data.catalog import Dataset
from ..data.studies import Units, load_units
from ..learn.checkpoint import from_pretrained
from ..learn.pairs import ImagePairs
from ..learn.plan import plan
from ..learn.pretrain import pretrain
from ..lesson import radclip
from ..measure.embeddings import embed_images
from ..measure.retrieval import chance_recall_at, first_ranks, same
from ..model.adapter import build_adapter
from ..model.dual_encoder import DualEncoder, build_model
from ..model.text_tower import embed_texts
from .runner import cell_folder, keep_model
from .tables import VALIDATION, Cells, auc_rows, columns, recall_rows, runs_of, those_before

BASE = "radclip_true"  # the recipe whose slice encoders the poolings are compared on
SEARCH = {  # a rare finding is seen as often as a frequent one
    BASE: config.RECIPES[BASE],
    "texts as often as each other": replace(config.RECIPES[BASE], batches="balanced"),
}
END_TO_END = "_end_to_end"
UNTRAINED = ("untrained_mean", "untrained_prompt")  # stage 1 alone, its captions as prompts


@lru_cache(maxsize=1)
def torso(preset: config.Preset) -> tuple[Dataset, Units]:
    """The synthetic CT with its slices and captions, read once."""
    data = catalog.load("torso", preset)
    return data, load_units(data)


def slices_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """Stage 1 under one recipe: scores of the test slices; the model stays in the cell's folder."""
    data, units = torso(preset)
    folder = cell_folder("slices", variant, seed, preset)
    model, seconds = _trained(config.RECIPES[variant], seed, preset, folder=folder)
    keep_model(model, folder, data.contract, units.images[:1])
    return {"scores": _scores(model, units, "test", within="region"), "seconds": seconds}


def search_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """Stage 1 with another draw of its slices: scores of validation and of test slices."""
    _, units = torso(preset)
    if variant == BASE:
        model = from_pretrained(cell_folder("slices", BASE, seed, preset) / "model")[0]
    else:
        model, _ = _trained(SEARCH[variant], seed, preset)
    return {split: _scores(model, units, split, within="organ") for split in ("val", "test")}


def search_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """The search: mean AUC within the organ on validation slices, where settings are chosen, beside what test slices say."""
    _, units = torso(preset)
    rows = []
    for split, prefix in (("val", VALIDATION), ("test", "")):
        truth = radclip.slice_truth(units, _slices(units, split)[0], within="organ")
        rows += auc_rows(runs_of(cells, split), f"{prefix}AUC within organ", truth, preset, each=False)
    return pd.DataFrame(rows)


def slices_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Mean AUC over findings, among slices of the same region and among slices that show the organ."""
    _, units = torso(preset)
    images, _ = _slices(units, "test")
    truths = {within: radclip.slice_truth(units, images, within=within) for within in ("region", "organ")}
    scores = runs_of(cells, "scores")
    return pd.DataFrame(
        [row for w, truth in truths.items() for row in auc_rows(scores, f"AUC within {w}", truth, preset, bases=those_before)]
    )


def pooling_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """Stage 2 with one pooling, on the slice encoder of the same seed: scores of the test studies, and report retrieval."""
    data, units = torso(preset)
    encoder, _, _ = from_pretrained(cell_folder("slices", BASE, seed, preset) / "model")
    volumes = radclip.volumes(encoder, data, units)
    test = volumes.rows("test")
    names = radclip.volume_truth(volumes.table.iloc[test]).names
    if variant in UNTRAINED:
        return {"scores": radclip.untrained_scores(encoder, volumes, units, test, names, pooling=variant.split("_")[1])}
    end_to_end, pooling = variant.endswith(END_TO_END), variant.removesuffix(END_TO_END)
    adapter = build_adapter(pooling, encoder, seed=seed)
    history = pretrain(adapter, volumes.pairs(), recipe=config.RECIPES["radclip"], plan=radclip.adapter_plan(preset, seed=seed))
    if end_to_end:
        adapter, more = radclip.fine_tune(adapter, encoder, volumes, units, preset=preset, seed=seed)
        history = pd.concat([history, more])
        volumes = radclip.volumes(adapter.encoder, data, units)
        adapter.encoder = None  # its slices are embedded anew, once
    sim = radclip.report_similarity(adapter, volumes, test)
    reports = volumes.table["report"].to_numpy(str)[test]
    return {
        "scores": radclip.volume_scores(adapter, volumes, test, names),
        "ranks": first_ranks(sim, same(reports, reports)),
        "seconds": np.array(history["seconds"].sum()),
    }


def pooling_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Mean AUC over focal and over diffuse findings, and R@1 and R@10 of report to study."""
    data, units = torso(preset)
    table = data.manifest[data.manifest["split"] == "test"].sort_values("study_id")
    truth, focal, scores = radclip.volume_truth(table), radclip.focal(units), runs_of(cells, "scores")
    rows = []
    for kind, wanted in (("focal", True), ("diffuse", False)):
        names = [name for name in truth.names if (name in focal) == wanted]
        own = columns(scores, [truth.names.index(name) for name in names])
        rows += auc_rows(own, f"AUC, {kind} findings", truth.only(names), preset, bases=_bases)
    reports, patients = table["report"].to_numpy(str), table["patient_id"].to_numpy(str)
    for k in (1, 10):
        how = {"chance": chance_recall_at(same(reports, reports), k), "preset": preset, "bases": _bases}
        rows += recall_rows(runs_of(cells, "ranks"), f"R@{k}, report to study", k, patients, **how)
    return pd.DataFrame(rows)


def _bases(variant: str, variants: list[str]) -> list[str]:
    """Every pooling is compared with the mean, and the others with the maximum and with one vector of attention, too."""
    return [v for v in ("mean", "max", "attention") if v in variants and v != variant]


def _trained(
    recipe: config.Recipe, seed: int, preset: config.Preset, *, folder: Path | None = None
) -> tuple[DualEncoder, np.ndarray]:
    """A slice encoder, and the seconds of its training."""
    _, units = torso(preset)
    model = build_model(recipe, image_tower=config.SLICE_TOWER, channels=units.images.shape[1], seed=seed)
    pairs = ImagePairs(units, embed_texts(units.texts), recipe)
    history = pretrain(model, pairs, recipe=recipe, plan=plan(preset, seed=seed), folder=folder)
    return model, np.array(history["seconds"].sum())


def _scores(model: DualEncoder, units: Units, split: str, *, within: str) -> np.ndarray:
    """Of each slice of a split with the caption of every finding that is asked about."""
    images, regions = _slices(units, split)
    names = radclip.slice_truth(units, images, within=within).names
    return radclip.slice_scores(model, embed_images(model, units.images[images]), regions, names)


def _slices(units: Units, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The slices of a split, and their regions."""
    table = units.table.iloc[units.one_per_image(units.rows(split))]
    return table["image"].to_numpy(), table["body_part"].to_numpy(str)
