"""Pictures of anatomy: grey and radiological, so that the image's left is the patient's right. A matplotlib Figure out."""

from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

TITLE_LINES = 2


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


def anatomy(
    images: list[UInt8[np.ndarray, "row column"]],
    titles: list[str],
    *,
    letters: tuple[str, str] = ("R", "L"),
    height: float = 1.0,
    width: float = 10,
) -> Figure:
    """Grey images side by side, with the letter of the body's side at the left and the right edge of each.

    `height` is a pixel's height over its width in mm, so that a body keeps its proportions.
    """
    rows, columns = images[0].shape
    figure, axes = plt.subplots(1, len(images), figsize=(width, width / len(images) * rows * height / columns + 0.4))
    for axis, image, title in zip(np.atleast_1d(axes), images, titles, strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, aspect=height)
        axis.set_title(title, fontsize=10, loc="center")
        axis.axis("off")
        for place, letter in zip((0.03, 0.97), letters, strict=True):
            axis.text(place, 0.5, letter, transform=axis.transAxes, color="#F0E442", ha="center", va="center", weight="bold")
    return figure
