"""Augmentation of whole batches, as tensors (extra: train)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.training.degrade import degrade
from mien.training.recipe import Augment


def augment(images: Tensor, config: Augment, *, size: int, strength: float, generator: torch.Generator) -> Tensor:
    """Mirror, turn, scale, shift and resize in one resampling step; then change light, degrade and erase.

    Args:
        images: uint8 (n, H, W, C).
        config: Ranges at strength 1.
        size: Side of the result in pixels.
        strength: From 0, only resizing, to 1.
        generator: Source of all randomness; the same state gives the same result.

    Returns:
        float32 (n, C, size, size) in [0, 255], channels_last.
    """
    n = len(images)
    pixels = images.permute(0, 3, 1, 2).float()
    if strength == 0 and pixels.shape[2:] == (size, size):
        return pixels

    def symmetric(limit: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * limit * strength

    theta = _affine(
        rotation=symmetric(math.radians(config.rotation)),
        scale=1 + symmetric(config.scale),
        shift=torch.stack([symmetric(config.shift), symmetric(config.shift)], 1),
        mirror=(torch.rand(n, generator=generator) < 0.5) & config.flip & (strength > 0),
    )
    if config.box_jitter > 0 and strength > 0:
        error = torch.randn(n, 4, generator=generator).clamp_(-3, 3) * config.box_jitter * strength
        theta = _jittered(theta, centre=error[:, :2], log_side=error[:, 2:])
    grid = F.affine_grid(theta, [n, pixels.shape[1], size, size], align_corners=False)
    changed = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    if strength == 0:
        return changed
    changed = changed * (1 + symmetric(config.brightness).view(n, 1, 1, 1))
    mean = changed.mean((1, 2, 3), keepdim=True)
    changed = ((changed - mean) * (1 + symmetric(config.contrast).view(n, 1, 1, 1)) + mean).clamp_(0, 255)
    changed = degrade(changed, config, strength=strength, generator=generator)
    return erase(changed, probability=config.erase * strength, generator=generator)


def erase(images: Tensor, *, probability: float, generator: torch.Generator) -> Tensor:
    """Cover a rectangle of 2 to 25 % of some images with a random grey level.

    Random erasing of Zhong et al. 2017, arXiv:1708.04896.

    Args:
        images: float (n, C, H, W) in [0, 255].
        probability: Of an image to be changed, in [0, 1].
        generator: Source of randomness.

    Returns:
        A new tensor of the same shape.
    """
    n, _, height, width = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    area = uniform(0.02, 0.25) * height * width
    ratio = uniform(math.log(0.3), math.log(3.3)).exp()
    half_height, half_width = (area * ratio).sqrt() / 2, (area / ratio).sqrt() / 2
    y, x = uniform(0, height), uniform(0, width)
    rows = (torch.arange(height) + 0.5 - y[:, None]).abs() < half_height[:, None]
    columns = (torch.arange(width) + 0.5 - x[:, None]).abs() < half_width[:, None]
    chosen = torch.rand(n, generator=generator) < probability
    covered = (rows[:, :, None] & columns[:, None, :] & chosen[:, None, None])[:, None]
    return torch.where(covered, uniform(0, 255).view(n, 1, 1, 1), images)


def _affine(*, rotation: Tensor, scale: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Return (n, 2, 3) matrices from output to input coordinates, both in [-1, 1]."""
    cos, sin = rotation.cos() / scale, rotation.sin() / scale
    flip = torch.where(mirror, -1.0, 1.0)
    first = torch.stack([cos * flip, -sin, 2 * shift[:, 0]], 1)
    second = torch.stack([sin * flip, cos, 2 * shift[:, 1]], 1)
    return torch.stack([first, second], 1)


def _jittered(theta: Tensor, *, centre: Tensor, log_side: Tensor) -> Tensor:
    """Return matrices that look at a box off by an error: centre in sides, width and height by a factor, (n, 2) each.

    The box is upright in the image that is read, whatever the turn, as a detector's is.
    """
    sides = log_side.exp()
    matrix = theta[:, :, :2] * sides[:, :, None]
    return torch.cat([matrix, (theta[:, :, 2] + 2 * centre)[:, :, None]], 2)
