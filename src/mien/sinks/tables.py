"""Tables of expressions that grow frame by frame: CSV and JSON lines."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from mien.escape import csv_cell, json_line
from mien.files import standard_output
from mien.fusion import VoiceResult
from mien.labels import LabelSet
from mien.sinks.growing import GrowingFile
from mien.sinks.records import origin_keys, record, rows, voice_keys
from mien.structures import Expression, Frame, Provenance, check_frame, checked_expressions
from mien.targets import STANDARD_OUTPUT

COLUMNS = (
    "source", "index", "time", "face", "track", "x1", "y1", "x2", "y2", "score", "label", "confidence", "certain",
    "note",
)  # fmt: skip
VOICE_COLUMNS = ("start", "end", "speech_seconds", "final", "label", "confidence", "certain")
FUSED_COLUMNS = ("label", "confidence", "certain", "agree")


class TableSink(GrowingFile):
    """A growing text file, or standard output for the path "-".

    `provenance` may be replaced by another one with the same label set between frames.
    """

    def __init__(
        self, path: str | Path, provenance: Provenance, *, voice: Provenance | None = None, resume: bool = False
    ) -> None:
        super().__init__(path, resume=resume)
        origin_keys(provenance)  # or InputError
        if voice is not None:
            origin_keys(voice)
        self.provenance, self.voice = provenance, voice

    def _append(self, data: bytes, *, at: int | None = None) -> None:
        if self.path == STANDARD_OUTPUT:
            with standard_output() as file:
                file.buffer.write(data)
        else:
            super()._append(data, at=at)


class CsvSink(TableSink):
    """Writes one row per face, and one with empty fields and a note per frame without a face.

    Columns, in this order: source, index (of the frame, from 0), time (s), face (number in the frame, from 1, left to
    right), track, x1, y1, x2, y2 (pixels), score (of the detector), label ("uncertain" too), confidence (the largest
    probability), certain (true or false), note, p_<label> for each label of the set, raw_<label> likewise if smoothed,
    model, label_set, detector, mien (its version). Each row is on disk once written. An apostrophe precedes texts that
    a spreadsheet would take for formulas, such as a file's name that begins with "=", and control characters are
    escaped: "\\n".

    With a voice, more columns follow: voice_start, voice_end, voice_speech_seconds (s), voice_final, voice_label,
    voice_confidence, voice_certain, voice_p_<label> for each label of the voice, fused_label, fused_confidence,
    fused_certain, fused_agree, fused_p_<label> for each label of the set, voice_model, voice_label_set, voice_detector.

    Args:
        path: File to write, "-" for standard output; an old file is overwritten.
        provenance: `Recognizer.provenance`.
        smoothed: Whether predictions are smoothed over time: adds the columns of the raw probabilities.
        excel: Begin with a byte order mark, by which Excel knows UTF-8.
        voice: Origin of the voice's predictions: adds its columns.
        resume: Continue an existing file; see `Journal`.

    Raises:
        OutputError: The file cannot be written; on entering or writing.

    Example:
        >>> recognizer = Recognizer()
        >>> with CsvSink("faces.csv", recognizer.provenance) as sink:
        ...     for frame, expressions in recognizer.stream(frames("clip.mp4")):
        ...         sink.write(frame, expressions)
    """

    def __init__(
        self,
        path: str | Path,
        provenance: Provenance,
        *,
        smoothed: bool = False,
        excel: bool = False,
        voice: Provenance | None = None,
        resume: bool = False,
    ) -> None:
        super().__init__(path, provenance, voice=voice, resume=resume)
        self._excel = excel
        prefixes = ("p_", "raw_") if smoothed else ("p_",)
        probabilities = [prefix + label for prefix in prefixes for label in provenance.labels]
        self._columns = [*COLUMNS, *probabilities, *origin_keys(provenance)]
        if voice is not None:
            self._columns += _voice_columns(voice.labels, provenance.labels)
            self._columns += voice_keys(voice)

    def __enter__(self) -> CsvSink:
        self._append(b"")
        if not self.length:
            header = csv_lines(self._columns, [], header=True)
            self._append(codecs.BOM_UTF8 * self._excel + header)
        return self

    def write(self, frame: Frame, expressions: list[Expression], *, voice_result: VoiceResult | None = None) -> None:
        """Append the rows of a frame."""
        check_frame(frame)
        expressions = checked_expressions(expressions)
        origin = origin_keys(self.provenance) | ({} if self.voice is None else voice_keys(self.voice))
        self._append(
            csv_lines(self._columns, [{**row, **origin} for row in rows(frame, expressions, voice_result=voice_result)])
        )


class JsonlSink(TableSink):
    """Writes one line of JSON per frame, with or without faces; see `record` for the keys.

    Args:
        path: File to write, "-" for standard output; an old file is overwritten. Each line is on disk once written.
        provenance: `Recognizer.provenance`.
        voice: Origin of the voice's predictions: adds its keys.
        resume: Continue an existing file; see `Journal`.

    Raises:
        OutputError: The file cannot be written; on entering or writing.
    """

    def __enter__(self) -> JsonlSink:
        self._append(b"")
        return self

    def write(self, frame: Frame, expressions: list[Expression], *, voice_result: VoiceResult | None = None) -> None:
        """Append the line of a frame."""
        check_frame(frame)
        expressions = checked_expressions(expressions)
        line = json_line(record(frame, expressions, self.provenance, voice_result=voice_result, voice=self.voice))
        self._append(line.encode() + b"\n")


def _voice_columns(voice: LabelSet, face: LabelSet) -> list[str]:
    columns = [f"voice_{name}" for name in VOICE_COLUMNS] + [f"voice_p_{label}" for label in voice]
    return columns + [f"fused_{name}" for name in FUSED_COLUMNS] + [f"fused_p_{label}" for label in face]


def csv_lines(columns: list[str], table: Iterable[Mapping[str, object]], *, header: bool = False) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writerow({column: csv_cell(column) for column in columns})
    for row in table:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return text.getvalue().encode()


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else csv_cell(value)
