"""The tables of `medclip-nb claims` as the lessons read them: what was found over several seeds, beside the reader's own run."""

from pathlib import Path

import pandas as pd

from .. import config
from ..measure.statistics import Score


def published(name: str) -> pd.DataFrame:
    """The table of a study as it lies beside the lessons: preset cpu, several seeds."""
    return read(config.shipped("notebooks") / "results" / f"{name}.csv")


def read(path: Path) -> pd.DataFrame:
    """A study's table as `medclip-nb claims` writes it."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def difference(name: str, variant: str, measure: str, *, base: str = "") -> Score:
    """How much better a variant is than another (the first it is compared with), over all findings and seeds, paired.

    Raises ValueError if the table has no such difference.
    """
    table = published(name)
    seed = table["seed"].astype(str)
    table = table[seed == f"minus {base}" if base else seed.str.startswith("minus ")]
    chosen = table[(table["variant"] == variant) & (table["measure"] == measure)]
    if chosen.empty:
        known = ", ".join(dict.fromkeys(table["variant"] + ": " + table["measure"]))
        raise ValueError(f"the table of {name} has no difference for {variant!r} in {measure!r}; choose one of: {known}")
    row = chosen.iloc[0]
    return Score(f"{variant} {row['seed']}, {measure}", row["value"], row["low"], row["high"], int(row["n"]), row["unit"], 0.0)
