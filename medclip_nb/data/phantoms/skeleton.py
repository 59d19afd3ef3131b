"""Draws bones: a bright rim around marrow."""

import numpy as np

from . import torso_table as T
from .anatomy import Box, capsule, ellipse, ellipsoid
from .body import Body, chest_axes, fill, mirror, part
from .vocabulary import ORGANS

RIB_MM = 9.0  # thickness


def _bone(body: Body, box: Box, r2, name: str, *, marrow: float | int = T.MARROW, rim: float = 0.62) -> None:
    fill(body, box, r2, name, T.BONE)
    body.hu[box][r2 < rim] = marrow


def draw_bones(body: Body) -> None:
    """Spine, ribs, breastbone, shoulder girdle and pelvis."""
    space = body.space
    _spine(part(body, space.box((-42, 18, 120), (42, 130, 600))))
    _ribs(part(body, space.box((-300, -300, T.DOME_LOW_MM), (300, 300, 600))))
    _bone(body, *ellipsoid(space, (0, -82, 425), (18, 8, 55)), "sternum")
    for side, name in ((1, "hip_left"), (-1, "hip_right")):
        for centre, radii, turn in T.HIPS:
            _bone(body, *ellipsoid(space, mirror(centre, side), radii, turn=side * turn), name)
        for centre, radii in (T.FEMORAL_HEAD, T.TROCHANTER):
            _bone(body, *ellipsoid(space, mirror(centre, side), radii), "")
        _bone(body, *ellipsoid(space, (side * 92, 68, 480), (44, 6, 50), turn=side * -0.35), "")  # shoulder blade
        _bone(body, *capsule(space, (side * 20, -52, 505), (side * 120, -30, 528), 8), "")  # collar bone
    _bone(body, *ellipsoid(space, (0, 82, 88), (52, 20, 52)), "sacrum")


def _spine(body: Body) -> None:
    space = body.space
    points = np.array(T.SPINE, float)
    y = np.interp(space.axes[0], points[:, 2], points[:, 1])[:, None, None].astype(np.float32)
    high = (space.axes[0] > 125)[:, None, None]
    x, depth = np.abs(space.x), space.y - y
    disc = np.abs((space.z / 34) % 1 - 0.5) < 0.12
    front = np.square(x / T.SPINE_RADII[0]) + np.square(depth / T.SPINE_RADII[1])
    arch = (np.square(x / 20) + np.square((depth - 26) / 13) < 1) | ((x < 5) & (depth > 22) & (depth < 46))
    arch |= (np.abs(depth - 24) < 5) & (x < 40)
    for mask, hu in (((front < 1) | arch, T.BONE), (front < 0.66, T.MARROW), (arch & (x < 30), 380)):
        body.hu[mask & high] = hu
    body.labels[((front < 1) | arch) & high] = ORGANS["vertebrae"]
    body.hu[(front < 1) & disc & high] = 95
    canal = (np.square(x / 10) + np.square((depth - 24) / 8) < 1) & high
    body.hu[canal], body.labels[canal] = 25, 0


def _ribs(body: Body) -> None:
    space = body.space
    x, y = chest_axes(space, T.APEX_MM + 12)
    inner, outer = ellipse(space, x, y), ellipse(space, x + RIB_MM, y + RIB_MM)
    level = (space.z - 0.55 * space.y) * np.float32(1 / 27)  # ribs fall towards the front
    cartilage = ((np.abs(space.x) < 30) & (space.y < 0)) | (space.z < 300 - space.y)
    on_rib = (level - np.floor(level) < 0.45) & (space.z > T.DOME_LOW_MM) & ~cartilage
    ribs = (inner >= 1) & (outer < 1) & on_rib
    body.hu[ribs], body.labels[ribs] = 480, ORGANS["ribs"]
