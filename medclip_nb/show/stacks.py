"""A stack of slices beside the weights that a pooling gives them. A matplotlib Figure out."""

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure

from .plots import COLOURS

SHOWN = "#E69F00"


def weights_figure(
    images: UInt8[np.ndarray, "n row column"],
    numbers: Int[np.ndarray, " n"],
    weights: dict[str, Float[np.ndarray, " slice"]],
    shows: Bool[np.ndarray, " slice"],
    *,
    title: str,
) -> Figure:
    """Some slices of a study in a row, and below each pooling's weight of every slice.

    `numbers` count the slices from 0, the picture from 1. Slices that show the finding have an orange frame, and an orange mark
    in the charts; the dashed line is equal weights.
    """
    below = 0.6 + 0.7 * len(weights)  # inches
    figure = plt.figure(figsize=(10, 1.4 + below))
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.4, below))
    upper.suptitle(title, fontsize=10, x=0.01, ha="left")
    for axis, image, number in zip(np.atleast_1d(upper.subplots(1, len(images))), images, numbers, strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"slice {number + 1}", fontsize=8, loc="center")
        for side in axis.spines.values():
            side.set(visible=bool(shows[number]), color=SHOWN, linewidth=3)
    places = np.arange(1, len(shows) + 1)
    axes = np.atleast_1d(lower.subplots(len(weights), 1, sharex=True))
    for axis, (name, values) in zip(axes, weights.items(), strict=True):
        axis.bar(places, values, color=COLOURS[0], width=0.8)
        axis.axhline(1 / len(values), color="0.35", linestyle="--", linewidth=1)
        axis.plot(places[shows], np.full(shows.sum(), -0.08 * max(values)), "^", color=SHOWN, markersize=6, clip_on=False)
        axis.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center", fontsize=9)
        axis.set_yticks([0, max(values)], ["0", f"{max(values):.2f}"], fontsize=8)
        axis.grid(False, axis="x")
    axes[-1].set_xlabel("slice, from the feet upwards (▲ shows the finding)")
    return figure
