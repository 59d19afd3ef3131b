"""Writes a cohort of synthetic torsos as files with a manifest; the same call always writes the same bytes."""

import gzip
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ... import config
from ...files import write_text
from ..manifest import save_manifest
from .anatomy import spacing_mm
from .reports import write_report
from .study import Study, Visit, list_visits, make_study

VERSION = 1  # of the generator: raise it when the same seed gives other bytes
Size = tuple[int, int, int]  # slices, rows, columns
MIN_PARALLEL = 24  # fewer studies are written without starting processes


def nifti_bytes(volume: np.ndarray, spacing: tuple[float, float, float]) -> bytes:
    """A gzipped NIfTI file in RAS orientation; the volume's columns run to the left and its rows to the back."""
    import nibabel as nib

    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = -np.array(spacing[::-1]) * (np.array(volume.shape[::-1]) - 1) / 2
    image = nib.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)[::-1, ::-1]), affine)
    image.header.set_xyzt_units("mm", "sec")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def write_study(root: Path, visit: Visit, size: tuple[int, int, int]) -> dict:
    """Writes one study's folder whole or not at all; gives its manifest row. A folder that is there is kept."""
    folder = root / visit.study_id
    if not folder.exists():
        part = Path(tempfile.mkdtemp(prefix=f".{visit.study_id}-", suffix=".part", dir=root))
        try:
            _fill(part, visit, size)
            _publish(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return json.loads((folder / "study.json").read_text(encoding="utf-8"))


def _publish(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        if not folder.exists():  # another process was first: its bytes are the same
            raise


def _fill(part: Path, visit: Visit, size: tuple[int, int, int]) -> None:
    study, files = make_study(visit, size), {}
    for name in ("image", "organs", "lesions"):
        files[name] = nifti_bytes(getattr(study, name), spacing_mm(size))
        (part / f"{name}.nii.gz").write_bytes(files[name])
    row = _row(visit, study) | {"sha256": hashlib.sha256(files["image"]).hexdigest()}
    (part / "study.json").write_text(json.dumps(row), encoding="utf-8")
    part.chmod(0o755)


def _row(visit: Visit, study: Study) -> dict:
    folder, report_rng = visit.study_id, visit.rng(5, visit.visit)
    return {
        "study_id": folder, "patient_id": visit.patient_id, "modality": "CT", "body_part": "torso", "sequence": "portal venous",
        "image": f"{folder}/image.nii.gz", "mask": f"{folder}/organs.nii.gz", "lesions": f"{folder}/lesions.nii.gz",
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
) -> Path:
    """Writes studies and their manifest under `root` and gives the manifest's path.

    Sizes are slices, rows, columns. Interrupted, it leaves whole studies only, and a second call continues; the manifest comes
    last. `workers` is the number of processes; None takes one for each core.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    root = Path(root)
    _claim(root, {"version": VERSION, "size": list(size), "seed": seed})
    visits = list_visits(n_train, n_val, n_test, seed)
    rows = list(tqdm(_rows(root, visits, size, workers), total=len(visits), desc="synthetic torsos", leave=False))
    return save_manifest(pd.DataFrame(rows), root / "manifest.csv")


def _claim(root: Path, settings: dict) -> None:
    """A folder holds studies of one size, seed and generator: another cohort in it would be mixed up with them."""
    file = root / "settings.json"
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{file}: the folder holds a cohort of other settings than {settings}; choose an empty folder")
    write_text(file, json.dumps(settings))


def _rows(root: Path, visits: list[Visit], size, workers: int | None) -> Iterator[dict]:
    missing = sum(not (root / v.study_id).exists() for v in visits)
    workers = min(workers or os.cpu_count() or 1, missing // MIN_PARALLEL + 1)
    if workers == 1:
        yield from (write_study(root, v, size) for v in visits)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        n = len(visits)
        try:
            yield from pool.map(write_study, [root] * n, visits, [size] * n, chunksize=8)
        finally:
            pool.shutdown(cancel_futures=True)


def torso_cohort(preset: config.Preset, *, seed: int = 0) -> Path:
    """Manifest of a preset's cohort, written the first time it is asked for."""
    n = {"n_train": preset.n_train, "n_val": preset.n_val, "n_test": preset.n_test}
    settings = n | {"size": preset.volume_size, "seed": seed}
    key = hashlib.sha256(json.dumps([VERSION, settings]).encode()).hexdigest()[:12]
    root = config.artifacts_dir() / "cohorts" / f"torso-{key}"
    manifest = root / "manifest.csv"
    return manifest if manifest.exists() else write_cohort(root, **settings)
