"""Convert Keras models, .h5 or .keras, to ONNX files with a spec inside, without Keras (extra: keras).

See docs/decisions/0030.
"""

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
from mien.convert.keras_layers import ADVICE, LAYERS, MAX_NUMBERS, MERGES, PICTURES, Builder, Layer, Value
from mien.errors import ConfigError, ModelError
from mien.files import as_path, make_folder
from mien.labels import LABEL_SETS, LabelSet, named_label_set
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import check_target, read_spec, write_with_spec
from mien.models.preprocess import NORMALIZATIONS
from mien.models.spec import Graph, Head, ModelSpec, Normalize, Output, Preprocess
from mien.models.store import add_model, check_name

OPSET, IR_VERSION = 17, 8
# Names of pretrained models and their layers, whose normalisation can't be derived from the file.
BACKBONE = re.compile(
    r"vgg|resnet|mobilenet|xception|inception|densenet|senet|nasnet|^block1_conv1$|^conv1[_/]|^mixed0$"
)
QUIET = np.errstate(all="ignore")  # values that are not finite are found when the model is tried


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted Keras model.

    Args:
        path: The ONNX file: the target, or the file in the models directory.
        spec: The spec inside.
        normalize: Normalisation inside the graph, one of `NORMALIZATIONS`.
        parts: Files of weights and architecture, where weights were saved alone; empty for a whole model.
    """

    path: Path
    spec: ModelSpec
    normalize: str
    parts: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """Facts that a Keras file contains, before it is converted.

    Args:
        n_outputs: Number of labels.
        channels: 1 for grey, 3 for RGB.
        normalize: Default normalisation of `convert`; None where one must be given.
    """

    n_outputs: int
    channels: int
    normalize: str | None


def examine(source: str | Path) -> Findings:
    """Return the number of outputs, the channels and the default normalisation of a Keras model.

    Raises:
        ModelError: As for `convert`.
    """
    with open_keras(as_path(source)) as model:
        try:
            graph, preprocess, _, normalize = _to_onnx(model, None)
        except ConfigError:  # the normalisation can't be derived
            (graph, preprocess, _, _), normalize = _to_onnx(model, "none"), None
    return Findings(_n_outputs(graph), preprocess.channels, normalize)


def normalizations_for(channels: int) -> list[str]:
    """Return the names in `NORMALIZATIONS` that apply to images with so many channels."""
    return [name for name, (_, mean, _) in NORMALIZATIONS.items() if len(mean) in (1, channels)]


def convert(
    source: str | Path,
    target: str | Path | None = None,
    *,
    labels: str | None,
    name: str | None = None,
    normalize: str | None = None,
    equalize: bool = False,
    license: str = "",
    install: Path | None = None,
    architecture: Path | None = None,
) -> Conversion:
    """Convert a Keras model to an ONNX file that takes pixels, and try it before it is written.

    Args:
        source: A model saved by Keras 1 to 3: a whole one, .h5 or .keras, or the weights or the architecture of one.
        target: The .onnx file to write; when None, NAME.onnx in the working directory, or none if it is installed.
        labels: Comma-separated class names in the order of the outputs, or the name of a known label set.
        name: Name of the model; the file's stem when None.
        normalize: Normalisation of the pixels in training, one of `NORMALIZATIONS`. When None it is "unit", or "none"
            if the model begins with Rescaling or Normalization.
        equalize: Whether images were histogram-equalised in training, as in the 2020 prototype.
        license: Licence of the weights.
        install: Models directory to install it in; None for none.
        architecture: The JSON file that belongs to a file of weights alone; the one beside it when None.

    Raises:
        ModelError: Not a Keras model, damaged, or with a layer that mien does not convert. Nothing is written.
        ConfigError: Labels or normalisation are missing or unknown, the name cannot be a file name, or the target does
            not end in .onnx.
        DatasetError: The labels are not two or more different names.
        OutputError: The file cannot be written.
    """
    source, target = as_path(source), None if target is None else as_path(target)
    name = source.stem if name is None else name
    check_name(name)
    if target is not None:
        check_target(target)
    with open_keras(source, architecture) as model:
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
        except ModelError as error:  # its message names the trial file
            raise ModelError(f"{source}: {str(error).replace(str(trial), 'the converted model')}") from error
        return Conversion(_write(plain, spec, target, install), spec, used, model.parts)


def _write(plain: Path, spec: ModelSpec, target: Path | None, install: Path | None) -> Path:
    """Write an ONNX file with its spec to a target and a models directory; return the path to report."""
    if install is not None:
        path = add_model(plain, spec, models_dir=install)
    if target is not None or install is None:
        path = target or Path(f"{spec.name}.onnx")
        make_folder(path.parent)
        write_with_spec(plain, path, spec)
    return path


def _n_outputs(graph: onnx.ModelProto) -> int:
    return int(graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def _label_set(labels: str | None, n_outputs: int, name: str) -> LabelSet:
    how = (
        "give them in the order of its training: --labels angry,disgust,…, or name a known set: --labels "
        f"{' or '.join(LABEL_SETS)}"
    )
    if not labels:
        raise ConfigError(f"the model has {n_outputs} outputs, but no labels were given; {how}")
    found = named_label_set(labels, name=name)
    if len(found) != n_outputs:
        raise ConfigError(f"the model has {n_outputs} outputs, but {len(found)} labels were given; {how}")
    return found


@QUIET
def _try(path: Path) -> None:
    """Predict noise, so that a model that does not run, or whose weights are not finite, is not written."""
    classifier = OnnxClassifier(path, threads=1, spec=read_spec(path))
    size = classifier.spec.preprocess.size
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    if not np.allclose(classifier.predict_proba(list(pictures)).sum(1), 1, atol=1e-3):
        raise ModelError("the model's probabilities are not finite, so some of its weights aren't; train it again")


@QUIET
def _to_onnx(model: KerasModel, normalize: str | None) -> tuple[onnx.ModelProto, Preprocess, Output, str]:
    """Return the graph, its preprocessing, the kind of its output, and the normalisation inside it."""
    preprocess = _preprocess(model.architecture)
    size, channels = preprocess.size, preprocess.channels
    builder = Builder(legacy=model.version < "3")
    pictures = Value(PICTURES, (size, size, channels))
    result = builder.last(_run(builder, model.architecture, [pictures], model))
    if len(result.shape) != 1:
        raise ModelError(f"its output has the shape {result.shape} per image; expected one number per label")
    output = _output_kind(builder, result)
    used = normalize or _normalization_of(builder, model.architecture)
    layers, builder.nodes = builder.nodes, []
    _normalize(builder, pictures, used)
    builder.nodes += layers
    builder.add("Identity", result.name, output="scores")
    kept = cast(Normalize, used if used in get_args(Normalize) else "none")  # for the reader; the graph does it
    proto = _proto(builder, preprocess, result, model.version)
    return proto, replace(preprocess, normalize=kept), output, used


def _preprocess(architecture: Json) -> Preprocess:
    shape = _input_shape(architecture)
    if shape is None or len(shape) != 4 or shape[1] is None or shape[1] != shape[2]:
        raise ModelError(f"its input has the shape {shape}; expected square images of one size: [None, 48, 48, 1]")
    _, size, _, channels = shape
    return Preprocess(size=size, channels=channels)


def _proto(builder: Builder, preprocess: Preprocess, result: Value, version: str) -> onnx.ModelProto:
    """Return a checked ONNX model of the builder's nodes."""
    size, channels = preprocess.size, preprocess.channels
    faces = helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", size, size, channels])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", *result.shape])
    graph = helper.make_graph(builder.nodes, "net", [faces], [scores], builder.constants)
    opset = helper.make_opsetid("", OPSET)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="mien")
    proto.doc_string = f"converted from Keras {version}"
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the converted model is not valid ONNX: {str(error).splitlines()[0]}") from error
    return proto


def _input_shape(model: Json) -> list[Any] | None:
    """Return the shape of a model's input, the batch first; None if the file lacks it."""
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
    """Return the default normalisation of a model; raise ConfigError for pretrained nets, which differ in it."""
    if builder.normalizes:
        return "none"
    for name in _all_names(model):
        if BACKBONE.search(name.lower()):
            raise ConfigError(
                f"the model contains '{name}', a pretrained net whose normalisation the file lacks; give it with "
                f"--normalize, one of {', '.join(NORMALIZATIONS)}"
            )
    return "unit"


def _all_names(model: Json) -> Iterator[str]:
    for layer in layers_of(model):
        yield name_of(layer)
        if layer["class_name"] in MODELS:
            yield from _all_names(layer)


def _normalize(builder: Builder, pictures: Value, mode: str) -> None:
    """Add the nodes that normalise pixels."""
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
    """Return "probabilities" or "logits", by the node that computes the output."""
    nodes = {node.output[0]: node for node in builder.nodes}
    node = nodes.get(result.name)
    while node is not None and node.op_type in ("Reshape", "Transpose", "ReduceMean"):
        node = nodes.get(node.input[0])
    op = "its input" if node is None else node.op_type
    if op == "Softmax":
        return "probabilities"
    if op in ("Gemm", "Conv"):
        return "logits"
    raise ModelError(f"it ends in {op}; expected a softmax, or a linear layer whose outputs are logits")


def _run(builder: Builder, model: Json, inputs: list[Value], file: KerasModel, names: Names = ()) -> Value:
    """Add a model's layers and return its output."""
    kind = model["class_name"]
    if kind not in MODELS or _is_custom(model):
        raise ModelError(f"the model is of a custom class, {kind}, whose code mien does not run; {ADVICE}")
    if kind != "Sequential":
        return _run_functional(builder, model, inputs, file, names)
    for layer in layers_of(model):
        inputs = [_call(builder, layer, inputs, file, names)]
    return inputs[0]


def _run_functional(builder: Builder, model: Json, inputs: list[Value], file: KerasModel, names: Names) -> Value:
    """Add a model whose layers name their inputs; a call of a layer is identified by its name and number."""
    outputs = _ends(model["config"]["output_layers"])
    if len(outputs) != 1:
        listed = ", ".join(name for name, _ in outputs)
        raise ModelError(
            f"it has {len(outputs)} outputs, {listed}; keep one in Keras: "
            f"keras.Model(model.input, model.get_layer('{outputs[0][0]}').output).save('net.h5')"
        )
    layers = {name_of(layer): layer for layer in layers_of(model)}
    # Versions of Keras number the calls of a nested model from 0 or from 1, so there must be only one.
    nested = {name for name, layer in layers.items() if layer["class_name"] in MODELS}
    waiting: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for name, layer in layers.items():
        for number, node in enumerate(layer["inbound_nodes"]):
            if number and name in nested:
                raise ModelError(f"it calls the nested model '{name}' several times, which mien does not convert")
            waiting[name, number] = [(n, 0 if n in nested else i) for n, i in _fed_by(node, name)]
    values = dict(zip(_ends(model["config"]["input_layers"]), inputs, strict=True))
    while waiting:
        ready = [call for call, needs in waiting.items() if all(need in values for need in needs)]
        if not ready:
            raise ModelError(f"layer '{next(iter(waiting))[0]}' has no input; save the model again")
        for call in ready:
            fed = [values[need] for need in waiting.pop(call)]
            values[call] = _call(builder, layers[call[0]], fed, file, names)
    name, number = outputs[0]
    return values[name, 0 if name in nested else number]


def _ends(value: Any) -> list[tuple[str, int]]:
    """Return the calls that are a model's inputs or outputs, stored as [name, number, 0], a list or a dict of these."""
    if isinstance(value, dict):
        value = list(value.values())
    if value and isinstance(value[0], str):
        return [(value[0], value[1])]
    return [end for part in value for end in _ends(part)]


def _fed_by(node: Any, name: str) -> list[tuple[str, int]]:
    """Return the calls whose outputs a call takes: [[name, number, 0, arguments], …] in Keras 2, tensors in Keras 3."""
    arguments: Json = {}
    if isinstance(node, dict) and "args" in node:
        arguments, node = node["kwargs"], [node["args"], list(node["kwargs"].values())]
    elif isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        node = node["config"]["keras_history"]
    if isinstance(node, list) and len(node) > 3 and isinstance(node[0], str):
        arguments = node[3]
    if arguments.get("training"):
        raise ModelError(f"layer '{name}' is called with training=True, which mien does not convert; {ADVICE}")
    if isinstance(node, list) and node and isinstance(node[0], str):
        return [(node[0], node[1])]
    if isinstance(node, list):
        return [call for part in node for call in _fed_by(part, name)]
    if node is None or node is False:
        return []
    raise ModelError(f"layer '{name}' takes {node!r}, which is not the output of a layer; {ADVICE}")


def _call(builder: Builder, layer: Json, inputs: list[Value], file: KerasModel, names: Names) -> Value:
    """Add one call of a layer or nested model."""
    kind, names = layer["class_name"], (*names, name_of(layer))
    if kind in MODELS:
        return _run(builder, layer, inputs, file, names)
    found = Layer(names[-1], kind, layer["config"], lambda: file.read(names))
    if kind == "Lambda" or _is_custom(layer):
        raise found.refused(f"is a custom {kind}, whose code mien does not run")
    if found.config.get("data_format") == "channels_first":
        raise found.refused("has channels first; mien converts models with channels last")
    if kind in MERGES and len(inputs) > 1:
        result = MERGES[kind](builder, found, inputs)
    elif kind in LAYERS:
        (x,) = inputs
        result = LAYERS[kind](builder, found, x)
    else:
        raise found.refused(f"is a {kind}, which mien does not convert")
    if (n := math.prod(result.shape)) > MAX_NUMBERS:
        raise ModelError(
            f"layer '{found.name}' outputs {n:,} numbers per image, expected at most {MAX_NUMBERS:,}; make it smaller"
        )
    return result


def _is_custom(layer: Json) -> bool:
    """Return whether a class is registered as custom, or comes from a module outside Keras."""
    module = str(layer.get("module") or "keras").split(".")[0]
    return ">" in str(layer.get("registered_name")) or module not in ("keras", "tf_keras", "tensorflow")
