"""`medclip-nb evaluate`: one trained model on any labelled or captioned data -> one page and metrics.json."""

import json
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from .. import __version__, config
from ..config import choose
from ..data import catalog
from ..data.catalog import Dataset
from ..data.manifest import digest
from ..files import write_text
from ..learn.organ_units import organ_units
from ..lesson.notebook import Lesson
from ..measure.zero_shot import class_embeddings
from . import evaluate_scores as scores
from .evaluate_data import Items, class_prompts, fitted, limited, load_items, nonsense_prompts
from .evaluate_doubts import about_data, about_model, one_class, without_patients
from .evaluate_models import Judged, embed_kept, load_judged, texts_kept
from .evaluate_scores import Asked, Row
from .experiment_scores import score_organs

N_EXAMPLES = 6  # right ones, and as many wrong ones
N_NONSENSE = 20  # sets of nonsense that are tried in the place of the class names
MOSTLY = 0.95  # of them that class names must beat
ZERO_SHOT, NONSENSE = "zero-shot", f"zero-shot, luckiest of {N_NONSENSE} sets of nonsense"


@dataclass
class Evaluation:
    """What was measured, of which model on what."""

    judged: Judged
    data: Dataset
    rows: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prompts: dict[str, list[str]] = field(default_factory=dict)
    confusion: pd.DataFrame | None = None
    examples: list[dict] = field(default_factory=list)  # item, right, says
    items: Items | None = None
    seconds: float = 0.0


def run(
    model: str, data: str, *, prompts: Path | None = None, column: str = "", limit: int | None = None, preset: str = "cpu"
) -> Evaluation:
    """Everything that the data allow to be measured. Raises ValueError in one line before anything is embedded, if it can."""
    began, level = time.monotonic(), choose(config.PRESETS, "preset", preset)
    judged, dataset = load_judged(model), catalog.load(data, level)
    found = Evaluation(judged, dataset, notes=list(dataset.notes))
    if judged.takes == "organs":
        _organs(found, level, limit=limit)
    else:
        _images(found, level, column=column, limit=limit, prompts=prompts)
    found.warnings += about_model(judged, dataset, found.items)
    if without_patients(dataset):
        found.rows = [scores.of_images(row) for row in found.rows]
    return replace(found, seconds=round(time.monotonic() - began, 1))


def metrics(found: Evaluation) -> dict:
    """What goes into metrics.json."""
    about = {"version": __version__, "date": datetime.now().isoformat(timespec="seconds"), "seconds": found.seconds}
    about |= {"model": found.judged.name, "model_sha256": found.judged.content, "kind": found.judged.kind}
    about |= {"dataset": found.data.name, "synthetic": found.data.synthetic, "data_sha256": digest(found.data.manifest)}
    about |= {"figures": [{"way": row.way} | row.score.to_dict() for row in found.rows], "warnings": found.warnings}
    counts = None if found.confusion is None else found.confusion.to_dict("split")
    return about | {"notes": found.notes, "prompts": found.prompts, "confusion": counts}


def write(found: Evaluation, folder: Path | None = None) -> Path:
    """Writes metrics.json and index.html; the page's path."""
    from .evaluate_page import page

    name = f"{found.judged.name}-on-{found.data.name}".replace("/", "-")
    folder = folder or config.reports_dir() / "evaluations" / name
    write_text(folder / "metrics.json", json.dumps(metrics(found), indent=1))
    return write_text(folder / "index.html", page(found))


def _images(found: Evaluation, preset: config.Preset, *, column: str, limit: int | None, prompts: Path | None) -> None:
    """Pictures, slices or whole volumes."""
    judged = found.judged
    items = found.items = load_items(found.data, judged, column=column, limit=limit)
    captioned = bool(items.table.groupby("label")["text"].nunique().max() > 1)
    if len(items.classes) < 2 and not captioned:
        raise ValueError(
            f"{found.data.name}: {one_class(items)} and no captions that differ: nothing can be told apart; give a column "
            "'label' with two classes, one sub-folder per class, or captions"
        )
    if len(items.classes) > 1:
        found.prompts = class_prompts(items.classes, items.column, prompts)
    found.warnings += items.warnings + about_data(found.data, items, captioned=captioned)
    vectors = embed_kept(judged, items.keys, items.read)
    given = items.table["split"].to_numpy(str)
    given = given if {"train", "test"} <= set(given) else None
    if found.prompts:
        _classes(found, vectors, given, n_bootstrap=preset.n_bootstrap)
    if captioned:
        scored = np.arange(len(items.table)) if given is None else np.flatnonzero(given == "test")
        _retrieval(found, vectors["embedding"][scored], scored, n_bootstrap=preset.n_bootstrap)
    found.notes.append(
        "no split was given: words are tried on all images, and what learns from labels is tested by folds of patients"
        if given is None
        else f"scored is the given test split, {(given == 'test').sum()} of {len(given)} images"
    )


def _classes(found: Evaluation, vectors: dict[str, np.ndarray], given: np.ndarray | None, *, n_bootstrap: int) -> None:
    """Zero-shot beside nonsense, probe and neighbours beside the tower before pretraining; all on the same test items."""
    items, names = found.items, list(found.prompts)
    known = np.flatnonzero(items.table["label"] != "")
    truth = items.table["label"].iloc[known].map(names.index).to_numpy()
    patients = items.table["patient_id"].to_numpy(str)[known]
    tested = np.arange(len(known)) if given is None else np.flatnonzero(given[known] == "test")
    if len(np.unique(truth[tested])) < 2:
        found.warnings.append("The test split holds one class only: no classes are told apart.")
        return
    asked = Asked(truth[tested], patients[tested], n_bootstrap)
    image_emb = vectors["embedding"][known[tested]]
    said = image_emb @ _class_vectors(found.judged, found.prompts).T
    told = {ZERO_SHOT: scores.class_rows(ZERO_SHOT, said, asked), NONSENSE: _beside_nonsense(found, said, image_emb, asked)}
    try:
        folds = scores.folds_of(truth, patients, None if given is None else given[known])
    except ValueError as error:
        folds = []
        found.warnings.append(f"No probe and no neighbours: {error}.")
    for way, learner in scores.LEARNERS.items() if folds else ():
        for name, kind in ((way, "features"), (f"{way}, before pretraining", "before")):
            if kind in vectors:
                learnt = scores.learnt_scores(learner, vectors[kind][known], truth, folds)[tested]
                told[name] = scores.class_rows(name, learnt, asked)
    found.rows += [row for own in told.values() for row in own] + _gains(told, asked)
    _look(found, said, known[tested], truth[tested])


def _beside_nonsense(found: Evaluation, said: np.ndarray, image_emb: np.ndarray, asked: Asked) -> list[Row]:
    """Scores of the luckiest nonsense, by balanced accuracy; how many sets the class names beat goes into the notes.

    A nonsense that happens to part the images as the classes do scores above chance, or as far below: only many sets tell.
    """
    sets = [nonsense_prompts(found.prompts, seed=seed) for seed in range(N_NONSENSE)]
    tried = [image_emb @ _class_vectors(found.judged, words).T for words in sets]
    reached = np.array([scores.balanced_accuracy(own, asked.truth) for own in tried])
    beaten = int((scores.balanced_accuracy(said, asked.truth) > reached).sum())
    found.notes.append(f"by balanced accuracy the class names beat {beaten} of {N_NONSENSE} sets of nonsense in their place")
    if beaten < MOSTLY * N_NONSENSE:
        found.warnings.append(
            f"The class names beat only {beaten} of {N_NONSENSE} sets of nonsense in their place: their score may be luck."
        )
    return scores.class_rows(NONSENSE, tried[int(reached.argmax())], asked)


def _class_vectors(judged: Judged, prompts: dict[str, list[str]]) -> Float[np.ndarray, "label dim"]:
    """One vector per class; all prompts are embedded in one go."""
    texts = sorted({text for own in prompts.values() for text in own})
    known = dict(zip(texts, texts_kept(judged, texts), strict=True))
    return class_embeddings(lambda some: np.stack([known[text] for text in some]), prompts)


def _gains(told: dict[str, list[Row]], asked: Asked) -> list[Row]:
    pairs = {f"pretraining, by {way}": (way, f"{way}, before pretraining") for way in scores.LEARNERS}
    return [scores.gain(name, told[a], told[b], asked) for name, (a, b) in pairs.items() if a in told and b in told]


def _look(found: Evaluation, said: np.ndarray, rows: Int[np.ndarray, " item"], truth: Int[np.ndarray, " item"]) -> None:
    """The confusion matrix, and right and wrong answers drawn by lot."""
    names, called = list(found.prompts), said.argmax(1)
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (truth, called), 1)
    found.confusion = pd.DataFrame(counts, index=names, columns=names)
    for right in (True, False):
        some = np.random.default_rng(0).permutation(np.flatnonzero((called == truth) == right))[:N_EXAMPLES]
        found.examples += [
            {"item": int(rows[i]), "right": right, "says": f"is {names[truth[i]]}, called {names[called[i]]}"} for i in some
        ]


def _retrieval(found: Evaluation, image_emb: np.ndarray, scored: Int[np.ndarray, " item"], *, n_bootstrap: int) -> None:
    """Each image among the texts of all, and back."""
    items, table = found.items, found.items.table.iloc[scored]
    ids = table["text_id"].to_numpy()
    used, own = np.unique(ids, return_inverse=True)
    text_emb = texts_kept(found.judged, [items.texts[i] for i in used])[own]

    def right(images: slice, columns: slice) -> Bool[np.ndarray, "image text"]:
        return np.isin(scored[images][:, None] * len(items.texts) + ids[columns], items.right)

    asked = Asked(ids, table["patient_id"].to_numpy(str), n_bootstrap)
    found.rows += scores.retrieval_rows(image_emb, text_emb, right, asked)
    if not found.examples:
        some = np.sort(np.random.default_rng(0).permutation(len(scored))[: 2 * N_EXAMPLES])
        for i, rank, first in zip(some, *scores.own_ranks(image_emb, text_emb, right, some), strict=True):
            says = f"own text at rank {rank} of {len(ids)}; first is: {items.texts[ids[first]]}"
            found.examples.append({"item": int(scored[i]), "right": bool(rank <= max(config.RECALL_KS)), "says": says})


def _organs(found: Evaluation, preset: config.Preset, *, limit: int | None) -> None:
    """An organ encoder: what is wrong with organs, and which organ is which."""
    data = replace(found.data, contract=fitted(found.judged, found.data)[0])
    if not (data.manifest["mask"] != "").any():
        raise ValueError(
            f"{found.judged.name} reads organs and {data.name} has no masks: column 'mask' is empty; run TotalSegmentator on the "
            "images and name what it wrote in that column"
        )
    part = limited(data.manifest.assign(label=""), limit).assign(label=data.manifest["label"])
    units = organ_units(replace(data, manifest=part), found.judged.model.config.organs)
    result = score_organs(Lesson("evaluate", preset=preset, seed=0, dataset=data.name), found.judged.model, units)
    found.notes.append(result.truth)
    found.rows += [Row("organs", score) for score in result.scores] + [Row("finding against normal", s) for s in result.parts]
