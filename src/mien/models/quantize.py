"""Static quantisation: a graph whose convolutions compute with 8-bit numbers (extra: train or keras, to make one).

See docs/decisions/0052.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from mien.errors import ConfigError, ModelError
from mien.files import as_path
from mien.models.onnx_file import check_target, read_spec, save_with_spec
from mien.models.preprocess import preprocess
from mien.models.runtime import onnxruntime
from mien.models.spec import ModelSpec
from mien.structures import ImageArray

# After mien.models.runtime, which switches ONNX Runtime's telemetry off.
# isort: split
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

# Between the first convolution and the heads, which stay in floats: they are small, and accuracy suffers there first.
OPERATORS = ["Conv", "Relu", "Add", "Mul", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"]
N_CALIBRATION = 1000  # images; 500 of them gave the same accuracy within 0.1 points
CHUNK = 50


def write_quantized(source: str | Path, target: str | Path, images: Sequence[ImageArray], *, name: str) -> ModelSpec:
    """Write a copy of a classifier that computes with 8-bit numbers; see `quantized`.

    Args:
        source: ONNX file of a classifier that mien exported.
        target: The .onnx file to write.
        images: Face crops to calibrate on, each uint8 (H, W, C), of those that the classifier was trained on.
        name: Name of the copy.

    Returns:
        Its spec, which has no published figures, since those are of the source.

    Raises:
        ModelError: The source is no classifier that mien exported, has no convolution, or is quantised already.
        ConfigError: There are no images, or the target does not end in .onnx.
        OutputError: The target cannot be written.
    """
    source, target = as_path(source), as_path(target)
    check_target(target)
    spec = replace(check_quantizable(source), name=name, metrics={})
    if not len(images):
        raise ConfigError("quantisation needs images for the ranges of its numbers; give some of the training")
    model = quantized(_in_floats(source), preprocess(images, spec.preprocess))
    domains = {node.domain for node in model.graph.node}
    for opset in [each for each in model.opset_import if each.domain not in domains]:
        model.opset_import.remove(opset)  # ONNX Runtime declares all that it knows, which no other model has
    save_with_spec(model, target, spec)
    return spec


def check_quantizable(source: Path) -> ModelSpec:
    """Return the spec of a classifier that can be quantised.

    Raises:
        ModelError: As for `write_quantized`.
    """
    spec = read_spec(source)
    if spec.kind == "ensemble":
        raise ModelError(f"{source} is an ensemble; quantise its members, and make an ensemble of them")
    if spec.kind != "face" or not spec.exported:
        raise ModelError(
            f"{source} cannot be quantised; expected a classifier of faces that `mien train` or `mien export` wrote"
        )
    operators = {node.op_type for node in onnx.load(source).graph.node}
    if "Conv" not in operators or "QuantizeLinear" in operators:
        reason = "is quantised already" if "QuantizeLinear" in operators else "has no convolutions"
        raise ModelError(f"{source} {reason}, so it is as fast as it gets")
    return spec


def quantized(model: ModelProto, images: ImageArray) -> ModelProto:
    """Return a graph that computes its convolutions, and the operators between them, with 8-bit numbers.

    Activations are uint8 in the range that they have for some images, weights int8 with a scale per output channel.
    Weights use 7 of the 8 bits: processors without VNNI add pairs of products in 16 bits, which 8 bits would overflow.

    Args:
        model: A graph in float32, with the input `faces`.
        images: Face crops to calibrate on, uint8 (n, size, size, channels), as the graph takes them.
    """
    first = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    with tempfile.TemporaryDirectory() as folder, quiet_logging():
        path = Path(folder) / "quantized.onnx"
        quantize_static(
            model, path, _Batches(images), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=OPERATORS, nodes_to_exclude=[node.name for node in model.graph.node[: first + 1]],
        )  # fmt: skip
        return onnx.load(path)


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Silence the advice of ONNX Runtime's quantiser, which it logs at the root."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _in_floats(source: Path) -> ModelProto:
    """Return the graph of a file with its weights in float32, in which a file need not store them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "floats.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # folds constants
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        model = onnx.load(path)
    del model.metadata_props[:]
    return model


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Yields images in batches, as `quantize_static` asks for them."""

    def __init__(self, images: ImageArray) -> None:
        self._rest: Iterator[ImageArray] = iter(np.array_split(images, -(-len(images) // CHUNK)))

    def get_next(self) -> dict[str, ImageArray] | None:
        """Return the next batch by the name of the input; None after the last."""
        batch = next(self._rest, None)
        return None if batch is None else {"faces": batch}
