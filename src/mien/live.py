"""Live: a recogniser that follows the faces of a stream and smooths what they show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from mien.errors import ConfigError
from mien.recognizer import Recognizer
from mien.structures import Expression, Face, Frame
from mien.vision.smooth import Smoother, TemporalSmoother
from mien.vision.track import Tracker


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What was seen in a frame.

    Args:
        frame: The frame.
        expressions: Of its faces, numbered, their predictions smoothed.
        seconds: Stage -> how long it took: "detect" (0 where the detector rested), "track" (with smoothing),
            "classify" (with cropping).
    """

    frame: Frame
    expressions: list[Expression]
    seconds: dict[str, float]


class Live:
    """Recognises a stream: detect, track, classify, smooth.

    Faces keep the detector's own boxes; only while it rests they are where their tracks should be. `recognizer` may be
    replaced between frames: tracks stay, and smoothing starts anew if the label set, or the temporal model, is another.

    Args:
        recognizer: What detects and classifies; with a temporal model, that one follows what faces show.
        half_life: Of the smoothing where there is no temporal model, in seconds; 0 for none. See `Smoother`.
        rest: At most so many seconds pass between two looks of the detector while all faces are steady; 0 lets it look
            at every frame. A new face is seen so much later, and one that left stays so much longer. With 0.2 s, 99.6 %
            of the frames with faces keep all their labels, for half of the looks; with 0.4 s only 98.6 %
            (benchmarks/tracking.py, Haar and YuNet).
        tracker: One with settings of your own; `Tracker()` when None.

    Raises:
        ConfigError: half_life is negative or not finite, or rest not from 0 to half of the tracker's max_gap.

    Example:
        >>> from mien import Recognizer, frames
        >>> for sight in Live(Recognizer()).stream(frames("party.mp4")):
        ...     print(sight.frame.time, [(e.face.track_id, e.label) for e in sight.expressions])
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        half_life: float = 0.3,
        rest: float = 0.2,
        tracker: Tracker | None = None,
    ) -> None:
        self.recognizer = recognizer
        self.tracker = tracker or Tracker()
        longest = self.tracker.max_gap / 2  # with the time to the next frame no track ends meanwhile
        if not 0 <= rest <= longest:
            raise ConfigError(f"rest is {rest}; expected 0 to {longest:g} seconds, half of what a track outlives")
        self.rest = rest
        self.smoother = Smoother(half_life)
        self._temporal_smoother: TemporalSmoother | None = None
        self._source: str | None = None
        self._looked = 0.0  # time of the frame that the detector last looked at

    def see(self, frame: Frame) -> FrameResult:
        """Return what a frame shows, after all that came before.

        A frame of another source, or of an earlier time, starts tracks anew, and with them smoothing; numbers go on.

        Raises:
            InputError: Its picture is not RGB uint8 (H, W, 3), or its time not finite.
        """
        recognizer = self.recognizer  # a window may replace it meanwhile
        if frame.source != self._source:
            self.tracker.reset()
            self._source = frame.source
        seconds = {"detect": 0.0, "track": 0.0, "classify": 0.0}
        faces: list[Face] = []
        if self._rests(frame.time):
            with _timed(seconds, "track"):
                faces = self.tracker.predict(frame.time)
        else:
            with _timed(seconds, "detect"):
                found = recognizer.detect(frame.image)
            with _timed(seconds, "track"):
                faces = self.tracker.update(found, frame.time)
            self._looked = frame.time
        temporal = recognizer.temporal
        if temporal is None:
            self._temporal_smoother = None
            with _timed(seconds, "classify"):
                expressions = recognizer.classify(frame.image, faces)
            with _timed(seconds, "track"):
                expressions = self.smoother.update(expressions, frame.time)
        else:
            if self._temporal_smoother is None or self._temporal_smoother.model is not temporal:
                self._temporal_smoother = TemporalSmoother(temporal)
            with _timed(seconds, "classify"):
                expressions, heads = recognizer.classify_by_heads(frame.image, faces)
            with _timed(seconds, "track"):
                expressions = self._temporal_smoother.update(expressions, heads, frame.time)
        return FrameResult(frame, expressions, seconds)

    def stream(self, frames: Iterable[Frame]) -> Iterator[FrameResult]:
        """Yield what each frame shows, in order, one at a time."""
        return map(self.see, frames)

    def _rests(self, time: float) -> bool:
        return 0 <= time - self._looked < self.rest and self.tracker.steady


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time of the block to a stage."""
    began = perf_counter()
    yield
    seconds[stage] += perf_counter() - began
