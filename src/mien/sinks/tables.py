"""Tables of expressions that grow row by row: CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mien.labels import LabelSet
from mien.sinks.growing import GrowingFile
from mien.sinks.records import face_records, frame_record, record
from mien.structures import Expression, Frame

COLUMNS = (
    "source", "index", "time", "face", "track", "x1", "y1", "x2", "y2", "score", "label", "confidence", "certain",
    "note",
)  # fmt: skip


class _TextSink(GrowingFile):
    """A growing file of text about predictions over a label set."""

    def __init__(self, path: str | Path, labels: LabelSet) -> None:
        super().__init__(path)
        self.labels = labels


class CsvSink(_TextSink):
    """Writes a row for each face, and one with empty fields and a note for each frame without a face.

    Columns, always in this order: source, index (of the frame, from 0), time (s), face (number in the frame,
    from 1), track, x1, y1, x2, y2 (pixels), score (the detector's), label (the answer, "uncertain" too), confidence
    (the largest probability), certain (true or false), note, then p_<label>, the probability of each label of the
    set, and of smoothed ones raw_<label>, those before. The file grows as rows come.

    Args:
        path: File to write; an old one is overwritten.
        labels: Label set of the predictions.
        smoothed: Whether expressions come smoothed over time, so that there are columns of raw probabilities.

    Raises:
        OutputError: The file cannot be written; on entering or writing.
    """

    def __init__(self, path: str | Path, labels: LabelSet, *, smoothed: bool = False) -> None:
        super().__init__(path, labels)
        self._columns = [*COLUMNS, *(f"p_{label}" for label in labels)]
        if smoothed:
            self._columns += [f"raw_{label}" for label in labels]

    def __enter__(self) -> CsvSink:
        self._append(_csv_lines(self._columns, [dict(zip(self._columns, self._columns, strict=True))]))
        return self

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        """Append the rows of a frame."""
        common = frame_record(frame, expressions)
        rows = [{**common, **_flat(face)} for face in face_records(expressions)]
        self._append(_csv_lines(self._columns, rows or [common]))


class JsonlSink(_TextSink):
    """Writes a line of JSON for each frame, with faces or without; see `record` for its keys.

    Args:
        path: File to write; an old one is overwritten. It grows as frames come.
        labels: Label set of the predictions; taken as `CsvSink` does, though each line names its labels.

    Raises:
        OutputError: The file cannot be written; on entering or writing.
    """

    def __enter__(self) -> JsonlSink:
        self._append(b"")
        return self

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        """Append the line of a frame."""
        self._append(json.dumps(record(frame, expressions), ensure_ascii=False).encode() + b"\n")


def _flat(face: dict[str, Any]) -> dict[str, object]:
    """Return a face's record with a column for each side of the box and each probability."""
    simple = {key: value for key, value in face.items() if key not in ("box", "probabilities", "raw")}
    box = dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True))
    probabilities = {f"p_{label}": p for label, p in face["probabilities"].items()}
    raw = {f"raw_{label}": p for label, p in face.get("raw", {}).items()}
    return {**simple, **box, "certain": "true" if face["certain"] else "false", **probabilities, **raw}


def _csv_lines(columns: list[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
