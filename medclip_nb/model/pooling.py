"""From many vectors to one: cells of a feature map to a slice, slices to a volume.

A slice pooling takes the slices' embeddings `(b, slice, dim)`, which of them are real (`mask`; the rest is padding) and where
they lie in mm. It gives the volume's vector and the weights of its slices `(b, head, slice)`, which sum to 1 per head and are
0 on padding: students look at them. None of it depends on how many slices there are.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..config import GRID_DROPOUT, POSITION_MM

Slices = Float[Tensor, "b slice dim"]
Mask = Bool[Tensor, "b slice"]
Weights = Float[Tensor, "b head slice"]


class MeanMax(nn.BatchNorm1d):
    """Mean and maximum over the grid, side by side, normalised: the mean tells the region, the maximum a small lesion."""

    def __init__(self, dim: int):
        super().__init__(2 * dim)
        self.dim = 2 * dim

    def forward(self, features: Float[Tensor, "b dim *grid"]) -> Float[Tensor, "b dim_twice"]:
        cells = features.flatten(2)
        return self.normalised(torch.cat([cells.mean(-1), cells.amax(-1)], dim=-1).float())

    def normalised(self, pooled: Float[Tensor, "b dim_twice"]) -> Float[Tensor, "b dim_twice"]:
        """The batch norm alone, which several processes do together."""
        return super().forward(pooled)


class Grid(nn.Module):
    """Cells of a coarse grid, side by side: a vector that still says where, which mean and maximum forget.

    The map is narrowed to `width` channels and brought to `cells`; a hidden layer follows, whose output is the image's features.
    """

    def __init__(self, dim: int, cells: tuple[int, ...], *, width: int = 16, hidden: int = 256):
        super().__init__()
        conv, to_cells = (nn.Conv2d, nn.AdaptiveAvgPool2d) if len(cells) == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
        self.narrow, self.cells = conv(dim, width, 1), to_cells(cells)
        flat, self.dim = width * math.prod(cells), hidden
        self.mix = nn.Sequential(nn.Flatten(), nn.LayerNorm(flat), nn.Dropout(GRID_DROPOUT), nn.Linear(flat, hidden), nn.GELU())

    def forward(self, features: Float[Tensor, "b dim *grid"]) -> Float[Tensor, "b hidden"]:
        return self.mix(self.cells(self.narrow(features)))


def mean_weights(mask: Mask) -> Weights:
    """The same weight for every slice."""
    return (mask / mask.sum(1, keepdim=True))[:, None]


def middle_weights(mask: Mask) -> Weights:
    """All weight on the slice in the middle of those that are there (the lower one of two)."""
    middle = (mask.sum(1, keepdim=True) + 1) // 2
    return ((mask.cumsum(1) == middle) & mask).float()[:, None]


def weighted(slices: Slices, weights: Weights) -> Float[Tensor, "b head_dim"]:
    """Sum of weight times slice; the heads' sums side by side."""
    return (weights.to(slices.dtype) @ slices).flatten(1)


class Fixed(nn.Module):
    """Weights that nothing is learnt for: `mean_weights`, `middle_weights`."""

    def __init__(self, dim: int, rule):
        super().__init__()
        self.dim, self.rule = dim, rule

    def forward(self, slices: Slices, mask: Mask, position_mm: Float[Tensor, "b slice"]) -> tuple[Tensor, Weights]:
        weights = self.rule(mask)
        return weighted(slices, weights), weights


class Max(nn.Module):
    """The largest value of each coordinate; a slice's weight is the share of coordinates that it gives."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, slices: Slices, mask: Mask, position_mm: Float[Tensor, "b slice"]) -> tuple[Tensor, Weights]:
        largest, where = slices.masked_fill(~mask[..., None], -torch.inf).max(1)
        shares = nn.functional.one_hot(where, mask.shape[1]).float().mean(1)
        return largest, shares[:, None]


class Attention(nn.Module):
    """v = sum_n a_n h_n, a = softmax_n(w . tanh(V h_n)), for one or several w: each head its own weights (Ilse et al. 2018)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.dim = dim * heads
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, heads, bias=False))

    def forward(self, slices: Slices, mask: Mask, position_mm: Float[Tensor, "b slice"]) -> tuple[Tensor, Weights]:
        weights = masked_softmax(self.score(slices).transpose(1, 2).float(), mask[:, None])
        return weighted(slices, weights), weights


class SelfAttention(nn.Module):
    """RadCLIP's adapter: slices plus the encoding of their position look at each other, then `Attention` makes them one.

    V = MHSA(I + PE(P)) (Lu et al., arXiv 2403.09948). One pre-norm block, heads and the last step are ours: the public code
    has no adapter. The code's coordinates are of size 1, so those of slices should be: beside larger ones it is not seen.
    """

    def __init__(self, dim: int, heads: int, *, positions: bool = True):
        super().__init__()
        self.dim, self.positions = dim, positions
        self.norm, self.look = nn.LayerNorm(dim), nn.MultiheadAttention(dim, heads, batch_first=True)
        self.pool = Attention(dim, 1)

    def forward(self, slices: Slices, mask: Mask, position_mm: Float[Tensor, "b slice"]) -> tuple[Tensor, Weights]:
        if self.positions:
            slices = slices + encode_positions(position_mm, slices.shape[-1])
        seen = self.norm(slices)
        slices = slices + self.look(seen, seen, seen, key_padding_mask=~mask, need_weights=False)[0]
        return self.pool(slices, mask, position_mm)


def encode_positions(position_mm: Float[Tensor, "b slice"], dim: int) -> Float[Tensor, "b slice dim"]:
    """Sines and cosines of the position, with wavelengths from the first to the second of POSITION_MM.

    In millimetres, not in slice numbers (ours): the same place has the same code however thick the slices are.
    """
    shortest, longest = POSITION_MM
    steps = torch.arange(dim // 2, device=position_mm.device) / max(1, dim // 2 - 1)
    angle = 2 * math.pi * position_mm[..., None] / (shortest * (longest / shortest) ** steps)
    return torch.cat([angle.sin(), angle.cos()], -1)


def masked_softmax(scores: Float[Tensor, "*b slice"], mask: Bool[Tensor, "*#b slice"]) -> Float[Tensor, "*b slice"]:
    """Softmax over the slices that are there; 0 on padding."""
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)


def prompt_attention(
    slices: Slices, texts: Float[Tensor, "text dim"], mask: Mask, *, tau: float
) -> tuple[Float[Tensor, "b text"], Float[Tensor, "b text slice"]]:
    """Similarity of each volume with each text, and the weights: every text looks at the slices that are like it (ours).

    v_t = normalise(sum_n softmax_n(cos(s_n, t) / tau) s_n), similarity = cos(v_t, t). Slices and texts have length 1.
    """
    cosines = (slices @ texts.T).transpose(1, 2).float()  # (b, text, slice)
    weights = masked_softmax(cosines / tau, mask[:, None])
    # the length of sum_n w_n s_n from the slices' cosines with each other: no vector per volume and text is ever made
    squared = ((weights @ (slices @ slices.transpose(1, 2)).float()) * weights).sum(-1)
    return (weights * cosines).sum(-1) / squared.clamp(min=1e-12).sqrt(), weights


POOLINGS = {
    "mean": lambda dim: Fixed(dim, mean_weights),
    "max": Max,
    "middle": lambda dim: Fixed(dim, middle_weights),
    "attention": lambda dim: Attention(dim, 1),
    "attention_4": lambda dim: Attention(dim, 4),
    "self_attention": lambda dim: SelfAttention(dim, 4),
    "self_attention_no_position": lambda dim: SelfAttention(dim, 4, positions=False),
    "prompt": lambda dim: Fixed(dim, mean_weights),  # the texts pool: `prompt_attention`
}
