"""The objective, on cases small enough to compute by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from mien.training.loss import HeadLoss, training_loss
from mien.training.targets import Classes, Distributions, Targets

ONE, TWO = {"mine": HeadLoss()}, {"mine": HeadLoss(), "ferplus": HeadLoss(weight=0.5)}


def targets(first: list[int], second: list[int] | None = None, *, share: float = 1.0, voted: bool = False) -> Targets:
    """Return targets of two classes; all votes, if there are any, are for label 0 of FER+."""
    n = len(first)
    votes = torch.zeros(n, 8)
    votes[:, 0] = float(voted)
    classes = Classes(torch.tensor(first), None if second is None else torch.tensor(second), share)
    return Targets({"mine": classes, "ferplus": Distributions(votes, torch.full((n,), float(voted)))}, share)


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([[log(p), log(1 - p)] for p in probabilities])


def test_one_head_without_mixup_has_the_mean_cross_entropy() -> None:
    loss = training_loss({"mine": logits_of(0.5, 0.25)}, targets([0, 1]), ONE, smoothing=0.0)
    assert float(loss) == pytest.approx(-(log(0.5) + log(0.75)) / 2)


def test_mixup_weighs_both_targets_by_their_shares() -> None:
    loss = training_loss({"mine": logits_of(0.8)}, targets([0], [1], share=0.7), ONE, smoothing=0.0)
    assert float(loss) == pytest.approx(-(0.7 * log(0.8) + 0.3 * log(0.2)), rel=1e-5)


def test_the_ferplus_head_adds_its_cross_entropy_with_the_votes() -> None:
    logits = {"mine": logits_of(0.5), "ferplus": torch.zeros(1, 8)}
    loss = training_loss(logits, targets([0], voted=True), TWO, smoothing=0.0)
    assert float(loss) == pytest.approx(log(2) + 0.5 * log(8))
    without = training_loss(logits, targets([0]), TWO, smoothing=0.0)
    assert float(without) == pytest.approx(log(2))  # images without votes
