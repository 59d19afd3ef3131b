"""Benchmark of training: what the loop adds to bare passes, for each of the three methods."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ..config import PRESETS, RECIPES, SLICE_TOWER, Preset
from ..data import catalog
from ..data.studies import load_units
from ..learn.organ_pairs import OrganPairs
from ..learn.organ_units import organ_units
from ..learn.pairs import ImagePairs
from ..learn.plan import accelerator_of, keep_freed_memory, plan
from ..learn.pretrain import Run
from ..learn.step import backward
from ..lesson import ct_glip, selip
from ..model.dual_encoder import build_model
from ..model.organ_encoder import build_organ_encoder
from ..model.text_tower import embed_texts
from .rows import Row, Sizes, fastest

N_STEPS = 6  # of the training loop
PATIENCE_S = 25.0  # for one method: a few percent want many repeats
BUDGET = 5.0  # percent


def training_step(sizes: Sizes) -> list[Row]:
    """A step of the loop as it runs (reading, augmenting, clipping, AdamW, the clamp), against bare forward + backward.

    Of each method the time that it takes, then the work of the processor on one core: others do not add to that.
    """
    keep_freed_memory()  # as lessons and `medclip-nb train` do
    return [row for name, make in RUNS.items() for row in _step(name, make(PRESETS[sizes.preset]), sizes)]


def _step(name: str, run: Run, sizes: Sizes) -> list[Row]:
    from tqdm.auto import tqdm

    batches = run.pairs.epoch(np.random.default_rng(0), run.plan.batch_size)[:N_STEPS]
    ready = [run.pairs.batch(rows, np.random.default_rng(i)) for i, rows in enumerate(batches)]
    run.pairs.epoch = lambda rng, size: batches

    def bare() -> None:
        for batch in ready:
            backward(run.model, batch, run.recipe, run.accelerator)
            run.model.zero_grad()

    run.model.train()
    with tqdm(disable=True) as bar:
        first = [run.train_epoch(1, bar, history=[])]  # which says whether the next batch is read meanwhile, as in a training
        loop = partial(run.train_epoch, 1, bar, history=first)
        timed = partial(fastest, loop, bare, repeats=sizes.repeats, patience_s=PATIENCE_S)
        seconds, work = timed(), _on_one_core(partial(timed, clock="process_time"))
    n, size, precision = len(batches), run.plan.batch_size, run.plan.precision
    note = f"{n} steps of {size} {UNITS[name]}, {precision}; rival: bare forward + backward"
    rows = []
    for what, (own, alone) in {f"training step, {name}": seconds, f"its work on one core, {name}": work}.items():
        rows.append(Row(what, own / n, alone / n, "s", note))
        rows.append(Row(f"overhead, {what}", 100 * (own / alone - 1), None, "%", "of the two above", sizes.budget(BUDGET)))
    return rows


def _on_one_core(action: Callable[[], list[float]]) -> list[float]:
    n = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other would count as work
    try:
        return action()
    finally:
        torch.set_num_threads(n)


def _radclip(preset: Preset) -> Run:
    recipe, units = RECIPES["radclip"], load_units(catalog.load("torso", preset))
    model = build_model(recipe, image_tower=SLICE_TOWER, channels=units.images.shape[1], seed=0)
    how = plan(preset, seed=0)
    return Run(model, ImagePairs(units, embed_texts(units.texts), recipe), recipe, how, accelerator_of(how))


def _ct_glip(preset: Preset) -> Run:
    recipe, units = RECIPES["ct_glip"], organ_units(catalog.load("torso", preset))
    model = build_organ_encoder(recipe, units.organs.names, channels=units.dataset.contract.channels, seed=0)
    how = ct_glip.organ_plan(preset, seed=0)
    return Run(model, OrganPairs(units, recipe), recipe, how, accelerator_of(how))


def _selip(preset: Preset) -> Run:
    recipe, heads = RECIPES["selip"], selip.head_units(catalog.load("head", preset), sequences=("FLAIR",))
    how = selip.head_plan(preset, len(heads.table), seed=0)
    return Run(selip.head_model(heads, recipe, seed=0), selip.pairs(heads, recipe), recipe, how, accelerator_of(how))


RUNS = {"radclip": _radclip, "ct_glip": _ct_glip, "selip": _selip}
UNITS = {"radclip": "slices", "ct_glip": "studies", "selip": "volumes"}
