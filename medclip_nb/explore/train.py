"""Training alone, without a notebook: what several processes do together, started by `accelerate launch` or `torchrun`."""

from pathlib import Path

import pandas as pd

from ..config import PRESETS, choose
from ..data.catalog import EMBEDDED, locate
from ..learn.plan import accelerator_of
from ..learn.pretrain import pretrain
from ..lesson import grounding, steps
from ..lesson.notebook import Lesson
from .arms import number_of, of_organs
from .prepare import Made, prepare


def run(dataset: str, recipe: str, *, preset: str, seed: int) -> Path:
    """Trains one recipe on one dataset, as `medclip-nb experiment` does; the folder that model, history and trace are in.

    Of several processes the first writes. Called again after a kill, it goes on. Raises ValueError, before anything is trained,
    if the recipe is unknown or the data cannot serve it.
    """
    level = choose(PRESETS, "preset", preset)
    name = dataset if dataset in EMBEDDED else str(locate(dataset).resolve())
    lesson = Lesson(number_of(recipe), preset=level, seed=seed, dataset=name)
    made = prepare(lesson, recipe)
    is_first = accelerator_of(made.plan).is_main_process
    history = pretrain(made.model, made.pairs, recipe=made.recipe, plan=made.plan, folder=lesson.folder / recipe)
    if is_first:
        hand_over(lesson, made, history)
    return lesson.folder


def hand_over(lesson: Lesson, made: Made, history: pd.DataFrame) -> None:
    """Saves the model, from a CPU, and the history."""
    model = made.model.cpu()
    if of_organs(made.recipe):
        grounding.hand_over(lesson, model, made.units, history)
    else:
        steps.hand_over(lesson, lesson.folder, model=model, units=made.units, history=history, recipe=made.recipe)
