"""Recognise a stream: faces keep their track, and expressions are smoothed over time. See docs/decisions/0023."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from mien.errors import ConfigError
from mien.fusion import VoiceResult, fuse_faces
from mien.recognizer import Recognizer
from mien.structures import Expression, Face, Frame, Utterance, check_frame, check_part, each_frame, left_to_right
from mien.vision.smooth import HalfLifeSmoother, Smoother, TemporalSmoother
from mien.vision.track import Tracker


@dataclass(frozen=True, slots=True)
class FrameResult:
    """A frame and the expressions found in it.

    Args:
        frame: The frame.
        expressions: One per face, left to right, each with a track and a smoothed prediction.
        seconds: Duration of each stage in seconds: "detect" (0 where the detector was skipped), "track" (with
            smoothing), "classify" (with cropping), "voice" (only with one).
        voice_result: The voice at the frame's time; None without voice recognition.
    """

    frame: Frame
    expressions: list[Expression]
    seconds: dict[str, float]
    voice_result: VoiceResult | None = None


class Voice(Protocol):
    """The voice of a stream."""

    def at(self, time: float) -> Utterance | None:
        """Return the utterance at a frame's time in seconds; None without speech. Times increase."""
        ...


class Live:
    """Recognises a stream: detect, track, classify, smooth.

    Faces keep the detector's boxes; in frames that skip the detector, boxes are predicted by the tracker. `recognizer`
    and `smoother` may be replaced between frames: tracks continue, and a half-life smoother restarts where the label
    set changes. A temporal model must be replaced together with its classifier.

    Args:
        recognizer: Detects and classifies.
        smoother: Smooths the predictions of each track; `HalfLifeSmoother(half_life)` when None.
        half_life: Half-life of the default smoother in seconds; 0 disables smoothing.
        max_detection_gap: Longest time between two runs of the detector in seconds, while all faces are steady; 0 runs
            it on every frame. A new face is found this much later, and one that left stays this much longer. With
            0.2 s, half the runs of the detector leave 99.6 % of the frames with faces with unchanged labels; with
            0.4 s it is 98.6 % (benchmarks/tracking.py, Haar and YuNet).
        tracker: Follows the faces; `Tracker()` when None.
        voice: Gives the voice at each frame's time, such as a `Hearing` or a `VoiceTrack`; it is joined with the faces,
            see `fusion.fuse_faces`. None without voice recognition; it may be replaced between frames too.

    Raises:
        ConfigError: half_life is negative or not finite, or max_detection_gap is not between 0 and half the tracker's
            max_gap.
        ModelError: The smoother's temporal model belongs to another classifier or label set.

    Example:
        >>> from mien import Live, Recognizer, frames
        >>> for result in Live(Recognizer()).stream(frames("party.mp4")):
        ...     print(result.frame.time, [(e.face.track_id, e.label) for e in result.expressions])
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        smoother: Smoother | None = None,
        half_life: float = 0.3,
        max_detection_gap: float = 0.2,
        tracker: Tracker | None = None,
        voice: Voice | None = None,
    ) -> None:
        check_part("recognizer", recognizer, "classify", expected="a Recognizer")
        parts = (("smoother", smoother, "update"), ("tracker", tracker, "predict"), ("voice", voice, "at"))
        for name, part, method in parts:
            if part is not None:
                check_part(name, part, method, expected="None, or an object")
        self.recognizer = recognizer
        self.smoother = HalfLifeSmoother(half_life) if smoother is None else smoother
        if isinstance(self.smoother, TemporalSmoother):
            self.smoother.model.check(recognizer.classifier, recognizer.head.labels)
        self.tracker = tracker or Tracker()
        self.voice = voice
        longest = self.tracker.max_gap / 2  # no track ends before the frame after the gap
        if not 0 <= max_detection_gap <= longest:
            raise ConfigError(
                f"max_detection_gap is {max_detection_gap}; expected 0 to {longest:g} seconds, half of max_gap"
            )
        self.max_detection_gap = max_detection_gap
        self._source: str | None = None
        self._detected = 0.0  # time of the last frame that the detector saw

    def recognize(self, frame: Frame) -> FrameResult:
        """Recognise the next frame of the stream.

        Another source or an earlier time resets all tracks, and with them the smoothing; track numbers continue.

        Raises:
            InputError: The image has an unsupported type, shape or value range, or the time is not finite.
        """
        check_frame(frame)
        seconds = {"detect": 0.0, "track": 0.0, "classify": 0.0}
        faces = self._find_faces(frame, seconds)
        with _timed(seconds, "classify"):
            expressions = self.recognizer.classify(frame.image, faces)
        with _timed(seconds, "track"):
            expressions = self.smoother.update(expressions, frame.time)
        if self.voice is None:
            return FrameResult(frame, expressions, seconds)
        with _timed(seconds, "voice"):
            voice_result = fuse_faces(expressions, self.voice.at(frame.time))
        return FrameResult(frame, expressions, seconds, voice_result)

    def stream(self, frames: Iterable[Frame]) -> Iterator[FrameResult]:
        """Recognise each frame in order, one at a time.

        Raises:
            InputError: See `recognize`; or `frames` is not iterable.
        """
        return map(self.recognize, each_frame(frames))

    def _find_faces(self, frame: Frame, seconds: dict[str, float]) -> list[Face]:
        """Return the faces of a frame with their tracks, left to right: detected, or predicted by the tracker."""
        if frame.source != self._source:
            self.tracker.reset()
            self._source = frame.source
        if 0 <= frame.time - self._detected < self.max_detection_gap and self.tracker.steady:
            with _timed(seconds, "track"):
                predicted = self.tracker.predict(frame.time)
                return left_to_right(face for face in predicted if not face.box.is_outside(frame.image))
        with _timed(seconds, "detect"):
            found = self.recognizer.detect(frame.image)
        with _timed(seconds, "track"):
            faces = self.tracker.update(found, frame.time)
        self._detected = frame.time
        return faces


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the duration of the block to a stage."""
    began = perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + perf_counter() - began
