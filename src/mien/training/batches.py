"""Batches: images and targets as tensors, sampled, shuffled, augmented and mixed (extra: train).

See docs/decisions/0016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mien.data.dataset import Dataset
from mien.errors import DatasetError, RunError
from mien.labels import LabelSet
from mien.models.preprocess import preprocess
from mien.models.spec import Preprocess
from mien.structures import ImageArray
from mien.training.augment import augment
from mien.training.recipe import Stage, TrainConfig
from mien.training.sampling import Draws, epoch_rows, epoch_size, expected_draws
from mien.training.targets import Targets, dataset_targets, joined
from mien.training.teacher import Teacher


@dataclass(frozen=True)
class Tensors:
    """Images of one or several datasets, and their targets.

    Args:
        images: uint8 (n, H, W, C) of each dataset, preprocessed; sizes and channels may differ between datasets.
        targets: Of all images, dataset by dataset.
        draws: How often an epoch draws each image, see `sampling.expected_draws`.
    """

    images: tuple[Tensor, ...]
    targets: Targets
    draws: Draws | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def epoch_size(self) -> int:
        """Number of images that an epoch draws."""
        return epoch_size(self.draws, len(self))


def to_tensors(
    datasets: Sequence[Dataset], heads: Sequence[LabelSet], trained: Sequence[str | None], config: TrainConfig,
    *, teacher: Teacher | None = None, drop_blanks: bool = False,
) -> Tensors:  # fmt: skip
    """Return images and targets as tensors.

    Args:
        datasets: The images, one split of each dataset.
        heads: Label sets of the net's heads.
        trained: The head that each dataset's labels train, see `targets.trained_heads`.
        config: The recipe.
        teacher: Soft labels of the first dataset's images, if any.
        drop_blanks: Leave out images of a single colour.
    """
    images: list[Tensor] = []
    parts = []
    taught = {} if teacher is None else teacher.distributions(heads, temperature=config.distil_temperature)
    for dataset, head in zip(datasets, trained, strict=True):
        pixels = torch.from_numpy(preprocess(dataset.images, _stored(dataset.images, config.preprocess)))
        targets = dataset_targets(dataset, heads, head)
        if drop_blanks:
            flat = pixels.flatten(1)
            kept = flat.amax(1) > flat.amin(1)
            pixels, targets = pixels[kept], {name: each.rows(kept) for name, each in targets.items()}
            if not images:  # the first dataset, which is the teacher's
                taught = {name: each.rows(kept) for name, each in taught.items()}
        images.append(pixels)
        parts.append(targets)
    sizes = [len(pixels) for pixels in images]
    together = joined(parts, sizes, heads, smoothing=config.label_smoothing)
    taught = {name: each.followed_by(sum(sizes[1:])) for name, each in taught.items()}
    return Tensors(tuple(images), replace(together, taught=taught), expected_draws(parts, sizes, heads, config))


def training_tensors(
    datasets: Sequence[Dataset], heads: Sequence[LabelSet], trained: Sequence[str | None], config: TrainConfig,
    *, teacher: Teacher | None = None, world: int,
) -> Tensors:  # fmt: skip
    """Return training images as tensors, without blank ones; arguments as for `to_tensors`.

    Raises:
        DatasetError: They don't fill one batch.
        RunError: A batch is too small for `world` processes.
    """
    train = to_tensors(datasets, heads, trained, config, teacher=teacher, drop_blanks=True)
    if train.epoch_size < config.batch_size:
        raise DatasetError(
            f"{train.epoch_size} training images don't fill one batch of {config.batch_size}; set a smaller one: --set "
            f"batch_size={max(train.epoch_size // 2, 2)}"
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
    rows = epoch_rows(data.draws, len(data), order)
    mixes = config.mixup_alpha > 0 and (config.mixup_epochs == 0 or epoch < config.mixup_epochs)
    for start in range(0, len(rows) - config.batch_size + 1, config.batch_size):
        index = torch.from_numpy(rows[start : start + config.batch_size][rank::world])
        images = _sampled(data.images, index, config, stage, generator)
        targets = data.targets.rows(index)
        if mixes and order.random() < config.mixup_share:
            share = float(order.beta(config.mixup_alpha, config.mixup_alpha))
            images, targets = share * images + (1 - share) * images.flip(0), targets.mixed(share)
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


def _sampled(
    images: Sequence[Tensor], index: Tensor, config: TrainConfig, stage: Stage, generator: torch.Generator
) -> Tensor:
    """Return the images of a batch in the order of its rows; each dataset's are sampled together."""
    if len(images) == 1:
        return sample(images[0][index], config, stage.size, strength=stage.augment, generator=generator)
    batch = torch.empty(len(index), config.preprocess.channels, stage.size, stage.size)
    first = 0
    for pixels in images:
        own = ((index >= first) & (index < first + len(pixels))).nonzero()[:, 0]
        if len(own):
            chosen = pixels[index[own] - first]
            batch[own] = sample(chosen, config, stage.size, strength=stage.augment, generator=generator)
        first += len(pixels)
    return batch


def _stored(images: ImageArray, wanted: Preprocess) -> Preprocess:
    """Return how images are kept in memory: no larger and with no more channels than they have; `sample` adds these."""
    if wanted.equalize:
        return wanted
    height, width, channels = images.shape[1:]
    size = min(wanted.size, max(height, width, 8))
    return replace(wanted, size=size, channels=min(wanted.channels, channels))
