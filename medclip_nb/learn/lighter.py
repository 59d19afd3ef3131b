"""What makes a step lighter without changing it: activations computed twice instead of kept, and a compiled tower.

Both change how modules are called, not what they are called: names of weights stay, and afterwards everything is as before.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..model.dual_encoder import TextSide


@contextmanager
def lighter(model: TextSide, *, checkpointing: bool = False, compile: bool = False) -> Iterator[None]:
    """Inside, the image tower keeps only what enters its stages, or is compiled, or both."""
    with ExitStack() as stack:
        for tower in towers(model):
            if checkpointing:
                stack.enter_context(_checkpointed(tower))
            if compile:
                stack.enter_context(_compiled(tower))
        yield


def towers(model: TextSide) -> list[nn.Module]:
    """The image towers inside a model; an adapter on embeddings of slices has none."""
    return [module for name, module in model.named_modules() if name.split(".")[-1] == "tower"]


def stages(tower: nn.Module) -> list[nn.Module]:
    """The parts that a tower calls one after the other."""
    found = []
    for child in tower.children():
        found += list(child) if isinstance(child, nn.ModuleList) else [child] if any(True for _ in child.parameters()) else []
    return stages(found[0]) if len(found) == 1 else [stage for stage in found if any(True for _ in stage.children())]


@contextmanager
def _checkpointed(tower: nn.Module) -> Iterator[None]:
    wrapped = stages(tower)
    for stage in wrapped:
        again = partial(_without_tracking, stage)
        stage.forward = partial(
            checkpoint, stage.forward, use_reentrant=False, context_fn=lambda again=again: (nullcontext(), again())
        )
    try:
        yield
    finally:
        for stage in wrapped:
            del stage.forward


@contextmanager
def _without_tracking(stage: nn.Module) -> Iterator[None]:
    """The second time, running statistics do not move again."""
    norms = [m for m in stage.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, n) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(n)


@contextmanager
def _compiled(tower: nn.Module) -> Iterator[None]:
    tower.compile()
    try:
        yield
    finally:
        tower._compiled_call_impl = None
