"""Figures of lesson 04: what the temperature does, who pulls and who pushes, which text is right for whom."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from .plots import COLOURS, MARKERS

STYLES = ("-", "--", "-.", ":")
ARROW = 0.8  # of the circle's radius: length of the longest arrow
ARROW_STYLE = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0, "color": "black", "linewidth": 1.6}
WIDEST = 4  # matrices in a row
LEAST_GRADIENT = (0.01, 100)  # range of its axis


def temperature_panels(
    scales: Float[np.ndarray, " scale"],
    effects: dict[str, tuple[Float[np.ndarray, " scale"], Float[np.ndarray, " scale"]]],
    *,
    marks: dict[str, float],
) -> Figure:
    """Probability of the right text and size of the gradient over the scale, a line for each wrong text; `marks` are scales."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.5))
    for ax, part, what in zip(axes, (0, 1), ("probability of the right text", "size of the gradient"), strict=True):
        for i, (name, curves) in enumerate(effects.items()):
            ax.plot(scales, curves[part], color=COLOURS[i], linestyle=STYLES[i % 4], linewidth=2, label=name)
        for name, scale in marks.items():
            ax.axvline(scale, color="0.4", linewidth=1)
            ax.annotate(name, (scale, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=8)
        ax.set(xscale="log", xlabel="scale (log axis)", ylabel=what, xlim=(scales[0], scales[-1]))
    axes[0].set_ylim(0, 1.03)
    axes[1].set(yscale="log", ylim=LEAST_GRADIENT)
    figure.legend(*axes[0].get_legend_handles_labels(), title="cosine of the wrong text", loc="outside right center", fontsize=9)
    return figure


def fit_panels(fits: dict[str, pd.DataFrame]) -> Figure:
    """Loss and scale by step, a line for each fit, the first broad and pale; `floor` dotted: columns step, loss, scale, floor."""
    figure, (loss, scale) = plt.subplots(1, 2, figsize=(9.5, 3.4))
    for i, (name, fit) in enumerate(fits.items()):
        for ax, column in ((loss, "loss"), (scale, "scale")):
            look = {"linewidth": 2, "linestyle": STYLES[i % 4]} if i else {"linewidth": 6, "alpha": 0.4}
            ax.plot(fit["step"], fit[column], color=COLOURS[i], label=name, **look)
        loss.plot(fit["step"], fit["floor"], color=COLOURS[i], linestyle=":", linewidth=1.2)
    loss.set(xlabel="step", ylabel="loss (nats); dotted: floor", ylim=(0, None))
    scale.set(xlabel="step", ylabel="scale", ylim=(0, None))
    figure.legend(*loss.get_legend_handles_labels(), loc="outside right center", fontsize=9)
    return figure


def circle_panels(
    images: Float[np.ndarray, " unit"],
    texts: Float[np.ndarray, " unit"],
    pushes: dict[str, Float[np.ndarray, " unit"]],
    *,
    names: list[str],
    group: Int[np.ndarray, " unit"],
) -> Figure:
    """Images (numbered) and texts (stars, named) at their angles on a circle, one panel for each set of pushes along it.

    A positive push goes counter-clockwise; all panels draw arrows to one scale. `group` says who shares a text.
    """
    longest = max(float(np.abs(push).max()) for push in pushes.values())
    figure, axes = plt.subplots(1, len(pushes), figsize=(3.6 * len(pushes), 3.9), squeeze=False)
    for ax, (title, push) in zip(axes.flat, pushes.items(), strict=True):
        _empty_circle(ax, texts, names, group)
        ax.set_title(title, loc="center")
        for i, (angle, force) in enumerate(zip(images, push, strict=True)):
            x, y = np.cos(angle), np.sin(angle)
            ax.plot(x, y, MARKERS[group[i]], color=COLOURS[group[i]], markersize=9, zorder=3)
            ax.annotate(str(i), (0.83 * x, 0.83 * y), ha="center", va="center", fontsize=9)
            length = ARROW * force / longest
            if abs(length) > 0.01:
                tip = (x - length * y, y + length * x)
                ax.annotate("", tip, (x, y), arrowprops=ARROW_STYLE, zorder=4)
    return figure


def path_panels(
    panels: dict[str, dict[str, Float[np.ndarray, "moment unit"]]],
    texts: Float[np.ndarray, " unit"],
    *,
    names: list[str],
    group: Int[np.ndarray, " unit"],
) -> Figure:
    """Paths of images along the circle, drawn outwards as time goes on. In a panel the first kind is a broad pale line, the
    second a thin dashed one on top of it: where both coincide, a line with a core."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.4 * len(panels), 4.8), squeeze=False)
    for ax, (title, kinds) in zip(axes.flat, panels.items(), strict=True):
        _empty_circle(ax, texts, names, group)
        ax.set_title(title, loc="center")
        for style, (name, path) in zip(
            ({"linewidth": 7, "alpha": 0.35}, {"linewidth": 1.8, "linestyle": "--"}), kinds.items(), strict=True
        ):
            radius = np.linspace(0.38, 0.97, len(path))
            for i, angle in enumerate(path.T):
                ax.plot(radius * np.cos(angle), radius * np.sin(angle), color=COLOURS[group[i]], solid_capstyle="butt", **style)
            ax.plot([], [], color="0.2", label=name, **style)
        for i, angle in enumerate(next(iter(kinds.values()))[0]):
            ax.annotate(str(i), (0.3 * np.cos(angle), 0.3 * np.sin(angle)), ha="center", va="center", fontsize=9)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.06), ncols=2, frameon=False, fontsize=9)
    return figure


def matrix_panels(tables: dict[str, pd.DataFrame], *, signed: bool = False) -> Figure:
    """Small matrices of units (rows) and texts (columns), numbers written in; `signed` ones are blue below 0 and red above."""
    n_columns = min(WIDEST, len(tables))
    n_rows = -(-len(tables) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(2.5 * n_columns + 0.8, 3.1 * n_rows), squeeze=False)
    most = max(float(table.abs().to_numpy().max()) for table in tables.values())
    scale = {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if signed else {"cmap": "Blues", "vmin": 0, "vmax": 1}
    for ax in axes.flat[len(tables) :]:
        ax.axis("off")
    for k, (ax, (title, table)) in enumerate(zip(axes.flat, tables.items(), strict=False)):
        ax.imshow(table.to_numpy(), interpolation="nearest", **scale)
        ax.set_title(title, fontsize=10, loc="center")
        ax.set_xticks(range(table.shape[1]), table.columns, fontsize=8, rotation=90)
        ax.set_yticks(range(len(table)), table.index if k % n_columns == 0 else [""] * len(table), fontsize=8)
        ax.grid(False)
        for (i, j), value in np.ndenumerate(table.to_numpy()):
            dark = abs(value) > 0.6 * scale["vmax"]
            if abs(value) >= 0.005:
                ax.text(
                    j,
                    i,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if dark else "black",
                )
    return figure


def gap_strip(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Gaps of many batches on a log axis, a line for each case: columns case and gap."""
    cases = list(dict.fromkeys(table["case"]))
    ax = ax or plt.subplots(figsize=(8, 0.4 * len(cases) + 1))[1]
    for i, case in enumerate(cases):
        gap = table["gap"][table["case"] == case].to_numpy()
        height = i + np.linspace(-0.25, 0.25, len(gap))
        ax.plot(gap, height, MARKERS[i % 8], color=COLOURS[i % 8], markersize=4, alpha=0.7, linestyle="none")
    ax.set(xscale="log", yticks=range(len(cases)), yticklabels=cases, ylim=(len(cases) - 0.5, -0.5))
    ax.set_xlabel("change of the gradient, as a share of its length (log axis)")
    return ax


def _empty_circle(ax: Axes, texts: np.ndarray, names: list[str], group: np.ndarray) -> None:
    """The circle with its texts, each once however many units have it."""
    ax.add_patch(Circle((0, 0), 1, fill=False, edgecolor="0.7"))
    ax.set(xlim=(-1.6, 1.6), ylim=(-1.3, 1.35), aspect="equal")
    ax.axis("off")
    for i in np.unique(group, return_index=True)[1]:
        x, y = np.cos(texts[i]), np.sin(texts[i])
        ax.plot(x, y, "*", color=COLOURS[group[i]], markersize=15, markeredgecolor="black", zorder=2)
        side = "left" if x > 0.3 else "right" if x < -0.3 else "center"
        ax.annotate(names[i], (1.15 * x, 1.18 * y), ha=side, va="center", fontsize=9)
