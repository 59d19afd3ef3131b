"""Weights of slices as a strip along the slider that moves through them, as SVG: no script, nothing to load."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from .plots import COLOURS
from .stacks import SHOWN

HEIGHT, TOP, BASE = 66, 12, 54  # px; bars stand between TOP and BASE


class Strip(NamedTuple):
    """Weights of the slices, by the name of what gave them, and which slices show what is looked for."""

    weights: dict[str, Float[np.ndarray, " _"]]
    shows: Bool[np.ndarray, " _"]


def strip_svg(strip: Strip, name: str, number: int, *, track: tuple[int, int]) -> str:
    """One row of weights as bars: the current slice under a ▼, slices that show what is sought over an orange ▲.

    Each bar tells its numbers on hovering; the dashed line is equal weights. `track` is where the slider's handle moves, in px:
    a bar stands where the handle is for its slice.
    """
    weights, n = strip.weights[name], len(strip.shows)
    step, highest = (track[1] - track[0]) / max(n - 1, 1), max(float(weights.max()), 1e-12)
    left, right = track[0] - step / 2, track[1] + step / 2
    tall = (BASE - TOP) * np.clip(weights / highest, 0, 1)
    bars = "".join(_bar(strip, name, k, left + step * k, step, float(tall[k]), k == number) for k in range(n))
    equal = BASE - (BASE - TOP) * min(1 / n / highest, 1)
    seen = ", ".join(str(k + 1) for k in np.flatnonzero(strip.shows)) or "none"
    return (
        f'<svg width="{right:.0f}" height="{HEIGHT}" role="img" font-size="11" text-anchor="middle" '
        f'aria-label="weights of {n} slices; slice {number + 1} is shown; these show what is sought: {seen}">{bars}'
        f'<path d="M{left:.1f} {equal:.1f}H{right:.1f}" stroke="currentColor" stroke-dasharray="4 3"/>'
        f'<text x="0" y="{BASE}" text-anchor="start" fill="currentColor">weight</text></svg>'
    )


def _bar(strip: Strip, name: str, k: int, x: float, step: float, tall: float, current: bool) -> str:
    shown, middle = bool(strip.shows[k]), x + step / 2
    colour = "currentColor" if current else COLOURS[4]
    return (
        f"<g><title>slice {k + 1}: weight {strip.weights[name][k]:.3f}{', shows it' * shown}</title>"
        f'<rect x="{x:.1f}" y="{TOP}" width="{step:.1f}" height="{BASE - TOP}" fill="none" pointer-events="all"/>'
        f'<rect x="{x + 0.1 * step:.1f}" y="{BASE - tall:.1f}" width="{0.8 * step:.1f}" height="{tall:.1f}" fill="{colour}"/>'
        + f'<text x="{middle:.1f}" y="{TOP - 2}" fill="currentColor">▼</text>' * current
        + f'<text x="{middle:.1f}" y="{HEIGHT - 1}" fill="{SHOWN}">▲</text>' * shown
        + "</g>"
    )
