"""Scores of an experiment on test patients, each with its value on every resample of them, so that runs can be compared."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from ..data.studies import Units
from ..learn.organ_units import OrganUnits
from ..lesson import ct_glip, radclip, steps
from ..lesson.notebook import Lesson
from ..measure.comparisons import over_seeds, resampled_p
from ..measure.detection import detection_scores, thresholds
from ..measure.embeddings import EmbeddingTable, embed_units
from ..measure.findings import Truth, finding_scores, mean_auc, resampled_aucs
from ..measure.organs import AGAINST, embed_organs
from ..measure.retrieval import chance_recall_at, first_ranks, recall_at
from ..measure.statistics import Score, mean_score, paired_difference, patient_weights, percentile_interval
from ..model.adapter import SliceAdapter
from ..model.dual_encoder import DualEncoder
from ..model.organ_encoder import OrganEncoder
from .examples import of_images, of_organs

MOST_IMAGES = 3000  # of the test split: the same ones for every recipe and seed
KEY = "image to text R@10"
TRUTH = {
    "images": "Right is the text that came with an image, and the same words wherever they came with another. Classes are "
    "columns of the manifest.",
    "drawn": "What is wrong with an organ is known from the column 'findings'.",
    "rules": "What is wrong with an organ is read from its report by rules. The scores measure agreement with these rules, which "
    "make mistakes of their own; fill the column 'findings' in every row, and it is taken instead.",
}


class Measure(NamedTuple):
    """A score, and its value on all items, then on each resample of patients."""

    score: Score
    values: Float[np.ndarray, " value_and_resample"]


@dataclass
class Result:
    """What was measured, the most telling first; the parts of that one (findings or classes); yes and no, of organs."""

    measures: list[Measure]
    truth: str
    parts: list[Score] = field(default_factory=list)
    yes_or_no: pd.DataFrame = field(default_factory=pd.DataFrame)
    examples: list[dict] = field(default_factory=list)

    @property
    def key(self) -> Score:
        """The one that recipes are judged by, settled before any is seen: findings where they are known, else R@10 of texts."""
        return next((s for s in self.scores if s.name.startswith("mean AUC") or s.name == KEY), self.scores[0])

    @property
    def scores(self) -> list[Score]:
        """The measures without their resamples."""
        return [measure.score for measure in self.measures]


def of_items(name: str, values: np.ndarray, patients: np.ndarray, *, chance: float | None, n_bootstrap: int) -> Measure:
    """The mean of a value per item."""
    weights = _weights(patients, n_bootstrap)
    score = mean_score(name, values, patients, chance=chance, n_bootstrap=n_bootstrap)
    return Measure(score, weights @ np.asarray(values, float) / weights.sum(1))


def of_findings(name: str, truth: Truth, scores: Float[np.ndarray, "item finding"], *, n_bootstrap: int) -> Measure:
    """The mean AUC over the findings that can be scored."""
    aucs = np.ma.masked_invalid(resampled_aucs(truth, scores, n_bootstrap=n_bootstrap)[1])
    return Measure(mean_auc(name, truth, [scores], n_bootstrap=n_bootstrap), aucs.mean(0).filled(np.nan))


def of_yes_or_no(
    name: str, truth: Truth, scores: Float[np.ndarray, "item finding"], limits: Float[np.ndarray, " finding"], *, n_bootstrap: int
) -> tuple[Measure, pd.DataFrame]:
    """The mean F1 at given thresholds, and the table of `detection_scores` behind it."""
    table = detection_scores(truth, scores, limits, n_bootstrap=n_bootstrap)
    columns = [truth.names.index(name) for name in table["finding"].iloc[:-1]]
    yes, asked = (side[:, columns] for side in (truth.labels & truth.asked, truth.asked))
    called = asked & (scores[:, columns] >= limits[columns])
    weights, mean = _weights(truth.patients, n_bootstrap), table.iloc[-1]
    n_either = weights @ yes + weights @ called
    f1 = np.ma.divide(2 * (weights @ (yes & called)), np.ma.masked_equal(n_either, 0)).mean(1).filled(np.nan)
    n = len(np.unique(truth.patients))
    return Measure(Score(name, mean["f1"], mean["f1_low"], mean["f1_high"], n, "patients", mean["f1_chance"]), f1), table


def score_organs(lesson: Lesson, model: OrganEncoder, units: OrganUnits) -> Result:
    """How well findings are told from "normal" and from all other states, at which thresholds, and organs from each other."""
    n, asked = {"n_bootstrap": lesson.preset.n_bootstrap}, ct_glip.states(units)
    emb = {split: embed_organs(model, units, units.rows(split)) for split in ("val", "test")}
    result = Result([], TRUTH["drawn" if (units.table["findings"] != "").all() else "rules"])
    truth = {split: ct_glip.truth(units, units.rows(split), asked) for split in emb if asked}
    if asked and truth["test"].scored():
        scores = {split: ct_glip.organ_scores(model, units, emb[split], asked) for split in emb}
        normal = {split: scores[split][AGAINST[0]] for split in emb}
        result.measures += [of_findings(f"mean AUC, finding against {a}", truth["test"], scores["test"][a], **n) for a in AGAINST]
        result.parts = finding_scores(truth["test"], normal["test"], **n)
        result.examples = of_organs(model, units, emb["test"], asked)
        limits = thresholds(truth["val"], normal["val"])
        if not np.isnan(limits[truth["test"].scored()]).all():
            f1, result.yes_or_no = of_yes_or_no("mean F1, finding or normal", truth["test"], normal["test"], limits, **n)
            result.measures.append(f1)
    result.measures.append(_named(model, units, emb["test"], **n))
    return result


def _named(model: OrganEncoder, units: OrganUnits, emb: np.ndarray, *, n_bootstrap: int) -> Measure:
    """The share of a study's organs that lie nearest to their own name."""
    names = ct_glip.named(model, units, emb)
    n_right, n_there = (names == np.arange(len(units.names))).sum(1), (~np.isnan(names)).sum(1)
    patients, there = units.table["patient_id"].to_numpy(str)[units.rows("test")], n_there > 0
    share = n_right[there] / n_there[there]
    return of_items("organs named rightly", share, patients[there], chance=1 / len(units.names), n_bootstrap=n_bootstrap)


def score_images(lesson: Lesson, model: DualEncoder | SliceAdapter, units: Units, *, beside: tuple[Tensor, ...] = ()) -> Result:
    """How well images find their text and texts their image; classes, where the dataset names some; findings of slices."""
    n, trained = {"n_bootstrap": lesson.preset.n_bootstrap}, steps.Trained(model, units)
    rows = steps.sample_rows(units.one_per_image(units.rows("test")), MOST_IMAGES, seed=0)
    table = embed_units(model, units, rows, beside=beside)
    result = Result([], TRUTH["images"])
    for column, prompts in steps.class_prompts(lesson, units).items():
        score, named = steps.class_score(trained, table, column, prompts, **n)
        right, patients = (named == table.rows[column]).to_numpy(), table.rows["patient_id"].to_numpy(str)
        result.measures.append(of_items(score.name, right, patients, chance=score.chance, **n))
    if "organs" in units.table:
        truth = radclip.slice_truth(units, table.rows["image"].to_numpy(), within="organ")
        scores = radclip.slice_scores(model, table.vectors, table.rows["body_part"].to_numpy(), truth.names)
        result.measures.insert(0, of_findings("mean AUC of findings, among slices of the organ", truth, scores, **n))
        result.parts = finding_scores(truth, scores, **n)
    return _with_retrieval(result, trained, table, **n)


def _with_retrieval(result: Result, trained: steps.Trained, table: EmbeddingTable, *, n_bootstrap: int) -> Result:
    """Adds both directions: each text is listed once, and each image asks, or is asked for by, its text."""
    images, patients = table.rows["image"].to_numpy(), table.rows["patient_id"].to_numpy(str)
    texts, own = np.unique(table.rows["text_id"].to_numpy(), return_inverse=True)
    sim = table.vectors @ trained.embed([trained.units.texts[i] for i in texts]).T
    right = steps.caption_relevance(trained.units, images, texts)
    result.examples = of_images(trained.units, table.rows, texts, sim, right)
    for way, cosines, relevant in (("image to text", sim, right), ("text to image", sim.T[own], right.T[own])):
        ranks = first_ranks(cosines, relevant)
        for k in (1, 10):
            name, chance = f"{way} R@{k}", chance_recall_at(relevant, k)
            result.measures.append(of_items(name, recall_at(ranks, k), patients, chance=chance, n_bootstrap=n_bootstrap))
    return result


def compare(runs: dict[tuple[str, int], dict], recipes: list[str]) -> list[dict]:
    """A row per measure and recipe: mean over seeds with its interval over patients, each seed, and the gain on the first recipe.

    `runs` are the metrics of each (recipe, seed), with the `values` of its measures by name. `gain` has its interval over
    patients, `gain_seeds` over seeds; recipes that share no seed or measure with the first have neither.
    """
    rows, names = [], dict.fromkeys(name for _, run in sorted(runs.items()) for name in run["values"])
    for place, name in enumerate(names):
        values = {recipe: _by_seed(runs, recipe, name) for recipe in recipes}
        for recipe, own in values.items():
            if own:
                figures = {seed: next(f for f in runs[recipe, seed]["figures"] if f["name"] == name) for seed in own}
                gains = _gains(own, values[recipes[0]]) if recipe != recipes[0] else {}
                rows.append(_mean(own, figures) | {"place": place, "recipe": recipe, "seeds": figures} | gains)
    return rows


def _by_seed(runs: dict[tuple[str, int], dict], recipe: str, name: str) -> dict[int, np.ndarray]:
    return {seed: run["values"][name] for (other, seed), run in sorted(runs.items()) if other == recipe and name in run["values"]}


def _mean(own: dict[int, np.ndarray], figures: dict[int, dict]) -> dict:
    """The figure of one seed with the values of all; an interval of no width (all or nothing was right) is the seeds' own."""
    mean, one = np.mean(list(own.values()), axis=0), next(iter(figures.values()))
    low, high = percentile_interval(mean[1:])
    if low == high:
        low, high = min(f["low"] for f in figures.values()), max(f["high"] for f in figures.values())
    return one | {"value": float(mean[0]), "low": low, "high": high}


def _gains(own: dict[int, np.ndarray], first: dict[int, np.ndarray]) -> dict:
    """The mean difference over the seeds that both have, paired by patients; each seed's; and how sure it is over trainings."""
    steps = {seed: own[seed] - first[seed] for seed in sorted(set(own) & set(first))}
    if not steps:
        return {}
    by_seed, mean = {seed: float(step[0]) for seed, step in steps.items()}, np.mean(list(steps.values()), axis=0)
    gain = paired_difference("", mean[1:], np.zeros_like(mean[1:]), float(mean[0]), n=len(steps))
    seeds = over_seeds("", np.array(list(by_seed.values())), chance=0.0) if len(steps) > 1 else None
    return {"gain": gain, "gain_seeds": seeds, "gain_by_seed": by_seed, "p": resampled_p(mean[1:])}


def _weights(patients: np.ndarray, n_bootstrap: int) -> np.ndarray:
    """How often each item counts: once, and then in each resample."""
    return np.vstack([np.ones((1, len(patients)), int), patient_weights(patients, n_bootstrap)])
