"""Reading ahead: the next batch is made while the model works on this one."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Job, Made = TypeVar("Job"), TypeVar("Made")


def made(make: Callable[[Job], Made], jobs: list[Job], *, ahead: bool) -> Iterator[Made]:
    """`make(job)` of each job in order; with `ahead` one thread makes the next one meanwhile, in the same order."""
    if not ahead or not jobs:
        yield from map(make, jobs)
        return
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:  # the cores are the model's
        coming = pool.submit(make, jobs[0])
        for job in jobs[1:]:
            ready, coming = coming.result(), pool.submit(make, job)
            yield ready
        yield coming.result()
