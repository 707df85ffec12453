"""The objective of the training: a weighted sum of the heads' losses (extra: train)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from mien.labels import FERPLUS, LabelSet
from mien.training.batches import Tensors
from mien.training.recipe import TrainConfig
from mien.training.sampling import log_priors
from mien.training.targets import Targets


@dataclass(frozen=True)
class HeadLoss:
    """The part of a head in the objective.

    Args:
        weight: Of its loss.
        adjustment: Added to its logits in training, float32 (k,): τ·log prior of Menon et al. 2021, arXiv:2007.07314.
            The model is exported without it, so rare classes win more often. None for nothing.
    """

    weight: float = 1.0
    adjustment: Tensor | None = None


def head_losses(config: TrainConfig, train: Tensors, heads: Sequence[LabelSet]) -> dict[str, HeadLoss]:
    """Return each head's part in the objective, as the recipe says; priors are those of the images that epochs draw."""
    if not config.heads:
        weights = {labels.name: config.ferplus_weight if labels.name == FERPLUS.name else 1.0 for labels in heads[1:]}
        return {labels.name: HeadLoss(weights.get(labels.name, 1.0)) for labels in heads}
    priors = log_priors(train.targets, train.draws, heads)
    return {
        head.labels: HeadLoss(
            head.weight, head.logit_adjustment * priors[head.labels] if head.logit_adjustment > 0 else None
        )
        for head in config.heads
    }


def training_loss(
    logits: Mapping[str, Tensor], targets: Targets, losses: Mapping[str, HeadLoss], *, smoothing: float
) -> Tensor:
    """Return the objective: the weighted sum of each head's mean cross-entropy over the images that have a target.

    Classes are smoothed, and mixed in batches with mixup.

    Args:
        logits: (n, k) of each head by its name.
        targets: Of the same images.
        losses: Part of each head.
        smoothing: Of classes, in [0, 1); distributions stay as they are.
    """
    parts = []
    for name, part in losses.items():
        adjusted = logits[name].float()
        if part.adjustment is not None:
            adjusted = adjusted + part.adjustment.to(adjusted.device)
        parts.append(targets[name].loss(adjusted, weight=part.weight, smoothing=smoothing))
    return sum(parts[1:], parts[0])


def first_logits(logits: Mapping[str, Tensor]) -> Tensor:
    """Return the logits of the first head, float32 (n, k)."""
    return next(iter(logits.values())).float()
