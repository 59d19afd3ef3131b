"""The studies behind lesson 07: CT-GLIP with and without each of its parts, against CLIP on whole volumes; few labels; and the
three papers' ideas together, on organs.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from time import perf_counter

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import nn

from .. import config
from ..data import catalog
from ..learn.checkpoint import from_pretrained
from ..learn.few_labels import OrganClassifier, fit_labels, label_scores
from ..learn.organ_pairs import OrganPairs
from ..learn.organ_units import OrganUnits, organ_units
from ..learn.plan import Plan
from ..learn.pretrain import pretrain
from ..lesson import ct_glip
from ..measure.organs import AGAINST, embed_organs
from ..model.organ_encoder import OrganEncoder, build_organ_encoder
from .runner import cell_folder, keep_model
from .tables import VALIDATION, Cells, auc_rows, mean_rows, runs_of, those_before
from .tried import HardPhrases, OwnTemperatures

BASE = config.RECIPES["ct_glip"]
SHORT = 0.3  # of the plan's epochs: what is compared is trained for a third of lesson 07's time
FEW = (20,)  # labelled studies
VIT = "vit_tiny"


@dataclass(frozen=True)
class Variant:
    """What one variant changes."""

    recipe: config.Recipe = BASE
    form: str = "crops"
    organ_pooling: str = "mean_max"
    boxes: bool = False
    batch_size: int = 0  # studies; 0 is the plan's
    share: float = SHORT  # of the plan's epochs, the same for all that is compared
    whole: bool = False  # CLIP on whole volumes and whole reports instead
    pairs: type[OrganPairs] = OrganPairs
    encoder: type[OrganEncoder] = OrganEncoder
    labels: bool = False  # no texts: the labels of all training studies, in as many steps
    tower: str = config.ORGAN_TOWER


OFF, FULL = replace(BASE, names_weight=0.0), replace(BASE, names_weight=1.0)
FORMS = {
    "organ crops": Variant(),
    "feature map": Variant(form="map"),
    "CLIP, report": Variant(whole=True),
    "feature map, ViT": Variant(form="map", tower=VIT),
    "CLIP, report, ViT": Variant(whole=True, tower=VIT),
    "labels instead of texts": Variant(labels=True),
}
HELD_AGAINST = {  # of FORMS; the first is the one that a lesson reads
    "organ crops": ["CLIP, report"],
    "feature map": ["organ crops", "CLIP, report", "labels instead of texts"],
    "CLIP, report": ["organ crops"],
    "feature map, ViT": ["CLIP, report, ViT"],
    "labels instead of texts": ["organ crops"],
}
PARTS = {
    "ct_glip": Variant(),
    "names off": Variant(OFF),
    "names 1:1": Variant(FULL),
    "boxes": Variant(boxes=True),
    "boxes, names off": Variant(OFF, boxes=True),
    "boxes, names 1:1": Variant(FULL, boxes=True),
    "mean only": Variant(organ_pooling="mean"),
    "organ query": Variant(organ_pooling="query"),
    "m = 0": Variant(replace(BASE, n_dictionary=0)),
    "m = 32": Variant(replace(BASE, n_dictionary=32)),
}
DICTIONARY = {f"batch 4, m = {m}": Variant(replace(BASE, n_dictionary=m), batch_size=4, share=0.2) for m in (0, 8, 16, 32)} | {
    "batch 4, m = 8, uniform": Variant(replace(BASE, n_dictionary=8, dictionary_power=0.0), batch_size=4, share=0.2)
}
ALONE = replace(BASE, n_dictionary=0)
SOFT = {"similarity": "semantic", "power": 3.0}  # cosines of sentences, cubed: most sentences about an organ share its name
COMBINED = {
    "organs alone": Variant(ALONE),
    "dictionary": Variant(),
    "similar sentences": Variant(replace(ALONE, **SOFT)),
    "slice attention": Variant(ALONE, organ_pooling="slices"),
    "all three": Variant(replace(BASE, **SOFT), organ_pooling="slices"),
}
SEARCH = {
    "CT-GLIP": Variant(),
    "hard phrases": Variant(pairs=HardPhrases),
    "a temperature per organ": Variant(encoder=OwnTemperatures),
}
VARIANTS = FORMS | PARTS | DICTIONARY | COMBINED | SEARCH
KEPT = ("organ crops", "CLIP, report")  # whose models are fine-tuned
STARTS = {"from scratch": "", "CLIP": "CLIP, report", "pretrained": "organ crops"}  # -> whose tower, of the study "organs"
NEEDS = tuple(("organs", variant) for variant in KEPT)
LABELS = tuple(f"{start}, {n} labels" for n in FEW for start in STARTS)


@lru_cache(maxsize=1)
def units_of(preset: config.Preset) -> OrganUnits:
    """The embedded cohort's organs."""
    return organ_units(catalog.load("torso", preset))


def organs_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """One variant trained with one seed: both scores of every abnormality on the test studies, and which organs it names."""
    how, units = VARIANTS[variant], units_of(preset)
    asked, test = ct_glip.states(units), units.rows("test")
    plan = ct_glip.organ_plan(preset, seed=seed)
    plan = replace(plan, epochs=max(1, round(plan.epochs * how.share)), batch_size=how.batch_size or plan.batch_size)
    if how.labels:
        return _supervised(units, plan)
    if how.whole:
        model, recipe = ct_glip.global_model(units, seed=seed, tower=how.tower), config.RECIPES["clip"]
        pairs = ct_glip.global_pairs(units)
    else:
        recipe, shape = how.recipe, {"form": how.form, "organ_pooling": how.organ_pooling, "tower": how.tower}
        shape |= {"channels": units.dataset.contract.channels, "kind": how.encoder}
        model = build_organ_encoder(recipe, units.organs.names, seed=seed, **shape)
        pairs = how.pairs(units, recipe, form=how.form, boxes=how.boxes)
    history = pretrain(model, pairs, recipe=recipe, plan=plan)
    about = {"seconds": np.array(history["seconds"].sum())}
    if variant in KEPT:
        keep_model(model, cell_folder("organs", variant, seed, preset), units.dataset.contract, units.volumes[0][:1])
    if how.whole:
        return about | ct_glip.global_scores(model, units, test, asked)
    emb = embed_organs(model, units, test, boxes=how.boxes)
    if variant in SEARCH:
        chosen_on = ct_glip.organ_scores(model, units, embed_organs(model, units, units.rows("val")), asked)
        about |= {VALIDATION + name: scores for name, scores in chosen_on.items()}
    return about | {"named": ct_glip.named(model, units, emb)} | ct_glip.organ_scores(model, units, emb, asked)


def _supervised(units: OrganUnits, plan: Plan) -> dict[str, np.ndarray]:
    """The tower of organ crops on the labels of all training studies: what texts are held against."""
    rows, began = units.rows("train"), perf_counter()
    model = build_organ_encoder(BASE, units.organs.names, channels=units.dataset.contract.channels, seed=plan.seed)
    fitted = _fitted(model, units, rows, plan.seed, n_steps=max(1, plan.epochs * (len(rows) // plan.batch_size)))
    seconds = perf_counter() - began
    return {"seconds": np.array(seconds)} | dict.fromkeys(AGAINST, label_scores(fitted, units, units.rows("test")))


def _fitted(model: OrganEncoder, units: OrganUnits, rows: np.ndarray, seed: int, **how) -> OrganClassifier:
    """The model, fitted to the labels of some training studies."""
    abnormal = [state for state in ct_glip.states(units) if state[1]]
    labels, numbers = ct_glip.truth(units, rows, abnormal).labels, ct_glip.organ_numbers(units, abnormal)
    return fit_labels(model, units, rows, labels, numbers, seed=seed, **how)


def organs_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Mean AUC over the abnormalities, both ways, and how many organs are named rightly."""
    units = units_of(preset)
    test, n = units.rows("test"), len(units.organs.names)
    truth, patients = ct_glip.truth(units, test, ct_glip.states(units)), units.table["patient_id"].to_numpy(str)[test]
    named = {v: {seed: _right(found) for seed, found in own.items()} for v, own in runs_of(cells, "named").items()}
    return pd.DataFrame(
        [
            *(row for a in AGAINST for row in auc_rows(runs_of(cells, a), f"AUC against {a}", truth, preset, bases=bases_of)),
            *mean_rows(named, "organs named rightly", patients, chance=1 / n, preset=preset, bases=bases_of),
            *_seconds_rows(cells),
        ]
    )


def search_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """The search: mean AUC on validation studies, where changes are chosen, beside what test studies say."""
    units, rows = units_of(preset), []
    for prefix, split in ((VALIDATION, "val"), ("", "test")):
        truth = ct_glip.truth(units, units.rows(split), ct_glip.states(units))
        for against in AGAINST:
            rows += auc_rows(runs_of(cells, prefix + against), f"{prefix}AUC against {against}", truth, preset, each=False)
    return pd.DataFrame(rows)


def bases_of(variant: str, variants: list[str]) -> list[str]:
    """What a variant is compared with: the first one, but forms by HELD_AGAINST, and all three ideas with each alone."""
    if variant in FORMS:
        return [base for base in HELD_AGAINST.get(variant, []) if base in variants]
    others = [v for v in variants if v != variant] if variant == "all three" else variants[:1]
    return [v for v in others if v != variant]


def labels_cell(variant: str, seed: int, preset: config.Preset) -> dict[str, np.ndarray]:
    """Fine-tuning on a few labelled training studies, from one of STARTS: scores of the test studies."""
    units = units_of(preset)
    start, n = variant.split(", ")[0], int(variant.split()[-2])
    model = build_organ_encoder(BASE, units.organs.names, channels=units.dataset.contract.channels, seed=seed)
    if STARTS[start]:
        learnt = from_pretrained(cell_folder("organs", STARTS[start], seed, preset) / "model")[0]
        model = learnt if start == "pretrained" else with_tower(model, learnt.tower)
    rows = np.sort(np.random.default_rng(seed).permutation(units.rows("train"))[:n])  # all starts get the same studies
    return {"scores": label_scores(_fitted(model, units, rows, seed), units, units.rows("test"))}


def with_tower(model: OrganEncoder, tower: nn.Module) -> OrganEncoder:
    """The model with the weights of a tower that saw no masks: what only a mask's channel feeds stays as it is."""
    own = model.tower.state_dict()
    for name, weight in tower.state_dict().items():
        if weight.shape == own[name].shape:
            own[name].copy_(weight)
        else:
            own[name][:, : weight.shape[1]].copy_(weight)
    return model


def labels_table(cells: Cells, preset: config.Preset) -> pd.DataFrame:
    """Mean AUC over the abnormalities after fine-tuning; with each number of labels the pretrained against the other."""
    units = units_of(preset)
    truth = ct_glip.truth(units, units.rows("test"), ct_glip.states(units))
    groups = [{key: found for key, found in cells.items() if key[0].endswith(f", {n} labels")} for n in FEW]
    return pd.DataFrame(
        [row for group in groups for row in auc_rows(runs_of(group, "scores"), "AUC", truth, preset, bases=those_before)]
    )


def _right(named: Float[np.ndarray, "study organ"]) -> Float[np.ndarray, " study"]:
    """Share of a study's organs that are named rightly."""
    return np.nanmean(np.where(np.isnan(named), np.nan, named == np.arange(named.shape[1])), axis=1)


def _seconds_rows(cells: Cells) -> list[dict]:
    """Seconds of training, the mean over seeds, on one thread of a shared machine."""
    seconds = pd.Series({key: float(found["seconds"]) for key, found in cells.items()}).groupby(level=0, sort=False).mean()
    about = {"measure": "seconds of training", "finding": "", "seed": "mean", "unit": "s"}
    return [about | {"variant": variant, "value": value} for variant, value in seconds.items()]
