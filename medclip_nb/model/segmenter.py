"""A light decoder over the small tower: where in a volume the network sees something."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .encoders import PatchCNN, Residual

WIDTH = 16  # channels at half the input's resolution
BLOCK = (2, 2, 2)  # voxels that lie side by side in the channels there: no convolution ever runs at full resolution


class Segmenter(nn.Module):
    """One logit per voxel, from a copy of a tower and a decoder (0.03 M weights) that also sees the image itself.

    The coarse map is brought up and added to the fine one, both to the image, in which every block of 2 x 2 x 2 voxels has become
    8 channels; the last layer writes 8 logits a block. Slices, rows and columns must be multiples of 4, 8 and 8.
    """

    def __init__(self, tower: nn.Module):
        if not isinstance(tower, PatchCNN) or tower.stem[0].weight.ndim != 5:
            raise ValueError(f"{type(tower).__name__} has no two maps of a volume to decode; use patch_cnn, built with dims=3")
        super().__init__()
        channels, n = tower.stem[0].in_channels, BLOCK[0] * BLOCK[1] * BLOCK[2]
        self.tower = copy.deepcopy(tower)
        self.up = nn.ConvTranspose3d(tower.dim, tower.fine_dim, 2, 2)
        self.mix = Residual(tower.fine_dim, dims=3)
        self.wide = nn.Sequential(nn.Conv3d(tower.fine_dim, WIDTH, 1), nn.Upsample(scale_factor=(1, 2, 2)))
        self.image = nn.Conv3d(n * channels, WIDTH, (1, 3, 3), padding=(0, 1, 1))
        self.norm, self.last = nn.BatchNorm3d(WIDTH), Residual(WIDTH, dims=3)
        self.out = nn.Conv3d(WIDTH, n, 1)

    def forward(self, x: Float[Tensor, "b channel slice row column"]) -> Float[Tensor, "b slice row column"]:
        fine, coarse = self.tower.stages(x)
        middle = self.mix(torch.relu(fine + self.up(coarse)))
        seen = torch.relu(self.norm(self.wide(middle) + self.image(blocks(x))))
        return voxels(self.out(self.last(seen)))


def blocks(x: Float[Tensor, "b channel slice row column"]) -> Float[Tensor, "b block slice2 row2 column2"]:
    """Every block of BLOCK voxels as channels of one."""
    b, channels, *size = x.shape
    (d, h, w), (z, y, x_) = BLOCK, (n // k for n, k in zip(size, BLOCK, strict=True))
    parts = x.reshape(b, channels, z, d, y, h, x_, w).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return parts.reshape(b, channels * d * h * w, z, y, x_).contiguous(memory_format=torch.channels_last_3d)


def voxels(x: Float[Tensor, "b block slice2 row2 column2"]) -> Float[Tensor, "b slice row column"]:
    """The way back from `blocks`, for one channel."""
    b, _, z, y, x_ = x.shape
    d, h, w = BLOCK
    return x.reshape(b, d, h, w, z, y, x_).permute(0, 4, 1, 5, 2, 6, 3).reshape(b, z * d, y * h, x_ * w)
