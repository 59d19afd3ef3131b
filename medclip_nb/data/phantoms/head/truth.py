"""What of the drawn lesions can be seen on each sequence: compared voxel by voxel with the same head without them."""

import numpy as np
from jaxtyping import Bool, Float32

from .lesions import Drawn
from .vocabulary import BOTH, OEDEMA, SEQUENCES

VISIBLE = 0.08  # a voxel shows a lesion if it differs so much from the same head without it (units of CONTRAST)
MIN_VISIBLE = 6  # voxels, and
MIN_SHARE = 0.2  # of a lesion's voxels: with fewer of them on a sequence, it is not in that sequence's report
MIXED = 0.25  # with such a share of the visible voxels darker, and such a share brighter, the signal is mixed
SMALL_MM, LARGE_MM = 13.0, 25.0  # lesions below are "punctate", above "large"
SIGNALS = {"wide ventricles": "enlargement", "atrophy": "widening"}
SHAPES = {"tumour": "mass-like", OEDEMA: "surrounding"}


def describe(
    drawn: Drawn, difference: Float32[np.ndarray, "voxel sequence"], left: Bool[np.ndarray, " voxel"], voxel_mm3: float
) -> dict[str, dict]:
    """Sequence -> the finding, where it can be seen.

    `difference` is what the lesion's voxels have more than the same head without it has there; `left` says on which side they
    are. A finding's size is the diameter of a ball of its volume (mm), of half of it if it is on both sides; what has no side
    has no size.
    """
    plan, found = drawn.plan, {}
    for name, (tone, n) in seen(difference).items():
        side = _side(plan.side, left[abs(difference[:, SEQUENCES.index(name)]) > VISIBLE])
        size_mm = _diameter(len(difference) * voxel_mm3 / (1 + (side == BOTH))) if side else 0.0
        found[name] = {
            "location": f"{side} {plan.place}".strip(), "place": plan.place, "side": side, "kind": drawn.kind,
            "signal": _signal(drawn.kind, tone, size_mm), "label": drawn.label, "size_mm": size_mm, "n_voxels": n,
        }  # fmt: skip
    return found


def seen(difference: Float32[np.ndarray, "voxel sequence"]) -> dict[str, tuple[str, int]]:
    """Sequence -> "high", "low" or "mixed" and the number of visible voxels, where there are enough."""
    brighter, darker = (difference > VISIBLE).sum(0), (difference < -VISIBLE).sum(0)
    found = {}
    for name, up, down in zip(SEQUENCES, brighter, darker, strict=True):
        n = int(up + down)
        if n >= max(MIN_VISIBLE, MIN_SHARE * len(difference)):
            found[name] = ("mixed" if min(up, down) >= MIXED * n else "high" if up > down else "low", n)
    return found


def structured(findings: list[dict]) -> list[tuple[str, str]]:
    """(location, signal) of each finding, as SeLIP compares them."""
    return [(f["location"], f["signal"]) for f in findings]


def _side(planned: str, left: Bool[np.ndarray, " visible"]) -> str:
    """Both sides only where both can be seen."""
    n_left, n_right = int(left.sum()), int((~left).sum())
    if planned != BOTH or min(n_left, n_right) >= MIN_VISIBLE:
        return planned
    return "left" if n_left > n_right else "right"


def _diameter(mm3: float) -> float:
    return round(float((6 * mm3 / np.pi) ** (1 / 3)), 1)


def _signal(kind: str, tone: str, size_mm: float) -> str:
    """Shape and signal, in SeLIP's way."""
    shape = SHAPES.get(kind) or ("large" if size_mm > LARGE_MM else "punctate" if size_mm < SMALL_MM else "patchy")
    return SIGNALS.get(kind, f"{shape} {tone} signal")
