"""What several groups make: pictures with a table, and a guard against what would never end."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

GUARD_S = 120  # nothing here takes a tenth of it; what hangs fails instead


def pictures(folder: Path, n: int = 6) -> Path:
    """The folder with some small pictures of noise, all different."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        Image.fromarray(rng.integers(0, 255, (20, 16), np.uint8)).save(folder / f"{i}.png")
    return folder


def rows(n: int = 6, **columns) -> pd.DataFrame:
    """A sound table for `pictures`, a patient each; `columns` overwrite."""
    table = {"study_id": [f"s{i}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)]}
    table |= {
        "image": [f"{i}.png" for i in range(n)],
        "report": [f"There is finding {'abcdefghijklmnop'[i % 16]}." for i in range(n)],
    }
    return pd.DataFrame(table).assign(**columns)


def manifest(folder: Path, n: int = 6, **columns) -> Path:
    """The folder with pictures and a manifest of them."""
    rows(n, **columns).to_csv(pictures(folder, n) / "manifest.csv", index=False)
    return folder


def first(value: object, n: int = 6, *, others: object = "") -> list:
    """A column whose first value is the one in question."""
    return [value, *[others] * (n - 1)]


def guarded(act: Callable[[Path], object]) -> Callable[[Path], object]:
    """The same, but it fails after GUARD_S: a hang is a fault, too."""

    def late(*_) -> None:
        raise AssertionError(f"still at it after {GUARD_S} s")

    def run(folder: Path) -> object:
        before = signal.signal(signal.SIGALRM, late)
        signal.alarm(GUARD_S)
        try:
            return act(folder)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    return run
