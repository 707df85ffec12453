"""How often an epoch draws each image: datasets by weight, classes in balance (extra: train)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.labels import LabelSet
from mien.structures import IntArray
from mien.training.recipe import TrainConfig
from mien.training.targets import HeadTargets, Targets

Draws: TypeAlias = npt.NDArray[np.float64]  # expected draws of each image in an epoch


def expected_draws(
    parts: Sequence[Mapping[str, HeadTargets]], sizes: Sequence[int], heads: Sequence[LabelSet], config: TrainConfig
) -> Draws | None:
    """Return how often an epoch draws each image, on average; None where it draws each once.

    Args:
        parts: Targets of each dataset by head.
        sizes: Number of images of each dataset.
        heads: Label sets of all heads, the default one first.
        config: The recipe: `data_weights` and `class_balance`.

    Returns:
        float64 (n,), dataset by dataset; its sum is a whole number.
    """
    weights = config.data_weights or (1.0,) * len(parts)
    if set(weights) == {1.0} and config.class_balance == 0:
        return None
    draws = []
    for part, n, weight in zip(parts, sizes, weights, strict=True):
        shares = _balanced(part, n, heads, config.class_balance)
        draws.append(shares * (max(round(weight * n), 1) / max(shares.sum(), 1e-9)))
    return np.concatenate(draws)


def epoch_rows(draws: Draws | None, n: int, rng: np.random.Generator) -> IntArray:
    """Return the rows of one epoch in random order, each as often as expected, rounded up or down.

    Systematic sampling: Madow & Madow 1944.

    Args:
        draws: From `expected_draws`.
        n: Number of images.
        rng: Source of randomness.
    """
    order = rng.permutation(n)
    if draws is None:
        return order
    ends = draws[order].cumsum()
    ends[-1] = round(draws.sum())
    counts = np.diff(np.floor(ends + rng.random()), prepend=0.0).astype(np.int64)
    return rng.permutation(np.repeat(order, counts))


def epoch_size(draws: Draws | None, n: int) -> int:
    """Return the number of rows in an epoch."""
    return n if draws is None else round(draws.sum())


def log_priors(targets: Targets, draws: Draws | None, heads: Sequence[LabelSet]) -> dict[str, Tensor]:
    """Return the logarithm of how often an epoch shows each class of each head, float32 (k,).

    One image is added to each class, so that one without images has a prior above 0.
    """
    priors = {}
    for labels in heads:
        soft = targets[labels.name].distributions(len(labels))
        times = soft.counted if draws is None else soft.counted * torch.from_numpy(draws).float()
        counts = (soft.probabilities * times[:, None]).sum(0) + 1
        priors[labels.name] = (counts / counts.sum()).log()
    return priors


def _balanced(part: Mapping[str, HeadTargets], n: int, heads: Sequence[LabelSet], balance: float) -> Draws:
    """Return weights of a dataset's images, (class frequency)^-balance by the first head that they have targets for."""
    labels = next(labels for labels in heads if labels.name in part)
    soft = part[labels.name].distributions(len(labels))
    rows = soft.probabilities.double().numpy()
    counted = soft.counted.numpy() > 0
    if balance == 0 or not counted.any():
        return np.ones(n)
    frequency = rows[counted].mean(0)
    weights = rows @ np.where(frequency > 0, frequency, 1.0) ** -balance
    return np.where(counted, weights / weights[counted].mean(), 1.0)
