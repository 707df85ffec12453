"""From a Keras model, .h5 or .keras, to an ONNX file with its spec inside; needs no Keras (extra: keras)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast, get_args

import numpy as np
import onnx
from onnx import TensorProto, helper

from mien.convert.keras_file import MODELS, Json, KerasModel, Names, layers_of, name_of, open_keras
from mien.convert.keras_layers import ADVICE, LAYERS, MERGES, MOST_NUMBERS, PICTURES, Builder, Layer, Value
from mien.errors import ConfigError, ModelError
from mien.files import make_folder
from mien.labels import LABEL_SETS, LabelSet, named_label_set
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import check_target, write_with_spec
from mien.models.spec import Graph, Head, ModelSpec, Normalize, Output, Preprocess
from mien.models.store import add_model, check_name

OPSET, IR_VERSION = 17, 8
# What is done to pixels, 0 to 255, outside of a Keras model: whether RGB is turned to BGR; mean; deviation.
NORMALIZATIONS: dict[str, tuple[bool, tuple[float, ...], tuple[float, ...]]] = {
    "unit": (False, (0,), (255,)),
    "signed": (False, (127.5,), (127.5,)),
    "none": (False, (0,), (1,)),
    # the modes of preprocess_input in keras.applications, where "signed" is called "tf"
    "torch": (False, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": (True, (103.939, 116.779, 123.68), (1,)),
    # the means of the faces that VGGFace was trained on (Parkhi et al. 2015; Cao et al. 2018), as in keras_vggface
    "vggface": (True, (93.5940, 104.7624, 129.1863), (1,)),
    "vggface2": (True, (91.4953, 103.8827, 131.0912), (1,)),
}
# Models and layers of these names were trained elsewhere first, and each kind was fed in its own way.
BACKBONE = re.compile(
    r"vgg|resnet|mobilenet|xception|inception|densenet|senet|nasnet|^block1_conv1$|^conv1[_/]|^mixed0$"
)
QUIET = np.errstate(all="ignore")  # what is not finite is found when the model is tried


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of a Keras model.

    Args:
        path: The ONNX file: the one that was asked for, or the one in the models directory.
        spec: The spec inside.
        normalize: What the graph does to pixels first, of `NORMALIZATIONS`.
    """

    path: Path
    spec: ModelSpec
    normalize: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a Keras file tells by itself, before it is converted.

    Args:
        n_outputs: How many labels the model has.
        channels: 1 for grey, 3 for RGB.
        normalize: What `convert` takes when it isn't told; None where it must be.
    """

    n_outputs: int
    channels: int
    normalize: str | None


def examine(source: Path) -> Findings:
    """Look into a Keras model for what must be said to convert it.

    Raises:
        ModelError: As `convert`.
    """
    with open_keras(source) as model:
        try:
            graph, preprocess, _, normalize = _to_onnx(model, None)
        except ConfigError:  # such nets are fed in several ways
            (graph, preprocess, _, _), normalize = _to_onnx(model, "none"), None
    return Findings(_n_outputs(graph), preprocess.channels, normalize)


def normalizations_for(channels: int) -> list[str]:
    """Return those of `NORMALIZATIONS` that pictures of so many channels can go through."""
    return [name for name, (_, mean, _) in NORMALIZATIONS.items() if len(mean) in (1, channels)]


def convert(
    source: Path,
    target: Path | None = None,
    *,
    labels: str | None,
    name: str | None = None,
    normalize: str | None = None,
    equalize: bool = False,
    license: str = "",
    install: Path | None = None,
) -> Conversion:
    """Write a Keras model as ONNX that takes pixels, and try it.

    Args:
        source: A model that Keras 2 or 3 saved whole, .h5 or .keras.
        target: The .onnx file to write; when None, NAME.onnx in the working directory unless it is installed.
        labels: Class names in the order of the outputs with commas between, or the name of a known label set.
        name: What to call the model; the file's stem when None.
        normalize: What was done to pixels before the model saw them, of `NORMALIZATIONS`. When None it is "unit", or
            "none" if the model begins with Rescaling or Normalization.
        equalize: Whether pictures were histogram-equalised first, as the 2020 prototype did.
        license: Terms of the weights.
        install: Models directory to put it into; none when None.

    Raises:
        ModelError: Not such a file, or one with a layer that is not known, or damaged. Nothing is written.
        ConfigError: Labels or normalisation are unknown or must be told, the name is none for a file, or the target is
            no .onnx file.
        DatasetError: The labels are not two or more different names.
        OutputError: The file cannot be written.
    """
    name = source.stem if name is None else name
    check_name(name)
    if target is not None:
        check_target(target)
    with open_keras(source) as model:
        graph, preprocess, output, used = _to_onnx(model, normalize)
    spec = ModelSpec(
        name=name,
        arch="foreign",
        heads=(Head(_label_set(labels, _n_outputs(graph), name)),),
        preprocess=replace(preprocess, equalize=equalize),
        graph=Graph(input="uint8-nhwc", output=output),
        license=license,
    )
    with TemporaryDirectory() as folder:
        plain, trial = Path(folder) / "plain.onnx", Path(folder) / "trial.onnx"
        onnx.save(graph, plain)
        write_with_spec(plain, trial, spec)
        try:
            _try(trial)
        except ModelError as error:  # which names the file it tried
            raise ModelError(f"{source}: {str(error).replace(str(trial), 'what it becomes')}") from error
        if install is not None:
            make_folder(install)
            path = add_model(plain, spec, models_dir=install)
        if target is not None or install is None:
            path = target or Path(f"{name}.onnx")
            make_folder(path.parent)
            write_with_spec(plain, path, spec)
    return Conversion(path, spec, used)


def _n_outputs(graph: onnx.ModelProto) -> int:
    return int(graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def _label_set(labels: str | None, n_outputs: int, name: str) -> LabelSet:
    how = (
        "name them in the order it was trained with: --labels angry,disgust,…, or by a known set: --labels "
        f"{' or '.join(LABEL_SETS)}"
    )
    if not labels:
        raise ConfigError(f"the model has {n_outputs} outputs, and nothing says what they mean; {how}")
    found = named_label_set(labels, name=name)
    if len(found) != n_outputs:
        raise ConfigError(f"the model has {n_outputs} outputs, but {len(found)} labels were given; {how}")
    return found


@QUIET
def _try(path: Path) -> None:
    """Predict pictures, so that a model that does not run, or gives no numbers, is not written."""
    classifier = OnnxClassifier(path, threads=1)
    size = classifier.spec.preprocess.size
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    if not np.allclose(classifier.predict_proba(list(pictures)).sum(1), 1, atol=1e-3):
        raise ModelError("the model gives no probabilities; some of its weights are not finite: train it again")


@QUIET
def _to_onnx(model: KerasModel, normalize: str | None) -> tuple[onnx.ModelProto, Preprocess, Output, str]:
    """Return the graph, how faces become its input, what it gives, and what it does to pixels first."""
    shape = _input_shape(model.architecture)
    if shape is None or len(shape) != 4 or shape[1] is None or shape[1] != shape[2]:
        raise ModelError(f"its input has the shape {shape}; expected square pictures of one size: [None, 48, 48, 1]")
    _, size, _, channels = shape
    preprocess = Preprocess(size=size, channels=channels)
    builder = Builder(legacy=model.version < "3")
    pictures = Value(PICTURES, (size, size, channels))
    result = builder.last(_run(builder, model.architecture, [pictures], model))
    if len(result.shape) != 1:
        raise ModelError(f"it gives the shape {result.shape} for a picture; expected a number for each label")
    output = _output_kind(builder, result)
    used = normalize or _normalization_of(builder, model.architecture)
    body, builder.nodes = builder.nodes, []
    _normalize(builder, pictures, used)
    builder.nodes += body
    builder.add("Identity", result.name, output="scores")
    faces = helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", size, size, channels])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", *result.shape])
    graph = helper.make_graph(builder.nodes, "net", [faces], [scores], builder.constants)
    opset = helper.make_opsetid("", OPSET)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="mien")
    proto.doc_string = f"converted from Keras {model.version}"
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"what it becomes is not valid ONNX: {str(error).splitlines()[0]}") from error
    kept = cast(Normalize, used if used in get_args(Normalize) else "none")  # for the reader; the graph does it
    return proto, replace(preprocess, normalize=kept), output, used


def _input_shape(model: Json) -> list[Any] | None:
    """Return the shape of a model's input, the batch first; None where the file does not tell."""
    layers = layers_of(model)
    if model["class_name"] in ("Functional", "Model"):
        inputs = _ends(model["config"]["input_layers"])
        if len(inputs) != 1:
            names = ", ".join(name for name, _ in inputs)
            raise ModelError(f"it has {len(inputs)} inputs, {names}; mien converts models with one")
        layers = [layer for layer in layers if name_of(layer) == inputs[0][0]]
    if layers[0]["class_name"] in MODELS:
        return _input_shape(layers[0])
    places = (layers[0]["config"], model["config"] if isinstance(model["config"], dict) else {})
    keys = ("batch_shape", "batch_input_shape", "build_input_shape")  # of Keras 3, Keras 2, Sequential
    return next((place[key] for place in places for key in keys if place.get(key)), None)


def _normalization_of(builder: Builder, model: Json) -> str:
    """Return what pixels went through before the model; ask where that is open."""
    if builder.normalizes:
        return "none"
    for name in _all_names(model):
        if BACKBONE.search(name.lower()):
            raise ConfigError(
                f"the model holds '{name}', and such nets are fed in several ways; say how this one was: "
                f"--normalize {', '.join(NORMALIZATIONS)}"
            )
    return "unit"


def _all_names(model: Json) -> Iterator[str]:
    for layer in layers_of(model):
        yield name_of(layer)
        if layer["class_name"] in MODELS:
            yield from _all_names(layer)


def _normalize(builder: Builder, pictures: Value, mode: str) -> None:
    """Lead from pixels to what the net takes."""
    if mode not in NORMALIZATIONS:
        raise ConfigError(f"unknown normalisation '{mode}'; choose from {', '.join(NORMALIZATIONS)}")
    bgr, mean, deviation = NORMALIZATIONS[mode]
    if mode not in normalizations_for(pictures.shape[2]):
        raise ConfigError(f"normalisation '{mode}' is for RGB, but the model takes grey; choose unit, signed or none")
    x = replace(pictures, name=builder.add("Cast", "faces", to=TensorProto.FLOAT))
    if bgr:
        x = builder.each("Gather", x, builder.constant([2, 1, 0], np.int64), axis=3)
    if mode != "none":
        x = builder.affine(x, 1 / np.array(deviation), -np.array(mean) / np.array(deviation))
    builder.add("Identity", x.name, output=pictures.name)


def _output_kind(builder: Builder, result: Value) -> Output:
    """Tell probabilities from logits by what computes them."""
    nodes = {node.output[0]: node for node in builder.nodes}
    node = nodes.get(result.name)
    while node is not None and node.op_type in ("Reshape", "Transpose", "ReduceMean"):
        node = nodes.get(node.input[0])
    op = "its input" if node is None else node.op_type
    if op == "Softmax":
        return "probabilities"
    if op in ("Gemm", "Conv"):
        return "logits"
    raise ModelError(f"it ends in {op}; expected a softmax, or a linear layer that a softmax is to follow")


def _run(builder: Builder, model: Json, inputs: list[Value], file: KerasModel, names: Names = ()) -> Value:
    """Add a model's layers and return its output."""
    kind = model["class_name"]
    if kind not in MODELS or _is_custom(model):
        raise ModelError(f"the model is of the class {kind}, its author's own, whose code mien does not run; {ADVICE}")
    if kind != "Sequential":
        return _run_functional(builder, model, inputs, file, names)
    for layer in layers_of(model):
        inputs = [_call(builder, layer, inputs, file, names)]
    return inputs[0]


def _run_functional(builder: Builder, model: Json, inputs: list[Value], file: KerasModel, names: Names) -> Value:
    """Add a model whose layers name those that feed them; a call of a layer is known by its name and number."""
    outputs = _ends(model["config"]["output_layers"])
    if len(outputs) != 1:
        listed = ", ".join(name for name, _ in outputs)
        raise ModelError(
            f"it has {len(outputs)} outputs, {listed}; keep one in Keras: "
            f"keras.Model(model.input, model.get_layer('{outputs[0][0]}').output).save('net.h5')"
        )
    layers = {name_of(layer): layer for layer in layers_of(model)}
    # Versions number the calls of a model inside from 0 or from 1, so there must be one.
    nested = {name for name, layer in layers.items() if layer["class_name"] in MODELS}
    waiting: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for name, layer in layers.items():
        for number, node in enumerate(layer["inbound_nodes"]):
            if number and name in nested:
                raise ModelError(f"it calls the model inside, '{name}', several times, which mien does not convert")
            waiting[name, number] = [(n, 0 if n in nested else i) for n, i in _fed_by(node, name)]
    values = dict(zip(_ends(model["config"]["input_layers"]), inputs, strict=True))
    while waiting:
        ready = [call for call, needs in waiting.items() if all(need in values for need in needs)]
        if not ready:
            raise ModelError(f"layer '{next(iter(waiting))[0]}' is fed by no other; save the model again")
        for call in ready:
            fed = [values[need] for need in waiting.pop(call)]
            values[call] = _call(builder, layers[call[0]], fed, file, names)
    name, number = outputs[0]
    return values[name, 0 if name in nested else number]


def _ends(value: Any) -> list[tuple[str, int]]:
    """Return the calls that are a model's inputs or outputs: [name, number, 0], or several, or by name."""
    if isinstance(value, dict):
        value = list(value.values())
    if value and isinstance(value[0], str):
        return [(value[0], value[1])]
    return [end for part in value for end in _ends(part)]


def _fed_by(node: Any, name: str) -> list[tuple[str, int]]:
    """Return the calls that feed a call: [[name, number, 0, arguments], …] in Keras 2, tensors in Keras 3."""
    arguments: Json = {}
    if isinstance(node, dict) and "args" in node:
        arguments, node = node["kwargs"], [node["args"], list(node["kwargs"].values())]
    elif isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        node = node["config"]["keras_history"]
    if isinstance(node, list) and len(node) > 3 and isinstance(node[0], str):
        arguments = node[3]
    if arguments.get("training"):
        raise ModelError(f"layer '{name}' is called as if in training, which mien does not convert; {ADVICE}")
    if isinstance(node, list) and node and isinstance(node[0], str):
        return [(node[0], node[1])]
    if isinstance(node, list):
        return [call for part in node for call in _fed_by(part, name)]
    if node is None or node is False:
        return []
    raise ModelError(f"layer '{name}' takes {node!r}, which is not what a layer gives; {ADVICE}")


def _call(builder: Builder, layer: Json, inputs: list[Value], file: KerasModel, names: Names) -> Value:
    """Add one call of a layer, or of a model inside."""
    kind, names = layer["class_name"], (*names, name_of(layer))
    if kind in MODELS:
        return _run(builder, layer, inputs, file, names)
    found = Layer(names[-1], kind, layer["config"], lambda: file.read(names))
    if kind == "Lambda" or _is_custom(layer):
        raise found.refused(f"is a {kind} of the author's own, whose code mien does not run")
    if found.config.get("data_format") == "channels_first":
        raise found.refused("has channels first; mien converts models with channels last")
    if kind in MERGES and len(inputs) > 1:
        result = MERGES[kind](builder, found, inputs)
    elif kind in LAYERS:
        (x,) = inputs
        result = LAYERS[kind](builder, found, x)
    else:
        raise found.refused(f"is a {kind}, which mien does not convert")
    if (n := math.prod(result.shape)) > MOST_NUMBERS:
        raise ModelError(
            f"layer '{found.name}' gives {n:,} numbers a picture, expected at most {MOST_NUMBERS:,}; make it smaller"
        )
    return result


def _is_custom(layer: Json) -> bool:
    """Tell whether a class is registered as somebody's own, or comes from a module that is not Keras'."""
    module = str(layer.get("module") or "keras").split(".")[0]
    return ">" in str(layer.get("registered_name")) or module not in ("keras", "tf_keras", "tensorflow")
