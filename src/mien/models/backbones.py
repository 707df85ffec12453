"""Weights to start a training from: mien's own models, and face nets that others published (extra: train).

Files are read as data: nothing in them is run, and no more is read than they hold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper
from torch import Tensor, nn

from mien.errors import MissingExtra, ModelError, UnknownModel
from mien.labels import LabelSet
from mien.models.nets import NETS, Net, head_key
from mien.models.spec import ModelSpec, Preprocess
from mien.models.zoo import find_model, read_spec
from mien.structures import FloatArray

KINDS = "a run's folder or checkpoint (.safetensors), a model's name or .onnx, dlib's .dat or VGGFace's .h5"
HEAD = ("weight", "bias")
STATE = (*HEAD, "running_mean", "running_var")  # last words in the names of a net's tensors
PIXELS = Preprocess(channels=3, normalize="none")  # what nets that centre pixels themselves are given

DLIB_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
DLIB_MOST_BYTES = 1 << 28  # the published file has 22 MB
# What a layer of dlib's writes after its name: t a tensor, s the shape of a part of it, i an integer, n a number.
DLIB_LAYERS = {
    "con_4": "tiiiiiiissnnnn",
    "affine_": "tssi",
    "relu_": "",
    "max_pool_2": "iiiiii",
    "avg_pool_2": "iiiiii",
    "add_prev_": "",
    "fc_2": "iitssinnnn",
}
VGGFACE_ORIGIN = "VGGFace of Parkhi et al. 2015, for non-commercial research only"


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias, and the scale and shift of each filter after it.

    Args:
        weight: (filters, channels, height, width), channels in RGB order where they are colours.
        shift: (filters,).
        scale: (filters,); None stands for ones.
    """

    weight: FloatArray
    shift: FloatArray
    scale: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a net can start from.

    Args:
        arch: The net in `NETS` that they fit.
        origin: Where they come from and on which terms, for the spec.
        preprocess: What they were trained to read; of it, equalisation and normalisation bind.
        convolutions: All of the net's, in the order that a picture passes them. Statistics of batch norms are unknown.
        tensors: The others, or all, by their names in the net's state.
        heads: Label sets of the heads among them.
        left_out: Further parts of the file that mien's net has not.
    """

    arch: str
    origin: str
    preprocess: Preprocess
    convolutions: tuple[Convolution, ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    heads: tuple[LabelSet, ...] = ()
    left_out: tuple[str, ...] = ()


def read_weights(source: str) -> Weights:
    """Read weights by the kind of their file.

    Args:
        source: A model's name, or the path of an .onnx of mien's, dlib's .dat or VGGFace's .h5; "dlib" is the file that
            the Python package face_recognition_models brings.

    Raises:
        ModelError: There is no such file, it is damaged, or of another kind.
        MissingExtra: "dlib" without that package, VGGFace's file without h5py.
    """
    path = _dlib_file() if source == "dlib" else Path(source)
    reader = READERS.get(path.suffix.lower())
    if reader is not None:
        return reader(path)
    try:
        return read_model(find_model(source))
    except UnknownModel as error:
        if path.suffix:
            raise ModelError(f"cannot start from {source}; expected {KINDS}") from error
        raise UnknownModel(f"{error}; or give {KINDS}") from error


def of_spec(spec: ModelSpec, tensors: Mapping[str, Tensor], convolutions: tuple[Convolution, ...] = ()) -> Weights:
    """Return the weights of one of mien's own nets; arguments as of `Weights`."""
    origin = f"{spec.name} ({spec.trained_on.get('name', 'training data unknown')})"
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


def fill(net: Net, weights: Weights, *, preprocess: Preprocess, labels: Iterable[LabelSet]) -> str:
    """Put weights into a net, in place: its whole body as far as they go, and heads of the very same labels.

    Args:
        net: The net, with random weights, of the weights' architecture.
        weights: What to start from.
        preprocess: What the net will read.
        labels: Label sets of its heads.

    Returns:
        One line about what was loaded, what was left out, and what is new.

    Raises:
        ModelError: The weights are used to another input, or have other shapes.
    """
    for setting in ("equalize", "normalize"):
        theirs, ours = getattr(weights.preprocess, setting), getattr(preprocess, setting)
        if theirs != ours:
            raise ModelError(
                f"{weights.origin}: these weights were trained with {setting} = {theirs!r}, the recipe says {ours!r}; "
                f"add --set preprocess.{setting}={str(theirs).lower()}"
            )
    given = {name: t for name, t in weights.tensors.items() if not name.startswith("heads.")}
    given |= _named(net, weights)
    taken = []
    for own in labels:
        for theirs in weights.heads:
            ours, given_as = f"heads.{head_key(own.name)}", f"heads.{head_key(theirs.name)}"
            if theirs.labels == own.labels and f"{given_as}.weight" in weights.tensors:
                given |= {f"{ours}.{p}": weights.tensors[f"{given_as}.{p}"] for p in HEAD}
                taken.append(theirs)
                break
    state = net.state_dict()
    for name, tensor in given.items():
        found, wanted = tuple(tensor.shape), tuple(state[name].shape) if name in state else "nothing"
        if found != wanted:
            raise ModelError(
                f"{weights.origin}: {name} has the shape {found}, the recipe's net has {wanted}; "
                f"where the net is the same, give it the input it had: --set preprocess.size={weights.preprocess.size} "
                f"--set preprocess.channels={weights.preprocess.channels}, and a last stage of that size"
            )
        if not tensor.isfinite().all():
            raise ModelError(f"{weights.origin}: {name} has numbers that are not finite; the file is damaged")
    net.load_state_dict(given, strict=False)
    left_out = [f"head {head.name}" for head in weights.heads if head not in taken] + [*weights.left_out]
    new = _parts(name for name, _ in net.named_parameters() if name not in given)
    loaded = sorted({name.split(".")[0] for name in given} - {"heads"}) + [f"head {head.name}" for head in taken]
    return (
        f"started from {weights.origin}: loaded {', '.join(loaded)}; left out {', '.join(left_out) or 'nothing'}; "
        f"new {', '.join(new) or 'nothing'}"
    )


@torch.no_grad()
def calibrate_norms(net: nn.Module, pictures: Tensor) -> None:
    """Give batch norms the statistics of some pictures, and such weights that the net computes what it did, in place.

    So a net whose norms were folded into scale and shift trains as if they had been there all along.

    Args:
        net: The net.
        pictures: Normalised pictures, float (n, channels, H, W).
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
    net.eval()
    net(pictures)
    for hook in hooks:
        hook.remove()


def _take_statistics(norm: Any, inputs: tuple[Tensor]) -> None:
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(scale * (variance + norm.eps).sqrt())
    norm.bias.copy_(shift + mean * scale)


def _named(net: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """Name convolutions as the net does; a batch norm after one takes its scale and shift."""
    if not weights.convolutions:
        return {}
    layers: list[tuple[str, Any]] = [
        (n, m) for n, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))
    ]
    found = [i for i, (_, layer) in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    if len(found) != len(weights.convolutions):
        raise ModelError(
            f"{weights.origin}: the file has {len(weights.convolutions)} convolutions, net '{weights.arch}' has "
            f"{len(found)}; give weights of this net"
        )
    named: dict[str, Tensor] = {}
    for i, convolution in zip(found, weights.convolutions, strict=True):
        name, layer = layers[i]
        shift = torch.tensor(convolution.shift)
        named[f"{name}.weight"] = torch.tensor(convolution.weight)
        if layer.bias is not None:
            named[f"{name}.bias"] = shift
            continue
        name, norm = layers[i + 1]
        scale = torch.ones_like(shift) if convolution.scale is None else torch.tensor(convolution.scale)
        named |= {f"{name}.weight": scale, f"{name}.bias": shift, f"{name}.running_mean": torch.zeros_like(shift)}
        named[f"{name}.running_var"] = torch.full_like(shift, 1 - norm.eps)
    return named


def _parts(names: Iterable[str]) -> list[str]:
    """Return the parts of a net that parameters belong to, by two words each, a head by its label set."""
    found = dict.fromkeys(".".join(name.split(".")[:2]) for name in names)
    return [name.replace("heads.", "head ") for name in found]


def read_model(path: Path) -> Weights:
    """Read a model that mien exported. Batch norms are folded into its convolutions.

    Raises:
        ModelError: Damaged, or of another origin.
    """
    spec = read_spec(path)
    if spec.arch not in NETS:
        raise ModelError(f"{path} is a model of another origin, whose net mien doesn't know; expected {KINDS}")
    try:
        graph = onnx.load(path, load_external_data=False).graph
        constants = _constants(graph)
        convolutions = tuple(
            Convolution(*(constants[name] for name in node.input[1:])) for node in graph.node if node.op_type == "Conv"
        )
    except (OSError, DecodeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"cannot read the weights of {path} ({error!r}); export the model again") from error
    named = {name.removeprefix("net."): torch.tensor(c) for name, c in constants.items() if name.startswith("net.")}
    tensors = {name: tensor for name, tensor in named.items() if name.split(".")[-1] in STATE}
    return of_spec(spec, tensors, convolutions)


def _constants(graph: onnx.GraphProto) -> dict[str, FloatArray]:
    """Return the weights of a graph, widened again where they are stored in fewer bytes."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("Cast", "Mul", "Identity") or any(name not in values for name in node.input):
            continue
        inputs = [values[name] for name in node.input]
        values[node.output[0]] = inputs[0] * inputs[1] if len(inputs) == 2 else inputs[0].astype(np.float32)
    return values


def read_dlib(path: Path) -> Weights:
    """Read dlib's face recognition net, `dlib_face_recognition_resnet_model_v1.dat`.

    The format is described in dlib's serialize.h and float_details.h, the order of things by the `serialize` functions
    of its dnn/core.h and dnn/layers.h. Affine layers stand where batch norms were when it was trained.

    Raises:
        ModelError: Not such a file, or damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read(DLIB_MOST_BYTES)
        convolutions = tuple(_affine_convolutions(_dlib_layers(_DlibFile(data))))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; --init dlib takes it from the extra") from error
    except (ValueError, OverflowError) as error:
        raise ModelError(f"{path} is not dlib's face recognition net, or damaged: {error}; copy it again") from error
    known = hashlib.sha256(data).hexdigest() == DLIB_SHA256
    return Weights(
        arch="dlib-resnet",
        origin=f"{path.name} (Davis King, CC0-1.0)" if known else path.name,
        preprocess=PIXELS,
        convolutions=convolutions,
        left_out=("the last layer",),
    )


def _dlib_file() -> Path:
    """Return dlib's file in a package that brings it; the package itself is not imported."""
    package = find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        raise MissingExtra("starting from dlib's weights by name", "transfer")
    return Path(package.submodule_search_locations[0]) / "models" / "dlib_face_recognition_resnet_model_v1.dat"


class _DlibFile:
    """Reads what dlib serialised, front to back."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        if not 0 <= n <= len(self.data) - self.at:
            raise ValueError(f"it ends at byte {len(self.data)}, where more is expected")
        self.at += n
        return self.data[self.at - n : self.at]

    def integer(self) -> int:
        """Read a control byte, whose high bit is the sign and whose low ones count the bytes of the number."""
        control = self.take(1)[0]
        if control & 0x70 or not 1 <= control & 15 <= 8:
            raise ValueError(f"byte {self.at - 1} begins no number")
        number = int.from_bytes(self.take(control & 15), "little")
        return -number if control & 0x80 else number

    def number(self) -> float:
        return math.ldexp(self.integer(), self.integer())

    def text(self) -> str:
        return self.take(self.integer()).decode("ascii")

    def tensor(self) -> FloatArray:
        """Read (samples, channels, rows, columns) of 32-bit floats."""
        if self.integer() != 2:
            raise ValueError(f"there is no tensor at byte {self.at}")
        shape = [self.integer() for _ in range(4)]
        if min(shape) < 0:
            raise ValueError(f"there is no tensor at byte {self.at}")
        return np.frombuffer(self.take(4 * math.prod(shape)), "<f4").reshape(shape)

    def shape(self) -> tuple[int, ...]:
        if self.integer() != 1:
            raise ValueError(f"there is no shape at byte {self.at}")
        return tuple(self.integer() for _ in range(4))


def _dlib_layers(file: _DlibFile) -> Iterator[tuple[str, list[Any]]]:
    """Yield name and values of each layer, the one next to the picture first, in which order they lie in the file."""
    read: dict[str, Callable[[], Any]] = {
        "t": file.tensor, "s": file.shape, "i": file.integer, "n": file.number
    }  # fmt: skip
    if file.integer() != 1:
        raise ValueError("it begins otherwise")
    if (loss := file.text()) != "loss_metric_2":
        raise ValueError(f"it begins with '{loss}'")
    file.number(), file.number()  # margin and threshold of the loss
    left = 1
    while (version := file.integer()) != 3:  # of each layer, tag and skip, the outermost first; 3: next to the input
        if version not in (1, 2):
            raise ValueError(f"version {version} of a layer is not known")
        left += version == 2  # tags and skips have 1, and write nothing more
    if (kind := file.text()) != "input_rgb_image_sized":
        raise ValueError(f"its input is '{kind}'")
    [file.number() for _ in range(3)], file.integer(), file.integer()  # mean colour; height and width
    first = True
    while left:
        if (name := file.text()) not in DLIB_LAYERS:
            raise ValueError(f"a layer '{name}' is not known")
        yield name, [read[kind]() for kind in DLIB_LAYERS[name]]
        file.take(3)  # whether it was set up, its gradient is stale, its output is its own
        for _ in range(3):  # gradients and output, empty in a file
            file.tensor()
        if first:
            file.integer()  # how many pictures it makes of one
        first, left = False, left - 1


def _affine_convolutions(layers: Iterable[tuple[str, list[Any]]]) -> Iterator[Convolution]:
    """Yield each convolution of dlib's with the affine layer that follows it."""
    weight, bias = np.empty(0, np.float32), np.empty(0, np.float32)
    for name, values in layers:
        if name == "con_4":
            weight, bias = _split(values[0], values[8])
        elif name == "affine_":
            scale, shift = _split(values[0], values[1])
            if not len(weight) == len(bias) == scale.size == shift.size:
                raise ValueError(f"{len(weight)} filters before an affine layer of {scale.size}")
            with np.errstate(over="ignore", invalid="ignore"):  # `fill` refuses what is not finite
                yield Convolution(weight, shift + scale.ravel() * bias, scale.ravel())


def _split(values: FloatArray, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Divide a layer's numbers into the first ones, of a shape, and the rest, flat."""
    n = math.prod(shape)
    if not 0 < n < values.size or min(shape) < 0:
        raise ValueError(f"{values.size} numbers, of which a part has the shape {shape}")
    return values.ravel()[:n].reshape(shape), values.ravel()[n:]


def read_vggface(path: Path) -> Weights:
    """Read the convolutions of VGGFace from the Keras file of keras_vggface, `rcmalli_vggface_tf_notop_vgg16.h5`.

    Raises:
        ModelError: Not such a file, or damaged.
        MissingExtra: h5py is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtra("reading VGGFace's file", "transfer") from error
    widths = (64, 64, 128, 128, *[256] * 3, *[512] * 6)
    names = [f"conv{block}_{number}" for block, n in enumerate((2, 2, 3, 3, 3), start=1) for number in range(1, n + 1)]
    try:
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            shapes = zip(names, (3, *widths), widths, strict=False)
            convolutions = [_keras_convolution(layers, name, before, width) for name, before, width in shapes]
            others = [name for name in layers if name not in names and len(layers[name].attrs.get("weight_names", ()))]
    except OSError as error:
        raise ModelError(
            f"cannot read {path}: not there, no HDF5 file, or damaged; it belongs to keras-vggface's release v2.0, "
            "fetch it there and name it with --init"
        ) from error
    except (KeyError, ValueError, AttributeError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} is not VGGFace's VGG16 as keras_vggface has it: {error}") from error
    first = convolutions[0]
    convolutions[0] = Convolution(first.weight[:, ::-1].copy(), first.shift)  # its pixels were BGR
    return Weights(
        arch="vggface",
        origin=f"{path.name} ({VGGFACE_ORIGIN})",
        preprocess=PIXELS,
        convolutions=tuple(convolutions),
        left_out=tuple(sorted(others)),
    )


def _keras_convolution(layers: Any, name: str, channels: int, width: int) -> Convolution:
    """Read a layer of 3×3 filters, which Keras has as (height, width, channels, filters)."""
    weight_names = [n.decode() if isinstance(n, bytes) else n for n in layers[name].attrs["weight_names"]]
    kernel, bias = (layers[name][n] for n in weight_names)
    if kernel.shape != (3, 3, channels, width) or bias.shape != (width,):
        raise ValueError(f"{name} has the shapes {kernel.shape} and {bias.shape}")
    return Convolution(np.asarray(kernel, np.float32).transpose(3, 2, 0, 1).copy(), np.asarray(bias, np.float32))


READERS: dict[str, Callable[[Path], Weights]] = {".onnx": read_model, ".dat": read_dlib, ".h5": read_vggface}
