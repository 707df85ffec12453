"""ONNX models of other origin get a spec, and are tried first."""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from foreign_models import write_foreign
from mien.errors import ConfigError, MienError, ModelError
from mien.labels import FER2013, FERPLUS
from mien.models.adopt import adopt_model, parse_columns
from mien.models.classifier import OnnxClassifier, softmax
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.spec import Graph, Preprocess
from mien.models.store import find_model
from mien.structures import FloatArray

LEVELS = (255, 51, 102)  # of one-coloured images; 3 for a batch that is no multiple of 2


def predicted(path: Path, channels: int = 1, red: int | None = None) -> FloatArray:
    """Return the probabilities of grey images of `LEVELS`, or of images whose red differs."""
    size = read_spec(path).preprocess.size
    images = [np.full((size, size, 3), level, np.uint8) for level in LEVELS]
    for image in images:
        image[:, :, 0] = image[:, :, 0] if red is None else red
    return OnnxClassifier(path).predict_proba(images)


def expected(values: list[float], k: int = 7) -> FloatArray:
    """Return the probabilities of images whose first channel, normalised, is of these values."""
    return softmax(np.outer(values, np.arange(k)).astype(np.float32))


UNIT = [1, 0.2, 0.4]


def test_an_adopted_model_has_a_spec_and_predicts(foreign: Path, tmp_path: Path) -> None:
    path = adopt_model(foreign, labels="fer2013", name="mine", license="MIT", models_dir=tmp_path)
    spec = read_spec(path)
    assert (path, spec.name, spec.license, spec.kind) == (tmp_path / "mine.onnx", "mine", "MIT", "face")
    assert (spec.labels, spec.preprocess) == (FER2013, Preprocess(size=8, normalize="unit"))
    assert spec.graph == Graph(input="float32-nchw", output="logits", scores="y")
    np.testing.assert_allclose(predicted(path), expected(UNIT), rtol=1e-4)


@pytest.mark.parametrize(
    ("file", "described", "values"),
    [
        ({"shape": ("n", 8, 8, 1)}, {}, UNIT),
        ({"shape": ("n", 8, 8, 3)}, {}, UNIT),
        ({"shape": (1, 3, 16, 16)}, {}, UNIT),
        ({"shape": (2, 1, 8, 8)}, {}, UNIT),
        ({"merged": True}, {}, UNIT),
        ({"dtype": "float16"}, {}, UNIT),
        ({"dtype": "float16", "end": "Softmax"}, {}, UNIT),
        ({"end": "Softmax"}, {}, UNIT),
        ({"end": "Softmax"}, {"output": "probabilities"}, UNIT),
        ({"external": True}, {}, UNIT),
        ({"extra": 2}, {}, UNIT),
        ({"extra": 7}, {"scores": "y"}, UNIT),
        ({"shape": ("n", 3, "h", "w")}, {"size": 24}, UNIT),
        ({"shape": ("n", "c", 8, 8)}, {"channels": 3}, UNIT),
        ({}, {"mean": [0.5], "deviation": [0.25]}, [2, -1.2, -0.4]),
        ({}, {"normalize": "signed"}, [1, -0.6, -0.2]),
        ({"shape": ("n", 3, 8, 8)}, {"normalize": "torch"}, [(v - 0.485) / 0.229 for v in UNIT]),
        ({"shape": ("n", 3, 8, 8)}, {"mean": [0.5, 9, 9], "deviation": [2, 1, 1]}, [(v - 0.5) / 2 for v in UNIT]),
    ],
)
def test_graphs_of_many_forms_are_adopted(
    file: dict[str, Any], described: dict[str, Any], values: list[float], tmp_path: Path
) -> None:
    path = adopt_model(
        write_foreign(tmp_path / "net.onnx", **file), labels="fer2013", models_dir=tmp_path / "m", **described
    )
    np.testing.assert_allclose(predicted(path), expected(values), atol=2e-3)


def test_a_graph_of_uint8_gets_unchanged_pixels(tmp_path: Path) -> None:
    source = write_foreign(tmp_path / "net.onnx", shape=("n", 3, 8, 8), dtype="uint8")
    path = adopt_model(source, labels="fer2013", models_dir=tmp_path / "m")
    assert read_spec(path).graph.input == "uint8-nchw"
    np.testing.assert_allclose(predicted(path, red=1), expected([1, 1, 1]), rtol=1e-4)


@pytest.mark.parametrize(("bgr", "values"), [(False, [0, 0, 0]), (True, UNIT)])
def test_blue_comes_first_in_bgr(bgr: bool, values: list[float], tmp_path: Path) -> None:
    source = write_foreign(tmp_path / "net.onnx", shape=("n", 3, 8, 8))
    path = adopt_model(source, labels="fer2013", bgr=bgr, models_dir=tmp_path / "m")
    np.testing.assert_allclose(predicted(path, red=0), expected(values), rtol=1e-4)


@pytest.mark.parametrize("end", ["", "Softmax"])
def test_columns_are_left_out_and_reordered(end: str, tmp_path: Path) -> None:
    source = write_foreign(tmp_path / "net.onnx", k=10, end=end)
    path = adopt_model(source, labels="angry,happy,sad", columns=[5, 0, 9], models_dir=tmp_path / "m")
    np.testing.assert_allclose(predicted(path), softmax(np.outer(UNIT, [5, 0, 9]).astype(np.float32)), rtol=1e-4)


def test_a_face_of_a_class_that_is_left_out_has_no_label_of_the_others(tmp_path: Path) -> None:
    """Where the other classes have a probability of exactly 0, each is as likely."""
    source = write_foreign(tmp_path / "net.onnx", k=200, end="Softmax")
    path = adopt_model(source, labels="angry,happy", columns=[0, 1], models_dir=tmp_path / "m")
    np.testing.assert_allclose(predicted(path).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("file", "described", "message"),
    [
        ({}, {"output": "probabilities"}, "scores from 0 to 6 with sums from 0 to 21, which are no probabilities"),
        ({"end": "Sigmoid"}, {}, "from 0 to 1 that don't sum to 1, as after a sigmoid"),
        ({"end": "Log"}, {}, "scores that are not finite"),
        ({}, {"size": 9}, "takes 8 pixels a side, not 9"),
        ({}, {"channels": 3}, "takes 1 channels, not 3"),
        ({}, {"layout": "float32-nhwc"}, r"takes float32-nchw, \[n, 1, 8, 8\], not float32-nhwc"),
        ({}, {"layout": "uint8-nchw"}, "takes float32-nchw"),
        ({"dtype": "uint8"}, {"normalize": "unit"}, "normalises pixels itself; omit --normalize"),
        ({"shape": ("n", 3, "h", "w")}, {}, "any number of pixels a side; give that of its training: --size 48"),
        ({"shape": ("n", 1, 64, 48)}, {}, "64×48 pixels .* crops are square"),
        ({"k": 10}, {}, "'y' with 10 columns; but 7 labels were given; .* in their order, with --columns"),
        ({"end": "Percent"}, {}, "has scores that sum to 100 for every image, as percentages do"),
        ({"end": "Noise"}, {}, "gives other scores for the same image each time; export it for inference"),
        ({"end": "Zero"}, {}, "gives the same scores for noise, black, white and a gradient; check --normalize"),
        ({"end": "ArgMax"}, {}, r"'y' of tensor\(int64\); expected a score per label, .* such as ArgMax"),
        ({"shape": (0, 1, 8, 8)}, {}, r"shape \[0, 1, 8, 8\]; expected no axis of 0"),
        ({"shape": ("n", 2, 8, 8)}, {}, r"net\.onnx: 2 channels; expected 1 \(grey\) or 3"),
        ({"extra": 7}, {}, "choose one with --output: 'valence' with 7 columns, 'y' with 7 columns"),
        ({"extra": 2}, {"scores": "x"}, "has no output 'x'; choose from 'valence' with 2 columns"),
        ({}, {"columns": [0, 1, 2, 3, 4, 5, 12]}, "column 12, counted from 0, is beyond"),
        ({}, {"columns": [0, 1]}, "2 columns of the output were chosen; expected one per label"),
        ({}, {"mean": [1, 2, 3]}, "is for RGB input, but this one is grey"),
        ({}, {"labels": "a,b,c"}, "'y' with 7 columns; but 3 labels"),
    ],
)
def test_a_wrong_description_is_refused_with_its_numbers_and_nothing_is_written(
    file: dict[str, Any], described: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = write_foreign(tmp_path / "my net.onnx", **file)
    with pytest.raises(ModelError, match=message) as caught:
        adopt_model(source, models_dir=tmp_path / "mine", **{"labels": "fer2013", **described})
    assert str(caught.value).startswith(str(source))
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("described", "error", "message"),
    [
        ({"labels": "fer13"}, ConfigError, "unknown label set 'fer13'"),
        ({}, ConfigError, r"net\.onnx has no mien spec; give its labels .* --labels"),
        ({"labels": "fer2013", "mean": [float("nan")]}, ConfigError, "--mean is nan; expected numbers such as 0.5"),
        ({"labels": "fer2013", "deviation": [0.5, 0]}, ConfigError, "--std is 0.5, 0; expected positive numbers"),
        ({"labels": "0,1,2"}, ConfigError, "the labels are numbers, 0,1,2; give the names"),
        ({"labels": "fer2013", "normalize": "magic"}, ConfigError, "'magic'; choose from unit, signed, .*, caffe"),
        ({"labels": "fer2013", "normalize": "torch"}, ConfigError, "is for RGB, but the model takes grey"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    described: dict[str, Any], error: type[MienError], message: str, foreign: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        adopt_model(foreign, models_dir=tmp_path / "mine", **described)


def test_weights_outside_the_folder_or_cut_are_refused(tmp_path: Path) -> None:
    source = write_foreign(tmp_path / "net.onnx", external=True)
    spec = read_spec(find_model("base"))
    weights = tmp_path / "net.onnx.data"
    weights.write_bytes(weights.read_bytes()[:10])
    with pytest.raises(ModelError, match=r"net\.onnx\.data is cut, or not of this model: .* expects 28 bytes"):
        write_with_spec(source, tmp_path / "copy.onnx", spec)
    weights.unlink()
    with pytest.raises(ModelError, match=r"has its weights in 'net\.onnx\.data', which cannot be read: No such file"):
        write_with_spec(source, tmp_path / "copy.onnx", spec)
    source.write_bytes(source.read_bytes().replace(b"net.onnx.data", b"/etc/services"))
    with pytest.raises(ModelError, match="outside its folder"):
        write_with_spec(source, tmp_path / "copy.onnx", spec)
    assert not (tmp_path / "copy.onnx").exists()


def test_a_mien_model_is_added_without_a_description(tiny_model: Path, tmp_path: Path) -> None:
    path = adopt_model(tiny_model, name="mine", models_dir=tmp_path)
    assert read_spec(path) == replace(read_spec(tiny_model), name="mine")
    with pytest.raises(ConfigError, match=r"is a mien model, which describes itself; .* omit size and bgr"):
        adopt_model(tiny_model, size=48, bgr=True, models_dir=tmp_path)


def test_a_keras_model_and_a_checkpoint_get_advice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"`mien convert .*net\.h5"):
        adopt_model(tmp_path / "net.h5", labels="fer2013")
    (tmp_path / "net.pth").write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"not an ONNX file .*; export it in PyTorch: torch\.onnx\.export"):
        adopt_model(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("net.onnx", b"<!DOCTYPE html><html>", "a web page; download the model with a browser"),
        ("net.onnx", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("net.onnx", b"", "an empty file"),
        ("net.onnx", gzip.compress(b"x", mtime=0), "a file packed by gzip; unpack it"),
        ("net.onnx", b"\x89HDF\r\n\x1a\n", "an HDF5 file; .*mien convert"),
        ("net", b"\x1c\0\0\0TFL3", "a TensorFlow Lite model; convert it by tf2onnx"),
        ("net", b"\x80\2\x8a\n", r"a pickle, .*torch\.onnx\.export"),
        ("net.onnx", b"\x08\x07\x12", "or a damaged or cut one; copy or export it again"),
    ],
)
def test_a_file_of_another_kind_is_named_by_its_content(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is not an ONNX file.* {kind}"):
        adopt_model(tmp_path / name, labels="fer2013")


def test_a_renamed_checkpoint_and_a_saved_model_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "renamed.onnx", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(ModelError, match=r"a PyTorch file; export it in PyTorch: torch\.onnx\.export"):
        adopt_model(tmp_path / "renamed.onnx", labels="fer2013")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").touch()
    with pytest.raises(ModelError, match="TensorFlow's SavedModel; convert it by tf2onnx"):
        adopt_model(tmp_path / "saved", labels="fer2013")


@pytest.mark.parametrize(
    ("domain", "version", "message"),
    [
        ("", 99, "uses version 99 of ONNX's operators, which is too new; export it with opset_version=17$"),
        ("com.own", 1, "uses the operator com.own:Magic, which is not in ONNX; export it with ONNX's own operators$"),
    ],
)
def test_a_graph_that_cannot_be_loaded_is_refused_in_one_plain_line(
    domain: str, version: int, message: str, tmp_path: Path
) -> None:
    model = onnx.load(write_foreign(tmp_path / "net.onnx"))
    if domain:
        model.graph.node[0].domain, model.graph.node[0].op_type = domain, "Magic"
        model.opset_import.append(onnx.helper.make_opsetid(domain, version))
    else:
        model.opset_import[0].version = version
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=message):
        adopt_model(tmp_path / "net.onnx", labels="fer2013")


def test_columns_are_parsed() -> None:
    assert parse_columns("0-2, 7,5") == [0, 1, 2, 7, 5]
    assert parse_columns("0-1,6-4") == [0, 1, 6, 5, 4]
    for wrong in ("", "a", "1-", "-1", "1.5", "0-99999999"):
        with pytest.raises(ConfigError, match="names no columns"):
            parse_columns(wrong)


def test_the_spec_of_an_adopted_model_with_a_known_label_order_keeps_its_name(tmp_path: Path) -> None:
    path = adopt_model(write_foreign(tmp_path / "net.onnx", k=8), labels="ferplus", models_dir=tmp_path / "m")
    assert read_spec(path).labels == FERPLUS
