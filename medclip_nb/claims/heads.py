"""The studies behind lesson 08: SeLIP's targets and batches against CLIP's, how many studies they need, and what was tried."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from .. import config
from ..data import catalog
from ..learn.pairs import ImagePairs
from ..learn.pretrain import pretrain
from ..lesson import selip, selip_scores
from .runner import cell_folder, keep_model
from .tables import VALIDATION, Cells, auc_rows, mean_rows, runs_of
from .tried import NearTexts

SEQUENCES = ("FLAIR", "DWI")
FEW = (150,)  # training studies of the smaller cohorts
CLIP, SELIP = config.RECIPES["clip"], config.RECIPES["selip"]
PROBES = {"probe, location": "location", "probe, kind": "kind"}
ZERO_SHOT = "zero-shot, location and signal"
KEPT = ("clip", "clip, distinct", "selip, distinct")  # whose models lesson 12 goes on from
PREFIX = {"test": "", "val": VALIDATION}  # of a measure's name
BASES = ("clip", "clip, distinct")  # what variants are compared with


@dataclass(frozen=True)
class Variant:
    """What one variant changes."""

    recipe: config.Recipe
    wording: str = "structured"
    sequences: tuple[str, ...] = SEQUENCES
    n_train: int = 0  # training studies; 0: all
    batch_size: int = config.HEAD_BATCH
    kind: type[ImagePairs] = ImagePairs
    adapter: bool = False  # slices embedded one by one and pooled by attention, instead of the volume at once


def similar(ruler: str, *, batches: str = "distinct", **more) -> config.Recipe:
    """SeLIP's recipe with another ruler, sampler or weight."""
    return replace(SELIP, similarity=ruler, batches=batches, **more)


SAME = config.RECIPES["clip_same_text"]
MAIN = {
    "clip": Variant(CLIP),
    "same text": Variant(SAME),
    "selip": Variant(similar("selip", batches="shuffled")),
    "best match": Variant(similar("best", batches="shuffled")),
    "semantic": Variant(similar("semantic", batches="shuffled")),
    "clip, balanced": Variant(replace(CLIP, batches="balanced")),
    "same text, balanced": Variant(replace(SAME, batches="balanced")),
    "clip, distinct": Variant(replace(CLIP, batches="distinct")),
    "selip, distinct": Variant(SELIP),
    "best match, distinct": Variant(similar("best")),
    "semantic, distinct": Variant(similar("semantic")),
    "rare words, distinct": Variant(similar("rare")),  # what the search found, on validation studies
}
SIZES = {
    f"{name}, {n} studies": replace(MAIN[name], n_train=n)
    for n in FEW
    for name in ("clip, distinct", "selip, distinct", "rare words, distinct")
}
SEARCH = {
    "clip, distinct": MAIN["clip, distinct"],
    "best match, lambda 0.25": Variant(similar("best", similarity_weight=0.25)),
    "best match, lambda 1": Variant(similar("best", similarity_weight=1.0)),
    "best match, cubed": Variant(similar("best", power=3.0)),
    "best match, top 4": Variant(similar("best", keep=4)),
    "place above signal": Variant(similar("place")),
    "rare words count": Variant(similar("rare")),
    "semantic, cubed": Variant(similar("semantic", power=3.0)),
    "selip, healthy alike, shuffled": Variant(similar("selip_healthy", batches="shuffled")),
    "clip, batch 256": Variant(replace(CLIP, batches="distinct"), batch_size=256),
    "best match, cubed, batch 256": Variant(similar("best", power=3.0), batch_size=256),
}
BATCHES = {"rare words, distinct": MAIN["rare words, distinct"], "near texts": Variant(similar("rare"), kind=NearTexts)}
FORMS = {"clip": replace(CLIP, batches="distinct"), "rare words": similar("rare"), "semantic": similar("semantic")}
SETTINGS = (
    {f"free wording, {name}": Variant(recipe, wording="free") for name, recipe in FORMS.items()}
    | {f"four sequences, {name}": Variant(FORMS[name], sequences=()) for name in ("clip", "rare words")}
    | {f"slices and attention, {name}": Variant(FORMS[name], adapter=True) for name in ("clip", "rare words")}
)
VARIANTS = MAIN | SIZES | SEARCH | SETTINGS | BATCHES


@lru_cache(maxsize=2)
def heads_of(preset: config.Preset, wording: str, sequences: tuple[str, ...], n_train: int) -> selip.HeadUnits:
    """The embedded cohort's volumes with their texts."""
    return selip.head_units(catalog.load("head", preset), wording=wording, sequences=sequences, n_train=n_train)


def selip_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """One variant trained with one seed: what every query and every probe gives, of validation and of test studies."""
    how = VARIANTS[variant]
    heads = heads_of(preset, how.wording, how.sequences, how.n_train)
    plan = replace(selip.head_plan(preset, len(heads.rows("train")), seed=seed), batch_size=how.batch_size)
    make, beside = (selip.slice_model, selip.slice_places(heads)) if how.adapter else (selip.head_model, ())
    model = make(heads, how.recipe, seed=seed)
    history = pretrain(model, selip.pairs(heads, how.recipe, beside=beside, kind=how.kind), recipe=how.recipe, plan=plan)
    found = {"seconds": np.array(history["seconds"].sum())}
    for split in ("val", "test"):
        rows = heads.rows(split)
        emb = selip.embed(model, heads, rows, beside=beside)
        found |= {f"{split} {name}": values for name, values in selip_scores.retrieval(heads, rows, emb, model).items()}
        found[f"{split} {ZERO_SHOT}"] = selip_scores.zero_shot(model, heads, rows, emb)
    if how.adapter:
        return found
    read = {split: selip.features(model, heads, heads.rows(split)) for split in ("train", "val", "test")}
    for name, of in PROBES.items():
        found |= {f"{split} {name}": scores for split, scores in selip_scores.probe_scores(heads, read, of=of).items()}
    if variant in KEPT:
        contract, folder = catalog.load("head", preset).contract, cell_folder("selip", variant, seed, preset)
        keep_model(model, folder, contract, heads.units.images[:1])
    return found


def selip_table(cells: Cells, preset: config.Preset, *, splits: tuple[str, ...] = ("test",)) -> pd.DataFrame:
    """Every measure of each variant: the mean over seeds, each seed's, and differences from what it is compared with, paired."""
    rows = []
    for settings in dict.fromkeys((VARIANTS[v].wording, VARIANTS[v].sequences) for v, _ in cells):
        group = {key: own for key, own in cells.items() if (VARIANTS[key[0]].wording, VARIANTS[key[0]].sequences) == settings}
        heads = heads_of(preset, *settings, 0)
        rows += [row for split in splits for row in _measured(group, heads, split, preset)]
    return pd.DataFrame(rows)


def search_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """The search, on validation studies, where settings are chosen; and on test studies, to see whether the choice holds."""
    return selip_table(cells, preset, splits=("val", "test"))


def bases_of(variant: str, variants: list[str]) -> list[str]:
    """What a variant is compared with: CLIP in the same setting, and SeLIP's form for what is held against it."""
    setting, _, last = variant.rpartition(", ")
    bases = [*BASES, "selip, distinct"]
    if variant in SIZES:
        bases = [f"{name}, {last}" for name in bases[1:]]
    elif variant in SETTINGS:
        bases = [f"{setting}, clip"]
    elif variant in BATCHES and variant not in MAIN:
        bases = list(BATCHES)[:1]
    return [base for base in bases if base in variants and base != variant]


def _measured(cells: Cells, heads: selip.HeadUnits, split: str, preset: config.Preset) -> list[dict]:
    rows, found = heads.rows(split), []
    queries, patients = selip_scores.asked(heads, rows), heads.table["patient_id"].to_numpy(str)[rows]
    for name, chance in selip_scores.retrieval_chances(queries).items():
        how = {"chance": chance, "preset": preset, "bases": bases_of}
        found += mean_rows(runs_of(cells, f"{split} {name}"), PREFIX[split] + name, patients[queries.sick], **how)
    for name, of in (PROBES | {ZERO_SHOT: "state"}).items():
        runs, truth = runs_of(cells, f"{split} {name}"), selip_scores.truth(heads, rows, of=of)
        found += auc_rows(runs, PREFIX[split] + name, truth, preset, each=False, bases=bases_of)
    return found
