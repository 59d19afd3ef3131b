"""Fine-tuning on a few volumes with masks: what a pretrained tower is worth where every voxel is asked."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..model.dual_encoder import scaled
from ..model.segmenter import Segmenter
from .plan import descend

CROP = (16, 32, 32)  # slices, rows, columns of the parts that are trained on: a sixth of a small volume
BATCH = 16  # parts in a step
FOCUS = 0.5  # of the parts lie about a voxel of a mask, the others anywhere
N_STEPS = 300  # whatever the number of volumes
RATE = 4e-3  # peak learning rate of the decoder
TOWER_SHARE = 1.0  # of it, for the tower
PRIOR = -4.0  # logit of every voxel at the start: lesions are small
THRESHOLD = 0.5  # of the probability; it is not tuned
PREDICTED_AT_A_TIME = 16
Volumes = UInt8[np.ndarray, "volume channel slice row column"]
Masks = Bool[np.ndarray, "mask slice row column"]


def fit_masks(
    tower: nn.Module,
    images: Volumes,
    masks: Masks,
    *,
    seed: int,
    rate: float = RATE,
    tower_share: float = TOWER_SHARE,
    n_steps: int | None = None,
) -> Segmenter:
    """Trains a copy of the tower and a new decoder on volumes and what to find in them; the same seed gives the same weights.

    `tower_share` is the tower's learning rate as a share of `rate`. There are `n_steps` (N_STEPS if none are given), whatever the
    number of volumes. Raises ValueError where no volume has a mask, or not as many volumes as masks are given.
    """
    if len(images) != len(masks) or not masks.any():
        n = f"{len(images)} volumes, {len(masks)} masks and {int(masks.sum())} voxels in them"
        raise ValueError(f"{n}: each volume needs a mask, and not all may be empty")
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), Segmenter(tower).train()
    torch.nn.init.constant_(model.out.bias, PRIOR)
    inside = [p for name, p in model.named_parameters() if name.startswith("tower.")]
    decoder = [p for name, p in model.named_parameters() if not name.startswith("tower.")]
    lesions = [np.argwhere(mask) for mask in masks]

    def loss() -> Tensor:
        x, wanted = draw_parts(images, masks, lesions, rng)
        return mask_loss(_logits(model, x), wanted)

    descend([(decoder, rate), (inside, tower_share * rate)], loss, n_steps=n_steps or N_STEPS)
    return model.eval()


@torch.inference_mode()
def predict_masks(model: Segmenter, images: Volumes) -> Bool[np.ndarray, "volume slice row column"]:
    """Voxels whose probability is above THRESHOLD."""
    parts = torch.from_numpy(images).split(PREDICTED_AT_A_TIME)
    return torch.cat([_logits(model, part).sigmoid() > THRESHOLD for part in parts]).numpy()


def mask_loss(logits: Float[Tensor, "b slice row column"], masks: Bool[Tensor, "b slice row column"]) -> Float[Tensor, ""]:
    """Cross-entropy plus 1 - soft Dice of the whole batch: a part without a lesion has no Dice of its own."""
    probability, wanted = logits.sigmoid(), masks.float()
    dice = (2 * (probability * wanted).sum() + 1) / (probability.sum() + wanted.sum() + 1)
    return binary_cross_entropy_with_logits(logits, wanted) + 1 - dice


def draw_parts(
    images: Volumes, masks: Masks, lesions: list[Int[np.ndarray, "_ 3"]], rng: np.random.Generator
) -> tuple[UInt8[Tensor, "part channel z y x"], Bool[Tensor, "part z y x"]]:
    """BATCH parts of random volumes, half of them mirrored, left for right: a lesion is one on either side.

    `lesions` are the voxels of each mask. A share FOCUS of the parts lies about one of them, where the volume has any.
    """
    size, parts = masks.shape[1:], []
    for i in rng.integers(0, len(images), BATCH):
        focus = rng.random() < FOCUS and len(lesions[i])
        middle = lesions[i][rng.integers(len(lesions[i]))] if focus else rng.integers(0, size)
        low = [max(0, min(m - c // 2, n - c)) for m, c, n in zip(middle, CROP, size, strict=True)]
        at = (i, ..., *(slice(a, a + c) for a, c in zip(low, CROP, strict=True)))
        turn = (..., slice(None, None, -1)) if rng.random() < 0.5 else ...
        parts.append((images[at][turn], masks[at][turn]))
    return tuple(torch.from_numpy(np.stack(side)) for side in zip(*parts, strict=True))


def _logits(model: Segmenter, images: UInt8[Tensor, "b channel slice row column"]) -> Float[Tensor, "b slice row column"]:
    return model(scaled(images))  # in float32: in bfloat16 the same seed gave other weights (measured, CPU)
