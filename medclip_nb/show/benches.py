"""The figure of the benchmarks: budgets, rivals, and how things grow."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import whole
from .plots import COLOURS, MARKERS, set_style

LEAST = 1e-3  # share of a budget that is still drawn where it is
COLUMNS = 3  # of curves
KINDS = {True: (COLOURS[0], "o"), False: (COLOURS[5], "X")}  # good and bad: colour and marker


def bench_figure(rows: list[dict], curves: list[dict], *, about: str = "") -> Figure:
    """Shares of budgets and ratios to rivals as dots, then each curve with its fitted exponents; `about` stands on top.

    `rows` and `curves` are those of the benchmarks' JSON.
    """
    set_style()
    panels = [(draw, chosen) for draw, chosen in ((budget_dots, _with_budget(rows)), (rival_dots, _with_rival(rows))) if chosen]
    n_lines, n_rows = max((len(chosen) for _, chosen in panels), default=0), -(-len(curves) // COLUMNS)
    heights = [h for h in (0.27 * n_lines + 1.2 if panels else 0, 3.6 * n_rows) if h]
    figure = plt.figure(figsize=(15, sum(heights) + 0.4))
    figure.suptitle(about, fontsize=10)
    parts = list(np.atleast_1d(figure.subfigures(len(heights), height_ratios=heights)))
    if panels:
        for ax, (draw, chosen) in zip(np.atleast_1d(parts.pop(0).subplots(1, len(panels))), panels, strict=True):
            draw(chosen, ax=ax)
    if curves:
        axes = parts.pop().subplots(n_rows, COLUMNS, squeeze=False).ravel()
        for ax, curve in zip(axes, curves, strict=False):
            growth_lines(curve, ax=ax)
        for ax in axes[len(curves) :]:
            ax.set_visible(False)
    return figure


def _with_budget(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["budget"] is not None]


def _with_rival(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["ratio"] is not None and row["unit"] != "exponent"]


def budget_dots(rows: list[dict], *, ax: Axes) -> Axes:
    """Ours as a share of the budget, log scale; met ones are discs, missed ones crosses, and the words say so too."""
    shares, good = [max(row["ours"] / row["budget"], LEAST) for row in rows], [row["met"] == "yes" for row in rows]
    words = [
        f"{'met' if met else 'MISSED'}: {_of(row, 'ours')} of {_of(row, 'budget')}" for row, met in zip(rows, good, strict=True)
    ]
    _dots([row["what"] for row in rows], words, shares, good, ax=ax)
    ax.set(title="Budgets: left of the line is met", xlabel="share of the budget that is used")
    return ax


def rival_dots(rows: list[dict], *, ax: Axes) -> Axes:
    """How many times ours the rival is, log scale; where ours is worse, a cross, and the words say so too."""
    names = [f"{row['what']} | {row['note'].split('rival: ')[-1].split(',')[0]}" for row in rows]
    good = [row["ratio"] >= 1 for row in rows]
    words = [f"{_of(row, 'ours')}, rival {_of(row, 'rival')}" + ("" if row["ratio"] >= 1 else ": WORSE") for row in rows]
    _dots(names, words, [row["ratio"] for row in rows], good, ax=ax)
    ax.set(title="Rivals: right of the line ours is better", xlabel="rival / ours")
    return ax


def _of(row: dict, column: str) -> str:
    """A figure with its unit, short seconds in ms or µs."""
    figure, unit = row[column], row["unit"].replace("exponent", "")
    for factor, smaller in ((1e6, "µs"), (1e3, "ms")) if unit == "s" else ():
        if figure * factor < 1000:
            return f"{figure * factor:.3g} {smaller}"
    return (f"{figure:,.0f} {unit}" if abs(figure) >= 1000 else f"{figure:.3g} {unit}").rstrip()


def _dots(names: list[str], words: list[str], values: list[float], good: list[bool], *, ax: Axes) -> None:
    for place, (value, kind) in enumerate(zip(values, good, strict=True)):
        colour, marker = KINDS[kind]
        ax.plot(value, place, color=colour, marker=marker, markersize=8, linestyle="")
    ax.axvline(1, color="0.2", linestyle="--", linewidth=1.4)
    ax.set(xscale="log", xlim=(min(*values, 0.5) / 2, max(*values, 2) * 2))
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_ylim(len(names) - 0.5, -0.5)
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(words)), words, fontsize=8)
    right.tick_params(length=0)


def growth_lines(curve: dict, *, ax: Axes) -> Axes:
    """Figure over size by way, both logarithmic, exponents in the legend, the budget as a grey line."""
    for (way, points), colour, marker in zip(curve["points"].items(), COLOURS, MARKERS, strict=False):
        label = f"{way}: exponent {curve['exponents'][way]:.2f}"
        ax.plot(*np.array(points, float).T, color=colour, marker=marker, markersize=5, label=label)
    if curve["budget"]:
        size, most = curve["budget"]
        ax.axhline(most, color="0.2", linestyle="--", linewidth=1.4, label=f"budget: {most:g} {curve['unit']} at {size:,}")
        ax.plot(size, most, color="0.2", marker="v")
    if curve["most_exponent"]:
        (first, figure), *_, (last, _) = next(iter(curve["points"].values()))
        most = figure * (last / first) ** curve["most_exponent"]
        label = f"budget: exponent {curve['most_exponent']:g}"
        ax.plot([first, last], [figure, most], color="0.2", linestyle="--", linewidth=1.4, label=label)
    ax.set(title=curve["what"], xscale="log", yscale="log", xlabel=curve["over"], ylabel=curve["unit"])
    sizes = [size for size, _ in next(iter(curve["points"].values()))]
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    ax.legend(fontsize=8)
    return ax


def save(figure: Figure, path: str | Path) -> Path:
    """Writes a figure as PNG, whole or not at all, and closes it."""
    with whole(path) as part:
        figure.savefig(part, format="png")
    plt.close(figure)
    return Path(path)
