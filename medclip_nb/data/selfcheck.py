"""Is an image what its table says? Raw values, HU and HU rescaled twice are told apart; a mirrored axis is named."""

import numpy as np
from jaxtyping import Float, Shaped, UInt8

SOFT_HU = (-150.0, 200.0)  # fat, water, muscle, enhanced organs: every CT of a body holds many such voxels
RESCALE_HU = 1024.0  # what is added to HU to store them without a sign, give or take 24
MANY, HARDLY_ANY = 0.03, 0.005  # shares of all voxels
N_VOXELS = 100_000  # looked at, evenly spread: enough for a share
GRID = (4, 8, 8)  # slices, rows, columns of the map that orientation is judged by
AXES = ("up and down", "front and back", "left and right")
MIRRORED_BELOW = -0.4  # correlation of what differs between the two sides: 1 is as in training, -1 exactly mirrored
SIDES = (("lung_left", "lung_right"), ("kidney_left", "kidney_right"), ("spleen", "liver"))  # in the patient: left, right
SWAPPED = 0.1  # of the image's width that the left one must lie right of the right one: less may be a cut or a tumour

WHY = {
    "raw": "stored values that were never turned into HU: soft tissue lies near 1024 instead of 0; apply the rescale slope and "
    "intercept once",
    "rescaled twice": "HU that were rescaled a second time: soft tissue lies near -1024 instead of 0; apply the intercept once",
}


def hu_state(array: Shaped[np.ndarray, "*axes"]) -> str:
    """ "HU", "raw" (never rescaled), "rescaled twice", "windowed" (0 to 255 for display) or "unknown".

    Judged by where soft tissue lies. Raw values have it near 1024 and nothing below 0; rescaled twice it lies near -1024,
    with air far below and next to nothing around 0.
    """
    some = array.ravel()[:: max(1, array.size // N_VOXELS)]
    if some.size == 0 or some.max() == some.min():
        return "unknown"
    if some.min() >= 0 and some.max() <= 255:
        return "windowed"
    share = lambda low, high: float(np.mean((some >= low) & (some <= high)))  # noqa: E731
    low, high = SOFT_HU
    at_zero, below, above = (share(low + shift, high + shift) for shift in (0, -RESCALE_HU, RESCALE_HU))
    if above > MANY and share(-1.4 * RESCALE_HU, -50) < HARDLY_ANY:
        return "raw"
    if below > MANY and share(-3 * RESCALE_HU, -1200) > MANY and at_zero < below / 10:
        return "rescaled twice"
    return "HU" if at_zero > MANY else "unknown"


def small_map(images: UInt8[np.ndarray, "n channel slice row column"]) -> Float[np.ndarray, "channel z y x"]:
    """The average image on a grid of at most 4 x 8 x 8 cells: enough to see which side is which."""
    import torch
    from torch.nn.functional import adaptive_avg_pool3d

    mean = torch.from_numpy(images.mean(0, dtype=np.float32))
    grid = [min(g, n) for g, n in zip(GRID, mean.shape[1:], strict=True)]
    return adaptive_avg_pool3d(mean, grid).numpy()


def flipped_axis(seen: Float[np.ndarray, "channel z y x"], reference: Float[np.ndarray, "channel z y x"]) -> str:
    """The axis along which `seen` is mirrored against `reference`: one of AXES, "" if none.

    Both are maps of `small_map` in the same orientation. What both sides have in common says nothing, so only the difference
    between an image and its mirror image is compared: a symmetric body gives no answer.
    """
    sides = {name: _correlation(*(m - np.flip(m, axis) for m in (seen, reference))) for axis, name in enumerate(AXES, start=1)}
    worst = min(sides, key=sides.get)
    return worst if sides[worst] < MIRRORED_BELOW else ""


def swapped_sides(labels: UInt8[np.ndarray, "slice row column"], names: tuple[str, ...]) -> list[str]:
    """What to tell of organs that lie on each other's side; labels are 1 + index into `names`, in the LPS view."""
    there = [pair for pair in SIDES if set(pair) <= set(names)]
    columns = {name: np.flatnonzero((labels == names.index(name) + 1).any((0, 1))) for pair in there for name in pair}
    wrong = [
        (left, right)
        for left, right in there
        if len(columns[left]) and len(columns[right])
        if columns[right].mean() - columns[left].mean() > SWAPPED * labels.shape[2]
    ]
    return [
        f"{left} lies to the right of {right}: mask or image is mirrored, or the patient's organs are" for left, right in wrong
    ]


def check_first_batch(
    images: UInt8[np.ndarray, "n channel slice row column"], reference: Float[np.ndarray, "trained z y x"]
) -> None:
    """Raises ValueError if a batch is of another shape than the images a model was trained on, or mirrored against them."""
    seen = small_map(images)
    if seen.shape != reference.shape:
        raise ValueError(f"the batch has channels and grid {seen.shape}, the model was trained on {reference.shape}")
    axis = flipped_axis(seen, reference)
    if axis:
        raise ValueError(f"the first batch is mirrored {axis} against the training images; check the orientation in its files")


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
