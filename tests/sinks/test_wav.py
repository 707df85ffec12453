"""A recording can be played at any moment, and keeps the times of its blocks."""

from pathlib import Path

import numpy as np
import pytest

from mien.errors import OutputError
from mien.sinks import WavSink
from mien.sources.sounds import sounds
from mien.structures import SAMPLE_RATE, Block
from speech import heard, in_blocks, tone


def test_a_recording_can_be_played_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "heard.wav"
    sound = tone(1)
    with WavSink(path) as sink:
        for block in in_blocks(sound):
            sink.write(block)
            assert len(heard(sounds(path))) == round(block.end * SAMPLE_RATE)
    assert heard(sounds(path)) == pytest.approx(sound, abs=1e-4)


def test_missing_sound_is_silence_and_jitter_is_not(tmp_path: Path) -> None:
    sound = tone(0.5)
    with WavSink(tmp_path / "heard.wav") as sink:
        for time in (0.0, 0.6, 3.0):
            sink.write(Block(time, sound))
    samples = heard(sounds(tmp_path / "heard.wav"))
    assert samples[:SAMPLE_RATE] == pytest.approx(np.concatenate([sound, sound]), abs=1e-4)
    assert np.abs(samples[SAMPLE_RATE : 3 * SAMPLE_RATE]).max() == 0
    assert samples[3 * SAMPLE_RATE :] == pytest.approx(sound, abs=1e-4)


def test_a_recording_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"), WavSink(tmp_path / "gone" / "heard.wav"):
        pass
