"""Model files are tried in a process with limits, once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mien.errors import ConfigError, MissingSpec, ModelError
from mien.labels import FER2013
from mien.models import limited
from mien.models.adopt import adopt_model
from mien.models.classifier import OnnxClassifier, load_classifier
from mien.models.limited import call_limited, try_model
from mien.models.onnx_file import read_spec
from mien.models.store import find_model
from mien.models.temporal import TemporalModel


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limited, "can_start_python", lambda: True)
    monkeypatch.setattr(limited, "tried_dir", lambda: tmp_path / "tried")


def endless(path: Path) -> Path:
    """Write a graph that loops forever."""
    true = numpy_helper.from_array(np.array(True), "true")
    ones = numpy_helper.from_array(np.ones((1, 7), np.float32), "ones")
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    kept = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    state = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("old", "new")]
    steps = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["old", "old"], ["new"])]
    body = helper.make_graph(steps, "body", [number, kept[0], state[0]], [kept[1], state[1]])
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Loop", ["", "true", "mean"], ["last"], body=body),
        helper.make_node("Mul", ["last", "ones"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])
    graph = helper.make_graph(nodes, "net", [x], [y], [true, ones])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.usefixtures("processes")
def test_a_users_model_is_tried_once_and_a_shipped_one_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(limited, "call_limited", lambda *call: calls.append(call))
    shutil.copy(find_model("base"), tmp_path / "mine.onnx")
    shutil.copy(find_model("base"), tmp_path / "same.onnx")
    for name in ("base", str(tmp_path / "mine.onnx"), str(tmp_path / "mine.onnx"), str(tmp_path / "same.onnx")):
        load_classifier(name)
    assert calls == [("mien.models.trial:predict_noise", tmp_path / "mine.onnx")]


@pytest.mark.usefixtures("processes")
def test_a_model_that_is_made_directly_is_tried_too(
    tiny_model: Path, tiny_temporal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(limited, "call_limited", lambda _, path: calls.append(path))
    for path, make in ((tiny_model, OnnxClassifier), (tiny_temporal, TemporalModel)):
        make(path, spec=read_spec(path))
        assert path not in calls
        make(path)
        make(str(path))
    assert calls == [tiny_model, tiny_temporal]


@pytest.mark.usefixtures("processes")
def test_errors_and_results_come_back_from_the_process(tmp_path: Path) -> None:
    shutil.copy(find_model("base"), tmp_path / "mine.onnx")
    try_model(tmp_path / "mine.onnx")
    assert len(list((tmp_path / "tried").iterdir())) == 1
    with pytest.raises(MissingSpec, match="has no mien spec"):
        try_model(endless(tmp_path / "net.onnx"))


@pytest.mark.usefixtures("processes")
def test_a_graph_that_loops_forever_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited, "WALL_SECONDS", 3)
    described = dict.fromkeys(("size", "channels", "normalize", "layout", "output"))
    flags = {"equalize": False, "bgr": False, "mean": [], "deviation": [], "columns": []}
    names = {"labels": list(FER2013), "label_set": "fer2013", "name": "net", "license": "", "scores": ""}
    with pytest.raises(ModelError, match=r"net\.onnx did not predict one image within .* looped forever"):
        call_limited("mien.models.adopt:describe", endless(tmp_path / "net.onnx"), **described, **flags, **names)


@pytest.mark.usefixtures("processes")
def test_labels_with_a_number_of_thousands_of_digits_are_not_blamed_on_the_file(foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(f"{'1' * 5000} sad\n2 happy")
    with pytest.raises(ModelError, match=r"has as outputs: .* but 2 labels were given"):
        adopt_model(foreign, labels=str(tmp_path / "labels.txt"), size=8, channels=1, models_dir=tmp_path / "mine")


@pytest.mark.usefixtures("processes")
def test_labels_are_checked_before_the_trial(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown label set 'n*\.x'"):
        adopt_model(endless(tmp_path / "net.onnx"), labels="n" * 300 + ".x", models_dir=tmp_path / "mine")


@pytest.mark.usefixtures("processes")
def test_a_crash_of_the_process_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net\.onnx crashed its trial run \(exit code"):
        call_limited("os:abort_", tmp_path / "net.onnx")
