"""What flows between the stages: boxes, faces, predictions, expressions, frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mien.labels import LabelSet

ImageArray: TypeAlias = npt.NDArray[np.uint8]  # (H, W, 3) RGB unless said otherwise
FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]
Progress: TypeAlias = Callable[[int, int | None], None]  # called with (done, total); total is None while unknown

UNCERTAIN = "uncertain"  # the answer where no label is probable enough


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the full frame: x to the right, y down, x2 and y2 exclusive."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)

    def iou(self, other: Box) -> float:
        """Return intersection over union with another box, in [0, 1]."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.area + other.area - shared)


@dataclass(frozen=True, slots=True)
class Face:
    """What a detector found.

    Args:
        box: Where the face is.
        score: The detector's own confidence; comparable within one detector only.
        landmarks: Five points (right eye, left eye, nose tip, right and left mouth corner, as the
            person has them), float32 (5, 2) in frame pixels; None where the detector gives none.
        track_id: Number of the face in a stream; None on stills.
    """

    box: Box
    score: float
    landmarks: FloatArray | None = field(default=None, compare=False)
    track_id: int | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Probabilities over a label set.

    Args:
        probabilities: float32 (k,), sums to 1, in the order of `labels`.
        labels: The k names.
    """

    probabilities: FloatArray = field(compare=False)
    labels: LabelSet

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.labels.labels[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """The probability of `label`, in [0, 1]."""
        return float(self.probabilities.max())

    def top(self, n: int) -> list[tuple[str, float]]:
        """Return the n most probable labels with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:n]
        return [(self.labels.labels[i], float(self.probabilities[i])) for i in order]

    def as_dict(self) -> dict[str, float]:
        """Return label -> probability in the order of the label set."""
        return {name: float(p) for name, p in zip(self.labels, self.probabilities, strict=True)}


@dataclass(frozen=True, slots=True)
class Expression:
    """One face and what it shows (not what the person feels).

    Args:
        face: The face.
        prediction: All probabilities, whether or not they suffice for an answer.
        min_confidence: The confidence below which the answer is "uncertain", in [0, 1]; with 0 it never is. Kept
            here, so that another prediction in `dataclasses.replace` is held to it too.
        raw: What this frame alone shows, where `prediction` was smoothed over time; else None.
    """

    face: Face
    prediction: Prediction
    min_confidence: float = 0.0
    raw: Prediction | None = None

    @property
    def certain(self) -> bool:
        """Whether the confidence reaches `min_confidence`."""
        return self.prediction.confidence >= self.min_confidence

    @property
    def label(self) -> str:
        """The answer: the most probable label, or "uncertain"."""
        return self.prediction.label if self.certain else UNCERTAIN


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Args:
        image: RGB uint8 (H, W, 3).
        time: Seconds from the start of the source; 0 for stills. A camera's frames count by the clock of this machine.
        index: Number of the frame in its source, from 0; a live source that drops frames leaves gaps.
        source: Path, URL or camera it comes from.
    """

    image: ImageArray = field(compare=False)
    time: float
    index: int
    source: str
