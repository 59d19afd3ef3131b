"""Fine-tuning less than everything: freezing, and LoRA (Hu et al. 2021) in the layers of any tower."""

import re
from collections.abc import Sequence

import torch
from torch import nn

ADAPTER = "default"  # what peft calls its first adapter
LORA_ALPHA = 16.0  # scale of the update, before it is divided by the rank
# what libraries call the projections of an attention layer (the paper adapts these, section 4.2)
ATTENTION = ("query", "key", "value", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin", "q", "k", "v", "qkv", "Wqkv")


def freeze(module: nn.Module) -> nn.Module:
    """The module with weights that get no gradient and layers that stay in eval mode, whatever `train()` says.

    So batch norms keep their statistics and dropout is off, for good.
    """
    for part in module.modules():
        part.register_forward_pre_hook(_stay_in_eval)
    return module.requires_grad_(False)


def add_lora(tower: nn.Module, *, rank: int, alpha: float = LORA_ALPHA, targets: Sequence[str] | None = None) -> nn.Module:
    """The tower, changed in place: frozen, with a trainable update of low rank beside some layers, zero at the start.

    `targets` are the last parts of layers' names. By default: the projections of attention; in a tower without, all linear
    layers and ungrouped convolutions. Raises ValueError if nothing fits or LoRA is there already.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if rank < 1:
        raise ValueError(f"rank of LoRA must be at least 1, got {rank}")
    if _adapted(tower):
        raise ValueError("this tower has LoRA already; merge_lora(tower) first")
    names = "|".join(re.escape(name) for name in _choose(tower, targets))
    return inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=names), freeze(tower))


@torch.no_grad()
def merge_lora(tower: nn.Module) -> nn.Module:
    """The tower, changed in place: updates are added to the layers they belong to, and LoRA is gone.

    Its weights have the names of a tower that never had any; they stay frozen. Copy the tower first to train on.
    """
    for name, layer in _adapted(tower).items():
        base, down, up = layer.get_base_layer(), layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        # peft 0.21 merges no 1 x 1 x 1 convolutions; this is its formula for every kind of layer
        base.weight += layer.scaling[ADAPTER] * torch.einsum("or,r...->o...", up.flatten(1), down)
        tower.set_submodule(name, base)
    for part in tower.modules():
        vars(part).pop("peft_config", None)
    return tower


def n_trainable(module: nn.Module) -> tuple[int, int]:
    """How many weights get gradients, and how many there are."""
    counts = [(p.numel() * p.requires_grad, p.numel()) for p in module.parameters()]
    return sum(trained for trained, _ in counts), sum(n for _, n in counts)


def _stay_in_eval(module: nn.Module, _: tuple) -> None:
    module.training = False


def _adapted(tower: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in tower.named_modules() if hasattr(module, "lora_A")}


def _choose(tower: nn.Module, targets: Sequence[str] | None) -> list[str]:
    kinds = (nn.Linear, nn.Conv2d, nn.Conv3d)
    layers = {n: m for n, m in tower.named_modules() if isinstance(m, kinds) and getattr(m, "groups", 1) == 1}
    last = {name: name.rpartition(".")[2] for name in layers}
    attention = [name for name, m in layers.items() if isinstance(m, nn.Linear) and last[name] in ATTENTION]
    chosen = attention or list(layers) if targets is None else [name for name in layers if last[name] in targets]
    if not layers:
        raise ValueError(f"a {type(tower).__name__} has no linear layer and no ungrouped convolution: nothing for LoRA to adapt")
    if not chosen:
        raise ValueError(f"no layer is called {', '.join(targets)}; there are: {', '.join(sorted(set(last.values())))}")
    return chosen
