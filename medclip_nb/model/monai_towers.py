"""Image towers from MONAI, for slices and volumes, trained from scratch.

MONAI takes ten seconds to import: that happens when one of these is built, not before.
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

# DeiT-Ti (Touvron et al. 2021, table 1) on small patches: CT slices here have 48 to 128 pixels
VIT_DIM, VIT_LAYERS, VIT_HEADS = 192, 12, 3
TINY_DIM, TINY_LAYERS = 96, 4
VIT_PATCH, VIT_GRID = 8, 8  # pixels along an axis of a patch; patches along an axis that have a position of their own


def monai_resnet(name: str, channels: int, *, dims: int) -> nn.Module:
    """`resnet10` or `resnet18` without pooling and classifier; a cell of its map is 32 pixels wide."""
    from monai.networks import nets

    net = getattr(nets, name)(spatial_dims=dims, n_input_channels=channels, conv1_t_stride=2, feed_forward=False)
    tower = nn.Sequential(OrderedDict((part, module) for part, module in net.named_children() if part != "avgpool"))
    tower.dim = net.in_planes
    return tower


def monai_densenet(channels: int, *, dims: int) -> nn.Module:
    """DenseNet-121 without pooling and classifier; a cell of its map is 32 pixels wide."""
    from monai.networks.nets import DenseNet121

    net = DenseNet121(spatial_dims=dims, in_channels=channels, out_channels=1)
    tower = nn.Sequential(OrderedDict(features=net.features, relu=nn.ReLU()))
    tower.dim = net.class_layers.out.in_features
    return tower


def monai_vit(channels: int, *, dims: int) -> nn.Module:
    """A small vision transformer; a cell of its map is VIT_PATCH pixels wide."""
    return _vit(channels, (VIT_PATCH,) * dims, dim=VIT_DIM, n_layers=VIT_LAYERS)


def monai_vit_tiny(channels: int, *, dims: int) -> nn.Module:
    """A vision transformer of 0.6 M weights for thick slices; a cell of its map is half as many slices as pixels."""
    return _vit(channels, (VIT_PATCH // 2, VIT_PATCH, VIT_PATCH)[3 - dims :], dim=TINY_DIM, n_layers=TINY_LAYERS)


def _vit(channels: int, patch: tuple[int, ...], *, dim: int, n_layers: int) -> nn.Module:
    from monai.networks.nets import ViT

    sizes = {"hidden_size": dim, "mlp_dim": 4 * dim, "num_layers": n_layers, "num_heads": VIT_HEADS}
    image = tuple(n * VIT_GRID for n in patch)
    return VisionTransformer(ViT(channels, image, patch, spatial_dims=len(patch), qkv_bias=True, **sizes))


class VisionTransformer(nn.Module):
    """The parts of MONAI's ViT, for pictures of any size: learnt positions are interpolated, patches come back as a map."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.dim = net.norm.normalized_shape[0]
        self.patches, self.positions = net.patch_embedding.patch_embeddings, net.patch_embedding.position_embeddings
        self.blocks, self.norm = net.blocks, net.norm
        for block in self.blocks:  # MONAI keeps them for decoders: weights that nothing uses
            block.norm_cross_attn = block.cross_attn = nn.Identity()

    def forward(self, x: Float[Tensor, "b channel *space"]) -> Float[Tensor, "b dim *grid"]:
        x = self.patches(x)
        grid = x.shape[2:]
        where = self.positions.transpose(1, 2).unflatten(2, (VIT_GRID,) * len(grid))
        x = x + interpolate(where, grid, mode="bilinear" if len(grid) == 2 else "trilinear")
        x = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).transpose(1, 2).unflatten(2, grid)
