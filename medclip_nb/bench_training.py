"""Benchmarks of training: what the loop adds to bare passes, for each of the three methods, and the memory of the loss."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from .config import PRESETS, RECIPES, SLICE_TOWER
from .data import catalog
from .data.studies import load_units
from .learn.batch import Answers
from .learn.losses import loss_in_chunks, recipe_loss
from .learn.memory import kept_for_backward
from .learn.organ_pairs import OrganPairs
from .learn.organ_units import organ_units
from .learn.pairs import ImagePairs
from .learn.plan import accelerator_of, keep_freed_memory, plan
from .learn.pretrain import Run
from .learn.step import backward
from .learn.targets import identity
from .lesson import ct_glip, selip
from .model.dual_encoder import build_model
from .model.organ_encoder import build_organ_encoder
from .model.text_tower import embed_texts

N_STEPS = 6  # of the training loop
PRESET = PRESETS["cpu"]
LOSS_SIZES, LOSS_DIM = (512, 1024, 2048, 4096, 8192), 64
Figures = tuple[str, float, float, str, str]


def steps(fastest: Callable[..., list[float]]) -> list[Figures]:
    """A step of the loop as it runs (reading, augmenting, clipping, AdamW, the clamp), against bare forward + backward.

    Of each method the time that it takes, then the work of the processor on one core: others do not add to that.
    """
    keep_freed_memory()  # as lessons and `medclip-nb train` do
    return [row for name, make in RUNS.items() for row in _step(name, make(), fastest)]


def _step(name: str, run: Run, fastest: Callable[..., list[float]]) -> list[Figures]:
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
        both = partial(fastest, lambda: run.train_epoch(1, bar, history=first), bare)
        seconds, work = both(), _on_one_core(partial(both, clock="process_time"))
    n, size, precision = len(batches), run.plan.batch_size, run.plan.precision
    note = f"{n} steps of {size} {UNITS[name]}, {precision}; a ratio of 0.95 is an overhead of 5 %"
    timed = {f"training step, {name}": seconds, f"its work on one core, {name}": work}
    return [(what, loop / n, alone / n, "s", note) for what, (loop, alone) in timed.items()]


def _on_one_core(action: Callable[[], list[float]]) -> list[float]:
    n = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other would count as work
    try:
        return action()
    finally:
        torch.set_num_threads(n)


def _radclip() -> Run:
    recipe, units = RECIPES["radclip"], load_units(catalog.load("torso", PRESET))
    model = build_model(recipe, image_tower=SLICE_TOWER, channels=units.images.shape[1], seed=0)
    how = plan(PRESET, seed=0)
    return Run(model, ImagePairs(units, embed_texts(units.texts), recipe), recipe, how, accelerator_of(how))


def _ct_glip() -> Run:
    recipe, units = RECIPES["ct_glip"], organ_units(catalog.load("torso", PRESET))
    model = build_organ_encoder(recipe, units.organs.names, channels=units.dataset.contract.channels, seed=0)
    how = ct_glip.organ_plan(PRESET, seed=0)
    return Run(model, OrganPairs(units, recipe), recipe, how, accelerator_of(how))


def _selip() -> Run:
    recipe, heads = RECIPES["selip"], selip.head_units(catalog.load("head", PRESET), sequences=("FLAIR",))
    how = selip.head_plan(PRESET, len(heads.table), seed=0)
    return Run(selip.head_model(heads, recipe, seed=0), selip.pairs(heads, recipe), recipe, how, accelerator_of(how))


RUNS = {"radclip": _radclip, "ct_glip": _ct_glip, "selip": _selip}
UNITS = {"radclip": "slices", "ct_glip": "studies", "selip": "volumes"}


def loss_memory() -> list[Figures]:
    """MiB kept by the loss as the loop takes it for large batches, against the matrix of all pairs; then how both grow."""
    ours, plain = ([_kept(n, linear) for n in LOSS_SIZES] for linear in (True, False))
    note = f"{LOSS_DIM} dimensions, float32, embeddings included; rival: the matrix of all pairs"
    rows = [(f"memory of the loss, {n} pairs", a, b, "MiB", note) for n, a, b in zip(LOSS_SIZES, ours, plain, strict=True)]
    growth = [float(np.polyfit(np.log(LOSS_SIZES), np.log(mib), 1)[0]) for mib in (ours, plain)]
    return [*rows, ("growth of that memory", *growth, "exponent", "1 is linear in the batch, 2 quadratic")]


def _kept(n: int, linear: bool) -> float:
    images, texts = (torch.nn.functional.normalize(torch.randn(n, LOSS_DIM)).requires_grad_() for _ in range(2))
    recipe = RECIPES["clip"]
    with kept_for_backward() as kept:
        kept |= {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in (images, texts)}
        if linear:
            answers = Answers(n, n, lambda rows, columns: identity(torch.arange(n), rows)[0][:, columns])
            logits_of = lambda x, y: 10 * x @ y.T  # noqa: E731
            loss = loss_in_chunks(recipe, (images, texts), logits_of, answers, span=(slice(0, n), slice(0, n)))
        else:
            loss = recipe_loss(recipe, 10 * images @ texts.T, *identity(torch.arange(n)))
    return sum(kept.values()) / 2**20 if loss.requires_grad else 0.0  # the loss is alive, and so is all that it keeps
