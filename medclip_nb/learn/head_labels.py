"""What volumes show, from a few labelled ones: fine-tuning of all weights."""

import copy

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..model.dual_encoder import DualEncoder
from .augment import moved_and_dimmed
from .plan import descend

BATCH = 32  # volumes in a step of fine-tuning, at most
N_STEPS = 300  # of it, whatever the number of volumes
RATE = 2e-3  # its peak learning rate
SCORED_AT_A_TIME = 64
Volumes = UInt8[np.ndarray, "volume channel slice row column"]


class Classifier(nn.Module):
    """A copy of an encoder's tower and pooling with one linear output per label."""

    def __init__(self, encoder: DualEncoder, n_labels: int):
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.out = nn.Linear(encoder.image_head[0].dim, n_labels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, images: UInt8[Tensor, "b channel slice row column"]) -> Float[Tensor, "b label"]:
        return self.out(self.encoder.features(images))


def fit_labels(
    encoder: DualEncoder,
    images: Volumes,
    labels: Bool[np.ndarray, "row_2 label"],
    *,
    seed: int,
    rate: float = RATE,
    n_steps: int | None = None,
) -> Classifier:
    """Trains a copy of the encoder on the labels of some volumes; the same seed gives the same weights.

    Volumes are moved and dimmed, never mirrored: a label may have a side. There are `n_steps` (N_STEPS if none are given),
    whatever the number of volumes. Raises ValueError for fewer than two, or not as many volumes as rows of labels.
    """
    if len(images) != len(labels) or len(images) < 2:
        raise ValueError(f"{len(images)} volumes and {len(labels)} rows of labels: one row for each of at least two is needed")
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), Classifier(encoder, labels.shape[1]).train()

    def loss() -> Tensor:
        picked = rng.choice(len(images), min(BATCH, len(images)), replace=False)
        logits = model(moved_and_dimmed(torch.from_numpy(images[picked]), rng))
        return binary_cross_entropy_with_logits(logits, torch.from_numpy(labels[picked]).float())

    descend([(list(model.parameters()), rate)], loss, n_steps=n_steps or N_STEPS)
    return model.eval()


@torch.inference_mode()
def label_scores(model: Classifier, images: Volumes) -> Float[np.ndarray, "volume label"]:
    """Logits of some volumes."""
    return torch.cat([model(part) for part in torch.from_numpy(images).split(SCORED_AT_A_TIME)]).numpy()
