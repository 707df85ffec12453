"""Training time of a convolution with our gradient for small maps and with PyTorch's (extra: train).

Forward and backward in bfloat16 of those convolutions of `base` whose maps are small, at the sizes that it trains at.
Both take turns in one process. Where bfloat16 is the slower precision neither is used: mien then trains in float32.

Example: python benchmarks/convolutions.py --out convolutions.json
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from statistics import median

import torch
from torch import nn

from _common import arguments, markdown, report
from mien.cores import usable_cores
from mien.nets.blocks import Convolution

SHAPES = ((160, 320, 2), (320, 320, 1))  # channels, width, stride
SIDES = {32: 8, 40: 10, 48: 12}  # size of a picture -> side of the maps that the stride then halves


@dataclass(frozen=True, slots=True)
class Case:
    """One convolution on pictures of one size; medians in milliseconds."""

    size: int
    channels: int
    width: int
    stride: int
    ours_ms: float
    torch_ms: float


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--batch", type=int, default=128, help="pictures (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="turns of each (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())
    cases = [case(size, *shape, batch=options.batch, repeats=options.repeats) for size in SIDES for shape in SHAPES]
    rows = [
        [
            f"{c.size}×{c.size}, {c.channels} → {c.width}{' /2' if c.stride == 2 else ''}",
            f"{c.ours_ms:.1f} ms",
            f"{c.torch_ms:.1f} ms",
            f"{c.torch_ms / c.ours_ms:.2f}",
        ]
        for c in cases
    ]
    report(
        "Convolutions of small maps: forward and backward",
        [markdown(["images, channels", "ours", "PyTorch's", "ratio"], rows)],
        {"cases": [asdict(c) for c in cases]},
        out=options.out,
        torch=torch.__version__,
        torch_threads=torch.get_num_threads(),
        batch=options.batch,
    )


def case(size: int, channels: int, width: int, stride: int, *, batch: int, repeats: int) -> Case:
    side = SIDES[size] if stride == 2 else SIDES[size] // 2
    maps = torch.randn(batch, channels, side, side).bfloat16().contiguous(memory_format=torch.channels_last)
    maps.requires_grad_()
    ours = Convolution(channels, width, stride=stride)
    theirs = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
    layers = [layer.to(memory_format=torch.channels_last) for layer in (ours, theirs)]
    times: list[list[float]] = [[], []]
    for _ in range(repeats):
        for layer, found in zip(layers, times, strict=True):
            found.append(milliseconds(layer, maps))
    return Case(size, channels, width, stride, *map(median, times))


def milliseconds(layer: nn.Module, maps: torch.Tensor) -> float:
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(maps)
    torch.autograd.grad(y, [maps, *layer.parameters()], torch.ones_like(y))
    return 1e3 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
