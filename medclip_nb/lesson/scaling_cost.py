"""What lesson 14 reckons: from the arithmetic of one unit to the GPU hours of the papers, with ranges where nothing is stated.

What the papers and their public code say of their runs: RadCLIP, Lu et al., arXiv 2403.09948, and the notebook CLIP_Finetuning of
its repository; CT-GLIP, Lin et al., arXiv 2404.15272, whose code is not public; SeLIP, Liu et al., arXiv 2503.19801, and the
train_main.yaml of its repository.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from .scaling_solutions import gpu_hours

PEAK_TFLOPS = 312.0  # of an A100 in bf16, dense matrices: NVIDIA's data sheet
UTILISATION = (0.1, 0.4)  # share of that peak which a training is assumed to reach


@dataclass(frozen=True)
class Run:
    """A published training: how many units pass through which tower, the least and the most where it is not known."""

    method: str
    tower: str
    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # of one unit: channels, then axes
    units: int
    epochs: tuple[int, int]
    source: str  # what is stated where
    assumed: str  # and what is not


def _vit_large() -> nn.Module:
    from monai.networks.nets import ViT

    return ViT(3, 224, 14, hidden_size=1024, mlp_dim=4096, num_layers=24, num_heads=16, spatial_dims=2, qkv_bias=True)


def _unet() -> nn.Module:
    from monai.networks.nets import DynUNet

    widths = [32, 64, 128, 256, 320, 320]
    return DynUNet(3, 1, widths[0], [3] * 6, [1] + [2] * 5, [2] * 5, filters=widths)


def _resnet50() -> nn.Module:
    from monai.networks.nets import resnet50

    return resnet50(spatial_dims=3, n_input_channels=1, conv1_t_stride=2, feed_forward=False)


RUNS = (
    Run(
        "RadCLIP, stage 1",
        "ViT-L/14, 224 px",
        _vit_large,
        ((3, 224, 224), (3, 224, 224)),
        1_160_000,
        (10, 10),
        "1.16 M slices (paper); 10 epochs, batches of 54 on 2 GPUs (public notebook)",
        "that the notebook is the paper's run",
    ),
    Run(
        "CT-GLIP",
        "U-Net as nnU-Net's",
        _unet,
        ((1, 96, 128, 128), (1, 96, 256, 256)),
        17_702,
        (10, 100),
        "17,702 patients, 44,011 organ-text pairs (paper)",
        "epochs, input size, the U-Net's widths: the code is not public",
    ),
    Run(
        "SeLIP",
        "3D ResNet-50",
        _resnet50,
        ((1, 24, 128, 128), (1, 24, 256, 256)),
        64,
        (30_000, 30_000),
        "5,000 + 100 x 250 steps of 64 volumes (public settings)",
        "input size; its text tower, trained too, is left out",
    ),
)


def flops(tower: nn.Module, shape: tuple[int, ...]) -> int:
    """Floating-point operations of one unit forward and backward (a multiply-add is two), counted and not computed: put the tower
    on the device "meta" and it costs nothing."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(tower.parameters()).device
    with FlopCounterMode(display=False) as counter:
        _last(tower(torch.zeros(1, *shape, device=device))).sum().backward()
    return counter.get_total_flops()


def _last(out: Tensor | tuple | list) -> Tensor:
    while not isinstance(out, Tensor):
        out = out[-1] if isinstance(out, list) else out[0]
    return out


def published(cpu_flops: float) -> pd.DataFrame:
    """One row per published run: operations of a unit, all of the run, GPU hours from best to worst case, years on this CPU.

    `cpu_flops` are the operations per second that were measured here.
    """
    rows = []
    for run in RUNS:
        with torch.device("meta"):
            tower = run.build()
        low, high = (flops(tower, shape) for shape in run.shapes)
        all_low, all_high = (float(one * run.units * epochs) for one, epochs in zip((low, high), run.epochs, strict=True))
        best, worst = gpu_hours(all_low, PEAK_TFLOPS, UTILISATION[1]), gpu_hours(all_high, PEAK_TFLOPS, UTILISATION[0])
        rows.append((run.method, run.tower, low / 1e9, high / 1e9, best, worst, all_low / cpu_flops, all_high / cpu_flops))
    columns = ["run", "tower", "GFLOP low", "GFLOP high", "hours low", "hours high", "here low s", "here high s"]
    return pd.DataFrame(rows, columns=columns).set_index("run")


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table as ranges that one reads, with what is stated and what is assumed."""
    year_s = 365 * 24 * 3600
    return pd.DataFrame(
        {
            "tower": table["tower"],
            "GFLOP a unit": _ranges(table["GFLOP low"], table["GFLOP high"]),
            "GPU hours": _ranges(table["hours low"], table["hours high"]),
            "years on this core": _ranges(table["here low s"] / year_s, table["here high s"] / year_s),
            "stated": [run.source for run in RUNS],
            "assumed": [run.assumed for run in RUNS],
        }
    )


def _ranges(low: pd.Series, high: pd.Series) -> list[str]:
    pairs = zip(low, high, strict=True)
    return [f"{a:,.3g}" if a == b else f"{float(f'{a:.2g}'):,g} to {float(f'{b:.2g}'):,g}" for a, b in pairs]
