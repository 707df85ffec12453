"""From a trained voice net to an ONNX file with its spec inside (extra: train). See docs/decisions/0044."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import onnx
import torch

from mien.files import as_path
from mien.models.onnx_file import save_with_spec
from mien.models.quantize import quiet_logging
from mien.models.spec import ModelSpec
from mien.nets.audio import VoiceNet
from mien.nets.export import OPSET, compress


def export_voice(net: VoiceNet, spec: ModelSpec, path: str | Path, *, int8: bool = True) -> None:
    """Write a net as ONNX; softmax is inside the graph, the temperature in the head's weights.

    Args:
        net: The trained net.
        spec: Its spec.
        path: The file to write.
        int8: Multiply the matrices of the encoder's blocks as 8-bit integers, with a scale per column, and those of the
            input chosen for each sound: a quarter of the bytes, half of the time. Convolutions and positions are then
            stored as float16.

    Raises:
        OutputError: The file cannot be written.
    """
    path = as_path(path)
    frames = min(2 * len(net.encoder.positions) - 2, 300)
    inputs = {"mel": torch.zeros(1, net.encoder.conv1.in_channels, frames)}
    outputs = ["probabilities"]
    if net.enrolled is not None:
        inputs["neutral"] = torch.zeros(1, net.head.in_features)
        outputs += ["enrolled", "features"]
    with tempfile.TemporaryDirectory() as folder, quiet_logging(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as in nets.export
        warnings.simplefilter("ignore", UserWarning)  # advice of the exporter to programmers
        plain = Path(folder) / "plain.onnx"
        torch.onnx.export(
            net.eval(), tuple(inputs.values()), str(plain), dynamo=False, opset_version=OPSET, input_names=[*inputs],
            output_names=outputs, dynamic_axes={"mel": {2: "t"}},
        )  # fmt: skip
        if int8:
            _quantize(plain)
        model = onnx.load(plain)
    if int8:
        compress(model, "float16", only=("conv", "positions"))
    save_with_spec(model, path, spec)


def _quantize(path: Path) -> None:
    """Quantise the matrices of a graph's dense layers over time, in place.

    The heads, which are of type Gemm, stay float32: their input is one row of means and deviations of very different
    size, which one scale for all of them would round away.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    over_time = [node.name for node in onnx.load(path).graph.node if node.op_type == "MatMul"]
    # 7 bits for weights: products of 8 × 8 bits overflow in processors that add pairs of them in 16 bits, those with
    # AVX2 and without VNNI. https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    quantize_dynamic(
        path, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True, op_types_to_quantize=["MatMul"],
        nodes_to_quantize=over_time,
    )  # fmt: skip
