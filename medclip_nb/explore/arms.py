"""What a grid compares: recipe, pooling and image tower; what each kind of data can be asked, and the models to start from."""

from pathlib import Path
from typing import NamedTuple

from ..config import HEAD_TOWER, ORGAN_TOWER, PRETRAINED_TOWER, RECIPES, SLICE_TOWER, Recipe, choose, label_of
from ..data.catalog import Dataset, is_volume
from ..learn.pairs import checked_splits
from ..measure.statistics import MIN_PATIENTS
from ..model.adapter import SliceAdapter, build_adapter
from ..model.dual_encoder import MAP_POOLINGS, DualEncoder, build_model
from ..model.encoders import TOWERS, image_tower
from ..model.organ_encoder import OrganConfig
from ..model.organ_pooling import ORGAN_POOLINGS
from ..model.pooling import POOLINGS

DEFAULT = "clip"  # the recipe of notebook 90 as shipped
TRIED = ("clip", "siglip", "selip")  # when no recipe is named
TRIED_WITH_MASKS = ("clip", "siglip", "ct_glip")  # ... and there are organ masks
OF_SLICES = tuple(name for name in POOLINGS if name != "prompt")  # with "prompt" a volume has no vector to compare
POOLINGS_OF = {
    "pictures": tuple(MAP_POOLINGS),
    "slices": tuple(MAP_POOLINGS),
    "volumes": (*MAP_POOLINGS, *OF_SLICES),
    "organs": tuple(ORGAN_POOLINGS),
}
USUAL = {  # kind of units -> pooling and tower, where none is named
    "pictures": ("mean_max", PRETRAINED_TOWER),
    "slices": ("mean_max", SLICE_TOWER),
    "volumes": ("grid", HEAD_TOWER),
    "organs": (OrganConfig(()).organ_pooling, ORGAN_TOWER),
}
POOLED = {
    "pictures": "of a picture the cells of its map are pooled",
    "slices": "of a slice the cells of its map are pooled",
    "volumes": "of a volume the cells of its map are pooled, or the vectors of its slices",
    "organs": "of an organ the cells inside its mask are pooled",
}


class Arm(NamedTuple):
    """One of the things compared; an empty pooling or tower is the usual one for the kind of data."""

    recipe: str
    pooling: str = ""
    tower: str = ""

    @property
    def label(self) -> str:
        """As the page names it."""
        return " · ".join(filter(None, [self.recipe, self.pooling, Path(self.tower).name]))

    @property
    def slug(self) -> str:
        """As files are named by it."""
        return "-".join(filter(None, [self.recipe, self.pooling, self.tower and label_of(self.tower)]))


def number_of(recipe: str, pooling: str = "", tower: str = "") -> str:
    """The lesson number that products are kept under: no two arms share a folder. ValueError for an unknown recipe."""
    slug = Arm(choose(RECIPES, "recipe", recipe).name, pooling, tower).slug
    return "90" if slug == DEFAULT else f"90-{slug}"


def of_organs(recipe: Recipe) -> bool:
    """Whether a recipe's units are organs of volumes; else they are slices, pictures or volumes."""
    return recipe.targets == "own_sentences"


def of_slices(data: Dataset) -> bool:
    """Whether the volumes are those of the embedded CT, whose slices have captions."""
    return data.synthetic and bool(data.contract.windows_hu)


def kind_of(data: Dataset, recipe: Recipe) -> str:
    """What the units of a recipe are on some data: "organs", "slices", "volumes" or "pictures"."""
    volumes = is_volume(data.manifest).all()
    return "organs" if of_organs(recipe) else "pictures" if not volumes else "slices" if of_slices(data) else "volumes"


def suited(data: Dataset) -> tuple[str, ...]:
    """The recipes that are run when none is named: with organ masks CT-GLIP is one of them, without SeLIP."""
    return TRIED_WITH_MASKS if not missing(data, Arm("ct_glip")) else TRIED


def missing(data: Dataset, arm: Arm) -> str:
    """What the data lacks for an arm and what to do about it; empty if it lacks nothing."""
    recipe, organs = RECIPES[arm.recipe], of_organs(RECIPES[arm.recipe])
    volumes, kind = is_volume(data.manifest), kind_of(data, RECIPES[arm.recipe])
    n_texts = data.manifest.loc[data.manifest["split"] == "train", "report"].nunique()
    reasons = {
        "it learns from organs in volumes, and these are pictures; choose clip, siglip or selip": organs and not volumes.all(),
        "it needs organ masks, and column 'mask' is empty in every row; run TotalSegmentator on the images and name what it "
        "wrote (a file, or a folder of files) in that column": organs and not (data.manifest["mask"] != "").any(),
        "it draws normal slices at the organ of a finding, and rows with one text do not say which organs they show; choose "
        "clip_same_text or siglip": recipe.normals == "same_organ" and kind != "slices",
        f"it needs different texts, and the training rows have {n_texts}; choose clip_same_text": recipe.batches == "distinct"
        and kind != "slices"
        and n_texts < 2,
        f"pooling {arm.pooling} does not fit: {POOLED[kind]}; choose {', '.join(POOLINGS_OF[kind])}": arm.pooling
        and arm.pooling not in POOLINGS_OF[kind],
        "its organs have a tower of their own; leave the tower out": organs and arm.tower,
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def refuse(data: Dataset, arms: list[Arm]) -> None:
    """Raises ValueError, in one line with a remedy, if an arm cannot be run on the data, or the data not be trusted."""
    for arm in arms:
        if reason := missing(data, arm):
            raise ValueError(f"recipe {arm.recipe} cannot be run on {data.name}: {reason}")
    checked_splits(data.manifest)
    n = data.manifest.loc[data.manifest["split"] == "test", "patient_id"].nunique()
    if n < MIN_PATIENTS:
        raise ValueError(f"{data.name}: the test split has {n} patients, and an interval needs {MIN_PATIENTS}; split anew")
    for tower, dims in {(arm.tower, axes_of(data, arm)) for arm in arms if arm.tower}:
        image_tower(tower, channels=data.contract.channels, dims=dims)


def axes_of(data: Dataset, arm: Arm) -> int:
    """What an arm's tower looks at: 3 for volumes as they are, 2 for slices and pictures."""
    return 3 if kind_of(data, RECIPES[arm.recipe]) == "volumes" and arm.pooling not in OF_SLICES else 2


def fresh_model(data: Dataset, arm: Arm, *, seed: int) -> DualEncoder | SliceAdapter:
    """The model of an arm before training, of pictures, slices or volumes; its weights are the seed's."""
    recipe, dims = RECIPES[arm.recipe], axes_of(data, arm)
    pooling, tower = (given or usual for given, usual in zip(arm[1:], USUAL[kind_of(data, recipe)], strict=True))
    cells = pooling if pooling in MAP_POOLINGS else "grid"
    shape = {"image_tower": tower, "channels": data.contract.channels, "seed": seed}
    model = build_model(recipe, **shape, dims=dims, map_pooling=cells)
    return model if pooling in MAP_POOLINGS else build_adapter(pooling, model, seed=seed, end_to_end=True)


def starts_trained(model: DualEncoder | SliceAdapter) -> bool:
    """Whether the image tower of a model brings weights: ImageNet's, or those of a folder."""
    tower = getattr(model.config, "image_tower", HEAD_TOWER)
    return tower == PRETRAINED_TOWER or tower not in TOWERS
