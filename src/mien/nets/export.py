"""From a trained net to an ONNX file with its spec inside, checked against PyTorch (extra: train).

See docs/decisions/0011, 0014 and 0017.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mien.errors import ConfigError, ModelError
from mien.files import as_path
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import read_spec, save_with_spec
from mien.models.preprocess import preprocess
from mien.models.quantize import quantized
from mien.models.spec import ModelSpec, Normalize
from mien.nets.blocks import fold
from mien.nets.nets import Net, normalize
from mien.structures import FloatArray, ImageArray

OPSET = 17
Storage = Literal["float32", "float16", "int8", "int8-static"]
STORAGES: tuple[Storage, ...] = get_args(Storage)


@dataclass(frozen=True, slots=True)
class Parity:
    """Difference between an ONNX file and the PyTorch net it was exported from.

    Args:
        n: Number of images compared.
        max_difference: Largest difference of any probability of any head.
        same_label: Share of images given the same label, in [0, 1].
    """

    n: int
    max_difference: float
    same_label: float


class WithPixels(nn.Module):
    """The exported module: a net with normalisation before it, and temperature and softmax after it.

    Args:
        net: The trained net.
        mode: Its normalisation.
        temperatures: One per head, in their order.
    """

    def __init__(self, net: Net, mode: Normalize, temperatures: list[float]) -> None:
        super().__init__()
        self.net = net
        self.mode: Normalize = mode
        self.temperatures = temperatures

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        """Map uint8 (n, H, W, C) to the probabilities (n, k) of each head."""
        logits = self.net(normalize(faces.permute(0, 3, 1, 2).float(), self.mode)).values()
        return tuple((z / t).softmax(1) for z, t in zip(logits, self.temperatures, strict=True))


def export(
    net: Net, spec: ModelSpec, path: str | Path, *, storage: Storage = "float16", images: Sequence[ImageArray] = ()
) -> None:
    """Write a net as ONNX; normalisation, temperature and softmax are inside the graph, and branches are folded.

    Args:
        net: The trained net.
        spec: Its spec, temperatures fitted.
        path: The file to write.
        storage: Number format of large weights in the file; computation is in float32. "int8" has one scale per output
            channel. "int8-static" also computes with 8-bit numbers, see `models.quantize.quantized`.
        images: Face crops for the ranges of "int8-static", each uint8 (H, W, C), of those the net was fitted on.

    Raises:
        ModelError: Unknown storage.
        ConfigError: "int8-static" without images.
        OutputError: The file cannot be written.
    """
    path = as_path(path)
    net = copy.deepcopy(net)
    fold(net)
    wrapped = WithPixels(net, spec.preprocess.normalize, [head.temperature for head in spec.heads]).eval()
    example = torch.zeros(2, spec.preprocess.size, spec.preprocess.size, spec.preprocess.channels, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        with warnings.catch_warnings():
            # The newer exporter needs onnxscript and splits files; this one folds batch norms and suffices.
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                wrapped,
                (example,),
                str(plain),
                dynamo=False,
                opset_version=OPSET,
                input_names=["faces"],
                output_names=list(spec.names),
                dynamic_axes={name: {0: "n"} for name in ("faces", *spec.names)},
            )
        model = onnx.load(plain)
    if storage == "int8-static":
        if not len(images):
            raise ConfigError("int8-static needs images for the ranges of its numbers; give some of the training")
        model = quantized(model, preprocess(images, spec.preprocess))
    compress(model, storage)
    save_with_spec(model, path, spec)


def compress(model: onnx.ModelProto, storage: Storage, *, only: tuple[str, ...] = ()) -> None:
    """Store the large weights of a graph in fewer bytes, in place; the graph casts them back when it is loaded.

    Args:
        model: The graph.
        storage: Number format; "int8-static" is "int8" here.
        only: Words in the names of the weights to store so; all when empty.

    Raises:
        ModelError: Unknown storage.
    """
    if storage not in STORAGES:
        raise ModelError(f"unknown storage '{storage}'; expected one of {', '.join(STORAGES)}")
    if storage == "float32":
        return
    widening = []
    for tensor in list(model.graph.initializer):  # a copy, since scales are added to it meanwhile
        weights = numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.size < 1024 or (only and not any(w in tensor.name for w in only)):
            continue
        name, stored = tensor.name, f"{tensor.name}.{storage}"
        if storage == "float16":
            tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), stored))
            widening.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
            continue
        scale = np.abs(weights).reshape(len(weights), -1).max(1).reshape(-1, *[1] * (weights.ndim - 1)) / 127
        scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(np.round(weights / scale).astype(np.int8), stored))
        model.graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        widening.append(helper.make_node("Cast", [stored], [f"{stored}.wide"], to=TensorProto.FLOAT))
        widening.append(helper.make_node("Mul", [f"{stored}.wide", f"{name}.scale"], [name]))
    for node in reversed(widening):
        model.graph.node.insert(0, node)


@torch.no_grad()
def torch_logits(net: Net, images: ImageArray, spec: ModelSpec) -> dict[str, FloatArray]:
    """Return each head's logits of face crops, float32 (n, k), computed by PyTorch.

    Args:
        net: A trained net.
        images: uint8 (n, H, W, C) crops of any size.
        spec: Its spec, for the preprocessing.
    """
    net.eval()
    pixels = torch.from_numpy(preprocess(images, spec.preprocess))
    parts: dict[str, list[Tensor]] = {name: [] for name in spec.names}
    for chunk in torch.split(pixels, 256):
        inputs = normalize(chunk.permute(0, 3, 1, 2).float(), spec.preprocess.normalize)
        for name, logits in net(inputs).items():
            parts[name].append(logits)
    return {name: torch.cat(logits).numpy() for name, logits in parts.items()}


def check_parity(net: Net, path: Path, images: ImageArray) -> Parity:
    """Compare all heads of an exported file with its net on real images.

    Args:
        net: The net that was exported.
        path: The ONNX file.
        images: uint8 (n, H, W, C) crops.
    """
    classifier = OnnxClassifier(path, spec=read_spec(path))
    worst, same = 0.0, []
    for name, logits in torch_logits(net, images, classifier.spec).items():
        temperature = classifier.spec.head(name).temperature
        expected = torch.from_numpy(logits / np.float32(temperature)).softmax(1).numpy()
        got = classifier.predict_proba(list(images), head=name)
        worst = max(worst, float(np.abs(expected - got).max()))
        same.append(expected.argmax(1) == got.argmax(1))
    return Parity(len(images), worst, float(np.mean(same)))
