"""What lesson 07 shows of CT-GLIP: its batch as a picture, sides, where it looks, and what breaks it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8

from ..config import RECIPES
from ..data.manifest import ManifestError
from ..data.organs import STATES, lesion_crop, organ_states
from ..data.readers import read_image, reorient
from ..data.totalsegmentator import read_organs
from ..learn.organ_pairs import OrganPairs
from ..learn.organ_units import OrganUnits, organ_units
from ..measure.auc import auc
from ..measure.detection import detection_scores, thresholds
from ..measure.organs import State, embed_organs
from ..measure.statistics import Score, mean_score, statistic_score
from ..model.organ_encoder import OrganEncoder, build_organ_encoder
from ..model.text_tower import embed_texts
from ..text.dictionary import collision_rate
from ..text.organ_texts import spoken, swapped
from ..text.prompts import ensemble
from . import ct_glip
from .notebook import Lesson
from .steps import fit, save

RECIPE = RECIPES["ct_glip"]
N_DRAWN = 4  # phrases per organ in the picture of a batch
SHIFT_VOXELS = 10  # that a mask is moved by, to see it noticed


def units_of(lesson: Lesson) -> OrganUnits:
    """The dataset's organs. Raises ManifestError saying what is missing where it has no CT volumes with masks."""
    if lesson.data.contract.size[0] == 1:
        raise ManifestError(
            f"{lesson.data.name}: holds pictures; organs need volumes (modality CT) with masks: run TotalSegmentator on "
            "volumes and name its output in the column 'mask'"
        )
    return organ_units(lesson.data)


def train(lesson: Lesson, units: OrganUnits) -> tuple[OrganEncoder, pd.DataFrame]:
    """A trained organ encoder and its history; interrupted and called again, it goes on where it was."""
    model = build_organ_encoder(RECIPE, units.organs.names, channels=lesson.data.contract.channels, seed=lesson.seed)
    how = ct_glip.organ_plan(lesson.preset, seed=lesson.seed)
    return model, fit(lesson, model, OrganPairs(units, RECIPE), recipe=RECIPE, plan=how)


def hand_over(
    lesson: Lesson, model: OrganEncoder, units: OrganUnits, history: pd.DataFrame, *, folder: Path | None = None
) -> Path:
    """Saves the model folder; what a first batch is compared with is the average volume."""
    some = units.volumes[0][units.rows("train")[:200]]
    return save(lesson, folder or lesson.folder, model, images=some, history=history, recipe=RECIPE)


def batch_codes(
    units: OrganUnits, rows: Int[np.ndarray, " study"], organs: tuple[str, ...]
) -> tuple[Int[np.ndarray, "unit text"], list[str], list[str], int]:
    """A batch as `show.organs.batch_picture` takes it: 0 not asked, 1 negative, 2 right, 3 left out; organs of rows and columns.

    Only some organs are kept, so that it can be looked at. The last is the number of columns that a unit of the batch owns.
    """
    pairs = OrganPairs(units, replace(RECIPE, n_dictionary=N_DRAWN))
    study, organ = units.of(rows)
    drawn = units.negatives.draw(np.random.default_rng(0), N_DRAWN, power=RECIPE.dictionary_power)
    columns, right, valid = pairs.relation(units.unit[rows[study], organ], organ, drawn)
    of_text, n_owned = units.texts.organ[columns], int(right.any(0).sum())
    code = np.select([right, valid, organ[:, None] == of_text], [2, 1, 3], 0)
    wanted = [units.organs.names.index(name) for name in organs]
    keep, shown = np.isin(organ, wanted), np.isin(of_text, wanted)
    name = lambda numbers: [spoken(units.organs.names[k]) for k in numbers]  # noqa: E731
    return code[keep][:, shown], name(organ[keep]), name(of_text[shown]), int(shown[:n_owned].sum())


def collisions(units: OrganUnits) -> pd.DataFrame:
    """Phrases of the dictionary by organ, and how often one drawn unchecked would state what the organ has."""
    sick = [(e.organ, e.findings) for i in units.rows("train") for e in units.entries[i] if e.findings]
    rows = [
        {
            "organ": spoken(organ),
            "phrases": len(own),
            "sentences": sum(phrase.count for phrase in own.values()),
            "collision rate": collision_rate(units.dictionary, [pair for pair in sick if pair[0] == organ]),
        }
        for organ, own in units.dictionary.items()
    ]
    return pd.DataFrame(rows).set_index("organ")


def detection(model: OrganEncoder, units: OrganUnits, asked: list[State], *, against: str, n_bootstrap: int) -> pd.DataFrame:
    """Sensitivity, precision and F1 on the test studies, at thresholds chosen on the validation studies."""
    scores, truths = {}, {}
    for split in ("val", "test"):
        rows = units.rows(split)
        truths[split] = ct_glip.truth(units, rows, asked)
        scores[split] = ct_glip.organ_scores(model, units, embed_organs(model, units, rows), asked)[against]
    return detection_scores(truths["test"], scores["test"], thresholds(truths["val"], scores["val"]), n_bootstrap=n_bootstrap)


def side_items(
    truth_labels: Bool[np.ndarray, "study state"], usable: Bool[np.ndarray, "study state"], pairs: list[tuple[int, int]]
):
    """(study, left column, right column, on the left) of every finding that a study has on one side only, both sides usable."""
    for left, right in pairs:
        one_sided = (truth_labels[:, left] ^ truth_labels[:, right]) & usable[:, left] & usable[:, right]
        for study in np.flatnonzero(one_sided):
            yield study, left, right, truth_labels[study, left]


def sides(
    model: OrganEncoder, units: OrganUnits, rows: Int[np.ndarray, " study"], asked: list[State], *, n_bootstrap: int
) -> list[Score]:
    """On which side is it? AUC of (score on the left - score on the right) among findings that are on one side only.

    The organ is chosen by its mask, with the prompts as they are or with left and right swapped in them; or by the prompt alone,
    which takes the organ that answers it best, again as it is and swapped.
    """
    emb, abnormal = embed_organs(model, units, rows), [state for state in asked if state[1]]
    truth, partner = ct_glip.truth(units, rows, asked), lambda s: (s[0].replace("_left", "_right"), s[1])
    pairs = [(i, abnormal.index(partner(s))) for i, s in enumerate(abnormal) if "_left" in s[0] and partner(s) in abnormal]
    items = list(side_items(truth.labels, truth.asked, pairs))
    if not items:
        return []
    study, left, right, on_left = (np.array(part) for part in zip(*items, strict=True))
    found = []
    for what, change in (("", str), (", left and right swapped", swapped)):
        by_mask = ct_glip.organ_scores(model, units, emb, asked, change=change)["normal"]
        texts = ct_glip.state_embeddings(model, units, abnormal, change=change)
        by_words = np.nanmax(emb @ texts.T, axis=1)
        for name, scores in ((f"organ by its mask{what}", by_mask), (f"organ by the words alone{what}", by_words)):
            arrays = on_left, scores[study, left] - scores[study, right]
            found.append(statistic_score(name, auc, arrays, truth.patients[study], chance=0.5, n_bootstrap=n_bootstrap))
    return found


@torch.inference_mode()
def denied_scores(
    model: OrganEncoder, units: OrganUnits, emb: Float[np.ndarray, "study organ dim"], asked: list[State]
) -> Float[np.ndarray, "study abnormal"]:
    """Cosine with prompts that deny each finding ("no renal stone in the left kidney") minus cosine with normal."""
    normal = dict(zip(asked, ct_glip.state_embeddings(model, units, asked), strict=True))
    columns = []
    for organ, finding in (state for state in asked if state[1]):
        texts = ensemble(finding=ct_glip.phrase_of((organ, finding)), organ=spoken(organ), present=False)
        direction = model.encode_mean(embed_texts(texts)).numpy() - normal[organ, ""]
        columns.append(emb[:, units.organs.names.index(organ)] @ direction)
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Look:
    """One organ with a finding: its crop, how each cell answers the prompt, and where the lesion is."""

    title: str
    crop: UInt8[np.ndarray, "slice row column"]
    heat: Float[np.ndarray, "slice row column"]  # cosine with the finding minus cosine with normal, on the crop's grid
    inside: Bool[np.ndarray, "slice row column"]
    lesion: Bool[np.ndarray, "slice row column"]


@torch.inference_mode()
def look(model: OrganEncoder, units: OrganUnits, row: int, state: State, texts: dict[State, np.ndarray]) -> Look:
    """How each cell of an organ answers a prompt, each taken as if it were the whole organ."""
    organ, finding = state
    k = units.organs.names.index(organ)
    group, place = units.organs.group[:, k]
    crop = torch.from_numpy(units.organs.crops[group][row, place])
    cells = model.encode_cells(crop[None, :-1], crop[None, -1], torch.tensor([k]))[0].numpy()
    heat = cells @ (texts[state] - texts[organ, ""])
    steps = [n // m for n, m in zip(crop.shape[1:], heat.shape, strict=True)]
    heat = heat.repeat(steps[0], 0).repeat(steps[1], 1).repeat(steps[2], 2)
    labels = [f["label"] for f in json.loads(units.table["findings"].iloc[row]) if (f["organ"], f["finding"]) == state]
    lesion = lesion_crop(units.dataset, row, units.organs.names, organ, labels) > 0.3
    return Look(ct_glip.say(state), crop[1].numpy(), heat, crop[-1].numpy() > 127, lesion)


def looks(
    model: OrganEncoder, units: OrganUnits, rows: Int[np.ndarray, " study"], asked: list[State]
) -> list[tuple[int, State, Look]]:
    """Every organ of some studies whose finding has a lesion that fills less than half of it."""
    from tqdm.auto import tqdm

    texts = dict(zip(asked, ct_glip.state_embeddings(model, units, asked), strict=True))
    sick, found = ct_glip.found(units), []
    cases = [(row, s) for row in rows for s in asked if s in sick[row] and units.unit[row, units.organs.names.index(s[0])] >= 0]
    for row, state in tqdm(cases, desc="maps", leave=False):
        one = look(model, units, int(row), state, texts)
        if 0 < (one.lesion & one.inside).sum() < one.inside.sum() / 2:
            found.append((int(row), state, one))
    return found


def pointing(units: OrganUnits, found: list[tuple[int, State, Look]], *, n_bootstrap: int) -> list[Score]:
    """How often the cell that answers best lies on the lesion, in all and by finding; chance is the lesion's share of it."""
    hits = np.array([one.lesion.ravel()[np.where(one.inside, one.heat, -np.inf).argmax()] for _, _, one in found])
    chance = np.array([(one.lesion & one.inside).sum() / one.inside.sum() for _, _, one in found])
    patients = units.table["patient_id"].to_numpy(str)[[row for row, _, _ in found]]
    kinds = np.array([ct_glip.phrase_of(state) for _, state, _ in found])
    scores = []
    for name in ("all findings", *sorted(set(kinds))):
        own = (kinds == name) | (name == "all findings")
        if len(set(patients[own])) > 2:
            scores.append(mean_score(name, hits[own], patients[own], chance=float(chance[own].mean()), n_bootstrap=n_bootstrap))
    return scores


def broken_masks(units: OrganUnits, row: int | np.integer) -> pd.DataFrame:
    """What becomes of each organ of a study if its mask is as it is, moved sideways, cut off above, or not there."""
    study, names = units.table.iloc[row], units.organs.names
    image = reorient(read_image(units.dataset.root / study["image"], units=units.dataset.contract.units), "LPS")
    organs = read_organs(units.dataset.root / study["mask"], names, like=image, classes=units.dataset.mask_classes)
    top = np.flatnonzero(organs.labels.any((1, 2))).mean().astype(int)
    cases = {
        "as it is": (image, organs),
        f"moved by {SHIFT_VOXELS} columns": (image, organs._replace(labels=np.roll(organs.labels, SHIFT_VOXELS, axis=2))),
        "upper half of the scan lost": (replace(image, array=image.array[:top]), organs._replace(labels=organs.labels[:top])),
        "one class list short": (image, organs._replace(known=organs.known - {"liver"})),
    }
    return pd.DataFrame({name: [STATES[s] for s in organ_states(*case)] for name, case in cases.items()}, index=names)
