"""What a net costs, whatever the machine: parameters, and multiplications for a picture (extra: train)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from mien.models.spec import Preprocess
from mien.nets.nets import Net


@dataclass(frozen=True, slots=True)
class Cost:
    """What a net costs.

    Args:
        parameters: Numbers that it learns, those of its heads too.
        macs: Multiplications, each with an addition, for one picture; those of convolutions and matrices.
    """

    parameters: int
    macs: int


@torch.no_grad()
def cost_of(net: Net, preprocess: Preprocess) -> Cost:
    """Count what a net costs for pictures of the size and channels it is made for; it is left in eval mode."""
    picture = torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size)
    net.eval()
    with FlopCounterMode(display=False) as counter:
        net(picture)
    return Cost(sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops() // 2)
