"""What a leak is worth: a classifier that knows nothing about disease, scored under an honest and a leaking split."""

import json
from textwrap import fill

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from ..config import PRESETS, artifacts_dir
from ..data import catalog, phantoms
from ..data.manifest import SPLITS, ManifestError, read_manifest, split_by_patient
from ..measure.statistics import Score, mean_score
from .solutions import set_f1

SHARES = (0.7, 0.1, 0.2)  # of rows in training, validation and test
RADIOGRAPH = "-dx"  # behind the name of a study: its radiograph
N_STRANGERS = 20  # times that neighbours are dealt out at random, for the level of chance
GRID = (16, 16, 16)  # cells of the coarse image that neighbours are found by


def coarse_vectors(images: UInt8[np.ndarray, "n channel slice row column"]) -> Float[np.ndarray, "n dim"]:
    """Each image averaged to at most 16 x 16 x 16 cells a channel: what a glance from afar sees."""
    import torch
    from torch.nn.functional import adaptive_avg_pool3d

    grid = tuple(min(g, n) for g, n in zip(GRID, images.shape[2:], strict=True))
    return np.stack([adaptive_avg_pool3d(torch.from_numpy(i).float(), grid).numpy().ravel() for i in images])


def nearest_in_training(vectors: Float[np.ndarray, "n dim"], splits: np.ndarray) -> pd.DataFrame:
    """For each test row the training row that looks most alike: columns `row` and `neighbour`.

    Cells are standardised by the training rows and compared by cosine.
    """
    train, test = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test")
    spread = vectors[train].std(0)
    scaled = (vectors - vectors[train].mean(0)) / np.maximum(spread, np.median(spread))
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True) + 1e-9
    return pd.DataFrame({"row": test, "neighbour": train[(scaled[test] @ scaled[train].T).argmax(1)]})


def copied_score(table: pd.DataFrame, near: pd.DataFrame, *, name: str, n_bootstrap: int) -> Score:
    """Mean F1 between the findings of a test study and those of the training study that is copied for it.

    Chance is the same with training studies drawn at random instead of by likeness.
    """
    sets, rows, neighbours = finding_sets(table), near["row"].to_numpy(), near["neighbour"].to_numpy()
    values = _f1(sets, rows, neighbours)
    rng = np.random.default_rng(0)
    chance = float(np.mean([_f1(sets, rows, rng.permutation(neighbours)) for _ in range(N_STRANGERS)]))
    patients = table["patient_id"].to_numpy(str)[rows]
    return mean_score(name, np.array(values), patients, chance=chance, n_bootstrap=n_bootstrap)


def finding_sets(table: pd.DataFrame) -> list[set]:
    """The findings of each row as (organ, finding) pairs; where they are not known, its text stands for them."""
    known = (table["findings"] != "").all()
    if not known:
        return [{text} for text in table["report"]]
    return [{(f["organ"], f["finding"]) for f in json.loads(text)} for text in table["findings"]]


def _f1(sets: list[set], rows: Int[np.ndarray, " n"], others: Int[np.ndarray, " n"]) -> list[float]:
    return [set_f1(sets[a], sets[b]) for a, b in zip(rows, others, strict=True)]


def repeated_splits(table: pd.DataFrame, vectors: Float[np.ndarray, "n dim"], *, n_splits: int) -> pd.DataFrame:
    """The copying classifier under many splits by row and by patient: columns split, seed, score, chance."""
    rows = []
    for seed in range(n_splits):
        shuffled = np.random.default_rng(seed).choice(SPLITS, len(table), p=SHARES)
        for name, splits in (("by row", shuffled), ("by patient", split_by_patient(table["patient_id"], seed=seed))):
            score = copied_score(table, nearest_in_training(vectors, splits), name=name, n_bootstrap=2)
            rows.append({"split": name, "seed": seed, "score": score.value, "chance": score.chance})
    return pd.DataFrame(rows)


def clean_cohort(*, seed: int) -> pd.DataFrame:
    """A small synthetic cohort without faults, always of the same size."""
    return _small_cohort(seed, ())[0]


def cohort_with_faults(*, seed: int) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The same cohort with known faults planted, read as leniently as an audit reads, and where the faults are."""
    return _small_cohort(seed, phantoms.DEFECTS)


def is_named(found: pd.DataFrame, table: pd.DataFrame, studies: list[str]) -> bool:
    """Whether a serious finding or a warning names the CT or the radiograph of one of these studies."""
    rows = set(np.flatnonzero(table["study_id"].str.removesuffix(RADIOGRAPH).isin(studies)))
    return any(rows & set(numbers) for numbers in found.loc[found["severity"] != "note", "rows"])


def published(name: str) -> catalog.Dataset | None:
    """A dataset of the catalogue if a copy of it is on this machine."""
    try:
        return catalog.load(name, PRESETS["cpu"], lenient=True)
    except ManifestError:
        return None


def listing(found: pd.DataFrame) -> None:
    """Prints what an audit found, without its notes: serious first."""
    for severity, check, what in zip(found["severity"], found["check"], found["what"], strict=True):
        if severity != "note":
            print(fill(f"{severity:8} {check}: {what}", width=110, subsequent_indent=" " * 9))


def _small_cohort(seed: int, defects: tuple[str, ...]) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """CT and radiographs of one small cohort in one table, and where its faults are."""
    smoke = PRESETS["smoke"]
    root = artifacts_dir() / "cohorts" / f"audit-v{phantoms.VERSION}-{'faults' if defects else 'clean'}-{seed}"
    if not (root / "manifest.csv").exists():  # it comes last
        sizes = {"n_train": smoke.n_train, "n_val": smoke.n_val, "n_test": smoke.n_test, "size": smoke.volume_size}
        phantoms.write_cohort(root, **sizes, seed=seed, defects=defects)
    scans, pictures = (read_manifest(root / name, lenient=True) for name in ("manifest.csv", "radiographs.csv"))
    table = pd.concat([scans, pictures.assign(study_id=pictures["study_id"] + RADIOGRAPH)], ignore_index=True)
    table.attrs |= {"root": str(root), "name": str(root / "manifest.csv")}
    return table, json.loads((root / "defects.json").read_text(encoding="utf-8")) if defects else {}
