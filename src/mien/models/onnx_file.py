"""ONNX files with a spec inside: read and written without loading the network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mien.errors import ConfigError, MissingSpec, ModelError
from mien.files import atomic_path
from mien.models.spec import SPEC_KEY, ModelSpec

# Field numbers of onnx.proto: ModelProto.graph, ModelProto.metadata_props, StringStringEntryProto.{key, value}.
GRAPH, METADATA, KEY, VALUE = 7, 14, 1, 2


def read_spec(path: Path) -> ModelSpec:
    """Read the spec out of an ONNX file without loading the network.

    Raises:
        ModelError: Not readable, not ONNX, or a spec that this version does not understand.
        MissingSpec: ONNX, but of another origin.
    """
    with _onnx_expected(path):
        fields = list(_fields(_read(path)))
        if not any(field.number == GRAPH for field in fields):
            raise IndexError("no graph")
        entries = dict(_entry(field) for field in fields if field.number == METADATA)
    if SPEC_KEY not in entries:
        raise MissingSpec(
            f"{path} has no mien spec, so nothing says what its input and output mean; adopt it with "
            f"`mien models add {path} --labels angry,disgust,… --size 48 --channels 1`"
        )
    return ModelSpec.from_json(entries[SPEC_KEY])


def graph_fingerprint(path: Path) -> str:
    """Return the SHA-256 of an ONNX file's graph, weights included: what is the same whatever its spec says.

    Raises:
        ModelError: Not readable, or not ONNX.
    """
    with _onnx_expected(path):
        graphs = [field.content for field in _fields(_read(path)) if field.number == GRAPH]
    return hashlib.sha256(b"".join(graphs)).hexdigest()


def write_with_spec(source: Path, target: Path, spec: ModelSpec) -> None:
    """Copy an ONNX file and put a spec inside, in place of one that it may have.

    The fields of a protocol buffer may follow one another in any order, so the spec goes to the end.

    Raises:
        ModelError: The source is not an ONNX file.
        OutputError: The target cannot be written.
    """
    key, value = SPEC_KEY.encode(), spec.to_json().encode()
    with _onnx_expected(source):
        kept = [f.raw for f in _fields(_read(source)) if f.number != METADATA or _entry(f)[0] != SPEC_KEY]
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        file.writelines(kept)
        file.write(_encode_field(METADATA, _encode_field(KEY, key) + _encode_field(VALUE, value)))


def check_target(path: Path) -> None:
    """Make sure that a model may be written to a path: nothing but .onnx files is found again.

    Raises:
        ConfigError: It is no .onnx file.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"a model is to be written to {path}; expected a name that ends in .onnx")


@contextmanager
def _onnx_expected(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from error
    except (IndexError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not an ONNX file; expected one that `mien export` wrote") from error


def _read(path: Path) -> memoryview:
    return memoryview(path.read_bytes())


class Field(NamedTuple):
    """One field of a protocol buffer: its content if it has a length, and all its bytes."""

    number: int
    content: memoryview
    raw: memoryview


def _entry(field: Field) -> tuple[str, str]:
    """Return key and value of a metadata entry."""
    parts = {part.number: bytes(part.content).decode() for part in _fields(field.content)}
    return parts.get(KEY, ""), parts.get(VALUE, "")


def _fields(data: memoryview) -> Iterator[Field]:
    """Yield the top level of a protocol buffer.

    Raises:
        IndexError: The bytes are none.
    """
    start = 0
    while start < len(data):
        tag, at = _varint(data, start)
        wire, length = tag & 7, 0
        if wire == 0:
            _, at = _varint(data, at)
        elif wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise IndexError(f"wire type {wire}")
        end = at + length
        if end > len(data):
            raise IndexError("truncated")
        yield Field(tag >> 3, data[at:end], data[start:end])
        start = end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("number too long")


def _encode_field(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | 2) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
