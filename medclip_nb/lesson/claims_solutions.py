"""Solutions of the exercises of lesson 15."""

import numpy as np
from jaxtyping import Float

from ..measure import comparisons


def seed_reach(differences: Float[np.ndarray, " seed"]) -> float:
    """Half the width of Student's interval for the mean of a few differences."""
    low, high = comparisons.seed_interval(differences)
    return (high - low) / 2


def by_luck(n: int, confidence: float) -> float:
    """How many of n differences that are nothing hold all the same, on average."""
    return comparisons.by_luck(n, confidence=confidence)
