"""Runs on several datasets: start, resume, records, metrics and calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.data import draw_faces
from mien.data.dataset import Dataset
from mien.errors import ConfigError, DatasetError, RunError
from mien.evaluation.calibration import calibration_targets, fit_temperature
from mien.labels import FERPLUS, LabelSet
from mien.models.onnx_file import read_spec
from mien.models.spec import Preprocess
from mien.nets.export import torch_logits
from mien.training import HeadConfig, Run, Stage, TrainConfig
from mien.training.batches import batches
from mien.training.checkpoint import load_average
from mien.training.finish import recompute_batch_norm, statistics_images
from runs import assert_same_weights, finished, small_config, small_dataset, stopped, tensors_of

FACES = small_dataset()
CONFIG = replace(
    small_config(),
    heads=(HeadConfig(labels="ferplus", logit_adjustment=0.5), HeadConfig(labels="fer2013", weight=0.3)),
    data_weights=(1.0, 2.0),
    class_balance=0.5,
)


def colour_faces() -> Dataset:
    """Return larger images in colour with three of FER2013's labels, without votes."""
    faces = draw_faces(120, seed=5, size=30)
    faces = faces.select(np.isin(faces.targets, [0, 3, 6]))
    images = np.repeat(faces.images, 3, axis=3)
    targets = np.searchsorted([0, 3, 6], faces.targets)
    return replace(
        faces, name="photos", images=images, targets=targets, labels=LabelSet("p", ("angry", "happy", "neutral"))
    )


PHOTOS = colour_faces()


@pytest.fixture(scope="module")
def both(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.start(CONFIG, [FACES, PHOTOS], tmp_path_factory.mktemp("runs") / "both")
    run.fit()
    return run


def test_a_run_and_its_spec_record_each_dataset(both: Run) -> None:
    assert [(f["name"], f["fingerprint"], f["weight"], f["head"]) for f in both.environment["data"]] == [
        ("drawn", FACES.fingerprint, 1.0, "fer2013"),
        ("photos", PHOTOS.fingerprint, 2.0, "ferplus"),
    ]
    assert both.spec.names == ("ferplus", "fer2013")
    assert both.spec.trained_on == {
        "name": "drawn",
        "fingerprint": FACES.fingerprint,
        "weight": "1",
        "with photos": f"(fingerprint {PHOTOS.fingerprint}, weight 2)",
    }


def test_each_dataset_is_measured(both: Run) -> None:
    (row,) = both.metrics()[-1:]
    scores = {key for key in row if key.startswith("valid")}
    names = {"valid_loss", "valid_accuracy", "valid_balanced_accuracy"}
    assert scores == names | {f"{name}_photos" for name in names}
    assert all(0 <= row[key] <= 1 for key in scores if "accuracy" in key)
    both.draw_curves()


def test_an_interrupted_run_of_several_datasets_ends_with_the_same_weights(both: Run, tmp_path: Path) -> None:
    run = Run.start(CONFIG, [FACES, PHOTOS], tmp_path / "parts")
    run = stopped(stopped(run, (1, 2)), (2, 3))
    run.fit()
    assert_same_weights(run, both)


def test_the_same_datasets_in_another_order_are_refused(both: Run) -> None:
    with pytest.raises(RunError, match="was started on data with fingerprint"):
        Run.open(both.folder, [PHOTOS, FACES]).fit()


def test_a_head_is_calibrated_on_all_images_that_have_targets_for_it(both: Run, tmp_path: Path) -> None:
    path, parity = both.export(target=tmp_path / "a.onnx")
    assert parity.max_difference < 0.01
    net, spec = load_average(both.checkpoint)
    heads = [head.labels for head in spec.heads]
    trained = ["fer2013", "ferplus"]
    fitted = both.fitted()
    recompute_batch_norm(net, statistics_images(fitted, heads, trained, CONFIG), spec)
    logits, targets = [], []
    for dataset, head in zip((FACES, PHOTOS), trained, strict=True):
        valid = dataset.split("valid")
        ids = calibration_targets(valid, FERPLUS, head)
        logits.append(torch_logits(net, valid.images, spec)["ferplus"][ids >= 0])
        targets.append(ids[ids >= 0])
    assert all(len(ids) for ids in targets)
    expected = fit_temperature(np.concatenate(logits), np.concatenate(targets))
    assert read_spec(path).heads[0].temperature == pytest.approx(expected)


def test_batch_statistics_are_of_all_datasets_in_their_shares() -> None:
    heads = [FERPLUS]
    images = statistics_images([FACES, PHOTOS], heads, [None, "ferplus"], replace(CONFIG, class_balance=0.0))
    shapes = [image.shape for image in images]
    assert shapes.count((24, 24, 1)) == len(FACES)
    assert shapes.count((30, 30, 3)) == 2 * len(PHOTOS)


@pytest.mark.parametrize(
    ("changes", "datasets", "error", "message"),
    [
        ({}, [FACES, FACES], DatasetError, "'drawn' is the same data as 'drawn'; give it once, with a --weight"),
        ({}, [FACES], ConfigError, r"there are 2 weights \(--weight\) for 1 datasets \(--data\)"),
        ({"data_weights": ()}, [replace(FACES, votes=None)], ConfigError, "no dataset trains the head 'fer2013'"),
    ],
)
def test_datasets_that_do_not_go_together_leave_no_run_behind(
    tmp_path: Path, changes: dict[str, object], datasets: list[Dataset], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Run.start(replace(CONFIG, **changes), datasets, tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("weights", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_weights_are_positive(weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"data_weights\[[01]\] is .*; expected a positive number"):
        replace(CONFIG, data_weights=weights)


def test_a_batch_has_the_images_of_its_rows() -> None:
    """Images of both datasets reach the net at one size, beside their own targets."""
    stage = Stage(size=24, epochs=1, augment=0)
    config = replace(CONFIG, mixup_alpha=0.0, stages=(stage,), heads=(HeadConfig(labels="fer2013"),))
    levels = np.arange(7, dtype=np.uint8) * 30  # the grey level of an image is its class
    faces, photos = (
        replace(d, votes=None, images=np.broadcast_to(levels[ids, None, None, None], d.images.shape).copy())
        for d, ids in ((FACES, FACES.targets), (PHOTOS, np.array([0, 3, 6])[PHOTOS.targets]))
    )
    data = tensors_of(config, faces, photos)
    assert [tuple(each.shape[1:]) for each in data.images] == [(24, 24, 1), (24, 24, 1)]
    n = 0
    for images, targets in batches(data, config, stage, epoch=0, rank=0, world=1):
        assert torch.equal(images[:, 0, 5, 5], targets["fer2013"].first * 30.0)
        n += len(images)
    assert n == data.epoch_size // config.batch_size * config.batch_size
    assert data.epoch_size == len(faces) + 2 * len(photos)


def test_logit_adjustment_raises_the_recall_of_a_rare_class(tmp_path: Path) -> None:
    """Two classes that differ only in mean brightness, with overlap, one of them nine times as frequent."""
    rng = np.random.default_rng(0)
    targets = (rng.random(1500) < 0.1).astype(np.int64)
    levels = (110 + 36 * targets + 24 * rng.normal(size=len(targets))).clip(20, 230)
    noise = rng.integers(-15, 15, (len(targets), 8, 8, 1))
    images = (levels[:, None, None, None] + noise).clip(0, 255).astype(np.uint8)
    splits = (np.arange(len(targets)) % 3 == 0).astype(np.int8)
    data = Dataset("toy", images, targets, LabelSet("toy", ("common", "rare")), splits)
    recall, balanced = [], []
    for tau in (0.0, 1.0):
        config = TrainConfig(
            net="tiny", preprocess=Preprocess(size=8, normalize="signed"), stages=(Stage(size=8, epochs=4, augment=0),),
            batch_size=50, ema_decay=0.8, label_smoothing=0.0, learning_rate=0.02, precision="32-true",
            heads=(HeadConfig(labels="toy", logit_adjustment=tau),),
        )  # fmt: skip
        run = finished(config, data, tmp_path / str(tau))
        balanced.append(run.metrics()[-1]["valid_balanced_accuracy"])
        net, spec = load_average(run.checkpoint)
        valid = data.split("valid")
        answers = torch_logits(net, valid.images, spec)["toy"].argmax(1)
        recall.append((answers[valid.targets == 1] == 1).mean())
    assert recall[1] > recall[0] + 0.15
    assert balanced[1] > balanced[0] + 0.05
