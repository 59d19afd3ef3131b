"""Every chart of the lessons. Plain arrays and tables in, a matplotlib Axes out.

Colours are the colour-blind safe palette of Okabe and Ito, and every colour is doubled by a label, a marker or a position.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
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


def hu_histogram(
    hu: Float[np.ndarray, "slice row column"], windows: dict[str, tuple[float, float]], *, ax: Axes | None = None
) -> Axes:
    """How often each HU value occurs (log scale), with each window's range as a bar above."""
    ax = ax or plt.subplots(figsize=(8, 3.2))[1]
    ax.hist(hu.ravel(), bins=np.arange(-1100, 1600, 20), color="0.55", log=True)
    top = ax.get_ylim()[1]
    for k, (name, (low, high)) in enumerate(windows.items()):
        level = top * 2.2 ** (k + 0.5)
        ax.plot([low, high], [level, level], color=COLOURS[k], linewidth=6, solid_capstyle="butt")
        ax.text(high + 20, level, name, color="0.2", va="center", fontsize=9)
    ax.set(
        xlabel="Hounsfield units (HU)", ylabel="voxels in 20 HU", xlim=(-1100, 1600), ylim=(1, top * 2.2 ** (len(windows) + 0.5))
    )
    return ax


def leak_bars(scores: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Score of many repeated splits of two kinds: columns `split`, `score`; each point is one split, chance dashed.

    `scores` has the columns split (its name), score and chance.
    """
    ax = ax or plt.subplots(figsize=(7, 2.4))[1]
    sns.stripplot(scores, x="score", y="split", hue="split", jitter=0.18, palette=list(COLOURS[:2]), legend=False, ax=ax)
    ax.axvline(scores["chance"].mean(), color="0.35", linestyle="--", linewidth=1.2)
    ax.annotate("chance", (scores["chance"].mean(), 1.02), xycoords=("data", "axes fraction"), fontsize=9, ha="center")
    ax.set(xlim=(0, None), xlabel="mean F1 of copied findings", ylabel="")
    return ax


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
        ax.axhline(history[column].iloc[-1], color="0.35", linestyle=style, linewidth=1.2, label=name)
    ax.set(xlabel="epoch", ylabel="loss (nats)", ylim=(0, 1.03 * ax.get_ylim()[1]))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=9)
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


def paired_points(table: pd.DataFrame, *, xlabel: str, chance: float, ax: Axes | None = None) -> Axes:
    """One line per row of `table`, from its first to its second column: how far each value moves. The index names the lines."""
    ax = ax or plt.subplots(figsize=(7, 0.3 * len(table) + 1.3))[1]
    places = np.arange(len(table))
    first, second = (table.iloc[:, k].to_numpy(float) for k in (0, 1))
    ax.hlines(places, first, second, color="0.6", linewidth=1.5, zorder=1)
    for values, name, marker, colour in zip((first, second), table.columns, MARKERS, COLOURS, strict=False):
        ax.scatter(values, places, marker=marker, s=46, color=colour, label=name, zorder=2)
    ax.axvline(chance, color=COLOURS[5], linestyle="--", linewidth=1.2, label="chance")
    ax.set(yticks=places, yticklabels=table.index, xlabel=xlabel)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return ax


def extent_bars(shares: pd.Series, line: float, *, ax: Axes | None = None) -> Axes:
    """Share of a stack's slices that show each finding, as bars, with the line that parts focal from diffuse ones."""
    ax = ax or plt.subplots(figsize=(7, 0.26 * len(shares) + 1))[1]
    ax.barh(np.arange(len(shares)), shares, color=[COLOURS[0] if share <= line else "0.7" for share in shares])
    ax.axvline(line, color=COLOURS[5], linestyle="--", linewidth=1.2)
    ax.annotate("focal | diffuse", (line, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=9)
    ax.set(yticks=range(len(shares)), yticklabels=shares.index, xlabel="share of the slices that show it (median study)")
    ax.set_ylim(len(shares) - 0.5, -0.5)
    return ax


def variant_scores(table: pd.DataFrame, *, xlabel: str, ax: Axes | None = None) -> Axes:
    """Mean over seeds with its interval (filled) and each seed on its own (hollow), one line per variant; chance dashed.

    `table` is the part of a study's table for one measure, columns variant, seed ("mean" or a number), value, low, high, chance.
    The legend is left to `legend_below`: panels side by side need one.
    """
    variants = list(dict.fromkeys(table["variant"]))
    ax = ax or plt.subplots(figsize=(7, 0.36 * len(variants) + 1.2))[1]
    mean = table[table["seed"] == "mean"].set_index("variant").loc[variants]
    spread = np.abs(mean[["low", "high"]].to_numpy(float).T - mean["value"].to_numpy(float))
    places = np.arange(len(variants))
    ax.errorbar(mean["value"], places, xerr=spread, fmt="o", color=COLOURS[0], capsize=3, label="mean of seeds, 95 % interval")
    single = table[table["seed"].astype(str).str.isdigit()]
    rows = single["variant"].map(variants.index).to_numpy() + 0.22
    ax.scatter(single["value"], rows, marker="d", s=22, facecolor="none", edgecolor=COLOURS[1], label="one seed")
    ax.axvline(mean["chance"].iloc[0], color=COLOURS[5], linestyle="--", linewidth=1.2, label="chance")
    ax.set(yticks=places, yticklabels=[v.replace("_", " ") for v in variants], xlabel=xlabel)
    ax.set_ylim(len(variants) - 0.5, -0.5)
    return ax


def legend_below(ax: Axes) -> None:
    """One legend for all panels of a figure, under them: what `ax`, one of them, shows."""
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)


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


def list_size_curves(
    curves: dict[str, Float[np.ndarray, "size 4"]], sizes: Int[np.ndarray, " size"], *, ax: Axes | None = None
) -> Axes:
    """R@k by the size of the list (log scale), one line per k; columns: value, low and high of its interval, chance (dashed)."""
    ax = ax or plt.subplots(figsize=(7, 3.8))[1]
    for (name, curve), marker, colour in zip(curves.items(), MARKERS, COLOURS, strict=False):
        ax.plot(sizes, curve[:, 0], label=name, marker=marker, color=colour)
        ax.fill_between(sizes, curve[:, 1], curve[:, 2], color=colour, alpha=0.2, linewidth=0)
        ax.plot(sizes, curve[:, 3], label=f"chance, {name}", color=colour, linestyle="--", linewidth=1.2)
    ax.set(xlabel="items in the list", ylabel="share of queries answered", ylim=(0, 1.02), xscale="log")
    ax.set_xticks(ticks := [size for size in 10 ** np.arange(1, 7) if size <= sizes[-1]] + [sizes[-1]], [f"{t:,}" for t in ticks])
    ax.minorticks_off()
    ax.legend(fontsize=9)
    return ax
