"""What lesson 08 shows of SeLIP: sequences and texts, rulers, targets of a batch, what a step does to pairs, training."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from ..config import HEAD_BATCH, RECIPES, Recipe
from ..data.catalog import Dataset
from ..data.manifest import ManifestError
from ..data.readers import read_mask
from ..data.studies import read_images
from ..learn.losses import soft_contrastive_loss
from ..measure.statistics import Score, mean_score
from ..model.dual_encoder import DualEncoder
from ..text.alike import text_similarity
from . import selip, selip_scores
from .notebook import Lesson
from .steps import fit, save

CLIP = replace(RECIPES["clip"], name="clip_distinct", batches="distinct")
LEVELS = {"its own text": 0, "alike (half or more)": 1, "a little alike": 2, "not alike": 3}
SIZES = (16, 64, 256)  # of batches


def heads_of(lesson: Lesson) -> selip.HeadUnits:
    """FLAIR and DWI of the dataset, with their texts. Raises ManifestError where nobody wrote down what the volumes show."""
    table = lesson.data.manifest
    if (table["findings"] == "").any() or not (table["sequence"] != "").all():
        raise ManifestError(
            f"{lesson.data.name}: lesson 08 needs volumes with the columns 'sequence' and 'findings' (location and signal); "
            "for pictures or volumes with reports alone, use medclip-nb experiment PATH --recipe selip"
        )
    return selip.head_units(lesson.data, sequences=("FLAIR", "DWI"))


def study_pictures(data: Dataset, study: str) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """The slice of a study that shows most lesions, in each sequence: images, labels, their names, titles with the texts."""
    table = data.manifest[data.manifest["study_id"].str.startswith(f"{study}-")]
    part = replace(data, manifest=table.reset_index(drop=True))
    part.manifest.attrs.update(data.manifest.attrs)
    images, mask = read_images(part)[:, 0], read_mask(data.root / table["lesions"].iloc[0])
    found = {f["label"]: f for text in table["findings"] for f in selip.said(text)}
    focal = sorted(label for label, f in found.items() if f["side"])
    seen = [len(np.unique(cut[np.isin(cut, focal)])) + np.isin(cut, focal).mean() for cut in mask]
    at = int(np.argmax(seen))  # the most lesions, then the most of them
    labels = np.zeros((len(table), *mask.shape[1:]), np.uint8)
    for row, text in enumerate(table["findings"]):
        for f in selip.said(text):
            if f["label"] in focal:
                labels[row][mask[at] == f["label"]] = 1 + focal.index(f["label"])
    names = [f"{found[label]['kind']}, {found[label]['location']}" for label in focal]
    return images[:, at], labels, names, [f"{row.sequence}: {selip.text_of(row.findings)}" for row in table.itertuples()]


def rich_study(data: Dataset) -> str:
    """A training study whose sequences tell different things: the most different texts with two focal findings on each."""
    table = data.manifest[data.manifest["split"] == "train"]
    focal = [[f for f in selip.said(text) if f["side"]] for text in table["findings"]]
    texts = table.assign(text=[selip.text_of(f) for f in table["findings"]], n=[len(own) for own in focal])
    groups = texts.groupby(texts["study_id"].str.rpartition("-")[0])
    return str((groups["text"].nunique() + 2.0 * groups["n"].agg(lambda n: bool((n == 2).sum() >= 3))).idxmax())


def ruler_table(heads: selip.HeadUnits, rulers: tuple[str, ...], *, most: int = 400) -> pd.DataFrame:
    """How well each ruler agrees with the findings two training texts share, and where a row of its target lies in a batch."""
    ids = selip.training_texts(heads.units)[:most]
    found = [heads.found[i] for i in ids]
    emb = heads.features.numpy()[ids] - heads.features.numpy()[ids].mean(0)
    shared, off = selip_scores.gains(found, found), ~np.eye(len(ids), dtype=bool)
    rows = {}
    for ruler in rulers:
        sim = text_similarity(ruler, found, emb)
        own = {f"own text, batch {n}": _own_share(sim, n) for n in SIZES}
        rows[ruler] = {"correlation with shared findings": np.corrcoef(sim[off], shared[off])[0, 1]} | own
    return pd.DataFrame(rows).T


def _own_share(sim: Float[np.ndarray, "text text"], size: int) -> float:
    """Mean share that a text's own entry has in a row of `size` distinct texts, after the division by the row's sum."""
    shares, rng = [], np.random.default_rng(0)
    for _ in range(20):
        part = sim[np.ix_(*[rng.permutation(len(sim))[:size]] * 2)].copy()
        np.fill_diagonal(part, 1)
        shares.append((1 / part.sum(1)).mean())
    return float(np.mean(shares))


def batch_targets(
    heads: selip.HeadUnits, recipes: dict[str, Recipe], rows: Int[np.ndarray, " unit"]
) -> dict[str, Float[np.ndarray, "unit text"]]:
    """Target matrices of the same units under several recipes."""
    return {name: selip.pairs(heads, recipe).batch(rows).targets.numpy() for name, recipe in recipes.items()}


def twins(heads: selip.HeadUnits, *, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> pd.Series:
    """Share of the volumes of a shuffled batch whose text some other volume of the batch has too."""
    ids, rng, found = heads.table["text_id"].to_numpy()[heads.rows("train")], np.random.default_rng(seed), {}
    for size in sizes:
        drawn = [pd.Series(rng.permutation(ids)[:size]) for _ in range(20)]
        found[size] = float(np.mean([one.duplicated(keep=False).mean() for one in drawn]))
    return pd.Series(found, name="share with a twin")


def pushes(model: DualEncoder, heads: selip.HeadUnits, recipes: dict[str, Recipe], *, n_batches: int = 8) -> pd.DataFrame:
    """Mean gradient of the loss by the logit of a volume with a text, by how alike that text is to its own; times the batch.

    Identical texts have one logit, so what is done to their columns is added up. Shuffled batches of validation volumes and a
    model as it is: negative pulls the two together, positive pushes them apart.
    """
    rng, rows = np.random.default_rng(0), heads.rows("val")
    made, parts = {name: selip.pairs(heads, recipe) for name, recipe in recipes.items()}, []
    for _ in range(n_batches):
        picked = rng.permutation(rows)[:HEAD_BATCH]
        level, member = _levels(heads, picked)
        for name, pairs in made.items():
            batch = pairs.batch(picked)
            logits = model(batch.images, batch.features).detach().requires_grad_()
            (slope,) = torch.autograd.grad(soft_contrastive_loss(logits, batch.targets, batch.targets_t), logits)
            push = len(picked) * (slope.double().numpy() @ member)
            parts.append(pd.DataFrame({"targets": name, "level": level.ravel(), "push": push.ravel()}))
    table = pd.concat(parts).pivot_table(index="level", columns="targets", values="push", sort=False).sort_index()
    return table[list(recipes)].rename(index={number: name for name, number in LEVELS.items()}).rename_axis(None)


def _levels(heads: selip.HeadUnits, rows: Int[np.ndarray, " unit"]) -> tuple[np.ndarray, np.ndarray]:
    """The level of each unit with each distinct text of the batch, and which column of the batch holds which of these."""
    ids = heads.table["text_id"].to_numpy()[rows]
    texts = np.unique(ids)
    shared = selip_scores.gains([heads.shown[i] for i in rows], [heads.found[i] for i in texts])
    own = ids[:, None] == texts
    return np.select([own, shared >= 0.5, shared > 0], [0, 1, 2], 3), own.astype(float)


def train(lesson: Lesson, heads: selip.HeadUnits, recipe: Recipe) -> tuple[DualEncoder, pd.DataFrame]:
    """A trained model and its history; interrupted and called again, it goes on where it was."""
    model = selip.head_model(heads, recipe, seed=lesson.seed)
    plan = selip.head_plan(lesson.preset, len(heads.rows("train")), seed=lesson.seed)
    return model, fit(lesson, model, selip.pairs(heads, recipe), recipe=recipe, plan=plan)


def hand_over(
    lesson: Lesson, model: DualEncoder, heads: selip.HeadUnits, history: pd.DataFrame, *, recipe: Recipe, folder: Path
) -> Path:
    """Saves the model folder; what a first batch is compared with is the average volume."""
    return save(lesson, folder, model, images=heads.units.images[heads.rows("train")[:400]], history=history, recipe=recipe)


def scores(models: dict[str, DualEncoder], heads: selip.HeadUnits, *, n_bootstrap: int) -> dict[tuple[str, str], Score]:
    """(measure, model) -> retrieval on the test studies, with its interval and chance level."""
    rows = heads.rows("test")
    queries, found = selip_scores.asked(heads, rows), {}
    patients, chances = heads.table["patient_id"].to_numpy(str)[rows][queries.sick], selip_scores.retrieval_chances(queries)
    for name, model in models.items():
        values = selip_scores.retrieval(heads, rows, selip.embed(model, heads, rows), model)
        for measure, chance in chances.items():
            label = f"{measure}, {name}"
            found[measure, name] = mean_score(label, values[measure], patients, chance=chance, n_bootstrap=n_bootstrap)
    return {(measure, name): found[measure, name] for measure, name in product(chances, models)}


@torch.inference_mode()
def text_ranks(heads: selip.HeadUnits, model: DualEncoder, rows: Int[np.ndarray, " unit"]) -> Int[np.ndarray, "unit text"]:
    """Numbers of the test split's texts for each of some images, the best first."""
    texts = np.unique(heads.table["text_id"].to_numpy()[heads.rows("test")])
    sim = selip.embed(model, heads, rows) @ model.encode_texts(heads.features[texts]).numpy().T
    return texts[np.argsort(-sim, axis=1, kind="stable")]


def telling_query(heads: selip.HeadUnits, models: dict[str, DualEncoder]) -> int:
    """The test image with two findings whose first five texts have the most gain, summed over the models."""
    rows = np.array([i for i in heads.rows("test") if len(heads.shown[i]) == 2])
    totals = [_gains_of(heads, rows, text_ranks(heads, model, rows)[:, :5]).sum(1) for model in models.values()]
    return int(rows[np.sum(totals, axis=0).argmax()])


def ranked_texts(heads: selip.HeadUnits, models: dict[str, DualEncoder], row: int, n: int = 5) -> pd.DataFrame:
    """The first texts that each model gives for one image, each with its gain."""
    table, rows = pd.DataFrame(index=pd.RangeIndex(1, n + 1, name="rank")), np.array([row])
    for name, model in models.items():
        first = text_ranks(heads, model, rows)[:, :n]
        gain = _gains_of(heads, rows, first)[0]
        table[name] = [f"{g:.2f}  {heads.units.texts[i]}" for g, i in zip(gain, first[0], strict=True)]
    return table


def _gains_of(heads: selip.HeadUnits, rows: Int[np.ndarray, " unit"], texts: Int[np.ndarray, "unit n"]) -> np.ndarray:
    pairs = zip(rows, texts, strict=True)
    return np.stack([selip_scores.gains([heads.shown[i]], [heads.found[k] for k in own])[0] for i, own in pairs])
