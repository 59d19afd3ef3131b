"""The verdicts as a reader gets them: the table beside the lessons, how it looks with fewer seeds, and the README's summary."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import N_SEEDS, shipped
from ..files import write_text
from ..lesson.claims import published, read
from ..measure.comparisons import HOLDS, NOT_SHOWN, REVERSED
from ..measure.statistics import Score
from .register import NOT_MEASURED, judged
from .runner import SUMMARY
from .studies import STUDIES
from .tables import VALIDATION

VERDICTS = (HOLDS, REVERSED, NOT_SHOWN, NOT_MEASURED)
FIRST = "claims_first_run"  # name of the table of claims as they were before their studies ran again
PLACE = re.compile(r"(<!-- claims -->\n).*?(<!-- /claims -->)", re.DOTALL)  # of the summary in the README


def table() -> pd.DataFrame:
    """The verdict on every claim, as it lies beside the lessons."""
    return published(SUMMARY)


def study_tables() -> dict[str, pd.DataFrame]:
    """The tables of all studies that lie beside the lessons."""
    folder = shipped("notebooks") / "results"
    return {name: read(file) for name in STUDIES if (file := folder / f"{name}.csv").exists()}


def with_seeds(tables: dict[str, pd.DataFrame], n: int) -> pd.DataFrame:
    """The verdicts as if only the first n trainings had been looked at; intervals over patients are left as they are."""

    def few(one: pd.DataFrame) -> pd.DataFrame:
        seed = one["seed"].astype(str)
        return one[~seed.str.isdigit() | (pd.to_numeric(seed, errors="coerce") < n)]

    return judged({name: few(one) for name, one in tables.items()})


def stability(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """By the number of seeds: how many claims get which verdict, and how many get the one that all seeds give."""
    by_n = {n: with_seeds(tables, n)["verdict"] for n in range(2, N_SEEDS + 1)}
    counts = {n: found.value_counts().reindex(VERDICTS, fill_value=0) for n, found in by_n.items()}
    same = {n: int((found == by_n[N_SEEDS]).sum()) for n, found in by_n.items()}
    return pd.DataFrame(counts).T.assign(**{f"as with {N_SEEDS}": same}).rename_axis("seeds")


def searched(study: str, measure: str) -> pd.DataFrame:
    """What a search tried: each change's gain on validation patients, where it is chosen, and on test patients, best first.

    The columns are name, seeds, and for both splits (prefix "validation_" and "") value, low and high.
    """
    table = published(study)
    trained = table[table["seed"].astype(str).str.isdigit()].groupby("variant")["seed"].nunique()
    gains = table[table["seed"] == "minus " + table["variant"].iloc[0]].set_index("variant")
    ends = ["value", "low", "high"]
    chosen, tested = (gains.loc[gains["measure"] == name, ends] for name in (VALIDATION + measure, measure))
    found = tested.join(chosen.add_prefix("validation_")).assign(seeds=trained)
    return found.sort_values("validation_value", ascending=False).rename_axis("name").reset_index()


def repeated() -> pd.DataFrame:
    """Claims whose studies were run a second time, all trainings anew: what both runs said.

    The columns are name, verdict, and for both runs (prefix "first_" and "") value, and the interval over seeds as low and high.
    """
    of_runs = [run.set_index("says") for run in (published(FIRST), table())]
    ends = {"effect": "value", "seeds_low": "low", "seeds_high": "high", "verdict": "verdict"}
    first, again = (run[list(ends)].rename(columns=ends) for run in of_runs)
    return first.add_prefix("first_").join(again).rename_axis("name").reset_index()


def smallest_seen(row: pd.Series) -> float:
    """The smallest effect that would have held, had its intervals been as wide: the larger of their half-widths."""
    return float(max(row["high"] - row["low"], row["seeds_high"] - row["seeds_low"]) / 2)


def scores_of(verdicts: pd.DataFrame) -> list[Score]:
    """Effects of some claims as a lesson's scores: paired differences, chance 0."""
    known = verdicts[verdicts["verdict"] != NOT_MEASURED]
    return [Score(row.says, row.effect, row.low, row.high, int(row.n), row.unit, 0.0) for row in known.itertuples()]


def shown(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The table for a reader: what is compared, both scores, the effect with both intervals, and the verdict."""
    rows = [_cells(row) for _, row in verdicts.iterrows()]
    return pd.DataFrame(rows, index=pd.Index(verdicts["says"], name="claim"))


def markdown(verdicts: pd.DataFrame) -> str:
    """The summary for the README: counts by paper, then every claim."""
    counts = pd.crosstab(verdicts["paper"], verdicts["verdict"]).reindex(columns=VERDICTS, fill_value=0)
    counts = counts.reindex(verdicts["paper"].unique())
    own = shown(verdicts).reset_index().replace({"verdict": {word: f"**{word}**" for word in (HOLDS, REVERSED)}})
    return "\n\n".join(
        [
            _rows(["", *VERDICTS], [[paper, *map(str, row)] for paper, row in zip(counts.index, counts.to_numpy(), strict=True)]),
            "<details><summary>Every claim</summary>",
            _rows(["whose", *own.columns], [[p, *row] for p, row in zip(verdicts["paper"], own.to_numpy(), strict=True)]),
            "</details>",
        ]
    )


def into_readme(path: Path, verdicts: pd.DataFrame) -> Path:
    """Puts the summary between the README's marks. Raises ValueError if they are not there."""
    text = path.read_text(encoding="utf-8")
    if not PLACE.search(text):
        raise ValueError(f"{path}: has no place for the claims; put <!-- claims --> and <!-- /claims --> on lines of their own")
    return write_text(path, PLACE.sub(lambda found: f"{found[1]}\n{markdown(verdicts)}\n\n{found[2]}", text))


def _cells(row: pd.Series) -> dict[str, str]:
    if row["verdict"] == NOT_MEASURED:
        return {"verdict": NOT_MEASURED} | dict.fromkeys(("scores", "chance", "effect", "over patients", "over seeds", "n"), "")
    return {
        "verdict": row["verdict"],
        "scores": f"{row['value']:.3f}, {row['base_value']:.3f}",
        "chance": "" if np.isnan(row["chance"]) else f"{row['chance']:.3f}",
        "effect": f"{row['effect']:+.3f}",
        "over patients": f"{row['low']:+.3f} to {row['high']:+.3f}",
        "over seeds": f"{row['seeds_low']:+.3f} to {row['seeds_high']:+.3f}",
        "n": f"{row['n']:.0f} {row['unit']}, {row['seeds']:.0f} seeds",
    }


def _rows(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def claims_of(paper: str, verdicts: pd.DataFrame) -> pd.DataFrame:
    """The claims of one paper, in the order of the register."""
    return verdicts[verdicts["paper"] == paper]
