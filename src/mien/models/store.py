"""The models at hand: shipped ones, every .onnx in the user's models directory, and Keras models to be converted."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

from mien.errors import ConfigError, MissingSpec, ModelError, OutputError, UnknownModel
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.spec import ModelSpec

KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")  # in lower case


@dataclass(frozen=True, slots=True)
class Model:
    """A model file.

    Args:
        name: What to call it on the command line: the file's stem.
        path: The file.
        shipped: Whether it came with mien.
        spec: Its spec; None when it has none or an unreadable one.
        problem: Why there is no spec; empty otherwise.
    """

    name: str
    path: Path
    shipped: bool
    spec: ModelSpec | None
    problem: str = ""

    @property
    def format(self) -> str:
        """Return "onnx", or "keras" for a model that is to be converted before it can be used."""
        return "keras" if _is_keras(self.path) else "onnx"


def shipped_dir() -> Path:
    """Return the folder of the models that came with mien."""
    return Path(str(resources.files("mien.models") / "weights"))


def user_dir() -> Path:
    """Return the user's models directory: $MIEN_MODELS, or the platform's place for a program's data."""
    return Path(os.environ.get("MIEN_MODELS") or platformdirs.user_data_path("mien") / "models")


def list_models(models_dir: Path | None = None, *, temporal: bool | None = False) -> list[Model]:
    """Return the shipped models, then the user's, each by name; a user model hides a shipped one of its name.

    Keras models of the user's that were not converted yet come last; they are not opened. They hide shipped ones too.

    Args:
        models_dir: The user's models directory; the default one when None.
        temporal: Return the temporal models, which need a classifier, instead of all others; both kinds when None.
    """
    users = {path.stem: path for path in (models_dir or user_dir()).glob("*.onnx")}
    unconverted = _keras_files(models_dir)
    hidden = {*users, *(path.stem for path in unconverted)}
    shipped = {path.stem: path for path in shipped_dir().glob("*.onnx") if path.stem not in hidden}
    found = [
        *(_describe(path, shipped=True) for _, path in sorted(shipped.items())),
        *(_describe(path, shipped=False) for _, path in sorted(users.items())),
        *(Model(path.stem, path, False, None, _unconverted(path, models_dir)) for path in unconverted),
    ]
    if temporal is None:
        return found
    return [model for model in found if temporal == (model.spec is not None and model.spec.temporal is not None)]


def find_model(name: str, *, models_dir: Path | None = None) -> Path:
    """Return the file of a model: the user's .onnx of that name, or else a shipped one.

    Args:
        name: A name from `list_models`, or a path ending in .onnx.
        models_dir: The user's models directory; the default one when None.

    Raises:
        UnknownModel: No such name or file.
        ModelError: It is a Keras model of the user's, which is to be converted first.
    """
    if name.endswith(".onnx"):
        if Path(name).is_file():
            return Path(name)
        raise UnknownModel(f"no model file {name}; `mien models` lists the models at hand")
    if (mine := (models_dir or user_dir()) / f"{name}.onnx").is_file():
        return mine
    files = [path for path in _keras_files(models_dir) if name in (path.stem, path.name)]
    for path in (Path(name), *files):
        if _is_keras(path) and path.is_file():
            raise ModelError(_unconverted(path, models_dir))
    if (shipped := shipped_dir() / f"{name}.onnx").is_file():
        return shipped
    names = ", ".join(model.name for model in list_models(models_dir) if model.format == "onnx") or "none installed"
    raise UnknownModel(f"no model '{name}'; choose from {names}, or give the path of an .onnx file")


def check_name(name: str) -> None:
    """Make sure that a model can be stored under a name.

    Raises:
        ConfigError: It is empty, hidden, or leads to another folder.
    """
    if not name.strip() or name.startswith(".") or "\\" in name or Path(name).name != name:
        raise ConfigError(
            f"a model cannot be called '{name}'; expected a name without / and \\ that begins with no dot: --name mine"
        )


def add_model(source: Path, spec: ModelSpec, *, models_dir: Path | None = None) -> Path:
    """Adopt an ONNX file: store it with a spec in the user's models directory, under the spec's name.

    Raises:
        ModelError: The source is not an ONNX file.
        ConfigError: The spec's name is none for a file.
        OutputError: The directory cannot be written.
    """
    check_name(spec.name)
    with suppress(MissingSpec):
        read_spec(source)
    folder = models_dir or user_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the models directory '{folder}': {error.strerror}; name another one") from error
    target = folder / f"{spec.name}.onnx"
    write_with_spec(source, target, spec)
    return target


def _is_keras(path: Path) -> bool:
    return path.suffix.lower() in KERAS_SUFFIXES


def _keras_files(models_dir: Path | None) -> list[Path]:
    """Return the Keras models of the user's that have no .onnx of their name beside them."""
    files = (path for path in sorted((models_dir or user_dir()).glob("*")) if _is_keras(path))
    return [path for path in files if path.is_file() and not path.with_suffix(".onnx").is_file()]


def _unconverted(path: Path, models_dir: Path | None) -> str:
    """Return the sentence about a Keras model, with the command that converts it."""
    where = "" if models_dir is None else f" --models {shlex.quote(str(models_dir))}"
    command = f"mien convert {shlex.quote(str(path))} --labels angry,disgust,… --install{where}"
    return f"{path} is a Keras model, not converted yet; name its labels in the order of its outputs: `{command}`"


def _describe(path: Path, *, shipped: bool) -> Model:
    try:
        return Model(path.stem, path, shipped, read_spec(path))
    except ModelError as error:
        return Model(path.stem, path, shipped, None, str(error))
