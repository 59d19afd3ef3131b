"""What notebook 90 does on any dataset with one recipe and one seed: looks, trains, hands over. `grid` runs it for many."""

from dataclasses import dataclass, replace
from textwrap import shorten, wrap

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from matplotlib.figure import Figure

from ..config import PRETRAINED_TOWER, RECIPES, Recipe, choose
from ..data.catalog import Dataset, is_volume
from ..data.manifest import SPLITS
from ..data.organs import label_maps
from ..data.studies import Units, load_units, read_images, row_units
from ..files import whole
from ..learn.augment import moved_and_dimmed, moved_together
from ..learn.organ_pairs import OrganPairs
from ..learn.organ_units import OrganUnits, organ_units
from ..learn.pairs import ImagePairs, checked_splits
from ..learn.plan import Plan, plan
from ..lesson import ct_glip, grounding, selip, steps
from ..lesson.notebook import Lesson
from ..measure.statistics import MIN_PATIENTS
from ..model.dual_encoder import TextSide
from ..model.organ_encoder import build_organ_encoder
from ..model.text_tower import embed_texts
from ..show.organs import overlay
from ..show.pictures import contact_sheet
from .experiment_scores import Result, score_images, score_organs

DEFAULT = "clip"  # the recipe of notebook 90 as shipped
SHOWN = {"scans": 3, "images": 12, "texts": 8}
VALUES = "values.npz"  # each measure on all items and on each resample of patients
SAYS = {
    "softmax": "Each unit of a batch asks which texts are right for it, and each text which units: cross-entropy over the batch.",
    "sigmoid": "Each pair of a unit and a text of a batch is a yes or a no of its own.",
    "identity": "Right is a unit's own text only: the same words with another unit count as wrong.",
    "same_text": "Right is a unit's own text, and the same words with any other unit.",
    "true_text": "Right is every text of the batch that is true of the image, its own or another's.",
    "own_sentences": "A unit is one organ of one scan. Right is what its report finds in the organ, else a sentence that calls "
    "it normal. Wrong are other texts about the same organ, phrases of the abnormality dictionary among them.",
    "same_organ": "Slices without a finding are drawn where the organ of a drawn finding is seen.",
    "similar": "Right is a unit's own text for one part, and for the other every text of the batch by how alike the two are. "
    "Findings are read from the texts by rules; a text that yields none is compared by its sentence embedding.",
    "distinct": "No batch holds a text twice.",
    "balanced": "Every text is drawn as often as any other.",
}


@dataclass(frozen=True)
class Made:
    """What is trained, and on what."""

    recipe: Recipe
    units: Units | OrganUnits
    pairs: ImagePairs | OrganPairs
    model: TextSide
    plan: Plan


def number_of(recipe: str) -> str:
    """The lesson number that a recipe's products are kept under: no two share a folder. ValueError for an unknown recipe."""
    return "90" if choose(RECIPES, "recipe", recipe).name == DEFAULT else f"90-{recipe}"


def of_organs(recipe: Recipe) -> bool:
    """Whether a recipe's units are organs of volumes; else they are slices or pictures."""
    return recipe.targets == "own_sentences"


def describe(recipe: Recipe) -> str:
    """What a recipe does, in words."""
    keys = (recipe.loss, recipe.targets, recipe.normals, recipe.batches)
    more = [f"A second term, of weight {recipe.names_weight:g}, matches organs with their names."] * bool(recipe.names_weight)
    return " ".join([*(SAYS[key] for key in keys if key in SAYS), *more])


def units_of(data: Dataset) -> Units:
    """Slices of the embedded CT with captions, else one unit per row: a picture or a volume, and its text."""
    return row_units(data) if is_volume(data.manifest).all() and not of_slices(data) else load_units(data)


def of_slices(data: Dataset) -> bool:
    """Whether the volumes are those of the embedded CT, whose slices have captions."""
    return data.synthetic and bool(data.contract.windows_hu)


def missing(data: Dataset, recipe: Recipe) -> str:
    """What the data lacks for a recipe and what to do about it; empty if it lacks nothing."""
    volumes, organs = is_volume(data.manifest), of_organs(recipe)
    slices = of_slices(data) and volumes.all()
    reasons = {
        "it learns from organs in volumes, and these are pictures; choose clip or siglip": organs and not volumes.all(),
        "it needs organ masks, and column 'mask' is empty in every row; run TotalSegmentator on the images and name what it "
        "wrote (a file, or a folder of files) in that column": organs and not (data.manifest["mask"] != "").any(),
        "it draws normal slices at the organ of a finding, and rows with one text do not say which organs they show; choose "
        "clip_same_text or siglip": recipe.normals == "same_organ" and not slices,
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def refuse(data: Dataset, recipes: list[Recipe]) -> None:
    """Raises ValueError, in one line with a remedy, if a recipe cannot be run. Every file of the user's own is read here once."""
    for recipe in recipes:
        if reason := missing(data, recipe):
            raise ValueError(f"recipe {recipe.name} cannot be run on {data.name}: {reason}")
    checked_splits(data.manifest)
    n = data.manifest.loc[data.manifest["split"] == "test", "patient_id"].nunique()
    if n < MIN_PATIENTS:
        raise ValueError(f"{data.name}: the test split has {n} patients, and an interval needs {MIN_PATIENTS}; split anew")
    for recipe in {of_organs(recipe): recipe for recipe in recipes if not data.synthetic}.values():
        if of_organs(recipe):
            ct_glip.states(OrganPairs(organ_units(data), recipe).units)
        else:
            units_of(data)


def prepare(lesson: Lesson, recipe: str) -> Made:
    """Units, pairs, a fresh model and the preset's plan."""
    how, channels = choose(RECIPES, "recipe", recipe), lesson.data.contract.channels
    if of_organs(how):
        units = organ_units(lesson.data)
        model = build_organ_encoder(how, units.organs.names, channels=channels, seed=lesson.seed)
        return Made(how, units, OrganPairs(units, how), model, ct_glip.organ_plan(lesson.preset, seed=lesson.seed))
    units = units_of(lesson.data)
    features, model = embed_texts(units.texts), steps.fresh_model(lesson, units, how)
    sim = selip.text_matrix(units, features, how)
    mr = model.config.dims == 3 and not lesson.data.contract.windows_hu
    pairs = ImagePairs(units, features, how, similarity=sim, augment=moved_and_dimmed if mr else moved_together)
    if model.config.dims == 3:
        return Made(how, units, pairs, model, selip.head_plan(lesson.preset, len(pairs.train), seed=lesson.seed))
    pretrained = model.config.image_tower == PRETRAINED_TOWER
    return Made(how, units, pairs, model, plan(lesson.preset, seed=lesson.seed, pretrained_tower=pretrained))


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
    if of_organs(made.recipe):
        grounding.hand_over(lesson, made.model, made.units, history)
    else:
        steps.hand_over(lesson, lesson.folder, model=made.model, units=made.units, history=history, recipe=made.recipe)
    return history


def score(lesson: Lesson, made: Made) -> Result:
    """What test patients say; what a comparison needs is kept in the lesson's folder."""
    result = (score_organs if of_organs(made.recipe) else score_images)(lesson, made.model, made.units)
    values = {measure.score.name: measure.values for measure in result.measures}
    with whole(lesson.folder / VALUES) as part, part.open("wb") as file:
        np.savez(file, names=np.array(list(values)), values=np.stack(list(values.values())))
    return result


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
