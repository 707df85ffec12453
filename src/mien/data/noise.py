"""Speech as worse microphones and rooms record it, and as other speakers might say it; numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.structures import SAMPLE_RATE, FloatArray

NOISE_DB = (8.0, 25.0)  # speech above noise
ROOM_SECONDS = (0.1, 0.4)  # until an echo has fallen by 60 dB
TELEPHONE = (300.0, 3400.0)  # hertz; ITU-T G.712


def noisy(
    samples: FloatArray, rng: np.random.Generator, *, decibels: tuple[float, float] = NOISE_DB, telephone: float = 0.0
) -> FloatArray:
    """Return speech in a small room (60 % of the time), with a tilted spectrum, and white or brown noise.

    Args:
        samples: float32 (n,).
        rng: All randomness.
        decibels: Range of the level of speech above that of noise.
        telephone: Probability of the band of a telephone.
    """
    n = len(samples)
    noise = rng.normal(size=n + 4000)
    if rng.random() < 0.5:  # brown, without its drift
        noise = np.cumsum(noise)
        noise -= np.convolve(noise, np.ones(400) / 400, "same")
    noise = noise[2000 : 2000 + n]
    heard = samples.astype(np.float64)
    if rng.random() < 0.6:
        size = int(SAMPLE_RATE * rng.uniform(*ROOM_SECONDS))
        room = rng.normal(size=size) * np.exp(-6.9 * np.arange(size) / size) * rng.uniform(0.05, 0.25)
        room[0] = 1
        heard = _convolved(heard, room)
    heard = np.append(heard[0], heard[1:] + rng.uniform(-0.4, 0.4) * heard[:-1])
    level = np.sqrt(np.square(heard).mean() / np.square(noise).mean() / 10 ** (rng.uniform(*decibels) / 10))
    heard += level * noise
    return (band_limited(heard) if rng.random() < telephone else heard).astype(np.float32)


def band_limited(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return speech with frequencies outside of a telephone's band reduced by 60 dB."""
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum[(frequencies < TELEPHONE[0]) | (frequencies > TELEPHONE[1])] *= 1e-3
    return np.fft.irfft(spectrum, len(samples))


def at_speed(samples: FloatArray, factor: float) -> FloatArray:
    """Return a sound played faster by a factor, so that pitch and timbre rise with it: as if someone else spoke.

    Ko et al. 2015, "Audio augmentation for speech recognition". `samples` is float32 (n,); the result is float32, about
    n / factor samples.
    """
    n = max(round(len(samples) / factor), 2)
    spectrum = np.fft.rfft(samples.astype(np.float64))
    resized = np.zeros(n // 2 + 1, complex)
    kept = min(len(spectrum), len(resized))
    resized[:kept] = spectrum[:kept]
    return (np.fft.irfft(resized, n) * (n / len(samples))).astype(np.float32)


def cropped(samples: FloatArray, seconds: float, rng: np.random.Generator | None = None) -> FloatArray:
    """Return a segment of `seconds` seconds: the centre, or a random one given `rng`; all of a shorter sound."""
    n = round(seconds * SAMPLE_RATE)
    spare = len(samples) - n
    if spare <= 0:
        return samples
    start = spare // 2 if rng is None else int(rng.integers(spare + 1))
    return samples[start : start + n]


def trimmed(samples: FloatArray) -> FloatArray:
    """Return a sound, float32 (n,), without the silence at both ends but for a tenth of a second.

    Frames that are quieter than the loudest one by 35 dB are silence.
    """
    window, hop = 400, 160
    if len(samples) < window:
        return samples
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    power = np.square(frames, dtype=np.float32).mean(1, dtype=np.float64) + 1e-12
    loud = np.flatnonzero(power > power.max() * 10 ** (-35 / 10))
    pad = SAMPLE_RATE // 10
    return samples[max(loud[0] * hop - pad, 0) : loud[-1] * hop + window + pad]


def _convolved(samples: npt.NDArray[np.float64], response: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    size = 1 << (len(samples) + len(response) - 2).bit_length()
    product = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(samples)]
