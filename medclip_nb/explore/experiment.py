"""What notebook 90 does on any dataset with one recipe and one seed: looks, trains, hands over. `grid` runs it for many."""

import json
from dataclasses import replace
from textwrap import shorten, wrap

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from matplotlib.figure import Figure

from ..config import Recipe
from ..data.manifest import SPLITS
from ..data.organs import label_maps
from ..data.studies import Units, read_images
from ..files import whole, write_text
from ..learn.organ_units import OrganUnits
from ..lesson import grounding, selip, steps
from ..lesson.notebook import Lesson
from ..show.organs import overlay
from ..show.pictures import contact_sheet
from .arms import of_organs
from .experiment_scores import Result, score_images, score_organs
from .prepare import Made, settings

SHOWN = {"scans": 3, "images": 12, "texts": 8}
VALUES = "values.npz"  # each measure on all items and on each resample of patients
ABOUT = "about.json"  # how it was trained, and what it answers to some test images
SAYS = {
    "softmax": "Each unit of a batch asks which texts are right for it, and each text which units: cross-entropy over the batch.",
    "sigmoid": "Each pair of a unit and a text of a batch is a yes or a no of its own.",
    "identity": "Right is a unit's own text only: the same words with another unit count as wrong.",
    "same_text": "Right is a unit's own text, and the same words with any other unit.",
    "true_text": "Right is every text of the batch that is true of the image, its own or another's.",
    "own_sentences": "A unit is one organ of one scan. Right is what its report finds in the organ, else a sentence that calls "
    "it normal. Wrong are other texts about the same organ, phrases of the abnormality dictionary among them.",
    "same_organ": "Slices without a finding are drawn where the organ of a drawn finding is seen.",
    "similar": "Right is a unit's own text for one part, and for the other every text of the batch by how alike the two are.",
    "distinct": "No batch holds a text twice.",
    "balanced": "Every text is drawn as often as any other.",
}


def describe(recipe: Recipe) -> str:
    """What a recipe does, in words."""
    keys = (recipe.loss, recipe.targets, recipe.normals, recipe.batches)
    more = [f"A second term, of weight {recipe.names_weight:g}, matches organs with their names."] * bool(recipe.names_weight)
    return " ".join([*(SAYS[key] for key in keys if key in SAYS), *more])


def compared_by(made: Made) -> str:
    """Of targets by similarity: what the texts are compared by, and why; else nothing."""
    if made.recipe.targets != "similar":
        return ""
    share = selip.share_read(selip.read_findings(made.units.texts), selip.training_texts(made.units))
    by = "their findings, where these are known, else" if share >= selip.READ_SHARE else "nothing but"
    asked = f"({selip.READ_SHARE:.0%} are asked for)"
    return (
        f"The rules understand {share:.0%} of the training texts {asked}: texts are compared by {by} their sentence embeddings."
    )


def one_batch(made: Made) -> tuple[Bool[np.ndarray, "unit text"], ...]:
    """Of the first training batch: which texts are right for each unit, which are wrong, and which of these are its own words."""
    rng = np.random.default_rng(made.plan.seed)
    batch = made.pairs.batch(made.pairs.epoch(rng, made.plan.batch_size)[0], rng)
    right = (batch.targets > 0).numpy()
    wrong = ~right if batch.valid is None else ~right & batch.valid.numpy()
    words = made.units.texts.sentence[batch.text_ids] if of_organs(made.recipe) else batch.text_ids.numpy()
    own = right.astype(np.float32) @ (words[:, None] == words).astype(np.float32) > 0
    return right, wrong, wrong & own


def train(lesson: Lesson, made: Made) -> pd.DataFrame:
    """Trains by the preset's plan; gives the history. The model is saved, ready to be loaded again."""
    history = steps.fit(lesson, made.model, made.pairs, recipe=made.recipe, plan=made.plan)
    hand_over(lesson, made, history)
    return history


def hand_over(lesson: Lesson, made: Made, history: pd.DataFrame) -> None:
    """Saves the model, ready to be loaded again, and the history."""
    if of_organs(made.recipe):
        grounding.hand_over(lesson, made.model, made.units, history)
    else:
        steps.hand_over(lesson, lesson.folder, model=made.model, units=made.units, history=history, recipe=made.recipe)


def score(lesson: Lesson, made: Made, history: pd.DataFrame) -> Result:
    """What test patients say; what a comparison needs is kept in the lesson's folder."""
    if of_organs(made.recipe):
        result = score_organs(lesson, made.model, made.units)
    else:
        result = score_images(lesson, made.model, made.units, beside=made.pairs.beside)
    values = {measure.score.name: measure.values for measure in result.measures}
    with whole(lesson.folder / VALUES) as part, part.open("wb") as file:
        np.savez(file, names=np.array(list(values)), values=np.stack(list(values.values())))
    about = {"settings": settings(made), "learnt": learnt(kept(history, made)), "examples": result.examples}
    write_text(lesson.folder / ABOUT, json.dumps(about, indent=1))
    return result


def kept(history: pd.DataFrame, made: Made) -> pd.Series:
    """The epoch whose weights are kept: the best on the validation patients where training waited for it, else the last."""
    return history.loc[history["val_loss"].idxmin()] if made.plan.patience else history.iloc[-1]


def learnt(epoch: pd.Series) -> float:
    """How far the validation loss came from the level of a model that sees nothing (0) to the floor (1); below 0 is worse."""
    return float((epoch["no_learning"] - epoch["val_loss"]) / (epoch["no_learning"] - epoch["floor"]))


def split_table(table: pd.DataFrame) -> pd.DataFrame:
    """Patients, rows and texts of each split of a manifest."""
    groups = table.assign(words=table["report"].str.split().str.len()).groupby("split")
    columns = {"patients": groups["patient_id"].nunique(), "images": groups.size(), "different texts": groups["report"].nunique()}
    columns |= {"words in the median text": groups["words"].median().round().astype(int)}
    return pd.DataFrame(columns).reindex([split for split in SPLITS if split in groups.groups])


def unit_table(units: Units | OrganUnits) -> pd.DataFrame:
    """Of organs: in how many scans each can be used, or why not. Of images: the most frequent texts."""
    if isinstance(units, OrganUnits):
        return units.organs.counts().pivot_table(index="organ", columns="state", values="n", fill_value=0, sort=False).astype(int)
    n = units.table["text_id"].value_counts().head(SHOWN["texts"])
    words = [shorten(units.texts[i], 50, placeholder=" …") for i in n.index]
    return pd.DataFrame({"units with this text": n.to_numpy()}, index=words)


def look(lesson: Lesson, units: Units | OrganUnits) -> Figure:
    """Some training images with what is said of them; in scans the organs that their masks mark."""
    rows, channel = units.rows("train"), min(1, lesson.data.contract.channels - 1)
    if isinstance(units, OrganUnits):
        usable = rows[units.organs.used[rows].any(1)]
        return _organs_of(units, steps.sample_rows(usable, SHOWN["scans"], seed=lesson.seed), channel)
    found = rows[units.table["finding"].to_numpy()[rows] != ""]
    some = units.table.iloc[steps.sample_rows(found if len(found) else rows, SHOWN["images"], seed=lesson.seed)]
    return contact_sheet(units.images[some["image"], channel, units.images.shape[2] // 2], some["text"].tolist())


def _organs_of(units: OrganUnits, rows: Int[np.ndarray, " study"], channel: int) -> Figure:
    """The slice of each study that shows the most organs."""
    few = replace(units.dataset, manifest=units.table.iloc[rows])
    labels, studies = label_maps(few, units.organs.names), np.arange(len(rows))
    place = np.array([[len(np.unique(one)) for one in study] for study in labels]).argmax(1)
    found = [" ".join(dict.fromkeys(e.text for e in units.entries[i] if e.findings)) for i in rows]
    titles = ["\n".join(wrap(text or "nothing is found", 36, max_lines=4, placeholder=" …")) for text in found]
    return overlay(read_images(few)[studies, channel, place], labels[studies, place], list(units.organs.names), titles)
