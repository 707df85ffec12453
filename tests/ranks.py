"""Trainings on several processes, for tests; as a script one of these processes: ranks.py FOLDER DEVICES CASE…

Each process writes its errors to FOLDER/CASE-RANK.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mien.data.dataset import Dataset
from mien.errors import MienError
from mien.models.spec import Preprocess
from mien.nets.nets import NETS
from mien.training import Reporter, Run, Stage, TrainConfig
from mien.training.fit import Silent
from runs import small_config, small_dataset


def plain(channels: int, size: int) -> tuple[nn.Module, int]:
    """Return a net that treats each image by itself: without batch statistics and dropout."""
    layers = [nn.Conv2d(channels, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
    return nn.Sequential(*layers), 72


def exact_config(batch_size: int) -> TrainConfig:
    """Return a recipe with nothing random within an epoch but the order of the images."""
    return TrainConfig(
        net="plain",
        preprocess=Preprocess(size=16, normalize="signed"),
        stages=(Stage(size=16, epochs=2, augment=0),),
        batch_size=batch_size,
        warmup_epochs=1,
        ema_decay=0.9,
        precision="32-true",
    )


def exact_dataset() -> Dataset:
    """Return faces of which some have no votes that count; an odd number of them is for validation."""
    faces = small_dataset()
    assert faces.votes is not None
    votes = faces.votes.copy()
    votes[::3, 9] += 20
    valid = (faces.splits == 1).nonzero()[0]
    splits = faces.splits.copy()
    splits[valid[: 1 - len(valid) % 2]] = 2
    return replace(faces, votes=votes, splits=splits)


class Killer(Silent):
    """Kills a process of a rank in the third epoch."""

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None:
        if (rank(), epoch, done) == (1, 2, 3):
            os.kill(os.getpid(), signal.SIGKILL)


def rank() -> int:
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def train(case: str, folder: Path, devices: int | None) -> None:
    """Train one case into FOLDER/CASE."""
    report: Reporter = Silent()
    config, dataset, place = exact_config(32), exact_dataset(), folder / case
    if case == "odd":
        config = exact_config(31)
    elif case == "apart":
        (node := folder / f"node-{rank()}").mkdir()
        os.chdir(node)
        place = Path("run")
    elif case == "other data" and rank() == 1:
        dataset = small_dataset(seed=1)
    elif case == "too little data" and rank() == 1:
        dataset = dataset.select(dataset.splits == 1)
    elif case in ("whole", "killed"):
        config, dataset = small_config(), small_dataset()
        report = Killer() if case == "killed" else report
    elif case == "resumed":
        Run.open(folder / "killed", small_dataset()).fit()
        return
    elif case == "tiny":
        config = replace(config, net="tiny")
    with pytest.MonkeyPatch.context() as patch:
        if case == "not a number" and rank() == 1:
            patch.setattr("mien.training.fit.training_loss", lambda logits, *_, **__: nan_of(logits))
        Run.start(config, dataset, place, devices=devices).fit(report)


def nan_of(logits: dict[str, torch.Tensor]) -> torch.Tensor:
    return sum((each.sum() for each in logits.values()), torch.tensor(float("nan")))


def main(folder: Path, devices: int | None, cases: list[str]) -> None:
    for case in cases:
        outcome: dict[str, Any] = {}
        try:
            train(case, folder, devices)
        except MienError as error:
            outcome = {"error": str(error), "reported": error.reported}
        (folder / f"{case}-{rank()}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    NETS["plain"] = plain
    main(Path(sys.argv[1]), int(sys.argv[2]) or None, sys.argv[3:])
