"""Claims as a forest plot: each effect with its interval over patients and the one over trainings."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .plots import COLOURS

KINDS = {  # verdict -> colour, marker, filled
    "holds": (COLOURS[0], "o", True),
    "reversed": (COLOURS[5], "X", True),
    "not shown": ("0.4", "o", False),
}


def forest(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """One line per claim: the effect, its interval over patients (thick) and over seeds (thin), the verdict by marker and word.

    `table` has the columns says, effect, low, high, seeds_low, seeds_high, value, base_value and verdict. All measures are
    between 0 and 1, effects are their differences.
    """
    ax = ax or plt.subplots(figsize=(11, 0.34 * len(table) + 1.5))[1]
    words = []
    for place, row in enumerate(table.itertuples()):
        colour, marker, filled = KINDS[row.verdict]
        ax.plot([row.seeds_low, row.seeds_high], [place, place], color=colour, linewidth=1.2, zorder=1)
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=4, alpha=0.5, solid_capstyle="butt", zorder=2)
        ax.plot(row.effect, place, marker=marker, markersize=8, color=colour, markerfacecolor=colour if filled else "white")
        words.append(f"{row.base_value:.2f} → {row.value:.2f}  {row.verdict}")
    ax.set(xlabel="effect (score with it − score without), 95 % intervals")
    _lines(ax, table["says"])
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(words)), words, fontsize=9)
    right.tick_params(length=0)
    lines = [Line2D([], [], color="0.3", linewidth=width, alpha=alpha) for width, alpha in ((4, 0.5), (1.2, 1))]
    ax.figure.legend(lines, ["over patients", "over seeds"], loc="outside lower center", ncols=2, frameon=False)
    return ax


def twice(table: pd.DataFrame, labels: dict[str, str], *, over: str, ax: Axes | None = None) -> Axes:
    """One line per effect that was measured twice, on other patients or in another run, each with its interval.

    `table` has the columns name and, after each prefix of `labels` (open diamonds, then dots), value, low and high; `over` says
    what the intervals are over.
    """
    ax = ax or plt.subplots(figsize=(9, 0.42 * len(table) + 1.4))[1]
    looks = ((-0.16, "D", COLOURS[1], "white"), (0.16, "o", COLOURS[0], COLOURS[0]))
    for (prefix, label), (shift, marker, colour, face) in zip(labels.items(), looks, strict=True):
        places = np.arange(len(table)) + shift
        ax.hlines(places, table[f"{prefix}low"], table[f"{prefix}high"], color=colour, linewidth=1.5)
        ax.plot(table[f"{prefix}value"], places, marker, color=colour, markerfacecolor=face, label=label)
    _lines(ax, table["name"])
    ax.set(xlabel=f"effect (score with it − score without), 95 % intervals over {over}")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return ax


def stability_bars(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How many claims hold, are reversed or are not shown, by the number of trainings looked at."""
    ax = ax or plt.subplots(figsize=(7, 2.6))[1]
    left = np.zeros(len(table))
    for verdict, (colour, _, filled) in KINDS.items():
        counts = table[verdict].to_numpy(float)
        ax.barh(range(len(table)), counts, left=left, color=colour if filled else "0.85", edgecolor="white", label=verdict)
        for place, (start, count) in enumerate(zip(left, counts, strict=True)):
            if count:
                ax.text(start + count / 2, place, f"{count:.0f}", ha="center", va="center", color="white" if filled else "black")
        left += counts
    ax.set(yticks=range(len(table)), yticklabels=[f"{n} seeds" for n in table.index], xlabel="claims")
    ax.invert_yaxis()
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return ax


def _lines(ax: Axes, names: pd.Series) -> None:
    """A line for each name, the first on top, and 0 marked."""
    ax.axvline(0, color="0.2", linestyle="--", linewidth=1.2)
    ax.set_yticks(range(len(names)), _once(names), fontsize=9)
    ax.set_ylim(len(names) - 0.5, -0.5)


def _once(names: pd.Series) -> list[str]:
    """Names of neighbouring lines, what they have in common up to the first comma written once."""
    parts = [name.partition(", ") for name in names]
    again = [False, *(rest != "" and head == before for (before, *_), (head, _, rest) in pairwise(parts))]
    return [f"… {rest}" if same else name for name, (_, _, rest), same in zip(names, parts, again, strict=True)]
