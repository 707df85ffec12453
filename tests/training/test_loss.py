"""The objective, on cases small enough to compute by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from mien.training import TrainConfig
from mien.training.batches import Targets
from mien.training.loss import first_logits, training_loss

PLAIN = TrainConfig(net="tiny", label_smoothing=0.0, ferplus_weight=0.5)


def targets(first: list[int], second: list[int] | None = None, *, share: float = 1.0, voted: bool = False) -> Targets:
    """Return targets of two classes; all votes, if there are any, are for label 0 of FER+."""
    n = len(first)
    votes = torch.zeros(n, 8)
    votes[:, 0] = float(voted)
    ids = torch.tensor(first), torch.tensor(second if second is not None else first)
    return Targets(*ids, share, votes, torch.full((n,), float(voted)))


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([[log(p), log(1 - p)] for p in probabilities])


def test_one_head_without_mixup_has_the_mean_cross_entropy() -> None:
    loss = training_loss({"mine": logits_of(0.5, 0.25)}, targets([0, 1]), PLAIN)
    assert float(loss) == pytest.approx(-(log(0.5) + log(0.75)) / 2)


def test_mixup_weighs_both_targets_by_their_shares() -> None:
    loss = training_loss({"mine": logits_of(0.8)}, targets([0], [1], share=0.7), PLAIN)
    assert float(loss) == pytest.approx(-(0.7 * log(0.8) + 0.3 * log(0.2)), rel=1e-5)


def test_the_ferplus_head_adds_its_cross_entropy_with_the_votes() -> None:
    logits = {"mine": logits_of(0.5), "ferplus": torch.zeros(1, 8)}
    assert float(training_loss(logits, targets([0], voted=True), PLAIN)) == pytest.approx(log(2) + 0.5 * log(8))
    assert float(training_loss(logits, targets([0]), PLAIN)) == pytest.approx(log(2))  # images without votes


def test_a_ferplus_head_alone_is_trained_on_labels() -> None:
    logits = {"ferplus": torch.zeros(1, 8)}
    assert float(training_loss(logits, targets([3], voted=True), PLAIN)) == pytest.approx(log(8))
    assert first_logits(logits).shape == (1, 8)
