"""Draws abnormalities into a healthy body and says what became visible.

A `Plan` is what was drawn by chance; a `Drawn` is what a painter of `painters` made of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from .anatomy import Box, core, voxels
from .body import Body
from .places import place_name
from .plans import Plan
from .vocabulary import KINDS, SIDED, group_mask, kind_of

# radius in plane
SMALLEST_PX = {"stone": 1.5, "gallstone": 1.5, "nodule": 1.1, "cyst": 1.2, "metastases": 1.1, "calcification": 1.5}
SHAPELESS = ("steatosis", "emphysema", "cardiomegaly", "splenomegaly", "aneurysm")  # other lesions may lie in them


@dataclass(frozen=True)
class Drawn:
    """What a painter proposes: voxels, their new HU (one number or one per voxel; None leaves them) and its description."""

    mask: Bool[np.ndarray, "slice row column"]
    hu: object
    place: str = ""
    size_mm: float = 0.0
    count: int = 1


@dataclass(frozen=True)
class Canvas:
    """A body that lesions are painted into."""

    body: Body
    lesions: UInt8[np.ndarray, "slice row column"]
    focal: Bool[np.ndarray, "slice row column"]  # taken by a focal lesion
    texture: Float32[np.ndarray, "slice row column"]  # standard normal, smooth


def paint(canvas: Canvas, plans: list[Plan], painters: dict[str, Callable]) -> list[dict]:
    """Draws each plan that fits and lists those that are visible once all are drawn."""
    listed = []
    for plan in plans:
        drawn = painters[plan.finding](canvas, plan)
        if drawn is not None and np.count_nonzero(drawn.mask) >= plan.kind.min_voxels:
            label = len(listed) + 1
            _stamp(canvas, plan, drawn, label)
            listed.append(_entry(plan, drawn, label))
    return _visible(canvas, listed)


def _stamp(canvas: Canvas, plan: Plan, drawn: Drawn, label: int) -> None:
    if drawn.hu is not None:
        canvas.body.hu[drawn.mask] = drawn.hu
    canvas.lesions[drawn.mask] = label
    if plan.finding not in SHAPELESS:
        canvas.focal[drawn.mask] = True


def _entry(plan: Plan, drawn: Drawn, label: int) -> dict:
    side = plan.organ.rpartition("_")[2] if kind_of(plan.organ) in SIDED else ""
    grade = ("mild", "moderate", "severe")[min(int(plan.severity * 3), 2)]
    return {
        "organ": plan.organ, "finding": plan.finding, "side": side, "place": drawn.place,
        "size_mm": round(float(drawn.size_mm), 1), "count": drawn.count, "severity": grade, "label": label,
    }  # fmt: skip


def _visible(canvas: Canvas, listed: list[dict]) -> list[dict]:
    """Findings that keep enough voxels; labels of the others leave the mask."""
    counts = np.bincount(canvas.lesions[canvas.lesions > 0], minlength=len(listed) + 1)
    shown = []
    for entry in listed:
        n = int(counts[entry["label"]])
        if n >= KINDS[kind_of(entry["organ"]), entry["finding"]].min_voxels:
            shown.append(entry | {"n_voxels": n})
        else:
            canvas.lesions[canvas.lesions == entry["label"]] = 0
    return shown


def pick(allowed: Bool[np.ndarray, "slice row column"], where) -> np.ndarray | None:
    """Allowed voxel nearest to a relative place (zyx in 0..1) in the box of all allowed ones; None where none is."""
    index = voxels(allowed)
    if not len(index):
        return None
    low, high = index.min(0), index.max(0)
    return index[np.argmin(np.square(index - (low + where * (high - low))).sum(1))]


def ball(canvas: Canvas, voxel, radius_mm: float | int) -> tuple[Box, Float32[np.ndarray, "slice row column"]]:
    """Block around a sphere and, in it, the squared relative radius.

    A slice shows a sphere that it cuts anywhere in its thickness, so the sphere is half a slice longer upwards and downwards.
    """
    shape, spacing = canvas.lesions.shape, canvas.body.space.spacing_mm
    radii = (radius_mm + spacing[0] / 2 - 0.01, radius_mm, radius_mm)
    reach = [int(r / s) + 1 for r, s in zip(radii, spacing, strict=True)]
    box = tuple(slice(max(v - n, 0), min(v + n + 1, e)) for v, n, e in zip(voxel, reach, shape, strict=True))
    steps = np.ix_(*[(np.arange(b.start, b.stop) - v) * s / r for b, v, s, r in zip(box, voxel, spacing, radii, strict=True)])
    return box, sum(np.square(step, dtype=np.float32) for step in steps)


def balls(canvas: Canvas, middles, radii_mm: Float[np.ndarray, " ball"]) -> Bool[np.ndarray, "slice row column"]:
    """Voxels of many small spheres at once, each drawn as `ball` draws it."""
    spacing, mask = np.array(canvas.body.space.spacing_mm), np.zeros(canvas.lesions.shape, bool)
    radii = radii_mm[:, None] + [spacing[0] / 2 - 0.01, 0, 0]
    reach = (radii.max(0) / spacing).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, 3)
    ball_of, step_of = np.nonzero(np.square(1 / radii) @ np.square(steps * spacing).T < 1)
    places = middles[ball_of] + steps[step_of]
    mask[tuple(places[((places >= 0) & (places < mask.shape)).all(1)].T)] = True
    return mask


def radius_of(canvas: Canvas, plan: Plan, spot: int) -> float:
    """Radius (mm) of one spot: later ones are smaller, none is smaller than this grid can show."""
    smallest = SMALLEST_PX.get(plan.finding, 1.0) * canvas.body.space.spacing_mm[1]
    return max(plan.size_mm / 2 * (1 - 0.12 * spot), smallest)


def paint_spots(canvas: Canvas, plan: Plan, *, depth: int, spill: bool = False) -> Drawn | None:
    """Balls in an organ, `depth` pixels under its surface, apart from other lesions; with `spill` they reach past the surface."""
    organ = group_mask(canvas.body.labels, plan.organ)
    inner = core(organ, depth) & ~canvas.focal
    allowed, total, voxels = inner if inner.any() else organ & ~canvas.focal, np.zeros(organ.shape, bool), []
    for spot, tries in enumerate(plan.spots):
        radius = radius_of(canvas, plan, spot)
        for where in tries:
            mask, voxel = one_ball(canvas, allowed, where, radius, organ | spillable(canvas) if spill else organ)
            if voxel is not None and mask.sum() >= plan.kind.min_voxels and not (mask & total).any():
                total |= mask
                voxels.append(voxel)
                break
    if not voxels:
        return None
    names = {place_name(canvas.body, plan.organ, voxel) for voxel in voxels}
    size = 2 * radius_of(canvas, plan, 0)
    return Drawn(total, plan.kind.hu, names.pop() if len(names) == 1 else "", size, len(voxels))


def one_ball(canvas: Canvas, allowed, where, radius: float, territory) -> tuple[np.ndarray, np.ndarray | None]:
    """Free voxels of a ball that lie in its territory, and its middle; None if no place is allowed."""
    mask, voxel = np.zeros(allowed.shape, bool), pick(allowed, where)
    if voxel is not None:
        box, r2 = ball(canvas, voxel, radius)
        mask[box] = (r2 < 1) & territory[box] & ~canvas.focal[box]
    return mask, voxel


def spillable(canvas: Canvas) -> Bool[np.ndarray, "slice row column"]:
    """Fat and other unlabelled tissue inside the trunk."""
    return (canvas.body.labels == 0) & canvas.body.cavity
