"""Writes a cohort of synthetic head MR as files with a manifest; the same call always writes the same bytes."""

import json
from pathlib import Path

from .... import config
from ....files import sha256
from ...manifest import save_manifest
from ..cohort import claim, kept_cohort, kept_study, written
from ..formats import nifti_bytes
from ..study import Visit, list_visits
from .reports import write_reports
from .study import Study, make_study
from .template import template
from .vocabulary import SEQUENCES

VERSION = 1  # of the generator: raise it when the same seed gives other bytes
# preset -> examinations in the splits; slices, rows, columns
STUDIES = {"smoke": (64, 16, 24), "cpu": (600, 100, 150), "gpu": (6000, 1000, 1500)}
SIZES = {"smoke": (24, 64, 64), "cpu": (24, 64, 64), "gpu": (32, 96, 96)}


def head_id(visit: Visit) -> str:
    """ "H100003-1": patient and number of the examination."""
    return f"H{visit.study_id[1:]}"


def examination(study_id: str) -> str:
    """ "H100003-1" of "H100003-1-flair": rows of one examination share it, and the head in it."""
    return study_id.rpartition("-")[0]


def write_study(root: Path, visit: Visit, size: tuple[int, int, int]) -> list[dict]:
    """Writes one examination's folder whole or not at all; gives its manifest rows. A folder that is there is kept."""
    return kept_study(root / head_id(visit), lambda part: _fill(part, visit, size))


def _fill(part: Path, visit: Visit, size: tuple[int, int, int]) -> None:
    part.mkdir()
    study = make_study(visit, size)
    volumes = dict(zip(map(str.lower, SEQUENCES), study.images, strict=True))
    for name, volume in (volumes | {"regions": study.regions, "lesions": study.lesions}).items():
        (part / f"{name}.nii.gz").write_bytes(nifti_bytes(volume, study.spacing_mm))
    rows = [row | {"sha256": sha256(part / Path(row["image"]).name)} for row in _rows(visit, study)]
    (part / "study.json").write_text(json.dumps(rows), encoding="utf-8")


def _rows(visit: Visit, study: Study) -> list[dict]:
    folder = head_id(visit)
    reports = write_reports(study.findings, visit.rng(28, visit.visit), held_out=visit.split == "test")
    shared = {
        "patient_id": folder.partition("-")[0], "modality": "MR", "body_part": "head", "mask": f"{folder}/regions.nii.gz",
        "lesions": f"{folder}/lesions.nii.gz", "age": study.age, "sex": study.sex, "scanner": study.scanner,
        "split": visit.split, "source": "synthetic head MR", "licence": "Apache-2.0",
    }  # fmt: skip
    return [
        shared | {
            "study_id": f"{folder}-{name.lower()}", "sequence": name, "image": f"{folder}/{name.lower()}.nii.gz",
            "report": reports[name], "findings": json.dumps(study.findings[name]),
        }
        for name in SEQUENCES
    ]  # fmt: skip


def write_head_cohort(
    root: str | Path,
    *,
    n_train: int,
    n_val: int,
    n_test: int,
    size: tuple[int, int, int],
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Writes examinations of four sequences and their manifest, one row a sequence; gives the manifest's path.

    Counts are examinations; sizes are slices, rows, columns. Interrupted, it leaves whole examinations only, and a second call
    continues; the manifest comes last. `workers` is the number of processes; None takes one for each core. Raises ValueError
    if `root` holds another cohort.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    root, visits = Path(root), list_visits(n_train, n_val, n_test, seed)
    claim(root, {"version": f"head {VERSION}", "size": list(size), "seed": seed})
    template()  # so that it is in the cache before the processes start
    made = written(write_study, {root / head_id(v): v for v in visits}, size, workers=workers)
    rows = [row for rows in tqdm(made, total=len(visits), desc="synthetic heads", leave=False) for row in rows]
    return save_manifest(pd.DataFrame(rows), root / "manifest.csv")


def head_cohort(preset: config.Preset, *, seed: int = 0) -> Path:
    """Manifest of a preset's examinations, written the first time it is asked for."""
    n_train, n_val, n_test = config.choose(STUDIES, "preset of head MR", preset.name)
    settings = {"n_train": n_train, "n_val": n_val, "n_test": n_test, "size": SIZES[preset.name], "seed": seed}
    return kept_cohort("head", VERSION, settings, write_head_cohort)
