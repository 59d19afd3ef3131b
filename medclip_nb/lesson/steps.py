"""What more than one lesson does: the same few calls, in one place, so that any lesson opens alone."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8

from ..config import HEAD_TOWER, PRETRAINED_TOWER, RECIPES, SLICE_TOWER, Recipe
from ..data.phantoms import caption
from ..data.selfcheck import check_first_batch, small_map
from ..data.studies import Units, load_units
from ..files import sha256, write_text
from ..learn.checkpoint import from_pretrained, save_model
from ..learn.organ_pairs import OrganPairs
from ..learn.pairs import ImagePairs
from ..learn.plan import Plan, plan
from ..learn.pretrain import pretrain
from ..measure.embeddings import EmbeddingTable, embed_images, embed_text_features
from ..measure.ranking import MEDIAN, Figure, recall_by_list_size
from ..measure.statistics import Score, mean_score, patient_weights, percentile_interval, statistic_score
from ..measure.zero_shot import class_embeddings, majority_share, predict
from ..model.dual_encoder import DualEncoder, TextSide, build_model
from ..model.text_tower import embed_texts
from .notebook import Lesson, require


@dataclass
class Trained:
    """A trained model with the units it was trained and is tested on."""

    model: TextSide
    units: Units

    def embed(self, texts: list[str]) -> Float[np.ndarray, "text dim"]:
        """Embeddings of any sentences: the frozen tower's features through the model's text head."""
        return embed_text_features(self.model, embed_texts(texts))


def recipe_of(lesson: Lesson) -> Recipe:
    """Stage 1 of RadCLIP with our two changes where slices say what they show, else plain CLIP."""
    return RECIPES["radclip_true" if lesson.data.synthetic and lesson.data.contract.windows_hu else "clip"]


def fresh_model(lesson: Lesson, units: Units, recipe: Recipe) -> DualEncoder:
    """Pictures get the tower with ImageNet weights, CT slices and volumes a small one from scratch."""
    channels, n_slices = units.images.shape[1:3]
    if n_slices > 1:
        return build_model(recipe, image_tower=HEAD_TOWER, channels=channels, seed=lesson.seed, dims=3, map_pooling="grid")
    tower = SLICE_TOWER if lesson.data.contract.windows_hu else PRETRAINED_TOWER
    return build_model(recipe, image_tower=tower, channels=channels, seed=lesson.seed)


def train(lesson: Lesson, model: DualEncoder, units: Units, recipe: Recipe) -> pd.DataFrame:
    """Trains `model` by the preset's plan and says what there is to say; gives its history, one row per epoch.

    Interrupted and called again, it goes on where it was.
    """
    how = plan(lesson.preset, seed=lesson.seed, pretrained_tower=model.config.image_tower == PRETRAINED_TOWER)
    pairs = ImagePairs(units, embed_texts(units.texts), recipe)
    return fit(lesson, model, pairs, recipe=recipe, plan=how)


def fit(lesson: Lesson, model: TextSide, pairs: ImagePairs | OrganPairs, *, recipe: Recipe, plan: Plan) -> pd.DataFrame:
    """Trains in the recipe's own folder of the lesson, prints the advice and gives the history."""
    history = pretrain(model, pairs, recipe=recipe, plan=plan, folder=lesson.folder / recipe.name)
    print(*history.attrs["advice"], sep="\n", end="\n" * bool(history.attrs["advice"]))
    return history


def hand_over(lesson: Lesson, folder: Path, *, model: TextSide, units: Units, history: pd.DataFrame, recipe: Recipe) -> Path:
    """Saves what later lessons need: the model folder and the history."""
    return save(lesson, folder, model, images=units.images[train_images(units)], history=history, recipe=recipe)


def save(lesson: Lesson, folder: Path, model: TextSide, *, images: np.ndarray, history: pd.DataFrame, recipe: Recipe) -> Path:
    """The model folder and the history; what a first batch is compared with later is the mean of some training images."""
    write_text(folder / "history.csv", history.to_csv(index=False))
    card = model_card(lesson, history, recipe)
    table, contract = lesson.data.manifest, lesson.data.contract
    training = [sha256(lesson.data.root / name) for name in table.loc[table["split"] == "train", "image"]]
    return save_model(model, folder / "model", contract=contract, seen=small_map(images), card=card, training=training)


def trained_slices(lesson: Lesson) -> Trained:
    """Lesson 05's model, loaded; trained now if lesson 05 has not run at these settings."""
    units = load_units(lesson.data)

    def build(lesson: Lesson, folder: Path) -> None:
        recipe = recipe_of(lesson)
        model = fresh_model(lesson, units, recipe)
        hand_over(lesson, folder, model=model, units=units, history=train(lesson, model, units, recipe), recipe=recipe)

    folder = require(lesson, "05", build)
    model, contract, seen = from_pretrained(folder / "model")
    if contract != lesson.data.contract:
        raise ValueError(f"{folder}: the model was trained under another preprocessing contract; run lesson 05 again")
    check_first_batch(units.images[train_images(units)], seen)
    return Trained(model, units)


def train_images(units: Units, at_most: int = 2000) -> Int[np.ndarray, " image"]:
    """Numbers of at most so many images of the training split, evenly spread."""
    images = np.unique(units.table["image"].to_numpy()[units.rows("train")])
    return images[:: max(1, len(images) // at_most)]


def sample_rows(rows: Int[np.ndarray, " unit"], at_most: int, *, seed: int) -> Int[np.ndarray, " chosen"]:
    """At most so many of the rows, drawn without replacement, in their order."""
    chosen = np.random.default_rng(seed).choice(len(rows), min(at_most, len(rows)), replace=False)
    return rows[np.sort(chosen)]


def model_card(lesson: Lesson, history: pd.DataFrame, recipe: Recipe) -> str:
    """MODEL_CARD.md: what was trained on what, and what it must not be used for."""
    data, last = lesson.data, history.iloc[-1]
    kind = "synthetic images" if data.synthetic else "images"
    overlap = history.attrs.get("overlap_because", "")
    leak = f"Patients are in more than one split, on purpose: {overlap}. Its scores are inflated.\n" if overlap else ""
    return f"""# Dual encoder, recipe {recipe.name}

Trained on {kind} of `{data.name}` ({len(data.manifest)} rows), preset {lesson.preset.name}, seed {lesson.seed}.
Validation loss {last["val_loss"]:.3f} nats; a model that sees nothing has {last["no_learning"]:.3f}.
{leak}Text tower: frozen MiniLM sentence encoder. Preprocessing: `preprocessing.json`, which must be applied to new images.

For teaching and research. Not for clinical use: no figure in this folder says anything about patients.
"""


def caption_relevance(
    units: Units, images: Int[np.ndarray, " query"], texts: Int[np.ndarray, " item"]
) -> Bool[np.ndarray, "query item"]:
    """Which texts belong to which images: every caption of a slice, and every image with that text, is right."""
    pairs = units.table[["image", "text_id"]].drop_duplicates()
    grid = np.zeros((len(units.images), len(units.texts)), bool)
    grid[pairs["image"], pairs["text_id"]] = True
    return grid[np.ix_(images, texts)]


def class_prompts(lesson: Lesson, units: Units) -> dict[str, dict[str, list[str]]]:
    """Zero-shot tasks of the dataset: column -> class -> prompts. CT slices are asked for their region."""
    if not lesson.data.synthetic:
        return lesson.data.prompts
    return {"body_part": {region: [caption(region)] for region in sorted(set(units.table["body_part"]))}}


def class_score(
    trained: Trained, table: EmbeddingTable, column: str, prompts: dict, *, n_bootstrap: int
) -> tuple[Score, pd.Series]:
    """Zero-shot accuracy on one column with its interval, and the predicted class of each row."""
    emb = class_embeddings(trained.embed, prompts)
    named = pd.Series(np.array(list(prompts))[predict(table.vectors, emb)], index=table.rows.index)
    truth = table.rows[column].to_numpy()
    score = mean_score(
        f"zero-shot {column.replace('_', ' ')} accuracy",
        named.to_numpy() == truth,
        table.rows["patient_id"].to_numpy(),
        chance=majority_share(truth),
        n_bootstrap=n_bootstrap,
    )
    return score, named


def retrieval_scores(
    found: dict[str, dict[str, Figure]], rule: str, patients: np.ndarray, *, n_bootstrap: int
) -> dict[tuple[str, str, str], Score]:
    """Figures of `both_ways` as scores by (direction, rule, figure); `patients` says whose each query is."""
    scores = {}
    for way, figures in found.items():
        for name, figure in figures.items():
            about = {"chance": figure.chance, "n_bootstrap": n_bootstrap}
            title = f"{way} {name}, {rule}"
            if name == MEDIAN:
                score = replace(statistic_score(title, np.median, (figure.values,), patients, **about), higher_is_better=False)
            else:
                score = mean_score(title, figure.values, patients, **about)
            scores[way, rule, name] = score
    return scores


def list_size_curve(
    ranks: Int[np.ndarray, " query"], sizes: Int[np.ndarray, " size"], patients: np.ndarray, *, k: int, n_bootstrap: int
) -> Float[np.ndarray, "size 4"]:
    """R@k in random lists of some sizes, the last of which is the list that was ranked: value, interval over patients, chance."""
    hits, weights = recall_by_list_size(ranks, int(sizes[-1]), sizes=sizes, k=k), patient_weights(patients, n_bootstrap)
    means = weights @ hits / weights.sum(1, keepdims=True)
    intervals = [percentile_interval(column) for column in means.T]
    return np.column_stack([hits.mean(0), intervals, np.minimum(1, k / sizes)])


def seen_in_training(table: pd.DataFrame, splits: np.ndarray, how: str, *, n_bootstrap: int) -> Score:
    """Share of test rows whose patient has a row in training too, under any way to split the table."""
    test, known = splits == "test", set(table["patient_id"][splits == "train"])
    seen = table["patient_id"][test].isin(known).to_numpy(float)
    patients = table["patient_id"][test].to_numpy(str)
    name = f"test rows of a patient seen in training, {how}"
    return replace(mean_score(name, seen, patients, chance=None, n_bootstrap=n_bootstrap), higher_is_better=False)


def raw_vectors(model: DualEncoder, images: UInt8[np.ndarray, "n channel slice row column"]) -> Float[np.ndarray, "n dim"]:
    """Vectors of single slices as the image head gives them, of any length: `embed_images` before it makes them unit length."""
    kept, hook = [], lambda head, taken, given: kept.append(given.float().cpu().numpy())
    handle = model.image_head.register_forward_hook(hook)
    embed_images(model, images)
    handle.remove()
    return np.concatenate(kept)
