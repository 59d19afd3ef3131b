"""What lesson 13 looks up: slices with lesson masks, maps of several methods for a prompt and for nonsense, and their verdict."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import binary_fill_holes, label

from ..config import WINDOW_NAMES
from ..data.phantoms import caption, finding_phrase, group_mask
from ..data.preprocessing import Preprocessing, to_window
from ..data.readers import read_mask
from ..measure import explain
from ..measure.embeddings import embed_images
from ..model.dual_encoder import DualEncoder
from .notebook import Lesson
from .steps import Trained, sample_rows

NONSENSE = "a photograph of a bicycle"
WAYS = ("prompt alone", "prompt minus normal")
CHECKS = ("a nonsense prompt", "random weights", "the image shifted")
FILL_HU = {"air": -1000.0, "soft tissue": 40.0}  # what an occluding patch is made of, in CT
FILL_GREY = {"black": 0, "grey": 128}  # and in pictures, which have no unit
PATCH_SHARE, TOLERANCE_PX = 8, 2  # a patch is this part of the image's side; as near to a lesion counts as a hit
SHIFT_SHARE = 10  # the image moves up and to the right by this part of its side
FEWEST_PX, MOST_OF_ORGAN = 3, 0.5  # a lesion to point at has so many pixels, and fills less than this of its organ
MOST_SLICES, MOST_PICTURES = 100, 24  # that are looked at: slices of the cohort, pictures of one's own


Maps = dict[str, explain.PromptMaps]  # by method; prompts in pairs: a prompt, then nonsense asked in the same way


@dataclass(frozen=True)
class Cases:
    """Test images and what is known of them; lesions and organs are None where there are no masks."""

    images: explain.Images
    texts: list[str]  # the prompt of each
    normal: list[str]  # the same place without a finding; empty where nobody knows what that is called
    patients: np.ndarray
    body: explain.Masks  # where maps are compared
    lesions: explain.Masks | None = None
    organs: explain.Masks | None = None
    studies: tuple[str, ...] = ()  # of slices


def cases_of(lesson: Lesson, trained: Trained) -> Cases:
    """One slice each of at most MOST_SLICES test patients who have a lesion to point at, drawn at random.

    Without masks: at most MOST_PICTURES test pictures, with their own texts as prompts.
    """
    units, table = trained.units, trained.units.table
    if not lesson.data.synthetic or "site" not in table:
        rows = table.iloc[sample_rows(units.one_per_image(units.rows("test")), MOST_PICTURES, seed=lesson.seed)]
        images = units.images[rows["image"]]
        return Cases(images, rows["text"].tolist(), [], rows["patient_id"].to_numpy(str), np.ones(images[:, 0].shape, bool))
    shown = table.iloc[units.rows("test")].query("finding != ''").sample(frac=1, random_state=lesson.seed)
    studies, found = lesson.data.manifest.set_index("study_id"), {}
    for row in shown.to_dict("records"):
        if len(found) < MOST_SLICES and row["patient_id"] not in found:
            masks = _masks(lesson, studies.loc[row["study_id"]], row)
            if FEWEST_PX <= masks[0].sum() < MOST_OF_ORGAN * masks[1].sum():
                found[row["patient_id"]] = (row, *masks)
    rows, lesions, organs = zip(*found.values(), strict=True)
    images = units.images[[row["image"] for row in rows]]
    normal = [caption(row["body_part"], "") for row in rows]
    areas = (_body(images), np.stack(lesions), np.stack(organs))
    return Cases(
        images, [row["text"] for row in rows], normal, np.array(list(found)), *areas, tuple(row["study_id"] for row in rows)
    )


def _masks(lesson: Lesson, study: pd.Series, row: dict) -> tuple[np.ndarray, np.ndarray]:
    """A finding on a slice, and the organs that have it anywhere; the finding is kept inside of them."""
    organs, lesions = (read_mask(lesson.data.root / study[kind])[[row["slice"]]] for kind in ("mask", "lesions"))
    own = [f for f in json.loads(study["findings"]) if finding_phrase(f) == row["finding"]]
    organ = np.logical_or.reduce([group_mask(organs, f["organ"]) for f in own])
    return np.isin(lesions, [f["label"] for f in own]) & organ, organ


def _body(images: explain.Images) -> explain.Masks:
    """The largest connected part of each slice that is not air in the soft-tissue window, holes filled."""
    parts = [label(binary_fill_holes(x > 0))[0] for x in images[:, WINDOW_NAMES.index("soft tissue"), 0]]
    return np.stack([part == 1 + np.bincount(part.ravel())[1:].argmax() for part in parts])[:, None]


def directions(trained: Trained, cases: Cases) -> explain.Directions:
    """Prompt and nonsense, then both minus normal where that is known: what maps are made for, one direction per image."""
    own = trained.embed(cases.texts)
    pair = np.stack([own, np.broadcast_to(trained.embed([NONSENSE]), own.shape)])
    return np.concatenate([pair, pair - trained.embed(cases.normal)]) if cases.normal else pair


def fills(contract: Preprocessing) -> dict[str, tuple[int, ...]]:
    """What patches are filled with, one value per channel."""
    if not contract.windows_hu:
        return {name: (value,) * contract.channels for name, value in FILL_GREY.items()}
    return {name: tuple(int(to_window(np.array([hu]), *w)[0]) for w in contract.windows_hu) for name, hu in FILL_HU.items()}


def slice_maps(model: DualEncoder, images: explain.Images, asked: explain.Directions, fill: tuple[int, ...]) -> Maps:
    """Maps by every method, for all directions."""
    return {
        "gradient × activation": explain.image_gradients(model, images, asked),
        "Grad-CAM": explain.image_gradients(model, images, asked, averaged=True),
        "occlusion": occluded(model, images, asked, fill),
    }


def occluded(model: DualEncoder, images: explain.Images, asked: explain.Directions, fill: tuple[int, ...]) -> explain.PromptMaps:
    """Maps by occlusion with patches of 1 / PATCH_SHARE of the side, half of that apart; each is seen once for all prompts."""
    patch = images.shape[-1] // PATCH_SHARE
    score = lambda x: np.einsum("nd,pnd->np", embed_images(model, x), asked)  # noqa: E731
    return explain.occlusion(score, images, patch=(1, patch, patch), stride=(1, patch // 2, patch // 2), fill=fill)


def shift_of(images: explain.Images) -> explain.Change:
    """How far images are moved: up and to the right."""
    step = images.shape[-1] // SHIFT_SHARE
    return -step, step
