"""One patient's geometry in mm: what is drawn by chance, and the shapes that organs are made of.

Points are (x, y, z) in body coordinates: x to the patient's left from the midline, y to the back from the middle of the
body, z upwards from the pelvic floor. Arrays are (slice, row, column), which run upwards, to the back and to the left.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Int

from .vocabulary import ORGAN_NAMES

FIELD_MM = (544.0, 384.0, 384.0)  # slices, rows, columns together; the same whatever the grid
WARP_MM = 4.0  # strength of the smooth deformation: standard deviation of each displacement
WARP_WAVES = 3  # cosine waves an axis
SHIFT_MM = 3.5  # standard deviation of an organ's place
STRETCH = 0.05  # ... of its size, relative
N_LOOPS = 26  # of small bowel
N_TWIGS = 60  # vessels drawn in each lung and in the liver
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Anatomy:
    """What stays the same in all studies of one patient."""

    sex: str
    scale: np.ndarray  # (x, y, z) body size against the table's, about 1
    fat_mm: float  # under the skin
    waves: np.ndarray  # (axis displaced, wave, axis, [frequency, phase])
    shifts: dict[str, np.ndarray]  # name -> (x, y, z) mm
    stretches: dict[str, np.ndarray]  # name -> (x, y, z) factor
    enhancement: float  # of all contrast-filled organs, about 1
    twigs: np.ndarray  # (tree, twig, [end, bend], xyz), standard normal
    loops: np.ndarray  # (bowel loop, xyz) in 0..1
    variants: np.ndarray  # chances of the normal variants, in 0..1


def draw_anatomy(rng: np.random.Generator, sex: str) -> Anatomy:
    """One patient by chance; women are smaller by 7 % on average."""
    size = (0.93 if sex == "F" else 1.0) * rng.normal(1, 0.025)
    return Anatomy(
        sex=sex,
        scale=np.clip(size * rng.normal(1, 0.02, 3), 0.86, 1.06).astype(np.float32),
        fat_mm=float(np.clip(rng.gamma(6, 2.6) + (5 if sex == "F" else 2), 7, 30)),
        waves=np.stack([rng.uniform(0.3, 1.1, (3, WARP_WAVES, 3)), rng.uniform(0, 1, (3, WARP_WAVES, 3))], -1),
        shifts={name: rng.normal(0, SHIFT_MM, 3).clip(-8, 8) for name in ORGAN_NAMES},
        stretches={name: rng.normal(1, STRETCH, 3).clip(0.88, 1.12) for name in ORGAN_NAMES},
        enhancement=float(rng.normal(1, 0.05)),
        twigs=rng.standard_normal((3, N_TWIGS, 2, 3)),
        loops=rng.uniform(0, 1, (N_LOOPS, 3)),
        variants=rng.uniform(0, 1, (4, 4)),
    )


@dataclass(frozen=True)
class Space:
    """Body coordinates (mm) of every voxel, after the patient's size and deformation."""

    z: Float32[np.ndarray, "slice row column"]
    y: Float32[np.ndarray, "slice row column"]
    x: Float32[np.ndarray, "slice row column"]
    axes: tuple[np.ndarray, np.ndarray, np.ndarray]  # z, y, x (mm) before the deformation
    reach_mm: tuple[float, float, float]  # along z, y, x no voxel is moved further
    spacing_mm: tuple[float, float, float]  # slice, row, column

    def box(self, low, high) -> Box:
        """Smallest block of voxels that holds everything between two corners (x, y, z)."""
        corners = zip(self.axes, low[::-1], high[::-1], self.reach_mm, strict=True)
        return tuple(slice(bisect_left(axis, lo - reach), bisect_left(axis, hi + reach)) for axis, lo, hi, reach in corners)


def spacing_mm(size: tuple[int, int, int], field: float | int = 1) -> tuple[float, float, float]:
    """Distance (mm) between slices, rows and columns of a grid over the whole field, widened in plane by the factor `field`."""
    slices, rows, columns = (extent / n for extent, n in zip(FIELD_MM, size, strict=True))
    return slices, rows * field, columns * field


@lru_cache(maxsize=8)
def grid_mm(size: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, y, x (mm) of the voxel centres; x is 0 and y is 8 in the middle, z is 0 at the lower edge."""
    z, y, x = (((np.arange(n) + 0.5) * d).astype(np.float32) for n, d in zip(size, spacing, strict=True))
    return z, y - y.mean() + 8, x - x.mean()


def make_space(anatomy: Anatomy, size: tuple[int, int, int], spacing: tuple[float, float, float]) -> Space:
    """Coordinates in which the patient looks like the table of organs."""
    axes = tuple(axis / s for axis, s in zip(grid_mm(size, spacing), anatomy.scale[::-1], strict=True))
    z, y, x = np.ix_(*axes)
    moves = dz, dy, dx = [_displacement(axes, waves) for waves in anatomy.waves]
    reach = tuple(float(max(move.max(), -move.min())) for move in moves)
    return Space(z + dz, y + dy, x + dx, axes, reach, spacing)


def _displacement(axes, waves) -> Float32[np.ndarray, "slice row column"]:
    """A smooth field (mm): a sum of products of one cosine an axis."""
    fz, fy, fx = (
        np.cos(2 * np.pi * (w[:, :1] * axis / 400 + w[:, 1:])).astype(np.float32)
        for axis, w in zip(axes, waves.swapaxes(0, 1), strict=True)
    )
    fz *= np.float32(WARP_MM * np.sqrt(2 / WARP_WAVES))
    return np.tensordot(fz.T, fy[:, :, None] * fx[:, None], 1)


def ellipsoid(space: Space, centre, radii, *, turn: float = 0.0) -> tuple[Box, Float32[np.ndarray, "slice row column"]]:
    """Block around an ellipsoid and, in it, the squared relative radius: below 1 is inside.

    `turn` (radians) rotates it about the vertical axis, from the patient's left towards the back.
    """
    centre, radii = np.asarray(centre, np.float32), np.asarray(radii, np.float32)
    reach = np.array([max(radii[:2])] * 2 + [radii[2]]) if turn else radii
    box = space.box(centre - reach, centre + reach)
    x, y, z = space.x[box] - centre[0], space.y[box] - centre[1], space.z[box] - centre[2]
    if turn:
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = c * x + s * y, c * y - s * x
    a, b, c = 1 / radii
    return box, np.square(x * a) + np.square(y * b) + np.square(z * c)


def capsule(space: Space, start, end, radius: float | int) -> tuple[Box, Float32[np.ndarray, "slice row column"]]:
    """Block around a thick line and, in it, the squared relative distance from the line: below 1 is inside."""
    p, q = np.asarray(start, np.float32), np.asarray(end, np.float32)
    box = space.box(np.minimum(p, q) - radius, np.maximum(p, q) + radius)
    x, y, z = (c[box] - o for c, o in zip((space.x, space.y, space.z), p, strict=True))
    way, length2 = q - p, max(float((q - p) @ (q - p)), 1e-6)
    along = x * way[0] + y * way[1] + z * way[2]
    t = np.clip(along * (1 / length2), 0, 1)
    return box, (np.square(x) + np.square(y) + np.square(z) + t * (t * length2 - 2 * along)) * float(1 / radius**2)


def ellipse(space: Space, half_x, half_y, *, square: float = 0.0) -> Float32[np.ndarray, "slice row column"]:
    """Squared relative radius in a cylinder with half-axes (mm) given for each slice; `square` flattens its sides."""
    u, v = (
        np.square(c * (1 / np.asarray(h)).astype(np.float32)[:, None, None]) for c, h in ((space.x, half_x), (space.y, half_y))
    )
    return u + v * (1 - square * u) if square else u + v


def splat(space: Space, points: np.ndarray, weights: np.ndarray) -> Float32[np.ndarray, "slice row column"]:
    """Weights summed in the voxels that hold the points (x, y, z mm); points outside are dropped."""
    shape = space.x.shape
    index = np.stack([np.searchsorted(a, p) for a, p in zip(space.axes, points.T[::-1], strict=True)])
    ok = ((index > 0) & (index < np.array(shape)[:, None])).all(0)
    flat = np.ravel_multi_index(tuple(index[:, ok]), shape)
    return np.bincount(flat, weights[ok], minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)


def core(mask: Bool[np.ndarray, "slice row column"], steps: int = 1) -> Bool[np.ndarray, "slice row column"]:
    """The mask without its rim of `steps` pixels in each slice."""
    for _ in range(steps):
        inner = mask.copy()
        inner[:, 1:-1, 1:-1] = (
            mask[:, 1:-1, 1:-1] & mask[:, 2:, 1:-1] & mask[:, :-2, 1:-1] & mask[:, 1:-1, 2:] & mask[:, 1:-1, :-2]
        )
        mask = inner
    return mask


def voxels(mask: Bool[np.ndarray, "slice row column"]) -> Int[np.ndarray, "voxel 3"]:
    """Indices (slice, row, column) of the voxels that are set; the flat search is several times as fast as np.argwhere."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1)
