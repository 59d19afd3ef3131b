"""Names of places inside an organ, as a radiologist says them, from where a voxel lies."""

import numpy as np

from .body import Body
from .vocabulary import ORGAN_NAMES, group_mask, kind_of

THORACIC_MM = 290.0  # the aorta above this height is thoracic


def place_name(body: Body, organ: str, voxel) -> str:
    """ "upper lobe", "segment VII", "lower pole", "head" ...; empty where the organ has no named parts."""
    namers = {"lung": _lobe, "liver": _segment, "kidney": _pole, "pancreas": _part, "aorta": _level}
    namer = namers.get(kind_of(organ))
    return namer(body, organ, tuple(int(v) for v in voxel)) if namer else ""


def _xyz(body: Body, voxel) -> tuple[float, float, float]:
    return tuple(float(c[voxel]) for c in (body.space.x, body.space.y, body.space.z))


def _lobe(body: Body, organ: str, voxel) -> str:
    label = int(body.labels[voxel])
    return " ".join(ORGAN_NAMES[label - 1].split("_")[1:3]) if 1 <= label <= 5 else ""


def _segment(body: Body, organ: str, voxel) -> str:
    """Couinaud's segments, roughly: by side, front or back, above or below the portal vein."""
    x, y, z = _xyz(body, voxel)
    if x > -4:
        return "segment II" if z > 305 else "segment III"
    if x > -34:
        return "segment IV"
    upper, lower = ("segment VIII", "segment V") if y < -4 else ("segment VII", "segment VI")
    return upper if z > 284 else lower


def _pole(body: Body, organ: str, voxel) -> str:
    slices = np.flatnonzero(group_mask(body.labels, organ).any((1, 2)))
    height = (voxel[0] - slices[0] + 0.5) / len(slices) if len(slices) else 0.5
    return ("lower pole", "interpolar region", "upper pole")[int(np.clip(height * 3, 0, 2))]


def _part(body: Body, organ: str, voxel) -> str:
    x = _xyz(body, voxel)[0]
    return "head" if x < -4 else "body" if x < 44 else "tail"


def _level(body: Body, organ: str, voxel) -> str:
    return "thoracic" if _xyz(body, voxel)[2] > THORACIC_MM else "abdominal"
