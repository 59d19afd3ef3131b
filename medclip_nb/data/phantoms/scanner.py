"""From a body to an image: organ texture, blur and noise of one of three fictional scanners."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from . import torso_table as T
from .body import Body
from .vocabulary import ORGANS

# standard deviation (HU) of an organ's own texture; everything else has the first
TEXTURE_HU = {"": 6.0, "liver": 5.0, "spleen": 4.0, "pancreas": 9.0, "heart": 4.0, "aorta": 2.0, "colon": 25.0,
              "gallbladder": 2.0, "urinary_bladder": 2.0, "vertebrae": 45.0, "hip_left": 45.0, "hip_right": 45.0,
              "sacrum": 45.0} | dict.fromkeys(tuple(ORGANS)[:5], 16.0)  # fmt: skip
TEXTURE_PX = 1.1  # its coarseness


@dataclass(frozen=True)
class Scanner:
    """How one machine draws the same body."""

    name: str
    noise_hu: float  # standard deviation
    grain_px: float  # coarseness of the noise: larger for a softer kernel
    blur_px: float  # of edges, in plane
    field: float  # of view in plane, against FIELD_MM; never below 1


SCANNERS = (
    Scanner("Asterion 64", 10.0, 0.65, 0.50, 1.0),
    Scanner("Borealis CT", 14.0, 0.50, 0.38, 1.06),
    Scanner("Corvus One", 8.0, 0.85, 0.62, 1.12),
)


def draw_noise(rng: np.random.Generator, size: tuple[int, int, int], px: float) -> Float32[np.ndarray, "slice row column"]:
    """White noise made coarse in plane, of mean 0 and standard deviation 1.

    Set bits of 64 random ones are counted: as good as normal once smoothed, and three times as fast to draw.
    """
    from scipy.ndimage import gaussian_filter

    bits = np.bitwise_count(rng.integers(0, np.iinfo(np.uint64).max, size, np.uint64, endpoint=True))
    smooth = gaussian_filter(bits.astype(np.float32) - 32, (0, px, px), mode="wrap", truncate=3)
    return smooth / smooth.std()


def add_texture(body: Body, texture: Float32[np.ndarray, "slice row column"]) -> None:
    """Gives each organ its own unevenness; air stays even."""
    strength = np.full(256, TEXTURE_HU[""], np.float32)
    for name, value in TEXTURE_HU.items():
        strength[ORGANS.get(name, 0)] = value
    tissue = body.hu > T.AIR + 5
    np.add(body.hu, texture * strength[body.labels], out=body.hu, where=tissue)


def scan(
    hu: Float32[np.ndarray, "slice row column"], noise: Float32[np.ndarray, "slice row column"], scanner: Scanner
) -> Int16[np.ndarray, "slice row column"]:
    """The image in whole HU: blurred, with the scanner's noise (`noise` has standard deviation 1), not below -1024."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(hu, (0, scanner.blur_px, scanner.blur_px), mode="nearest", truncate=3)
    noise_hu = np.where(blurred > -900, np.float32(scanner.noise_hu), np.float32(scanner.noise_hu / 2))  # air absorbs nothing
    return np.clip(np.rint(blurred + noise * noise_hu), -1024, 3071).astype(np.int16)
