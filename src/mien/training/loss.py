"""Losses: the one that is minimised, and the plain one that is comparable between train and valid (extra: train)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from mien.labels import FERPLUS
from mien.training.batches import Targets
from mien.training.recipe import TrainConfig


def training_loss(logits: Mapping[str, Tensor], targets: Targets, config: TrainConfig) -> Tensor:
    """Return the objective: cross-entropy of the first head, plus that of the FER+ head against the raters' votes.

    The first head's targets are smoothed, and mixed in batches with mixup. Soft labels: Barsoum et al. 2016,
    arXiv:1608.01041.

    Args:
        logits: (n, k) of each head by its name.
        targets: Of the same images.
        config: The recipe.
    """
    first = first_logits(logits)
    smooth = config.label_smoothing
    loss = F.cross_entropy(first, targets.first, label_smoothing=smooth)
    if targets.share < 1:
        second = F.cross_entropy(first, targets.second, label_smoothing=smooth)
        loss = targets.share * loss + (1 - targets.share) * second
    if FERPLUS.name in logits and len(logits) > 1:
        log_p = logits[FERPLUS.name].float().log_softmax(1)
        per_image = -(targets.votes * log_p).sum(1)
        counted = targets.has_votes.sum().clamp(min=1)
        loss = loss + config.ferplus_weight * (per_image * targets.has_votes).sum() / counted
    return loss


def first_logits(logits: Mapping[str, Tensor]) -> Tensor:
    """Return the logits of the first head, float32 (n, k)."""
    return next(iter(logits.values())).float()
