"""Reader of Keras files, architecture and weights, as data: nothing in them is executed (extra: keras).

An .h5 file holds the architecture as JSON and the weights by the names of their layers; a .keras file is a zip of the
JSON and of an HDF5 file with the weights by the classes of their layers. Where weights were saved alone, in either of
these layouts, the architecture is a JSON file beside them. Names of Keras 1 are replaced by those of Keras 2.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import h5py
import numpy as np

from mien.errors import ModelError
from mien.files import matching, refuse_pipe
from mien.models.other_files import SAVED_MODEL, is_torch, other_kind
from mien.sources.content import ZIP
from mien.structures import FloatArray

Json: TypeAlias = dict[str, Any]
Names: TypeAlias = tuple[str, ...]  # path of a layer: the nested models around it, outermost first, and its own name
MODELS = ("Sequential", "Functional", "Model")  # "Functional" was called "Model" before Keras 2.4
OLD_PART = "_layer_checkpoint_dependencies"
MAX_JSON = 2**24  # bytes of an architecture; the largest of keras.applications has 2^20
# Keras 1 -> Keras 2: https://github.com/keras-team/keras/wiki/Keras-2.0-release-notes
OLD_LAYERS = {"Convolution2D": "Conv2D", "SeparableConvolution2D": "SeparableConv2D", "AtrousConvolution2D": "Conv2D"}
OLD_SETTINGS = {
    "nb_filter": "filters", "border_mode": "padding", "subsample": "strides", "atrous_rate": "dilation_rate",
    "bias": "use_bias", "output_dim": "units", "p": "rate",
}  # fmt: skip
OLD_ORDERS = {"tf": "channels_last", "th": "channels_first"}
MAX_COMPRESSION_RATIO = 100  # limit of a part's compression ratio: Keras does not compress, and weights hardly can be


@dataclass(frozen=True, slots=True)
class KerasModel:
    """Contents of a Keras file.

    Args:
        architecture: Class and configuration of the model, as in the file.
        version: Version of Keras that wrote it.
        read: Returns a layer's weights, trainable ones first, each in the order of creation; `numbers_of` reads their
            values.
        parts: Files of weights and architecture, where weights were saved alone; empty for a whole model.
    """

    architecture: Json
    version: str
    read: Callable[[Names], list[h5py.Dataset]]
    parts: tuple[Path, ...] = ()


def layers_of(model: Json) -> list[Json]:
    """Return the layers of a model; before Keras 2.2.3 the configuration of a Sequential model was their list."""
    config = model["config"]
    return cast("list[Json]", config if isinstance(config, list) else config["layers"])


def name_of(layer: Json) -> str:
    """Return the name of a layer or nested model."""
    return str(layer["name"] if "name" in layer else layer["config"]["name"])


@contextmanager
def open_keras(path: Path, architecture: Path | None = None) -> Iterator[KerasModel]:
    """Open a model saved by Keras 1 to 3 for the duration of the block.

    Args:
        path: A whole model, weights alone, or the JSON file of an architecture.
        architecture: The JSON file that belongs to weights alone. When None, it is the only one beside them, or that of
            the same name; likewise the weights that belong to a JSON file.

    Raises:
        ModelError: Not such a file, damaged, or one part whose other is missing; also for errors raised in the block.
    """
    try:
        refuse_pipe(path)
        if path.suffix.lower() == ".json":
            path, architecture = _weights_beside(path), path
        if os.path.isdir(path):
            if os.path.exists(path / SAVED_MODEL):
                raise ModelError(f"not a Keras model but {other_kind(path)}")
            raise ModelError("a folder, not a file; save the model as one file, in Keras: model.save('net.h5')")
        if zipfile.is_zipfile(path) and not is_torch(path):
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
                yield _hdf5(file, path, architecture)
        elif kind := other_kind(path, by_name=False):
            if path.suffix.lower() == ".keras" and kind.startswith(ZIP):
                raise zipfile.BadZipFile  # cut off: the list of its files is at its end
            raise ModelError(f"not a Keras model but {kind}")
        elif path.suffix.lower() == ".onnx":
            raise ModelError("not a Keras model but an ONNX file, by its name; add it: `mien models add`")
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


def _hdf5(file: h5py.File, path: Path, architecture: Path | None) -> KerasModel:
    """Open an .h5 file: a whole model, or weights alone."""
    if "model_config" in file.attrs and "model_weights" in file:
        facts = {key: _text(file.attrs[key]) for key in ("backend", "keras_version") if key in file.attrs}
        return _by_name(json.loads(_text(file.attrs["model_config"]), object_hook=_plain), facts, file["model_weights"])
    architecture = architecture or _architecture_beside(path)
    model, parts = _read_json(architecture), (path, architecture)
    if "layer_names" in file.attrs:  # as Keras 1 and 2 save weights
        facts = {"keras_version": "3" if "module" in model else "2", **model}
        return replace(_by_name(model, facts, file), parts=parts)
    places = dict(_places(file, model))
    return KerasModel(model, "3", lambda names: _read_place(file, places[names], names), parts)


def _by_name(model: Json, facts: Json, weights: Any) -> KerasModel:
    """Return a model whose weights have the names of their layers."""
    if facts.get("backend") in ("theano", "cntk"):
        raise ModelError("Theano or CNTK wrote it, with weights in another layout; save it with TensorFlow")
    return KerasModel(model, str(facts.get("keras_version", "1")), lambda names: _read_by_name(weights, names))


def _read_json(path: Path) -> Json:
    """Read the JSON file of an architecture."""
    refuse_pipe(path)
    with suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        model = json.loads(path.read_bytes() if path.stat().st_size <= MAX_JSON else b"", object_hook=_plain)
        if isinstance(model, dict) and isinstance(model.get("class_name"), str) and "config" in model:
            return model
    raise ModelError(f"{path} is not the architecture of a Keras model; expected the text of model.to_json()")


def _architecture_beside(path: Path) -> Path:
    """Return the JSON file of the architecture that belongs to a file of weights."""
    found = []
    for beside in sorted(matching(path.parent, "*.json")):
        with suppress(OSError, ModelError):
            _read_json(beside)
            found.append(beside)
    return _only(
        found,
        path,
        "it contains weights only, without the architecture (model_config); write that beside it as JSON, in Keras: "
        "pathlib.Path('model.json').write_text(model.to_json()); or save the whole model: model.save('net.h5')",
        "one with --architecture",
    )


def _weights_beside(path: Path) -> Path:
    """Return the file of weights that belongs to the JSON file of an architecture."""
    _read_json(path)
    found = []
    for beside in sorted(path.parent.iterdir()):
        if beside.suffix.lower() in (".h5", ".hdf5") and os.path.isfile(beside) and h5py.is_hdf5(beside):
            with suppress(OSError), h5py.File(beside, "r") as file:
                if "model_config" not in file.attrs:
                    found.append(beside)
    return _only(
        found,
        path,
        "it is an architecture without weights; put the file that model.save_weights('net.weights.h5') wrote beside it",
        "the file of weights, and this one with --architecture",
    )


def _only(found: list[Path], path: Path, missing: str, option: str) -> Path:
    """Return the only file, or that of the same name as another one."""
    namesakes = [other for other in found if other.name.partition(".")[0] == path.name.partition(".")[0]]
    chosen = found if len(found) == 1 else namesakes
    if not found:
        raise ModelError(missing)
    if len(chosen) != 1:
        raise ModelError(f"several files may belong to it: {', '.join(p.name for p in found)}; name {option}")
    return chosen[0]


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if name not in archive.namelist():
        raise ModelError(f"there is no {name} inside; expected a file written by model.save('net.keras')")
    info = archive.getinfo(name)
    if info.file_size > MAX_COMPRESSION_RATIO * max(info.compress_size, 2**20):
        raise ModelError(f"{name} would unpack to {info.file_size:,} bytes, more than any model; save it again")
    return archive.read(name)


def _plain(value: Json) -> Any:
    """Unwrap the tuples and arrays of a configuration, and rename the layers and settings of Keras 1."""
    kind = value.get("class_name")
    if kind in ("__tuple__", "TensorShape"):
        return value.get("items", value.get("config"))
    if kind == "__numpy__":
        return value["config"]["value"]
    if value.get("type") == "ndarray":
        return value["value"]
    if isinstance(value.get("config"), dict) and _is_of_keras_1(kind, value["config"]):
        return value | {"class_name": OLD_LAYERS.get(str(kind), kind), "config": _renamed(value["config"])}
    return value


def _is_of_keras_1(kind: object, config: Json) -> bool:
    return kind in OLD_LAYERS or any(key in config for key in ("border_mode", "dim_ordering", "output_dim", "mode"))


def _renamed(config: Json) -> Json:
    """Return the settings of a layer of Keras 1 as Keras 2 calls them."""
    new = {OLD_SETTINGS.get(key, key): value for key, value in config.items()}
    if "nb_row" in new:
        new["kernel_size"] = [new["nb_row"], new["nb_col"]]
    if new.get("dim_ordering") == "th":
        raise ModelError(
            "Keras 1 wrote it with channels first (Theano's order), which mien does not convert; build it with "
            "channels last, dim_ordering='tf', and train it"
        )
    if "dim_ordering" in new:
        new["data_format"] = OLD_ORDERS.get(new["dim_ordering"])
    if new.get("mode") == 0:  # of a BatchNormalization, which always had both
        new |= {"scale": True, "center": True}
    return new


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
    if data.external or data.is_virtual or data.nbytes > MAX_COMPRESSION_RATIO * max(data.id.get_storage_size(), 2**16):
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
