"""Static quantisation: a graph whose convolutions compute with 8-bit numbers (extra: train).

See docs/decisions/0052.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from mien.structures import ImageArray

# Between the first convolution and the heads, which stay in floats: they are small, and accuracy suffers there first.
OPERATORS = ["Conv", "Relu", "Add", "Mul", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"]
N_CALIBRATION = 1000  # images; 500 of them gave the same accuracy within 0.1 points
CHUNK = 50


def quantized(model: ModelProto, images: ImageArray) -> ModelProto:
    """Return a graph that computes its convolutions, and what lies between them, with 8-bit numbers.

    Activations are uint8 in the range that they have for some images, weights int8 with a scale per output channel.
    Weights use 7 of the 8 bits: processors without VNNI add pairs of products in 16 bits, which 8 bits would overflow.

    Args:
        model: A graph in float32, with the input `faces`.
        images: Face crops to calibrate on, uint8 (n, size, size, channels), as the graph takes them.
    """
    first = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "quantized.onnx"
        quantize_static(
            model, path, _Batches(images), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=OPERATORS, nodes_to_exclude=[node.name for node in model.graph.node[: first + 1]],
        )  # fmt: skip
        return onnx.load(path)


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Yields images in batches, as `quantize_static` asks for them."""

    def __init__(self, images: ImageArray) -> None:
        self._rest: Iterator[ImageArray] = iter(np.array_split(images, -(-len(images) // CHUNK)))

    def get_next(self) -> dict[str, ImageArray] | None:
        """Return the next batch by the name of the input; None after the last."""
        batch = next(self._rest, None)
        return None if batch is None else {"faces": batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice of ONNX Runtime's quantiser, which it logs at the root."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
