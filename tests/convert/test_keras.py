from __future__ import annotations

import copy
import io
import json
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import keras_models
from commands import run
from keras_files import save_linear
from mien.errors import ConfigError, DatasetError, MienError, ModelError, OutputError
from mien.labels import FER2013
from mien.models.classifier import OnnxClassifier, softmax
from mien.models.onnx_file import read_spec

h5py = pytest.importorskip("h5py")
pytest.importorskip("onnx")

from mien.convert.keras import NORMALIZATIONS, Findings, convert, examine, normalizations_for  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]
Weights = dict[str, list[tuple[str, Array]]]  # layer -> names and values

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (4, 12, 12, 3), np.uint8)
KERNEL, BIAS = RNG.normal(0, 0.3, (3, 3, 3, 4)), RNG.normal(0, 0.3, 4)
GAMMA, BETA, MEAN, VARIANCE = (RNG.uniform(0.5, 2, 4) for _ in range(4))
OUT = RNG.normal(0, 0.5, (36, 3))


# --- against Keras itself ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder of models saved by Keras 3, and of its predictions."""
    for package in ("keras", "torch"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install '.[dev]'")
    folder = tmp_path_factory.mktemp("keras")
    program = [sys.executable, keras_models.__file__, str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)  # 200 MB


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", keras_models.MODELS)
def test_a_converted_model_predicts_the_same_as_in_keras(oracle: Path, tmp_path: Path, name: str, suffix: str) -> None:
    known = np.load(oracle / f"{name}.npz")
    labels = "fer2013" if name in keras_models.PROTOTYPES else "angry,happy,sad"
    normalize = "unit" if name.startswith("transfer") else None  # its vgg16 needs one
    done = convert(oracle / (name + suffix), tmp_path / "net.onnx", labels=labels, normalize=normalize)
    linear = done.spec.graph.output == "logits"
    expected = softmax(known["expected"]) if linear else known["expected"]
    assert expected.std(axis=0).max() > 0.005, "it answers the same to all pictures, so nothing is compared"
    got = OnnxClassifier(done.path).predict_proba(list(known["pictures"]))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["deep", "rescaling", "normalization"])
def test_a_model_that_begins_with_a_normalisation_gets_no_second_one(oracle: Path, tmp_path: Path, name: str) -> None:
    assert convert(oracle / f"{name}.keras", tmp_path / "net.onnx", labels="a,b,c").normalize == "none"


# --- files written by hand, as Keras 2 wrote them ---------------------------------------------------------------------


def layer(kind: str, name: str, after: Any = None, **config: Any) -> dict[str, Any]:
    """A layer of a configuration; `after` names the layers that feed it in a functional model."""
    made = {"class_name": kind, "config": {"name": name, "trainable": True, **config}}
    if after is None:
        return made
    return {**made, "name": name, "inbound_nodes": [[[one, 0, 0, {}] for one in after]] if after else []}


def conv(name: str, after: Any = None, **config: Any) -> dict[str, Any]:
    settings = {
        "filters": 4, "kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "data_format": "channels_last",
        "dilation_rate": [1, 1], "activation": "linear", "use_bias": True,
    }  # fmt: skip
    return layer("Conv2D", name, after, **{**settings, **config})


def dense(name: str, after: Any = None, **config: Any) -> dict[str, Any]:
    return layer("Dense", name, after, **{"units": 3, "activation": "softmax", "use_bias": False, **config})


def sequential(*layers: dict[str, Any], name: str = "sequential_1") -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def functional(*layers: dict[str, Any], ends: list[str], name: str = "model_1") -> dict[str, Any]:
    config = {
        "name": name,
        "layers": list(layers),
        "input_layers": [[layers[0]["name"], 0, 0]],
        "output_layers": [[end, 0, 0] for end in ends],
    }
    return {"class_name": "Model", "config": config}


def small_model() -> dict[str, Any]:
    """Sequential, without a layer for its input, as Keras had it at first."""
    return sequential(
        conv("conv2d_1", batch_input_shape=[None, 12, 12, 3]),
        layer("BatchNormalization", "norm_1", axis=[3], epsilon=1e-3, center=True, scale=True),
        layer("LeakyReLU", "leaky_1", alpha={"type": "ndarray", "value": 0.1}),
        layer("AveragePooling2D", "pool_1", pool_size=[3, 3], strides=[2, 2], padding="same"),
        layer("Activation", "bent_1", activation="hard_sigmoid"),
        layer("Flatten", "flatten_1", data_format="channels_last"),
        dense("dense_1"),
    )


def small_weights() -> Weights:
    norm = {"gamma": GAMMA, "beta": BETA, "moving_mean": MEAN, "moving_variance": VARIANCE}
    return {
        "conv2d_1": [("conv2d_1/kernel:0", KERNEL), ("conv2d_1/bias:0", BIAS)],
        "norm_1": [(f"norm_1/{name}:0", values) for name, values in norm.items()],
        "leaky_1": [],
        "pool_1": [],
        "bent_1": [],
        "flatten_1": [],
        "dense_1": [("dense_1/kernel:0", OUT)],
    }


def save_h5(path: Path, model: Any, weights: Weights, *, version: str = "2.4.0") -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(model).encode()
        top = file.create_group("model_weights")
        top.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            group = top.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight, _ in arrays]
            for weight, values in arrays:
                group[weight] = values.astype(np.float32)
    return path


def windows(pictures: Array, *, outside: float) -> Array:
    """Return windows of 3 × 3 at stride 2, (n, size / 2, size / 2, 3, 3, c); "same" pads an even side at its end."""
    n, side, _, channels = pictures.shape
    padded = np.full((n, side + 1, side + 1, channels), outside)
    padded[:, :side, :side] = pictures
    places = range(0, side, 2)
    return np.stack([np.stack([padded[:, y : y + 3, x : x + 3] for x in places], 1) for y in places], 1)


def small_answers(pictures: Array) -> Array:
    """Compute the output of `small_model` by numpy."""
    x = np.einsum("nyxhwc,hwco->nyxo", windows(pictures / 255, outside=0.0), KERNEL) + BIAS
    x = (x - MEAN) / np.sqrt(VARIANCE + 1e-3) * GAMMA + BETA
    x = np.where(x > 0, x, 0.1 * x)
    x = np.nanmean(windows(x, outside=np.nan), axis=(3, 4))
    return softmax(np.clip(0.2 * x + 0.5, 0, 1).reshape(len(x), -1) @ OUT)


def answers(path: Path, **settings: Any) -> Array:
    done = convert(path, path.with_suffix(".onnx"), **{"labels": "a,b,c", **settings})
    return OnnxClassifier(done.path).predict_proba(list(PICTURES))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return save_h5(tmp_path / "small.h5", small_model(), small_weights())


def test_a_file_of_keras_2_predicts_the_same_as_numpy(small: Path) -> None:
    np.testing.assert_allclose(answers(small), small_answers(PICTURES), atol=1e-5)


@pytest.mark.parametrize("name", ["small.hdf5", "SMALL.H5", "small"])
def test_the_format_is_recognised_by_content_not_suffix(small: Path, name: str) -> None:
    expected = answers(small)
    np.testing.assert_array_equal(answers(small.rename(small.with_name(name))), expected)


def test_the_oldest_sequential_configuration_is_a_list(tmp_path: Path) -> None:
    model = {"class_name": "Sequential", "config": small_model()["config"]["layers"]}
    path = save_h5(tmp_path / "old.h5", model, small_weights(), version="2.1.6")
    np.testing.assert_allclose(answers(path), small_answers(PICTURES), atol=1e-5)


def test_a_nested_model_of_keras_2_is_converted(tmp_path: Path) -> None:
    """Its call is number 1, and all of its weights are in one group: trained ones first."""
    body = small_model()["config"]["layers"][:5]
    del body[0]["config"]["batch_input_shape"]
    chain = [layer("InputLayer", "input_1", [], batch_input_shape=[None, 12, 12, 3])]
    for one in body:
        chain.append({**one, "name": one["config"]["name"], "inbound_nodes": [[[chain[-1]["name"], 0, 0, {}]]]})
    inner = functional(*chain, ends=["bent_1"], name="inner")
    start = layer("InputLayer", "input_2", [], batch_input_shape=[None, 12, 12, 3])
    called = {**inner, "name": "inner", "inbound_nodes": [[["input_2", 0, 0, {}]]]}
    flat, last = layer("Flatten", "flatten_1", ["inner"]), dense("dense_1", ["flatten_1"])
    flat["inbound_nodes"][0][0][1] = 1
    plain = small_weights()
    own = [*plain["conv2d_1"], *plain["norm_1"]]
    weights = {"inner": [*own[:4], *own[4:]], "dense_1": plain["dense_1"]}
    path = save_h5(tmp_path / "outer.h5", functional(start, called, flat, last, ends=["dense_1"]), weights)
    np.testing.assert_allclose(answers(path), small_answers(PICTURES), atol=1e-5)


def test_a_list_of_weights_in_pieces_is_joined(small: Path) -> None:
    with h5py.File(small, "a") as file:
        attributes = file["model_weights/norm_1"].attrs
        names = list(attributes["weight_names"])
        del attributes["weight_names"]
        attributes["weight_names0"], attributes["weight_names1"] = names[:3], names[3:]
    np.testing.assert_allclose(answers(small), small_answers(PICTURES), atol=1e-5)


def save_keras(path: Path, model: Any, groups: dict[str, list[Array]], *, version: str) -> Path:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for group, arrays in groups.items():
            variables = file.create_group(f"{group}/vars")
            for number, values in enumerate(arrays):
                variables[str(number)] = values.astype(np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", content.getvalue())
    return path


def two_norms() -> tuple[dict[str, Any], dict[str, list[Array]]]:
    """Return a model with two layers of one class and size, distinguished by their paths alone, and its weights."""
    settings: dict[str, Any] = {"axis": [3], "epsilon": 1e-3, "center": True, "scale": True}
    shape = {"class_name": "__tuple__", "items": [None, 12, 12, 3]}
    model = sequential(
        conv("conv2d", batch_input_shape=shape, use_bias=False),
        layer("BatchNormalization", "norm_a", **settings),
        layer("ReLU", "relu", max_value=None, negative_slope=0.0, threshold=0.0),
        layer("BatchNormalization", "norm_b", **settings),
        layer("GlobalAveragePooling2D", "pool"),
        dense("dense"),
    )
    norm = [GAMMA, BETA, MEAN, VARIANCE]
    return model, {"conv2d": [KERNEL], "norm_a": norm, "norm_b": norm[::-1], "dense": [OUT[:4]]}


@pytest.mark.parametrize(
    ("version", "part", "second"),
    [
        ("2.13.1", "_layer_checkpoint_dependencies", "batch_normalization_2"),
        ("2.15.0", "layers", "batch_normalization_1"),
    ],
)
def test_a_zip_of_keras_2_stores_weights_at_other_paths(tmp_path: Path, version: str, part: str, second: str) -> None:
    model, weights = two_norms()
    named = {name: [(f"{name}/{i}:0", array) for i, array in enumerate(own)] for name, own in weights.items()}
    expected = answers(save_h5(tmp_path / "same.h5", model, named))
    assert expected.std(axis=0).max() > 0.005
    places = [f"{part}/{place}" for place in ("conv2d", "batch_normalization", second, "dense")]
    groups = dict(zip(places, weights.values(), strict=True))
    path = save_keras(tmp_path / "net.keras", model, groups, version=version)
    np.testing.assert_array_equal(answers(path), expected)


def test_weights_of_another_layer_are_refused(tmp_path: Path) -> None:
    model, weights = two_norms()
    places = ["layers/" + place for place in ("conv2d", "batch_normalization", "batch_normalization_1", "dense")]
    path = save_keras(tmp_path / "net.keras", model, dict(zip(places, weights.values(), strict=True)), version="3.9.0")
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "a") as file:
        file["layers/batch_normalization/vars"].attrs["name"] = "norm_b"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.9.0"}))
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", content.getvalue())
    with pytest.raises(ModelError, match="weights of layer 'norm_a' are not at layers/batch_normalization"):
        convert(path, labels="a,b,c")


# --- pixels -----------------------------------------------------------------------------------------------------------


def linear_model(channels: int = 3, *, inner: str = "flatten") -> dict[str, Any]:
    start = layer("InputLayer", "input", batch_input_shape=[None, 12, 12, channels])
    return sequential(start, layer("Flatten", inner), dense("dense", activation="linear"))


@pytest.mark.parametrize(
    ("mode", "fed"),
    [
        ("unit", lambda x: x / 255),
        ("signed", lambda x: x / 127.5 - 1),
        ("none", lambda x: x),
        ("torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("caffe", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
        ("vggface", lambda x: x[..., ::-1] - [93.594, 104.7624, 129.1863]),
        ("vggface2", lambda x: x[..., ::-1] - [91.4953, 103.8827, 131.0912]),
    ],
)
def test_each_normalisation_is_applied(tmp_path: Path, mode: str, fed: Callable[[Array], Array]) -> None:
    weights = RNG.normal(0, 1e-3, (432, 3))
    path = save_h5(tmp_path / "net.h5", linear_model(), {"dense": [("dense/kernel:0", weights)]})
    expected = softmax(fed(PICTURES.astype(np.float64)).reshape(4, -1) @ weights)
    np.testing.assert_allclose(answers(path, normalize=mode), expected, atol=1e-5)


def test_images_can_be_equalised_first(tmp_path: Path) -> None:
    weights = RNG.normal(0, 0.1, (144, 3))
    path = save_h5(tmp_path / "net.h5", linear_model(1), {"dense": [("dense/kernel:0", weights)]})
    dark = [picture.mean(2).astype(np.uint8) // 4 for picture in PICTURES]
    done = convert(path, tmp_path / "net.onnx", labels="a,b,c", equalize=True)
    expected = softmax(np.stack([cv2.equalizeHist(picture) for picture in dark]).reshape(4, -1) / 255 @ weights)
    np.testing.assert_allclose(OnnxClassifier(done.path).predict_proba(dark), expected, atol=1e-5)


def test_every_normalisation_is_tested_above() -> None:
    tried = test_each_normalisation_is_applied.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert [mode for mode, _ in tried] == list(NORMALIZATIONS)


def test_a_pretrained_net_needs_its_normalisation(tmp_path: Path) -> None:
    weights = {"dense": [("dense/kernel:0", RNG.normal(0, 1e-3, (432, 3)))]}
    path = save_h5(tmp_path / "net.h5", linear_model(inner="block1_conv1"), weights)
    with pytest.raises(ConfigError, match=r"contains 'block1_conv1'.*--normalize, one of unit, signed"):
        convert(path, tmp_path / "net.onnx", labels="a,b,c")
    assert convert(path, tmp_path / "net.onnx", labels="a,b,c", normalize="caffe").normalize == "caffe"


def test_grey_models_refuse_normalisations_of_colour(tmp_path: Path) -> None:
    weights = {"dense": [("dense/kernel:0", RNG.normal(0, 1e-3, (144, 3)))]}
    path = save_h5(tmp_path / "net.h5", linear_model(1), weights)
    with pytest.raises(ConfigError, match="'caffe' is for RGB"):
        convert(path, labels="a,b,c", normalize="caffe")
    with pytest.raises(ConfigError, match="unknown normalisation 'bgr'; choose from unit, "):
        convert(path, labels="a,b,c", normalize="bgr")


# --- facts in a file --------------------------------------------------------------------------------------------------


def test_examine_returns_outputs_channels_and_default_normalisation(tmp_path: Path) -> None:
    assert examine(save_linear(tmp_path / "grey.h5")) == Findings(n_outputs=7, channels=1, normalize="unit")
    elsewhere = save_linear(tmp_path / "vgg.h5", n_outputs=3, channels=3, inner="block1_conv1")
    assert examine(elsewhere) == Findings(n_outputs=3, channels=3, normalize=None)
    (tmp_path / "half.h5").write_bytes((tmp_path / "grey.h5").read_bytes()[:900])
    with pytest.raises(ModelError, match=r"half\.h5"):
        examine(tmp_path / "half.h5")


def test_grey_images_have_fewer_normalisations() -> None:
    assert normalizations_for(1) == ["unit", "signed", "none"]
    assert normalizations_for(3) == list(NORMALIZATIONS)


# --- spec and labels --------------------------------------------------------------------------------------------------


def test_the_spec_is_complete(small: Path, tmp_path: Path) -> None:
    done = convert(small, tmp_path / "net.onnx", labels="Joy, anger,sad", name="mine", license="MIT")
    spec = read_spec(tmp_path / "net.onnx")
    assert spec == done.spec
    assert (spec.name, spec.arch, spec.license) == ("mine", "foreign", "MIT")
    assert spec.labels.labels == ("happy", "angry", "sad")
    assert (spec.preprocess.size, spec.preprocess.channels, spec.preprocess.normalize) == (12, 3, "unit")
    assert (spec.graph.input, spec.graph.output) == ("uint8-nhwc", "probabilities")


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """A model with seven outputs that bears the name of a known label set."""
    model = linear_model()
    model["config"]["layers"][-1]["config"]["units"] = 7
    return save_h5(tmp_path / "fer2013.h5", model, {"dense": [("dense/kernel:0", RNG.normal(0, 1e-3, (432, 7)))]})


def test_a_known_label_set_is_named_or_recognised(seven: Path, tmp_path: Path) -> None:
    for labels in ("fer2013", "angry,disgust,fear,happy,sad,surprise,neutral"):
        assert convert(seven, tmp_path / "net.onnx", labels=labels).spec.labels == FER2013


def test_another_order_of_labels_is_another_label_set(seven: Path, tmp_path: Path) -> None:
    spec = convert(seven, tmp_path / "net.onnx", labels="anger,disgust,fear,joy,neutral,sadness,surprise").spec
    assert spec.labels.labels == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert spec.labels.name == "fer2013-labels"


@pytest.mark.parametrize(("labels", "given"), [("a,b", 2), ("ferplus", 8)])
def test_the_number_of_labels_must_match_the_outputs(seven: Path, labels: str, given: int) -> None:
    with pytest.raises(ConfigError, match=f"7 outputs, but {given} labels .*--labels fer2013 or ferplus"):
        convert(seven, labels=labels)


@pytest.mark.parametrize("labels", [None, ""])
def test_missing_labels_are_asked_for(seven: Path, labels: str | None) -> None:
    with pytest.raises(ConfigError, match=r"7 outputs, but no labels were given; .*--labels fer2013 or ferplus"):
        convert(seven, labels=labels)


def test_labels_may_not_be_empty_or_an_unknown_set(seven: Path) -> None:
    with pytest.raises(DatasetError, match="expected no empty name"):
        convert(seven, labels="a,b,c,d,e,f,")
    with pytest.raises(ConfigError, match="unknown label set 'fer13'"):
        convert(seven, labels="fer13")


# --- refusals ---------------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], Any]  # of the functional model below, in place


def branched_model() -> dict[str, Any]:
    shape = [None, 12, 12, 3]
    return functional(
        layer("InputLayer", "input_1", [], batch_input_shape=shape),
        conv("conv2d_1", ["input_1"], padding="same"),
        layer("Flatten", "flatten_1", ["conv2d_1"]),
        dense("dense_1", ["flatten_1"]),
        ends=["dense_1"],
    )


BRANCHED: Weights = {
    "conv2d_1": [("conv2d_1/kernel:0", KERNEL), ("conv2d_1/bias:0", BIAS)],
    "dense_1": [("dense_1/kernel:0", RNG.normal(0, 0.1, (144, 3)))],
}


def turn_into(kind: str, **extra: Any) -> Change:
    return lambda config: config["layers"][2].update(class_name=kind, **extra)


def settle(index: int, **settings: Any) -> Change:
    return lambda config: config["layers"][index]["config"].update(settings)


def call_twice(config: dict[str, Any]) -> None:
    inner = sequential(layer("ReLU", "relu", max_value=None), name="conv2d_1")
    config["layers"][1] = {**inner, "name": "conv2d_1", "inbound_nodes": [[["input_1", 0, 0, {}]]] * 2}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (turn_into("Lambda"), "layer 'flatten_1' is a custom Lambda, whose code mien does not run; build"),
        (turn_into("Flatten", registered_name="mine>Flatten"), "'flatten_1' is a custom Flatten"),
        (turn_into("Flatten", module="my_layers"), "'flatten_1' is a custom Flatten"),
        (turn_into("LSTM"), "layer 'flatten_1' is a LSTM, which mien does not convert; .*mien models add"),
        (turn_into("TFOpLambda"), "layer 'flatten_1' is a TFOpLambda"),
        (settle(1, data_format="channels_first"), "layer 'conv2d_1' has channels first"),
        (settle(1, activation="my_own"), "layer 'conv2d_1' has the activation 'my_own'"),
        (settle(1, activation={"class_name": "function", "config": "f"}), "layer 'conv2d_1' has the activation 'f'"),
        (settle(1, kernel_size=[13, 13], padding="valid"), "layer 'conv2d_1' .*have shapes"),
        (settle(0, batch_input_shape=[None, 12, 14, 3]), r"shape \[None, 12, 14, 3\]; expected square images"),
        (settle(0, batch_input_shape=[None, None, None, 3]), "expected square images of one size"),
        (settle(0, batch_input_shape=[None, 144]), "expected square images of one size"),
        (settle(0, batch_input_shape=None), "its input has the shape None"),
        (settle(0, batch_input_shape=[None, 4, 4, 3]), "input size 4 is out of range"),
        (settle(0, batch_input_shape=[None, 12, 12, 2]), "2 channels; expected 1"),
        (settle(3, activation="sigmoid"), "ends in Sigmoid; expected a softmax"),
        (settle(3, activation="relu"), "ends in Relu; expected a softmax"),
        (lambda c: c.update(output_layers=[["conv2d_1", 0, 0]]), r"output has the shape \(6, 6, 4\)"),
        (lambda c: c.update(output_layers=[["input_1", 0, 0]]), r"output has the shape \(12, 12, 3\)"),
        (
            lambda c: c["output_layers"].append(["conv2d_1", 0, 0]),
            r"2 outputs, dense_1, conv2d_1; .*keras.Model\(model.input, model.get_layer\('dense_1'\).output\)",
        ),
        (lambda c: c["input_layers"].append(["conv2d_1", 0, 0]), "2 inputs, input_1, conv2d_1"),
        (
            lambda c: c["layers"][1]["inbound_nodes"][0][0].__setitem__(0, "dense_1"),
            "layer 'conv2d_1' has no input",
        ),
        (
            lambda c: c["layers"][1]["inbound_nodes"][0][0][3].update(training=True),
            "'conv2d_1' is called with training=True",
        ),
        (call_twice, "calls the nested model 'conv2d_1' several times"),
        (
            lambda c: c["layers"][1].update(inbound_nodes=[{"args": [2.0], "kwargs": {}}]),
            "layer 'conv2d_1' takes 2.0, which is not the output of a layer",
        ),
        (lambda c: c["layers"][1]["config"].pop("filters"), r"not understood \(KeyError\('filters'\)\)"),
    ],
)
def test_unsupported_layers_are_named(tmp_path: Path, change: Change, told: str) -> None:
    model = branched_model()
    change(model["config"])
    path = save_h5(tmp_path / "net.h5", model, BRANCHED)
    with pytest.raises(ModelError, match=told) as caught:
        convert(path, tmp_path / "net.onnx", labels="a,b,c")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "net.onnx").exists()


def test_the_unchanged_model_is_converted(tmp_path: Path) -> None:
    done = convert(save_h5(tmp_path / "net.h5", branched_model(), BRANCHED), tmp_path / "net.onnx", labels="a,b,c")
    assert done.path.exists()


def test_an_unsupported_model_gets_a_command_that_works(tmp_path: Path) -> None:
    path = save_h5(tmp_path / "net.h5", sequential(layer("LSTM", "lstm", batch_input_shape=[None, 12, 12, 3])), {})
    advised = r"model\.export\('net\.onnx', format='onnx'\), and add that: mien models add net\.onnx --labels"
    with pytest.raises(ModelError, match=f"'lstm' is a LSTM, which mien does not convert; .*{advised}"):
        convert(path, labels="a,b,c")


def test_a_custom_model_class_is_refused(tmp_path: Path) -> None:
    path = save_h5(
        tmp_path / "net.h5",
        {"class_name": "MyNet", "config": {"layers": [conv("c", batch_input_shape=[None, 12, 12, 3])]}},
        {},
    )
    with pytest.raises(ModelError, match="custom class, MyNet, whose code"):
        convert(path, labels="a,b,c")


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({}, "'conv2d_1' is missing from the weights"),
        ({**BRANCHED, "conv2d_1": []}, r"'conv2d_1' \(Conv2D\) have shapes none, expected \(3, 3, 3, 4\) \(4,\)"),
        (
            {**BRANCHED, "conv2d_1": BRANCHED["conv2d_1"][:1]},
            r"have shapes \(3, 3, 3, 4\), expected \(3, 3, 3, 4\) \(4,\)",
        ),
        ({**BRANCHED, "dense_1": [("dense_1/kernel:0", OUT)]}, r"have shapes \(36, 3\), expected \(144, 3\)"),
        ({**BRANCHED, "dense_1": [("k", np.full((144, 3), np.nan))]}, "not finite"),
        ({**BRANCHED, "dense_1": [("k", np.full((144, 3), np.inf))]}, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, weights: Weights, told: str) -> None:
    path = save_h5(tmp_path / "net.h5", branched_model(), weights)
    with pytest.raises(ModelError, match=told):
        convert(path, tmp_path / "net.onnx", labels="a,b,c")
    assert not (tmp_path / "net.onnx").exists()


def everywhere(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in JSON."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*path, key)
        yield from everywhere(value, (*path, key))


def test_any_configuration_is_converted_or_refused_with_our_error(tmp_path: Path) -> None:
    model, outcomes = small_model(), set()
    for place in everywhere(model):
        for value in (None, "x", -1, 10**6, [], 0.5):
            changed = copy.deepcopy(model)
            part = changed
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = value
            path = save_h5(tmp_path / "net.h5", changed, small_weights())
            try:
                convert(path, tmp_path / "net.onnx", labels="a,b,c")
                outcomes.add("converted")
            except MienError:
                outcomes.add("refused")
    assert outcomes == {"converted", "refused"}


# --- damaged files, and files that would do harm ----------------------------------------------------------------------


def cut(path: Path, share: float) -> bytes:
    content = path.read_bytes()
    return content[: int(len(content) * share)]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_truncated_file_is_refused(small: Path, tmp_path: Path, suffix: str, share: float) -> None:
    model, weights = two_norms()
    groups = {f"layers/{name}": arrays for name, arrays in weights.items()}
    zipped = save_keras(tmp_path / "whole.keras", model, groups, version="3.0.0")
    path = tmp_path / f"half{suffix}"
    path.write_bytes(cut(small if suffix == ".h5" else zipped, share))
    with pytest.raises(ModelError, match=r"damaged or incomplete|not a Keras model, or only part of one"):
        convert(path, tmp_path / "net.onnx", labels="a,b,c")


def test_a_zip_with_damaged_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("config.json", json.dumps(small_model()))
        archive.writestr("model.weights.h5", b"no HDF5")
    with pytest.raises(ModelError, match="damaged or incomplete"):
        convert(path, labels="a,b,c")


@pytest.mark.parametrize("missing", ["metadata.json", "config.json", "model.weights.h5"])
def test_a_zip_with_a_missing_part_names_it(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for part in {"metadata.json", "config.json", "model.weights.h5"} - {missing}:
            archive.writestr(part, "{}")
    with pytest.raises(ModelError, match=f"there is no {missing} inside"):
        convert(path, labels="a,b,c")


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": print}), b"PK\x03\x04" + bytes(100)])
def test_files_that_keras_did_not_write_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.h5"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"not a Keras model but an? [\w ,]+; ") as refused:
        convert(path, labels="a,b,c")
    assert "mien convert" not in str(refused.value)


def test_a_folder_and_a_missing_file_have_their_own_messages(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a folder, not a file; save the model as one file, in Keras: model\.save"):
        convert(tmp_path, labels="a,b,c")
    with pytest.raises(ModelError, match=r"cannot read .*no\.h5: No such file"):
        convert(tmp_path / "no.h5", labels="a,b,c")


def save_parts(folder: Path, weights: str, architecture: str, *, version: int = 2) -> tuple[Path, Path]:
    """Save the small model as weights alone, laid out as Keras 2 or 3 does, and a JSON file."""
    folder.mkdir(exist_ok=True)
    if version == 2:
        save_h5(folder / "whole.h5", small_model(), small_weights())
        with h5py.File(folder / "whole.h5") as whole, h5py.File(folder / weights, "w") as file:
            for name in whole["model_weights"]:
                whole.copy(whole["model_weights"][name], file, name)
            file.attrs["layer_names"] = whole["model_weights"].attrs["layer_names"]
        (folder / "whole.h5").unlink()
    else:
        places = {"conv2d_1": "conv2d", "norm_1": "batch_normalization", "dense_1": "dense"}
        with h5py.File(folder / weights, "w") as file:
            for name, place in places.items():
                for number, (_, values) in enumerate(small_weights()[name]):
                    file[f"layers/{place}/vars/{number}"] = values.astype(np.float32)
    extra = {"keras_version": "2.1.6", "backend": "tensorflow"} if version == 2 else {"module": "keras"}
    (folder / architecture).write_text(json.dumps(small_model() | extra))
    return folder / weights, folder / architecture


@pytest.mark.parametrize(
    ("weights", "architecture", "version"),
    [("fer.h5", "fer.json", 2), ("weights.hdf5", "model.json", 2), ("net.weights.h5", "net.json", 3)],
)
def test_weights_alone_are_read_with_the_architecture_beside_them(
    tmp_path: Path, weights: str, architecture: str, version: int
) -> None:
    parts = save_parts(tmp_path / "repository", weights, architecture, version=version)
    (tmp_path / "repository" / "package.json").write_text('{"name": "page"}')
    assert convert(parts[1], tmp_path / "net.onnx", labels="a,b,c").parts == parts
    found = [answers(part) for part in parts]
    np.testing.assert_array_equal(found[0], found[1])
    if version == 2:  # Keras 3 has another hard sigmoid
        np.testing.assert_allclose(found[0], small_answers(PICTURES), atol=1e-5)


def test_of_several_architectures_the_namesake_is_taken_or_one_must_be_named(tmp_path: Path) -> None:
    weights, architecture = save_parts(tmp_path, "fer.h5", "fer.json")
    (tmp_path / "other.json").write_text(json.dumps(linear_model()))
    expected = answers(weights)
    renamed = architecture.rename(tmp_path / "model.json")
    with pytest.raises(ModelError, match=r"several files .*: model\.json, other\.json; name one with --architecture"):
        convert(weights, labels="a,b,c")
    np.testing.assert_array_equal(answers(weights, architecture=renamed), expected)
    (tmp_path / "labels.txt").write_text("angry")
    with pytest.raises(ModelError, match=r"labels\.txt is not the architecture of a Keras model; expected .*to_json"):
        convert(weights, labels="a,b,c", architecture=tmp_path / "labels.txt")


def test_one_part_of_a_model_is_refused_with_a_remedy(tmp_path: Path) -> None:
    weights, architecture = save_parts(tmp_path, "fer.h5", "fer.json")
    away = architecture.rename(tmp_path / "fer.txt")
    with pytest.raises(ModelError, match=r"contains weights only.*\(model_config\).*model\.to_json.*model\.save"):
        convert(weights, labels="a,b,c")
    away.rename(architecture)
    weights.unlink()
    with pytest.raises(ModelError, match=r"fer\.json: .* architecture without weights; .*save_weights"):
        convert(architecture, labels="a,b,c")


def keras_1() -> dict[str, Any]:
    """Return the small model as Keras 1 named its layers and settings."""
    conv2d = {
        "name": "conv2d_1", "nb_filter": 4, "nb_row": 3, "nb_col": 3, "subsample": [2, 2], "border_mode": "same",
        "dim_ordering": "tf", "activation": "linear", "bias": True, "batch_input_shape": [None, 12, 12, 3],
    }  # fmt: skip
    pool = {"pool_size": [3, 3], "strides": [2, 2], "border_mode": "same", "dim_ordering": "tf"}
    layers = [
        {"class_name": "Convolution2D", "config": conv2d},
        layer("BatchNormalization", "norm_1", axis=-1, epsilon=1e-3, mode=0, momentum=0.99),
        layer("LeakyReLU", "leaky_1", alpha=0.1),
        layer("AveragePooling2D", "pool_1", **pool),
        layer("Activation", "bent_1", activation="hard_sigmoid"),
        layer("Flatten", "flatten_1"),
        layer("Dropout", "dropout_1", p=0.5),
        layer("Dense", "dense_1", output_dim=3, activation="softmax", bias=False),
    ]
    return {"class_name": "Sequential", "config": layers}


def test_a_model_of_keras_1_is_converted_unless_its_channels_come_first(tmp_path: Path) -> None:
    model = keras_1()
    path = save_h5(tmp_path / "old.h5", model, small_weights(), version="1.2.2")
    np.testing.assert_allclose(answers(path), small_answers(PICTURES), atol=1e-5)
    model["config"][0]["config"]["dim_ordering"] = "th"
    path = save_h5(tmp_path / "theano.h5", model, small_weights(), version="1.2.2")
    with pytest.raises(ModelError, match=r"Keras 1 wrote it with channels first .* dim_ordering='tf', and train it"):
        convert(path, labels="a,b,c")


def test_links_to_other_files_are_not_followed(small: Path, tmp_path: Path) -> None:
    secret = save_h5(tmp_path / "secret.h5", small_model(), small_weights())
    place = "model_weights/dense_1"
    with h5py.File(small, "a") as file:
        del file[place]
        file[place] = h5py.ExternalLink(str(secret), place)
    with pytest.raises(ModelError, match="'dense_1' is missing from the weights"):
        convert(small, labels="a,b,c")


def test_a_small_file_of_huge_weights_is_refused(small: Path) -> None:
    put_zeros(small, "dense_1/dense_1/kernel:0", (10**6, 10**6))
    with pytest.raises(ModelError, match=r"shapes \(1000000, 1000000\), expected \(36, 3\)"):
        convert(small, labels="a,b,c")


def put_zeros(path: Path, place: str, shape: tuple[int, int]) -> None:
    """Put an array that takes no room in the file into the place of some weights."""
    with h5py.File(path, "a") as file:
        del file[f"model_weights/{place}"]
        file.create_dataset(f"model_weights/{place}", shape, "f4", chunks=(100, 1000))


def test_weights_that_unpack_to_far_more_than_the_file_size_are_refused(tmp_path: Path) -> None:
    path = save_linear(tmp_path / "net.h5", n_outputs=120_000)
    put_zeros(path, "dense/dense/kernel:0", (144, 120_000))
    with h5py.File(path, "a") as file:
        file["model_weights/dense/dense/kernel:0"][0, 0] = 1  # takes a chunk, 0.4 MB of 69 MB
    with pytest.raises(ModelError, match=r"net\.h5: the numbers of '.*dense/kernel:0' are not inside the file"):
        convert(path, labels="a,b,c")


def test_a_layer_of_too_many_weights_is_refused_unread(tmp_path: Path) -> None:
    path = save_linear(tmp_path / "net.h5", n_outputs=7)
    with h5py.File(path, "a") as file:
        config = file.attrs["model_config"].replace('"units": 7', '"units": 7000000')
        file.attrs["model_config"] = config
    put_zeros(path, "dense/dense/kernel:0", (144, 7_000_000))
    with pytest.raises(ModelError, match=r"layer 'dense' has 1,008,000,000 weights, expected at most 268,435,456"):
        convert(path, labels="a,b,c")


@pytest.mark.parametrize(
    "after",
    [
        [layer("Reshape", "flat", target_shape=[-1]), dense("dense_1")],
        [layer("GlobalAveragePooling2D", "mean"), layer("Softmax", "last", axis=-1)],
    ],
)
def test_a_layer_with_too_large_an_output_is_named(tmp_path: Path, after: list[dict[str, Any]]) -> None:
    start = layer("ZeroPadding2D", "wide", padding=[[0, 10**6], [0, 10**6]], batch_input_shape=[None, 12, 12, 3])
    path = save_h5(tmp_path / "net.h5", sequential(start, *after), {})
    with pytest.raises(
        ModelError, match=r"net\.h5: layer 'wide' outputs 3,000,072,000,432 numbers per image, .* most 67,108,864"
    ):
        convert(path, labels="a,b,c")


def test_running_out_of_memory_is_our_error(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mien.convert.keras_layers.numbers_of", full)
    with pytest.raises(ModelError, match=r"small\.h5: it does not fit into memory"):
        convert(small, labels="a,b,c")


def test_a_failed_trial_names_the_source_file(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(classifier: OnnxClassifier, crops: object) -> None:
        raise ModelError(f"{classifier.path} rejects the input that its spec describes: out of memory")

    monkeypatch.setattr(OnnxClassifier, "predict_proba", fail)
    with pytest.raises(ModelError, match=r"small\.h5: the converted model rejects the input .*: out of memory$"):
        convert(small, labels="a,b,c")


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", bytes(101 * 2**20))
        archive.writestr("model.weights.h5", "")
    with pytest.raises(ModelError, match="would unpack to 105,906,176 bytes"):
        convert(path, labels="a,b,c")


def test_no_framework_is_needed(small: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['keras', 'tensorflow', 'torch']))\n"
        "from pathlib import Path; from mien.convert.keras import convert\n"
        f"convert(Path({str(small)!r}), Path({str(tmp_path / 'net.onnx')!r}), labels='a,b,c')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert OnnxClassifier(tmp_path / "net.onnx").spec.name == "small"


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("own_folder")
def test_the_command_writes_a_model_and_prints_how_to_use_it(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", small, "--labels", "angry,happy,sad") == 0
    said = capsys.readouterr().out
    assert "model: small.onnx (12×12 RGB, pixels unit: angry, happy, sad)" in said
    assert "use it: mien predict PHOTO --model small.onnx" in said
    assert read_spec(tmp_path / "small.onnx").name == "small"


@pytest.mark.usefixtures("own_folder")
def test_the_command_installs(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", small, "--labels", "a,b,c", "--name", "mine", "--install", "--licence", "MIT") == 0
    assert "use it: mien predict PHOTO --model mine\n" in capsys.readouterr().out
    assert not (tmp_path / "mine.onnx").exists()
    assert run("models") == 0
    assert "mine" in capsys.readouterr().out
    assert run("convert", small, "--labels", "a,b,c", "--out", "new/net.onnx", "--install", "--models", "team") == 0
    assert read_spec(tmp_path / "team" / "small.onnx") == read_spec(tmp_path / "new" / "net.onnx")


@pytest.mark.usefixtures("own_folder")
def test_a_failure_is_one_line_and_keeps_existing_files(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.onnx").write_text("kept")
    assert run("convert", small) == 2
    assert run("convert", tmp_path / "no.h5") == 2
    assert run("convert", small, "--labels", "a,b,c", "--normalize", "bgr") == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert (tmp_path / "small.onnx").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.h5", "small.onnx"]


def test_a_model_is_not_written_over_its_source(small: Path) -> None:
    before = small.read_bytes()
    with pytest.raises(ConfigError, match=r"small\.h5; expected a name that ends in \.onnx"):
        convert(small, small, labels="a,b,c")
    assert small.read_bytes() == before


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("name", ["../evil", " ", "/evil"])
def test_the_command_does_not_write_outside_the_models_directory(
    small: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(tmp_path.rglob("*"))
    for options in (["--install", "--models", "models"], []):
        assert run("convert", small, "--labels", "a,b,c", "--name", name, *options) == 2
        assert f"a model cannot be called '{name}'; expected a name without /" in capsys.readouterr().err
    assert set(tmp_path.rglob("*")) == before


def test_a_target_that_cannot_be_written_is_our_error(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for places in ({"target": tmp_path / "file" / "net.onnx"}, {"install": tmp_path / "file"}):
        with pytest.raises(OutputError, match="cannot make folder"):
            convert(small, labels="a,b,c", **places)


@pytest.mark.usefixtures("own_folder")
def test_a_keras_model_in_the_directory_is_listed_converted_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    save_linear(tmp_path / "models" / "net.h5")
    photo = keras_models.__file__.replace("tests/keras_models.py", "docs/images/astronaut.png")
    assert run("models") == 0
    listed = capsys.readouterr()
    assert re.search(r"^net .* Keras, not converted yet ", listed.out, re.M)
    assert run("models", "--json") == 0
    (row,) = [model for model in json.loads(capsys.readouterr().out) if model["format"] == "keras"]
    assert (row["name"], row["labels"], row["shipped"]) == ("net", "", False)
    for command in (("predict", photo), ("live", photo, "--no-window", "--out", "seen"), ("bench", photo)):
        assert run(*command, "--model", "net") == 2
        assert capsys.readouterr().err == f"error: {row['problem']}\n"
    command = row["problem"].split("`")[1].replace("angry,disgust,…", "fer2013")
    assert command in listed.err.replace("angry,disgust,…", "fer2013")
    assert run(*shlex.split(command)[1:]) == 0
    assert run("predict", photo, "--model", "net") == 0
    capsys.readouterr()
    assert run("models", "--json") == 0
    assert [m["format"] for m in json.loads(capsys.readouterr().out) if m["name"] == "net"] == ["onnx"]


def test_listing_models_does_not_load_the_reader(tmp_path: Path) -> None:
    (tmp_path / "net.h5").touch()
    code = (
        "import sys; from pathlib import Path; from mien.models.store import list_models\n"
        f"print([m.name for m in list_models(Path({str(tmp_path)!r})) if m.problem])\n"
        "print({'h5py', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['net']\nset()\n"
