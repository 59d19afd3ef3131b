"""Draws lesions into a healthy head, inside the places that they are named by."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, UInt8

from .geometry import Sample, Where, middles
from .plans import Plan
from .vocabulary import LOOKS, NONE, OEDEMA, REGIONS, SYSTEMS, TISSUES

EDGE = 0.10  # softness of a lesion's border, relative to its radius
BUMPS, BUMP_SIZE = 8, 0.12  # waves that a border has, and their height
STRETCH = (0.8, 1.25)  # factors of a radius along the axes
JITTER = (0.94, 1.06)  # factor of a lesion's intensity
N_SPOTS, SPREAD = (2, 5), (0.5, 1.1, 0.5)  # of a confluent hyperintensity: fewest, one more than most; in radii
CSF, VENTRICLE, GREY, WHITE = (TISSUES.index(name) for name in ("csf", "ventricle", "grey", "white"))


@dataclass
class Scene:
    """The voxels of a head, flat; `image` and `labels` are what lesions are drawn into."""

    points: Where  # in the template
    sample: Sample  # of the template there
    tissue: Float32[np.ndarray, "voxel tissue"]  # the same with what atrophy has done to it
    image: Float32[np.ndarray, "voxel sequence"]
    labels: UInt8[np.ndarray, " voxel"]


class Drawn(NamedTuple):
    """A label of the mask and what it means."""

    label: int
    kind: str  # of KINDS, or OEDEMA
    plan: Plan


def draw(scene: Scene, plans: list[Plan], before: Float32[np.ndarray, "voxel tissue"]) -> list[Drawn]:
    """Paints all focal lesions and labels them, and the fluid of wide ventricles and sulci (`before`: tissue without them)."""
    drawn = []
    for plan in plans:
        made = _fluid(scene, plan, before) if plan.kind in SYSTEMS else _paint(scene, plan)
        for kind, voxels in made.items():
            drawn.append(Drawn(len(drawn) + 1, kind, plan))
            scene.labels[voxels] = drawn[-1].label
    return drawn


def _fluid(scene: Scene, plan: Plan, before: Float32[np.ndarray, "voxel tissue"]) -> dict[str, Int[np.ndarray, " _"]]:
    """Wide ventricles are labelled whole, sulci where they are wider than `before`."""
    wide = scene.tissue[:, VENTRICLE] > 0.5
    if plan.kind == "atrophy":
        wide = (scene.tissue[:, CSF] > 0.5) & (scene.tissue[:, CSF] - before[:, CSF] > 0.1)
    return {plan.kind: np.flatnonzero(wide)}


def _paint(scene: Scene, plan: Plan) -> dict[str, Int[np.ndarray, " _"]]:
    """Paints one lesion; gives the voxels of its labels: core and rim are one, but a tumour and its oedema are two."""
    rng = np.random.default_rng(plan.key)
    near, distance = _distances(scene, plan, rng)
    look, belongs = LOOKS[plan.look], _membership(scene, plan, near)
    solid = 1 - scene.tissue[near, CSF] - scene.tissue[near, VENTRICLE]
    core = _rise(1 - distance) * solid * belongs
    outer = _rise(1 + look.get("rim_mm", 0.0) / plan.radius_mm - distance)
    if plan.kind == "tumour":  # its oedema follows white matter, beyond the place too
        outer *= np.clip(0.25 * scene.tissue[near, GREY] + 1.1 * scene.tissue[near, WHITE], 0, 1)
    else:
        outer *= solid * belongs
    rim = np.maximum(outer - core, 0)
    _mix(scene, near, rim, np.float32(look.get("rim", NONE)) * rng.uniform(*JITTER))
    grain = np.sqrt(2 / BUMPS) * _waves(scene.points[near], 0.2, rng)[:, None] * np.float32(look.get("uneven", NONE))
    _mix(scene, near, core / np.maximum(1 - rim, 1e-3), np.maximum(np.float32(look["core"]) * rng.uniform(*JITTER) + grain, 0.05))
    if plan.kind == "tumour":
        return {OEDEMA: near[(rim > 0.5) & (core <= 0.5)], plan.kind: near[core > 0.5]}
    return {plan.kind: near[core + rim > 0.5]}


def _distances(scene: Scene, plan: Plan, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the voxels near a lesion, and their bumpy distance from its spots (1 is the border)."""
    spots = [(middle, plan.radius_mm) for middle in middles(plan)]
    if plan.kind.startswith("white"):
        spots = [spot for middle, radius in spots for spot in _confluent(middle, radius, rng)]
    reach = [(abs(scene.points - middle) < 1.9 * radius + 14).all(1) for middle, radius in spots]
    near = np.flatnonzero(np.logical_or.reduce(reach))
    return near, np.min([_distance(scene.points[near], *spot, rng) for spot in spots], axis=0)


def _confluent(middle: Float32[np.ndarray, "3"], radius_mm: float, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """Several spots that flow together, the first one in the middle."""
    steps = rng.normal(0, SPREAD, (rng.integers(*N_SPOTS), 3)) * radius_mm
    steps[0] = 0
    return [(middle + step.astype(np.float32), radius_mm * rng.uniform(0.6, 0.85)) for step in steps]


def _distance(points: Where, middle, radius_mm: float, rng: np.random.Generator) -> Float32[np.ndarray, " n"]:
    at = (points - middle) / (radius_mm * rng.uniform(*STRETCH, 3)).astype(np.float32)
    return np.sqrt(np.einsum("ij,ij->i", at, at)) + np.float32(BUMP_SIZE) * _waves(at, 1.5, rng)


def _waves(at: Where, frequency: float, rng: np.random.Generator) -> Float32[np.ndarray, " n"]:
    """Sum of BUMPS random waves, each of height 1."""
    steepness = rng.normal(0, frequency, (3, BUMPS)).astype(np.float32)
    return np.cos(at @ steepness + rng.uniform(0, 2 * np.pi, BUMPS).astype(np.float32)).sum(1)


def _membership(scene: Scene, plan: Plan, near: Int[np.ndarray, " near"]) -> Float32[np.ndarray, " near"]:
    """Share of each voxel that belongs to the lesion's place."""
    belongs = np.zeros(256, np.float32)
    belongs[[REGIONS[f"{side} {plan.place}"] for side in plan.sides]] = 1
    return np.einsum("cn,cn->n", belongs[scene.sample.labels[:, near]], scene.sample.weights[:, near])


def _rise(value: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    return 1 / (1 + np.exp(-np.clip(value / np.float32(EDGE), -30, 30)))


def _mix(scene: Scene, near: Int[np.ndarray, " near"], share: Float32[np.ndarray, " near"], value) -> None:
    """Replaces that share of the voxels' intensity."""
    scene.image[near] += np.clip(share, 0, 1)[:, None] * (value - scene.image[near])
