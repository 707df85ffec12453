from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mien.data.synthetic import draw_faces
from mien.errors import ConfigError, ModelError
from mien.labels import FER2013, FERPLUS
from mien.models.classifier import OnnxClassifier
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.nets.export import STORAGES, Storage, check_parity, compress, export, torch_logits
from mien.nets.nets import NETS, build_net


def spec_of(arch: str, preprocess: Preprocess) -> ModelSpec:
    return ModelSpec(name=arch, arch=arch, heads=(Head(FER2013, 1.3),), preprocess=preprocess)


@pytest.mark.parametrize("arch", NETS)
@pytest.mark.parametrize(
    "preprocess", [Preprocess(), Preprocess(channels=3, normalize="unit"), Preprocess(equalize=True, normalize="unit")]
)
def test_every_exported_net_agrees_with_pytorch(arch: str, preprocess: Preprocess, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_net(arch, preprocess, {"fer2013": 7}).eval()
    export(net, spec_of(arch, preprocess), tmp_path / "net.onnx", storage="float32")
    for n in (1, 5):  # it was exported from two, which attention and recurrence could have taken for all there ever are
        parity = check_parity(net, tmp_path / "net.onnx", draw_faces(n, seed=0).images)
        assert parity.max_difference < 1e-4
        assert parity.same_label == 1


@pytest.mark.parametrize(("storage", "share"), [("float16", 0.5), ("int8", 0.25)])
def test_compressed_storage_is_smaller_and_close(storage: Storage, share: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_net("model2020", Preprocess(), {"fer2013": 7}).eval()
    for kind in ("float32", storage):
        export(net, spec_of("model2020", Preprocess()), tmp_path / f"{kind}.onnx", storage=kind)
    sizes = [(tmp_path / f"{kind}.onnx").stat().st_size for kind in (storage, "float32")]
    assert sizes[0] / sizes[1] == pytest.approx(share, rel=0.05)
    assert check_parity(net, tmp_path / f"{storage}.onnx", draw_faces(20, seed=0).images).max_difference < 5e-3


@pytest.mark.parametrize("arch", ["base", "model2020"])
def test_static_quantisation_computes_convolutions_with_8_bits(arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    preprocess = Preprocess(size=24)
    net = build_net(arch, preprocess, {"fer2013": 7, "ferplus": 8}).eval()
    spec = replace(spec_of(arch, preprocess), heads=(Head(FER2013), Head(FERPLUS)))
    faces = draw_faces(60, seed=0, size=24).images
    sizes = []
    for storage in ("float32", "int8-static"):
        path = tmp_path / f"{storage}.onnx"
        export(net, spec, path, storage=storage, images=faces[:30])
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.3 * sizes[0]
    assert check_parity(net, path, faces[30:]).max_difference < 0.03
    graph = onnx.load(path).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    sources = [makers.get(name) for node in graph.node if node.op_type == "Conv" for name in node.input[:2]]
    assert sources[0] == "Div"  # the normalised pixels
    assert set(sources[2:]) == {"DequantizeLinear"}
    weights = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    assert all(np.abs(w).max() <= 64 for w in weights if w.dtype == np.int8 and w.ndim == 4)  # 7 bits


def test_static_quantisation_needs_images(tmp_path: Path) -> None:
    net = build_net("tiny", Preprocess(), {"fer2013": 7}).eval()
    with pytest.raises(ConfigError, match="give some of the training"):
        export(net, spec_of("tiny", Preprocess()), tmp_path / "net.onnx", storage="int8-static")


def test_large_arrays_of_scales_are_not_compressed() -> None:
    weights = numpy_helper.from_array(np.ones((2048, 8), np.float32), "dense")
    output = helper.make_tensor_value_info("dense", TensorProto.FLOAT, [2048, 8])
    model = helper.make_model(helper.make_graph([], "graph", [], [output], [weights]))
    compress(model, "int8")
    assert [tensor.name for tensor in model.graph.initializer] == ["dense.int8", "dense.scale"]
    assert [node.op_type for node in model.graph.node] == ["Cast", "Mul"]


def test_unknown_storage_is_refused() -> None:
    with pytest.raises(ModelError, match=", ".join(STORAGES)):
        compress(None, "float8")  # type: ignore[arg-type]


def test_temperature_is_inside_the_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_net("tiny", Preprocess(), {"fer2013": 7}).eval()
    spec = spec_of("tiny", Preprocess())
    export(net, spec, tmp_path / "net.onnx")
    faces = draw_faces(5, seed=1).images
    logits = torch_logits(net, faces, spec)["fer2013"]
    expected = torch.from_numpy(logits / 1.3).softmax(1).numpy()
    np.testing.assert_allclose(OnnxClassifier(tmp_path / "net.onnx").predict_proba(list(faces)), expected, atol=1e-3)


def test_equal_nets_export_to_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        torch.manual_seed(0)
        net = build_net("tiny", Preprocess(), {"fer2013": 7}).eval()
        export(net, spec_of("tiny", Preprocess()), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
