"""Reader of VGGFace's Keras file, as data: nothing in it is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import ModelError, needs
from mien.files import refuse_pipe
from mien.nets.weights import PIXELS, Convolution, Weights

VGGFACE_ORIGIN = "VGGFace of Parkhi et al. 2015, for non-commercial research only"


def read_vggface(path: Path) -> Weights:
    """Read the convolutions of VGGFace from `rcmalli_vggface_tf_notop_vgg16.h5`, the Keras file of keras_vggface.

    Raises:
        ModelError: Not such a file, or damaged.
        MissingExtra: h5py is not installed.
    """
    with needs("reading VGGFace's file", "transfer"):
        import h5py
    widths = (64, 64, 128, 128, *[256] * 3, *[512] * 6)
    names = [f"conv{block}_{number}" for block, n in enumerate((2, 2, 3, 3, 3), start=1) for number in range(1, n + 1)]
    try:
        refuse_pipe(path)
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            shapes = zip(names, (3, *widths), widths, strict=False)
            convolutions = [_keras_convolution(layers, name, before, width) for name, before, width in shapes]
            others = [name for name in layers if name not in names and len(layers[name].attrs.get("weight_names", ()))]
    except OSError as error:
        raise ModelError(
            f"cannot read {path}: missing, not HDF5, or damaged; download it from release v2.0 of keras-vggface "
            "and pass its path to --init"
        ) from error
    except (KeyError, ValueError, AttributeError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} is not the VGG16 of keras_vggface: {error}") from error
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
    """Read a layer of 3×3 filters, which Keras stores as (height, width, channels, filters)."""
    weight_names = [n.decode() if isinstance(n, bytes) else n for n in layers[name].attrs["weight_names"]]
    kernel, bias = (layers[name][n] for n in weight_names)
    if kernel.shape != (3, 3, channels, width) or bias.shape != (width,):
        raise ValueError(f"{name} has the shapes {kernel.shape} and {bias.shape}")
    return Convolution(np.asarray(kernel, np.float32).transpose(3, 2, 0, 1).copy(), np.asarray(bias, np.float32))
