"""Start a training from pretrained weights: mien's own models, and face nets that others published (extra: train).

Files are read as data: nothing in them is executed.

See docs/decisions/0031.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import ModelError, UnknownModel
from mien.files import as_path
from mien.labels import LabelSet
from mien.models.spec import Preprocess
from mien.models.store import find_model
from mien.nets.dlib_file import dlib_path, read_dlib
from mien.nets.nets import Net, head_key
from mien.nets.vggface_file import read_vggface
from mien.nets.weights import HEAD, KINDS, Convolution, Weights, read_model

READERS: dict[str, Callable[[Path], Weights]] = {".onnx": read_model, ".dat": read_dlib, ".h5": read_vggface}


def read_weights(source: str | Path) -> Weights:
    """Read pretrained weights.

    Args:
        source: Name of a model, or path of one of mien's .onnx files, dlib's .dat or VGGFace's .h5; "dlib" is the file
            in the Python package face_recognition_models.

    Raises:
        ModelError: No such file, a damaged one, or one of another kind.
        MissingExtra: "dlib" without that package, VGGFace's file without h5py.
    """
    path = dlib_path() if source == "dlib" else as_path(source)
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
    """Load weights into a net, in place: its backbone, and the heads with exactly the same labels.

    Args:
        net: The net, with random weights, of the weights' architecture.
        weights: The pretrained weights.
        preprocess: Preprocessing of the net's input.
        labels: Label sets of its heads.

    Returns:
        One line that lists the parts loaded, dropped and new.

    Raises:
        ModelError: The weights were trained on another input, have other shapes, or are not finite.
    """
    _check_input(weights, preprocess)
    given = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith("heads.")}
    given |= _named(net, weights)
    heads = _heads(weights, labels)
    for own, theirs in heads.items():
        keys = head_key(own), head_key(theirs.name)
        given |= {f"heads.{keys[0]}.{part}": weights.tensors[f"heads.{keys[1]}.{part}"] for part in HEAD}
    _check_tensors(net, weights, given)
    net.load_state_dict(given, strict=False)
    return _summary(net, weights, given, list(heads.values()))


def _check_input(weights: Weights, preprocess: Preprocess) -> None:
    for setting in ("equalize", "normalize"):
        theirs, ours = getattr(weights.preprocess, setting), getattr(preprocess, setting)
        if theirs != ours:
            raise ModelError(
                f"{weights.origin}: the weights were trained with {setting} = {theirs!r}, but the recipe has {ours!r}; "
                f"add --set preprocess.{setting}={str(theirs).lower()}"
            )


def _heads(weights: Weights, labels: Iterable[LabelSet]) -> dict[str, LabelSet]:
    """Return the pretrained head, by its label set, for each own label set whose labels are the same."""
    found: dict[str, LabelSet] = {}
    for own in labels:
        for theirs in weights.heads:
            if theirs.labels == own.labels and f"heads.{head_key(theirs.name)}.weight" in weights.tensors:
                found[own.name] = theirs
                break
    return found


def _check_tensors(net: Net, weights: Weights, given: Mapping[str, Tensor]) -> None:
    state = net.state_dict()
    for name, tensor in given.items():
        found, wanted = tuple(tensor.shape), tuple(state[name].shape) if name in state else "no such tensor"
        if found != wanted:
            raise ModelError(
                f"{weights.origin}: {name} has the shape {found}, the recipe's net has {wanted}; if the net is the "
                f"same, give it the input of the weights: --set preprocess.size={weights.preprocess.size} "
                f"--set preprocess.channels={weights.preprocess.channels}, and a last stage of that size"
            )
        if not tensor.isfinite().all():
            raise ModelError(f"{weights.origin}: {name} has values that are not finite; the file is damaged")


def _summary(net: Net, weights: Weights, given: Mapping[str, Tensor], heads: list[LabelSet]) -> str:
    loaded = sorted({name.split(".")[0] for name in given} - {"heads"}) + [f"head {head.name}" for head in heads]
    dropped = [f"head {head.name}" for head in weights.heads if head not in heads] + [*weights.left_out]
    new = _parts(name for name, _ in net.named_parameters() if name not in given)
    lists = {"loaded": loaded, "dropped": dropped, "new": new}
    facts = (f"{word} {', '.join(parts)}" if parts else f"nothing {word}" for word, parts in lists.items())
    return f"started from {weights.origin}: {'; '.join(facts)}"


@torch.no_grad()
def calibrate_norms(net: nn.Module, images: Tensor) -> None:
    """Set the statistics of batch norms to those of some images, without changing the net's output, in place.

    A net whose norms were folded into scale and shift then trains as if it had had the norms all along.

    Args:
        net: The net.
        images: Normalised images, float (n, channels, H, W).
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
    net.eval()
    net(images)
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
    """Return the tensors of the convolutions by the net's names; a batch norm after one takes its scale and shift."""
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
        named[f"{name}.weight"] = torch.tensor(convolution.weight)
        if layer.bias is not None:
            named[f"{name}.bias"] = torch.tensor(convolution.shift)
        else:
            named |= _norm_tensors(*layers[i + 1], convolution)
    return named


def _norm_tensors(name: str, norm: Any, convolution: Convolution) -> dict[str, Tensor]:
    """Return the tensors of a batch norm that applies a convolution's scale and shift."""
    shift = torch.tensor(convolution.shift)
    return {
        f"{name}.weight": torch.ones_like(shift) if convolution.scale is None else torch.tensor(convolution.scale),
        f"{name}.bias": shift,
        f"{name}.running_mean": torch.zeros_like(shift),
        f"{name}.running_var": torch.full_like(shift, 1 - norm.eps),
    }


def _parts(names: Iterable[str]) -> list[str]:
    """Return the parts of a net that parameters belong to: the first two words of their names, or "head NAME"."""
    found = dict.fromkeys(".".join(name.split(".")[:2]) for name in names)
    return [name.replace("heads.", "head ") for name in found]
