"""From tissue to images: contrast, uneven coils, blur and noise of one of three fictional MR scanners."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from .geometry import smooth_noise
from .vocabulary import CONTRAST, SEQUENCES, TISSUES

BRAIN = [TISSUES.index(name) for name in ("grey", "white")]
CONTRAST_SD = 0.02  # of a tissue, drawn for each study and sequence
BIAS_KNOTS = (3, 4, 4)
SLICE_SD = 0.015  # of the gain from slice to slice
NOISE_FACTOR = (1.0, 1.0, 1.1, 1.5)  # of each sequence
BLUR_PX = {"DWI": 0.45}  # in plane: echo-planar images are coarser
GAIN = (90.0, 180.0)  # grey levels per unit of CONTRAST: MR has no fixed scale


@dataclass(frozen=True)
class Scanner:
    """How one machine shows the same head."""

    name: str
    noise: float  # standard deviation, in units of CONTRAST
    bias: float  # standard deviation of the logarithm of the coils' sensitivity
    contrast: float  # between grey and white matter, against the table's


SCANNERS = (
    Scanner("Dorado 1.5T", 0.022, 0.08, 0.92),
    Scanner("Electra 3T", 0.012, 0.15, 1.10),
    Scanner("Fornax 1.5T", 0.016, 0.06, 1.00),
)


def draw_contrast(rng: np.random.Generator, scanner: Scanner) -> Float32[np.ndarray, "tissue sequence"]:
    """Intensity of each tissue on each sequence for one examination."""
    table = np.array(list(CONTRAST.values()))
    middle = table[BRAIN].mean(0)
    table[BRAIN] = middle + scanner.contrast * (table[BRAIN] - middle)
    table[:-1] = np.maximum(table[:-1] + rng.normal(0, CONTRAST_SD, table[:-1].shape), 0.02)  # texture stays as it is
    return table.astype(np.float32)


def scan(
    image: Float32[np.ndarray, "voxel sequence"], size: tuple[int, int, int], scanner: Scanner, rng: np.random.Generator
) -> UInt8[np.ndarray, "sequence slice row column"]:
    """The images in grey levels: with coil sensitivity, blur, Rician noise and a scale of their own."""
    from scipy.ndimage import gaussian_filter

    coils = np.exp(np.float32(scanner.bias) * smooth_noise(rng, BIAS_KNOTS, size, len(SEQUENCES)))
    volumes = np.maximum(image * coils, 0).T.reshape(len(SEQUENCES), *size)
    volumes *= rng.normal(1, SLICE_SD, (len(SEQUENCES), size[0], 1, 1)).astype(np.float32)
    for name, px in BLUR_PX.items():
        at = SEQUENCES.index(name)
        volumes[at] = gaussian_filter(volumes[at], (0, px, px), mode="nearest", truncate=3)
    noise = rng.standard_normal(volumes.shape, np.float32)
    noise *= np.float32(scanner.noise) * np.float32(NOISE_FACTOR)[:, None, None, None]
    volumes = np.sqrt((volumes + noise) ** 2 + noise[::-1] ** 2)  # imaginary part: another sequence's noise, half as much to draw
    gain = rng.uniform(*GAIN, (len(SEQUENCES), 1, 1, 1)).astype(np.float32)
    return np.minimum(np.rint(volumes * gain), 255).astype(np.uint8)
