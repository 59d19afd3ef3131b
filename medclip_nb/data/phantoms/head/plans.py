"""Draws by chance which lesions a patient has, and what becomes of them until the next visit."""

from dataclasses import dataclass, replace

import numpy as np

from .vocabulary import BILATERAL, BOTH, KINDS, LARGEST_MM, ONCE, SIDES, STAGES, SYSTEMS

N_LESIONS = (0.16, 0.34, 0.27, 0.15, 0.08)  # shares of patients with none, one, two, ...
STAY_SHARE, NEW_SHARE = 0.9, 0.2  # from one visit to the next
GROWTH = (0.9, 1.2)  # factor of the radius
AGES_SHARE = 0.5  # of acute infarcts are old ones at the next visit
BILATERAL_SHARE = 0.4  # of hyperintensities where BILATERAL allows it
N_TRIES = 20  # to find a kind and a place that are still free


@dataclass(frozen=True)
class Plan:
    """One lesion as drawn by chance, before it is known what of it can be seen."""

    kind: str  # of KINDS
    place: str  # of PLACES; a location of SYSTEMS where there is no side
    side: str  # "left", "right", "bilateral" or ""
    radius_mm: float
    severity: float  # 0..1
    look: str  # of LOOKS; "" for the kinds of SYSTEMS
    key: int  # of the lesion's own chance: where exactly, which shape

    @property
    def sides(self) -> tuple[str, ...]:
        """Each of its sides."""
        return SIDES if self.side == BOTH else (self.side,)


def draw_plan(rng: np.random.Generator) -> Plan:
    """Kind, place and size of one lesion."""
    weights = np.array([about["weight"] for about in KINDS.values()])
    kind = list(KINDS)[rng.choice(len(KINDS), p=weights / weights.sum())]
    severity, key = rng.random(), int(rng.integers(2**31))
    if kind in SYSTEMS:
        return Plan(kind, SYSTEMS[kind], "", 0.0, severity, "", key)
    places = KINDS[kind]["places"]
    place, side = places[rng.integers(len(places))], SIDES[rng.integers(2)]
    if kind.startswith("white") and place in BILATERAL and rng.random() < BILATERAL_SHARE:
        side = BOTH
    radius = float(np.exp(rng.uniform(*np.log(KINDS[kind]["radius_mm"]))))
    look = STAGES[rng.integers(len(STAGES))] if kind == "haemorrhage" else kind
    return Plan(kind, place, side, min(radius, LARGEST_MM.get(place, radius)), severity, look, key)


def draw_plans(rng: np.random.Generator) -> list[Plan]:
    """One patient's lesions at the first visit, in the order in which they are drawn."""
    plans = []
    for _ in range(rng.choice(len(N_LESIONS), p=N_LESIONS)):
        plans = add_plan(plans, rng)
    return plans


def add_plan(plans: list[Plan], rng: np.random.Generator) -> list[Plan]:
    """The plans and one more, at a place that none of them has; without it where none is found."""
    for _ in range(N_TRIES):
        new = draw_plan(rng)
        taken = any(new.place == p.place and set(new.sides) & set(p.sides) for p in plans)
        if not taken and not (new.kind in ONCE and new.kind in [p.kind for p in plans]):
            return in_order([*plans, new])
    return plans


def follow_up(rng: np.random.Generator, plans: list[Plan]) -> list[Plan]:
    """The same patient later: most lesions stay at their places, acute infarcts grow old, now and then one is new."""
    kept = [p for p in plans if rng.random() < STAY_SHARE]
    later = [replace(p, radius_mm=p.radius_mm * rng.uniform(*GROWTH)) for p in kept]
    later = [aged(p) if rng.random() < AGES_SHARE else p for p in later]
    return add_plan(later, rng) if rng.random() < NEW_SHARE else in_order(later)


def aged(plan: Plan) -> Plan:
    """An acute infarct as an old one; everything else as it was."""
    may = plan.kind == "acute infarct" and plan.place in KINDS["old infarct"]["places"]
    return replace(plan, kind="old infarct", look="old infarct") if may else plan


def in_order(plans: list[Plan]) -> list[Plan]:
    """Plans in the order of KINDS: what changes the shape of the head first."""
    return sorted(plans, key=lambda p: list(KINDS).index(p.kind))
