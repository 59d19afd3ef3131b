"""What lesson 13 asks of poolings: the slice weights of lesson 06 and the organs of lesson 07, by prompt and by nonsense."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8

from ..learn.checkpoint import from_pretrained
from ..learn.organ_units import OrganUnits
from ..measure import explain
from ..measure.organs import State
from ..model.adapter import SliceAdapter
from ..model.organ_encoder import OrganEncoder
from ..model.text_tower import embed_texts
from . import ct_glip, grounding, map_checks, pooling, radclip
from .explanations import CHECKS, NONSENSE, Cases, Maps
from .notebook import Lesson, require
from .steps import Trained, save

MOST_STUDIES = 60  # whose organs are looked at
SHIFT = (2, -2)  # cells that a crop is moved by: up to 32 cells wide
MASK = "the organ's mask"


def poolings(lesson: Lesson, trained: Trained) -> dict[str, SliceAdapter]:
    """Lesson 06's volume models, slice encoder inside; trained now if lesson 06 has not run at these settings."""
    folder = lesson.sibling("06")
    if not all((folder / f"model_{name}").is_dir() for name in pooling.KEPT):
        print("lesson 06 has not run at these settings; building what it hands over")
        folder, volumes = lesson.folder, radclip.volumes(trained.model, lesson.data, trained.units)
        pooling.hand_over(lesson, trained, *pooling.train_all(lesson, trained.model, volumes))
    return {name: from_pretrained(folder / f"model_{name}")[0] for name in pooling.KEPT}


def weights_alike(adapters: dict[str, SliceAdapter], trained: Trained, cases: Cases, *, slice_mm: float) -> pd.DataFrame:
    """Rank correlation of the slice weights of each case's study for its prompt with those for nonsense."""
    rows = []
    for name, adapter in adapters.items():
        pairs = [_weights(adapter, trained, *one, slice_mm) for one in zip(cases.studies, cases.texts, strict=True)]
        ours, nonsense = np.stack(pairs, axis=1)[:, :, None, None].astype(float)
        alike = explain.rank_correlation(ours, nonsense)
        rows.append(pd.DataFrame({"map": f"slice weights, {name}", "asked": "", "patient": cases.patients, CHECKS[0]: alike}))
    return pd.concat(rows)


@torch.inference_mode()
def _weights(
    adapter: SliceAdapter, trained: Trained, study: str, text: str, slice_mm: float
) -> Float[np.ndarray, "prompt slice"]:
    """Of a study's slices, heads averaged, for a text and for nonsense: two rows, equal where the pooling hears no prompt."""
    table = trained.units.table
    own = table[table["study_id"] == study].drop_duplicates("image").sort_values("slice")
    stack = torch.from_numpy(trained.units.images[own["image"], :, 0]).movedim(0, 1)[None]
    mask, place = torch.ones(1, len(own), dtype=torch.bool), torch.from_numpy(own["slice"].to_numpy(np.float32))[None] * slice_mm
    weights = adapter.weights(stack, mask, place, adapter.encode_texts(embed_texts([text, NONSENSE])))[0]
    hears = adapter.config.pooling == "prompt"
    return (weights if hears else weights.mean(0, keepdim=True).expand(2, -1)).numpy()


@dataclass(frozen=True)
class OrganCases:
    """Organs with a lesion to point at, whose crops are of one size."""

    crops: UInt8[np.ndarray, "n channel_and_share slice row column"]
    organ: Int[np.ndarray, " n"]
    asked: explain.Directions  # prompt, nonsense, both minus normal
    inside: explain.Masks
    lesions: explain.Masks
    patients: np.ndarray
    titles: tuple[str, ...]


def organ_model(lesson: Lesson) -> tuple[OrganEncoder, OrganUnits]:
    """Lesson 07's model, trained now if lesson 07 has not run at these settings, and its units."""
    units = grounding.units_of(lesson)

    def build(lesson: Lesson, folder: Path) -> None:
        model, history = grounding.train(lesson, units)
        images = units.volumes[0][units.rows("train")[:200]]
        save(lesson, folder, model, images=images, history=history, recipe=grounding.RECIPE)

    return from_pretrained(require(lesson, "07", build) / "model")[0], units


def organ_cases(model: OrganEncoder, units: OrganUnits) -> list[OrganCases]:
    """Organs of some test studies whose lesion fills less than half of them, by the size of their crops."""
    asked = ct_glip.states(units)
    found = grounding.looks(model, units, units.rows("test")[:MOST_STUDIES], asked)
    texts = dict(zip(asked, ct_glip.state_embeddings(model, units, asked), strict=True))
    with torch.inference_mode():
        nonsense = model.encode_mean(embed_texts([NONSENSE])).numpy()
    sizes = sorted({one.crop.shape for _, _, one in found})
    return [_group(units, [f for f in found if f[2].crop.shape == size], texts, nonsense) for size in sizes]


def _group(units: OrganUnits, found: list, texts: dict[State, np.ndarray], nonsense: np.ndarray) -> OrganCases:
    names = units.organs.names
    organ = np.array([names.index(state[0]) for _, state, _ in found])
    group, place = units.organs.group[:, organ]
    crops = np.stack([units.organs.crops[g][row, p] for g, p, (row, *_) in zip(group, place, found, strict=True)])
    own, normal = (np.stack([texts[s] for s in states]) for states in zip(*((s, (s[0], "")) for _, s, _ in found), strict=True))
    pair = np.stack([own, np.broadcast_to(nonsense, own.shape)])
    areas = (np.stack([getattr(one, part) for _, _, one in found]) for part in ("inside", "lesion"))
    patients = units.table["patient_id"].to_numpy(str)[[row for row, *_ in found]]
    return OrganCases(
        crops, organ, np.concatenate([pair, pair - normal]), *areas, patients, tuple(one.title for *_, one in found)
    )


def maps_of(model: OrganEncoder, crops: UInt8[np.ndarray, "n share slice row column"], cases: OrganCases) -> Maps:
    """Maps by every method that organs have, and what the pooling itself weighs: the mask, whatever is asked."""
    look = (model, crops[:, :-1], crops[:, -1], cases.organ, cases.asked)
    mask = np.broadcast_to(crops[:, -1] / 255, (len(cases.asked), *crops[:, -1].shape))
    return {
        "cells of the organ": explain.organ_cells(*look),
        "gradient × activation, organ": explain.organ_gradients(*look),
        "Grad-CAM, organ": explain.organ_gradients(*look, averaged=True),
        MASK: mask,
    }


def checked(model: OrganEncoder, groups: list[OrganCases], *, seed: int) -> pd.DataFrame:
    """Every check and the pointing game, organ by organ; the tolerance is none and the area is the organ."""
    fresh, tables = explain.with_random_weights(model, seed=seed), []
    for cases in groups:
        maps, forgot = (maps_of(m, cases.crops, cases) for m in (model, fresh))
        moved = maps_of(model, explain.shifted(cases.crops, SHIFT, fill=0), cases)
        judges = map_checks.sanity(maps, forgot, moved, SHIFT, cases.inside)
        judges |= map_checks.pointing(maps, cases.lesions & cases.inside, cases.inside)
        tables.append(map_checks.per_image(maps, cases.patients, judges))
    return pd.concat(tables, ignore_index=True)
