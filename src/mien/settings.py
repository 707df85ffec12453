"""Settings: frozen dataclasses with declared bounds, read from TOML or JSON and overridden by flags."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from math import inf, isfinite
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from mien.errors import ConfigError, MienError
from mien.files import refuse_pipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

T = TypeVar("T")

DEEPEST = 20  # levels of data without a schema


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, declared with the type of a field: `Annotated[float, Range(0, 1)]`.

    Args:
        low: Least number.
        high: Greatest number; infinity itself and nan are never in range.
        above: Whether `low` is excluded.
        below: Whether `high` is excluded.
        hint: Added to the message of a number out of range.
    """

    low: float
    high: float = inf
    above: bool = False
    below: bool = False
    hint: str = ""

    def check(self, name: str, value: object) -> float:
        """Return a number of this range.

        Args:
            name: Of the setting, for the message.
            value: Any object.

        Raises:
            ConfigError: It is no number, or out of range.
        """
        if not isinstance(value, Real) or isinstance(value, bool):
            raise ConfigError(f"{name} is {shown(value)}; expected a number, {self._expected(name)}")
        number = cast(float, value)
        if (
            (self.low < number if self.above else self.low <= number)
            and (number < self.high if self.below else number <= self.high)
            and number != inf
        ):
            return number
        raise ConfigError(f"{name} is {shown(value)}; expected {self._expected(name)}{self.hint and f'; {self.hint}'}")

    def _expected(self, name: str) -> str:
        if self.high == inf:
            return "a positive number" if self.above and self.low == 0 else f"{self.low} or more"
        if self.above or self.below:
            return f"{self.low} {'<' if self.above else '<='} {name} {'<' if self.below else '<='} {self.high}"
        return f"{self.low} to {self.high}"


Positive: TypeAlias = Annotated[float, Range(0, above=True)]
NotNegative: TypeAlias = Annotated[float, Range(0)]
Share: TypeAlias = Annotated[float, Range(0, 1)]
Seed: TypeAlias = Annotated[int, Range(0, (1 << 63) - 1)]  # accepted by NumPy and PyTorch


def shown(value: object) -> str:
    """Return a value for a message, on one line and of at most 60 characters."""
    try:
        text = str(value) if isinstance(value, Real) else repr(value)
    except (RecursionError, ValueError):  # nested deep; an int of thousands of digits
        text = f"of type {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def read_toml(path: Traversable, *, name: str) -> dict[str, Any]:
    """Read a TOML file as plain data.

    Args:
        path: A path, or a resource of a package.
        name: Of the file, for messages.

    Raises:
        ConfigError: The file cannot be read, or is not TOML.
    """
    try:
        if isinstance(path, Path):
            refuse_pipe(path)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:  # a long number; tables nested deep
        raise ConfigError(f"{name} is not valid TOML: {error}") from error


def parse_override(text: str) -> tuple[str, object]:
    """Split a flag "key=value" into the key and the value, which is parsed as TOML ("0.05", "true", "'a'").

    Raises:
        ConfigError: There is no "=", or the key is empty.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{shown(text)} is not key=value, e.g. learning_rate=0.05")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return key.strip(), value.strip()  # a bare word is a string


def from_dict(cls: type[T], data: object, *, where: str = "") -> T:
    """Build a settings dataclass from plain data, nested ones included.

    Args:
        cls: The dataclass; the types of its fields are checked, and their bounds where they are `Annotated`.
        data: A mapping, as read from TOML or JSON.
        where: Dotted path, for messages.

    Raises:
        ConfigError: An unknown or missing key, or a value of the wrong type or out of range.
    """
    table = _table(data, where)
    known = fields(cast(Any, cls))
    prefix = f"{where}." if where else ""
    hints = _hints(cast(Any, cls))
    for key in table:
        if key not in hints:
            choices = ", ".join(f.name for f in known)
            raise ConfigError(f"unknown setting '{prefix}{_key(key)}'; choose from {choices}")
    for field in known:
        if field.name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"incomplete settings: '{prefix}{field.name}' is missing")
    values = {key: checked(hints[key], value, prefix + key) for key, value in table.items()}
    try:
        return cls(**values)
    except MienError as error:
        raise ConfigError(str(error)) from error


def check_fields(settings: object) -> None:
    """Check the fields of a settings dataclass made in Python, as `from_dict` does; call it in `__post_init__`.

    Numbers and lists take the declared type: an int in a field of floats becomes a float, a list a tuple.

    Raises:
        ConfigError: A value of the wrong type or out of range.
    """
    for name, hint in _hints(cast(Any, type(settings))).items():
        object.__setattr__(settings, name, checked(hint, getattr(settings, name), name))


def checked(hint: Any, value: object, where: str) -> Any:
    """Return a value as the declared type.

    Args:
        hint: A type: int, float, str, bool, a Literal, a dataclass, a TypedDict (whose further keys are kept as they
            are), tuple[X, ...], list[X], Mapping[str, X], X | None, or one of these `Annotated` with a `Range`.
        value: Plain data, as read from TOML or JSON.
        where: Dotted path, for messages.

    Raises:
        ConfigError: A value of the wrong type or out of range, or a missing key.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = _scalar(arguments[0], value, where)
        for bounds in arguments[1:]:
            bounds.check(where, value)
        return value
    if is_dataclass(hint):
        return value if isinstance(value, cast(type, hint)) else from_dict(cast(type, hint), value, where=where)
    if is_typeddict(hint):
        return _checked_keys(hint, value, where)
    if origin in (Union, UnionType):
        (inner,) = [argument for argument in arguments if argument is not NoneType]
        return None if value is None else checked(inner, value, where)
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"'{where}' is {shown(value)}; expected a list")
        return origin(checked(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        table = _table(value, where)
        return {
            _scalar(str, key, where): checked(arguments[1], item, f"{where}.{_key(key)}") for key, item in table.items()
        }
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"'{where}' is {shown(value)}; expected one of {', '.join(map(str, arguments))}")
        return value
    if hint is object:
        return _plain(value, where)
    value = _scalar(hint, value, where)
    if isinstance(value, float) and not isfinite(value):
        raise ConfigError(f"'{where}' is {value}; expected a finite number")
    return value


def _plain(value: object, where: str, depth: int = 0) -> object:
    """Return data without a schema, whose scalars are checked."""
    if depth > DEEPEST:
        raise ConfigError(f"'{shown(where)}' is nested more than {DEEPEST} deep; expected plain settings")
    if isinstance(value, Mapping):
        return {_scalar(str, key, where): _plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    return value if value is None else checked(type(value), value, where)


def _scalar(kind: type, value: object, where: str) -> object:
    """Return a bool, int, float or str; text with lone surrogates, which no file takes, is refused."""
    try:
        if kind is float and isinstance(value, Real) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
            return int(value)
    except OverflowError:
        pass
    if kind in (int, float) or not isinstance(value, kind):
        raise ConfigError(f"'{where}' is {shown(value)}; expected {kind.__name__}")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise ConfigError(f"'{where}' is {shown(value)}; expected text")
    return value


def _checked_keys(hint: Any, value: object, where: str) -> dict[str, object]:
    table, hints, prefix = _table(value, where), _hints(hint), f"{where}." if where else ""
    for key in sorted(hint.__required_keys__ - set(table)):
        raise ConfigError(f"'{prefix}{key}' is missing")
    return {key: checked(hints[key], item, prefix + key) if key in hints else item for key, item in table.items()}


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"'{where}' is {shown(value)}; expected a table of settings")
    return value


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _key(key: object) -> str:
    return shown(key).strip("'")
