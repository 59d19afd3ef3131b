"""Figures of what a large batch buys and costs: negatives, gradients, memory, speed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import COLOURS, MARKERS

UNITS = ["1 KiB", "32 KiB", "1 MiB", "32 MiB", "1 GiB", "32 GiB", "1 TiB", "32 TiB"]
Point = tuple[float, float, float]  # value, low and high end of its interval


def negatives_curves(curves: dict[str, dict[int, Point]], chance: float, *, ylabel: str) -> Axes:
    """A score by the number of pairs that each is told from (log scale), one line with intervals per way to grow it."""
    ax = plt.subplots(figsize=(7, 3.8))[1]
    for k, (name, points) in enumerate(curves.items()):
        sizes, table = np.array(list(points)), np.array(list(points.values()))
        reach = np.abs(table[:, 1:].T - table[:, 0])
        style = {"marker": MARKERS[k], "color": COLOURS[k], "capsize": 3, "linestyle": ("-", "--")[k % 2]}
        ax.errorbar(sizes * 1.03 ** (2 * k - 1), table[:, 0], yerr=reach, label=name, **style)
    ax.axhline(chance, color=COLOURS[5], linestyle=":", linewidth=1.5, label="chance")
    _doubling(ax, np.array(sorted(set().union(*curves.values()))))
    ax.set(xlabel="pairs in one softmax (1 right, the rest negatives)", ylabel=ylabel, ylim=(0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False, fontsize=9)
    return ax


def accumulation_panels(table: pd.DataFrame, batch_size: int) -> Figure:
    """Loss and angle of the gradient by the number of pairs taken at a time; a thin line per batch, a thick one for their mean.

    Columns how, micro, batch, loss, whole, degrees; what is held against is the batch as a whole.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    sizes = np.unique(table["micro"])
    for ax, column in zip(axes, ("degrees", "loss"), strict=True):
        for k, (how, part) in enumerate(table.groupby("how", sort=False)):
            grid = part.pivot(index="micro", columns="batch", values=column)
            colour = COLOURS[(5, 0)[k]]
            ax.plot(grid.index, grid, color=colour, linewidth=0.8, alpha=0.4)
            ax.plot(grid.index, grid.mean(axis=1), color=colour, marker=MARKERS[k], linewidth=2.2, label=how)
        _doubling(ax, sizes)
        ax.set(xlabel=f"pairs taken at a time, of a batch of {batch_size}")
    axes[0].set(ylabel="angle to the whole batch's gradient (degrees)", ylim=(-2, None))
    axes[1].plot(sizes, np.log(sizes), color="0.35", linestyle=":", linewidth=1.5, label="sees nothing: log of the pairs")
    axes[1].set(ylabel="loss that is printed (nats)", ylim=(0, None))
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def memory_curves(lines: dict[str, dict[int, int]], laws: dict[str, tuple[float, float]], ends: tuple[float, float]) -> Axes:
    """Bytes kept by batch size, both on log axes: measured points with their slope, and the law of each line drawn to both ends.

    A law is (bytes per unit, bytes per pair of units).
    """
    ax = plt.subplots(figsize=(8, 4.6))[1]
    x = np.geomspace(*ends)
    for (name, points), marker, colour in zip(lines.items(), MARKERS, COLOURS, strict=False):
        sizes, kept = np.array(list(points), float), np.array(list(points.values()), float)
        slope = np.polyfit(np.log(sizes), np.log(kept), 1)[0]
        ax.plot(x, (laws[name][0] * x + laws[name][1] * x**2) / 2**20, color=colour, linestyle="--", linewidth=1)
        ax.plot(sizes, kept / 2**20, color=colour, marker=marker, linewidth=2, label=f"{name} (slope {slope:.2f})")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="batch size n (marks: measured; dashed: by their law)",
        ylabel="kept for the backward pass",
    )
    ax.set_yticks([2.0**k for k in range(-10, 26, 5)], UNITS)
    ax.set_ylim(2**-10, 2**21)
    ax.minorticks_off()
    ax.legend(fontsize=9)
    return ax


def mark_crossing(ax: Axes, size: float, kept: float) -> None:
    """A ring where two lines meet, with the batch size beside it."""
    ax.scatter([size], [kept / 2**20], s=160, facecolor="none", edgecolor="black", linewidth=1.5, zorder=4)
    ax.annotate(f"n = {size:,.0f}", (size, kept / 2**20), xytext=(-12, 10), textcoords="offset points", ha="right")


def gradient_arrows(panels: dict[str, dict[str, tuple[float, float]]]) -> Figure:
    """Gradients as arrows of their true length and angle to the right one, which points right and has length 1.

    A panel per way to gather, an arrow per number of processes: (length, degrees).
    """
    reach = 1.1 * max(1, *(length for arrows in panels.values() for length, _ in arrows.values()))
    figure, axes = plt.subplots(1, len(panels), figsize=(4.4 * len(panels), 5.2), sharex=True, sharey=True, squeeze=False)
    for ax, (title, arrows) in zip(axes[0], panels.items(), strict=True):
        everything = {"right": (1.0, 0.0)} | arrows
        for (name, (length, degrees)), colour in zip(everything.items(), ("0.6", *COLOURS), strict=False):
            x, y = length * np.cos(np.deg2rad(degrees)), length * np.sin(np.deg2rad(degrees))
            style = {"arrowstyle": "-|>", "color": colour, "linewidth": 5 if name == "right" else 2, "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", (x, y), (0, 0), arrowprops=style)
            ax.plot([], [], color=colour, linewidth=5 if name == "right" else 2, label=f"{name}: {length:.2f}, {degrees:.0f}°")
        ax.set(title=title, xlabel="along the right gradient", aspect="equal", xlim=(-0.1, reach), ylim=(-0.15, reach))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=9, title="length, angle", title_fontsize=9)
    axes[0, 0].set_ylabel("across it")
    return figure


def speed_bars(table: pd.DataFrame) -> Axes:
    """Units per second of each plan: a dot per epoch, the bar at their median; columns plan, units_s, data_share."""
    plans = list(dict.fromkeys(table["plan"]))
    ax = plt.subplots(figsize=(7.5, 0.5 * len(plans) + 1))[1]
    for k, name in enumerate(plans):
        own = table[table["plan"] == name]
        ax.barh(k, own["units_s"].median(), color=COLOURS[4], height=0.6)
        ax.scatter(own["units_s"], np.full(len(own), k), color="black", s=18, zorder=3)
    ax.set(yticks=range(len(plans)), yticklabels=plans, xlabel="slices per second, one dot per epoch")
    ax.set_ylim(len(plans) - 0.5, -0.5)
    return ax


def cost_ranges(table: pd.DataFrame, *, xlabel: str) -> Axes:
    """A bar from low to high for each row, on a log axis; columns low and high."""
    ax = plt.subplots(figsize=(7.5, 0.5 * len(table) + 1))[1]
    places = np.arange(len(table))
    ax.hlines(places, table["low"], table["high"], color=COLOURS[0], linewidth=8)
    for place, (low, high) in zip(places, table[["low", "high"]].to_numpy(), strict=True):
        ax.annotate(
            f"{_short(low)} to {_short(high)}", (high, place), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9
        )
    ax.set(yticks=places, yticklabels=table.index, xscale="log", xlabel=xlabel)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlim(table["low"].min() / 2, table["high"].max() * 12)
    return ax


def _short(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"


def _doubling(ax: Axes, sizes: Float[np.ndarray, " size"] | np.ndarray) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [f"{size:d}" for size in sizes])
    ax.minorticks_off()
