"""Installed models: those that come with mien, and the .onnx and Keras files in the user's models directory.

See docs/decisions/0010.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mien.errors import ConfigError, MissingSpec, ModelError, UnknownModel
from mien.escape import INVISIBLE, shell_word
from mien.files import as_path, make_folder, matching, obstacle, user_folder
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.other_files import KERAS_SUFFIXES
from mien.models.spec import FACE_KINDS, Kind, ModelSpec
from mien.settings import shown

MAX_NAME_BYTES = 200  # of a model; a file's name has at most 255, and further words are added to some
NOT_IN_NAMES = frozenset('/\\:*?"<>|')  # https://learn.microsoft.com/windows/win32/fileio/naming-a-file
RESERVED = re.compile("CON|PRN|AUX|NUL|(COM|LPT)[0-9¹²³]", re.IGNORECASE)  # on Windows, with any suffix


@dataclass(frozen=True, slots=True)
class Model:
    """A model file.

    Args:
        name: Name on the command line: the file's stem.
        path: The file.
        shipped: Whether it came with mien.
        spec: Its spec; None if that is missing or unreadable.
        problem: Why there is no spec; empty otherwise.
    """

    name: str
    path: Path
    shipped: bool
    spec: ModelSpec | None
    problem: str = ""

    @property
    def format(self) -> str:
        """Return "onnx", or "keras" for a model that must be converted before use."""
        return "keras" if _is_keras(self.path) else "onnx"

    @property
    def hides_shipped(self) -> bool:
        """Whether it is a user's model that is taken for a shipped one, since it has its name."""
        return not self.shipped and is_shipped(self.name)

    @property
    def kind(self) -> Kind:
        """Return the kind of the model; "face" without a spec."""
        return "face" if self.spec is None else self.spec.kind


def models_folder(models_dir: Path | None) -> Path:
    """Return the user's models directory: the given one, or the default one for None."""
    return user_dir() if models_dir is None else as_path(models_dir)


def shipped_dir() -> Path:
    """Return the folder of the models that come with mien."""
    return Path(str(resources.files("mien.models") / "weights"))


def is_shipped(name: str) -> bool:
    """Return whether a model of this name came with mien."""
    return os.path.isfile(shipped_dir() / f"{name}.onnx")


def user_dir() -> Path:
    """Return the user's models directory: $MIEN_MODELS, or the platform's place for a program's data."""
    return Path(os.environ.get("MIEN_MODELS") or user_folder("data") / "models")


def list_models(models_dir: Path | None = None, *, kind: Kind | None = "face") -> list[Model]:
    """Return the installed models: shipped ones, the user's .onnx files, then Keras files, each sorted by name.

    A user's model hides a shipped one of the same name. Keras files with no .onnx of the same name are not opened.

    Args:
        models_dir: The user's models directory; the default one when None.
        kind: Kind of the models, see `ModelSpec`; all kinds when None. Ensembles, and files without a readable spec,
            count as "face" too.
    """
    folder = models_folder(models_dir)
    users = {path.stem: path for path in matching(folder, "*.onnx")}
    unconverted = _keras_files(folder)
    hidden = {*users, *(path.stem for path in unconverted)}
    shipped = {path.stem: path for path in matching(shipped_dir(), "*.onnx") if path.stem not in hidden}
    found = [
        *(_describe(path, shipped=True) for _, path in sorted(shipped.items())),
        *(_describe(path, shipped=False) for _, path in sorted(users.items())),
        *(Model(path.stem, path, False, None, how_to_convert(path, models_dir)) for path in unconverted),
    ]
    return [model for model in found if kind in (None, model.kind, "face" if model.kind in FACE_KINDS else None)]


def find_model(name: str | Path, *, models_dir: Path | None = None, kind: Kind = "face") -> Path:
    """Return the file of a model: the user's .onnx of that name, or else a shipped one.

    Args:
        name: A name from `list_models`, or a path ending in .onnx.
        models_dir: The user's models directory; the default one when None.
        kind: Kind of the models that an error lists.

    Raises:
        UnknownModel: No such name or file.
        ModelError: A Keras file, which must be converted first.
    """
    as_path(name)  # or InputError
    name = os.fspath(name)
    if name.endswith(".onnx"):
        if os.path.isfile(name):
            return Path(name)
        raise UnknownModel(f"no model file {name}{obstacle(name)}; `mien models` lists the installed models")
    folder = models_folder(models_dir)
    if os.path.isfile(path := folder / f"{name}.onnx"):
        return path
    named = [path for path in _keras_files(folder) if name in (path.stem, path.name)]
    for path in (Path(name), *named):
        if _is_keras(path) and os.path.isfile(path):
            raise ModelError(how_to_convert(path, models_dir))
    if os.path.isfile(path := shipped_dir() / f"{name}.onnx"):
        return path
    installed = [model.name for model in list_models(models_dir, kind=kind) if model.format == "onnx"]
    names = ", ".join(installed) or "none installed"
    hidden = f"; '{folder}' cannot be searched{reason}" if (reason := obstacle(folder)) else ""
    raise UnknownModel(
        f"no {'' if kind == 'face' else f'{kind} '}model '{name}'; choose from {names}, or give the path of an "
        f".onnx file{hidden}"
    )


def check_name(name: str) -> None:
    """Check that a model can be stored under a name, on any system.

    Raises:
        ConfigError: It is empty, hidden, too long, leads to another folder, or is no file name on Windows.
    """
    if (
        name.startswith(".")
        or name.endswith((".", " "))
        or len(name.encode(errors="replace")) > MAX_NAME_BYTES
        or INVISIBLE.search(name)
        or set(name) & NOT_IN_NAMES
        or RESERVED.fullmatch(name.partition(".")[0].rstrip())
        or Path(name).name != name
        or not name.strip()
    ):
        raise ConfigError(
            f'a model cannot be called {shown(name)}; expected a name without / \\ : * ? " < > | and control '
            f"characters, of at most {MAX_NAME_BYTES} bytes, with a dot or a space at neither end, and not reserved by "
            "Windows, such as CON"
        )


def add_model(source: str | Path, spec: ModelSpec, *, models_dir: Path | None = None) -> Path:
    """Store a copy of an ONNX file with a spec in the user's models directory, under the spec's name.

    Raises:
        ModelError: The source is not an ONNX file.
        ConfigError: The spec's name cannot be a file name.
        OutputError: The directory cannot be written.
    """
    check_name(spec.name)
    source = as_path(source)
    with suppress(MissingSpec):
        read_spec(source)
    folder = models_folder(models_dir)
    make_folder(folder)
    target = folder / f"{spec.name}.onnx"
    write_with_spec(source, target, spec)
    return target


def _is_keras(path: Path) -> bool:
    return path.suffix.lower() in KERAS_SUFFIXES


def _keras_files(folder: Path) -> list[Path]:
    """Return the Keras files of a folder that have no .onnx of the same name beside them."""
    files = (path for path in sorted(matching(folder, "*")) if _is_keras(path))
    return [path for path in files if os.path.isfile(path) and not os.path.isfile(path.with_suffix(".onnx"))]


def how_to_convert(path: Path, models_dir: Path | None) -> str:
    """Return the message about a Keras file, with the command that converts it."""
    where = "" if models_dir is None else f" --models {shell_word(str(models_dir))}"
    command = f"mien convert {shell_word(str(path))} --labels angry,disgust,… --install{where}"
    return f"{path} is a Keras model, not converted yet; give its labels in the order of its outputs: `{command}`"


def _describe(path: Path, *, shipped: bool) -> Model:
    try:
        return Model(path.stem, path, shipped, read_spec(path))
    except ModelError as error:
        return Model(path.stem, path, shipped, None, str(error))
