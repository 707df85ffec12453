"""Sampling: how often an epoch draws each image, and the priors that follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.labels import LabelSet
from mien.training import TrainConfig
from mien.training.sampling import epoch_rows, expected_draws, log_priors
from mien.training.targets import NONE, Classes, HeadTargets, Targets

HEADS = [LabelSet("a", ("x", "y")), LabelSet("b", ("x", "y", "z"))]
CONFIG = TrainConfig(net="tiny")
RARE: dict[str, HeadTargets] = {"a": Classes(torch.tensor([0] * 90 + [1] * 10))}
OTHER: dict[str, HeadTargets] = {"b": Classes(torch.tensor([0, 1, 2, NONE]))}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_by_default_an_epoch_is_a_permutation() -> None:
    assert expected_draws([RARE, OTHER], [100, 4], HEADS, CONFIG) is None
    assert epoch_rows(None, 104, rng()).tolist() == rng().permutation(104).tolist()


@pytest.mark.parametrize("weight", [0.25, 1.0, 2.0, 2.5])
def test_a_weight_repeats_or_subsamples_a_dataset(weight: float) -> None:
    draws = expected_draws([RARE, OTHER], [100, 4], HEADS, replace(CONFIG, data_weights=(weight, 3.0)))
    assert draws is not None
    assert draws.tolist() == pytest.approx([weight] * 100 + [3.0] * 4)
    counts = np.bincount(epoch_rows(draws, 104, rng()), minlength=104)
    assert counts.sum() == round(100 * weight) + 12
    assert set(counts[:100]) <= {int(np.floor(weight)), int(np.ceil(weight))}
    assert set(counts[100:]) == {3}


def test_full_balance_draws_each_class_equally_often() -> None:
    draws = expected_draws([RARE], [100], HEADS, replace(CONFIG, class_balance=1.0))
    assert draws is not None
    assert draws.sum() == pytest.approx(100)
    assert draws[90:].sum() == pytest.approx(50)
    rows = [epoch_rows(draws, 100, rng(seed)) for seed in range(20)]
    assert {len(each) for each in rows} == {100}
    assert np.mean([(each >= 90).sum() for each in rows]) == pytest.approx(50, abs=1)


def test_half_balance_draws_by_the_root_of_the_frequency() -> None:
    draws = expected_draws([RARE], [100], HEADS, replace(CONFIG, class_balance=0.5))
    assert draws is not None
    assert draws[99] / draws[0] == pytest.approx(3)  # (0.9 / 0.1)^0.5


def test_an_image_without_a_target_is_drawn_as_an_average_one() -> None:
    draws = expected_draws([OTHER], [4], HEADS, replace(CONFIG, class_balance=1.0))
    assert draws is not None
    assert draws.tolist() == pytest.approx([1.0] * 4)


def test_an_epoch_follows_from_the_generator() -> None:
    draws = expected_draws([RARE], [100], HEADS, replace(CONFIG, class_balance=0.5))
    assert (epoch_rows(draws, 100, rng(1)) == epoch_rows(draws, 100, rng(1))).all()
    assert (epoch_rows(draws, 100, rng(1)) != epoch_rows(draws, 100, rng(2))).any()


def test_priors_are_those_of_the_images_drawn() -> None:
    targets = Targets(RARE)
    plain = log_priors(targets, None, HEADS[:1])["a"].exp()
    assert plain.tolist() == pytest.approx([91 / 102, 11 / 102])
    draws = expected_draws([RARE], [100], HEADS, replace(CONFIG, class_balance=1.0))
    assert log_priors(targets, draws, HEADS[:1])["a"].exp().tolist() == pytest.approx([0.5, 0.5])
