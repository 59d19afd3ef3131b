"""A head on a grid of 2 mm: brain of the MNI152 maps that nilearn carries, skull and face built around it.

ICBM 152 nonlinear symmetric 2009a (Fonov et al. 2011, doi 10.1016/j.neuroimage.2010.07.033). Its T1 has no skull.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt64

from ... import cache
from .places import Points, ellipsoid, label_places
from .vocabulary import FACE, PLACES, REGIONS, SIDES, TISSUES

VERSION = 1  # of the template: raise it when it changes
STEP_MM = 2.0
ORIGIN_MM = (-99.5, -135.5, -79.5)  # x, y, z of the first voxel's centre
SHAPE = (92, 124, 100)  # slice, row, column: z, y, x grow
PAD = ((8, 0), (2, 13), (2, 1))  # mm around nilearn's volumes (z, y, x), before they are halved
TOP_MM = 176  # slices of them that are used
EDGE_MM = 0.9  # softness of the borders of skull and scalp
BLUR_PX = (0.7, 0.45, 0.45)  # of the shares: what a thick slice mixes is mixed here
MIDDLE = 128  # byte that stands for 0 where values may be negative
MEANS = {"csf": 0.35, "ventricle": 0.35, "grey": 0.66, "white": 0.86}  # of the template's own T1
AROUND = ("fat", "muscle", "csf", "dark")  # tissues around the brain; bone and air are dark


class Template(NamedTuple):
    """The head, flat: one item for each voxel of SHAPE."""

    packed: UInt64[np.ndarray, " voxel"]  # see `unpacked`; a voxel in one number is found several times as fast
    region: UInt8[np.ndarray, " voxel"]  # labels of REGIONS; 0 is air
    pull: Float32[np.ndarray, "voxel 3"]  # x y z, unit-free: away from the ventricles, at most 1 long
    margin_mm: UInt8[np.ndarray, " voxel"]  # distance from the nearest other region of the brain; fluid does not count


@lru_cache(maxsize=1)
def template() -> Template:
    """The template, built once and kept in the cache of images."""
    stored = cache.fetch(f"head-template-{VERSION}", build).reshape(-1, 12)
    packed = np.ascontiguousarray(stored[:, :8]).view(np.uint64)[:, 0]
    pull = (stored[:, 8:11].astype(np.float32) - MIDDLE) / 127
    return Template(packed, stored[:, 7].copy(), pull, stored[:, 11].copy())


def unpacked(packed: UInt64[np.ndarray, "*n"]) -> UInt8[np.ndarray, "*n byte"]:
    """The 8 bytes of each voxel: shares of TISSUES in 1/255 (the last one's 0 is MIDDLE), then the label of REGIONS."""
    return packed[..., None].view(np.uint8)


def axes_mm() -> tuple[Float32[np.ndarray, "..."], ...]:
    """x, y and z of the grid, each to be broadcast over SHAPE."""
    lines = [o + STEP_MM * np.arange(n, dtype=np.float32) for o, n in zip(ORIGIN_MM, SHAPE[::-1], strict=True)]
    return lines[0][None, None], lines[1][None, :, None], lines[2][:, None, None]


def build() -> UInt8[np.ndarray, "slice row column byte"]:
    """The template as bytes: those of `unpacked`, three for the pull and one for the margin."""
    from scipy.ndimage import gaussian_filter

    t1, grey, white = (_read(name) for name in ("t1", "gm", "wm"))
    outside_mm, depth_mm = _distances(t1)
    shares = _brain(t1, grey, white, outside_mm, depth_mm)
    regions = _regions(shares, outside_mm, depth_mm)
    _wrap(shares, outside_mm)
    soft = np.stack([gaussian_filter(shares[name], BLUR_PX) for name in TISSUES], -1)
    regions[(regions == 0) & (soft[..., :-1].sum(-1) > 0.02)] = REGIONS["skull and scalp"]
    soft[..., -1] += MIDDLE / 255
    slope = np.stack(np.gradient(gaussian_filter(shares["ventricle"], 4))[::-1], -1)
    pull = MIDDLE - 127 * slope / np.linalg.norm(slope, axis=-1).max()
    parts = np.clip(255 * soft, 0, 255), regions[..., None], pull, _margins(regions)[..., None]
    return np.concatenate([np.rint(part).astype(np.uint8) for part in parts], -1)


def _read(name: str) -> Float32[np.ndarray, "slice row column"]:
    """One of nilearn's maps in 0..1, two mm a voxel."""
    import nibabel as nib
    import nilearn

    file = Path(nilearn.__file__).parent / "datasets" / "data" / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    full = np.asarray(nib.load(file).dataobj).transpose(2, 1, 0)[:TOP_MM]
    pairs = np.pad(full, PAD).reshape(*(k for n in SHAPE for k in (n, 2)))
    return pairs.mean((1, 3, 5), dtype=np.float32) / 255


def _distances(t1: Float32[np.ndarray, "slice row column"]) -> tuple[np.ndarray, np.ndarray]:
    """Distance (mm) of each voxel from the brain, and of each brain voxel from the brain's surface."""
    from scipy import ndimage

    brain = ndimage.binary_fill_holes(ndimage.binary_closing(t1 > 0.05, iterations=4))
    away, depth = (ndimage.distance_transform_edt(m, sampling=STEP_MM).astype(np.float32) for m in (~brain, brain))
    return ndimage.gaussian_filter(away, 0.6), depth


def _soft(value: Float[np.ndarray, "..."], width: float) -> Float32[np.ndarray, "..."]:
    """0 to 1 where a value rises through 0."""
    return (1 / (1 + np.exp(np.clip(-value / width, -30, 30)))).astype(np.float32)


def _brain(t1, grey, white, outside_mm, depth_mm) -> dict[str, np.ndarray]:
    """Shares of the tissues inside, and the template's detail that they do not explain."""
    x, y, z = axes_mm()
    inside = _soft(1.5 - outside_mm, 0.6)
    scale = inside / np.maximum(grey + white, 1)
    grey, white = grey * scale, white * scale
    fluid = np.maximum(inside - grey - white, 0) + _soft(3 - outside_mm, 0.6) - inside
    box = (abs(x) < 44) & (y > -62) & (y < 36) & (z > -6) & (z < 32) & ((abs(x) < 30) | (y < -25)) & ~((abs(x) > 24) & (y > -20))
    inner = (depth_mm > 18) & box
    at = Points(x, y, z, *[None] * 4)
    deep = (ellipsoid(at, (24, 2, 4), (14, 26, 17)) < 1.15) | (ellipsoid(at, (11, -18, 7), (11, 15, 10)) < 1.15)
    mixed = 0.5 * grey * deep  # deep grey matter looks like a mixture
    shares = {"csf": fluid * ~inner, "ventricle": fluid * inner, "grey": grey - mixed, "white": white + mixed}
    return shares | {"texture": (t1 - sum(mean * shares[name] for name, mean in MEANS.items())) * (depth_mm > 0)}


def _regions(shares: dict, outside_mm, depth_mm) -> UInt8[np.ndarray, "slice row column"]:
    from scipy.ndimage import distance_transform_edt

    x, y, z = (np.broadcast_to(a, SHAPE) for a in axes_mm())
    ventricle_mm = distance_transform_edt(shares["ventricle"] < 0.5, sampling=STEP_MM).astype(np.float32)
    tissue = shares["grey"] + shares["white"]
    labels = label_places(Points(x, y, z, shares["white"], tissue, ventricle_mm, depth_mm))
    rest = {"other brain": tissue > 0.5, "ventricles": shares["ventricle"] > 0.5, "cerebrospinal fluid": outside_mm < 3}
    for name, where in rest.items():
        labels[(labels == 0) & where] = REGIONS[name]
    return labels


def _margins(regions: UInt8[np.ndarray, "slice row column"]) -> Float32[np.ndarray, "slice row column"]:
    """Distance (mm) of each voxel of a named place from any other part of the brain."""
    from scipy.ndimage import distance_transform_edt, find_objects

    found = np.zeros(SHAPE, np.float32)
    for label, box in enumerate(find_objects(regions)[: len(PLACES) * len(SIDES)], start=1):
        box = tuple(slice(s.start - 1, s.stop + 1) for s in box)
        inside, brain = regions[box] == label, (regions[box] > 0) & (regions[box] <= REGIONS["other brain"])
        found[box][inside] = distance_transform_edt(inside | ~brain, sampling=STEP_MM)[inside]
    return found


def _wrap(shares: dict[str, np.ndarray], outside_mm) -> None:
    """Adds scalp, face, neck and a skull with its marrow around the brain."""
    p = Points(*axes_mm(), *[None] * 4)
    free = _soft(outside_mm - 3, EDGE_MM)
    shares |= {name: np.zeros(SHAPE, np.float32) for name in AROUND if name not in shares}
    _cover(shares, "fat", _soft(16 - outside_mm, EDGE_MM) * free)
    _cover(shares, "muscle", _soft(13 - outside_mm, EDGE_MM) * free * _soft(-18 - p.z, 5.0))
    for name, centre, radii in FACE:
        _cover(shares, name, _soft(1 - np.sqrt(ellipsoid(p, centre, radii)), 0.04) * free)
    skull = _soft(9.5 - outside_mm, EDGE_MM) * free
    _cover(shares, "dark", skull)
    _cover(shares, "fat", 0.45 * skull * np.exp(-(((outside_mm - 6.2) / 1.3) ** 2)) * _soft(p.z + 20, 6.0))


def _cover(shares: dict[str, np.ndarray], name: str, alpha: Float32[np.ndarray, "slice row column"]) -> None:
    """Puts a tissue in front of what lies outside the brain."""
    for other in AROUND:
        shares[other] = shares[other] * (1 - alpha)
    shares[name] += alpha
