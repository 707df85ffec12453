"""Batches: which votes count, how images are stored, and how a batch is mixed."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from mien.data import draw_faces
from mien.labels import FERPLUS
from mien.models.spec import Preprocess
from mien.training import Stage, TrainConfig
from mien.training.batches import batches
from mien.training.targets import Classes, Distributions
from runs import small_config, small_dataset, tensors_of


def test_votes_led_by_no_expression_do_not_count() -> None:
    """Where "unknown" or "not a face" leads, votes do not count; elsewhere those for the eight expressions sum to 1."""
    votes = np.zeros((3, 10), np.float32)
    votes[0, [1, 2, 9]] = 6, 2, 2
    votes[1, [0, 8]] = 4, 6
    votes[2, 9] = 10
    dataset = replace(draw_faces(3, seed=0, size=24), votes=votes)
    result = tensors_of(small_config(), dataset).targets["ferplus"]
    assert isinstance(result, Distributions)
    assert result.counted.tolist() == [1, 0, 0]
    assert result.probabilities[0].tolist() == [0, 0.75, 0.25, 0, 0, 0, 0, 0]
    assert result.probabilities.shape == (3, len(FERPLUS))


def test_grey_images_are_stored_small_and_reach_a_large_net_in_colour() -> None:
    config = TrainConfig(
        net="tiny", preprocess=Preprocess(size=64, channels=3), stages=(Stage(size=64, epochs=1, augment=0),),
        batch_size=16,
    )  # fmt: skip
    dataset = draw_faces(16, seed=0, size=24)
    tensors = tensors_of(config, dataset)
    assert tensors.images[0].shape == (16, 24, 24, 1)
    images, targets = next(batches(tensors, config, config.stages[0], epoch=0, rank=0, world=1))
    assert images.shape == (16, 3, 64, 64)
    assert torch.equal(images[:, 0], images[:, 2])
    order = [dataset.targets.tolist().index(target) for target in targets["fer2013"].first.tolist()]
    wanted = cv2.resize(dataset.images[order[0], :, :, 0], (64, 64), interpolation=cv2.INTER_LINEAR)
    same = [np.abs(image[0].numpy() - wanted).max() < 1 for image in images]
    assert any(same)  # as it would be resized for a prediction


def test_a_mixed_batch_is_the_batch_and_its_reverse() -> None:
    stage = Stage(size=24, epochs=1, augment=0)
    mixing = replace(small_config(), mixup_share=1.0, stages=(stage,))
    data = tensors_of(mixing, small_dataset())
    plain = next(batches(data, replace(mixing, mixup_alpha=0.0), stage, epoch=0, rank=0, world=1))
    images, targets = next(batches(data, mixing, stage, epoch=0, rank=0, world=1))
    share = targets.share
    assert 0 < share < 1
    torch.testing.assert_close(images, share * plain[0] + (1 - share) * plain[0].flip(0))
    classes, votes, before = targets["fer2013"], targets["ferplus"], plain[1]["ferplus"]
    assert isinstance(classes, Classes)
    assert classes.second is not None
    assert isinstance(votes, Distributions)
    assert isinstance(before, Distributions)
    assert torch.equal(classes.first, plain[1]["fer2013"].first)
    assert torch.equal(classes.second, plain[1]["fer2013"].first.flip(0))
    expected = share * before.probabilities + (1 - share) * before.probabilities.flip(0)
    torch.testing.assert_close(votes.probabilities, expected)


def test_processes_share_every_batch() -> None:
    config = replace(small_config(), mixup_alpha=0.0)
    data, stage = tensors_of(config, small_dataset()), config.stages[0]
    whole = [t["fer2013"].first.tolist() for _, t in batches(data, config, stage, epoch=1, rank=0, world=1)]
    parts = [
        [t["fer2013"].first.tolist() for _, t in batches(data, config, stage, epoch=1, rank=r, world=2)] for r in (0, 1)
    ]
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]
