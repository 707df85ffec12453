"""The training loop learns, fails when it diverges, and records comparable losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.data import draw_faces
from mien.errors import RunError
from mien.models.spec import Preprocess
from mien.nets.nets import build_net
from mien.training import Run, Stage, TrainConfig
from mien.training.checkpoint import load_average
from runs import finished, small_config, small_dataset


def test_a_net_learns_the_drawn_faces(tmp_path: Path) -> None:
    config = TrainConfig(
        net="tiny",
        preprocess=Preprocess(size=16),
        stages=(Stage(size=16, epochs=8, augment=0),),
        batch_size=16,
        learning_rate=0.3,
        ema_decay=0.95,
        label_smoothing=0,
        precision="32-true",
    )
    rows = finished(config, draw_faces(1000, seed=0, size=32), tmp_path / "run").metrics()
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 2
    assert rows[-1]["valid_accuracy"] > 0.6  # chance is 0.14


def test_a_diverging_run_raises(tmp_path: Path) -> None:
    config = replace(small_config(), learning_rate=1e30, clip_norm=1e30)
    with pytest.raises(RunError, match="the loss became nan in epoch 1; try a smaller learning_rate"):
        Run.start(config, small_dataset(), tmp_path / "run").fit()


def test_data_without_votes_or_validation_trains_one_head(tmp_path: Path) -> None:
    faces = draw_faces(64, seed=0, size=24)
    faces = replace(faces, splits=np.zeros_like(faces.splits))
    run = finished(small_config(), faces, tmp_path / "run")
    assert "valid_loss" not in run.metrics()[0]
    assert load_average(run.checkpoint)[1].names == ("fer2013",)


def test_the_average_of_a_run_of_one_step_has_moved(tmp_path: Path) -> None:
    faces = draw_faces(60, seed=0, size=24)
    config = replace(small_config(), stages=(Stage(size=24, epochs=1),))
    assert int((faces.splits == 0).sum()) // config.batch_size == 1
    ended = load_average(finished(config, faces, tmp_path / "run").checkpoint)[0]
    torch.manual_seed(config.seed)
    begun = build_net("tiny", config.preprocess, {"fer2013": 7})
    assert all((a != b).any() for a, b in zip(ended.parameters(), begun.parameters(), strict=True))


def test_train_and_valid_record_the_same_loss_in_the_same_units(tmp_path: Path) -> None:
    """On the same images, unaugmented, by a net that hardly moves, the two are equal; the objective is not."""
    faces = small_dataset().select(np.flatnonzero(small_dataset().splits == 0)[:128])
    twice = replace(
        faces, images=np.concatenate([faces.images] * 2), targets=np.concatenate([faces.targets] * 2),
        splits=np.repeat(np.array([0, 1], np.int8), len(faces)), votes=np.concatenate([faces.votes] * 2),
    )  # fmt: skip
    stage = Stage(size=24, epochs=1, augment=0)
    config = replace(small_config(), stages=(stage,), mixup_alpha=0.0, learning_rate=1e-9, ema_decay=0.0)
    (row,) = finished(config, twice, tmp_path / "run").metrics()
    assert row["train_cross_entropy"] == pytest.approx(row["valid_loss"], abs=0.1)  # batch norm differs between modes
    assert row["train_loss"] > row["train_cross_entropy"] + 0.5  # two heads


def test_batches_with_mixup_are_left_out_of_the_comparable_loss(tmp_path: Path) -> None:
    config = replace(small_config(), mixup_share=1.0)
    rows = finished(config, small_dataset(), tmp_path / "run").metrics()
    assert ["train_cross_entropy" in row for row in rows] == [False, False, False, True]  # mixup_epochs is 3
