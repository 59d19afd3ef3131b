"""How well masks agree: overlap, distance of the surfaces, and which lesions were touched. Geometry is MONAI's."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer

Masks = Bool[np.ndarray, "volume slice row column"]
Wanted = Bool[np.ndarray, "volume_2 slice_2 row_2 column_2"]  # refused in words where it is not of the same volumes
Spacing = tuple[float, float, float]  # mm between slices, rows, columns


def dice(predicted: Masks, truth: Wanted) -> Float[np.ndarray, " volume"]:
    """2 |P & T| / (|P| + |T|) of each volume; 1 where both are empty, 0 where one is."""
    from monai.metrics import compute_dice

    _check(predicted, truth)
    pair = (torch.from_numpy(m)[:, None].float() for m in (predicted, truth))
    return compute_dice(*pair, ignore_empty=False).numpy()[:, 0].astype(float)


def surface_distance_mm(predicted: Masks, truth: Wanted, *, spacing_mm: Spacing) -> Float[np.ndarray, " volume"]:
    """Mean distance of both masks' surface voxels from the other's surface; 0 where both masks are empty, NaN where one is."""
    from monai.metrics import compute_average_surface_distance

    _check(predicted, truth)
    found = np.full(len(truth), np.nan)
    found[~predicted.any((1, 2, 3)) & ~truth.any((1, 2, 3))] = 0
    both = predicted.any((1, 2, 3)) & truth.any((1, 2, 3))
    for i in np.flatnonzero(both):
        pair = (torch.from_numpy(m[i])[None, None] for m in (predicted, truth))
        found[i] = compute_average_surface_distance(*pair, include_background=True, symmetric=True, spacing=spacing_mm).item()
    return found


def touched(
    predicted: Masks, labels: Integer[np.ndarray, "volume_2 slice_2 row_2 column_2"]
) -> tuple[Bool[np.ndarray, " lesion"], Integer[np.ndarray, " lesion"]]:
    """Of each lesion, a label above 0 in a volume: whether any predicted voxel lies in it, and in which volume it is."""
    _check(predicted, labels)
    hit, where = [], []
    for i, (own, lesions) in enumerate(zip(predicted, labels, strict=True)):
        names = np.unique(lesions[lesions > 0])
        hit += np.isin(names, lesions[own]).tolist()
        where += [i] * len(names)
    return np.array(hit, bool), np.array(where, int)


def _check(predicted: np.ndarray, truth: np.ndarray) -> None:
    if predicted.shape != truth.shape:
        raise ValueError(
            f"the predicted masks are {predicted.shape}, the true ones {truth.shape}: the same volumes are needed of both"
        )
