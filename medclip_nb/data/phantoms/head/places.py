"""Named places of the brain as rules in MNI mm: ellipsoids, planes and distances, good for teaching, not an atlas."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from .vocabulary import PLACES, REGIONS, SIDES

PERIVENTRICULAR_MM = 12.0  # white matter up to here from a ventricle
DEEP_MM = 15.0  # the centrum semiovale lies at least so far under the surface of the brain
MIDLINE_MM = 4.0  # nearer to the midplane no side is named


class Points(NamedTuple):
    """Points of the template and what is there; x grows to the right, y to the front, z upwards (mm)."""

    x: Float[np.ndarray, "*grid"]
    y: Float[np.ndarray, "*grid"]
    z: Float[np.ndarray, "*grid"]
    white: Float[np.ndarray, "*grid"]
    tissue: Float[np.ndarray, "*grid"]  # share of grey and white matter
    ventricle_mm: Float[np.ndarray, "*grid"]  # distance from the nearest ventricle
    depth_mm: Float[np.ndarray, "*grid"]  # under the surface of the brain


def ellipsoid(p, centre: tuple[float | int, ...], radii: tuple[float | int, ...]) -> Float[np.ndarray, "*grid"]:
    """Squared relative radius of points in an ellipsoid and its mirror image: below 1 inside."""
    return sum(((c - m) / r) ** 2 for c, m, r in zip((abs(p.x), p.y, p.z), centre, radii, strict=True))


def place_masks(p: Points) -> dict[str, Bool[np.ndarray, "*grid"]]:
    """Where each place lies, both sides together. They overlap: the first one counts, in the order of PLACES.

    The central sulcus is the plane y = -2 - 0.45 z, the Sylvian fissure the plane z = 2 - 0.3 (y + 10);
    the tentorium falls to the back and to the sides.
    """
    x, y, z = abs(p.x), p.y, p.z
    in_front, outer = y > -2 - 0.45 * z, p.ventricle_mm > 6
    white = (p.white > 0.55) & (x > 6)
    occipital = (y < -66) & (z < 34)
    rules = (
        (x < 17) & (y > -42) & (y < -17) & (z > -46) & (z < -20),
        (y < -36) & (z < -12 - 0.22 * (-y - 40) - 0.4 * np.maximum(x - 22, 0)) & (x > 5),
        ellipsoid(p, (11, -18, 7), (10, 14, 8)) < 1,
        ellipsoid(p, (24, 2, 4), (12, 22, 15)) < 1,
        white & (p.ventricle_mm < PERIVENTRICULAR_MM) & (z > 4) & (z < 34),
        white & (z > 26) & (z < 50) & (p.depth_mm > DEEP_MM) & (y > -56) & (y < 36),
        in_front & (z > -24) & ((y > 18) | (z > 4)) & outer,
        ~in_front & (z > 20) & ~occipital & outer,
        (x > 24) & (y > -62) & (y < 22) & (z > -48) & (z < 14) & (z < 2 - 0.3 * (y + 10)) & outer,
        occipital & outer,
    )
    brain = (p.tissue > 0.5) & (x > MIDLINE_MM * (z > -20))
    return {name: rule & brain for name, rule in zip(PLACES, rules, strict=True)}


def label_places(p: Points) -> UInt8[np.ndarray, "*grid"]:
    """Label of REGIONS at each point; 0 where no rule holds. Left is where x is negative."""
    labels = np.zeros(p.x.shape, np.uint8)
    for place, inside in reversed(place_masks(p).items()):
        for side in SIDES:
            labels[inside & ((p.x < 0) == (side == "left"))] = REGIONS[f"{side} {place}"]
    return labels
