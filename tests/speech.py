"""Sound for tests: tones in place of speech, files of it, and stand-ins for a speech detector and a voice model."""

from __future__ import annotations

import shutil
import subprocess
import wave
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mien.labels import LabelSet
from mien.structures import SAMPLE_RATE, Block, FloatArray
from mien.voice.listener import Listener

LABELS = LabelSet("standin", ("angry", "happy", "neutral", "sad"))


def tone(seconds: float, *, hertz: float = 300.0, loudness: float = 0.3, rate: int = SAMPLE_RATE) -> FloatArray:
    """Return a sine, which `LoudDetector` takes for speech."""
    t = np.arange(round(seconds * rate)) / rate
    return (loudness * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def silence(seconds: float, *, rate: int = SAMPLE_RATE) -> FloatArray:
    return np.zeros(round(seconds * rate), np.float32)


def join(*parts: FloatArray) -> FloatArray:
    return np.concatenate(parts)


def in_blocks(samples: FloatArray, *, size: int = 700, start: float = 0.0) -> Iterator[Block]:
    """Yield samples in blocks of a size that is no multiple of a step."""
    for begin in range(0, len(samples), size):
        yield Block(start + begin / SAMPLE_RATE, samples[begin : begin + size])


def write_wav(path: Path, samples: FloatArray, *, rate: int = SAMPLE_RATE, width: int = 2, channels: int = 1) -> Path:
    """Write a PCM WAV of `width` bytes a sample: samples (n, channels), or (n,), the same in all channels."""
    level = 2 ** (8 * width - 1) - 1
    sound = samples if samples.ndim == 2 else np.column_stack([samples] * channels)
    whole, channels = np.round(sound.astype(np.float64) * level).astype(np.int64).ravel(), sound.shape[1]
    data = (
        (whole + 128).astype(np.uint8) if width == 1 else whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width]
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(data.tobytes())
    return path


def heard(blocks: Iterable[Block]) -> FloatArray:
    """Return the samples of blocks as one array."""
    return join(silence(0), *(block.samples for block in blocks))


class LoudDetector:
    """Takes for speech what is loud."""

    name = "loud"

    def __init__(self) -> None:
        self.n_resets = 0

    def probability(self, samples: FloatArray) -> float:
        return float(np.abs(samples).max() > 0.05)

    def reset(self) -> None:
        self.n_resets += 1


class PitchModel:
    """Takes high tones for happy, low ones for sad, by the crossings of zero; notes the seconds that it was given."""

    def __init__(self) -> None:
        self.spec = SimpleNamespace(name="standin", sound=None)
        self.labels = LABELS
        self.given: list[FloatArray] = []

    def enrol(self, samples: FloatArray) -> FloatArray:
        return np.array([len(samples) / SAMPLE_RATE], np.float32)

    def predict_proba(self, samples: FloatArray, *, neutral: FloatArray | None = None) -> FloatArray:
        self.given.append(samples)
        self.neutral = neutral
        crossings = np.count_nonzero(np.diff(np.signbit(samples))) / (len(samples) / SAMPLE_RATE)
        return np.array([0.1, 0.6, 0.2, 0.1] if crossings > 1000 else [0.1, 0.1, 0.2, 0.6], np.float32)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sentences of a machine's voice with a pause between them, WAV; what they express is never asserted."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs espeak-ng, which speaks")
    path = tmp_path_factory.mktemp("speech") / "spoken.wav"
    text = (
        "The kids are talking by the door, as they do every day. <break time='1500ms'/> Dogs are sitting by the door."
    )
    subprocess.run(["espeak-ng", "-m", "-w", str(path), text], check=True)
    return path


def write_clip(
    path: Path, samples: FloatArray | None, *, n_frames: int = 20, fps: int = 10, sound_start: float = 0.0,
    video_start: float = 0.0, codec: str = "aac", n_tracks: int = 1,
) -> Path:  # fmt: skip
    """Write a container by PyAV: `n_frames` of video, and sound at 48 kHz that begins at its own time.

    None writes no sound, and 0 frames write no video. Further tracks of sound are silent.
    """
    av = pytest.importorskip("av")
    ticks = Fraction(1, 1000)
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {"cluster_time_limit": "500"}
    with av.open(str(path), "w", options=options) as file:
        video = file.add_stream("mpeg4", rate=fps, width=64, height=48) if n_frames else None
        tracks = [
            (file.add_stream(codec, rate=48_000, layout="mono"), samples if number == 0 else 0 * samples)
            for number in range(n_tracks if samples is not None else 0)
        ]
        packets = []
        for index in range(n_frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 6 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * (video_start + index / fps)), ticks
            packets += video.encode(frame)
        packets += video.encode() if video else []
        for sound, track in tracks:
            for begin in range(0, len(track), 1024):
                piece = av.AudioFrame.from_ndarray(track[None, begin : begin + 1024], format="fltp", layout="mono")
                piece.rate = 48_000
                piece.pts, piece.time_base = round(48_000 * sound_start) + begin, Fraction(1, 48_000)
                packets += sound.encode(piece)
            packets += sound.encode()
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * p.time_base):
            file.mux(packet)
    return path


def go_back(path: Path, *, after: float) -> Path:
    """Let the times of a Matroska file begin again at 0 from its first cluster after so many seconds on."""
    data, at, first = bytearray(path.read_bytes()), 0, 0
    while (at := data.find(b"\x1f\x43\xb6\x75", at + 1)) >= 0:  # Cluster
        mark = data.index(b"\xe7", at) + 1  # Timestamp, in milliseconds
        size = data[mark] & 0x7F
        time = int.from_bytes(data[mark + 1 : mark + 1 + size], "big")
        if time >= 1000 * after:
            first = first or time
            data[mark + 1 : mark + 1 + size] = (time - first).to_bytes(size, "big")
    path.write_bytes(data)
    return path


def listener(**options: float) -> Listener:
    """Return a listener of the two stand-ins."""
    return Listener(PitchModel(), detector=LoudDetector(), **options)
