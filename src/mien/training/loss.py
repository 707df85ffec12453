"""The objective of the training: a weighted sum of the heads' losses (extra: train)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
        distil_weight: Share of the loss by a teacher, where there is one; the labels have the rest.
        temperature: Temperature with which the teacher's labels were softened.
    """

    weight: float = 1.0
    adjustment: Tensor | None = None
    distil_weight: float = 0.0
    temperature: float = 1.0


def head_losses(config: TrainConfig, train: Tensors, heads: Sequence[LabelSet]) -> dict[str, HeadLoss]:
    """Return each head's part in the objective, as the recipe says; priors are those of the images that epochs draw."""
    losses = {labels.name: HeadLoss() for labels in heads}
    if config.heads:
        priors = log_priors(train.targets, train.draws, heads)
        for head in config.heads:
            adjustment = head.logit_adjustment * priors[head.labels] if head.logit_adjustment > 0 else None
            losses[head.labels] = HeadLoss(head.weight, adjustment)
    elif any(labels.name == FERPLUS.name for labels in heads[1:]):
        losses[FERPLUS.name] = HeadLoss(config.ferplus_weight)
    for name in train.targets.taught:
        losses[name] = replace(losses[name], distil_weight=config.distil_weight, temperature=config.distil_temperature)
    return losses


def training_loss(
    logits: Mapping[str, Tensor], targets: Targets, losses: Mapping[str, HeadLoss], *, smoothing: float
) -> Tensor:
    """Return the objective: the weighted sum of each head's mean cross-entropy over the images that have a target.

    Classes are smoothed, and mixed in batches with mixup. Where there is a teacher, a head's loss is that by its labels
    and that by the teacher's softened ones, times temperature² (Hinton et al. 2015, arXiv:1503.02531).

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
        share = 1 - part.distil_weight if name in targets.taught else 1.0
        parts.append(targets[name].loss(adjusted, weight=part.weight * share, smoothing=smoothing))
        if name in targets.taught:
            weight = part.weight * part.distil_weight * part.temperature**2
            parts.append(targets.taught[name].loss(logits[name].float() / part.temperature, weight=weight))
    return sum(parts[1:], parts[0])
