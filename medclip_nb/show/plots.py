"""Every figure of the lessons. Plain arrays and tables in, a matplotlib Axes (or Figure, for grids) out.

Anatomy is grey and radiological: the image's left is the patient's right. Other colours are the colour-blind safe
palette of Okabe and Ito, and every colour is doubled by a label, a marker or a position.
"""

from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
TITLE_LINES = 2
BACKGROUND = {"none": "0.75", "other": "0.45"}  # labels that are no label


def set_style() -> None:
    """House style of all figures; call once per notebook."""
    sns.set_theme(style="whitegrid", context="notebook", palette=list(COLOURS))
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "savefig.dpi": 90,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "figure.constrained_layout.use": True,
        }
    )


def contact_sheet(
    images: UInt8[np.ndarray, "n row column"], titles: list[str], *, n_columns: int = 6, width: float = 10
) -> Figure:
    """Grey images in a grid, each with its title above on at most two lines; 0 is black, 255 white."""
    n_columns = min(n_columns, len(images))
    n_rows = -(-len(images) // n_columns)
    side = width / n_columns
    titles = ["\n".join(wrap(t, round(side * 14), max_lines=TITLE_LINES, placeholder="…")) for t in titles]
    lines = max(t.count("\n") for t in titles) + 1
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(width, n_rows * (side + 0.19 * lines)), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=8, loc="center")
    return figure


def split_bars(table: pd.DataFrame, *, by: str, ax: Axes | None = None) -> Axes:
    """Rows and patients of each split, as bars with their counts."""
    ax = ax or plt.subplots(figsize=(6, 2.6))[1]
    order = [s for s in ("train", "val", "test") if s in set(table[by])]
    rows, patients = table[by].value_counts(), table.groupby(by)["patient_id"].nunique()
    height = 0.38
    for shift, counts, name, colour in ((-height / 2, rows, "rows", COLOURS[0]), (height / 2, patients, "patients", COLOURS[1])):
        bars = ax.barh(np.arange(len(order)) + shift, [counts[s] for s in order], height, label=name, color=colour)
        ax.bar_label(bars, padding=3, fontsize=9)
    ax.set(yticks=range(len(order)), yticklabels=order, xlabel="number of rows or patients")
    ax.margins(x=0.12)
    ax.invert_yaxis()
    ax.legend(loc="lower right")
    return ax


def loss_curve(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Loss by epoch, between the level of a model that sees nothing and the floor that identical texts leave."""
    ax = ax or plt.subplots(figsize=(6, 3.4))[1]
    ax.plot(history["epoch"], history["train_loss"], marker="o", label="training")
    ax.plot(history["epoch"], history["val_loss"], marker="s", label="validation")
    for column, style, name in (("no_learning", "--", "sees nothing"), ("floor", ":", "floor (identical texts)")):
        level = history[column].iloc[-1]
        ax.axhline(level, color="0.35", linestyle=style, linewidth=1.2)
        ax.annotate(
            name,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
        )
    ax.set(xlabel="epoch", ylabel="loss (nats)", ylim=(0, None))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="lower left")
    return ax


def score_bars(scores: pd.DataFrame, *, xlabel: str, ax: Axes | None = None) -> Axes:
    """Values with their intervals, one line each, and a tick at each one's chance level.

    `scores` has the columns name, value, low, high, chance; the first row is drawn on top.
    """
    ax = ax or plt.subplots(figsize=(7, 0.36 * len(scores) + 1.2))[1]
    places = np.arange(len(scores))
    spread = np.abs(scores[["low", "high"]].to_numpy(float).T - scores["value"].to_numpy(float))
    ax.errorbar(scores["value"], places, xerr=spread, fmt="o", color=COLOURS[0], capsize=3, label="value, 95 % interval")
    ax.scatter(
        scores["chance"].to_numpy(float), places, marker="|", s=140, color=COLOURS[5], linewidth=2, label="chance", zorder=3
    )
    ax.set(yticks=places, yticklabels=scores["name"], xlabel=xlabel, xlim=(0, 1))
    ax.set_ylim(len(scores) - 0.5, -0.5)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3 / (0.12 * len(scores) + 0.5)), ncols=2, frameon=False)
    return ax


def map_scatter(
    points: Float[np.ndarray, "n 2"], labels: np.ndarray, *, title: str = "", ax: Axes | None = None, legend: bool = True
) -> Axes:
    """A 2D map, colour and marker by label; axes have no unit and no ticks, because a UMAP's do not.

    The labels "none" and "other" are drawn grey, under the rest.
    """
    ax = ax or plt.subplots(figsize=(6, 5))[1]
    named = sorted(set(labels) - set(BACKGROUND))
    for label in (*(b for b in BACKGROUND if b in set(labels)), *named):
        chosen, i = np.asarray(labels) == label, named.index(label) if label in named else 0
        style = {"color": COLOURS[i % 8], "marker": MARKERS[(i + i // 8) % 8]}
        if label in BACKGROUND:
            style = {"color": BACKGROUND[label], "marker": "."}
        ax.scatter(*points[chosen].T, s=14, alpha=0.75, linewidth=0, label=str(label), **style)
    ax.set(xticks=[], yticks=[], title=title, xlabel="UMAP 1 (no unit)", ylabel="UMAP 2 (no unit)")
    if legend:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.8, fontsize=8)
    return ax


def confusion(counts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Counts of (true, predicted), shaded by the share of the true class."""
    ax = ax or plt.subplots(figsize=(1.0 * counts.shape[1] + 2, 0.7 * counts.shape[0] + 1.2))[1]
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    sns.heatmap(shares, annot=counts, fmt="d", cmap="Blues", vmin=0, vmax=1, cbar_kws={"label": "share of true class"}, ax=ax)
    ax.set(xlabel="predicted", ylabel="true")
    return ax


def similarity_matrix(
    sim: Float[np.ndarray, "query item"], *, title: str, xlabel: str, ylabel: str, ax: Axes | None = None
) -> Axes:
    """A matrix of cosines as a picture, from -1 to 1."""
    ax = ax or plt.subplots(figsize=(4.6, 4))[1]
    picture = ax.imshow(sim, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.grid(False)
    ax.figure.colorbar(picture, ax=ax, label="cosine", shrink=0.85)
    return ax


def recall_curve(curves: dict[str, Float[np.ndarray, "k 2"]], *, ax: Axes | None = None) -> Axes:
    """R@k against k, one line per way to ask; the second column is its chance level, dashed in the same colour."""
    ax = ax or plt.subplots(figsize=(6.4, 3.6))[1]
    for (name, curve), marker, colour in zip(curves.items(), MARKERS, COLOURS, strict=False):
        ks = np.arange(1, len(curve) + 1)
        ax.plot(ks, curve[:, 0], label=name, marker=marker, markevery=max(1, len(ks) // 8), color=colour)
        ax.plot(ks, curve[:, 1], label=f"chance, {name.split(',')[0]}", color=colour, linestyle="--", linewidth=1.2)
    ax.set(xlabel="k: how many answers are looked at", ylabel="R@k: share of queries answered", ylim=(0, 1.02))
    ax.legend(fontsize=8)
    return ax


def answers(query: UInt8[np.ndarray, "row column"], texts: list[str], right: list[bool], *, title: str) -> Figure:
    """One image query with its ranked texts; ✓ and ✗ say which are right."""
    figure, (left, area) = plt.subplots(1, 2, figsize=(9, 2.3), width_ratios=(1, 4))
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    left.imshow(query, cmap="gray", vmin=0, vmax=255)
    for axis in (left, area):
        axis.axis("off")
    for i, (text, good) in enumerate(zip(texts, right, strict=True)):
        mark, colour = ("✓", COLOURS[2]) if good else ("✗", COLOURS[5])
        line = f"{i + 1}. {mark} {text[:88]}{'…' if len(text) > 88 else ''}"
        area.text(0, 1 - (i + 0.5) / len(texts), line, color=colour, fontsize=10, va="center", transform=area.transAxes)
    return figure
