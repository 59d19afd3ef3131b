"""The page that compares the runs of a grid: what it says, drawn by `templates/experiment.html`."""

from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from ..config import RECIPES
from ..data.catalog import Dataset
from ..pages.site import Outcome, style, template
from . import verdict
from .arms import Arm, suited
from .experiment import describe, split_table
from .experiment_scores import compare

STEP = 0.05  # the axis of differences ends at a multiple of it


def comparison(data: Dataset, preset: str, arms: list[Arm], runs: dict[tuple[Arm, int], dict], failed: list[Outcome]) -> str:
    """The page, as HTML; differences are from the first arm."""
    names = {arm.slug: arm.label for arm in arms}
    rows = compare({(arm.slug, seed): run for (arm, seed), run in runs.items()}, [arm.slug for arm in arms])
    measures = [list(own) for _, own in groupby(rows, itemgetter("place"))]
    key = [own for own in measures if any(f.get("key") for row in own for f in row["seeds"].values())]
    splits = split_table(data.manifest)
    about = {
        "data": data, "preset": preset, "splits": splits.to_dict("index"), "names": names, "n_runs": len(runs),
        "headlines": [(verdict.headline(own, names), verdict.beside_chance(own, names)) for own in key],
        "measures": sorted(measures, key=lambda own: own not in key), "reach": _reach(rows),
        "examples": _examples(arms, runs), "settings": _settings(arms, runs), "failed": failed, "suited": suited(data),
        "advice": _advice(key, names, n_patients=int(splits.loc["test", "patients"]), preset=preset),
        "date": datetime.now().isoformat(" ", timespec="minutes"),
    }  # fmt: skip
    words = {"placed": _placed(about["reach"]), "signed": verdict.signed, "signed_range": verdict.signed_range}
    return template("experiment.html").render(**about, **words, style=style())


def _reach(rows: list[dict]) -> float:
    """How far the axis of differences goes to both sides; what lies further is cut there."""
    scores = [score for row in rows for score in (row.get("gain"), row.get("gain_seeds")) if score]
    furthest = max([STEP, *(abs(end) for score in scores for end in (score.low, score.high))])
    return min(1.0, STEP * -(-furthest // STEP))


def _placed(reach: float) -> Callable[[float], str]:
    """Where a difference lies on its axis, in percent from the left."""
    return lambda value: f"{50 + 50 * max(-1.0, min(1.0, value / reach)):.1f}"


def _examples(arms: list[Arm], runs: dict[tuple[Arm, int], dict]) -> list[list[dict]]:
    """Images with the answers of each arm's first seed; arms that were shown others make a list of their own."""
    found: dict[tuple, list[dict]] = {}
    there = {arm for arm, _ in runs}
    for arm in (arm for arm in arms if arm in there):
        seed = min(seed for other, seed in runs if other == arm)
        own = runs[arm, seed]["about"]["examples"]
        shown = found.setdefault(tuple(e["picture"] for e in own), [e | {"answers": []} for e in own])
        for example, answer in zip(shown, own, strict=True):
            example["answers"].append({"name": arm.label, "found": answer["found"]})
    return [shown for shown in found.values() if shown]


def _settings(arms: list[Arm], runs: dict[tuple[Arm, int], dict]) -> list[dict]:
    """How each arm was trained, and how long each of its runs took and how far it came."""
    rows = []
    for arm in arms:
        own = {seed: run for (other, seed), run in sorted(runs.items()) if other == arm}
        times = [(seed, run["wall_seconds"], run["about"]["learnt"]) for seed, run in own.items()]
        about = next(iter(own.values()))["about"]["settings"] if own else {}
        rows.append({"slug": arm.slug, "name": arm.label, "does": describe(RECIPES[arm.recipe]), "about": about, "runs": times})
    return rows


def _advice(key: list[list[dict]], names: dict[str, str], *, n_patients: int, preset: str) -> list[str]:
    return list(dict.fromkeys(s for own in key for s in verdict.advice(own, names, n_patients=n_patients, preset=preset)))
