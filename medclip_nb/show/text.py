"""Texts as pictures: a report taken apart in colour, phrases as bars, similarities side by side.

Colour never stands alone: a sign and a style of underline say the same.
"""

from collections.abc import Iterable
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import COLOURS


class Mark(NamedTuple):
    """How words of one state are marked."""

    name: str
    sign: str
    line: str  # CSS style of the underline
    colour: str
    tint: str  # behind black words


MARKS = (  # where findings overlap the first wins
    Mark("present", "+", "solid", COLOURS[5], "#FBE3D3"),
    Mark("uncertain", "?", "wavy", COLOURS[1], "#FDF1D6"),
    Mark("denied", "−", "dotted", COLOURS[0], "#D9EBF7"),
)
CONTROL = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)), "�")  # invisible or harmful in a page
WIDEST = 3  # panels in a row; with more, the numbers cannot be read on a page
MAX_ANNOTATED = 8  # texts up to which a heatmap has its numbers written in


class MarkedReport:
    """A report with its findings marked: HTML in a notebook, signs in brackets as plain text."""

    def __init__(self, pieces: list[tuple[str, Mark | None, str]]):
        self.pieces = pieces  # text, its mark, what the findings there are

    def _repr_html_(self) -> str:
        body = "".join(_html(*piece) for piece in self.pieces)
        key = " &nbsp; ".join(_html(mark.name, mark, "") for mark in MARKS)
        return f'<div style="white-space:pre-wrap;line-height:1.8">{body}</div><p style="font-size:85%">{key}</p>'

    def __repr__(self) -> str:
        return "".join(f"[{mark.sign} {text}]" if mark else text for text, mark, _ in self.pieces)


def marked_report(report: str, findings: Iterable[Any]) -> MarkedReport:
    """A report with the words of each finding marked as present (+), uncertain (?) or denied (−).

    A finding has start, end, present, uncertain, organ, finding, side and size_mm; the last four are read on hovering. Where
    findings overlap all are named and the first mark of MARKS is drawn. Raises ValueError for a span outside the report.
    """
    findings = list(findings)
    for f in findings:
        if not 0 <= f.start < f.end <= len(report):
            raise ValueError(
                f"{f.finding!r} at {f.start} to {f.end} is outside the report ({len(report)} characters); pass its own"
            )
    cuts = sorted({0, len(report), *(f.start for f in findings), *(f.end for f in findings)})
    pieces = []
    for start, end in pairwise(cuts):
        here = [f for f in findings if f.start <= start and end <= f.end]
        mark = MARKS[min(map(_state, here))] if here else None
        pieces.append((report[start:end].translate(CONTROL), mark, "; ".join(map(_say, here))))
    return MarkedReport(pieces)


def dictionary_figure(counts: dict[str, dict[str, int]], *, n_phrases: int = 5, ax: Axes | None = None) -> Axes:
    """The most frequent phrases of each organ as bars, organ by organ; beside its name how many phrases the organ has in all."""
    shown = {organ: sorted(p.items(), key=lambda x: (-x[1], x[0]))[:n_phrases] for organ, p in counts.items() if p}
    rows = [(organ, *item) for organ, items in shown.items() for item in items]
    if not rows:
        raise ValueError(f"no phrases to show for {len(counts)} organs; build the dictionary from reports with findings")
    ax = ax or plt.subplots(figsize=(8, 0.24 * (len(rows) + len(shown)) + 0.8))[1]
    organs = list(shown)
    places = [i + organs.index(organ) + 1 for i, (organ, _, _) in enumerate(rows)]  # a line above each organ is for its name
    bars = ax.barh(places, [n for _, _, n in rows], color=[COLOURS[organs.index(organ) % 7] for organ, _, _ in rows])
    ax.bar_label(bars, padding=3, fontsize=8)
    for organ in organs:
        first = places[[name for name, _, _ in rows].index(organ)]
        ax.text(0, first - 1, f" {organ}, {len(counts[organ])} phrases", fontsize=9, weight="bold", va="center")
    ax.set_yticks(places, [f"{text[:60]}…" if len(text) > 60 else text for _, text, _ in rows], fontsize=8)
    ax.set(xlabel="occurrences in training reports")
    ax.margins(x=0.1)
    ax.set_ylim(places[-1] + 0.7, -0.7)
    ax.grid(False, axis="y")
    return ax


def similarity_panels(matrices: dict[str, Float[np.ndarray, "text text"]], labels: list[str]) -> Figure:
    """Similarities of the same texts side by side, one panel per ruler, all on the scale from 0 to 1."""
    n, n_columns = len(labels), 2 if len(matrices) == 4 else min(WIDEST, len(matrices))
    side = 1.2 + 0.3 * min(n, MAX_ANNOTATED)
    n_rows, aside = -(-len(matrices) // n_columns), 0.065 * max(len(line) for label in labels for line in label.split("\n"))
    size = (side * n_columns + aside + 1, (side + 0.3) * n_rows + aside)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, sharex=True, sharey=True, layout="constrained")
    for axis in axes.flat[len(matrices) :]:
        axis.set_axis_off()
    for axis, (name, sim) in zip(axes.flat, matrices.items(), strict=False):
        picture = axis.imshow(sim, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_xticks(range(n), labels, rotation=90, fontsize=8)
        axis.set_yticks(range(n), labels, fontsize=8)
        axis.grid(False)
        for i, j in np.ndindex(n, n) if n <= MAX_ANNOTATED else ():
            axis.text(
                j, i, f"{sim[i, j]:.2f}", ha="center", va="center", fontsize=7, color="black" if sim[i, j] > 0.6 else "white"
            )
    figure.colorbar(picture, ax=axes, label="similarity", shrink=0.85)
    return figure


def _state(finding: Any) -> int:
    return 1 if finding.uncertain else 0 if finding.present else 2


def _say(finding: Any) -> str:
    size = f", {finding.size_mm:g} mm" if finding.size_mm is not None else ""
    return f"{MARKS[_state(finding)].name}: {' '.join(filter(None, (finding.side, finding.organ)))}, {finding.finding}{size}"


def _html(text: str, mark: Mark | None, title: str) -> str:
    if mark is None:
        return escape(text)
    style = f"background:{mark.tint};color:#000;text-decoration:underline {mark.line} {mark.colour} 2px;padding:0 2px"
    return f'<mark style="{style}" title="{escape(title)}"><b>{mark.sign}</b>&#8239;{escape(text)}</mark>'
