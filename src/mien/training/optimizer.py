"""Optimiser, learning rate and the moving average of the weights (extra: train)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mien.nets.nets import Net
from mien.training.recipe import TrainConfig

EMA_EVERY = 4  # steps between updates of the average; with decay⁴ it is the same average at a quarter of the cost


def new_optimizer(net: Net, config: TrainConfig) -> torch.optim.SGD:
    """Return SGD in four groups: backbone and heads, each with weights that decay and parameters that don't.

    The entry "share" of a group is its factor on the learning rate.
    """
    groups: list[dict[str, object]] = []
    layers = {module.weight for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    for part, share in ((net.backbone, config.backbone_rate), (net.heads, 1.0)):
        learning = [p for p in part.parameters() if p.requires_grad]
        decayed, others = [p for p in learning if p in layers], [p for p in learning if p not in layers]
        groups.append({"params": decayed, "weight_decay": config.weight_decay, "share": share})
        groups.append({"params": others, "weight_decay": 0.0, "share": share})
    momentum = config.momentum
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True)


def learning_rate(config: TrainConfig, epochs_done: float) -> float:
    """Return the learning rate after a number of epochs: linear warm-up from a tenth, then one cosine to its end."""
    warmup = min(config.warmup_epochs, config.epochs)
    if epochs_done < warmup:
        return config.learning_rate * (0.1 + 0.9 * epochs_done / warmup)
    share = (epochs_done - warmup) / max(config.epochs - warmup, 1e-9)
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * cosine)


# Not swa_utils.AveragedModel: its first update copies, and it counts updates, where the decay depends on steps.
@torch.no_grad()
def update_average(average: Net, net: Net, *, decay: float, step: int) -> None:
    """Move the averaged weights and batch statistics toward the current ones; faster in the first steps."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(_floats(average), _floats(net), weight)


def _floats(net: Net) -> list[Tensor]:
    return [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
