"""From data and an arm to what is trained: units, pairs, a fresh model and a plan."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ..config import FEWEST_STEPS, HEAD_TOWER, RECIPES, Recipe, choose
from ..data import cache
from ..data.catalog import Dataset, is_volume
from ..data.studies import Units, load_units, row_units
from ..learn.augment import moved_and_dimmed
from ..learn.organ_pairs import OrganPairs
from ..learn.organ_units import OrganUnits, organ_units
from ..learn.pairs import ImagePairs
from ..learn.plan import Plan, plan
from ..learn.resume import fingerprint
from ..learn.shallow import safe
from ..lesson import ct_glip, selip
from ..lesson.notebook import Lesson
from ..model.dual_encoder import DualEncoder, TextSide, scaled
from ..model.finetune import freeze, n_trainable
from ..model.organ_encoder import build_organ_encoder
from ..model.text_tower import embed_texts
from .arms import OF_SLICES, USUAL, Arm, fresh_model, kind_of, of_organs, of_slices, refuse, starts_trained

PATIENCE = 8  # epochs; few pictures are soon learnt by heart, and each recipe is kept where its validation loss was best
SLICE_MM = 5.0  # distance of slices that were resized, where nobody knows the true one


@dataclass(frozen=True)
class Made:
    """What is trained, and on what."""

    arm: Arm
    units: Units | OrganUnits
    pairs: ImagePairs | OrganPairs
    model: TextSide
    plan: Plan
    frozen: bool = False  # whether the image tower stays as it is

    @property
    def recipe(self) -> Recipe:
        """The recipe of the arm."""
        return RECIPES[self.arm.recipe]


def units_of(data: Dataset) -> Units:
    """Slices of the embedded CT with captions, else one unit per row: a picture or a volume, and its text."""
    return row_units(data) if is_volume(data.manifest).all() and not of_slices(data) else load_units(data)


def read_all(data: Dataset, arms: list[Arm]) -> None:
    """Reads every file of the user's own once, and keeps it for all runs: a bad one is an error before anything is trained."""
    for recipe in {of_organs(RECIPES[arm.recipe]): RECIPES[arm.recipe] for arm in arms if not data.synthetic}.values():
        if of_organs(recipe):
            ct_glip.states(OrganPairs(organ_units(data), recipe).units)
        else:
            units_of(data)


def prepare(lesson: Lesson, recipe: str, pooling: str = "", tower: str = "") -> Made:
    """Units, pairs, a fresh model and the preset's plan. Raises ValueError, with a remedy, for what does not fit the data."""
    arm, how = Arm(recipe, pooling, tower), choose(RECIPES, "recipe", recipe)
    refuse(lesson.data, [arm])
    if of_organs(how):
        units = organ_units(lesson.data)
        shape = {"channels": lesson.data.contract.channels, "seed": lesson.seed, "organ_pooling": pooling or USUAL["organs"][0]}
        model = build_organ_encoder(how, units.organs.names, **shape)
        return Made(arm, units, OrganPairs(units, how), model, ct_glip.organ_plan(lesson.preset, seed=lesson.seed))
    units, model = units_of(lesson.data), fresh_model(lesson.data, arm, seed=lesson.seed)
    features = embed_texts(units.texts)
    pairs = ImagePairs(units, features, how, similarity=selip.text_matrix(units, features, how))
    if kind_of(lesson.data, how) == "volumes":
        steps = selip.head_plan(lesson.preset, len(pairs.train), seed=lesson.seed)
        return _of_volumes(lesson, Made(arm, units, pairs, model, steps))
    trained = starts_trained(model)
    made = Made(arm, units, pairs, model, plan(lesson.preset, seed=lesson.seed, pretrained_tower=trained))
    return _frozen(lesson, made) if trained and n_steps(made) < FEWEST_STEPS else made


def _of_volumes(lesson: Lesson, made: Made) -> Made:
    """With images dimmed where their intensities have no unit, and where slices are pooled with the slices' places."""
    pairs = made.pairs if lesson.data.contract.windows_hu else replace(made.pairs, augment=moved_and_dimmed)
    if made.arm.pooling in OF_SLICES:
        n, n_slices = len(made.units.images), made.units.images.shape[2]
        position = torch.arange(n_slices) * (lesson.data.contract.spacing_mm or (SLICE_MM,))[0]
        pairs = replace(pairs, beside=(torch.ones(n, n_slices, dtype=torch.bool), position.float().expand(n, -1)))
    return replace(made, pairs=pairs, plan=safe(made.plan, made.model, pairs))


def _frozen(lesson: Lesson, made: Made) -> Made:
    """The tower stays as it is: what it makes of each picture is computed once for all runs, and only what follows is trained."""
    tower, images = freeze(made.model.tower).eval(), made.units.images
    name = f"maps/{fingerprint([*tower.state_dict().values(), torch.from_numpy(images)])}"
    maps = torch.from_numpy(cache.fetch(name, lambda: _maps(made.model, images)).copy())
    beside = (torch.ones(len(images), 1, dtype=torch.bool), maps)
    pairs = replace(made.pairs, beside=beside, augment=lambda pictures, rng: pictures)  # the maps are of pictures as they are
    how = replace(made.plan, epochs=lesson.preset.adapter_epochs, patience=PATIENCE)
    return replace(made, pairs=pairs, plan=how, frozen=True)


@torch.inference_mode()
def _maps(model: DualEncoder, images: UInt8[np.ndarray, "n channel 1 row column"]) -> Float[np.ndarray, "n dim row2 column2"]:
    return torch.cat([model.tower(scaled(part)[:, :, 0]) for part in torch.from_numpy(images).split(64)]).numpy()


def n_steps(made: Made) -> int:
    """How many steps a training has."""
    return made.plan.epochs * max(1, len(made.pairs.train) // made.plan.batch_size)


def settings(made: Made) -> dict[str, str]:
    """What a run was set to, for a reader."""
    how, (n_trained, n_all) = made.plan, n_trainable(made.model)
    of_epoch, size = max(1, n_steps(made) // how.epochs), min(how.batch_size, len(made.pairs.train))
    tower = Path(made.arm.tower).name or getattr(made.model.config, "image_tower", HEAD_TOWER)
    pooling = made.arm.pooling or getattr(made.model.config, "map_pooling", USUAL["organs"][0])
    still = ", left as it is (too few pictures to train it)" if made.frozen else ""
    return {
        "image tower": f"{tower}{still}", "pooling": pooling, "weights trained": f"{n_trained:,} of {n_all:,}",
        "training": f"{'at most ' * bool(how.patience)}{how.epochs} epochs of {of_epoch} x {size} units",
        "learning rate": f"{how.learning_rate:g} at its peak",
    }  # fmt: skip
