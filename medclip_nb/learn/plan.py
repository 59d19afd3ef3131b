"""How one run trains: its settings, the learning rate over time, the optimiser."""

import ctypes
import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import PRETRAINED_BATCH, PRETRAINED_RATE, WARMUP_SHARE, WEIGHT_DECAY, Preset
from ..model.dual_encoder import TextSide

GLIBC_KEEP = ((-4, 0), (-1, 2**31 - 1))  # M_MMAP_MAX: no block of its own for a large one; M_TRIM_THRESHOLD: give none back
NORM_LIKE = 1  # parameters with at most so many axes (norms, biases, scale) are not decayed


@dataclass(frozen=True)
class Plan:
    """How one run trains; `plan` fills it from a preset."""

    epochs: int
    batch_size: int
    learning_rate: float  # the peak, after warm-up
    precision: str  # "no", "bf16", or "fp16" (GPU only: the loss is scaled, and a step whose gradient overflows is left out)
    seed: int
    micro_batch: int = 0  # images encoded at a time, the batch and its negatives staying whole; 0: all, or as many as a GPU holds
    ema: float = 0.0  # decay per step of a moving average of the weights, which is validated and kept; 0: none
    patience: int = 0  # epochs without a better validation loss before it stops and goes back to the best; 0: never
    checkpointing: bool = False  # whether image towers compute activations twice instead of keeping them
    compile: bool = False  # whether image towers are compiled: minutes at the start, faster after, on a GPU
    save_steps: int = 0  # steps after which the state is kept within an epoch, too; 0: after each epoch only


def plan(preset: Preset, *, seed: int, pretrained_tower: bool = False) -> Plan:
    """The preset's plan; a pretrained tower gets its own number of epochs, a smaller batch and a lower rate."""
    precision = best_precision(pretrained_tower) if preset.precision == "auto" else preset.precision
    if not pretrained_tower:
        return Plan(preset.epochs, preset.batch_size, preset.learning_rate, precision, seed)
    rate, batch_size = preset.learning_rate * PRETRAINED_RATE, min(preset.batch_size, PRETRAINED_BATCH)
    return Plan(preset.pretrained_epochs, batch_size, rate, precision, seed)


def best_precision(pretrained_tower: bool) -> str:
    """bf16 on a GPU that has it; on a CPU only for the small tower: depthwise convolutions lose by it (measured).

    On a CPU it is wrong for volumes of few slices, too: see `shallow`.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bf16" if has_bf16 and not pretrained_tower else "no"


def accelerator_of(plan: Plan):
    """Device, precision and processes. Raises ValueError for a precision that the device has not."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if plan.precision == "fp16" and not torch.cuda.is_available():
        raise ValueError('precision "fp16" needs a GPU, and there is none; use "bf16" or "no"')
    AcceleratorState._reset_state()  # or the precision of an earlier run of this process would be asked for again
    on_cpus = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()
    return Accelerator(mixed_precision=plan.precision, cpu=on_cpus or None)


def learning_rate(progress: float, peak: float) -> float:
    """The rate when a share `progress` (0 to 1) of the run is done: a linear warm-up, then half a cosine down to 0."""
    if progress <= WARMUP_SHARE:
        return peak * progress / WARMUP_SHARE
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - WARMUP_SHARE) / (1 - WARMUP_SHARE)))


def descend(groups: list[tuple[list[Tensor], float]], loss: Callable[[], Tensor], *, n_steps: int) -> None:
    """Minimises `loss`, which draws a batch at each call, by steps of AdamW; `groups` are parameters and their peak rates."""
    optimizer = torch.optim.AdamW([{"params": own, "peak": peak} for own, peak in groups], weight_decay=WEIGHT_DECAY)
    for step in range(n_steps):
        value = loss()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate((step + 0.5) / n_steps, group["peak"])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def optimizer_of(model: TextSide, plan: Plan) -> torch.optim.AdamW:
    """AdamW on all that is trained; norms, biases and the scale are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > NORM_LIKE], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in trained if p.ndim <= NORM_LIKE], "weight_decay": 0.0},
    ]
    on_cpu = trained[0].device.type == "cpu"
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=on_cpu or None)  # on a CPU one pass over memory, not eight


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One learning rate for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def keep_freed_memory() -> bool:
    """Makes this process keep what it frees, where the C library can; whether it can.

    A training step frees and takes the same gigabytes again and again. Handed back to Linux each time, every page must be zeroed
    anew: with 3D convolutions that was a quarter of the time of a step (measured). Memory then stays at its peak until the end.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return all(mallopt(option, value) == 1 for option, value in GLIBC_KEEP)
