"""Numeric precision of training: the faster one on this machine (extra: train). See docs/decisions/0015."""

from __future__ import annotations

import time
from typing import Literal

import torch
from torch.nn import functional as F

from mien.machine.facts import machine_facts
from mien.training.recipe import Precision


def training_facts() -> dict[str, object]:
    """Return the facts of this machine that results depend on, as plain data."""
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {**machine_facts(), "torch": torch.__version__, "cuda": cuda}


def fastest_precision() -> Literal["32-true", "bf16-mixed"]:
    """Measure a convolution in both precisions and return the faster one.

    Having the instructions is not enough: AVX512-bf16 doubles the speed of some processors and halves it on others.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    full, half = _seconds(torch.float32), _seconds(torch.bfloat16)
    return "bf16-mixed" if half < 0.9 * full else "32-true"


def chosen_precision(wanted: Precision) -> Literal["32-true", "bf16-mixed"]:
    """Return the precision to train in, measured for "auto"."""
    return fastest_precision() if wanted == "auto" else wanted


def _seconds(dtype: torch.dtype) -> float:
    images = torch.randn(32, 64, 24, 24).to(dtype, memory_format=torch.channels_last).requires_grad_()
    weights = torch.randn(64, 64, 3, 3).to(dtype, memory_format=torch.channels_last).requires_grad_()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        torch.autograd.grad(F.conv2d(images, weights, padding=1).sum(), (images, weights))
        times.append(time.perf_counter() - began)
    return min(times)
