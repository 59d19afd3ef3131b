"""What a benchmark hands over, how much work it does, and how two ways are timed beside each other."""

import os
import platform
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import numpy as np

from .. import __version__
from ..config import n_cores

PATIENCE_S, LEAST_ROUNDS = 8.0, 2  # after so long and so many rounds of repeats no further one starts
EXPONENT = "exponent"  # unit of a growth
DIGITS = 4  # of a figure that is handed over


class Sizes(NamedTuple):
    """How much work the benchmarks do."""

    preset: str  # of the cohorts
    repeats: int  # the fastest counts: what slows a repeat is not the code
    reports: tuple[int, ...]  # held against each other
    in_python: int  # reports, one of the sizes above, at which the pairwise rival ends and the budget stands
    retrieved: tuple[int, ...]  # images, and as many texts
    slices: tuple[int, ...]  # of the longest volume of a batch
    prompts: tuple[int, ...]
    losses: tuple[int, ...]  # pairs of a batch whose memory is counted
    timed_losses: tuple[int, ...]
    studies: int  # of the image cache
    audited: tuple[int, int]  # rows
    judged: bool = True  # whether budgets of time are held against the figures

    def budget(self, most: float) -> float | None:
        """A budget that was set for the full sizes; None at others."""
        return most if self.judged else None


FULL = Sizes(
    preset="cpu",
    repeats=9,
    reports=(125, 250, 500, 1000, 2000, 4000),
    in_python=1000,
    retrieved=(375, 750, 1500, 3000),
    slices=(16, 32, 64, 128, 256, 512, 1024),
    prompts=(16, 32, 64, 128),
    losses=(512, 1024, 2048, 4096, 8192),
    timed_losses=(512, 1024, 2048, 4096),
    studies=200,
    audited=(1000, 10_000),
)
QUICK = Sizes(
    preset="smoke",
    repeats=1,
    reports=(10, 20),
    in_python=20,
    retrieved=(30, 60),
    slices=(8, 16),
    prompts=(8, 16),
    losses=(256, 512, 1024),
    timed_losses=(64, 128),
    studies=3,
    audited=(20, 40),
    judged=False,
)


class Row(NamedTuple):
    """One figure: ours, a rival's where there is one, and the most it may be where there is a budget."""

    what: str
    ours: float
    rival: float | None
    unit: str
    note: str
    budget: float | None = None

    @property
    def met(self) -> str:
        """ "yes" or "no", "-" without a budget."""
        return "-" if self.budget is None else "yes" if self.ours <= self.budget else "no"

    def as_dict(self) -> dict:
        """For the table and JSON; `ratio` says how many times ours the rival is."""
        ratio = None if self.rival is None or self.unit == EXPONENT else short(self.rival / self.ours)
        numbers = {"ours": short(self.ours), "rival": self.rival and short(self.rival), "unit": self.unit, "ratio": ratio}
        return {"what": self.what, **numbers, "budget": self.budget, "met": self.met, "note": self.note}


class Curve(NamedTuple):
    """How a figure grows: by way the (size, figure) pairs, ours first."""

    what: str
    over: str  # what the size counts
    unit: str
    points: dict[str, list[tuple[int, float]]]
    budget: tuple[int, float] | None = None  # the most it may be at a size
    most_exponent: float | None = None

    @property
    def exponents(self) -> dict[str, float]:
        """Slope of log figure over log size by least squares: 1 is linear, 2 quadratic."""
        return {way: float(np.polyfit(*np.log(np.array(points)).T, 1)[0]) for way, points in self.points.items()}

    def row(self) -> Row:
        """The exponents of ours and of the first rival."""
        (_, ours), (rival, theirs), *_ = self.exponents.items()
        sizes = [size for size, _ in next(iter(self.points.values()))]
        note = f"fitted to {len(sizes)} sizes, {sizes[0]} to {sizes[-1]} {self.over}; rival: {rival}"
        return Row(f"growth of {self.what}", ours, theirs, EXPONENT, note, self.most_exponent)

    def as_dict(self) -> dict:
        """For the figure and JSON."""
        points = {way: [(size, short(figure)) for size, figure in own] for way, own in self.points.items()}
        exponents = {way: short(exponent) for way, exponent in self.exponents.items()}
        return self._asdict() | {"points": points, "exponents": exponents}


def curve_of(what: str, over: str, unit: str, measured: dict[int, dict[str, float]], **budget) -> Curve:
    """A curve from figures by size and way; a way may stop before the largest sizes."""
    ways = dict.fromkeys(way for figures in measured.values() for way in figures)
    points = {way: [(n, figures[way]) for n, figures in measured.items() if way in figures] for way in ways}
    return Curve(what, over, unit, points, **budget)


def short(figure: float) -> float:
    """A figure to DIGITS significant digits."""
    return float(f"{figure:.{DIGITS}g}")


def fastest(
    *actions: Callable[[], object], repeats: int, patience_s: float = PATIENCE_S, clock: str = "perf_counter"
) -> list[float]:
    """Seconds of the fastest of several calls of each action, in turns, so that a busy moment meets all of them.

    `clock` names a function of `time`: "process_time" is what the processor works, which a busy machine changes less.
    """
    rounds: list[list[float]] = []
    while len(rounds) < repeats and (len(rounds) < LEAST_ROUNDS or sum(map(sum, rounds)) <= patience_s):
        rounds.append([_seconds(action, clock) for action in actions])
    return [min(seconds) for seconds in zip(*rounds, strict=True)]


def _seconds(action: Callable[[], object], clock: str) -> float:
    start = getattr(time, clock)()
    action()
    return getattr(time, clock)() - start


def beside(ours: Callable, *rivals: Callable, same: Callable[..., bool], repeats: int) -> list[float]:
    """`fastest` of ways that give the same. Raises ValueError if `same(ours, rival)` denies that of their results."""
    found = ours()
    void_unless(all(same(found, rival()) for rival in rivals))
    return fastest(ours, *rivals, repeats=repeats)


def void_unless(same: bool) -> None:
    """Raises ValueError if two ways did not give the same."""
    if not same:
        raise ValueError("the two ways give different results: the comparison is void")


def machine() -> dict:
    """What the figures depend on beside the code."""
    import torch

    load = [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None
    versions = {"medclip_nb": __version__, "python": platform.python_version(), "torch": torch.__version__}
    about = {"date": datetime.now().isoformat(timespec="seconds"), "cores": n_cores(), "threads": torch.get_num_threads()}
    return about | {"load_average": load, "processor": platform.machine(), "system": platform.platform(), "versions": versions}
