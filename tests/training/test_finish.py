"""Exports: batch statistics, calibration, and where the model is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.data.audit import Selection
from mien.data.synthetic import draw_faces
from mien.errors import ConfigError, OutputError
from mien.labels import FER2013
from mien.models.onnx_file import read_spec
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.nets.nets import build_net, normalize
from mien.training import Run, Stage, TrainConfig
from mien.training.checkpoint import load_average
from mien.training.finish import recompute_batch_norm
from runs import finished

FACES = draw_faces(300, seed=0, size=24)
SPEC = ModelSpec(name="tiny", arch="tiny", heads=(Head(FER2013),), preprocess=Preprocess(size=24))


CONFIG = TrainConfig(net="tiny", preprocess=Preprocess(size=24), stages=(Stage(size=24, epochs=1),), batch_size=32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished(CONFIG, FACES, tmp_path_factory.mktemp("runs") / "run")


def test_recomputed_batch_statistics_are_those_of_plain_images() -> None:
    torch.manual_seed(0)
    net = build_net("tiny", SPEC.preprocess, {"fer2013": 7})
    train = FACES.select(np.arange(200))
    recompute_batch_norm(net, train.images, SPEC)
    images = normalize(torch.from_numpy(train.images).permute(0, 3, 1, 2).float(), "standardize")
    features = net.backbone[0][0](images)  # the first convolution
    norm = net.backbone[0][1]
    torch.testing.assert_close(norm.running_mean, features.mean((0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, features.var((0, 2, 3)), atol=1e-3, rtol=1e-3)
    assert not any(module.training for module in net.modules())


def test_recomputing_changes_only_batch_statistics() -> None:
    torch.manual_seed(0)
    spec = replace(SPEC, arch="base-vit")
    net = build_net("base-vit", spec.preprocess, {"fer2013": 7})
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    recompute_batch_norm(net, FACES.images[:32], spec)
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[-1] for name in changed} == {"running_mean", "running_var", "num_batches_tracked"}


def test_an_export_is_an_onnx_file(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x\.txt; expected a name that ends in \.onnx"):
        run.export(target=tmp_path / "x.txt")


def test_an_export_that_cannot_be_written_fails_before_the_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delattr("mien.training.finish.recompute_batch_norm")
    with pytest.raises(OutputError, match="there is no such folder"):
        run.export(target=tmp_path / "file" / "x.onnx")
    with pytest.raises(OutputError, match=r"cannot make folder '.*file.*; choose another place"):
        run.export(install=tmp_path / "file" / "models")


def test_export_fits_a_temperature_and_is_the_same_each_time(run: Run, tmp_path: Path) -> None:
    first, parity = run.export(target=tmp_path / "a.onnx")
    again, _ = run.export(target=tmp_path / "b.onnx")
    assert read_spec(first).heads[0].temperature != 1
    assert first.read_bytes() == again.read_bytes()
    assert parity.max_difference < 1e-2


def test_batch_statistics_are_computed_on_fitted_images_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (FACES.splits == 0) & (np.arange(len(FACES)) % 3 > 0)
    run = finished(CONFIG, FACES, tmp_path / "run", selection=Selection(rows=rows, fold="0 of 3"))
    nets = []
    monkeypatch.setattr("mien.training.finish.export", lambda net, *_, **__: nets.append(net))
    monkeypatch.setattr("mien.training.finish.check_parity", lambda *_: None)
    run.export()
    expected, spec = load_average(run.checkpoint)
    recompute_batch_norm(expected, FACES.images[rows], spec)
    torch.testing.assert_close(nets[0].state_dict(), expected.state_dict())
    assert spec.trained_on["fold"] == "0 of 3 left out"


def test_a_head_whose_raters_never_agree_stays_uncalibrated(run: Run, tmp_path: Path) -> None:
    images = replace(FACES, votes=np.ones((len(FACES), 10), np.float32))
    path, _ = finished(CONFIG, images, tmp_path / "run").export()
    assert [head.temperature == 1 for head in read_spec(path).heads] == [False, True]


def test_export_installs_a_copy(run: Run, tmp_path: Path) -> None:
    path, _ = run.export(install=tmp_path / "models")
    assert path == run.model == run.folder / "tiny.onnx"
    assert (tmp_path / "models" / "tiny.onnx").read_bytes() == path.read_bytes()


def test_data_without_validation_is_exported_uncalibrated(run: Run, tmp_path: Path) -> None:
    train = FACES.select(FACES.splits == 0)
    path, _ = finished(run.config, train, tmp_path / "run").export(target=tmp_path / "a.onnx")
    assert read_spec(path).heads[0].temperature == 1
