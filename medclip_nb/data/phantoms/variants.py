"""Normal variants that look a little like disease: what a model must learn to tell from it."""

import numpy as np

from . import torso_table as T
from .lesions import Canvas, ball, pick
from .vocabulary import group_mask

VESSEL_SLICES = 3  # each way: a vessel runs on through the slices, a nodule ends
FOCAL_FAT_SHARE, PHLEBOLITH_SHARE, SPLENULE_SHARE = 0.2, 0.3, 0.2


def draw_variants(canvas: Canvas) -> None:
    """Upright lung vessels in everybody; focal fat in the liver, pelvic vein stones, an accessory spleen in some."""
    chances = canvas.body.anatomy.variants
    for side, where in zip(("left", "right"), chances, strict=False):
        _upright_vessel(canvas, f"lung_{side}", where[1:])
    if chances[2, 0] < FOCAL_FAT_SHARE:
        _dot(canvas, pick(group_mask(canvas.body.labels, "liver"), (0.5, 0.05, 0.6)), 11, 75)
    if chances[3, 0] < PHLEBOLITH_SHARE:
        _dot(canvas, _voxel(canvas, (46 if chances[3, 1] < 0.5 else -46, 20, 50)), 6, 420)
    if chances[2, 1] < SPLENULE_SHARE:
        _dot(canvas, _voxel(canvas, (74, 44, 262)), 8, 120)


def _voxel(canvas: Canvas, point) -> np.ndarray:
    axes, shape = canvas.body.space.axes, canvas.lesions.shape
    return np.array([min(np.searchsorted(a, p), n - 1) for a, p, n in zip(axes, point[::-1], shape, strict=True)])


def _dot(canvas: Canvas, voxel, radius_mm: float | int, hu: float | int) -> None:
    if voxel is not None:
        box, r2 = ball(canvas, voxel, radius_mm)
        canvas.body.hu[box][(r2 < 1) & (canvas.body.hu[box] > -300)] = hu


def _upright_vessel(canvas: Canvas, lung: str, where) -> None:
    inside = group_mask(canvas.body.labels, lung)
    voxel = pick(inside, 0.2 + 0.6 * np.asarray(where))
    if voxel is None:
        return
    for step in range(-VESSEL_SLICES, VESSEL_SLICES + 1):
        z, y, x = voxel[0] + step, voxel[1] + step // 3, voxel[2] + step // 2
        if 0 <= z < inside.shape[0] and inside[z, y, x]:
            canvas.body.hu[z, y, x] = T.MUSCLE - 40
