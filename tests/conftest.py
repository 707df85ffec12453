"""Fixtures shared by several folders."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import detectors  # noqa: F401  # takes $MIEN_YUNET
from evaluations import evaluation, pixel_reader, written  # noqa: F401  # fixtures
from mien.data.prepared import prepare
from mien.data.readers import data_path
from mien.data.synthetic import draw_faces
from mien.errors import DatasetError
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.spec import Head, ModelSpec, Preprocess, Sound
from speech import spoken  # noqa: F401  # fixture

settings.register_profile("busy", deadline=None)  # times vary on a busy machine
settings.load_profile("busy")
os.environ["MIEN_OFFLINE"] = "1"  # no test needs a network; the detector "auto" is Haar


@pytest.fixture(scope="session", autouse=True)
def no_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide a YuNet that was fetched on this machine, and leave no notes there on models that were tried."""
    empty = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mien.vision.fetch.cache_dir", lambda: empty)
        patch.setattr("mien.models.limited.tried_dir", lambda: empty / "tried")
        patch.setattr("mien.models.limited.can_start_python", lambda: False)  # trials in this process are faster
        yield


@pytest.fixture(scope="session", autouse=True)
def no_orphans() -> Iterator[None]:
    """Kill the processes of a test that fails, for whose end it would wait, and those it has forked."""
    wait = subprocess.Popen.__exit__

    def end(process: subprocess.Popen[Any], kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            process.kill()
        wait(process, kind, *rest)

    if sys.platform == "linux":
        die_with_parent = partial(ctypes.CDLL(None).prctl, 1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        os.register_at_fork(after_in_child=die_with_parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__exit__", end)
        yield


@pytest.fixture(scope="session")
def fer2013_path() -> Path:
    """The real FER2013 (csv), found through MIEN_DATA; tests that need it are skipped without."""
    if not os.environ.get("MIEN_DATA"):
        pytest.skip("needs the real FER2013: set MIEN_DATA to the folder that holds fer2013/fer2013.csv.gz")
    try:
        return data_path("fer2013")
    except DatasetError as error:
        pytest.skip(f"needs the real FER2013: {error}")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ONNX model of ours with random weights and two heads."""
    torch = pytest.importorskip("torch")
    from mien.nets.export import export
    from mien.nets.nets import build_net

    torch.manual_seed(0)
    spec = ModelSpec(
        name="tiny",
        arch="tiny",
        heads=(Head(FER2013, 1.5), Head(FERPLUS, 0.7)),
        preprocess=Preprocess(),
    )
    net = build_net("tiny", spec.preprocess, {"fer2013": 7, "ferplus": 8}).eval()
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    export(net, spec, path, storage="float32")
    return path


@pytest.fixture(scope="session")
def tiny_temporal(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a temporal model with random weights that belongs to `tiny_model`."""
    torch = pytest.importorskip("torch")
    from mien.models.classifier import OnnxClassifier
    from mien.nets.temporal import TemporalNet
    from mien.training import TemporalConfig
    from mien.training.temporal import export_temporal

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("temporal") / "tiny-temporal.onnx"
    config = TemporalConfig(state=16)
    net = TemporalNet(15, (0, 7), state=16)
    export_temporal(net, path, classifier=OnnxClassifier(tiny_model), labels=FER2013, config=config, trained_on={})
    return path


@pytest.fixture(scope="session")
def tiny_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a voice model with random weights, 32 numbers per frame, which takes up to 2 s; it knows enrolment."""
    torch = pytest.importorskip("torch")
    from mien.nets.audio import Encoder, VoiceNet
    from mien.nets.export_voice import export_voice

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("voice") / "tiny-voice.onnx"
    sound = Sound(longest=2.0, width=64)
    net = VoiceNet(Encoder(sound, width=32, blocks=2, heads=8), [1], 4)
    for weights in net.parameters():  # no two alike, of which the exporter would keep one
        weights.data += 0.05 * torch.randn_like(weights)
    labels = LabelSet("tiny-voices", ("angry", "happy", "sad", "neutral"))
    spec = ModelSpec(
        name="tiny-voice", arch="whisper-voice", heads=(Head(labels),), preprocess=Preprocess(), kind="voice",
        input="sound", sound=sound, trained_on={"name": "tiny", "speakers": "01 02"}, version=3,
    )  # fmt: skip
    export_voice(net, spec, path, int8=False)
    return path


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with no models and no data of the user's at hand."""
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("MIEN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def locked_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that cannot be entered, as that of another user; root, who enters all, is refused too."""
    folder, stat = tmp_path / "locked", os.stat
    folder.mkdir()

    def refused(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if isinstance(path, (str, os.PathLike)) and folder in Path(path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refused)
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of drawn faces."""
    path = tmp_path_factory.mktemp("data") / "drawn.npz"
    prepare(draw_faces(400, seed=0), path)
    return path
