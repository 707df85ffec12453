"""A growing file belongs to one writer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mien.errors import OutputError
from mien.labels import FER2013
from mien.sinks.tables import CsvSink
from mien.structures import Provenance

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


def test_a_device_is_a_target() -> None:
    with CsvSink(os.devnull, ORIGIN):
        pass
