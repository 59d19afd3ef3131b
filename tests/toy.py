"""Things made up for tests: volumes on disk, pictures, and units whose text names their pattern."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from PIL import Image as Picture

from medclip_nb.config import RECIPES
from medclip_nb.data.studies import Units
from medclip_nb.learn.pairs import ImagePairs, VolumePairs
from medclip_nb.model.text_tower import TEXT_DIM

SPACING_MM = (5.0, 2.0, 1.0)  # slice, row, column


def lps_volume(seed: int = 0) -> np.ndarray:
    """(slice, row, column), radiological view, whole numbers of HU."""
    return np.random.default_rng(seed).integers(-1000, 1000, (6, 10, 8)).astype(np.float32)


def write_nifti(path: Path, volume: np.ndarray, order: str = "LPS") -> Path:
    """Writes an LPS volume in another order of axes, array and affine turned by hand."""
    xyz = volume.transpose(2, 1, 0)  # grows to left, posterior, superior
    dz, dy, dx = SPACING_MM
    arrays = {"LPS": xyz, "RAS": xyz[::-1, ::-1], "PIR": xyz.transpose(1, 2, 0)[:, ::-1, ::-1]}
    steps = {
        "LPS": [[-dx, 0, 0], [0, -dy, 0], [0, 0, dz]],
        "RAS": [[dx, 0, 0], [0, dy, 0], [0, 0, dz]],
        "PIR": [[0, 0, dx], [-dy, 0, 0], [0, -dz, 0]],
    }
    affine = np.eye(4)
    affine[:3, :3] = steps[order]
    nib.save(nib.Nifti1Image(np.ascontiguousarray(arrays[order]), affine), path)
    return path


def write_picture(path: Path, array: np.ndarray) -> Path:
    """Saves an array as whatever the suffix says."""
    Picture.fromarray(array).save(path)
    return path


def unit_vectors(n: int, dim: int, seed: int = 0) -> np.ndarray:
    """Random directions, float32."""
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def toy_units(n: int = 16, *, splits: tuple[str, ...] = ("train", "val"), side: int = 32) -> Units:
    """`n` different patterns in each split, a patient per unit; the same patterns and texts in every split."""
    place = np.tile(np.arange(n), len(splits))
    coarse = np.random.default_rng(0).integers(0, 255, (n, 1, 1, 4, 4), np.uint8)
    images = np.kron(coarse, np.ones((1, 1, 1, side // 4, side // 4), np.uint8))[place]
    table = pd.DataFrame({"image": np.arange(len(place)), "text_id": place, "finding": "", "split": np.repeat(splits, n)})
    table["patient_id"] = table["study_id"] = [f"{s}{i}" for s, i in zip(table["split"], place, strict=True)]
    table = table.assign(modality="CT", body_part="chest", scanner="A")
    return Units(images, [f"pattern {i}" for i in range(n)], table)


def toy_features(n: int = 16) -> torch.Tensor:
    """Stand-ins for the frozen text tower's features."""
    return torch.from_numpy(unit_vectors(n, TEXT_DIM))


def toy_pairs(n: int = 16, *, recipe: str = "clip", splits: tuple[str, ...] = ("train", "val")) -> ImagePairs:
    """`toy_units` with their features, ready to be trained on."""
    return ImagePairs(toy_units(n, splits=splits), toy_features(n), RECIPES[recipe])


def toy_volumes(n: int = 96, *, kinds: int = 4, n_slices: int = 6, dim: int = 128) -> VolumePairs:
    """Slice embeddings of volumes, random but for one slice, which points where the volume's one sentence says it should.

    A third of them each is for training, validation and test; a share of the slices is padding, with garbage in it.
    """
    rng = np.random.default_rng(0)
    kind, special = np.arange(n) % kinds, rng.integers(0, n_slices - 2, n)
    slices = rng.normal(size=(n, n_slices, dim)) / np.sqrt(dim)
    slices[np.arange(n), special] += 3 * unit_vectors(kinds, dim)[kind]
    slices = torch.from_numpy(slices / np.linalg.norm(slices, axis=2, keepdims=True)).float()
    mask = torch.arange(n_slices) < torch.from_numpy(rng.integers(n_slices - 2, n_slices + 1, (n, 1)))
    position_mm = 5.0 * torch.arange(n_slices).expand(n, -1)
    names = [f"v{i}" for i in range(n)]
    table = pd.DataFrame({"study_id": names, "patient_id": names, "split": np.repeat(["train", "val", "test"], n // 3)})
    return VolumePairs((slices, mask, position_mm), [np.array([k]) for k in kind], toy_features(kinds), table)
