"""ONNX files with a spec inside: read and written without loading the network. See docs/decisions/0012."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, MissingSpec, ModelError
from mien.escape import shell_word
from mien.files import as_path, atomic_path, refuse_pipe
from mien.models.other_files import other_kind
from mien.models.spec import SPEC_KEY, ModelSpec

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_BYTES = 2**31 - 1  # of a Protocol Buffers message, which an ONNX file is


def read_spec(path: str | Path) -> ModelSpec:
    """Read the spec of an ONNX file without loading the network.

    Raises:
        ModelError: Not readable, not ONNX, or with a spec that this version cannot read.
        MissingSpec: ONNX, but without a spec.
    """
    path = as_path(path)
    entries = {entry.key: entry.value for entry in _read(path).metadata_props}
    if SPEC_KEY not in entries:
        raise MissingSpec(
            f"{path} has no mien spec, so its labels and input are unknown; add one: "
            f"`mien models add {shell_word(str(path))} --labels angry,disgust,…`"
        )
    try:
        return ModelSpec.from_json(entries[SPEC_KEY])
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def graph_fingerprint(path: Path) -> str:
    """Return the SHA-256 of an ONNX file's graph, weights included; it does not depend on the spec.

    Raises:
        ModelError: Not readable, or not ONNX.
    """
    return hashlib.sha256(b"".join(_read(path).graph)).hexdigest()


def write_with_spec(source: str | Path, target: str | Path, spec: ModelSpec) -> None:
    """Copy an ONNX file and put a spec inside, replacing the one it has; weights in a second file are put inside too.

    Raises:
        ModelError: The source, or the file of its weights, is not readable, or not ONNX.
        OutputError: The target cannot be written.
    """
    _write(_read_whole(as_path(source)), target, spec)


def save_with_spec(model: ModelProto, target: str | Path, spec: ModelSpec) -> None:
    """Write a graph of mien's making, named as such, with its spec inside.

    Raises:
        OutputError: The target cannot be written.
    """
    model.doc_string, model.producer_name, model.producer_version = f"mien model {spec.name}", "mien", ""
    _write(_message("ModelProto").FromString(model.SerializeToString()), target, spec)


def _write(model: Any, target: str | Path, spec: ModelSpec) -> None:
    """Write a message of `_read` with a spec in place of the one it has."""
    kept = [entry for entry in model.metadata_props if entry.key != SPEC_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=SPEC_KEY, value=spec.to_json())
    with atomic_path(target) as temporary:
        temporary.write_bytes(model.SerializeToString())


def whole_model(source: Path, folder: Path) -> Path:
    """Return a model whose weights are all inside: the source, or a copy in a folder.

    Raises:
        ModelError: The source, or the file of its weights, is not readable, or not ONNX.
    """
    model = _read(source)
    if not _has_weights_outside(model):
        return source
    copy = folder / source.name
    copy.write_bytes(_read_whole(source).SerializeToString())
    return copy


def _has_weights_outside(model: Any) -> bool:
    return any(b"location" in graph for graph in model.graph)  # the key of a tensor's file


def _read_whole(source: Path) -> Any:
    """Read an ONNX file, and the weights in files beside it."""
    model = _read(source)
    if not _has_weights_outside(model):
        return model
    graph = _message("GraphProto").FromString(b"".join(model.graph))
    total = source.stat().st_size
    for tensor in _tensors(graph):
        if tensor.data_location == 1:
            total += _read_inside(tensor, source, most=MAX_BYTES - total)
    model.graph[:] = [graph.SerializeToString()]
    return model


def _read_inside(tensor: Any, source: Path, *, most: int) -> int:
    """Replace a tensor's place in another file by its bytes; return their number. The file must be beside the model."""
    place = {entry.key: entry.value for entry in tensor.external_data}
    name = place.get("location", "")
    file = source.parent / name
    folder = source.parent.resolve()
    if not name or not file.resolve().is_relative_to(folder):
        raise ModelError(f"{source} has weights in {name!r}, outside its folder; save it with all weights in one file")
    try:
        refuse_pipe(file)
        with file.open("rb") as weights:
            offset = int(place.get("offset", 0))
            length = int(place.get("length", file.stat().st_size - offset))
            if not 0 <= length <= most or not 0 <= offset <= file.stat().st_size - length:
                raise ModelError(
                    f"{file} is cut, or not of this model: {source} expects {length:,} bytes of weights from {offset:,}"
                )
            weights.seek(offset)
            tensor.raw_data = weights.read(length)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"{source} has its weights in {name!r}, which cannot be read: {reason}; keep both files in one folder"
        ) from error
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    return length


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield the tensors of a graph: initializers, and constants in the attributes of its nodes and their graphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def check_target(path: Path) -> None:
    """Check that a model may be written to a path; only .onnx files are found again.

    Raises:
        ConfigError: It does not end in .onnx.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"cannot write a model to {path}; expected a name that ends in .onnx")


def _read(path: Path) -> Any:
    """Return an ONNX file as a message of `_model_class`."""
    from google.protobuf.message import DecodeError

    try:
        refuse_pipe(path)
        if os.path.isdir(path):
            raise _not_onnx(path)
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size:,} bytes; an ONNX file has at most {MAX_BYTES:,}")
        model = _message("ModelProto").FromString(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from error
    except DecodeError as error:
        raise _not_onnx(path) from error
    if not model.graph:
        raise _not_onnx(path)
    return model


def _not_onnx(path: Path) -> ModelError:
    if kind := other_kind(path):
        return ModelError(f"{path} is not an ONNX file but {kind}")
    return ModelError(f"{path} is not an ONNX file, or a damaged or cut one; copy or export it again")


# The parts of onnx.proto that mien needs: message -> field -> (number, type, repeated); other fields are kept as they
# are. The graph of a model stays bytes, since parsing it takes long and its hash must not depend on how it is written
# again; `GraphProto` is only parsed to put weights inside.
_SCHEMA: dict[str, dict[str, tuple[int, str, bool]]] = {
    "StringStringEntryProto": {"key": (1, "string", False), "value": (2, "string", False)},
    "ModelProto": {"graph": (7, "bytes", True), "metadata_props": (14, "StringStringEntryProto", True)},
    "GraphProto": {"node": (1, "NodeProto", True), "initializer": (5, "TensorProto", True)},
    "NodeProto": {"attribute": (5, "AttributeProto", True)},
    "AttributeProto": {
        "t": (5, "TensorProto", False),
        "g": (6, "GraphProto", False),
        "tensors": (10, "TensorProto", True),
        "graphs": (11, "GraphProto", True),
    },
    "TensorProto": {
        "raw_data": (9, "bytes", False),
        "external_data": (13, "StringStringEntryProto", True),
        "data_location": (14, "int32", False),
    },
}


@cache
def _message(name: str) -> Any:
    """Return the class of a message in `_SCHEMA`."""
    from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    Field = FieldDescriptorProto
    plain = {"string": Field.TYPE_STRING, "bytes": Field.TYPE_BYTES, "int32": Field.TYPE_INT32}
    file = FileDescriptorProto(name="onnx.proto", syntax="proto3")
    for message, schema in _SCHEMA.items():
        described = DescriptorProto(name=message)
        for field, (number, kind, repeated) in schema.items():
            described.field.add(
                name=field, number=number, type=plain.get(kind, Field.TYPE_MESSAGE),
                type_name=None if kind in plain else kind,
                label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL,
            )  # fmt: skip
        file.message_type.append(described)
    pool = DescriptorPool()  # of its own, so that the names don't clash with those of the onnx package
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(name))
