"""Reader of dlib's face recognition net, as data: nothing in the file is executed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import MissingExtra, ModelError
from mien.files import refuse_pipe
from mien.nets.weights import PIXELS, Convolution, Weights
from mien.structures import FloatArray

DLIB_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
DLIB_MOST_BYTES = 1 << 28  # the published file has 22 MB
# Fields that each of dlib's layers writes after its name: t a tensor, s the shape of a part of it, i an integer,
# n a floating-point number.
DLIB_LAYERS = {
    "con_4": "tiiiiiiissnnnn",
    "affine_": "tssi",
    "relu_": "",
    "max_pool_2": "iiiiii",
    "avg_pool_2": "iiiiii",
    "add_prev_": "",
    "fc_2": "iitssinnnn",
}


def read_dlib(path: Path) -> Weights:
    """Read dlib's face recognition net, `dlib_face_recognition_resnet_model_v1.dat`.

    The format is described in dlib's serialize.h and float_details.h, the order of fields by the `serialize` functions
    of its dnn/core.h and dnn/layers.h. Affine layers replace the batch norms it was trained with.

    Raises:
        ModelError: Not such a file, or damaged.
    """
    try:
        refuse_pipe(path)
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


def dlib_path() -> Path:
    """Return the path of dlib's file in the package face_recognition_models, without importing it.

    Raises:
        MissingExtra: The package is not installed.
    """
    package = find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        raise MissingExtra("starting from dlib's weights by name", "transfer")
    return Path(package.submodule_search_locations[0]) / "models" / "dlib_face_recognition_resnet_model_v1.dat"


class _DlibFile:
    """A cursor over the values that dlib serialised."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        if not 0 <= n <= len(self.data) - self.at:
            raise ValueError(f"it ends at byte {len(self.data)}, but more is expected")
        self.at += n
        return self.data[self.at - n : self.at]

    def integer(self) -> int:
        """Read an integer; its control byte has the sign in the high bit and the byte count in the low bits."""
        control = self.take(1)[0]
        if control & 0x70 or not 1 <= control & 15 <= 8:
            raise ValueError(f"no number begins at byte {self.at - 1}")
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
    """Yield name and values of each layer in the order of the file, the one next to the input first."""
    read: dict[str, Callable[[], Any]] = {
        "t": file.tensor, "s": file.shape, "i": file.integer, "n": file.number
    }  # fmt: skip
    if file.integer() != 1:
        raise ValueError("it has another header")
    if (loss := file.text()) != "loss_metric_2":
        raise ValueError(f"it begins with '{loss}'")
    file.number(), file.number()  # margin and threshold of the loss
    left = 1
    while (version := file.integer()) != 3:  # one per layer, tag and skip, outermost first; 3 is next to the input
        if version not in (1, 2):
            raise ValueError(f"a layer has the unknown version {version}")
        left += version == 2  # tags and skips have 1 and write nothing else
    if (kind := file.text()) != "input_rgb_image_sized":
        raise ValueError(f"its input is '{kind}'")
    [file.number() for _ in range(3)], file.integer(), file.integer()  # mean colour; height and width
    first = True
    while left:
        if (name := file.text()) not in DLIB_LAYERS:
            raise ValueError(f"unknown layer '{name}'")
        yield name, [read[kind]() for kind in DLIB_LAYERS[name]]
        file.take(3)  # flags: set up, gradient stale, owns its output
        for _ in range(3):  # gradients and output, empty in a file
            file.tensor()
        if first:
            file.integer()  # samples it makes per input
        first, left = False, left - 1


def _affine_convolutions(layers: Iterable[tuple[str, list[Any]]]) -> Iterator[Convolution]:
    """Yield each convolution with the affine layer that follows it."""
    weight, bias = np.empty(0, np.float32), np.empty(0, np.float32)
    for name, values in layers:
        if name == "con_4":
            weight, bias = _split(values[0], values[8])
        elif name == "affine_":
            scale, shift = _split(values[0], values[1])
            if not len(weight) == len(bias) == scale.size == shift.size:
                raise ValueError(f"{len(weight)} filters before an affine layer of {scale.size}")
            with np.errstate(over="ignore", invalid="ignore"):  # `fill` rejects values that are not finite
                yield Convolution(weight, shift + scale.ravel() * bias, scale.ravel())


def _split(values: FloatArray, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Split a layer's numbers into a first array of a shape, and the rest, flat."""
    n = math.prod(shape)
    if not 0 < n < values.size or min(shape) < 0:
        raise ValueError(f"a layer of {values.size} numbers has a part of shape {shape}")
    return values.ravel()[:n].reshape(shape), values.ravel()[n:]
