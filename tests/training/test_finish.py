from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.config import Stage, TrainConfig
from mien.data.synthetic import draw_faces
from mien.errors import RunError
from mien.labels import FER2013
from mien.models.nets import build_net, normalize
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.models.zoo import read_spec
from mien.training.finish import export_run, settle_norms
from mien.training.fit import start

FACES = draw_faces(300, seed=0, size=24)
SPEC = ModelSpec(name="tiny", arch="tiny", heads=(Head(FER2013),), preprocess=Preprocess(size=24))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    config = TrainConfig(net="tiny", preprocess=Preprocess(size=24), stages=(Stage(size=24, epochs=1),), batch_size=32)
    start(config, FACES, run)
    return run


def test_settled_statistics_are_those_of_plain_pictures() -> None:
    torch.manual_seed(0)
    net = build_net("tiny", SPEC.preprocess, {"fer2013": 7})
    train = FACES.select(np.arange(200))
    settle_norms(net, train, SPEC)
    pictures = normalize(torch.from_numpy(train.images).permute(0, 3, 1, 2).float(), "standardize")
    features = net.body[0][0](pictures)  # the first convolution
    norm = net.body[0][1]
    torch.testing.assert_close(norm.running_mean, features.mean((0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, features.var((0, 2, 3)), atol=1e-3, rtol=1e-3)
    assert not any(module.training for module in net.modules())


def test_export_fits_a_temperature_and_is_the_same_each_time(finished: Path, tmp_path: Path) -> None:
    first, parity = export_run(finished, FACES, target=tmp_path / "a.onnx")
    again, _ = export_run(finished, FACES, target=tmp_path / "b.onnx")
    assert read_spec(first).heads[0].temperature != 1
    assert first.read_bytes() == again.read_bytes()
    assert parity.max_difference < 1e-2


def test_export_installs_a_copy(finished: Path, tmp_path: Path) -> None:
    path, _ = export_run(finished, FACES, install=tmp_path / "models")
    assert path == finished / "tiny.onnx"
    assert (tmp_path / "models" / "tiny.onnx").read_bytes() == path.read_bytes()


def test_data_without_validation_is_exported_uncalibrated(finished: Path, tmp_path: Path) -> None:
    train = FACES.select(FACES.splits == 0)
    path, _ = export_run(finished, train, target=tmp_path / "a.onnx")
    assert read_spec(path).heads[0].temperature == 1


def test_a_run_without_a_checkpoint_is_told_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="mien train --resume"):
        export_run(tmp_path, FACES)
