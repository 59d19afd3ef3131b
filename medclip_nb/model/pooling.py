"""From many vectors to one: cells of a feature map to a slice, slices to a volume."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mean_max(features: Float[Tensor, "b dim *grid"]) -> Float[Tensor, "b dim_twice"]:
    """Mean and maximum over the grid, side by side: the mean tells the region, the maximum a small lesion."""
    cells = features.flatten(2)
    return torch.cat([cells.mean(-1), cells.amax(-1)], dim=-1)


def mean_slices(slices: Float[Tensor, "b slice dim"], mask: Bool[Tensor, "b slice"] | None = None) -> Float[Tensor, "b dim"]:
    """Mean over slices; those where `mask` is False are padding and do not count."""
    if mask is None:
        return slices.mean(1)
    weights = mask.to(slices.dtype)[..., None]
    return (slices * weights).sum(1) / weights.sum(1).clamp(min=1)
