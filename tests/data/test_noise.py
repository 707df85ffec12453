"""Changes of speech: noise, speed, length, silence."""

from __future__ import annotations

import numpy as np
import pytest

from mien.data.noise import at_speed, band_limited, cropped, noisy, trimmed
from mien.structures import SAMPLE_RATE, FloatArray
from speech import tone as tone_of


def tone(hertz: float, *, seconds: float = 1.0) -> FloatArray:
    return tone_of(seconds, hertz=hertz, loudness=1.0)


def pitch_of(samples: FloatArray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(samples))


def test_noise_keeps_the_length_and_depends_on_the_generator_alone() -> None:
    sound = tone(200)
    first, again, other = (noisy(sound, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.shape == sound.shape
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("decibels", [0.0, 20.0])
def test_noise_has_the_level_that_is_asked_for(decibels: float) -> None:
    """Measured away from the tone, whose spectrum is a line: averaged over draws of room, tilt and colour."""
    ratios = []
    for seed in range(20):
        found = noisy(tone(1000, seconds=2.0), np.random.default_rng(seed), decibels=(decibels, decibels))
        power = np.abs(np.fft.rfft(found)) ** 2
        line = np.zeros(len(power), bool)
        line[1990:2011] = True
        ratios.append(10 * np.log10(power[line].sum() / power[~line].sum()))
    assert np.median(ratios) == pytest.approx(decibels, abs=2.0)


def test_a_telephone_passes_speech_alone() -> None:
    low, speech, high = (np.abs(band_limited(tone(hertz).astype(np.float64))).max() for hertz in (100, 1000, 6000))
    assert low < 0.1
    assert high < 0.1
    assert speech == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("factor", [0.88, 1.12])
def test_speed_changes_length_and_pitch_together(factor: float) -> None:
    sound = tone(500)
    found = at_speed(sound, factor)
    assert len(found) == round(len(sound) / factor)
    assert pitch_of(found) == pytest.approx(500 * factor, abs=2)
    assert np.abs(found).max() == pytest.approx(1, abs=0.1)


def test_middle_and_random_parts_have_the_length_asked_for_and_short_sounds_stay_whole() -> None:
    sound = np.arange(SAMPLE_RATE, dtype=np.float32)
    middle = cropped(sound, 0.5)
    assert (middle[0], len(middle)) == (SAMPLE_RATE // 4, SAMPLE_RATE // 2)
    starts = {int(cropped(sound, 0.5, np.random.default_rng(seed))[0]) for seed in range(9)}
    assert len(starts) > 1
    assert cropped(sound, 2.0) is sound


def test_silence_at_both_ends_is_cut_but_not_within() -> None:
    silence = np.zeros(SAMPLE_RATE, np.float32)
    sound = np.concatenate([silence, tone(300), silence, tone(300), silence])
    found = trimmed(sound)
    assert len(found) == pytest.approx(3.2 * SAMPLE_RATE, abs=1000)
    np.testing.assert_array_equal(trimmed(found), found)
    assert len(trimmed(np.zeros(100, np.float32))) == 100
