"""Benchmark of slice pooling: a padded batch at once, against one volume after the other and against self-attention."""

import torch

from ..model.pooling import POOLINGS
from .rows import Curve, Row, Sizes, curve_of, fastest, void_unless

N_VOLUMES, DIM = 8, 128


def slice_pooling(sizes: Sizes) -> list[Row | Curve]:
    """Attention over slices of volumes, the longest of so many slices, the shortest of half as many."""
    measured = {n: _seconds(n, sizes.repeats) for n in sizes.slices}
    curve = curve_of(f"slice pooling of {N_VOLUMES} volumes", "slices", "s", measured)
    n, (ours, each, other) = sizes.slices[-1], list(measured[sizes.slices[-1]].values())
    note = f"{N_VOLUMES} volumes of {n // 2} to {n} slices, {DIM} dimensions, forward only; rival: "
    return [
        Row("attention over slices", ours, each, "s", note + "one volume after the other"),
        Row("attention over slices", ours, other, "s", note + "RadCLIP's self-attention, another method"),
        curve,
        curve.row(),
    ]


@torch.inference_mode()
def _seconds(n: int, repeats: int) -> dict[str, float]:
    torch.manual_seed(0)
    lengths = torch.linspace(n // 2, n, N_VOLUMES).long()
    slices, mask = torch.randn(N_VOLUMES, n, DIM), torch.arange(n) < lengths[:, None]
    place = torch.arange(n).float().expand(N_VOLUMES, n)
    attention, self_attention = (POOLINGS[name](DIM).eval() for name in ("attention", "self_attention"))

    def each() -> torch.Tensor:
        return torch.cat([attention(slices[[i], :k], mask[[i], :k], place[[i], :k])[0] for i, k in enumerate(lengths.tolist())])

    ours = lambda: attention(slices, mask, place)[0]  # noqa: E731
    void_unless(torch.allclose(ours(), each(), atol=1e-5))
    seconds = fastest(ours, each, lambda: self_attention(slices, mask, place), repeats=repeats)
    return dict(zip(("ours", "volume by volume", "self-attention"), seconds, strict=True))
