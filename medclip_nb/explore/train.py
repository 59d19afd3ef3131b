"""Training alone, without a notebook: what several processes do together, started by `accelerate launch` or `torchrun`."""

from pathlib import Path

import pandas as pd

from ..config import PRESETS, choose
from ..data.catalog import EMBEDDED, locate
from ..learn.plan import accelerator_of, keep_freed_memory
from ..learn.pretrain import pretrain
from ..lesson.notebook import Lesson
from .arms import number_of
from .experiment import hand_over
from .prepare import prepare


def run(dataset: str, recipe: str, *, preset: str, seed: int) -> tuple[Path, list[str]]:
    """Trains one recipe on one dataset, as `medclip-nb experiment` does; gives the folder that model, history and trace are in,
    and what there is to say of the run: its speed, and advice.

    Of several processes the first writes. Called again after a kill, it goes on. Raises ValueError, before anything is trained,
    if the recipe is unknown or the data cannot serve it.
    """
    level = choose(PRESETS, "preset", preset)
    name = dataset if dataset in EMBEDDED else str(locate(dataset).resolve())
    lesson = Lesson(number_of(recipe), preset=level, seed=seed, dataset=name)
    keep_freed_memory()
    made = prepare(lesson, recipe)
    is_first = accelerator_of(made.plan).is_main_process
    history = pretrain(made.model, made.pairs, recipe=made.recipe, plan=made.plan, folder=lesson.folder / recipe)
    if is_first:
        made.model.cpu()
        hand_over(lesson, made, history)
    return lesson.folder, [speed(history), *history.attrs["advice"]] if is_first else []


def speed(history: pd.DataFrame) -> str:
    """How fast the last epoch went."""
    last = history.iloc[-1]
    return (
        f"epoch {last['epoch']:.0f}: {last['units_s']:.0f} units/s, {last['seconds']:.1f} s, {last['data_share']:.0%} of them "
        f"reading; training loss {last['train_loss']:.3f}, validation loss {last['val_loss']:.3f}"
    )
