"""Yes-no questions in words about the items of a dataset, as a trained model sees them: findings of organs, or classes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..data.manifest import SPLITS
from ..learn.checkpoint import from_pretrained
from ..learn.organ_units import OrganUnits
from ..measure.embeddings import embed_text_features, embed_units
from ..measure.findings import Truth, mean_auc
from ..measure.organs import embed_organs
from ..measure.statistics import Score
from ..measure.zero_shot import Embed, class_embeddings, contrast
from ..model.organ_encoder import OrganEncoder
from ..model.text_tower import embed_texts
from . import ct_glip, grounding, steps
from .notebook import Lesson, require

ASKED = SPLITS[1:]  # splits: validation chooses, test judges


@dataclass(frozen=True)
class Questions:
    """Yes-no questions about the items of ASKED, as a model sees them; an item may look different to each question."""

    yes: dict[str, list[str]]  # question -> prompts that say yes, and in `no` those that say no, in the order of `truth.names`
    no: dict[str, list[str]]
    truth: dict[str, Truth]
    emb: dict[str, Float[np.ndarray, "item question dim"]]
    rows: dict[str, pd.DataFrame]
    embed: Embed
    scale: float  # that the model multiplies a cosine with

    def scores(
        self, split: str, *, yes: dict[str, list[str]] | None = None, no: dict[str, list[str]] | None = None
    ) -> Float[np.ndarray, "item question"]:
        """Cosine with yes minus cosine with no, NaN where a question is not asked; other prompts may be given."""
        sides = (class_embeddings(self.embed, prompts) for prompts in (yes or self.yes, no or self.no))
        return contrast(self.emb[split], *sides)

    def auc(self, name: str, scores: Float[np.ndarray, "item question"], *, n_bootstrap: int) -> Score:
        """Mean AUC over questions on the test items."""
        return mean_auc(name, self.truth["test"], [scores], n_bootstrap=n_bootstrap)


def questions_of(lesson: Lesson, trained: steps.Trained) -> Questions:
    """Findings of organs by lesson 07's model where CT volumes have organ masks, else "is it this class?" by lesson 05's."""
    if about_organs(lesson):
        return _of_organs(lesson, grounding.units_of(lesson))
    return _of_classes(lesson, trained)


def about_organs(lesson: Lesson) -> bool:
    """Whether `questions_of` asks about organs: CT volumes with masks."""
    return bool(lesson.data.contract.windows_hu) and bool((lesson.data.manifest["mask"] != "").any())


def _of_organs(lesson: Lesson, units: OrganUnits) -> Questions:
    model = trained_organs(lesson, units)
    asked = ct_glip.states(units)
    sick = [state for state in asked if state[1]]
    yes, no = ([ct_glip.prompts(units, state, "templates") for state in side] for side in (sick, [(o, "") for o, _ in sick]))
    rows, names = {split: units.rows(split) for split in ASKED}, [ct_glip.say(state) for state in sick]
    return Questions(
        dict(zip(names, yes, strict=True)),
        dict(zip(names, no, strict=True)),
        {split: ct_glip.truth(units, own, asked) for split, own in rows.items()},
        {split: embed_organs(model, units, own)[:, ct_glip.organ_numbers(units, sick)] for split, own in rows.items()},
        {split: units.table.iloc[own].reset_index(drop=True) for split, own in rows.items()},
        lambda texts: embed_text_features(model, embed_texts(texts)),
        model.logit_scale.item(),
    )


def _of_classes(lesson: Lesson, trained: steps.Trained) -> Questions:
    units, tasks = trained.units, steps.class_prompts(lesson, trained.units)
    tables = {split: embed_units(trained.model, units, units.one_per_image(units.rows(split))) for split in ASKED}
    every = {f"{column.replace('_', ' ')}: {name}": (column, name) for column, own in tasks.items() for name in own}
    truths = {split: _class_truth(table.rows, every) for split, table in tables.items()}
    scored = [set(truth.scored()) for truth in truths.values()]
    names = [name for k, name in enumerate(every) if all(k in own for own in scored)]
    if not names:
        raise ValueError(f"{lesson.data.name}: no class has enough patients with it, and without, in both of {', '.join(ASKED)}")
    others = lambda column, name: [p for other, own in tasks[column].items() if other != name for p in own]  # noqa: E731
    return Questions(
        {q: tasks[every[q][0]][every[q][1]] for q in names},
        {q: others(*every[q]) for q in names},
        {split: truth.only(names) for split, truth in truths.items()},
        {s: np.repeat(table.vectors[:, None], len(names), axis=1) for s, table in tables.items()},
        {split: table.rows for split, table in tables.items()},
        trained.embed,
        trained.model.logit_scale.item(),
    )


def _class_truth(rows: pd.DataFrame, every: dict[str, tuple[str, str]]) -> Truth:
    labels = np.stack([(rows[column] == name).to_numpy() for column, name in every.values()], axis=1)
    asked = np.stack([(rows[column] != "").to_numpy() for column, _ in every.values()], axis=1)
    return Truth(tuple(every), labels, asked, rows["patient_id"].to_numpy(str))


def trained_organs(lesson: Lesson, units: OrganUnits) -> OrganEncoder:
    """Lesson 07's model, loaded; trained now if lesson 07 has not run at these settings."""

    def build(lesson: Lesson, folder: Path) -> None:
        model, history = grounding.train(lesson, units)
        grounding.hand_over(lesson, model, units, history, folder=folder)

    return from_pretrained(require(lesson, "07", build) / "model")[0]
