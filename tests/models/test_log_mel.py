import numpy as np
import pytest

from mien.models.log_mel import log_mel, mel_bands
from mien.models.spec import Sound

SOUND = Sound()
RNG = np.random.default_rng(0)
ROWS, COLUMNS = [0, 5, 10, 20, 40, 60, 79], [5, 50, 95]
KNOWN = [
    [0.5794000029563904, 0.7760999798774719, 0.8776000142097473],
    [0.30059999227523804, 0.4999000132083893, 0.6019999980926514],
    [0.41260001063346863, 0.6132000088691711, 0.7156999707221985],
    [0.7469000220298767, 0.945900022983551, 1.0479999780654907],
    [0.4081000089645386, 0.6075999736785889, 0.7098000049591064],
    [0.31360000371932983, 0.5127000212669373, 0.614799976348877],
    [0.23729999363422394, 0.43639999628067017, 0.5383999943733215],
]


def tone(hertz: float, *, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * 16_000)) / 16_000).astype(np.float32)


def test_spectrogram_has_a_column_per_hop_and_the_range_of_whisper() -> None:
    mel = log_mel(RNG.normal(size=16_000).astype(np.float32), SOUND)
    assert mel.shape == (80, 100)
    assert mel.dtype == np.float32
    assert mel.max() == pytest.approx(1.5)  # (2 + 4) / 4
    assert mel.min() >= -0.5


def test_known_answer() -> None:
    """By the feature extractor that the study of the encoder used, an independent one, for a square wave."""
    seconds = np.arange(16_000) / 16_000
    wave = np.where(np.sin(2 * np.pi * 110 * seconds) > 0, 0.3, -0.3) * np.linspace(0.2, 1, 16_000)
    mel = log_mel(wave.astype(np.float32), SOUND)
    np.testing.assert_allclose(mel[np.ix_(ROWS, COLUMNS)], KNOWN, atol=2e-3)


@pytest.mark.parametrize("gain", [0.01, 0.1, 10.0])
def test_level_of_the_sound_does_not_matter(gain: float) -> None:
    sound = RNG.normal(scale=0.05, size=8000).astype(np.float32)
    np.testing.assert_allclose(log_mel(gain * sound, SOUND), log_mel(sound, SOUND), atol=1e-4)


def test_silence_is_constant() -> None:
    assert np.unique(log_mel(np.zeros(8000, np.float32), SOUND)).size == 1


def test_a_tone_is_loudest_in_the_band_around_its_frequency() -> None:
    bands = mel_bands(80, 400, 16_000)
    for hertz in (200, 1000, 4000):
        loudest = log_mel(tone(hertz), SOUND)[:, 50].argmax()
        centre = 40 * bands[loudest].argmax()  # bins of 40 Hz
        assert abs(centre - hertz) <= max(40, 0.05 * hertz)


def test_bands_have_equal_area() -> None:
    """Slaney's bands: width times height is constant, where a band spans many bins."""
    areas = mel_bands(80, 400, 16_000)[50:].sum(1)
    np.testing.assert_allclose(areas, areas.mean(), rtol=0.1)
