"""Writes a cohort of synthetic torsos as files with a manifest; the same call always writes the same bytes."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ... import config
from ...files import sha256, whole, write_text
from ...leash import end_with_parent
from ..manifest import save_manifest
from .defects import known, plant
from .formats import write_files
from .reports import write_report
from .study import Study, Visit, list_visits, make_study

VERSION = 2  # of the generator: raise it when the same seed gives other bytes
MIN_PARALLEL = 24  # fewer studies are written without starting processes
Row = TypeVar("Row")


def write_study(root: Path, visit: Visit, size: tuple[int, int, int]) -> dict:
    """Writes one study's folder whole or not at all; gives its manifest row. A folder that is there is kept."""
    return kept_study(root / visit.study_id, lambda part: _fill(part, visit, size))


def kept_study(folder: Path, fill: Callable[[Path], None]) -> Any:
    """What study.json says in a study's folder; `fill` makes the folder, whole or not at all, if it is not there."""
    if not folder.exists():
        with whole(folder, keep=True) as part:
            fill(part)
    return json.loads((folder / "study.json").read_text(encoding="utf-8"))


def _fill(part: Path, visit: Visit, size: tuple[int, int, int]) -> None:
    part.mkdir()
    study = make_study(visit, size)
    write_files(part, study, visit)
    row = _row(visit, study)
    sums = {"sha256": sha256(part / Path(row["image"]).name), "radiograph_sha256": sha256(part / "radiograph.png")}
    (part / "study.json").write_text(json.dumps(row | sums), encoding="utf-8")


def _row(visit: Visit, study: Study) -> dict:
    folder, report_rng = visit.study_id, visit.rng(5, visit.visit)
    return {
        "study_id": folder, "patient_id": visit.patient_id, "modality": "CT", "body_part": "torso", "sequence": "portal venous",
        "image": f"{folder}/{'image' if visit.as_series else 'image.nii.gz'}",
        "mask": f"{folder}/organs.nii.gz", "lesions": f"{folder}/lesions.nii.gz",
        "report": write_report(study.findings, report_rng, held_out=visit.split == "test"),
        "findings": json.dumps(study.findings), "age": study.age, "sex": study.sex, "scanner": study.scanner,
        "split": visit.split, "source": "synthetic torso CT", "licence": "Apache-2.0",
    }  # fmt: skip


def write_cohort(
    root: str | Path,
    *,
    n_train: int,
    n_val: int,
    n_test: int,
    size: tuple[int, int, int],
    seed: int = 0,
    workers: int | None = None,
    defects: tuple[str, ...] = (),
) -> Path:
    """Writes studies and their manifests under `root`; gives the path of the volumes', beside which lies `radiographs.csv`.

    Sizes are slices, rows, columns. Interrupted, it leaves whole studies only, and a second call continues; the manifest comes
    last. `workers` is the number of processes; None takes one for each core. `defects` are faults to plant (names in DEFECTS),
    each in studies of its own; `defects.json` says which. Raises ValueError where no study is left for one.
    """
    from tqdm.auto import tqdm

    root, visits = Path(root), list_visits(n_train, n_val, n_test, seed)
    faults = {"defects": known(defects), "studies": [n_train, n_val, n_test]} if defects else {}
    claim(root, {"version": VERSION, "size": list(size), "seed": seed} | faults)
    made = written(write_study, {root / v.study_id: v for v in visits}, size, workers=workers)
    rows = list(tqdm(made, total=len(visits), desc="synthetic torsos", leave=False))
    if defects:
        write_text(root / "defects.json", json.dumps(plant(root, visits, rows, size=size, names=defects), indent=1))
    return _save(rows, root)


def _save(rows: list[dict], root: Path) -> Path:
    import pandas as pd

    flat = {"modality": "DX", "sequence": "", "mask": "", "lesions": "", "source": "synthetic torso radiograph"}
    pictures = [{"image": f"{r['study_id']}/radiograph.png", "sha256": r["radiograph_sha256"]} for r in rows]
    save_manifest(pd.DataFrame([r | flat | p for r, p in zip(rows, pictures, strict=True)]), root / "radiographs.csv")
    return save_manifest(pd.DataFrame(rows), root / "manifest.csv")


def claim(root: Path, settings: dict) -> None:
    """A folder holds studies of one size, seed and generator: another cohort in it would be mixed up with them."""
    file = root / "settings.json"
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{file}: the folder holds a cohort of other settings than {settings}; choose an empty folder")
    write_text(file, json.dumps(settings))


def written(
    write: Callable[[Path, Visit, tuple[int, int, int]], Row],
    folders: dict[Path, Visit],
    size: tuple[int, int, int],
    *,
    workers: int | None,
) -> Iterator[Row]:
    """`write(root, visit, size)` of each visit, in order; `folders` are where they go. Few missing ones need no processes."""
    roots, visits = [folder.parent for folder in folders], list(folders.values())
    missing = sum(not folder.exists() for folder in folders)
    workers = min(workers or os.cpu_count() or 1, missing // MIN_PARALLEL + 1)
    if workers == 1:
        yield from (write(root, v, size) for root, v in zip(roots, visits, strict=True))
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        try:
            yield from pool.map(write, roots, visits, [size] * len(visits), chunksize=8)
        finally:
            pool.shutdown(cancel_futures=True)


def kept_cohort(name: str, version: int, settings: dict, write: Callable[..., Path]) -> Path:
    """Manifest of the cohort of these settings among the artifacts, written the first time it is asked for."""
    key = hashlib.sha256(json.dumps([version, settings]).encode()).hexdigest()[:12]
    root = config.artifacts_dir() / "cohorts" / f"{name}-{key}"
    manifest = root / "manifest.csv"
    return manifest if manifest.exists() else write(root, **settings)


def torso_cohort(preset: config.Preset, *, seed: int = 0) -> Path:
    """Manifest of a preset's volumes, written the first time it is asked for."""
    n = {"n_train": preset.n_train, "n_val": preset.n_val, "n_test": preset.n_test}
    return kept_cohort("torso", VERSION, n | {"size": preset.volume_size, "seed": seed}, write_cohort)


def radiograph_cohort(preset: config.Preset, *, seed: int = 0) -> Path:
    """Manifest of the frontal radiographs of the same studies."""
    return torso_cohort(preset, seed=seed).with_name("radiographs.csv")
