"""Model files that are neither ONNX nor Keras, recognised by their content, and the way from them to ONNX."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from pathlib import Path

from mien.files import refuse_pipe
from mien.sources.content import GZIP, HEADER_BYTES, PICKLE, ZIP, kind_of

TORCH = 'export it in PyTorch: torch.onnx.export(model.eval(), torch.zeros(1, 1, 48, 48), "net.onnx")'
TENSORFLOW = "convert it by tf2onnx: https://github.com/onnx/tensorflow-onnx"
KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")  # in lower case
KERAS = "convert it: `mien convert`"
SAVED_MODEL = "saved_model.pb"
BY_SUFFIX = {  # where the content gives no kind
    **dict.fromkeys((".pt", ".pth", ".ckpt"), TORCH),
    **dict.fromkeys((".tflite", ".pb"), TENSORFLOW),
    **dict.fromkeys(KERAS_SUFFIXES, KERAS),
    ".safetensors": "it has weights only; export the model from its program: torch.onnx.export",
}
WAYS_OUT = {  # by the kind of file, see `sources.content.KINDS`
    PICKLE: f"if PyTorch wrote it, {TORCH}",
    GZIP: "unpack it (gzip -d), and pass the result",
    ZIP: "unpack it, and pass the model in it",
    "an HDF5 file": f"if it is a Keras model, {KERAS}",
    "a web page": "download the model with a browser; sites that ask for a login or a confirmation give one",
}
OTHERWISE = "get the model itself"


def other_kind(path: Path, *, by_name: bool = True) -> str:
    """Return the kind of a file or folder that is no ONNX file, and the way out: "a PyTorch file; export it …".

    Args:
        path: The file or folder.
        by_name: Whether its suffix counts where its content is of another kind.

    Returns:
        "" for a file that can be anything.

    Raises:
        OSError: It cannot be read, or is a pipe.
    """
    refuse_pipe(path)
    if os.path.isdir(path):
        if os.path.exists(path / SAVED_MODEL):
            return f"a folder of TensorFlow's SavedModel; {TENSORFLOW}"
        return "a folder; pass the file of the model in it"
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if not start:
        return "an empty file; get it again"
    if start[4:8] == b"TFL3":
        return f"a TensorFlow Lite model; {TENSORFLOW}"
    kind = kind_of(start)
    if kind == ZIP and is_torch(path):
        return f"a PyTorch file; {TORCH}"
    if by_name and (advice := BY_SUFFIX.get(path.suffix.lower())):
        return f"{kind or 'of another kind'}; {advice}"
    return "" if kind is None else f"{kind}; {WAYS_OUT.get(kind, OTHERWISE)}"


def is_torch(path: Path) -> bool:
    """Return whether a file is an archive that PyTorch wrote."""
    with suppress(OSError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())
    return False
