"""Studies over several seeds: what a lesson says about a method is measured here, not on the one run that its reader sees.

A study trains every variant with every seed. What a cell of it found is kept in `artifacts/claims`, so that an interrupted study
goes on; delete that folder after a change of what is trained. The table has the mean over seeds with an interval over patients,
and each variant's difference from the first, paired.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from .. import config
from ..data.catalog import local_copy, locate
from ..data.preprocessing import Preprocessing
from ..data.selfcheck import small_map
from ..files import whole, write_text
from ..learn.checkpoint import save_model
from ..leash import end_with_parent
from ..lesson.claims import read
from ..model.dual_encoder import TextSide
from .register import judged
from .tables import Cells

SEEDS = tuple(range(config.N_SEEDS))
SUMMARY = "claims"  # name of the table of verdicts


@dataclass(frozen=True)
class Study:
    """Variants, the first of which is what the others are compared with; how one is run; what a table is made of."""

    variants: tuple[str, ...]
    cell: Callable[[str, int, config.Preset], dict[str, np.ndarray]]  # arrays that one variant with one seed gives
    table: Callable[[Cells, config.Preset], pd.DataFrame]
    needs: tuple[tuple[str, str], ...] = ()  # studies and variants whose models it uses
    data: tuple[str, ...] = ()  # datasets that must have been downloaded


def run(
    names: list[str] | None = None, *, preset: str = "cpu", seeds: tuple[int, ...] = SEEDS, into: Path | None = None
) -> dict[str, pd.DataFrame]:
    """Tables of some studies, or of all; each is saved `into` a folder as soon as its study is done.

    Raises ValueError for an unknown one, and ManifestError, with how to get it, for a dataset that is not here.
    """
    from .studies import STUDIES

    level, tables = config.choose(config.PRESETS, "preset", preset), {}
    studies = {name: config.choose(STUDIES, "study", name) for name in names or STUDIES}
    for dataset in (dataset for study in studies.values() for dataset in study.data):
        locate(dataset)
    for name, study in studies.items():
        for wanted, variants in (*((other, (one,)) for other, one in study.needs), (name, study.variants)):
            _fill(wanted, variants, level, seeds)
        cells = {key: _read(_file(name, *key, level)) for key in product(study.variants, seeds)}
        tables[name] = study.table(cells, level)
        if into:
            save({name: tables[name]}, into)
    return tables


def lacking() -> dict[str, list[str]]:
    """Studies that cannot be run here -> the datasets that they lack."""
    from .studies import STUDIES

    gone = {name: [d for d in study.data if not local_copy(d).exists()] for name, study in STUDIES.items()}
    return {name: datasets for name, datasets in gone.items() if datasets}


def save(tables: dict[str, pd.DataFrame], folder: Path) -> list[Path]:
    """One CSV per study, and the verdicts on every claim by all tables that the folder then has."""
    from .studies import STUDIES

    written = [_write(table, folder / f"{name}.csv") for name, table in tables.items()]
    there = {name: file for name in STUDIES if (file := folder / f"{name}.csv").exists()}
    return [*written, _write(judged({name: read(file) for name, file in there.items()}), folder / f"{SUMMARY}.csv")]


def _write(table: pd.DataFrame, path: Path) -> Path:
    return write_text(path, table.round(4).to_csv(index=False))


def cell_folder(study: str, variant: str, seed: int, preset: config.Preset) -> Path:
    """Where a cell keeps what it made."""
    return config.artifacts_dir() / "claims" / study / f"{preset.name}-{variant}-seed{seed}"


def keep_model(model: TextSide, folder: Path, contract: Preprocessing, images: np.ndarray) -> None:
    """Keeps the model of a cell, for studies that go on from it; `images` are some that it was trained on."""
    card = f"# {folder.parent.name}, {folder.name}\n"
    save_model(model, folder / "model", contract=contract, seen=small_map(images), card=card)


def _fill(name: str, variants: tuple[str, ...], preset: config.Preset, seeds: tuple[int, ...]) -> None:
    """Runs the cells that are missing, two at a time where there are two cores, one thread each."""
    from tqdm.auto import tqdm

    missing = [key for key in product(variants, seeds) if not _file(name, *key, preset).exists()]
    if not missing:
        return
    context, workers = multiprocessing.get_context("spawn"), max(1, min(2, os.cpu_count() or 1, len(missing)))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        work = [pool.submit(_run_cell, name, variant, seed, preset) for variant, seed in missing]
        try:
            for done in tqdm(as_completed(work), total=len(work), desc=f"claims: {name}", unit="run"):
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _run_cell(name: str, variant: str, seed: int, preset: config.Preset) -> None:
    from .studies import STUDIES

    arrays, file = STUDIES[name].cell(variant, seed, preset), _file(name, variant, seed, preset)
    with whole(file) as part, part.open("wb") as handle:
        np.savez(handle, **arrays)


def _one_thread() -> None:
    import torch

    from ..learn.plan import keep_freed_memory

    end_with_parent()
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    keep_freed_memory()


def _file(name: str, variant: str, seed: int, preset: config.Preset) -> Path:
    return cell_folder(name, variant, seed, preset) / "found.npz"


def _read(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)
