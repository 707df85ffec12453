from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Return a model of another origin: the mean of a float32 (n, 1, 8, 8) image times 0 to 6."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "weights"], ["y"]),
    ]
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 7], list(range(7)))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])
    graph = helper.make_graph(nodes, "net", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "elsewhere" / "net.onnx"
    path.parent.mkdir()
    onnx.save(model, path)
    return path
