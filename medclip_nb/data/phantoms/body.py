"""The arrays that drawing fills in, the trunk's outline, and the small tools that all organs are drawn with."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from . import torso_table as T
from .anatomy import Anatomy, Box, Space, capsule, ellipse, ellipsoid, splat
from .vocabulary import ORGANS


@dataclass(frozen=True)
class Body:
    """Arrays that drawing fills in."""

    hu: Float32[np.ndarray, "slice row column"]
    labels: UInt8[np.ndarray, "slice row column"]
    cavity: Bool[np.ndarray, "slice row column"]  # inside the wall of chest and abdomen
    below: Float32[np.ndarray, "slice row column"]  # mm under the diaphragm
    space: Space
    anatomy: Anatomy


def part(body: Body, box: Box) -> Body:
    """A view of a block of the body: what is drawn there is drawn in the body."""
    s = body.space
    axes = tuple(axis[b] for axis, b in zip(s.axes, box, strict=True))
    space = Space(s.z[box], s.y[box], s.x[box], axes, s.reach_mm, s.spacing_mm)
    return Body(body.hu[box], body.labels[box], body.cavity[box], body.below[box], space, body.anatomy)


def fill(body: Body, box: Box, r2, name: str, hu: float | int, *, where=True) -> None:
    """Draws what lies inside a shape (r2 < 1) of a block; an empty name leaves it without label."""
    inside = (r2 < 1) & where
    np.copyto(body.hu[box], hu, where=inside)
    np.copyto(body.labels[box], ORGANS.get(name, 0), where=inside)


def mirror(point, side: int) -> tuple:
    """The point on the other side of the midline for side -1, the point itself for 1."""
    return (side * point[0], *point[1:])


def contrast(body: Body, hu: float | int) -> float | int:
    """HU above muscle grow and shrink with the patient's enhancement."""
    return T.MUSCLE + (hu - T.MUSCLE) * body.anatomy.enhancement if hu > T.MUSCLE else hu


def tubes(body: Body, table) -> None:
    """Draws vessels and airways of a table (name, HU, start, end, radius)."""
    for name, hu, start, end, radius in table:
        fill(body, *capsule(body.space, start, end, radius), name, contrast(body, hu))


def tree(body: Body, which: int, root, centre, spread) -> Float32[np.ndarray, "slice row column"]:
    """HU that vessels add: thick at the root, thin at the ends."""
    ends, bends = body.anatomy.twigs[which].transpose(1, 0, 2)
    t = np.linspace(0, 1, 28)[:, None, None]
    root, ends = np.asarray(root), np.asarray(centre) + ends * spread
    points = root + (ends - root) * t + bends * 12 * t * (1 - t) * 4 * 0.5
    weights = np.broadcast_to(300 * (1.15 - t[..., 0]), points.shape[:2])
    return splat(body.space, points.reshape(-1, 3), weights.ravel() / np.prod(body.space.spacing_mm) * 612)


def half_axes(space: Space, n_heights: int) -> list[np.ndarray]:
    """Muscle's half-axes x, y and the wall's thickness x, y (mm) in each slice, from the first so many heights of the table."""
    tables = (T.MUSCLE_X, T.MUSCLE_Y, T.WALL_X, T.WALL_Y)
    return [np.interp(space.axes[0], T.HEIGHTS[:n_heights], table[:n_heights]) for table in tables]


def chest_axes(space: Space, end_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Half-axes (mm) of the inside of the chest in each slice; it narrows towards `end_mm`."""
    x, y, wall_x, wall_y = half_axes(space, T.N_CHEST_HEIGHTS)
    up = np.clip((space.axes[0] - T.APEX_START_MM) / (end_mm - T.APEX_START_MM), 0, 0.999)
    taper = np.sqrt(1 - up**2)
    return (x - wall_x) * taper, (y - wall_y) * taper


def outline(space: Space, anatomy: Anatomy) -> Body:
    """Skin, fat, muscle, the empty cavity and the couch."""
    x, y, wall_x, wall_y = half_axes(space, len(T.HEIGHTS))
    fat = anatomy.fat_mm
    skin = ellipse(space, x + fat, y + 0.8 * fat, square=0.3)
    muscle = ellipse(space, x, y, square=0.35)
    cavity = ellipse(space, x - wall_x, y - wall_y, square=0.3) < 1
    hu = np.full(space.x.shape, T.AIR, np.float32)
    np.copyto(hu, T.SKIN, where=skin < 1)
    if anatomy.sex == "F":
        _breasts(space, hu, fat)
    for inside, value in ((skin < 1 - 4 / 100, T.FAT), (muscle < 1, T.MUSCLE), (cavity, T.FAT)):
        np.copyto(hu, value, where=inside)
    _lay_on_table(space, hu, anatomy)
    right = space.x < 0
    top = np.where(right, np.float32(T.DOME_MM["right"]), np.float32(T.DOME_MM["left"]))
    dome = top - 52 * np.square((np.abs(space.x) - 66) / 80) - 52 * np.square((space.y + 18) / 80)
    return Body(hu, np.zeros(hu.shape, np.uint8), cavity, np.maximum(dome, T.DOME_LOW_MM) - space.z, space, anatomy)


def _breasts(space: Space, hu, fat: float) -> None:
    for side in (1, -1):
        for shrink, value in ((1.0, T.FAT), (0.55, 20.0)):
            box, r2 = ellipsoid(space, (side * 74, -88 - fat / 2, 395), (52 * shrink, 34 * shrink, 52 * shrink))
            hu[box][r2 < 1] = value


def _lay_on_table(space: Space, hu, anatomy: Anatomy) -> None:
    """A curved couch: a thin shell with foam inside, in scanner coordinates (it does not breathe with the patient)."""
    _, y, x = (a * s for a, s in zip(space.axes, anatomy.scale[::-1], strict=True))
    depth = y[:, None] + np.square(x) * 0.0011 - (104 + 0.8 * anatomy.fat_mm) * anatomy.scale[1]
    shell, foam = (depth > 0) & (depth < 7), (depth >= 7) & (depth < 34)
    for mask, value in ((shell, T.TABLE_HU), (foam, T.FOAM_HU)):
        np.copyto(hu, value, where=(hu == T.AIR) & mask)
