"""Small runs for tests: a recipe, a dataset, and reporters that stop them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mien.data.audit import Selection
from mien.data.dataset import Dataset
from mien.data.synthetic import draw_faces
from mien.models.spec import Preprocess
from mien.training import Run, Stage, TrainConfig
from mien.training.batches import Tensors, to_tensors
from mien.training.fit import Silent
from mien.training.recipe import Precision
from mien.training.targets import head_labels, trained_heads

EPOCHS = 4


def small_config(net: str = "tiny", precision: Precision = "32-true") -> TrainConfig:
    """Return a recipe with all that resuming could get wrong: two sizes, mixup, the average, and dropout by net."""
    return TrainConfig(
        net=net,
        preprocess=Preprocess(size=24),
        stages=(Stage(size=16, epochs=2, augment=0.7), Stage(size=24, epochs=EPOCHS - 2)),
        batch_size=32,
        warmup_epochs=1,
        ema_decay=0.9,
        mixup_alpha=0.4,
        mixup_epochs=3,
        precision=precision,
    )


def small_dataset(seed: int = 0) -> Dataset:
    faces = draw_faces(200, seed=seed, size=24)
    votes = np.random.default_rng(seed).multinomial(10, [0.1] * 10, len(faces))
    return replace(faces, votes=votes.astype(np.float32))


def small_selection() -> Selection:
    """Return a selection of all of train but 20 images."""
    rows = small_dataset().splits == 0
    rows[np.flatnonzero(rows)[::8][:20]] = False
    return Selection(rows=rows, dropped=20)


def tensors_of(config: TrainConfig, *datasets: Dataset) -> Tensors:
    """Return all images of datasets as tensors, whatever their split."""
    heads = head_labels(config, datasets)
    return to_tensors(datasets, heads, trained_heads(config, datasets, heads), config)


def further_config(init: Path, /, **changes: object) -> TrainConfig:
    """Return a recipe that starts from weights, with a frozen part and a slow backbone."""
    settings = {"init": str(init), "freeze": ("backbone.0",), "backbone_rate": 0.1, "mixup_alpha": 0.0, **changes}
    return replace(small_config(), **settings)  # type: ignore[arg-type]


class Interrupted(Exception):
    pass


class Interrupter(Silent):
    """Raises in the given epoch, at the given step of it or, for step 0, when its checkpoint is written."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None:
        if (epoch, done) == self.at:
            raise Interrupted

    def epoch(self, row: Mapping[str, float]) -> None:
        if (row["epoch"] - 1, 0) == self.at:
            raise Interrupted


class Printer(Silent):
    """Prints the current epoch and step."""

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None:
        print(epoch, done, flush=True)


def fit_and_print(folder: str) -> None:
    """Train in another process, to be killed."""
    pytest.MonkeyPatch().setattr("mien.training.fit.usable_cores", lambda: 1)  # as the fixture `one_thread` does
    Run.start(small_config(), small_dataset(), Path(folder)).fit(Printer())


def finished(config: TrainConfig, dataset: Dataset, folder: Path, *, selection: Selection | None = None) -> Run:
    """Return a run after its last epoch."""
    run = Run.start(config, dataset, folder, selection=selection)
    run.fit()
    return run


def interrupted(
    config: TrainConfig, dataset: Dataset, folder: Path, at: tuple[int, int], *, selection: Selection | None = None
) -> Run:
    """Return a run that was interrupted in an epoch, at a step."""
    run = Run.start(config, dataset, folder, selection=selection)
    return stopped(run, at)


def stopped(run: Run, at: tuple[int, int]) -> Run:
    """Fit a run until an epoch and step, and return it opened anew."""
    try:
        run.fit(Interrupter(*at))
    except Interrupted:
        return Run.open(run.folder, run.datasets)
    raise AssertionError(f"the run ended before {at}")


def assert_same_weights(run: Run, expected: Run) -> None:
    ours, theirs = load_file(run.checkpoint), load_file(expected.checkpoint)
    assert ours.keys() == theirs.keys()
    assert any(name.startswith("momentum.") for name in ours)
    assert any(name.startswith("average.heads.ferplus") for name in ours)
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []
