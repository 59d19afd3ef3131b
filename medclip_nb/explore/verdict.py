"""What a comparison says in words: made from its figures alone, and never more than they bear."""

import numpy as np

from ..config import CONFIDENCE
from ..measure.comparisons import holm
from ..measure.statistics import Score

MOST_PATIENTS = 2000  # that one would collect to show a difference


def verdicts(rows: list[dict]) -> dict[str, str]:
    """Of each recipe on one measure: "better", "worse" or "open" against the first.

    Better or worse is said where two intervals leave 0 out on the same side, over patients (with Holm's correction for all that
    are held against the first) and over seeds. One seed says nothing about the next training, so that all stays open.
    """
    held = [row for row in rows if "gain" in row]
    corrected = holm(np.array([row["p"] for row in held])) if held else []
    return {row["recipe"]: _verdict(row, p) for row, p in zip(held, corrected, strict=True)}


def _verdict(row: dict, p: float) -> str:
    scores = [row["gain"], row["gain_seeds"]]
    if None in scores or p > 1 - CONFIDENCE:
        return "open"
    return "better" if all(s.low > 0 for s in scores) else "worse" if all(s.high < 0 for s in scores) else "open"


def headline(rows: list[dict], names: dict[str, str]) -> str:
    """One sentence on one measure: who gains, who loses, or that nothing is sure; `names` are what the page calls the recipes."""
    first, found, measure = names[rows[0]["recipe"]], verdicts(rows), rows[0]["name"]
    if not found:
        return f"{first}: {measure} is {figure(rows[0]['value'])} {_range(rows[0])}, where chance is {figure(rows[0]['chance'])}."
    gains = {row["recipe"]: row["gain"] for row in rows if "gain" in row}
    parts = [
        f"{names[recipe]} {word} {figure(abs(gains[recipe].value))} on {measure} against {first} ({signed_range(gains[recipe])})"
        for kind, word in (("better", "gains"), ("worse", "loses"))
        for recipe in found
        if found[recipe] == kind
    ]
    if "better" not in found.values():
        parts.insert(
            0, f"no other is surely better than {first} on {measure}" if parts else _nothing_sure(gains, names, first, measure)
        )
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def _nothing_sure(gains: dict[str, Score], names: dict[str, str], first: str, measure: str) -> str:
    shown = ", ".join(f"{names[recipe]} {signed(gain.value)} ({signed_range(gain)})" for recipe, gain in gains.items())
    return f"nothing is surely better or worse than {first} on {measure}: {shown}"


def beside_chance(rows: list[dict], names: dict[str, str]) -> str:
    """Who is above chance on one measure, interval and all."""
    above = [names[row["recipe"]] for row in rows if row["low"] > row["chance"]]
    level, n = f"chance ({figure(rows[0]['chance'])})", len(rows)
    if len(above) == n:
        return f"{'All' if n > 2 else 'Both' if n == 2 else 'It'} lie{'s' * (n == 1)} above {level}, interval and all."
    if not above:
        return f"None is surely above {level}: what has learnt nothing cannot be compared."
    return f"Surely above {level}: {', '.join(above)} only."


def smallest_visible(row: dict) -> tuple[float, str]:
    """Half the wider of the two intervals of a difference, and whose doubt it is: "patients" or "seeds"."""
    reach = {"patients": _half(row["gain"])} | ({"seeds": _half(row["gain_seeds"])} if row["gain_seeds"] else {})
    whose = max(reach, key=reach.get)
    return reach[whose], whose


def advice(rows: list[dict], names: dict[str, str], *, n_patients: int, preset: str) -> list[str]:
    """What to try next on one measure, from the widths of the intervals."""
    held, said = [row for row in rows if "gain" in row and row["n"]], []
    if preset == "smoke":
        said.append("This was preset smoke, a rehearsal: run it at preset cpu before you believe anything.")
    if held:
        said += _about_width(max(held, key=lambda row: smallest_visible(row)[0]), n_patients)
        said += _about_largest(max(held, key=lambda row: abs(row["gain"].value)), names, n_patients)
    if any(row["low"] <= row["chance"] for row in rows):
        said.append("What is not above chance needs more images, or texts that say what can be seen, before more recipes.")
    if "better" in verdicts(rows).values():
        said.append("The winner was picked by these test patients: say how good it is on others.")
    return said


def _about_width(row: dict, n_patients: int) -> list[str]:
    reach, whose = smallest_visible(row)
    n_seeds, one_seed = len(row["gain_by_seed"]), row["gain_seeds"] is None
    said = [
        f"With {n_patients} test patients and {n_seeds} seed{'s' * (n_seeds != 1)}, differences below {figure(reach)} on "
        f"{row['name']} cannot be seen."
    ]
    if one_seed:
        return [*said, "One seed says nothing about the next training: add `--seed 0 1 2`."]
    more = f"`--seed {' '.join(map(str, range(n_seeds + 3)))}`: the seeds lie further apart than the patients let expect"
    return [*said, f"It helps most to add {more}." if whose == "seeds" else f"{4 * n_patients:,} test patients would halve that."]


def _about_largest(row: dict, names: dict[str, str], n_patients: int) -> list[str]:
    gain = row["gain"]
    if gain.low > 0 or gain.high < 0 or not gain.value:
        return []
    needed = n_patients * (_half(gain) / abs(gain.value)) ** 2
    return [
        f"If the {signed(gain.value)} of {names[row['recipe']]} is true, about {_round_up(needed):,} test patients would show it."
    ]


def _round_up(n: float) -> int:
    """To two digits: more would pretend."""
    step = 10 ** max(0, len(str(int(n))) - 2)
    return int(-(-n // step) * step)


def _half(score: Score) -> float:
    return (score.high - score.low) / 2


def figure(value: float) -> str:
    """A figure with two digits behind the point."""
    return f"{value:.2f}".replace("-", "−")


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.2f}".replace("-", "−")


def signed_range(score: Score) -> str:
    """An interval of a difference."""
    return f"{signed(score.low)} to {signed(score.high)}"


def _range(row: dict) -> str:
    return f"({figure(row['low'])} to {figure(row['high'])})"
