"""Draws a healthy torso: HU and labels. Later organs cover earlier ones, so small ones come late."""

from dataclasses import dataclass

import numpy as np

from . import torso_table as T
from .anatomy import Anatomy, Box, Space, capsule, ellipse, ellipsoid
from .body import Body, chest_axes, contrast, fill, mirror, outline, part, tree, tubes
from .skeleton import draw_bones
from .vocabulary import ORGANS, labels_mask


@dataclass(frozen=True)
class Changes:
    """Diseases that change the shape of an organ; 1 or 0 is healthy."""

    heart: float = 1.0  # factor of its radii
    spleen: float = 1.0
    aneurysm_mm: float = 0.0  # diameter
    aneurysm_z_mm: float = 0.0


def draw_body(space: Space, anatomy: Anatomy, changes: Changes) -> Body:
    """The whole torso without focal lesions."""
    body = outline(space, anatomy)
    _lungs(part(body, space.box((-300, -300, T.DOME_LOW_MM), (300, 300, 600))))
    tubes(body, T.THORAX_TUBES)
    _liver(part(body, space.box((-170, -120, 170), (110, 110, 400))))
    _heart(body, changes.heart)
    _bowel(body)
    tubes(body, T.ABDOMEN_TUBES)
    _abdomen(body, changes.spleen)
    _aorta(body, changes)
    for centre, radii in T.MUSCLES:
        for side in (1, -1):
            fill(body, *ellipsoid(space, mirror(centre, side), radii), "", T.MUSCLE)
    draw_bones(body)
    return body


def _lungs(body: Body) -> None:
    space = body.space
    chest = ellipse(space, *chest_axes(space, T.APEX_MM))
    middle = 20 + 12 * np.clip(1 - np.abs(space.y + 10) / 50, 0, 1)
    inside = (chest < 1) & (np.abs(space.x) > middle) & (body.below < 0) & (space.z < T.APEX_MM)
    np.copyto(body.hu, T.LUNG + 0.45 * space.y, where=inside)  # more blood at the back
    _lobes(body, inside)
    for side, number in ((1, 0), (-1, 1)):
        twigs = tree(body, number, (side * 30, 2, 418), (side * 78, 0, 395), (34, 46, 60))
        np.add(body.hu, np.minimum(twigs, 620), out=body.hu, where=inside)


def _lobes(body: Body, inside) -> None:
    space = body.space
    upper = space.z > 386 + space.y  # above the oblique fissure
    for side, where in (("left", space.x > 0), ("right", space.x < 0)):
        lobes = np.where(upper, np.uint8(ORGANS[f"lung_upper_lobe_{side}"]), np.uint8(ORGANS[f"lung_lower_lobe_{side}"]))
        np.copyto(body.labels, lobes, where=inside & where)
    middle_lobe = inside & (space.x < 0) & upper & (space.z < 394)
    np.copyto(body.labels, ORGANS["lung_middle_lobe_right"], where=middle_lobe)


def _liver(body: Body) -> None:
    inside = np.zeros(body.hu.shape, bool)
    for centre, radii in T.LIVER:
        move, stretch = body.anatomy.shifts["liver"], body.anatomy.stretches["liver"]
        box, r2 = ellipsoid(body.space, centre + move, radii * stretch)
        inside[box] |= (r2 < 1) & body.cavity[box] & (body.below[box] > 2)
    vessels = tree(body, 2, (-30, -14, 284), (-56, -4, 296), (34, 34, 28))
    np.copyto(body.labels, ORGANS["liver"], where=inside)
    np.copyto(body.hu, contrast(body, 112) + np.minimum(vessels * 0.12, 42) * (body.space.z > 235), where=inside)


def _heart(body: Body, factor: float) -> None:
    centre, radii, turn = T.HEART
    move, stretch = body.anatomy.shifts["heart"], body.anatomy.stretches["heart"] * factor
    centre = np.add(centre, move) + np.array([14, -4, 0]) * (factor - 1) / 0.3
    reach = body.below < 14
    box, r2 = ellipsoid(body.space, centre, radii * stretch * 1.1, turn=turn)
    fill(body, box, r2, "", T.FAT, where=reach[box])
    box, r2 = ellipsoid(body.space, centre, radii * stretch, turn=turn)
    fill(body, box, r2, "heart", contrast(body, 108), where=reach[box])
    for offset, size in T.CHAMBERS:
        box, r2 = ellipsoid(body.space, centre + np.multiply(offset, stretch), size * stretch, turn=turn)
        body.hu[box][(r2 < 1) & labels_mask(body.labels[box], ("heart",))] = contrast(body, 165)


def _bowel(body: Body) -> None:
    low, high = np.array(T.BOWEL_LOW), np.array(T.BOWEL_HIGH)
    for i, place in enumerate(body.anatomy.loops):
        centre = low + place * (high - low)
        box, r2 = ellipsoid(body.space, centre, (19, 13, 15), turn=float(6 * place.sum()))
        where = body.cavity[box] & ~labels_mask(body.labels[box], ("liver", "heart"))
        fill(body, box, r2, "small_bowel", 75, where=where)
        body.hu[box][(r2 < 0.4) & where] = (15, 30, 15, -500)[i % 4]
    for i, (start, end, radius) in enumerate(T.COLON):
        box, r2 = capsule(body.space, start, end, radius * body.anatomy.stretches["colon"][0])
        fill(body, box, r2, "colon", 60, where=body.cavity[box] & ~labels_mask(body.labels[box], ("liver",)))
        inner = (r2 < 0.6) & labels_mask(body.labels[box], ("colon",))
        gas = body.space.y[box] < (start[1] + end[1]) / 2 + (-8 if i % 2 else 6)  # gas rises to the front
        body.hu[box][inner] = np.where(gas, -880, 25)[inner]


def _abdomen(body: Body, spleen: float) -> None:
    for name, hu, centre, radii, turn in T.ABDOMEN:
        factor = spleen if name == "spleen" else 1.0
        centre = np.add(centre, body.anatomy.shifts[name]) - np.array([16, 10, 26]) * (factor - 1) / 0.5
        radii = radii * body.anatomy.stretches[name] * factor
        free = body.below > 2
        if name.startswith("kidney"):
            box, r2 = ellipsoid(body.space, centre, radii + 9, turn=turn)
            fill(body, box, r2, "", T.FAT, where=~labels_mask(body.labels[box], ("liver", "spleen")) & free[box])
        box, r2 = ellipsoid(body.space, centre, radii, turn=turn)
        fill(body, box, r2, name, contrast(body, hu), where=body.cavity[box] & free[box])
        _fill_inside(body, name, centre, radii)
    for (start, r), (end, s) in zip(T.PANCREAS[:-1], T.PANCREAS[1:], strict=True):
        move = body.anatomy.shifts["pancreas"] * 0.7
        box, r2 = capsule(body.space, start + move, end + move, (r + s) / 2)
        free = ~labels_mask(body.labels[box], ("kidney_left", "kidney_right", "gallbladder"))
        fill(body, box, r2, "pancreas", contrast(body, 95), where=free)


def _fill_inside(body: Body, name: str, centre, radii) -> None:
    """What hollow organs hold: fluid and gas in the stomach, fat in the kidney's sinus."""
    if name == "stomach":
        box, r2 = ellipsoid(body.space, centre, radii * 0.84)
        inner = (r2 < 1) & labels_mask(body.labels[box], ("stomach",))
        body.hu[box][inner] = np.where(body.space.y[box] < centre[1] - 8, -930, 22)[inner]
    elif name.startswith("kidney"):
        towards_spine = centre - np.array([np.sign(centre[0]) * 13, 3, 0])
        box, r2 = ellipsoid(body.space, towards_spine, radii * (0.5, 0.3, 0.5))
        body.hu[box][(r2 < 1) & labels_mask(body.labels[box], (name,))] = -30


def _aorta(body: Body, changes: Changes) -> None:
    for (start, r), (end, s) in zip(T.AORTA[:-1], T.AORTA[1:], strict=True):
        fill(body, *capsule(body.space, start, end, (r + s) / 2), "aorta", contrast(body, T.BLOOD))
    if changes.aneurysm_mm:
        box, r2 = aneurysm_shape(body.space, changes.aneurysm_mm, changes.aneurysm_z_mm)
        fill(body, box, r2, "aorta", contrast(body, T.BLOOD))
        front = body.space.y[box] < aorta_at(changes.aneurysm_z_mm)[1] - 8
        body.hu[box][(r2 < 1) & (r2 > 0.55) & front] = 70  # thrombus


def aneurysm_shape(space: Space, diameter_mm: float, z_mm: float) -> tuple[Box, np.ndarray]:
    """Block and squared relative radius of the dilated stretch; it bulges to the front, away from the spine."""
    half = diameter_mm / 2
    return ellipsoid(space, aorta_at(z_mm) - np.array([0, half - 12, 0]), (half, half, half * 1.15))


def aorta_at(z_mm: float) -> np.ndarray:
    """Centre (x, y, z mm) of the descending aorta at a height."""
    down = np.array([point for point, _ in T.AORTA[5:]][::-1], float)
    return np.array([np.interp(z_mm, down[:, 2], down[:, 0]), np.interp(z_mm, down[:, 2], down[:, 1]), z_mm])
