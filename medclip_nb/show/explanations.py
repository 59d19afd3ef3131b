"""Relevance maps over grey images, and what checks make of them. Slices are radiological: left is the patient's right."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .organs import _edge, _grey, _grid
from .plots import COLOURS

SHOWN = 0.75  # opacity of the strongest place


def relevance_sheet(
    images: UInt8[np.ndarray, "n row column"],
    maps: dict[str, Float[np.ndarray, "n row column"]],
    lesions: Bool[np.ndarray, "n row column"] | None,
    titles: list[str],
) -> Figure:
    """A row per image: the image, then each map over it, the lesion outlined where one is given.

    Each map has its own scale, as is usual: what speaks for the prompt is drawn, from nothing to the map's maximum (orange).
    """
    figure, axes = _grid(len(images), 1 + len(maps), 10 / (1 + len(maps)), 10 / (1 + len(maps)) + 0.1)
    for i, row in enumerate(axes):
        row[0].set_ylabel(titles[i], fontsize=9)
        for ax, (name, values) in zip(row, ({"image": None} | maps).items(), strict=True):
            _grey(ax, images[i])
            ax.set_title(name, fontsize=10, loc="center")
            if values is not None:
                strength = np.clip(values[i], 0, None) / max(values[i].max(), 1e-12)
                ax.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=SHOWN * strength**0.5, interpolation="nearest")
            if lesions is not None:
                _edge(ax, lesions[i], colors="white", linewidths=1.2)
    return figure


def alike_boxes(table: pd.DataFrame, line: float, *, xlabel: str) -> Axes:
    """How a value is spread over images, a box per map and way to ask: columns map, asked, value; `line` parts good from bad."""
    n = table.groupby(["map", "asked"]).ngroups
    ax = plt.subplots(figsize=(8, 0.42 * n + 1.4))[1]
    look = {"palette": list(COLOURS[: table["asked"].nunique()]), "fliersize": 2, "linewidth": 1, "width": 0.7}
    sns.boxplot(table, x="value", y="map", hue="asked", ax=ax, **look)
    ax.axvline(line, color=COLOURS[5], linestyle="--", linewidth=1.2)
    ax.axvline(0, color="0.35", linewidth=0.8)
    ax.set(xlabel=xlabel, ylabel="", xlim=(-1.02, 1.02))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return ax


def pointing_pairs(table: pd.DataFrame, *, xlabel: str, ax: Axes | None = None) -> Axes:
    """Hits of a prompt and of nonsense with their intervals, one line per map, chance dashed.

    The index names the lines; columns hit, nonsense hit, each with low and high, and chance.
    """
    ax = ax or plt.subplots(figsize=(8, 0.45 * len(table) + 1.3))[1]
    places = np.arange(len(table))
    for what, shift, marker, colour in (("hit", -0.13, "o", COLOURS[0]), ("nonsense hit", 0.13, "s", COLOURS[1])):
        spread = np.abs(table[[f"{what} low", f"{what} high"]].to_numpy(float).T - table[what].to_numpy(float))
        name = {"hit": "the finding's prompt", "nonsense hit": "nonsense"}[what]
        ax.errorbar(table[what], places + shift, xerr=spread, fmt=marker, color=colour, capsize=3, label=name)
    ax.axvline(table["chance"].mean(), color=COLOURS[5], linestyle="--", linewidth=1.2, label="chance")
    ax.set(yticks=places, yticklabels=[", ".join(filter(None, i)) for i in table.index], xlabel=xlabel, xlim=(0, 1))
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return ax
