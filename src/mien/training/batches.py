"""Batches: images and targets as tensors, sampled, shuffled, augmented and mixed (extra: train).

See docs/decisions/0016.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mien.data.dataset import Dataset
from mien.errors import DatasetError, RunError
from mien.labels import FERPLUS
from mien.models.preprocess import preprocess
from mien.models.spec import Preprocess
from mien.structures import ImageArray
from mien.training.augment import augment
from mien.training.recipe import Stage, TrainConfig


@dataclass(frozen=True)
class Tensors:
    """One split as tensors.

    Args:
        images: uint8 (n, H, W, C), preprocessed.
        targets: int64 (n,).
        votes: Distribution over the FER+ labels, float32 (n, 8).
        has_votes: float32 (n,), 1 where the votes count.
    """

    images: Tensor
    targets: Tensor
    votes: Tensor
    has_votes: Tensor


@dataclass(frozen=True)
class Targets:
    """Targets of a batch: two class ids per image, and the share of the first in the mixture (1 without mixup)."""

    first: Tensor
    second: Tensor
    share: float
    votes: Tensor
    has_votes: Tensor

    def to(self, device: torch.device) -> Targets:
        """Return a copy on a device."""
        moved = (t.to(device) for t in (self.first, self.second, self.votes, self.has_votes))
        first, second, votes, has_votes = moved
        return Targets(first, second, self.share, votes, has_votes)


def to_tensors(split: Dataset, config: TrainConfig) -> Tensors:
    """Return a split as tensors; votes are zero where the data has none."""
    images = torch.from_numpy(preprocess(split.images, _stored(split.images, config.preprocess)))
    targets = torch.from_numpy(split.targets)
    if split.votes is None:
        return Tensors(images, targets, torch.zeros(len(targets), len(FERPLUS)), torch.zeros(len(targets)))
    # Columns 8 and 9 are "unknown" and "not a face": where they lead, the votes say nothing about the expression.
    counts = torch.from_numpy(split.votes)
    faces = counts[:, : len(FERPLUS)]
    counted = (counts.argmax(1) < len(FERPLUS)) & (faces.sum(1) > 0)
    return Tensors(images, targets, faces / faces.sum(1, keepdim=True).clamp(min=1), counted.float())


def training_tensors(images: Dataset, config: TrainConfig, *, world: int) -> Tensors:
    """Return training images as tensors, without blank ones.

    Raises:
        DatasetError: They don't fill one batch.
        RunError: A batch is too small for `world` processes.
    """
    train = _without_blanks(to_tensors(images, config))
    if len(train.targets) < config.batch_size:
        raise DatasetError(
            f"{len(train.targets)} training images don't fill one batch of {config.batch_size}; "
            "set a smaller batch_size"
        )
    if config.batch_size < 2 * world:
        raise RunError(f"a batch of {config.batch_size} is too small for {world} processes; set a larger batch_size")
    return train


def batches(
    data: Tensors, config: TrainConfig, stage: Stage, *, epoch: int, rank: int, world: int
) -> Iterator[tuple[Tensor, Targets]]:
    """Yield one epoch of augmented batches; each of `world` processes gets its share of every batch.

    Images are float32 (n, C, size, size) in [0, 255], channels_last. All randomness follows from seed, epoch and rank.
    """
    order = np.random.default_rng([config.seed, epoch])  # the same in every process
    generator = torch.Generator().manual_seed(int(np.random.default_rng([config.seed, epoch, rank]).integers(2**62)))
    torch.manual_seed(int(np.random.default_rng([config.seed, epoch, rank, 1]).integers(2**62)))  # for dropout
    shuffled = order.permutation(len(data.targets))
    mixes = config.mixup_alpha > 0 and (config.mixup_epochs == 0 or epoch < config.mixup_epochs)
    for start in range(0, len(shuffled) - config.batch_size + 1, config.batch_size):
        index = torch.from_numpy(shuffled[start : start + config.batch_size][rank::world])
        images = sample(data.images[index], config, stage.size, strength=stage.augment, generator=generator)
        targets = Targets(data.targets[index], data.targets[index], 1.0, data.votes[index], data.has_votes[index])
        if mixes and order.random() < config.mixup_share:
            share = float(order.beta(config.mixup_alpha, config.mixup_alpha))
            images, targets = _mixed(images, targets, share)
        yield images.contiguous(memory_format=torch.channels_last), targets


def sample(pixels: Tensor, config: TrainConfig, size: int, *, strength: float, generator: torch.Generator) -> Tensor:
    """Augment and resize images, and expand grey ones to the channels of the net.

    Args:
        pixels: uint8 (n, H, W, C).
        config: The recipe.
        size: Side of the result in pixels.
        strength: Of the augmentation, in [0, 1]; 0 only resizes.
        generator: Source of all randomness.

    Returns:
        float32 (n, C, size, size) in [0, 255].
    """
    images = augment(pixels, config.augment, size=size, strength=strength, generator=generator)
    return images if images.shape[1] == config.preprocess.channels else images.expand(-1, 3, -1, -1)


def _mixed(images: Tensor, targets: Targets, share: float) -> tuple[Tensor, Targets]:
    """Mix a batch with itself in reverse order (mixup: Zhang et al. 2018, arXiv:1710.09412)."""
    votes = share * targets.votes + (1 - share) * targets.votes.flip(0)
    has_votes = targets.has_votes * targets.has_votes.flip(0)
    mixed = Targets(targets.first, targets.first.flip(0), share, votes, has_votes)
    return share * images + (1 - share) * images.flip(0), mixed


def _stored(images: ImageArray, wanted: Preprocess) -> Preprocess:
    """Return how images are kept in memory: no larger and with no more channels than they have; `sample` adds these."""
    if wanted.equalize:
        return wanted
    height, width, channels = images.shape[1:]
    size = min(wanted.size, max(height, width, 8))
    return replace(wanted, size=size, channels=min(wanted.channels, channels))


def _without_blanks(data: Tensors) -> Tensors:
    flat = data.images.flatten(1)
    kept = flat.amax(1) > flat.amin(1)
    return Tensors(data.images[kept], data.targets[kept], data.votes[kept], data.has_votes[kept])
