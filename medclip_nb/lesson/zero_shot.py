"""What lesson 09 asks of trained models: classes and yes-no questions in words, other words, thresholds, groups of patients."""

import json
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from ..measure.auc import auc
from ..measure.detection import detection_scores, thresholds
from ..measure.embeddings import embed_units
from ..measure.findings import Truth
from ..measure.statistics import Score, statistic_score
from ..measure.zero_shot import class_embeddings, predict
from ..show.widgets import Gallery
from ..text.organ_texts import swapped
from ..text.prompts import ensemble
from . import ct_glip, steps
from .notebook import Lesson
from .questions import ASKED, Questions, about_organs

NONSENSE = "a photograph of a red bicycle"
SUITE = {  # what is made of a prompt -> template
    "as asked": "{}",
    "paraphrased": "findings consistent with {}",
    "denied": "no evidence of {}",
    "small": "small {}",
    "large": "large {}",
    "nonsense": NONSENSE,
}
SIZES = ("small", "large")
ON_BOARD = 2000  # test images that a sentence is held against
AGES = {"under 40": (0, 40), "40 to 59": (40, 60), "60 and over": (60, 200)}  # years


def class_hits(trained: steps.Trained, lesson: Lesson) -> pd.DataFrame:
    """Zero-shot classes of every test image: a row per image and task with the class, whether it was named, and the patient."""
    units, found = trained.units, []
    table = embed_units(trained.model, units, units.one_per_image(units.rows("test")))
    for column, own in steps.class_prompts(lesson, units).items():
        prompts = {name: ensemble(region=name) for name in own} if lesson.data.synthetic else own
        named = np.array(list(own))[predict(table.vectors, class_embeddings(trained.embed, prompts))]
        truth, patients = (table.rows[c].to_numpy(str) for c in (column, "patient_id"))
        found.append(pd.DataFrame({"task": column.replace("_", " "), "class": truth, "named": named, "patient": patients}))
    rows = pd.concat(found, ignore_index=True)
    return rows[rows["class"] != ""].assign(hit=lambda t: t["class"] == t["named"]).reset_index(drop=True)


def prompt_table(asked: Questions) -> pd.DataFrame:
    """Mean AUC on either split with the prompts of one place only, and with all: how much the choice of words decides."""
    n = min(len(own) for side in (asked.yes, asked.no) for own in side.values())
    one = lambda side, k: {q: [own[k]] for q, own in side.items()}  # noqa: E731
    ways = {next(iter(asked.yes.values()))[k]: {"yes": one(asked.yes, k), "no": one(asked.no, k)} for k in range(n)}
    ways |= {"all together": {}}
    rows = {name: {s: plain_auc(asked.truth[s], asked.scores(s, **how)) for s in ASKED} for name, how in ways.items()}
    return pd.DataFrame(rows).T


def plain_auc(truth: Truth, scores: Float[np.ndarray, "item question"]) -> float:
    """Mean AUC over the questions that can be scored."""
    return float(np.mean([_auc(truth, scores, k) for k in truth.scored()]))


def typical(truth: Truth, scores: Float[np.ndarray, "item question"]) -> int:
    """The question whose AUC is nearest to the mean of all."""
    mean = plain_auc(truth, scores)
    return min(truth.scored(), key=lambda k: abs(_auc(truth, scores, k) - mean))


def _auc(truth: Truth, scores: Float[np.ndarray, "item question"], k: int) -> float:
    asked = truth.asked[:, k]
    return auc(truth.labels[asked, k], scores[asked, k])


def chosen_on(asked: Questions, *, n_bootstrap: int) -> pd.DataFrame:
    """F1 on the test items with thresholds from validation items, and, to see the flattery, from the test items themselves."""
    scores = {split: asked.scores(split) for split in ASKED}
    limits = {split: thresholds(asked.truth[split], scores[split]) for split in ASKED}
    both = ~np.isnan(limits["val"]) & ~np.isnan(limits["test"])
    judge = partial(detection_scores, asked.truth["test"], scores["test"], n_bootstrap=n_bootstrap)
    tables = {split: judge(np.where(both, own, np.nan)).iloc[-1] for split, own in limits.items()}
    return pd.DataFrame(tables).T[["sensitivity", "ppv", "f1", "f1_low", "f1_high", "f1_chance"]].astype(float)


def pooled(asked: Questions, split: str) -> tuple[Float[np.ndarray, " pair"], Bool[np.ndarray, " pair"], np.ndarray]:
    """Every asked (item, question): its logit at the model's own scale, the truth, and whose item it is."""
    truth = asked.truth[split]
    patients = np.broadcast_to(truth.patients[:, None], truth.asked.shape)[truth.asked]
    return asked.scale * asked.scores(split)[truth.asked].astype(float), truth.labels[truth.asked], patients


def suite_scores(asked: Questions, *, n_bootstrap: int) -> list[Score]:
    """Mean AUC with the first prompt of each question, and with what SUITE makes of it; sides swapped where there are sides."""
    first = {question: own[0] for question, own in asked.yes.items()}
    suite = {name: {q: [form.format(text)] for q, text in first.items()} for name, form in SUITE.items()}
    if any(swapped(text) != text for text in first.values()):
        suite["left and right swapped"] = {q: [swapped(text)] for q, text in first.items()}
    return [asked.auc(name, asked.scores("test", yes=yes), n_bootstrap=n_bootstrap) for name, yes in suite.items()]


def size_scores(asked: Questions, *, n_bootstrap: int) -> Score | None:
    """Does "large" rather than "small" follow the lesion's size? Rank correlation among the sick, within questions; chance 0.

    None where nobody says how large a finding is.
    """
    forms = ({q: [SUITE[size].format(own[0])] for q, own in asked.yes.items()} for size in SIZES)
    small, large = (asked.scores("test", yes=yes) for yes in forms)
    truth, sizes = asked.truth["test"], _sizes(asked)
    sick = truth.labels & truth.asked & ~np.isnan(sizes)
    if not sick.any():
        return None
    places = [_places(part, sick) for part in (large - small, sizes)]
    patients = np.broadcast_to(truth.patients[:, None], sick.shape)[sick]
    spearman = lambda a, b: float(np.corrcoef(a, b)[0, 1])  # noqa: E731
    return statistic_score("large minus small, by size", spearman, (*places,), patients, chance=0.0, n_bootstrap=n_bootstrap)


def _places(values: np.ndarray, sick: Bool[np.ndarray, "item question"]) -> Float[np.ndarray, " pair"]:
    """Rank of each value among those of its question, from -1 to 1."""
    from scipy.stats import rankdata

    placed = np.full(values.shape, np.nan)
    for k in range(values.shape[1]):
        n = int(sick[:, k].sum())
        placed[sick[:, k], k] = (2 * rankdata(values[sick[:, k], k]) - n - 1) / max(n, 1)
    return placed[sick]


def _sizes(asked: Questions) -> Float[np.ndarray, "item question"]:
    """Voxels of each finding of each test item, where the manifest says."""
    sizes = np.full(asked.truth["test"].labels.shape, np.nan)
    place = {name: k for k, name in enumerate(asked.truth["test"].names)}
    for row, text in enumerate(asked.rows["test"]["findings"]):
        for f in json.loads(text or "[]"):
            k = place.get(ct_glip.say((f.get("organ", ""), f.get("finding", ""))))
            if k is not None and "n_voxels" in f:
                sizes[row, k] = f["n_voxels"]
    return sizes


def galleries(lesson: Lesson, trained: steps.Trained, asked: Questions) -> list[Gallery]:
    """What a prompt board ranks: test images by lesson 05's model with their texts, and organs if they are asked about."""
    units = trained.units
    rows = steps.sample_rows(units.one_per_image(units.rows("test")), ON_BOARD, seed=lesson.seed)
    table = embed_units(trained.model, units, rows)
    said = [f"{units.texts[row.text_id]} (patient {row.patient_id})" for row in table.rows.itertuples()]
    pictures = units.images[table.rows["image"], min(1, units.images.shape[1] - 1), units.images.shape[2] // 2]
    images = Gallery("test images", trained.embed, table.vectors, said, pictures)
    return [images, _organs(asked)] if about_organs(lesson) else [images]


def _organs(asked: Questions) -> Gallery:
    """Every usable organ of the test studies, with what is truly so of what the questions ask about it."""
    truth, emb = asked.truth["test"], asked.emb["test"]
    organ, finding = np.array([name.split(": ") for name in truth.names]).T
    vectors, said = [], []
    for name in dict.fromkeys(organ):
        own = np.flatnonzero(organ == name)
        for i in np.flatnonzero(truth.asked[:, own[0]]):
            found = ", ".join(finding[k] for k in own if truth.labels[i, k]) or "nothing that is asked about"
            said.append(f"{name}: {found} (patient {truth.patients[i]})")
            vectors.append(emb[i, own[0]])
    return Gallery("organs of the test studies", asked.embed, np.stack(vectors), said)


def groups_of(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Labels of items by sex, age and scanner, "" where it is not said; only what has two values at least."""
    years = pd.to_numeric(rows["age"], errors="coerce").to_numpy(float)
    bands = np.select([(years >= low) & (years < high) for low, high in AGES.values()], list(AGES), "")
    groups = {"sex": rows["sex"].to_numpy(str), "age": bands.astype(str), "scanner": rows["scanner"].to_numpy(str)}
    return {name: own for name, own in groups.items() if len(set(own) - {""}) > 1}
