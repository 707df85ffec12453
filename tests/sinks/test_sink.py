"""Several sinks as one."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pytest

from mien.errors import OutputError
from mien.labels import FER2013
from mien.sinks import CsvSink, JsonlSink, Statistics, many
from mien.structures import Expression, Frame, Provenance

ORIGIN = Provenance("tiny", FER2013, "haar")
SHOT = Frame(np.zeros((4, 4, 3), np.uint8), 0.0, 0, "a.png")


class Logged:
    """A sink that logs its calls, and fails when asked to."""

    def __init__(self, log: list[str], name: str, *, fails: str = "") -> None:
        self.log, self.name, self.fails = log, name, fails

    def _call(self, method: str) -> None:
        self.log.append(f"{method} {self.name}")
        if method == self.fails:
            raise OutputError("disk full")

    def __enter__(self) -> Logged:
        self._call("open")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call("close" if kind is None else "abort")

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        self._call("write")


def test_all_are_opened_written_and_closed() -> None:
    log: list[str] = []
    with many([Logged(log, "a"), Logged(log, "b")]) as sink:
        sink.write(SHOT, [])
    assert log == ["open a", "open b", "write a", "write b", "close b", "close a"]


def test_those_already_open_are_closed_when_one_cannot_be_opened() -> None:
    log: list[str] = []
    with pytest.raises(OutputError), many([Logged(log, "a"), Logged(log, "b", fails="open"), Logged(log, "c")]):
        pass
    assert log == ["open a", "open b", "abort a"]


def test_all_learn_of_an_error() -> None:
    log: list[str] = []
    with pytest.raises(OutputError), many([Logged(log, "a", fails="write"), Logged(log, "b")]) as sink:
        sink.write(SHOT, [])
    assert log == ["open a", "open b", "write a", "abort b", "abort a"]


def test_tables_and_statistics_are_sinks(tmp_path: Path) -> None:
    statistics = Statistics(ORIGIN)
    with many([CsvSink(tmp_path / "a.csv", ORIGIN), JsonlSink(tmp_path / "a.jsonl", ORIGIN), statistics]) as sink:
        sink.write(SHOT, [])
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("a.csv", "a.jsonl")] == [2, 1]
    assert statistics.as_dict()["frames"] == 1


def test_no_sinks_are_a_sink() -> None:
    with many([]) as sink:
        sink.write(SHOT, [])
