"""Settings: frozen dataclasses, read from TOML or JSON and overridden by flags."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from mien.errors import ConfigError, ModelError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

T = TypeVar("T")


def read_toml(path: Traversable, *, name: str) -> dict[str, Any]:
    """Read a TOML file as plain data.

    Args:
        path: A path, or a resource of a package.
        name: Of the file, for messages.

    Raises:
        ConfigError: The file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {name}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from error


def parse_override(text: str) -> tuple[str, object]:
    """Split a flag "key=value" into the key and the value, which is parsed as TOML ("0.05", "true", "'a'").

    Raises:
        ConfigError: There is no "=", or the key is empty.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'{text}' is not key=value, e.g. learning_rate=0.05")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()  # a bare word is a string


def from_dict(cls: type[T], data: object, *, where: str = "") -> T:
    """Build a settings dataclass from plain data, nested ones included.

    Args:
        cls: The dataclass.
        data: A mapping, as read from TOML or JSON.
        where: Dotted path, for messages.

    Raises:
        ConfigError: An unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"'{where}' is {data!r}; expected a table of settings")
    hints = get_type_hints(cls)
    names = [f.name for f in fields(cast(Any, cls))]
    prefix = f"{where}." if where else ""
    for key in data:
        if key not in names:
            raise ConfigError(f"unknown setting '{prefix}{key}'; choose from {', '.join(names)}")
    values = {key: _convert(hints[key], value, prefix + key) for key, value in data.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"incomplete settings {where or cls.__name__}: {error}") from error
    except ModelError as error:
        raise ConfigError(str(error)) from error


def _convert(hint: Any, value: object, where: str) -> object:
    if is_dataclass(hint):
        return from_dict(cast(type[object], hint), value, where=where)
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"'{where}' is {value!r}; expected a list")
        return tuple(_convert(get_args(hint)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"'{where}' is {value!r}; expected one of {', '.join(map(str, get_args(hint)))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"'{where}' is {value!r}; expected {hint.__name__}")
    return value
