"""What lesson 12 shows: lesson 08's model against the same network from scratch, where few studies have labels or outlines."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8

from ..config import RECIPES
from ..learn.checkpoint import from_pretrained
from ..learn.segmentation import predict_masks
from ..measure import segmentation
from ..measure.findings import Truth, mean_auc
from ..measure.statistics import Score, mean_score
from ..model.dual_encoder import DualEncoder
from ..model.segmenter import Segmenter
from . import little_data, real_head, selip, selip_scores, similar_reports
from .notebook import Lesson, require


def models(lesson: Lesson, heads: selip.HeadUnits) -> dict[str, DualEncoder]:
    """Lesson 08's SeLIP model, trained now if that lesson has not run at these settings, and a fresh one."""

    def build(lesson: Lesson, folder) -> None:
        model, history = similar_reports.train(lesson, heads, RECIPES["selip"])
        similar_reports.hand_over(lesson, model, heads, history, recipe=RECIPES["selip"], folder=folder)

    pretrained = from_pretrained(require(lesson, "08", build) / "model")[0]
    return {"from scratch": selip.head_model(heads, RECIPES["selip"], seed=lesson.seed).eval(), "pretrained": pretrained}


def label_scores(
    lesson: Lesson, heads: selip.HeadUnits, starts: dict[str, DualEncoder], percent: int
) -> dict[str, Float[np.ndarray, "unit kind"]]:
    """Scores of the kinds on the test volumes, by probe and by fine-tuning, from labels of a share of the training studies."""
    train, found = little_data.share_of(heads, percent, lesson.seed), {}
    for start, model in starts.items():
        read = little_data.read_labels(model, heads, train, seed=lesson.seed, n_steps=n_steps(lesson))
        found |= {f"{way}, {start}": scores for way, scores in read.items()}
    return found


def n_steps(lesson: Lesson) -> int | None:
    """At smoke a fit has a tenth of the steps: it shows that all runs, and learns little."""
    return 30 if lesson.preset.name == "smoke" else None


def kinds(heads: selip.HeadUnits) -> Truth:
    """Which test volumes show which kind of finding."""
    return selip_scores.truth(heads, heads.rows("test"), of="kind")


def auc_scores(truth: Truth, found: dict[str, np.ndarray], *, n_bootstrap: int) -> list[Score]:
    """Mean AUC over the kinds of each way."""
    return [mean_auc(f"mean AUC, {way}", truth, [scores], n_bootstrap=n_bootstrap) for way, scores in found.items()]


def outliners(lesson: Lesson, heads: selip.HeadUnits, starts: dict[str, DualEncoder], n: int) -> dict[str, Segmenter]:
    """What each start has become after so many training studies with masks."""
    train = little_data.labelled(heads, n, lesson.seed)
    how = {"root": lesson.data.root, "seed": lesson.seed, "n_steps": n_steps(lesson)}
    rates = {start: little_data.RATES.get(start, little_data.RATES["selip"]) for start in starts}
    return {k: little_data.fit_outlines(model, heads, train, rate=rates[k], **how) for k, model in starts.items()}


def marked_on_test(
    heads: selip.HeadUnits, networks: dict[str, Segmenter]
) -> dict[str, Bool[np.ndarray, "unit slice row column"]]:
    """What each network marks on the test volumes."""
    images = little_data.images_of(heads, heads.rows("test"))
    return {start: predict_masks(network, images) for start, network in networks.items()}


def marked_on_real(
    seen: list[real_head.Head], networks: dict[str, Segmenter]
) -> tuple[dict[str, Bool[np.ndarray, "subject slice row column"]], pd.DataFrame]:
    """What each network marks on the FLAIR of real heads, and its Dice with their masks: a row per subject."""
    images, lesions = np.stack([head.images["FLAIR"][None] for head in seen]), np.stack([head.lesions > 0 for head in seen])
    marked = {start: predict_masks(network, images) for start, network in networks.items()}
    scores = {f"Dice, {start}": segmentation.dice(own, lesions) for start, own in marked.items()}
    return marked, pd.DataFrame({"subject": [head.name for head in seen]} | scores)


def true_lesions(lesson: Lesson, heads: selip.HeadUnits) -> UInt8[np.ndarray, "unit slice row column"]:
    """The labels of what each test volume shows."""
    return little_data.lesion_labels(lesson.data.root, heads.table.iloc[heads.rows("test")])


def dice_scores(heads: selip.HeadUnits, marked: dict[str, np.ndarray], lesions: np.ndarray, *, n_bootstrap: int) -> list[Score]:
    """Mean Dice of the test volumes with a focal lesion."""
    sick, test = lesions.any((1, 2, 3)), heads.rows("test")
    patients = heads.table["patient_id"].to_numpy(str)[test][sick]
    values = {start: segmentation.dice(predicted[sick], lesions[sick] > 0) for start, predicted in marked.items()}
    return [mean_score(f"Dice, {k}", v, patients, chance=None, n_bootstrap=n_bootstrap) for k, v in values.items()]


def cuts(
    heads: selip.HeadUnits, marked: dict[str, np.ndarray], lesions: np.ndarray, units: list[int]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The slice with most lesion of some test volumes: truth and what each start marks, as images, label maps and titles."""
    test = heads.rows("test")
    images = heads.units.images[heads.table["image"].to_numpy()[test[units]], 0]
    names = heads.table["sequence"].to_numpy(str)[test[units]]
    return stacked(images, {"truth": lesions[units] > 0} | {start: own[units] for start, own in marked.items()}, list(names))


def stacked(
    images: UInt8[np.ndarray, "volume slice row column"],
    masks: dict[str, Bool[np.ndarray, "volume slice row column"]],
    names: list[str],
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The slice of each volume with most of the first mask, once with each mask: images, label maps and titles."""
    first = next(iter(masks.values()))
    at = [(i, int(mask.sum((1, 2)).argmax())) for i, mask in enumerate(first)]
    cut = [(images[i, k], own[i, k].astype(np.uint8), f"{names[i]}: {title}") for i, k in at for title, own in masks.items()]
    pictures, labels, titles = zip(*cut, strict=True)
    return np.stack(pictures), np.stack(labels), list(titles)


def curve(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The seeds' means of one measure of a study's table, by start and amount of labels, for `label_curves`."""
    own = table[
        (table["measure"] == measure) & (table["seed"] == "mean") & table["finding"].fillna("").isin(["", "all findings"])
    ]
    parts = own["variant"].str.extract(r"^(?P<start>.*), (?P<n>\d+) ")
    return own.assign(start=parts["start"], n=parts["n"].astype(float)).sort_values("n", kind="stable")


def gains(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Differences from scratch with the same labels."""
    own = table[(table["measure"] == measure) & table["seed"].astype(str).str.startswith("minus from scratch")]
    return own[["variant", "value", "low", "high"]]
