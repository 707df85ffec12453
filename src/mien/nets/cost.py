"""Cost of a net on any machine: parameters and multiply–accumulates per image (extra: train)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from mien.models.spec import Preprocess
from mien.nets.nets import Net


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a net.

    Args:
        parameters: Number of parameters, heads included.
        macs: Multiply–accumulate operations per image in convolutions and matrix products.
    """

    parameters: int
    macs: int


@torch.no_grad()
def cost_of(net: Net, preprocess: Preprocess) -> Cost:
    """Return the cost of a net at its input size; the net is left in eval mode."""
    picture = torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size)
    net.eval()
    with FlopCounterMode(display=False) as counter:
        net(picture)
    return Cost(sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops() // 2)
