"""Organs as units. Slices are radiological: left is the patient's right. Colours are doubled by names, line styles, hatches."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt

from .plots import COLOURS

Pictures = UInt8[np.ndarray, "n row column"]
Crops = UInt8[np.ndarray, "patient organ row column"]
LIGHT = ("#77AADD", "#EE8866", "#44BB99", "#FFAABB", "#BBCC33", "#99DDFF", "#EEDD88", "#AAAA00")  # Paul Tol's light scheme
LOOKS = [(colour, "-") for colour in LIGHT] + [(colour, "--") for colour in COLOURS[1:7]]  # of organs; all are seen on black
HALO = [withStroke(linewidth=2, foreground="black")]
FILL, HEAT, NARROW = 0.2, 0.7, 0.022  # opacity of an organ, of the strongest cosine; share of a bar too short for its number
RELATIONS = {"not asked": "0.82", "negative": "white", "right": "#003A70", "left out: the same state in other words": "#E69F00"}
STATES = {
    "used": "#003A70",
    "small": "#E69F00",
    "cut": "#56B4E9",
    "misplaced": "#CC79A7",
    "empty": "#F0E442",
    "not labelled": "0.85",
    "no mask": "white",
}
HATCHES = dict(zip(STATES, ("", "", "//", "xx", "\\\\", "++", "..."), strict=True))


def overlay(
    images: Pictures, labels: Pictures, names: list[str], titles: list[str], *, spacing: tuple[float, float] = (1.0, 1.0)
) -> Figure:
    """Grey slices with each organ outlined, filled lightly and named; a label is 0, or 1 + the organ's place in `names`.

    The name of a single organ or lesion is in the legend alone: it would hide what is small. `spacing` is the height and the
    width of a pixel in mm. Raises ValueError for a label without a name.
    """
    if labels.max() > len(names):
        raise ValueError(f"label {labels.max()} has no name: there are {len(names)} names, for the labels from 1 on")
    looks = {k: (names[k - 1].replace("_", " "), *LOOKS[(k - 1) % len(LOOKS)]) for k in np.unique(labels[labels > 0])}
    n_columns, aspect = min(len(images), 2 if len(images) == 4 else 3), spacing[0] / spacing[1]
    side = 10 / max(2, n_columns)
    figure, axes = _grid(-(-len(images) // n_columns), n_columns, side, side * aspect * images.shape[1] / images.shape[2] + 0.2)
    for ax, image, organs, title in zip(axes.flat[: len(images)], images, labels, titles, strict=True):
        _grey(ax, image, aspect=aspect)
        ax.set_title(title, fontsize=10, loc="center")
        for label, (name, colour, style) in looks.items():
            _organ(ax, organs == label, name * (len(looks) > 1), colour, style)
    handles = [Line2D([], [], color=colour, linestyle=style, linewidth=2, label=name) for name, colour, style in looks.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 * min(2, n_columns), fontsize=9, frameon=False)
    return figure


def crop_sheet(
    crops: Crops, inside: Shaped[np.ndarray, "patient organ row column"], names: list[str], row_titles: list[str]
) -> Figure:
    """Middle slices of organs' crops, a column per organ, with the edge of its mask (bool, or from 0 to 1: at one half)."""
    side = 10 / max(6, len(names))
    figure, axes = _grid(*crops.shape[:2], side, side * crops.shape[2] / crops.shape[3])
    for name, ax in zip(names, axes[0], strict=True):
        ax.set_title(name.replace("_", "\n"), fontsize=9, loc="center")
    for title, row, row_crops, masks in zip(row_titles, axes, crops, inside, strict=True):
        row[0].set_ylabel(title, fontsize=9)
        for ax, crop, mask in zip(row, row_crops, masks, strict=True):
            _grey(ax, crop, fontsize=6)
            _edge(ax, mask, colors=COLOURS[1], linewidths=1)
    return figure


def batch_picture(relation: Int[np.ndarray, "unit text"], unit_organ: list[str], text_organ: list[str], n_owned: int) -> Figure:
    """Every pair of a batch, coloured by what it counts as: a place in RELATIONS. Units and texts are sorted by organ.

    The first `n_owned` texts belong to units of the batch, the rest are the dictionary's. Raises ValueError for other numbers.
    """
    if relation.shape != (len(unit_organ), len(text_organ)) or not np.isin(relation, range(len(RELATIONS))).all():
        raise ValueError(f"relation must hold 0 to {len(RELATIONS) - 1} for {len(unit_organ)} units and {len(text_organ)} texts")
    units = sorted((False, organ, i) for i, organ in enumerate(unit_organ))
    texts = sorted((i >= n_owned, organ, i) for i, organ in enumerate(text_organ))
    figure, ax = plt.subplots(figsize=(10, min(7, 2.5 + 0.12 * len(units))))
    shown = relation[np.ix_([unit[-1] for unit in units], [text[-1] for text in texts])]
    ax.imshow(shown, cmap=ListedColormap(list(RELATIONS.values())), vmin=-0.5, vmax=3.5, aspect="auto", interpolation="nearest")
    ax.grid(False)
    _name_blocks(ax.yaxis, units, ax.axhline)
    _name_blocks(ax.xaxis, texts, ax.axvline, rotation=90)
    ax.axvline(n_owned - 0.5, color="black", linewidth=2.5)
    ax.set(ylabel=f"{len(units)} units", title=f"{n_owned} texts of the batch's units | {len(texts) - n_owned} of the dictionary")
    handles = [Patch(fc=RELATIONS[x], ec="0.3", label=f"{x} ({(relation == k).sum()} pairs)") for k, x in enumerate(RELATIONS)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def cell_maps(
    images: Pictures, heat: Float[np.ndarray, "n row column"], lesion: Bool[np.ndarray, "n row column"], titles: list[str]
) -> Figure:
    """A row per picture: the picture, its cosine with a prompt (NaN: unknown), and both; the lesion is outlined on each.

    One scale for all, blue to red around 0 if both signs occur; 0, or the lowest, is transparent. ValueError if all are NaN.
    """
    if np.isnan(heat).all():
        raise ValueError(f"no cosine is known: all {heat.size} are NaN")
    low, high = float(np.nanmin(heat)), float(np.nanmax(heat))
    signed, clear = (True, 0.0) if low < 0 < high else (False, low)
    most = max(high - clear, clear - low) or 1.0
    scale = {"cmap": "RdBu_r" if signed else "viridis", "vmin": clear - signed * most, "vmax": clear + most}
    figure, axes = _grid(len(images), 3, 3.3, 2.9 * images.shape[1] / images.shape[2])
    for row, title, image, cosine, mask in zip(axes, titles, images, heat, lesion, strict=True):
        row[0].set_ylabel(title, fontsize=9)
        opacities = {"picture": 0, "cosine": 1, "both": HEAT * np.nan_to_num(np.abs(cosine - clear)) / most}
        for ax, (name, opacity) in zip(row, opacities.items(), strict=True):
            _grey(ax, image)
            ax.set_title(name, fontsize=10, loc="center")
            ax.imshow(cosine, alpha=opacity, **scale)
            _edge(ax, mask, colors="white", linewidths=1.2)
    figure.colorbar(axes[0, 1].images[1], ax=axes, label="cosine with the prompt", shrink=0.85)
    return figure


def state_bars(table: pd.DataFrame) -> Axes:
    """In how many studies each organ is used, or why not: columns organ, state (of STATES), n; the first organ is on top."""
    if unknown := set(table["state"]) - set(STATES):
        raise ValueError(f"unknown state {', '.join(sorted(unknown))}; known are: {', '.join(STATES)}")
    counts = table.groupby(["organ", "state"], sort=False)["n"].sum().unstack(fill_value=0, sort=False)
    counts = counts[[state for state in STATES if state in counts]].rename(index=lambda organ: organ.replace("_", " "))
    left, longest = counts.cumsum(axis=1) - counts, counts.sum(axis=1).max()
    ax = plt.subplots(figsize=(9, 0.36 * len(counts) + 1.3))[1]
    for state, n in counts.items():
        bars = ax.barh(n.index, n, left=left[state], label=state, color=STATES[state], hatch=HATCHES[state], edgecolor="0.3")
        look = {"color": "white" if state == "used" else "black", "bbox": {"facecolor": STATES[state], "linewidth": 0, "pad": 1}}
        ax.bar_label(bars, [str(k) if k > NARROW * longest else "" for k in n], label_type="center", fontsize=8, **look)
    for organ, row in counts.iterrows():
        few = ", ".join(f"{k} {state}" for state, k in row.items() if 0 < k <= NARROW * longest)
        ax.text(1.02 * longest, organ, few, va="center", fontsize=8)
    ax.set(xlabel="studies", xlim=(0, 1.01 * longest), ylim=(len(counts) - 0.5, -0.5))
    ax.grid(False, axis="y")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(STATES), fontsize=9, frameon=False)
    return ax


def _grid(n: int, m: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    look = {"xticks": [], "yticks": [], "frame_on": False}
    return plt.subplots(n, m, figsize=(m * width, n * height + 0.6), squeeze=False, layout="compressed", subplot_kw=look)


def _grey(ax: Axes, image: UInt8[np.ndarray, "row column"], *, aspect: float = 1, fontsize: int = 10) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, aspect=aspect)
    ax.set_autoscale_on(False)
    look = {"color": COLOURS[6], "size": fontsize, "weight": "bold", "ha": "center", "va": "center", "path_effects": HALO}
    for place, letter in ((0.04, "R"), (0.96, "L")):
        ax.text(place, 0.5, letter, transform=ax.transAxes, **look)


def _edge(ax: Axes, mask: np.ndarray, **look) -> None:
    if (mask > 0.5).any():
        places = (np.arange(-1, n + 1) for n in mask.shape[::-1])
        ax.contour(*places, np.pad(mask.astype(float), 1), levels=[0.5], **look).set_path_effects(HALO)


def _organ(ax: Axes, mask: Bool[np.ndarray, "row column"], name: str, colour: str, style: str) -> None:
    if mask.any():
        ax.imshow(np.where(mask, 1.0, np.nan), cmap=ListedColormap([colour]), alpha=FILL, aspect=ax.get_aspect())
        _edge(ax, mask, colors=colour, linestyles=style, linewidths=1.4)
        # where it is widest: its centre of mass may lie outside of it
        row, column = np.unravel_index(distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1].argmax(), mask.shape)
        ax.text(column, row, name, color="white", fontsize=7, ha="center", va="center", path_effects=HALO)


def _name_blocks(axis, items: list[tuple], draw_line, *, rotation: int = 0) -> None:
    keys = [item[:2] for item in items]
    starts = [i for i, key in enumerate(keys) if key not in keys[:i]]
    ends = [*starts[1:], len(keys)]
    axis.set_ticks(np.add(starts, ends) / 2 - 0.5, [keys[i][1].replace("_", " ") for i in starts], fontsize=8, rotation=rotation)
    for end in ends[:-1]:
        draw_line(end - 0.5, color="0.5", linewidth=0.6)
