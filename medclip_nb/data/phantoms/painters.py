"""One painter an abnormality: from a body and a plan to the voxels and HU that it proposes."""

import numpy as np
from jaxtyping import Bool

from .anatomy import Box, core, ellipsoid, voxels
from .lesions import Canvas, Drawn, ball, balls, one_ball, paint_spots, pick, radius_of, spillable
from .organs import aneurysm_shape
from .places import place_name
from .plans import Plan, aneurysm_level
from .torso_table import HEART
from .vocabulary import ORGANS, group_mask

STEATOSIS_DROP_HU = (38.0, 62.0)  # mild .. severe, below a healthy liver
HOLES = (40, 170)  # of emphysema in one lung, mild .. severe
PLEURA_FALL = 0.30  # fluid lies lower at the base: mm of depth lost per mm upwards


def _whole(canvas: Canvas, plan: Plan) -> Drawn:
    return Drawn(group_mask(canvas.body.labels, plan.organ), None, size_mm=plan.size_mm)


def _steatosis(canvas: Canvas, plan: Plan) -> Drawn:
    mask, (low, high) = group_mask(canvas.body.labels, "liver"), STEATOSIS_DROP_HU
    return Drawn(mask, canvas.body.hu[mask] - np.float32(low + (high - low) * plan.severity))


def _aneurysm(canvas: Canvas, plan: Plan) -> Drawn:
    """The dilated stretch of the aorta."""
    level, z = aneurysm_level(plan)
    box, r2 = aneurysm_shape(canvas.body.space, plan.size_mm, z)
    mask = _in_box(canvas, box, r2 < 1) & group_mask(canvas.body.labels, "aorta")
    return Drawn(mask, None, level, plan.size_mm)


def _in_box(canvas: Canvas, box: Box, inside) -> Bool[np.ndarray, "slice row column"]:
    mask = np.zeros(canvas.lesions.shape, bool)
    mask[box] = inside
    return mask


def _emphysema(canvas: Canvas, plan: Plan) -> Drawn:
    """Holes of very low density, more of them at the top."""
    lung = group_mask(canvas.body.labels, plan.organ)
    index = voxels(lung & (canvas.body.hu < -650))
    n_holes = int(HOLES[0] + (HOLES[1] - HOLES[0]) * plan.severity)
    spread = (np.arange(n_holes) * 0.6180339887 + plan.spots[0, 0, 0]) % 1  # even, without drawing more
    share = 1 - spread**1.6
    holes = balls(canvas, index[(share * (len(index) - 1)).astype(int)], 3.2 + plan.size_mm * 0.28 * (1 - share))
    return Drawn(holes & lung & (canvas.body.hu < -600), plan.kind.hu)


def _pericardial(canvas: Canvas, plan: Plan) -> Drawn | None:
    """A rim of fluid around the heart; it counts with the heart in the organ mask."""
    body, heart = canvas.body, group_mask(canvas.body.labels, "heart")
    _, radii, turn = HEART
    index = voxels(heart)
    if not len(index):
        return None
    middle = [float(c[heart].mean()) for c in (body.space.x, body.space.y, body.space.z)]
    half = np.ptp(index, axis=0) * body.space.spacing_mm / 2
    grow = half[2] / (max(radii[:2]) * 0.93) / body.anatomy.scale[0]
    box, r2 = ellipsoid(body.space, middle, np.array(radii) * grow + plan.size_mm, turn=turn)
    soft = (body.labels <= ORGANS["lung_lower_lobe_right"]) & (body.hu < 0) & (body.below < 14)
    mask = _in_box(canvas, box, r2 < 1) & soft
    body.labels[mask] = ORGANS["heart"]
    return Drawn(mask, plan.kind.hu, size_mm=plan.size_mm)


def _pleural(canvas: Canvas, plan: Plan) -> Drawn | None:
    """Fluid behind and below the lung: all of it under a level that falls upwards."""
    lung, space = group_mask(canvas.body.labels, plan.organ), canvas.body.space
    index = voxels(lung)
    if not len(index):
        return None
    low, back = space.z[lung].min(), space.y[lung].max()
    depth = plan.size_mm - (back - space.y) - PLEURA_FALL * np.maximum(space.z - low - 30, 0)
    mask = lung & (depth > 0) & ~canvas.focal
    drawn = mask.sum(1).max() * space.spacing_mm[1]  # rows, from front to back
    return Drawn(mask, plan.kind.hu, size_mm=drawn)


def _consolidation(canvas: Canvas, plan: Plan) -> Drawn | None:
    """A ragged patch inside one lobe, with air in the bronchi."""
    lung = group_mask(canvas.body.labels, plan.organ) & ~canvas.focal
    voxel = pick(core(lung), plan.spots[0, 0])
    if voxel is None:
        return None
    lobe = lung & (canvas.body.labels == canvas.body.labels[tuple(voxel)])
    box, r2 = ball(canvas, voxel, plan.size_mm / 2 * 1.1)
    mask = _in_box(canvas, box, r2 + 0.35 * canvas.texture[box] < 1) & lobe
    hu = plan.kind.hu + 60 * np.minimum(canvas.texture[mask] + 0.6, 0) * 3
    return Drawn(mask, hu, place_name(canvas.body, plan.organ, voxel), plan.size_mm)


def _hydronephrosis(canvas: Canvas, plan: Plan) -> Drawn | None:
    """Water instead of fat in the middle of the kidney, and more of it."""
    space, kidney = canvas.body.space, group_mask(canvas.body.labels, plan.organ)
    if not kidney.any():
        return None
    x, y, z = (float(c[kidney].mean()) for c in (space.x, space.y, space.z))
    half = plan.size_mm / 2
    towards_spine = (x - np.sign(x) * 9, y - 2, z)
    box, r2 = ellipsoid(space, towards_spine, (half, half * 0.75, half * 1.9))
    mask = _in_box(canvas, box, r2 < 1) & (kidney | spillable(canvas)) & ~canvas.focal
    canvas.body.labels[mask] = ORGANS[plan.organ]
    return Drawn(mask, plan.kind.hu, size_mm=plan.size_mm)


def _inside(depth: int):
    """Painter of balls within an organ."""
    return lambda canvas, plan: paint_spots(canvas, plan, depth=depth)


def _cyst(canvas: Canvas, plan: Plan) -> Drawn | None:
    """Within the liver; at the surface of a kidney, where it bulges out and counts with the kidney."""
    if plan.organ == "liver":
        return paint_spots(canvas, plan, depth=2)
    return _label(canvas, plan, paint_spots(canvas, plan, depth=1, spill=True))


def _mass(canvas: Canvas, plan: Plan) -> Drawn | None:
    return _label(canvas, plan, paint_spots(canvas, plan, depth=0, spill=True))


def _label(canvas: Canvas, plan: Plan, drawn: Drawn | None) -> Drawn | None:
    """What a lesion adds to its organ belongs to the organ's mask."""
    if drawn is not None:
        canvas.body.labels[drawn.mask] = ORGANS[plan.organ]
    return drawn


def _plaques(canvas: Canvas, plan: Plan) -> Drawn | None:
    """Pieces of the wall, each about as long as `size_mm`."""
    aorta = group_mask(canvas.body.labels, "aorta")
    wall, mask, voxels = aorta & ~core(aorta), np.zeros(aorta.shape, bool), []
    down = wall & (canvas.body.space.y > 8)  # the descending part
    for spot in plan.spots:
        piece, voxel = one_ball(canvas, down & ~mask, spot[0], radius_of(canvas, plan, 0), wall)
        if voxel is not None:
            mask |= piece
            voxels.append(voxel)
    names = {place_name(canvas.body, plan.organ, voxel) for voxel in voxels}
    return Drawn(mask, plan.kind.hu, names.pop() if len(names) == 1 else "", plan.size_mm, len(voxels))


PAINTERS = {
    "cardiomegaly": _whole, "splenomegaly": _whole, "aneurysm": _aneurysm, "steatosis": _steatosis,
    "emphysema": _emphysema, "pericardial effusion": _pericardial, "pleural effusion": _pleural,
    "consolidation": _consolidation, "nodule": _inside(1), "metastases": _inside(1), "cyst": _cyst,
    "hydronephrosis": _hydronephrosis, "stone": _inside(1), "mass": _mass, "gallstone": _inside(1),
    "calcification": _plaques,
}  # fmt: skip
