"""One MR examination of a head: everything in it follows from the number of its patient and visit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from ..study import AGES, Visit
from .geometry import FIELD_MM, nearest, place_head, pushed, sample, shrunk, widened
from .lesions import Scene, draw
from .plans import Plan, draw_plans, follow_up
from .sequences import SCANNERS, draw_contrast, scan
from .template import template
from .truth import describe
from .vocabulary import SEQUENCES, SYSTEMS


@dataclass(frozen=True)
class Study:
    """One synthetic examination with its truth."""

    images: UInt8[np.ndarray, "sequence slice row column"]  # in the order of SEQUENCES
    regions: UInt8[np.ndarray, "slice row column"]  # labels of REGIONS
    lesions: UInt8[np.ndarray, "slice row column"]  # labels of the findings, seen on this sequence or another
    findings: dict[str, list[dict]]  # sequence -> what can be seen on it
    points_mm: Float32[np.ndarray, "slice row column 3"]  # where in the template (MNI x, y, z) each voxel lies
    spacing_mm: tuple[float, float, float]  # slice, row, column
    scanner: str
    age: int
    sex: str


def visit_plans(visit: Visit) -> list[Plan]:
    """The lesions at this visit: the patient's history up to it."""
    plans = draw_plans(visit.rng(21))
    for k in range(1, visit.visit + 1):
        plans = follow_up(visit.rng(22, k), plans)
    return plans


def make_study(visit: Visit, size: tuple[int, int, int], *, plans: list[Plan] | None = None) -> Study:
    """Draws one examination from its number alone, with the lesions of its patient or with others."""
    plans = visit_plans(visit) if plans is None else plans
    scanner = SCANNERS[visit.rng(23, visit.visit).integers(len(SCANNERS))]
    contrast = draw_contrast(visit.rng(26, visit.visit), scanner)
    points, before = _shaped(place_head(visit.rng(24), visit.rng(25, visit.visit), size), plans)
    region = template().region[nearest(points)]
    head = np.flatnonzero(region)
    scene, plain = _healthy(points[head], before[head], contrast, plans)
    spacing = tuple(mm / n for mm, n in zip(FIELD_MM, size, strict=True))
    findings = _draw(scene, plain, contrast, plans, voxel_mm3=float(np.prod(spacing)))
    image, lesions = (_spread(values, head, len(points)) for values in (scene.image, scene.labels))
    images = scan(image, size, scanner, visit.rng(27, visit.visit))
    who = visit.rng(20)
    sex, age = "FM"[who.integers(2)], int(who.integers(*AGES)) + visit.visit
    volumes = region.reshape(size), lesions.reshape(size), findings, points.reshape(*size, 3)
    return Study(images, *volumes, spacing, scanner.name, age, sex)


def _shaped(points: np.ndarray, plans: list[Plan]) -> tuple[np.ndarray, np.ndarray]:
    """Template points of the voxels with what lesions do to the shape of the head, and the same without wide ventricles."""
    for plan in (p for p in plans if p.kind == "tumour"):
        points = pushed(points, plan)
    wide = [p.severity for p in plans if p.kind == "wide ventricles"]
    return (widened(points, wide[0]) if wide else points), points


def _healthy(points: np.ndarray, before: np.ndarray, contrast: np.ndarray, plans: list[Plan]) -> tuple[Scene, np.ndarray]:
    """The head without focal lesions, and its tissue without wide ventricles and sulci either."""
    here, shrinks = sample(points), [p.severity for p in plans if p.kind == "atrophy"]
    plain = sample(before).tissue if any(p.kind == "wide ventricles" for p in plans) else here.tissue
    tissue = shrunk(here.tissue, shrinks[0]) if shrinks else here.tissue
    return Scene(points, here, tissue, tissue @ contrast, np.zeros(len(points), np.uint8)), plain


def _draw(scene: Scene, plain: np.ndarray, contrast: np.ndarray, plans: list[Plan], *, voxel_mm3: float) -> dict[str, list[dict]]:
    """Paints the lesions; sequence -> what can be seen on it. Labels of what is seen nowhere leave the mask."""
    without, found = {False: scene.image.copy(), True: plain @ contrast}, {name: [] for name in SEQUENCES}
    for drawn in draw(scene, plans, plain):
        at = np.flatnonzero(scene.labels == drawn.label)
        difference = scene.image[at] - without[drawn.kind in SYSTEMS][at]
        shown = describe(drawn, difference, scene.points[at, 0] < 0, voxel_mm3)
        for name, finding in shown.items():
            found[name].append(finding)
        if not shown:
            scene.labels[at] = 0
    return found


def _spread(values: np.ndarray, head: np.ndarray, n: int) -> np.ndarray:
    """Values of the head's voxels among all voxels; air is 0."""
    full = np.zeros((n, *values.shape[1:]), values.dtype)
    full[head] = values
    return full
