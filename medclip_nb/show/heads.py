"""What lesson 08 draws: targets of a batch, how hard pairs are pushed, and differences between many variants at once."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import COLOURS, MARKERS


def target_panels(targets: dict[str, Float[np.ndarray, "unit text"]]) -> Figure:
    """Target matrices of one batch side by side, from white (0) to dark blue (0.5 and more)."""
    figure, axes = plt.subplots(1, len(targets), figsize=(3.1 * len(targets) + 0.6, 3.5), squeeze=False)
    for ax, (title, values) in zip(axes.flat, targets.items(), strict=True):
        picture = ax.imshow(values, cmap="Blues", vmin=0, vmax=0.5, interpolation="nearest")
        ax.set_title(title, fontsize=10, loc="center")
        ax.set(xticks=[], yticks=[], xlabel="text")
        ax.grid(False)
    axes[0, 0].set_ylabel("volume")
    figure.colorbar(picture, ax=axes, label="share of the target (0.5 and above alike)", shrink=0.8)
    return figure


def push_points(table: pd.DataFrame, *, xlabel: str, ax: Axes | None = None) -> Axes:
    """One line per group of pairs (the index), a marker per column: left of zero they are pulled together, right pushed apart."""
    ax = ax or plt.subplots(figsize=(8, 0.45 * len(table) + 1.3))[1]
    places = np.arange(len(table))
    for k, column in enumerate(table.columns):
        shift = 0.5 * (k / max(1, len(table.columns) - 1) - 0.5)
        ax.scatter(table[column], places + shift, marker=MARKERS[k], color=COLOURS[k], s=40, label=column, zorder=2)
    ax.axvline(0, color="0.35", linewidth=1.2)
    ax.set(yticks=places, yticklabels=table.index, xlabel=xlabel)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(table.columns), frameon=False, fontsize=9)
    return ax


def difference_map(table: pd.DataFrame, *, label: str) -> Figure:
    """Differences in points (hundredths), variants by measure; bold where the interval leaves out zero, a dot where it does not.

    `table` has the columns variant, measure, value, low, high, in the order to be drawn.
    """
    variants, measures = (list(dict.fromkeys(table[c])) for c in ("variant", "measure"))
    cells = 100 * table.set_index(["variant", "measure"])[["value", "low", "high"]]
    grid = cells["value"].unstack().reindex(index=variants, columns=measures)
    figure, ax = plt.subplots(figsize=(1.15 * len(measures) + 3.2, 0.34 * len(variants) + 1.9))
    most = max(1.0, float(np.nanmax(grid.abs().to_numpy())))
    picture = ax.imshow(grid, cmap="PuOr", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    for (variant, measure), (value, low, high) in cells.iterrows():
        sure = low > 0 or high < 0
        place = measures.index(measure), variants.index(variant)
        colour = "white" if abs(value) > 0.65 * most else "black"
        text = f"{value:+.1f}" if sure else f"{value:+.1f} ·"
        ax.text(*place, text, ha="center", va="center", fontsize=9, color=colour, weight="bold" if sure else "normal")
    ax.set_xticks(range(len(measures)), [m.replace(", ", "\n") for m in measures], fontsize=9)
    ax.set_yticks(range(len(variants)), variants, fontsize=9)
    ax.xaxis.tick_top()
    ax.grid(False)
    figure.colorbar(picture, ax=ax, label=label, shrink=0.85)
    return figure


def label_curves(table: pd.DataFrame, *, xlabel: str, ylabel: str, ax: Axes | None = None) -> Axes:
    """A line per start over the amount of labels (log axis), with intervals; columns start, n, value, low, high."""
    ax = ax or plt.subplots(figsize=(5, 3.4))[1]
    for k, (start, own) in enumerate(table.groupby("start", sort=False)):
        x = own["n"].to_numpy(float) * (1 + 0.06 * (k - 1))  # side by side, or intervals would cover each other
        spread = np.abs(own[["low", "high"]].to_numpy(float).T - own["value"].to_numpy(float))
        ax.errorbar(x, own["value"], yerr=spread, marker=MARKERS[k], color=COLOURS[k], capsize=3, label=start)
    ticks = sorted(set(table["n"]))
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(ticks, [f"{n:g}" for n in ticks])
    ax.minorticks_off()
    return ax
