"""Sound recorded to a WAV that can be played while it grows."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from mien.sinks.growing import GrowingFile
from mien.structures import SAMPLE_RATE, Block, check_block

MAX_JITTER_SECONDS = (
    0.5  # of blocks' times, PulseAudio's most of all; where a block comes later, sound is missing before it
)
MAX_BYTES = 2**32 - 64  # that the header of a WAV can announce: 37 hours


class WavSink(GrowingFile):
    """Writes blocks as 16-bit PCM, mono, 16 kHz. Missing sound is filled with silence, so that times stay true.

    Args:
        path: File to write; an old file is overwritten.

    Raises:
        OutputError: The file cannot be written; on entering or writing.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._n = 0  # samples written

    def __enter__(self) -> WavSink:
        self._append(_header(0))
        return self

    def write(self, block: Block) -> None:
        """Append a block at its time; what comes after 37 hours is left out.

        Raises:
            InputError: It is no block of finite samples at a finite time.
        """
        check_block(block)
        missing = round(block.time * SAMPLE_RATE) - self._n
        while missing > MAX_JITTER_SECONDS * SAMPLE_RATE:
            n = min(missing, SAMPLE_RATE)
            self._append_samples(np.zeros(n, "<i2"))
            missing -= n
        self._append_samples(np.round(block.samples.clip(-1, 1) * 32767).astype("<i2"))

    def _append_samples(self, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
        if 2 * (self._n + len(samples)) > MAX_BYTES:
            return
        self._append(samples.tobytes())
        self._n += len(samples)
        self._append(_header(self._n), at=0)


def _header(n: int) -> bytes:
    """Return the header of a WAV of n samples (RIFF, Microsoft and IBM 1991)."""
    size = 2 * n
    layout = (b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *layout)
