"""Degradations of real photographs, on batches: light, blur, low resolution, noise, compression (extra: train)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.training.recipe import Augment

# Quantisation of luminance, the example of the JPEG standard: ITU-T T.81, Annex K, table K.1.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
BLOCK = 8  # pixels per side of a JPEG block
BEST_QUALITY = 95  # of compressed images

Draw = Callable[[float, float, float], Tensor]  # (low, high, value of images left as they are) -> (n, 1, 1, 1)


def degrade(images: Tensor, config: Augment, *, strength: float, generator: torch.Generator) -> Tensor:
    """Degrade images, each kind of degradation in a random share of them, in the order of light, lens, sensor and file.

    Nothing is drawn from the generator for a kind that is off.

    Args:
        images: float (n, C, H, W) in [0, 255].
        config: Ranges at strength 1.
        strength: Factor on the ranges, in [0, 1].
        generator: Source of randomness.

    Returns:
        float32 of the same shape, in [0, 255].
    """
    n, _, height, width = images.shape

    def draw(low: float, high: float, neutral: float) -> Tensor:
        values = torch.rand(n, generator=generator) * (high - low) + low
        chosen = torch.rand(n, generator=generator) < config.degraded
        return torch.where(chosen, values, neutral).view(n, 1, 1, 1)

    if config.side_light > 0:
        light = draw(-config.side_light * strength, config.side_light * strength, 0)
        angle = torch.rand(n, generator=generator) * 2 * math.pi
        images = (images * (1 + light * _slope(angle, height, width))).clamp_(0, 255)
    if config.gamma > 1:
        most = strength * math.log(config.gamma)
        images = 255 * (images / 255).pow(draw(-most, most, 0).exp())
    if config.blur > 0:
        sigma = draw(0, config.blur * strength, 0).flatten()
        images = _resampled(images, lambda side: _blurring(side, sigma))
    if config.low_resolution > 1:
        factor = draw(0, strength * math.log(config.low_resolution), 0).exp().flatten()
        images = _resampled(images, lambda side: _shrinking(side, factor))
    if config.noise > 0:
        sigma = draw(0, config.noise * strength, 0)
        images = (images + sigma * torch.randn(images.shape, generator=generator)).clamp_(0, 255)
    if config.jpeg_quality < BEST_QUALITY:
        lowest = BEST_QUALITY - strength * (BEST_QUALITY - config.jpeg_quality)
        corner = torch.randint(BLOCK, (2,), generator=generator).tolist()  # of the crop in the grid of blocks
        images = compress(images, draw(lowest, BEST_QUALITY, 100), corner=(corner[0], corner[1]))
    return images


def compress(images: Tensor, quality: Tensor, *, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """Quantise images as JPEG does, all channels as luminance.

    Args:
        images: float (n, C, H, W) in [0, 255].
        quality: Of each image, 1 to 100, float (n, 1, 1, 1), by the scale of the Independent JPEG Group's library.
        corner: Row and column of the images' corner in the grid of blocks of 8 pixels.

    Returns:
        float32 of the same shape, in [0, 255].
    """
    n, channels, height, width = images.shape
    top, left = corner
    bottom, right = -(top + height) % BLOCK, -(left + width) % BLOCK
    padded = F.pad(images, (left, right, top, bottom), mode="replicate")
    rows, columns = padded.shape[2] // BLOCK, padded.shape[3] // BLOCK
    blocks = (padded - 128).view(n, channels, rows, BLOCK, columns, BLOCK).transpose(3, 4)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    steps = ((torch.tensor(LUMINANCE) * scale + 50) / 100).floor().clamp(1, 255).view(n, 1, BLOCK**2)
    cosines = torch.kron(_cosines(), _cosines())  # of a whole block at once
    coefficients = ((blocks.reshape(n, -1, BLOCK**2) @ cosines.T) / steps).round_() * steps
    decoded = (coefficients @ cosines).view(n, channels, rows, columns, BLOCK, BLOCK).transpose(3, 4)
    decoded = decoded.reshape(padded.shape)
    return (decoded[:, :, top : top + height, left : left + width] + 128).clamp_(0, 255)


def _slope(angle: Tensor, height: int, width: int) -> Tensor:
    """Return planes that rise from -1 to 1 or less in directions, (n,) radians, as (n, 1, H, W)."""
    y, x = (torch.linspace(-1, 1, side) for side in (height, width))
    return (angle.sin().view(-1, 1, 1, 1) * y[:, None] + angle.cos().view(-1, 1, 1, 1) * x) / math.sqrt(2)


def _resampled(images: Tensor, matrices: Callable[[int], Tensor]) -> Tensor:
    """Apply a linear map of rows and columns to each image; `matrices` returns (n, side, side) for a side."""
    height, width = images.shape[2:]
    down = matrices(height)
    across = down if width == height else matrices(width)
    return down[:, None] @ images @ across[:, None].transpose(2, 3)


def _blurring(side: int, sigma: Tensor) -> Tensor:
    """Return matrices that blur by a Gaussian of sigma sides, (n,); the border takes the mean of the pixels it has."""
    distances = torch.arange(1.0 - side, side)
    spread = (sigma * side).clamp(min=0.1)  # 0.1 pixel blurs nothing
    weights = (-(distances**2) / (2 * spread[:, None] ** 2)).exp()
    weights[weights < 1e-6] = 0  # far pixels' tiny numbers would slow the products down
    matrices = weights.unfold(1, side, 1).flip(1)  # [i, j] is the weight of distance j - i
    return matrices / matrices.sum(2, keepdim=True)


def _shrinking(side: int, factor: Tensor) -> Tensor:
    """Return matrices that average over cells of factor (n,) pixels and interpolate between their centres."""
    cells = (side / factor).round().clamp(min=1)
    different, which = np.unique(cells.numpy(), return_inverse=True)  # a few
    kinds = torch.from_numpy(different)[:, None, None]
    width = side / kinds
    pixels, cell = torch.arange(side) + 0.5, torch.arange(float(side))[:, None]
    overlap = torch.minimum(pixels + 0.5, (cell + 1) * width) - torch.maximum(pixels - 0.5, cell * width)
    average = overlap.clamp(min=0) / width
    place = torch.minimum((pixels[:, None] / width - 0.5).clamp(min=0), kinds - 1)
    between = (1 - (place - cell[:, 0]).abs()).clamp(min=0)
    return (between @ average)[torch.from_numpy(which)]


def _cosines() -> Tensor:
    """Return the orthonormal DCT-II of 8 points, (8, 8)."""
    k, x = torch.arange(float(BLOCK))[:, None], torch.arange(float(BLOCK))
    rows = ((2 * x + 1) * k * math.pi / (2 * BLOCK)).cos() * math.sqrt(2 / BLOCK)
    rows[0] /= math.sqrt(2)
    return rows
