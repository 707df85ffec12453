"""Python objects handed over by mistake to the public names about voices: each is refused in one line.

The table below is complete: a test compares it with the names themselves.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest

import mien
from mien import Block, Frame, Listener, Live, MienError, Utterance, VoiceTrack, draw, fuse, fuse_faces, recognize_files
from mien.hearing import FileSound, Hearing, MicrophoneSound
from mien.models import VoiceClassifier, load_voice
from mien.sinks import CsvSink, JsonlSink, UtteranceCsvSink, UtteranceJsonlSink, WavSink, utterance_records
from mien.sources import Microphone
from mien.structures import Prediction, Provenance
from mien.voice import Segmenter, SileroDetector
from speech import LABELS, LoudDetector, PitchModel, in_blocks, listener, tone

VOICED = {  # modules
    "listener", "segments", "speech", "voice", "fusion", "hearing", "microphone", "sounds", "utterances", "wav",
}  # fmt: skip
THINGS = [
    None, 3, -1, 1.5, math.nan, "a", b"a", [1.5], ["a"], [[1], [1, 2]], {"a": 1}, object(), np.zeros((2, 2)), Block,
]  # fmt: skip
ORIGIN = Provenance("standin", LABELS, "loud")
PREDICTION = Prediction(np.array([0.1, 0.6, 0.2, 0.1], np.float32), LABELS)
SAID = Utterance(0.0, 2.0, PREDICTION, 2.0)
STEP = np.zeros(512, np.float32)
Use: TypeAlias = Callable[[Any], object]


class Silent:
    """A microphone that delivers nothing."""

    name, rate, active = "silent", 16_000.0, True

    def now(self) -> float:
        return 0.0

    def close(self) -> None:
        pass


def microphone(**options: Any) -> Microphone:
    return Microphone(**{"opener": lambda *_: Silent(), **options})


def closed_microphone() -> Microphone:
    with microphone() as closed:
        return closed


voice = cache(load_voice)
silero = cache(SileroDetector)


def heard_by(**broken: Any) -> Listener:
    """Return a listener with a detector or model of which something is broken."""
    detector, model = LoudDetector(), PitchModel()
    for name, value in broken.items():
        setattr(detector if hasattr(detector, name) else model, name, value)
    return Listener(model, detector=detector)


# By public name: uses of it with another object in place of each argument, and the things that are right there.
USES: dict[str, list[tuple[Use, tuple[type, ...]]]] = {
    "Listener": [
        (lambda thing: Listener(thing, detector=LoudDetector()), (str,)),
        (lambda thing: Listener(PitchModel(), detector=thing), (type(None),)),
        (lambda thing: Listener(PitchModel(), detector=LoudDetector(), min_confidence=thing), ()),
        (lambda thing: Listener("voice", detector=LoudDetector(), models_dir=thing), (type(None), str)),
        (lambda thing: listener().hear(thing), ()),
        (lambda thing: list(listener().stream(thing)), ()),
        (lambda thing: listener().enrol(thing), ()),
        (lambda thing: listener().hear(Block(thing, STEP)), (int, float)),
        (lambda thing: listener().hear(Block(0.0, thing)), ()),
        (lambda thing: list(heard_by(probability=lambda _: thing).stream(in_blocks(tone(2)))), ()),
    ],
    "VoiceTrack": [
        (lambda thing: VoiceTrack(thing).at(1.0), ()),
        (lambda thing: VoiceTrack(max_silence=thing), (int, float)),
        (lambda thing: VoiceTrack([SAID]).at(thing), (int, float)),
        (lambda thing: VoiceTrack().add(thing), ()),
    ],
    "fuse": [
        (lambda thing: fuse(thing, PREDICTION), (type(None),)),
        (lambda thing: fuse(PREDICTION, thing), (type(None),)),
        (lambda thing: fuse(PREDICTION, PREDICTION, prior=thing), (type(None),)),
        (lambda thing: fuse(PREDICTION, PREDICTION, prior=dict.fromkeys(LABELS, thing)), (int, float)),
    ],
    "fuse_faces": [
        (lambda thing: fuse_faces(thing, SAID), ()),
        (lambda thing: fuse_faces([], thing), (type(None),)),
        (lambda thing: fuse_faces([thing], SAID), ()),
    ],
    "open_hearing": [
        (lambda thing: mien.open_hearing(thing, listener()), (type(None), int, str)),
        (lambda thing: mien.open_hearing(Path("a.wav"), thing), ()),
        (lambda thing: Hearing(FileSound(Path("a.wav")), listener()).at(thing), (int, float)),
        (lambda thing: Hearing(thing, listener()), ()),
        (lambda thing: MicrophoneSound(thing), ()),
    ],
    "Microphone": [
        (lambda thing: Microphone(thing), (type(None), int, str)),
        (lambda thing: microphone(retry_seconds=thing), (int, float)),
        (lambda thing: microphone(opener=None if callable(thing) else thing), (type(None),)),
        (lambda thing: closed_microphone().read(timeout=thing), (int, float)),
    ],
    "sounds": [(lambda thing: list(mien.sounds(thing)), ())],
    "load_voice": [
        (lambda thing: load_voice(thing), ()),
        (lambda thing: load_voice(threads=thing), (int,)),
        (lambda thing: load_voice(models_dir=thing), (type(None), str)),
    ],
    "VoiceClassifier": [
        (lambda thing: VoiceClassifier(thing), ()),
        (lambda thing: VoiceClassifier(voice().path, spec=thing), (type(None),)),
        (lambda thing: voice().predict_proba(thing), ()),
        (lambda thing: voice().enrol(thing), ()),
        (lambda thing: voice().predict_proba(tone(2), neutral=thing), (type(None),)),
    ],
    "Segmenter": [
        (lambda thing: Segmenter(shortest=thing), (int, float)),
        (lambda thing: Segmenter(longest=thing), (int, float)),
        (lambda thing: Segmenter().feed(thing, 0.5), ()),
        (lambda thing: Segmenter().feed(Block(0.0, STEP), thing), ()),
    ],
    "SileroDetector": [(lambda thing: silero().probability(thing), ())],
    "UtteranceCsvSink": [
        (lambda thing: UtteranceCsvSink("a.csv", thing), ()),
        (lambda thing: UtteranceCsvSink("-", ORIGIN).write(thing, [SAID]), (str,)),
        (lambda thing: UtteranceCsvSink("-", ORIGIN).write("a", thing), ()),
    ],
    "UtteranceJsonlSink": [
        (lambda thing: UtteranceJsonlSink("a.jsonl", thing), ()),
        (lambda thing: UtteranceJsonlSink("-", ORIGIN).write(thing, [SAID]), (str,)),
        (lambda thing: UtteranceJsonlSink("-", ORIGIN).write("a", thing), ()),
    ],
    "utterance_records": [
        (lambda thing: utterance_records(thing, [SAID], ORIGIN), (str,)),
        (lambda thing: utterance_records("a", thing, ORIGIN), ()),
        (lambda thing: utterance_records("a", [SAID], thing), ()),
    ],
    "WavSink": [(lambda thing: WavSink("a.wav").write(thing), ())],
}
NO_ARGUMENTS = {"VoiceModel", "SpeechDetector", "Segment", "MicrophoneInfo", "MicrophoneStatus", "list_microphones"}


def public_names() -> Iterator[str]:
    """Yield the public names whose modules are about voices."""
    for part in ("", "voice", "sources", "models", "sinks"):
        module = importlib.import_module(f"mien.{part}".rstrip("."))
        for name in module.__all__:
            if getattr(getattr(module, name), "__module__", "").rpartition(".")[2] in VOICED:
                yield name


def test_the_table_has_all_public_names_about_voices() -> None:
    assert set(public_names()) == USES.keys() | NO_ARGUMENTS


@pytest.mark.parametrize("name", USES)
def test_any_object_is_refused_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, (use, right) in enumerate(USES[name]):
        for thing in THINGS:
            refused: str | None = None
            try:
                use(thing)
            except MienError as error:
                refused = str(error)
            assert isinstance(thing, right) or refused is not None, f"use {number} takes {thing!r}"
            assert "\n" not in (refused or "")
    assert list(tmp_path.iterdir()) == []


def test_a_voice_beside_faces_is_refused_in_one_line_by_pictures_and_tables() -> None:
    frame, csv = Frame(np.zeros((48, 48, 3), np.uint8), 0.0, 0, "a.png"), CsvSink("-", ORIGIN, voice=ORIGIN)
    uses: list[Use] = [
        lambda thing: draw(frame.image, [], voice_result=thing),
        lambda thing: csv.write(frame, [], voice_result=thing),
        lambda thing: JsonlSink("-", ORIGIN, voice=ORIGIN).write(frame, [], voice_result=thing),
        lambda thing: CsvSink("-", ORIGIN, voice=thing),
        lambda thing: list(recognize_files(["a.png"], SimpleNamespace(stream=None), listener=thing)),  # type: ignore[arg-type]
    ]
    for use in uses:
        for thing in THINGS[1:]:
            with pytest.raises(MienError) as caught:
                use(thing)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: type(thing).__name__)
def test_a_voice_beside_a_stream_is_refused_in_one_line(thing: object) -> None:
    if thing is not None:
        with pytest.raises(MienError, match=r"^voice is .*; expected None, or an object with at$"):
            Live(SimpleNamespace(classify=None), voice=thing)  # type: ignore[arg-type]
