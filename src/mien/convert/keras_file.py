"""Reader of Keras files, architecture and weights, as data: nothing in them is executed (extra: keras).

An .h5 file holds the architecture as JSON and the weights by the names of their layers; a .keras file is a zip of the
JSON and of an HDF5 file with the weights by the classes of their layers.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import h5py
import numpy as np

from mien.errors import ModelError
from mien.structures import FloatArray

Json: TypeAlias = dict[str, Any]
Names: TypeAlias = tuple[str, ...]  # path of a layer: the nested models around it, outermost first, and its own name
MODELS = ("Sequential", "Functional", "Model")  # "Functional" was called "Model" before Keras 2.4
OLD_PART = "_layer_checkpoint_dependencies"
MOST_TIMES = 100  # limit of a part's compression ratio: Keras does not compress, and weights hardly can be


@dataclass(frozen=True, slots=True)
class KerasModel:
    """Contents of a Keras file.

    Args:
        architecture: Class and configuration of the model, as in the file.
        version: Version of Keras that wrote it.
        read: Returns a layer's weights, trainable ones first, each in the order of creation; `numbers_of` reads their
            values.
    """

    architecture: Json
    version: str
    read: Callable[[Names], list[h5py.Dataset]]


def layers_of(model: Json) -> list[Json]:
    """Return the layers of a model; before Keras 2.2.3 the configuration of a Sequential model was their list."""
    config = model["config"]
    return cast("list[Json]", config if isinstance(config, list) else config["layers"])


def name_of(layer: Json) -> str:
    """Return the name of a layer or nested model."""
    return str(layer["name"] if "name" in layer else layer["config"]["name"])


@contextmanager
def open_keras(path: Path) -> Iterator[KerasModel]:
    """Open a whole model saved by Keras 2 or 3, for the duration of the block.

    Raises:
        ModelError: Not such a file, damaged, or with weights only; also for errors raised in the block.
    """
    try:
        if path.is_dir():
            raise ModelError("a folder, not a file; save the model as one file, in Keras: model.save('net.h5')")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config, facts, weights = (
                    _member(archive, name) for name in ("config.json", "metadata.json", "model.weights.h5")
                )
            model = json.loads(config, object_hook=_plain)
            with h5py.File(io.BytesIO(weights), "r") as file:
                places = dict(_places(file, model))
                version = str(json.loads(facts)["keras_version"])
                yield KerasModel(model, version, lambda names: _read_place(file, places[names], names))
        elif path.stat().st_size and h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                yield _legacy(file)
        else:
            raise ModelError(
                "not a Keras model, or only part of one; expected an .h5 or .keras file written by model.save()"
            )
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged or incomplete; copy or save it again"
        raise ModelError(f"cannot read {path}: {reason}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except MemoryError as error:
        raise ModelError(f"{path}: it does not fit into memory; convert it on a larger machine") from error
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise ModelError(f"{path}: its architecture is not understood ({error!r}); save it again") from error


def _legacy(file: h5py.File) -> KerasModel:
    """Open an .h5 file."""
    if "model_config" not in file.attrs or "model_weights" not in file:
        raise ModelError(
            "it contains weights only, without the architecture (model_config); build the model in Keras, load the "
            "weights with load_weights, and save the whole model: model.save('net.h5')"
        )
    if _text(file.attrs.get("backend", "")) in ("theano", "cntk"):
        raise ModelError("Theano or CNTK wrote it, with weights in another layout; save it with TensorFlow")
    model = json.loads(_text(file.attrs["model_config"]), object_hook=_plain)
    weights = _child(file, "model_weights")
    return KerasModel(model, _text(file.attrs.get("keras_version", "1")), lambda names: _read_by_name(weights, names))


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if name not in archive.namelist():
        raise ModelError(f"there is no {name} inside; expected a file written by model.save('net.keras')")
    info = archive.getinfo(name)
    if info.file_size > MOST_TIMES * max(info.compress_size, 2**20):
        raise ModelError(f"{name} would unpack to {info.file_size:,} bytes, more than any model; save it again")
    return archive.read(name)


def _plain(value: Json) -> Any:
    """Unwrap the tuples and arrays of a configuration."""
    kind = value.get("class_name")
    if kind in ("__tuple__", "TensorShape"):
        return value.get("items", value.get("config"))
    if kind == "__numpy__":
        return value["config"]["value"]
    return value["value"] if value.get("type") == "ndarray" else value


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _child(group: Any, path: str) -> Any:
    """Return the group or dataset at a path inside the file; links are not followed, as they may lead elsewhere."""
    for part in path.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ModelError(f"'{path}' is missing from the weights; save the model again")
        group = group[part]
    return group


def numbers_of(data: h5py.Dataset) -> FloatArray:
    """Read the values of some weights.

    Raises:
        ModelError: They are in another file, or far more than the file has bytes for.
    """
    if data.external or data.is_virtual or data.nbytes > MOST_TIMES * max(data.id.get_storage_size(), 2**16):
        raise ModelError(f"the numbers of '{data.name}' are not inside the file; save the model again")
    return np.asarray(data[()], np.float32)


def _read_by_name(weights: Any, names: Names) -> list[h5py.Dataset]:
    """Read a layer of an .h5 file, where a nested model is one group for all its layers."""
    group = _child(weights, names[0])
    paths = [_text(path) for path in _attribute(group, "weight_names")]
    return [_child(group, p) for p in paths if len(names) == 1 or p.split("/")[-2:-1] == [names[-1]]]


def _attribute(group: Any, name: str) -> list[Any]:
    """Return a list attribute; long ones are stored in pieces, since HDF5 limits the size of an attribute."""
    pieces = [name, *(f"{name}{i}" for i in range(len(group.attrs)))]
    return [item for piece in pieces if piece in group.attrs for item in group.attrs[piece]]


def _read_place(file: Any, place: str, names: Names) -> list[h5py.Dataset]:
    """Read a layer of a .keras file."""
    if f"{place}/vars" not in file:
        return []
    found = _child(file, f"{place}/vars")
    if _text(found.attrs.get("name", names[-1])) != names[-1]:  # only newer files have the name
        raise ModelError(f"the weights of layer '{names[-1]}' are not at {place}; save the model as .h5")
    return [_child(found, key) for key in sorted(found, key=int)]


def _places(file: Any, model: Json, names: Names = (), where: str = "") -> Iterator[tuple[Names, str]]:
    """Yield each layer and its place in a .keras file: its class in snake case, numbered within its model.

    Keras 2.12 and 2.13 visited layers with weights twice, and so numbered those by twos.
    """
    part = OLD_PART if where + OLD_PART in file else "layers"
    counts: Counter[str] = Counter()
    for layer in layers_of(model):
        words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", layer["class_name"])
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
        place = f"{where}{part}/{kind}" + (f"_{counts[kind]}" if counts[kind] else "")
        yield (*names, name_of(layer)), place
        if layer["class_name"] in MODELS:
            yield from _places(file, layer, (*names, name_of(layer)), f"{place}/")
        has_weights = f"{place}/vars/0" in file or f"{place}/{OLD_PART}" in file
        counts[kind] += 2 if part == OLD_PART and has_weights else 1
