"""Fine-tuning on a few labelled studies: what pretraining is worth against the same network from scratch."""

import copy

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..model.organ_encoder import OrganEncoder
from .organ_units import OrganUnits
from .pairs import Rows
from .plan import descend

BATCH = 16  # studies in a step
RATE, N_STEPS = 1e-3, 80  # peak learning rate; steps for a few labels
SHARPNESS = 10.0  # factor of the unit vectors that the linear layer reads


class OrganClassifier(nn.Module):
    """An organ encoder with one linear output per state of an organ."""

    def __init__(self, encoder: OrganEncoder, organ: Int[np.ndarray, " state"]):
        super().__init__()
        self.encoder, self.organ = copy.deepcopy(encoder), torch.from_numpy(organ)
        self.weight, self.bias = (nn.Parameter(torch.zeros(len(organ), *shape)) for shape in ((encoder.config.embed_dim,), ()))

    def forward(self, units: OrganUnits, rows: Rows) -> Float[Tensor, "study state"]:
        """Logit of each state of some studies; of one whose organ cannot be used it is the bias alone."""
        form = self.encoder.config.form
        found = self.encoder.encode_images(*units.images(rows, form=form)).float()
        where = tuple(torch.from_numpy(part) for part in units.of(rows, form=form))
        emb = torch.zeros(len(rows), len(units.organs.names), found.shape[1]).index_put(where, found)
        return SHARPNESS * (emb[:, self.organ] * self.weight).sum(-1) + self.bias


def fit_labels(
    encoder: OrganEncoder,
    units: OrganUnits,
    rows: Rows,
    labels: Bool[np.ndarray, "study state"],
    organ: Int[np.ndarray, " state"],
    *,
    seed: int,
    n_steps: int | None = None,
) -> OrganClassifier:
    """Trains all of a copy of the encoder on the labels of some studies; row i of `labels` belongs to `rows[i]`.

    Only organs that can be used count.
    """
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), OrganClassifier(encoder, organ).train()

    def loss() -> Tensor:
        picked = rng.choice(len(rows), min(BATCH, len(rows)), replace=False)
        usable = torch.from_numpy(units.organs.used[rows[picked]][:, organ]).float()
        wanted = torch.from_numpy(labels[picked]).float()
        return binary_cross_entropy_with_logits(model(units, rows[picked]), wanted, weight=usable)

    descend([(list(model.parameters()), RATE)], loss, n_steps=N_STEPS if n_steps is None else n_steps)
    return model.eval()


@torch.inference_mode()
def label_scores(model: OrganClassifier, units: OrganUnits, rows: Rows) -> Float[np.ndarray, "study state"]:
    """Logits of some studies, NaN where the organ cannot be used."""
    logits = torch.cat([model(units, rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)])
    return np.where(units.organs.used[rows][:, model.organ.numpy()], logits.numpy(), np.nan)
