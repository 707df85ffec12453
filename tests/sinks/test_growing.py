"""A growing file belongs to one writer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disks import no_room_for
from mien.errors import OutputError
from mien.labels import FER2013
from mien.sinks.live_video import LiveVideoSink
from mien.sinks.tables import CsvSink, JsonlSink
from mien.structures import Frame, Provenance

ORIGIN = Provenance("tiny", FER2013, "haar")


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of Unix")
def test_a_second_writer_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with CsvSink(path, ORIGIN):
        before = path.read_bytes()
        with pytest.raises(OutputError, match="another process is writing it"), CsvSink(path, ORIGIN):
            pass
        assert path.read_bytes() == before
    path.write_text("old rows\n" * 100)
    with CsvSink(path, ORIGIN):
        assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of Unix")
@pytest.mark.parametrize("open_sink", [lambda path: JsonlSink(path, ORIGIN), LiveVideoSink], ids=["jsonl", "mkv"])
def test_so_is_that_of_every_other_kind(open_sink: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with open_sink(path), pytest.raises(OutputError, match="another process is writing it"), open_sink(path):
        pass


def test_on_a_full_disk_no_row_is_half(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    frame = Frame(np.zeros((8, 8, 3), np.uint8), source="a" * 300, index=0, time=0.0)

    def write() -> None:
        with JsonlSink(path, ORIGIN) as sink:
            for _ in range(9):
                sink.write(frame, [])

    with no_room_for(2000), pytest.raises(OutputError, match=r"cannot write '.*a\.jsonl': File too large"):
        write()
    lines = path.read_text().splitlines(keepends=True)
    assert 1 < len(lines) < 9
    assert all(json.loads(line)["index"] == 0 and line.endswith("\n") for line in lines)


def test_a_device_is_a_target() -> None:
    with CsvSink(os.devnull, ORIGIN):
        pass
