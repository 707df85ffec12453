"""Tables of utterances that grow one by one: CSV and JSON lines."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.escape import json_line
from mien.sinks.records import SCHEMA, origin_keys, source_text
from mien.sinks.tables import TableSink, csv_lines
from mien.structures import Provenance, Utterance, check_utterance

ABOUT = ("start", "end", "speech_seconds", "label", "confidence", "certain")  # keys of an utterance
COLUMNS = ("source", *ABOUT, "note")


def utterance_records(
    source: str, utterances: Sequence[Utterance], provenance: Provenance, *, note: str = ""
) -> list[dict[str, Any]]:
    """Return utterances as plain data, for JSON; where there are none, one record with the note.

    Keys: source, those of `Utterance.to_dict`, note, model, label_set, detector (of speech), mien (its version),
    schema (of these keys). Without an utterance, those about it are null, and its probabilities are empty.

    Args:
        source: Path of a file, or name of a microphone.
        utterances: Its utterances, or those that have just ended.
        provenance: `Listener.provenance`.
        note: The reason why there are none.

    Raises:
        InputError: The source is no text, or the utterances are no list of them.
    """
    if not isinstance(source, str) or not isinstance(utterances, Sequence):
        raise InputError(
            f"the source is of type {type(source).__name__}, its utterances of type {type(utterances).__name__}; "
            "expected a text and a list"
        )
    for utterance in utterances:
        check_utterance(utterance)
    about = [utterance.to_dict() for utterance in utterances] or [{**dict.fromkeys(ABOUT), "probabilities": {}}]
    end = {"note": "" if utterances else note, **origin_keys(provenance), "schema": SCHEMA}
    return [{"source": source_text(source), **keys, **end} for keys in about]


class UtteranceCsvSink(TableSink):
    """Writes one row per utterance; one with empty fields and a note for a source without any.

    Columns, in this order: source, start, end, speech_seconds (s), label ("uncertain" too), confidence (the largest
    probability), certain (true or false), note, p_<label> for each label of the set, model, label_set, detector (of
    speech), mien (its version). Each row is on disk once written; texts are escaped as by `CsvSink`.

    Args:
        path: File to write, "-" for standard output; an old file is overwritten.
        provenance: `Listener.provenance`.
        excel: Begin with a byte order mark, by which Excel knows UTF-8.

    Raises:
        OutputError: The file cannot be written; on entering or writing.
    """

    def __init__(self, path: str | Path, provenance: Provenance, *, excel: bool = False) -> None:
        super().__init__(path, provenance)
        self._excel = excel
        self._columns = [*COLUMNS, *(f"p_{label}" for label in provenance.labels), *origin_keys(provenance)]

    def __enter__(self) -> UtteranceCsvSink:
        header = csv_lines(self._columns, [], header=True)
        self._append(codecs.BOM_UTF8 * self._excel + header)
        return self

    def write(self, source: str, utterances: Sequence[Utterance], *, note: str = "") -> None:
        """Append the rows of utterances; see `utterance_records` for the arguments."""
        records = utterance_records(source, utterances, self.provenance, note=note)
        rows = [{**record, **{f"p_{label}": p for label, p in record["probabilities"].items()}} for record in records]
        self._append(csv_lines(self._columns, rows))


class UtteranceJsonlSink(TableSink):
    """Writes one line of JSON per utterance; see `utterance_records` for the keys.

    Args:
        path: File to write, "-" for standard output; an old file is overwritten. Each line is on disk once written.
        provenance: `Listener.provenance`.

    Raises:
        OutputError: The file cannot be written; on entering or writing.
    """

    def __enter__(self) -> UtteranceJsonlSink:
        self._append(b"")
        return self

    def write(self, source: str, utterances: Sequence[Utterance], *, note: str = "") -> None:
        """Append the lines of utterances; see `utterance_records` for the arguments."""
        for record in utterance_records(source, utterances, self.provenance, note=note):
            self._append(json_line(record).encode() + b"\n")
