"""Figures of how far a score can be trusted: intervals of many studies, curves with thresholds, reliability, prompts."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import COLOURS, MARKERS


def interval_trials(panels: dict[str, Float[np.ndarray, "trial 2"]], truth: float, *, xlabel: str) -> Figure:
    """Intervals of simulated studies, one line each, those that miss the truth coloured and thick; the title counts them."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4.6), sharex=True, sharey=True, squeeze=False)
    for ax, (title, intervals) in zip(axes[0], panels.items(), strict=True):
        missed = (intervals[:, 0] > truth) | (intervals[:, 1] < truth)
        for side, colour, width in ((~missed, "0.6", 1.2), (missed, COLOURS[5], 2.2)):
            ax.hlines(np.flatnonzero(side), *intervals[side].T, color=colour, linewidth=width)
        ax.axvline(truth, color=COLOURS[0], linewidth=1.5)
        ax.set(title=f"{title}: {missed.sum()} of {len(missed)} miss the truth", xlabel=xlabel, yticks=[])
    axes[0, 0].set_ylabel("simulated studies")
    return figure


def roc_and_pr(labels: Bool[np.ndarray, " item"], scores: Float[np.ndarray, " item"], limits: dict[str, float]) -> Figure:
    """ROC and precision-recall curve of one question, chance dashed, with the point that each threshold of `limits` picks."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    fpr, tpr, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    left.step(fpr, tpr, where="post", color=COLOURS[0])
    right.step(recall, precision, where="post", color=COLOURS[0])
    left.plot([0, 1], [0, 1], color="0.35", linestyle="--", linewidth=1.2, label="chance")
    right.axhline(labels.mean(), color="0.35", linestyle="--", linewidth=1.2)
    for (name, limit), marker, colour in zip(limits.items(), MARKERS[1:], COLOURS[1:], strict=False):
        called = scores >= limit
        hit, style = (called & labels).sum(), {"marker": marker, "s": 70, "color": colour, "zorder": 3}
        left.scatter((called & ~labels).sum() / (~labels).sum(), hit / labels.sum(), label=name, **style)
        right.scatter(hit / labels.sum(), hit / max(called.sum(), 1), **style)
    left.set(xlabel="false alarms among the healthy", ylabel="sensitivity (recall)", title="ROC")
    right.set(xlabel="sensitivity (recall)", ylabel="precision (PPV)", title="precision and recall", ylim=(0, 1.02))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def reliability_panels(tables: dict[str, pd.DataFrame]) -> Figure:
    """Share of hits against the mean probability of each bin, with intervals over patients; on the dashed line it is right.

    Tables have the columns predicted, observed, low, high.
    """
    figure, axes = plt.subplots(1, len(tables), figsize=(3.8 * len(tables), 3.8), sharey=True, squeeze=False)
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        reach = np.abs(table[["low", "high"]].to_numpy().T - table["observed"].to_numpy())
        ax.plot([0, 1], [0, 1], color="0.35", linestyle="--", linewidth=1.2)
        ax.errorbar(table["predicted"], table["observed"], yerr=reach, fmt="o-", color=COLOURS[0], capsize=3, linewidth=1)
        ax.set(title=title, xlabel="probability that was given", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes[0, 0].set_ylabel("share that was so")
    return figure


def split_points(table: pd.DataFrame, *, xlabel: str, ax: Axes | None = None) -> Axes:
    """Two values of each row, its first column filled and its second hollow: what was chosen on, and what counts."""
    ax = ax or plt.subplots(figsize=(7, 0.34 * len(table) + 1.2))[1]
    places = np.arange(len(table))
    for name, marker, face in zip(table.columns, MARKERS, (COLOURS[0], "none"), strict=False):
        ax.scatter(table[name], places, marker=marker, s=46, facecolor=face, edgecolor=COLOURS[0], label=name)
    ax.set(yticks=places, yticklabels=table.index, xlabel=xlabel)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return ax


def group_points(table: pd.DataFrame, *, xlabel: str, ax: Axes | None = None) -> Axes:
    """Value of each group with its interval and its number of patients; the whole is left to the caller.

    `table` has the columns group, n_patients, value, low, high.
    """
    ax = ax or plt.subplots(figsize=(7, 0.36 * len(table) + 1))[1]
    places = np.arange(len(table))
    reach = np.abs(table[["low", "high"]].to_numpy(float).T - table["value"].to_numpy(float))
    ax.errorbar(table["value"], places, xerr=reach, fmt="o", color=COLOURS[0], capsize=3)
    names = [f"{row.group} ({row.n_patients} patients)" for row in table.itertuples()]
    ax.set(yticks=places, yticklabels=names, xlabel=xlabel)
    ax.set_ylim(len(table) - 0.5, -0.5)
    return ax
