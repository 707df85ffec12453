"""ONNX files with a spec inside: read and written without loading the network. See docs/decisions/0012."""

from __future__ import annotations

import hashlib
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from mien.errors import ConfigError, MissingSpec, ModelError
from mien.files import atomic_path
from mien.models.spec import SPEC_KEY, ModelSpec


def read_spec(path: Path) -> ModelSpec:
    """Read the spec of an ONNX file without loading the network.

    Raises:
        ModelError: Not readable, not ONNX, or with a spec that this version cannot read.
        MissingSpec: ONNX, but without a spec.
    """
    entries = {entry.key: entry.value for entry in _read(path).metadata_props}
    if SPEC_KEY not in entries:
        raise MissingSpec(
            f"{path} has no mien spec, so its labels and input are unknown; add one: "
            f"`mien models add {shlex.quote(str(path))} --labels angry,disgust,… --size 48 --channels 1`"
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


def write_with_spec(source: Path, target: Path, spec: ModelSpec) -> None:
    """Copy an ONNX file and put a spec inside, replacing the one it has.

    Raises:
        ModelError: The source is not readable, or not ONNX.
        OutputError: The target cannot be written.
    """
    model = _read(source)
    kept = [entry for entry in model.metadata_props if entry.key != SPEC_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=SPEC_KEY, value=spec.to_json())
    with atomic_path(target) as temporary:
        temporary.write_bytes(model.SerializeToString())


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
        model = _model_class().FromString(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from error
    except DecodeError as error:
        raise _not_onnx(path) from error
    if not model.graph:
        raise _not_onnx(path)
    return model


def _not_onnx(path: Path) -> ModelError:
    return ModelError(f"{path} is not an ONNX file; expected one that `mien export` wrote")


@cache
def _model_class() -> Any:
    """Build the part of onnx.proto's ModelProto that mien needs; other fields are kept as they are.

    The graph stays bytes, since parsing it takes long and its hash must not depend on how it is written again.
    """
    from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    Field = FieldDescriptorProto
    entry = DescriptorProto(name="StringStringEntryProto")
    entry.field.add(name="key", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    model = DescriptorProto(name="ModelProto")
    model.field.add(name="graph", number=7, type=Field.TYPE_BYTES, label=Field.LABEL_REPEATED)
    model.field.add(
        name="metadata_props", number=14, type=Field.TYPE_MESSAGE, label=Field.LABEL_REPEATED, type_name=entry.name
    )
    file = FileDescriptorProto(name="onnx.proto", syntax="proto3", message_type=[entry, model])
    pool = DescriptorPool()  # of its own, so that the names don't clash with those of the onnx package
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("ModelProto"))
