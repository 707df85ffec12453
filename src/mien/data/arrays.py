"""Arrays of files made elsewhere, checked against a schema before their data is read; no pickle, nothing evaluated."""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from mien.data.damage import check_expansion, damage_reported
from mien.data.dataset import MAX_BYTES
from mien.data.wrong_kind import refuse_wrong_kind
from mien.errors import ConfigError, DatasetError
from mien.files import refuse_pipe
from mien.settings import checked

T = TypeVar("T")

# As NumPy writes it: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[?biufUS]\d{0,9})', 'fortran_order': (True|False), 'shape': \(([\d, ]{0,99})\), \}\s*"
)
MAX_HEADER = 10_000  # bytes, NumPy's own limit
LARGEST_CODE_POINT = 0x10FFFF
ABOUT = "about"  # the array with a JSON text
MAX_ABOUT = 64 << 20  # bytes; it lists the pictures without a face
CHUNK_BYTES = 16 << 20


class Field(NamedTuple):
    """Type and number of dimensions of an array.

    Args:
        dtype: Scalar type; the byte order is that of the machine once read.
        ndim: Number of dimensions.
        required: Whether it must be there.
    """

    dtype: type[np.generic]
    ndim: int
    required: bool = True


Schema: TypeAlias = Mapping[str, Field]


class Stream(Protocol):
    """A file or a member of a zip."""

    def read(self, size: int, /) -> bytes: ...


def read_npz(
    path: Path, schema: Schema | Callable[[T], Schema], about: type[T], *, kind: str, way_out: str
) -> tuple[T, dict[str, npt.NDArray[Any]]]:
    """Read arrays and the JSON text beside them; sizes are checked before anything is unpacked.

    Args:
        path: An .npz.
        schema: Of the arrays by name, or a function that returns it from the JSON text; others are not read.
        about: A TypedDict: schema of the JSON text.
        kind: The kind of file that is expected, for messages.
        way_out: The next step, for messages.

    Raises:
        DatasetError: The file doesn't follow the schema, is damaged, or exceeds `MAX_BYTES`.
    """
    try:
        refuse_wrong_kind(path)
        if not zipfile.is_zipfile(path):
            raise ValueError("no .npz archive, or a truncated one")
        with damage_reported(path), zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if (length := sizes.get(f"{ABOUT}.npy", 0)) > MAX_ABOUT:
                raise ValueError(f"'{ABOUT}' has {length:,} bytes; expected at most {MAX_ABOUT:,}")
            check_expansion(path, length)
            text = _member(archive, sizes, ABOUT, Field(np.str_, 0))
            data = checked(about, json.loads(str(text)), ABOUT)
            schema = schema(data) if callable(schema) else schema
            n_bytes = sum(sizes.get(f"{name}.npy", 0) for name in schema)
            if n_bytes > MAX_BYTES:
                raise ValueError(f"its arrays have {n_bytes / 2**30:.1f} GB; expected at most {MAX_BYTES >> 30} GB")
            check_expansion(path, n_bytes)
            present = {name: field for name, field in schema.items() if field.required or f"{name}.npy" in sizes}
            return data, {name: _member(archive, sizes, name, field) for name, field in present.items()}
    except (OSError, ValueError, RecursionError, ConfigError, DatasetError) as error:
        raise DatasetError(f"'{path}' is not {kind} ({error}); {way_out}") from error


def read_npy(path: Path, field: Field) -> npt.NDArray[Any]:
    """Read an .npy file.

    Raises:
        ValueError: It is not an .npy file, is truncated, has another type or rank, or exceeds `MAX_BYTES`.
        OSError: It cannot be read.
    """
    refuse_pipe(path)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{size / 2**30:.1f} GB; expected at most {MAX_BYTES >> 30} GB")
    with path.open("rb") as file:
        return _read(file, size, field)


def read_array(content: bytes) -> npt.NDArray[Any]:
    """Read an .npy of numbers or texts.

    Raises:
        ValueError: It is not an .npy file, or is truncated.
    """
    return _read(io.BytesIO(content), len(content))


def _member(archive: zipfile.ZipFile, sizes: Mapping[str, int], name: str, field: Field) -> npt.NDArray[Any]:
    if f"{name}.npy" not in sizes:
        raise ValueError(f"no array '{name}'")
    with archive.open(f"{name}.npy") as stream:
        try:
            return _read(stream, sizes[f"{name}.npy"], field)
        except ValueError as error:
            raise ValueError(f"'{name}': {error}") from error


def _read(stream: Stream, size: int, field: Field | None = None) -> npt.NDArray[Any]:
    """Read an .npy of a number of bytes."""
    start = stream.read(8)
    length_bytes = 2 if start[6:7] == b"\1" else 4
    if not start.startswith(b"\x93NUMPY") or len(start) < 8:
        raise ValueError("no array of NumPy")
    packed = stream.read(length_bytes).ljust(length_bytes, b"\0")
    (length,) = struct.unpack("<H" if length_bytes == 2 else "<I", packed)
    header = stream.read(min(length, MAX_HEADER))
    found = HEADER.fullmatch(header)
    if found is None:
        raise ValueError(f"an array of objects, or with the header {header[:60]!r}")
    try:
        dtype = np.dtype(found[1].decode())
    except TypeError as error:
        raise ValueError(str(error)) from error
    shape = tuple(int(side) for side in found[3].replace(b" ", b"").split(b",") if side)
    if field is not None and (dtype.type is not field.dtype or len(shape) != field.ndim):
        raise ValueError(f"{dtype.name} {shape}; expected {field.dtype.__name__} with {field.ndim} dimensions")
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes != size - 8 - length_bytes - length:
        raise ValueError(f"its shape {shape} does not match its size")
    array = np.empty(n_bytes, np.uint8)
    for offset in range(0, n_bytes, CHUNK_BYTES):
        chunk = stream.read(min(CHUNK_BYTES, n_bytes - offset))
        if len(chunk) < min(CHUNK_BYTES, n_bytes - offset):
            raise ValueError("truncated")
        array[offset : offset + len(chunk)] = np.frombuffer(chunk, np.uint8)
    flat: npt.NDArray[Any] = array.view(dtype) if n_bytes else np.empty(0, dtype)
    flat = flat.astype(dtype.newbyteorder("="), copy=False)
    if dtype.type is np.str_ and n_bytes and flat.view(np.uint32).max() > LARGEST_CODE_POINT:
        raise ValueError("no text")
    return flat.reshape(shape, order="F" if found[2] == b"True" else "C")
