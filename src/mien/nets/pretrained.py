"""Weights to start a training from: mien's own models, and face nets that others published (extra: train).

Files are read as data: nothing in them is run, and no more is read than they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import ModelError, UnknownModel
from mien.labels import LabelSet
from mien.models.spec import Preprocess
from mien.models.store import find_model
from mien.nets.dlib_file import _dlib_file, read_dlib
from mien.nets.nets import Net, head_key
from mien.nets.vggface_file import read_vggface
from mien.nets.weights import HEAD, KINDS, Weights, read_model


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


def fill(net: Net, weights: Weights, *, preprocess: Preprocess, labels: Iterable[LabelSet]) -> str:
    """Put weights into a net, in place: its whole backbone as far as they go, and heads of the very same labels.

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


READERS: dict[str, Callable[[Path], Weights]] = {".onnx": read_model, ".dat": read_dlib, ".h5": read_vggface}
