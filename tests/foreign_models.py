"""Small ONNX models of other projects, in the forms that these have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str]


def write_foreign(
    path: Path,
    *,
    shape: Dims = ("n", 1, 8, 8),
    dtype: str = "float32",
    end: str = "",
    k: int = 7,
    merged: bool = False,
    extra: int = 0,
    external: bool = False,
) -> Path:
    """Write a model whose scores are the mean of the first channel of an image, times 0 to k - 1.

    Args:
        path: The file.
        shape: Of the input, as the file declares it.
        dtype: Of the input and the weights; "uint8" is converted to float32.
        end: A last node: "Softmax", "Sigmoid"; none when empty; "Percent" for a softmax times 100, "Noise" for random
            scores, "Zero" for zeros, "ArgMax" for the number of a class.
        k: Number of scores.
        merged: Whether the graph makes one row of all images, as a fixed Reshape does.
        extra: Columns of a second output, which comes first; none when 0.
        external: Whether weights are in a second file.
    """
    last = shape[3] in (1, 3)
    kind = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}[dtype]
    weights = np.arange(k, dtype=np.float16 if dtype == "float16" else np.float32)[None]
    numbers = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([0]), "first")]
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
        if dtype == "uint8"
        else helper.make_node("Identity", ["x"], ["f"]),
        helper.make_node("Gather", ["f", "first"], ["one"], axis=3 if last else 1),
        helper.make_node("ReduceMean", ["one"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "rows"], ["column"]),
        helper.make_node("Mul", ["column", "weights"], ["y" if not end else "z"]),
    ]
    numbers.append(numpy_helper.from_array(np.array([1, 1] if merged else [-1, 1]), "rows"))
    if end == "Percent":
        numbers.append(numpy_helper.from_array(np.float32(100), "hundred"))
        nodes += [helper.make_node("Softmax", ["z"], ["p"]), helper.make_node("Mul", ["p", "hundred"], ["y"])]
    elif end == "Noise":
        nodes.append(helper.make_node("RandomNormalLike", ["z"], ["y"]))
    elif end == "Zero":
        nodes.append(helper.make_node("Sub", ["z", "z"], ["y"]))
    elif end == "ArgMax":
        nodes.append(helper.make_node("ArgMax", ["z"], ["y"], axis=1, keepdims=0))
    elif end:
        nodes.append(helper.make_node(end, ["z"], ["y"]))
    output = TensorProto.FLOAT16 if dtype == "float16" else TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info("y", output, [shape[0], k])]
    if end == "ArgMax":
        outputs = [helper.make_tensor_value_info("y", TensorProto.INT64, [shape[0]])]
    if extra:
        numbers.append(numpy_helper.from_array(np.ones((1, extra), weights.dtype), "ones"))
        nodes.append(helper.make_node("Mul", ["column", "ones"], ["valence"]))
        outputs.insert(0, helper.make_tensor_value_info("valence", output, [shape[0], extra]))
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", kind, list(shape))], outputs, numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(exist_ok=True, parents=True)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=56)
    return path
