"""Where bf16 must not be used: on a CPU, for 3D convolutions over few slices."""

import copy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ..model.dual_encoder import TextSide
from .batch import Pairs
from .plan import Plan


def shallow(model: TextSide, images: tuple[Tensor, ...]) -> list[str]:
    """Names of the 3D convolutions, of those that pad slices, that get no more slices than their kernel is deep.

    On a CPU the gradient of their weights in bf16 reads memory that is not its own (measured in PyTorch 2.13, oneDNN: a kernel of
    3 over 2 slices, of 5 over 2 to 4, of 7 over 2 to 7): it differs each time, is NaN, or the process dies. Over 1 slice, and
    over as many as the kernel is deep, it was right for most strides; these are counted, to be on the safe side.
    """
    found, model = [], copy.deepcopy(model).eval()

    def look(name: str, conv: nn.Conv3d, inputs: tuple[Tensor]) -> None:
        if conv.padding[0] and inputs[0].shape[2] <= conv.kernel_size[0]:
            found.append(name)

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_pre_hook(partial(look, name))
    with torch.no_grad():
        model.encode_images(*images)
    return found


def safe(plan: Plan, model: TextSide, pairs: Pairs) -> Plan:
    """The plan, in full precision where bf16 would be wrong."""
    return replace(plan, precision="no") if _wrong(plan, model, pairs) else plan


def refuse_unless_safe(plan: Plan, model: TextSide, pairs: Pairs) -> None:
    """Raises ValueError where bf16 would be wrong."""
    if wrong := _wrong(plan, model, pairs):
        raise ValueError(
            f'precision "bf16" on a CPU gives wrong gradients of {len(wrong)} 3D convolutions (first: {wrong[0]}), which get '
            'hardly any slices; set precision="no" in the plan, give more slices, or use another tower'
        )


def _wrong(plan: Plan, model: TextSide, pairs: Pairs) -> list[str]:
    device = next(model.parameters()).device
    if plan.precision != "bf16" or device.type != "cpu" or not any(isinstance(m, nn.Conv3d) for m in model.modules()):
        return []
    return shallow(model, pairs.batch(pairs.train[:2]).images)
