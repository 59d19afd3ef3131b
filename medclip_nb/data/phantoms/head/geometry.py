"""Where in the template each voxel of an examination lies, and what tissue it therefore holds."""

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, UInt8

from .plans import Plan
from .template import MIDDLE, ORIGIN_MM, SHAPE, STEP_MM, template, unpacked
from .vocabulary import REGIONS, TISSUES

FIELD_MM = (144.0, 224.0, 224.0)  # of view: slices, rows, columns
CENTRE_MM = (0.0, -18.0, 9.0)  # x, y, z of its middle in the template
ROTATION_SD_DEG = (3.0, 3.0, 5.0)  # about x, y, z: how a head lies, new at each visit
SHIFT_SD_MM = 2.5
SCALES = (0.93, 1.06)  # size of a patient's head along each axis
# knots and standard deviation (mm) of a patient's own anatomy: coarse shape, then details
ELASTIC = (((4, 5, 5), 2.2), ((8, 12, 12), 0.8))
WIDENING_MM = (5.0, 10.0)  # wide ventricles: how far their walls move, mildest and most severe
PUSH_MM = 6.0  # tumours push their surroundings away so far
SULCI = (0.35, 0.75)  # atrophy: share of grey matter beside sulci that is lost
INNER = 0.9  # radii of a lesion between its middle and the next place, where there is room,
DEEPEST = 0.75  # else it lies where this share of its place is nearer to the next one
Where = Float32[np.ndarray, "n 3"]  # x, y, z in mm


class Sample(NamedTuple):
    """What the template holds at some points."""

    tissue: Float32[np.ndarray, "n tissue"]
    labels: UInt8[np.ndarray, "corner n"]  # of REGIONS, at the 8 voxels around each point
    weights: Float32[np.ndarray, "corner n"]  # of these voxels


def voxel_points(size: tuple[int, int, int]) -> Where:
    """Each voxel's place from the middle of the field: columns run to the left, rows to the back, slices upwards."""
    z, y, x = ((np.arange(n, dtype=np.float32) - (n - 1) / 2) * (mm / n) for mm, n in zip(FIELD_MM, size, strict=True))
    return np.stack(np.broadcast_arrays(-x[None, None], -y[None, :, None], z[:, None, None]), -1).reshape(-1, 3)


def place_head(patient: np.random.Generator, visit: np.random.Generator, size: tuple[int, int, int]) -> Where:
    """Where in the template each voxel lies: a patient's size and shape, and how the head lay at this visit."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", visit.normal(0, ROTATION_SD_DEG), degrees=True).as_matrix()
    points = voxel_points(size) @ (turn * patient.uniform(*SCALES, 3)).T.astype(np.float32)
    points += (visit.normal(0, SHIFT_SD_MM, 3) + CENTRE_MM).astype(np.float32)
    for knots, sd in ELASTIC:
        points += np.float32(sd) * smooth_noise(patient, knots, size, 3)
    return points


def smooth_noise(
    rng: np.random.Generator, knots: tuple[int, int, int], size: tuple[int, int, int], n: int
) -> Float32[np.ndarray, "voxel field"]:
    """`n` smooth random fields of mean 0 and standard deviation 1; more knots, finer waves."""
    field = rng.standard_normal((*knots, n), np.float32)
    for axis in range(3):
        field = np.moveaxis(np.tensordot(_waves(knots[axis], size[axis]), field, (1, axis)), 0, axis)
    return field.reshape(-1, n)


@lru_cache(maxsize=64)
def _waves(n_knots: int, n: int) -> Float32[np.ndarray, "voxel knot"]:
    """Gaussians about the knots; rows have length 1, so that independent normal numbers stay standard normal."""
    bumps = np.exp(-0.5 * ((np.linspace(0, n_knots - 1, n)[:, None] - np.arange(n_knots)) / 0.6) ** 2)
    return (bumps / np.linalg.norm(bumps, axis=1, keepdims=True)).astype(np.float32)


def sample(points: Where) -> Sample:
    """The template at the points, interpolated from the 8 voxels around each."""
    index, weights = corners(points)
    found = unpacked(template().packed[index])
    total = np.zeros((len(points), 8), np.float32)
    for weight, corner in zip(weights, found, strict=True):
        total += weight[:, None] * corner
    tissue = total[:, : len(TISSUES)] / np.float32(255)
    tissue[:, -1] -= np.float32(MIDDLE / 255)
    return Sample(tissue, found[..., -1], weights)


def corners(points: Where) -> tuple[Int[np.ndarray, "corner n"], Float32[np.ndarray, "corner n"]]:
    """Numbers of the 8 voxels of the template around each point, and their weights."""
    at = np.clip((points - np.float32(ORIGIN_MM)) / np.float32(STEP_MM), 0, np.float32(SHAPE[::-1]) - np.float32(1.001))
    low = at.astype(np.int32)
    upper = (at - low.astype(np.float32)).T
    parts, index = (1 - upper, upper), (low[:, 2] * SHAPE[1] + low[:, 1]) * SHAPE[2] + low[:, 0]
    steps = list(product((0, 1), repeat=3))
    weights = [parts[z][2] * parts[y][1] * parts[x][0] for z, y, x in steps]
    return np.stack([index + np.int32((z * SHAPE[1] + y) * SHAPE[2] + x) for z, y, x in steps]), np.stack(weights)


def nearest(points: Where) -> Int[np.ndarray, " n"]:
    """Number of the template's voxel at each point."""
    at = np.rint((points - np.float32(ORIGIN_MM)) / np.float32(STEP_MM)).astype(np.int32)
    x, y, z = np.clip(at, 0, np.array(SHAPE[::-1], np.int32) - 1).T
    return (z * SHAPE[1] + y) * SHAPE[2] + x


def middles(plan: Plan) -> list[Float32[np.ndarray, "3"]]:
    """The middle of a lesion on each of its sides: by chance, inside its place and as far from the next one as it needs."""
    rng, margin, found = np.random.default_rng([plan.key, 1]), template().margin_mm, []
    for side in plan.sides:
        place = np.flatnonzero(template().region == REGIONS[f"{side} {plan.place}"])
        inside = place[margin[place] >= min(INNER * plan.radius_mm, np.quantile(margin[place], DEEPEST))]
        z, y, x = np.unravel_index(inside[rng.integers(len(inside))], SHAPE)
        found.append((np.array([x, y, z]) * STEP_MM + ORIGIN_MM).astype(np.float32))
    return found


def pushed(points: Where, plan: Plan) -> Where:
    """Points after a mass has pushed the tissue away from itself."""
    arrow = points - middles(plan)[0]
    distance = np.sqrt(np.einsum("ij,ij->i", arrow, arrow))
    step = np.float32(PUSH_MM) * np.exp(-((distance / np.float32(1.8 * plan.radius_mm)) ** 2))
    return points - arrow * np.minimum(step / np.maximum(distance, 1e-3), 0.4)[:, None]


def widened(points: Where, severity: float) -> Where:
    """Points after the walls of the ventricles have moved outwards."""
    return points - np.float32(np.interp(severity, (0, 1), WIDENING_MM)) * template().pull[nearest(points)]


def shrunk(tissue: Float32[np.ndarray, "n tissue"], severity: float) -> Float32[np.ndarray, "n tissue"]:
    """Tissue after atrophy: beside fluid, grey matter and some white matter have become fluid."""
    csf, grey, white = (TISSUES.index(name) for name in ("csf", "grey", "white"))
    near = np.clip(4 * tissue[:, csf], 0, 1) * np.float32(np.interp(severity, (0, 1), SULCI))
    lost = tissue.copy()
    lost[:, grey] *= 1 - near
    lost[:, white] *= 1 - near / 2
    lost[:, csf] += near * (tissue[:, grey] + tissue[:, white] / 2)
    return lost
