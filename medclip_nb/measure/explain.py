"""Where does a score come from? Maps of it, checks that such a map must pass, and the pointing game.

A score is the cosine of an image with a prompt, or that minus the cosine with another prompt: in both cases the image's embedding
times a direction. Maps have the image's slices, rows and columns; a higher value says that a place speaks for the prompt. The
weights of a pooling (`SliceAdapter.weights`, `organ_pooling`) are maps as well, and the same functions judge them.
"""

import copy
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from scipy.ndimage import binary_dilation
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ..model.dual_encoder import DualEncoder, TextSide, scaled
from ..model.organ_encoder import OrganEncoder
from .auc import auc

Images = UInt8[np.ndarray, "n channel slice row column"]
Directions = Float[np.ndarray, "prompt n dim"]  # of each prompt, one per image: prompts may depend on the image
PromptMaps = Float[np.ndarray, "prompt n slice row column"]
Maps = Float[np.ndarray, "n slice row column"]
Masks = Bool[np.ndarray, "n slice row column"]
Other = Float[np.ndarray, "n_2 slice_2 row_2 column_2"]  # refused in words where they are not of the same images
Lesions = Bool[np.ndarray, "n_2 slice_2 row_2 column_2"]
Change = tuple[int, int]  # rows, columns; positive is downwards, to the right
IMAGE_SIDE = ("tower", "image_head", "pool", "head")  # parts of a model that see the image, where it has them
SMOOTH = {2: "bilinear", 3: "trilinear"}  # enlarging, by the number of axes


def gradient_activation(
    features: Float[Tensor, "n width *grid"], embed: Callable[[Tensor], Tensor], directions: Directions, *, averaged: bool = False
) -> Float[Tensor, "prompt n *grid"]:
    """sum_k A_k dS/dA_k of each cell of a feature map A, S being what `embed` makes of A, times each direction.

    Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) averages the gradient over cells first: `averaged`. As it is, each cell
    keeps its own (HiResCAM, Draelos and Carin 2020). Neither is cut at zero here: no rank below zero is lost.
    """
    with torch.enable_grad():
        features = features.detach().requires_grad_(True)
        emb = embed(features)
        scores = [(emb * torch.from_numpy(d).to(emb)).sum() for d in directions]
        gradients = [torch.autograd.grad(score, features, retain_graph=True)[0] for score in scores]
    if averaged:
        gradients = [g.flatten(2).mean(-1).reshape(g.shape[:2] + (1,) * (g.ndim - 2)) for g in gradients]
    return torch.stack([(g * features.detach()).sum(1) for g in gradients])


def image_gradients(model: DualEncoder, images: Images, directions: Directions, *, averaged: bool = False) -> PromptMaps:
    """`gradient_activation` on the tower's last map, enlarged to the images. A slice tower takes images of one slice only."""
    if model.config.dims == 2 and images.shape[2] != 1:
        raise ValueError(f"images have {images.shape[2]} slices, and the tower sees one at a time: give each slice as an image")
    pixels = scaled(torch.from_numpy(images).to(model.text_mean.device))
    with torch.no_grad():
        features = model.tower(pixels[:, :, 0] if model.config.dims == 2 else pixels)
    maps = gradient_activation(features, lambda a: normalize(model.image_head(a).float(), dim=-1), directions, averaged=averaged)
    return _enlarged(maps, images.shape[2:])


def organ_gradients(
    model: OrganEncoder,
    images: Images,
    masks: UInt8[np.ndarray, "n slice row column"],
    organ: Int[np.ndarray, " n"],
    directions: Directions,
    *,
    averaged: bool = False,
) -> PromptMaps:
    """The same of one organ per image: crops with the share inside, or volumes with label maps, by the model's form."""
    where = torch.from_numpy(organ)
    with torch.no_grad():
        features, share, number = model.features(torch.from_numpy(images), torch.from_numpy(masks), where)
    place = where if model.config.form == "map" else torch.zeros_like(where)
    embed = lambda a: model.embed(model.pool(a, share, number)[torch.arange(len(where)), place])  # noqa: E731
    return _enlarged(gradient_activation(features, embed, directions, averaged=averaged), images.shape[2:])


def occlusion(
    score: Callable[[Images], Float[np.ndarray, "n prompt"]],
    images: Images,
    *,
    patch: tuple[int, int, int],
    stride: tuple[int, int, int],
    fill: Sequence[int],
) -> PromptMaps:
    """How far each prompt's score falls when a patch is set to `fill`, one value (0 to 255) per channel (Zeiler and Fergus 2014).

    A pixel has the mean over the patches that cover it; the last patch of each axis ends at the border. Scores are asked for all
    images at once, patch by patch. Raises ValueError for a patch larger than the image, and strides that leave pixels out.
    """
    if any(p > n or not 0 < s <= p for p, s, n in zip(patch, stride, images.shape[2:], strict=True)):
        raise ValueError(f"patch {patch} with stride {stride} on images of {images.shape[2:]}: want stride <= patch <= image")
    before, fill = score(images), np.asarray(fill, np.uint8).reshape(-1, 1, 1, 1)
    drops, count = np.zeros((before.shape[1], len(images), *images.shape[2:])), np.zeros(images.shape[2:])
    for start in product(*(_starts(*axis) for axis in zip(images.shape[2:], patch, stride, strict=True))):
        box = (..., *(slice(at, at + p) for at, p in zip(start, patch, strict=True)))
        hidden = images.copy()
        hidden[box] = fill
        drops[box] += (before - score(hidden)).T[..., None, None, None]
        count[box] += 1
    return drops / count


@torch.inference_mode()
def organ_cells(
    model: OrganEncoder,
    images: Images,
    masks: UInt8[np.ndarray, "n slice row column"],
    organ: Int[np.ndarray, " n"],
    directions: Directions,
) -> PromptMaps:
    """How each cell of the feature map answers, taken as if it were the whole organ (lesson 07's map), enlarged."""
    cells = model.encode_cells(*(torch.from_numpy(part) for part in (images, masks, organ)))
    answers = torch.einsum("nzyxd,pnd->pnzyx", cells, torch.from_numpy(directions).to(cells))
    return _enlarged(answers, images.shape[2:])


def with_random_weights(model: TextSide, *, seed: int) -> TextSide:
    """A copy whose image side has forgotten everything; texts and scale are as they were (Adebayo et al. 2018, section 4)."""
    torch.manual_seed(seed)
    fresh = copy.deepcopy(model)
    for part in (getattr(fresh, name) for name in IMAGE_SIDE if hasattr(fresh, name)):
        for module in part.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return fresh.eval()


def rank_correlation(a: Maps, b: Other, within: Masks | None = None) -> Float[np.ndarray, " n"]:
    """Spearman's correlation of two maps of each image, over the pixels `within`; NaN where one map is constant there."""
    _check(a, b)
    found = []
    for x, y, area in zip(a, b, _areas(a, within), strict=True):
        x, y = x[area], y[area]
        known = len(x) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0
        found.append(np.corrcoef(rankdata(x), rankdata(y))[0, 1] if known else np.nan)
    return np.array(found)


def shifted(array: Shaped[np.ndarray, "*axes row column"], by: Change, *, fill) -> Shaped[np.ndarray, "*axes row column"]:
    """The same content moved; what comes in from outside is `fill`."""
    moved = np.roll(array, by, axis=(-2, -1))
    for axis, n in zip((-2, -1), by, strict=True):
        edge = [slice(None)] * array.ndim
        edge[axis] = slice(0, n) if n >= 0 else slice(n, None)
        moved[tuple(edge)] = fill
    return moved


def shift_correlation(maps: Maps, moved: Other, by: Change, within: Masks | None = None) -> Float[np.ndarray, " n"]:
    """Rank correlation of the images' maps with those of the shifted images after shifting these back, on what both show."""
    _check(maps, moved)
    back = -by[0], -by[1]
    both = shifted(shifted(np.ones(maps.shape, bool), by, fill=False), back, fill=False)
    area = both if within is None else both & within
    return rank_correlation(maps, shifted(moved, back, fill=0.0), area)


def pointing_hits(maps: Maps, lesions: Lesions, within: Masks | None = None, *, tolerance_px: int = 0) -> Float[np.ndarray, " n"]:
    """Whether the highest pixel `within` lies on the lesion (pointing game, Zhang et al. 2016), 1 or 0.

    Among equally high pixels one is drawn: the value is the share of them that hit, so a constant map gets its chance exactly.
    With `tolerance_px` pixels as near as that to the lesion, in the same slice, count as hits, too. Raises ValueError for a NaN,
    and for an image without a lesion where a hit is possible: leave it out.
    """
    _check(maps, lesions)
    zipped = zip(maps, *_targets(lesions, within, tolerance_px), strict=True)
    return np.array([target[area][m[area] == m[area].max()].mean() for m, target, area in zipped])


def pointing_chance(lesions: Masks, within: Masks | None = None, *, tolerance_px: int = 0) -> Float[np.ndarray, " n"]:
    """How often a guess anywhere `within` would hit: the share of it that counts as lesion."""
    return np.array([target[area].mean() for target, area in zip(*_targets(lesions, within, tolerance_px), strict=True)])


def inside_auc(maps: Maps, lesions: Lesions, within: Masks | None = None) -> Float[np.ndarray, " n"]:
    """How often a pixel of the lesion is higher than one beside it, `within`; ties count half, so a constant map gets 0.5."""
    _check(maps, lesions)
    return np.array([auc(t[area], m[area]) for m, t, area in zip(maps, *_targets(lesions, within, 0), strict=True)])


def _targets(lesions: Masks, within: Masks | None, tolerance_px: int) -> tuple[Masks, Masks]:
    area = _areas(lesions, within)
    side = np.arange(-tolerance_px, tolerance_px + 1)
    disk = np.hypot(side[:, None], side) <= tolerance_px
    empty = np.flatnonzero(~(lesions & area).any((1, 2, 3)))
    if len(empty):
        raise ValueError(f"no lesion to point at in {len(empty)} images, the first is number {empty[0]}: leave them out")
    return binary_dilation(lesions, disk[None, None]) & area, area


def _areas(like: np.ndarray, within: Masks | None) -> Masks:
    return np.ones(like.shape, bool) if within is None else within


def _check(maps: np.ndarray, other: np.ndarray) -> None:
    if maps.shape != other.shape:
        raise ValueError(f"maps are {maps.shape}, what they are held against {other.shape}: the same images are needed of both")
    for values in (maps, other):
        bad = np.isnan(values).any((1, 2, 3))
        if bad.any():
            raise ValueError(f"maps of {bad.sum()} of {len(bad)} images hold NaN, the first is number {bad.argmax()}; look at it")


def _enlarged(maps: Float[Tensor, "prompt n *grid"], size: tuple[int, ...]) -> PromptMaps:
    flat = interpolate(maps, size=size[-(maps.ndim - 2) :], mode=SMOOTH[maps.ndim - 2], align_corners=False)
    return flat.reshape(*maps.shape[:2], *size).double().cpu().numpy()


def _starts(n: int, patch: int, stride: int) -> list[int]:
    return sorted({*range(0, n - patch + 1, stride), n - patch})
