"""Settings carry their types and bounds; from a file, a flag or Python they are checked alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import numpy as np
import pytest

from mien.errors import ConfigError
from mien.settings import Positive, Range, Share, check_fields, checked, from_dict, parse_override, read_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate: Annotated[float, Range(0, 1, below=True)] = 0.5

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    size: Annotated[int, Range(8, 64, hint="the net shrinks it three times")]
    rates: tuple[Positive, ...] = ()
    inner: Inner = field(default_factory=Inner)
    kind: Literal["a", "b"] = "a"
    path: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 7}, "size is 7; expected 8 to 64; the net shrinks it three times"),
        ({"size": 10**500}, "size is 1000+…; expected 8 to 64"),
        ({"size": 8.0}, "'size' is 8.0; expected int"),
        ({"size": True}, "'size' is True; expected int"),
        ({"size": None}, "'size' is None; expected int"),
        ({"rates": [1, 0]}, r"rates\[1\] is 0.0; expected a positive number"),
        ({"rates": [nan]}, r"rates\[0\] is nan; expected a positive number"),
        ({"rates": [inf]}, r"rates\[0\] is inf; expected a positive number"),
        ({"rates": [10**500]}, r"'rates\[0\]' is 1000+…; expected float"),
        ({"rates": "fast"}, "'rates' is 'fast'; expected a list"),
        ({"kind": ["a"]}, r"'kind' is \['a'\]; expected one of a, b"),
        ({"path": 3}, "'path' is 3; expected str"),
        ({"path": "\ud800"}, r"'path' is '\\ud800'; expected text"),
        ({"names": {"x": 3}}, r"'names\.x' is 3; expected str"),
        ({"names": {"x": "\n" * 300}}, None),
        ({"path": ["\n" * 300]}, r"'path' is \['.{55,60}…; expected str"),
    ],
)
def test_a_wrong_setting_is_one_line_from_a_file_and_in_python(
    settings: dict[str, object], message: str | None
) -> None:
    whole = {"size": 8} | settings
    if message is None:
        assert from_dict(Outer, whole) == Outer(**whole)  # type: ignore[arg-type]
        return
    for make in (lambda: from_dict(Outer, whole), lambda: Outer(**whole)):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"^{message}") as caught:
            make()
        assert "\n" not in str(caught.value)


def test_a_nested_setting_is_named_by_its_path() -> None:
    with pytest.raises(ConfigError, match=r"^inner\.rate is 1\.0; expected 0 <= inner\.rate < 1$"):
        from_dict(Outer, {"size": 8, "inner": {"rate": 1}})
    with pytest.raises(ConfigError, match=r"^rate is -1\.0; expected 0 <= rate < 1$"):
        Inner(rate=-1)


@pytest.mark.parametrize("data", [[], "text", None, {"sise": 8}, {"inner": 3}, {}])
def test_other_tables_and_missing_settings_are_refused(data: object) -> None:
    with pytest.raises(ConfigError, match=r"expected a table|unknown setting 'sise'; choose from|'size' is missing"):
        from_dict(Outer, data)


def test_numbers_and_lists_take_the_declared_type() -> None:
    made = Outer(size=np.int64(9), rates=[1, np.float32(0.5)])  # type: ignore[arg-type]
    assert made == from_dict(Outer, {"size": 9, "rates": [1, 0.5]})
    assert [type(value) for value in (made.size, *made.rates)] == [int, float, float]


class Needed(TypedDict):
    share: Share


class Facts(Needed, total=False):
    devices: Annotated[int, Range(1)]


def test_a_typed_table_keeps_keys_that_it_does_not_know() -> None:
    data = {"share": 1, "devices": 2, "more": [None]}
    assert checked(Facts, data, "") == data
    for wrong, message in (
        ({}, "'share' is missing"),
        ({"share": 1, "devices": 0}, "devices is 0; expected 1 or more"),
    ):
        with pytest.raises(ConfigError, match=message):
            checked(Facts, wrong, "")


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "9" * 10_000, "a = 2026-13-45"])
def test_toml_that_python_cannot_hold_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match="mine is not valid TOML"):
        read_toml(tmp_path / "mine.toml", name="mine")
    assert isinstance(parse_override(text)[1], str)
