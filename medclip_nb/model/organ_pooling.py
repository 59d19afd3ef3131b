"""From a feature map to one vector per organ, for all organs and scans at once.

Features are `(b, dim, *grid)`, and `share` `(b, organ, *grid)` says how much of each cell lies inside each organ, 0 to 1: a mask
is resampled by averaging, so that an organ smaller than a cell still has its part of one. What a tower saw of an organ's
neighbourhood is in its features, whatever the mask.
"""

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool3d

FULL = 0.9  # a cell this much inside counts for the maximum
SHARPNESS, LARGEST = 2.0, 8.0  # of the smooth maximum; features above this count as this

Features = Float[Tensor, "b dim *grid"]
Share = Float[Tensor, "b organ *grid"]


def shares_inside(masks: Float[Tensor, "b organ slice row column"], grid: tuple[int, ...]) -> Share:
    """Masks (0 to 1) on the coarser grid of a feature map: the share of each cell that lies inside."""
    return adaptive_avg_pool3d(masks, grid)


def masks_of(labels: UInt8[Tensor, "b slice row column"], n_organs: int) -> Float[Tensor, "b organ slice row column"]:
    """A label map (0 is no organ) as one mask per organ."""
    numbers = torch.arange(1, n_organs + 1, dtype=labels.dtype, device=labels.device)
    return (labels[:, None] == numbers[:, None, None, None]).float()


def masked_mean(features: Features, share: Share) -> Float[Tensor, "b organ dim"]:
    """sum_p share_p F_p / sum_p share_p (CT-GLIP's mask pooling); 0 for an organ without a cell."""
    share = share.flatten(2).to(features.dtype)
    return share @ features.flatten(2).transpose(1, 2) / share.sum(2, keepdim=True).clamp(min=1e-6)


def masked_max(features: Features, share: Share) -> Float[Tensor, "b organ dim"]:
    """Smooth maximum over the cells that lie inside (ours): log of the mean of exp(SHARPNESS F), over SHARPNESS.

    Cells count that are FULL inside; where an organ has none, those that are as full as its fullest. The rim, which is half
    neighbour, would own the maximum otherwise.
    """
    share = share.flatten(2).float()
    fullest = share.amax(2, keepdim=True)
    inside = ((share >= fullest.clamp(max=FULL)) & (share > 0)).float()
    cells = (SHARPNESS * features.flatten(2).float().clamp(max=LARGEST)).exp()
    mean = inside @ cells.transpose(1, 2) / inside.sum(2, keepdim=True).clamp(min=1)
    return mean.clamp(min=1e-6).log() / SHARPNESS


class MaskPool(nn.Module):
    """Mean inside the mask and, `with_max`, the smooth maximum beside it."""

    def __init__(self, dim: int, n_organs: int, *, with_max: bool):
        super().__init__()
        self.dim, self.with_max = dim * (1 + with_max), with_max

    def forward(self, features: Features, share: Share, organ: Int[Tensor, "b organ"]) -> Float[Tensor, "b organ width"]:
        parts = [masked_mean(features.float(), share)] + [masked_max(features, share)] * self.with_max
        return torch.cat(parts, dim=-1)


class OrganQuery(nn.Module):
    """One learnt query per organ attends over the cells that its mask touches (fVLM, arXiv 2501.14548, one head)."""

    def __init__(self, dim: int, n_organs: int):
        super().__init__()
        self.dim = dim
        self.query, self.key = nn.Parameter(torch.randn(n_organs, dim) / dim**0.5), nn.Linear(dim, dim)

    def forward(self, features: Features, share: Share, organ: Int[Tensor, "b organ"]) -> Float[Tensor, "b organ dim"]:
        cells = features.float().flatten(2).transpose(1, 2)
        return self.weights(features, share, organ) @ cells

    def weights(self, features: Features, share: Share, organ: Int[Tensor, "b organ"]) -> Float[Tensor, "b organ cell"]:
        """What each cell counts for each organ; sums to 1, or to 0 for an organ without a cell."""
        cells = features.float().flatten(2).transpose(1, 2)
        score = self.query[organ] @ self.key(cells).transpose(1, 2)
        inside: Bool[Tensor, "b organ cell"] = share.flatten(2) > 0
        return score.masked_fill(~inside, -torch.inf).softmax(2).nan_to_num(0.0)


class OrganSlices(nn.Module):
    """Each slice of an organ pooled as by `MaskPool`, then attention over its slices (ours): RadCLIP's pooling of a volume.

    v = sum_n softmax_n(w . tanh(W h_n)) h_n over the slices that the organ's mask touches; 0 for an organ without a cell.
    """

    def __init__(self, dim: int, n_organs: int):
        super().__init__()
        self.dim, self.cells = 2 * dim, MaskPool(dim, n_organs, with_max=True)
        self.hidden, self.score = nn.Linear(self.dim, dim), nn.Linear(dim, 1, bias=False)

    def forward(self, features: Features, share: Share, organ: Int[Tensor, "b organ"]) -> Float[Tensor, "b organ width"]:
        slices = self.slices(features, share, organ)
        return (self._weights(slices, share)[..., None] * slices).sum(2)

    def slices(self, features: Features, share: Share, organ: Int[Tensor, "b organ"]) -> Float[Tensor, "b organ slice width"]:
        """One vector per slice of each organ."""
        b, n = len(features), features.shape[2]
        cells, inside = (part.transpose(1, 2).flatten(0, 1)[:, :, None] for part in (features, share))
        return self.cells(cells, inside, organ.repeat_interleave(n, 0)).unflatten(0, (b, n)).transpose(1, 2)

    def weights(self, features: Features, share: Share, organ: Int[Tensor, "b organ"]) -> Float[Tensor, "b organ slice"]:
        """What each slice counts for each organ; sums to 1, or to 0 for an organ without a cell."""
        return self._weights(self.slices(features, share, organ), share)

    def _weights(self, slices: Float[Tensor, "b organ slice width"], share: Share) -> Float[Tensor, "b organ slice"]:
        score = self.score(torch.tanh(self.hidden(slices)))[..., 0]
        return score.masked_fill(share.flatten(3).sum(3) <= 0, -torch.inf).softmax(2).nan_to_num(0.0)


ORGAN_POOLINGS = {
    "mean": lambda dim, n: MaskPool(dim, n, with_max=False),
    "mean_max": lambda dim, n: MaskPool(dim, n, with_max=True),
    "query": OrganQuery,
    "slices": OrganSlices,
}
