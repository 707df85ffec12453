"""Pretrained weights, and their reader for models that mien exported (extra: train)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor

from mien.errors import ModelError
from mien.labels import LabelSet
from mien.models.onnx_file import read_spec
from mien.models.spec import ModelSpec, Preprocess, current_name
from mien.nets.blocks import RepConvolution
from mien.nets.nets import NETS, build_net
from mien.structures import FloatArray

KINDS = "a run's folder or checkpoint (.safetensors), a model's name or .onnx, dlib's .dat or VGGFace's .h5"
HEAD = ("weight", "bias")
STATE = (*HEAD, "running_mean", "running_var")  # last words in the names of a net's tensors
PIXELS = Preprocess(channels=3, normalize="none")  # input of nets that centre pixels themselves


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias, followed by a scale and shift per filter.

    Args:
        weight: (filters, channels, height, width); colour channels in RGB order.
        shift: (filters,).
        scale: (filters,); None for ones.
    """

    weight: FloatArray
    shift: FloatArray
    scale: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Pretrained weights of a net.

    Args:
        arch: Architecture in `NETS` that they belong to.
        origin: Source and licence, for the spec.
        preprocess: Input they were trained on; a net that starts from them must use its equalisation and normalisation.
        convolutions: All convolutions of the net, in order from the input. Batch norm statistics are unknown.
        tensors: The other tensors, or all, by name in the net's state dict.
        heads: Label sets of the heads among them.
        left_out: Further parts of the file, which mien's net lacks.
    """

    arch: str
    origin: str
    preprocess: Preprocess
    convolutions: tuple[Convolution, ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    heads: tuple[LabelSet, ...] = ()
    left_out: tuple[str, ...] = ()


def of_spec(spec: ModelSpec, tensors: Mapping[str, Tensor], convolutions: tuple[Convolution, ...] = ()) -> Weights:
    """Return weights of one of mien's own nets; arguments as for `Weights`."""
    origin = f"{spec.name} ({_data_of(spec.trained_on)})"
    if "init" in spec.trained_on:
        origin += f", itself from {spec.trained_on['init']}"
    heads = tuple(head.labels for head in spec.heads)
    return Weights(
        arch=spec.arch,
        origin=origin,
        preprocess=spec.preprocess,
        convolutions=convolutions,
        tensors=tensors,
        heads=heads,
    )


def _data_of(origin: Mapping[str, str]) -> str:
    """Return names and short fingerprints of the data that a model was trained on, from its spec's `trained_on`."""
    first = [origin.get("name", "training data unknown"), origin.get("fingerprint", "")[:12]]
    further = [
        [key.removeprefix("with "), text.partition("fingerprint ")[2][:12]]
        for key, text in origin.items()
        if key.startswith("with ")
    ]
    return ", ".join(" ".join(filter(None, pair)) for pair in [first, *further])


def read_model(path: Path) -> Weights:
    """Read the weights of a model that mien exported; its batch norms are folded into the convolutions.

    Raises:
        ModelError: Damaged, or of another origin.
    """
    spec = read_spec(path)
    if spec.kind == "ensemble":
        raise ModelError(f"{path} is an ensemble, which cannot be trained; start from one of its members")
    if spec.arch not in NETS:
        raise ModelError(f"{path} is a model of another origin, whose architecture mien doesn't know; expected {KINDS}")
    if any(isinstance(module, RepConvolution) for module in build_net(spec.arch, spec.preprocess, {}).modules()):
        raise ModelError(f"{path} cannot be trained: its branches were folded when it was exported; start from its run")
    try:
        graph = onnx.load(path, load_external_data=False).graph
        constants = _constants(graph)
        convolutions = tuple(
            Convolution(*(constants[name] for name in node.input[1:])) for node in graph.node if node.op_type == "Conv"
        )
    except (OSError, DecodeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"cannot read the weights of {path} ({error!r}); export the model again") from error
    ours = {name.removeprefix("net."): array for name, array in constants.items() if name.startswith("net.")}
    named = {current_name(name): torch.tensor(array) for name, array in ours.items()}
    tensors = {name: tensor for name, tensor in named.items() if name.split(".")[-1] in STATE}
    return of_spec(spec, tensors, convolutions)


CASTS = ("Cast", "Mul", "Identity", "DequantizeLinear")  # of stored weights, to float32


def _constants(graph: onnx.GraphProto) -> dict[str, FloatArray]:
    """Return the weights of a graph as float32, whatever their storage."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in CASTS or any(name not in values for name in node.input):
            continue
        first, *others = (values[name] for name in node.input)
        if node.op_type == "DequantizeLinear":  # others: scale and zero, of the tensor or of each output channel
            scale, zero = (each.reshape(-1, *[1] * (first.ndim - 1)) for each in others)
            values[node.output[0]] = ((first.astype(np.float32) - zero) * scale).reshape(first.shape)
        else:
            values[node.output[0]] = first * others[0] if others else first.astype(np.float32)
    return values
