"""Tables of utterances: a row each, or one that says why there is none."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError
from mien.sinks import UtteranceCsvSink, UtteranceJsonlSink, utterance_records
from mien.structures import Prediction, Provenance, Utterance
from speech import LABELS

ORIGIN = Provenance("standin", LABELS, "silero")
PREDICTION = Prediction(np.array([0.7, 0.1, 0.1, 0.1], np.float32), LABELS)
UTTERANCE = Utterance(1.25, 3.5, PREDICTION, 2.0, min_confidence=0.5)


def test_a_record_holds_all_that_is_needed_to_understand_it() -> None:
    (record,) = utterance_records("a.wav", [UTTERANCE], ORIGIN, note="unused")
    assert list(record) == [
        "source", "start", "end", "speech_seconds", "label", "confidence", "certain", "probabilities", "note",
        "model", "label_set", "detector", "mien", "schema",
    ]  # fmt: skip
    assert (record["start"], record["end"], record["label"], record["certain"], record["note"]) == (
        1.25, 3.5, "angry", True, "",
    )  # fmt: skip


def test_a_source_without_utterances_has_the_same_keys_and_a_note() -> None:
    (empty,) = utterance_records("a.wav", [], ORIGIN, note="no speech found")
    assert list(empty) == list(utterance_records("a.wav", [UTTERANCE], ORIGIN)[0])
    assert (empty["label"], empty["note"]) == (None, "no speech found")


def test_rows_are_on_disk_once_written_and_no_name_is_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "voice.csv"
    with UtteranceCsvSink(path, ORIGIN, excel=True) as sink:
        sink.write("=cmd.wav", [UTTERANCE, UTTERANCE])
        text = path.read_text(encoding="utf-8-sig")
        sink.write("b.wav", [], note="no speech found")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert text.count("\n") == 3
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    assert [row["source"] for row in rows] == ["'=cmd.wav", "'=cmd.wav", "b.wav"]
    assert (rows[0]["p_angry"], rows[0]["certain"], rows[2]["start"], rows[2]["p_angry"]) == ("0.7", "true", "", "")


def test_lines_of_json_are_the_records(tmp_path: Path) -> None:
    path = tmp_path / "voice.jsonl"
    with UtteranceJsonlSink(path, ORIGIN) as sink:
        sink.write("a\nb.wav", [UTTERANCE])
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == utterance_records("a\nb.wav", [UTTERANCE], ORIGIN)[0]


def test_what_is_no_utterance_is_refused(tmp_path: Path) -> None:
    with UtteranceJsonlSink(tmp_path / "voice.jsonl", ORIGIN) as sink, pytest.raises(InputError, match="type str"):
        sink.write("a.wav", ["angry"])  # type: ignore[list-item]
