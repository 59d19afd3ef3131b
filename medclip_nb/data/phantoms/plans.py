"""Draws by chance which abnormalities a patient has, and how they change from one visit to the next."""

from dataclasses import dataclass, replace

import numpy as np

from .organs import Changes
from .vocabulary import KINDS, SIDED, SIDES, Kind, kind_of

N_TRIES = 6  # places drawn for each spot, in case the first are taken
HEALTHY_SHARE = 0.15  # patients without any finding
BILATERAL_SHARE = 0.8  # of emphysema
FEWEST = {"metastases": 2, "calcification": 3}  # spots; one of anything else
STAY_SHARE, NEW_SHARE = 0.85, 0.15  # from one visit to the next
GROWTH = (0.85, 1.3)  # factor of the size
NORMAL_HEART_MM, NORMAL_SPLEEN_MM = 112.0, 105.0  # widest and upright diameter of the table's organs
ABDOMINAL_SHARE = 0.7  # of aneurysms


@dataclass(frozen=True)
class Plan:
    """One abnormality as drawn by chance, before it is known whether it fits."""

    organ: str  # of ORGAN_GROUPS
    finding: str
    size_mm: float
    severity: float  # 0..1
    spots: np.ndarray  # (spot, try, zyx) in 0..1, relative to the organ's box

    @property
    def kind(self) -> Kind:
        """What all of its kind have in common."""
        return KINDS[kind_of(self.organ), self.finding]


def draw_plans(rng: np.random.Generator) -> list[Plan]:
    """One patient's abnormalities by chance; emphysema is mostly on both sides."""
    healthy = rng.random() < HEALTHY_SHARE
    plans = []
    for (organ, finding), kind in KINDS.items():
        has = rng.random(2) < kind.rate
        if finding == "emphysema":
            has[1] = has[0] if rng.random() < BILATERAL_SHARE else has[1]
        for name, present in zip([f"{organ}_{s}" for s in SIDES] if organ in SIDED else [organ], has, strict=False):
            plan = draw_plan(rng, name, finding)  # always drawn, so that one finding does not move the next
            plans += [plan] if present and not healthy else []
    return plans


def draw_plan(rng: np.random.Generator, organ: str, finding: str) -> Plan:
    """Size, severity and places of one abnormality by chance."""
    kind = KINDS[kind_of(organ), finding]
    low, high = kind.size_mm
    few = FEWEST.get(finding, 1)
    count = rng.integers(few, kind.max_count + 1) if rng.random() < 0.5 else few
    return Plan(organ, finding, rng.uniform(low, high), rng.random(), rng.uniform(0.05, 0.95, (count, N_TRIES, 3)))


def follow_up(rng: np.random.Generator, plans: list[Plan]) -> list[Plan]:
    """The same patient later: most findings stay, somewhat larger or smaller; some are gone, a few are new."""
    keep = rng.random(len(plans)) < STAY_SHARE
    growth = rng.uniform(*GROWTH, len(plans))
    sizes = [float(np.clip(p.size_mm * g, *p.kind.size_mm)) for p, g in zip(plans, growth, strict=True)]
    old = [replace(p, size_mm=mm) for p, mm, k in zip(plans, sizes, keep, strict=True) if k]
    known = {(p.organ, p.finding) for p in plans}
    new = [p for p in draw_plans(rng) if (p.organ, p.finding) not in known and rng.random() < NEW_SHARE]
    order = list(KINDS)
    return sorted(old + new, key=lambda p: order.index((kind_of(p.organ), p.finding)))


def shape_changes(plans: list[Plan]) -> Changes:
    """What diseases of whole organs do to the shape of the body."""
    changes = Changes()
    for plan in plans:
        if plan.finding == "cardiomegaly":
            changes = replace(changes, heart=plan.size_mm / NORMAL_HEART_MM)
        elif plan.finding == "splenomegaly":
            changes = replace(changes, spleen=plan.size_mm / NORMAL_SPLEEN_MM)
        elif plan.finding == "aneurysm":
            changes = replace(changes, aneurysm_mm=plan.size_mm, aneurysm_z_mm=aneurysm_level(plan)[1])
    return changes


def aneurysm_level(plan: Plan) -> tuple[str, float]:
    """ "abdominal" or "thoracic", and the height (z, mm) of an aneurysm's middle."""
    name, low = ("abdominal", 205.0) if plan.severity < ABDOMINAL_SHARE else ("thoracic", 355.0)
    return name, low + 20 * plan.spots[0, 0, 0]
