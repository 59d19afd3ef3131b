"""What lesson 13 makes of maps: checks image by image, pointing beside chance and beside nonsense, and a verdict.

Maps come as `(prompt, image, slice, row, column)` by method, in pairs: for a prompt, then for nonsense asked in the same way.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..measure import explain
from ..measure.statistics import Score, mean_difference, mean_score
from .explanations import CHECKS, WAYS, Maps

Measure = Callable[[str, int], Float[np.ndarray, " n"]]  # of a method's map and the place of the prompt among its directions
TRUST = 0.5  # a map fails if its rank correlation with a nonsense map is not surely below, or with a shifted one not surely above


def per_image(maps: Maps, patients: np.ndarray, measures: dict[str, Measure]) -> pd.DataFrame:
    """A row per method, way to ask and image, a column per measure."""
    pairs = [(name, k, way) for name, m in maps.items() for k, way in zip(range(0, len(m), 2), WAYS, strict=False)]
    about = lambda name, way: {"map": name, "asked": way, "patient": patients}  # noqa: E731
    rows = [pd.DataFrame(about(name, way) | {what: f(name, k) for what, f in measures.items()}) for name, k, way in pairs]
    return pd.concat(rows, ignore_index=True)


def sanity(maps: Maps, forgot: Maps, moved: Maps, by: explain.Change, area: explain.Masks) -> dict[str, Measure]:
    """Rank correlation of each map with that for nonsense, of random weights, and of the shifted image (shifted back)."""
    found = (
        lambda name, k: explain.rank_correlation(maps[name][k], maps[name][k + 1], area),
        lambda name, k: explain.rank_correlation(maps[name][k], forgot[name][k], area),
        lambda name, k: explain.shift_correlation(maps[name][k], moved[name][k], by, area),
    )
    return dict(zip(CHECKS, found, strict=True))


def pointing(maps: Maps, lesions: explain.Masks, area: explain.Masks, *, tolerance_px: int = 0) -> dict[str, Measure]:
    """Hits of each map in an area, those of nonsense, and chance."""
    hits = lambda name, k: explain.pointing_hits(maps[name][k], lesions, area, tolerance_px=tolerance_px)  # noqa: E731
    chance = explain.pointing_chance(lesions, area, tolerance_px=tolerance_px)
    return {"hit": hits, "nonsense hit": lambda name, k: hits(name, k + 1), "chance": lambda *_: chance}


def means(table: pd.DataFrame, *, n_bootstrap: int) -> dict[tuple[str, str, str], Score]:
    """The mean of each measure, by map, way to ask and measure; images on which it is unknown (a constant map) are left out."""
    found = {}
    for (name, way), rows in table.groupby(["map", "asked"], sort=False):
        for what in table.columns[3:]:
            known = rows.dropna(subset=what)
            chance = {"hit": rows["chance"].mean(), "nonsense hit": rows["chance"].mean()} if "chance" in rows else {}
            title, values = f"{name}, {way}: {what}".replace(", :", ":"), known[what].to_numpy(float)
            if known["patient"].nunique() > 1:
                level = chance.get(what, 0.0 if what in CHECKS else None)
                patients = known["patient"].to_numpy(str)
                found[name, way, what] = mean_score(title, values, patients, chance=level, n_bootstrap=n_bootstrap)
    return found


def pointing_table(table: pd.DataFrame, *, n_bootstrap: int) -> pd.DataFrame:
    """A row per map and way to ask: hits and nonsense's hits with intervals, chance, and both differences, paired by image."""
    scores, rows = means(table, n_bootstrap=n_bootstrap), []
    for (name, way), own in table.groupby(["map", "asked"], sort=False):
        row = {"map": name, "asked": way, "chance": own["chance"].mean()}
        for what in ("hit", "nonsense hit"):
            score = scores[name, way, what]
            row |= {what: score.value, f"{what} low": score.low, f"{what} high": score.high}
        for other in ("chance", "nonsense hit"):
            pair = (own[c].to_numpy(float) for c in ("hit", other))
            gain = mean_difference(*pair, own["patient"].to_numpy(str), n_bootstrap=n_bootstrap)
            row |= {f"above {other}": gain.value, f"above {other} low": gain.low}
        rows.append(row)
    return pd.DataFrame(rows).set_index(["map", "asked"])


def verdicts(checked: pd.DataFrame, pointed: pd.DataFrame | None, *, n_bootstrap: int) -> pd.DataFrame:
    """Which checks each map passes, interval and all; one that cannot be made counts as not passed."""
    scores, rows = means(checked, n_bootstrap=n_bootstrap), {}
    for name, way in checked.groupby(["map", "asked"], sort=False).groups:
        own = {what: scores.get((name, way, what)) for what in CHECKS}
        row = {
            "unlike nonsense": own[CHECKS[0]] and own[CHECKS[0]].high < TRUST,
            "unlike random weights": own[CHECKS[1]] and own[CHECKS[1]].high < TRUST,
            "moves along": own[CHECKS[2]] and own[CHECKS[2]].low > TRUST,
        }
        if pointed is not None:
            row["points better than chance"] = pointed.loc[(name, way), "above chance low"] > 0
            row["points better than nonsense"] = pointed.loc[(name, way), "above nonsense hit low"] > 0
        rows[name, way] = {what: bool(holds) for what, holds in row.items()}
    table = pd.DataFrame(rows).T.rename_axis(["map", "asked"])
    return table.assign(passed=table.sum(axis=1).astype(int))
