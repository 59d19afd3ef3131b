"""All images of a dataset into the cache before anybody trains: by several processes, and by machines that share a table.

A machine takes every n-th row, so that the shards of all machines are every row once, and none depends on how long images take.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ..leash import end_with_parent
from . import cache
from .catalog import Dataset
from .preprocessing import Preprocessing, cache_name, cached
from .readers import ImageError

BLOCK = 2048  # images handed out at a time: what waits in memory does not grow with the table
CHUNK = 4  # ... to one process: so many are finished after an interrupt
MADE, KEPT = "made", "kept"


class Prepared(NamedTuple):
    """What became of the images of some rows."""

    made: int
    kept: int  # were in the cache before
    bad: list[tuple[int, str]]  # position of the row in the table, and why its image cannot be used


def shard_rows(n_rows: int, shard: int, n_shards: int) -> Int[np.ndarray, " row"]:
    """Rows of shard 1 to `n_shards`: every n-th one. Raises ValueError for a shard that is not there."""
    if not 1 <= shard <= n_shards:
        raise ValueError(f"there is no shard {shard} of {n_shards}: they are numbered from 1 to {n_shards}")
    return np.arange(shard - 1, n_rows, n_shards)


def prepare(dataset: Dataset, rows: Int[np.ndarray, " row"], *, workers: int = 1) -> Prepared:
    """Preprocesses the images of some rows into the cache; what is there already is not opened.

    Images that cannot be read are collected, not raised. An interrupt or a kill leaves whole files only, and the next run goes
    on from them. Raises OSError if the cache cannot be written.
    """
    from tqdm.auto import tqdm

    names, outcomes = dataset.manifest["image"], []
    with _mapper(workers) as mapped, tqdm(total=len(rows), desc="images", unit="image", leave=False) as bar:
        for start in range(0, len(rows), BLOCK):
            jobs = [(dataset.root / names.iloc[row], dataset.contract) for row in rows[start : start + BLOCK]]
            for outcome in mapped(_one, jobs):
                outcomes.append(outcome)
                bar.update()
    bad = [(int(row), said) for row, said in zip(rows, outcomes, strict=True) if said not in (MADE, KEPT)]
    return Prepared(outcomes.count(MADE), outcomes.count(KEPT), bad)


def _one(job: tuple[Path, Preprocessing]) -> str:
    path, contract = job
    try:
        file = cache.file_of(cache_name(path, contract))
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    try:
        if not file.exists():
            cached(path, contract)
            return MADE
        os.utime(file)  # when it was last used: `cache.trim` goes by it
        return KEPT
    except ImageError as error:
        return str(error)


@contextmanager
def _mapper(workers: int) -> Iterator:
    """A `map` over so many processes; one is this one."""
    if workers == 1:
        yield map
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        yield lambda function, jobs: pool.map(function, jobs, chunksize=CHUNK)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker computes on one core, leaves interrupts to its parent, and ends with it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # before torch, which takes seconds to come
    import torch

    torch.set_num_threads(1)
    end_with_parent()
