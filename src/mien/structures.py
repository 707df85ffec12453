"""Data that flows between the stages: boxes, faces, predictions, expressions, frames, sound, utterances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError, InputError
from mien.labels import LabelSet

T = TypeVar("T")
BoolArray: TypeAlias = npt.NDArray[np.bool_]
ImageArray: TypeAlias = npt.NDArray[np.uint8]  # (H, W, 3) RGB unless said otherwise
FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]
Progress: TypeAlias = Callable[[int, int | None], None]  # called with (done, total); total is None while unknown

UNCERTAIN = "uncertain"  # the label of an expression or utterance whose confidence is below `min_confidence`
SAMPLE_RATE = 16_000  # samples per second of all sound inside mien, which is mono


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the image: x to the right, y down, x2 and y2 exclusive."""

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

    def intersection(self, other: Box) -> float:
        """Return the area of the part shared with another box, in square pixels."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        return max(width, 0.0) * max(height, 0.0)

    def iou(self, other: Box) -> float:
        """Return the intersection over union with another box, in [0, 1]."""
        shared = self.intersection(other)
        return shared / (self.area + other.area - shared) if shared else 0.0

    def is_outside(self, image: ImageArray) -> bool:
        """Return whether no part of the box is inside an image."""
        height, width = image.shape[:2]
        return self.x1 >= width or self.x2 <= 0 or self.y1 >= height or self.y2 <= 0


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face.

    Args:
        box: Its rectangle in pixels of the image.
        score: Confidence of the detector, in [0, 1]; not comparable between detectors.
        landmarks: Five points in pixels of the image, float32 (5, 2): right eye, left eye, nose tip, right and left
            corner of the mouth (the person's right and left); None where the detector gives none.
        track_id: Number of the face in a stream, from 1; None on stills.
        roll: Rotation of the face in the image plane, counter-clockwise in degrees, to the nearest 45; 0 where the
            image was only searched for upright faces.
    """

    box: Box
    score: float
    landmarks: FloatArray | None = field(default=None, compare=False)
    track_id: int | None = None
    roll: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """Probabilities over a label set.

    Args:
        probabilities: float32 (k,) in the order of `labels`; they sum to 1.
        labels: The label set, k labels.
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
        """Return the n most probable labels with their probabilities, best first.

        Raises:
            InputError: n is not an integer.
        """
        check_count("n", n)
        order = np.argsort(-self.probabilities, kind="stable")[:n]
        return [(self.labels.labels[i], float(self.probabilities[i])) for i in order]

    def as_dict(self) -> dict[str, float]:
        """Return a dict from label to probability, in the order of the label set."""
        return {name: float(p) for name, p in zip(self.labels, self.probabilities, strict=True)}


@dataclass(frozen=True, slots=True)
class Expression:
    """A face and the expression it shows, which is not the person's feeling.

    Args:
        face: The face.
        prediction: Probabilities of all labels, smoothed over time in a stream.
        min_confidence: Confidence below which the label is "uncertain", in [0, 1]; never with 0. It also applies to a
            prediction put in by `dataclasses.replace`.
        raw: Prediction from this frame alone, where `prediction` was smoothed; else None.
        heads: Predictions of all heads of the model from this frame alone, by the name of their label set, in the
            order of the model's spec.
    """

    face: Face
    prediction: Prediction
    min_confidence: float = 0.0
    raw: Prediction | None = None
    heads: Mapping[str, Prediction] = field(default_factory=dict, compare=False, repr=False)

    @property
    def certain(self) -> bool:
        """Whether the confidence is at least `min_confidence`."""
        return self.prediction.confidence >= self.min_confidence

    @property
    def label(self) -> str:
        """The most probable label, or "uncertain"."""
        return self.prediction.label if self.certain else UNCERTAIN

    def to_dict(self) -> dict[str, Any]:
        """Return the expression as plain data, as in mien's JSON.

        Keys: track, box (x1, y1, x2, y2 in pixels), score (of the detector), label, confidence, certain, probabilities
        (by label); after smoothing also raw, the probabilities from this frame alone.
        """
        box = self.face.box
        return {
            "track": plain(self.face.track_id),
            "box": [round(plain(v), 1) for v in (box.x1, box.y1, box.x2, box.y2)],
            "score": round(plain(self.face.score), 4),
            "label": self.label,
            "confidence": round(self.prediction.confidence, 6),
            "certain": self.certain,
            "probabilities": _rounded(self.prediction),
            **({} if self.raw is None else {"raw": _rounded(self.raw)}),
        }


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a source.

    Args:
        image: RGB uint8 (H, W, 3).
        time: Seconds from the start of the source, by this machine's clock for a camera; 0 for stills.
        index: Number of the frame in its source, from 0; frames dropped by a live source leave gaps.
        source: Path, URL or camera that the frame comes from.
        scale: Pixels of the source per pixel of the image: 2 where a huge picture is read at half its size. Boxes of
            faces are in pixels of the image; in files of results they are in pixels of the source.
    """

    image: ImageArray = field(compare=False)
    time: float
    index: int
    source: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of sound.

    Args:
        time: Seconds from the start of the source to the first sample; of a video, from its first frame, so the sound
            may begin before 0.
        samples: float32 (n,) in [-1, 1]: mono, `SAMPLE_RATE` per second.
    """

    time: float
    samples: FloatArray = field(compare=False)

    @property
    def end(self) -> float:
        """The time after the last sample, in seconds."""
        return self.time + len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech between two pauses, and how its voice sounds.

    Args:
        start: Time at which the speech begins, in seconds of its source; see `Block.time`.
        end: End of the speech in seconds; while provisional, the end so far.
        prediction: Probabilities of the expressions of the voice.
        speech_seconds: Duration of the speech, short pauses left out.
        final: Whether the utterance is over, and all its speech was classified. Provisional predictions are about its
            last seconds.
        min_confidence: Confidence below which the label is "uncertain", in [0, 1]; 0 accepts all.
    """

    start: float
    end: float
    prediction: Prediction
    speech_seconds: float
    final: bool = True
    min_confidence: float = 0.0

    @property
    def certain(self) -> bool:
        """Whether the confidence is at least `min_confidence`."""
        return self.prediction.confidence >= self.min_confidence

    @property
    def label(self) -> str:
        """The most probable label, or "uncertain"."""
        return self.prediction.label if self.certain else UNCERTAIN

    def to_dict(self) -> dict[str, Any]:
        """Return the utterance as plain data, as in mien's JSON.

        Keys: start, end, speech_seconds (in seconds), label, confidence, certain, probabilities (by label).
        """
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "speech_seconds": round(self.speech_seconds, 3),
            "label": self.label,
            "confidence": round(self.prediction.confidence, 6),
            "certain": self.certain,
            "probabilities": _rounded(self.prediction),
        }


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of expressions, stored in every file of results.

    Args:
        model: Name of the model.
        labels: Label set of the predictions.
        detector: Name of the detector: of faces, or of speech.
    """

    model: str
    labels: LabelSet
    detector: str


def left_to_right(faces: Iterable[Face]) -> list[Face]:
    """Return faces in reading order: by their left edge, then by their top edge."""
    return sorted(faces, key=lambda face: (face.box.x1, face.box.y1))


def checked_faces(faces: Iterable[Face], image: ImageArray | None = None) -> list[Face]:
    """Return faces that a caller made.

    Args:
        faces: The faces.
        image: The image that their boxes are in; None skips that check.

    Raises:
        InputError: One is not a Face, its box is reversed, empty, outside the image or not finite, or it has other
            landmarks than five points.
    """
    if not isinstance(faces, Iterable):
        raise InputError(f"the faces are of type {type(faces).__name__}; expected a list of mien.Face")
    faces = list(faces)
    for number, face in enumerate(faces):
        if not isinstance(face, Face):
            raise InputError(f"faces[{number}] is of type {type(face).__name__}; expected mien.Face")
        box = face.box
        corners = (box.x1, box.y1, box.x2, box.y2) if isinstance(box, Box) else (None,)
        if not all(isinstance(corner, Real) for corner in corners):
            raise InputError(f"the box of faces[{number}] is {box!r}; expected mien.Box of four numbers")
        if not (all(map(math.isfinite, corners)) and box.x1 < box.x2 and box.y1 < box.y2):
            raise InputError(f"the box of faces[{number}] is {corners}; expected x1, y1, x2, y2, x1 < x2 and y1 < y2")
        if image is not None and box.is_outside(image):
            height, width = image.shape[:2]
            raise InputError(
                f"the box of faces[{number}] is {corners}, outside the image of {width}x{height} pixels; detect the "
                "faces in this very image, or scale their boxes to it"
            )
        points = face.landmarks
        if points is not None and (np.shape(points) != (5, 2) or not np.isfinite(points).all()):
            raise InputError(
                f"the landmarks of faces[{number}] are of shape {np.shape(points)}; expected five finite points, (5, 2)"
            )
    return faces


def checked_expressions(expressions: Iterable[Expression]) -> list[Expression]:
    """Return expressions that a caller handed over.

    Raises:
        InputError: They are not iterable, one is not an Expression, or its face is impossible; see `checked_faces`.
    """
    if not isinstance(expressions, Iterable):
        raise InputError(f"the expressions are of type {type(expressions).__name__}; expected a list of them")
    expressions = list(expressions)
    for number, expression in enumerate(expressions):
        if not isinstance(expression, Expression):
            raise InputError(
                f"expressions[{number}] is of type {type(expression).__name__}; expected mien.Expression, as "
                "Recognizer.recognize returns"
            )
    checked_faces(expression.face for expression in expressions)
    return expressions


def check_count(name: str, count: int) -> None:
    """Raise InputError unless a number of things is a whole number."""
    if not isinstance(count, Integral) or isinstance(count, bool):
        kind = f"{count}" if isinstance(count, Real) else f"of type {type(count).__name__}"
        raise InputError(f"{name} is {kind}; expected a whole number")


def check_part(name: str, part: object, method: str, *, expected: str = "a name, or an object") -> None:
    """Raise ConfigError unless an object has a method, and is no class."""
    if isinstance(part, type) or not hasattr(part, method):
        kind = f"the class {part.__name__}" if isinstance(part, type) else f"of type {type(part).__name__}"
        raise ConfigError(f"{name} is {kind}; expected {expected} with {method}")


def check_time(name: str, time: float) -> None:
    """Raise InputError unless a time is a finite number."""
    if not isinstance(time, Real) or isinstance(time, bool):
        raise InputError(f"{name} is of type {type(time).__name__}; expected finite seconds")
    if not math.isfinite(time):
        raise InputError(f"{name} is {time}; expected finite seconds")


def check_block(block: Block) -> None:
    """Raise InputError unless it is a block of finite samples at a finite time."""
    if not isinstance(block, Block):
        raise InputError(f"a block is of type {type(block).__name__}; expected mien.Block, as mien.sounds yields")
    samples = block.samples
    if not isinstance(samples, np.ndarray):
        raise InputError(f"the samples of a block are of type {type(samples).__name__}; expected float32 (n,)")
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise InputError(f"the samples of a block are {samples.dtype} {samples.shape}; expected float32 (n,)")
    check_time("the time of a block", block.time)
    if not np.isfinite(samples).all():
        raise InputError("a block has NaN or infinite samples; expected finite ones in [-1, 1]")


def check_utterance(utterance: Utterance) -> None:
    """Raise InputError unless it is an utterance."""
    if not isinstance(utterance, Utterance):
        raise InputError(
            f"an utterance is of type {type(utterance).__name__}; expected mien.Utterance, as mien.Listener yields"
        )


def each_frame(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield frames that a caller handed over.

    Raises:
        InputError: They are not iterable, or one is not a Frame.
    """
    if not isinstance(frames, Iterable):
        raise InputError(f"the frames are of type {type(frames).__name__}; expected those of mien.frames")
    for frame in frames:
        check_frame(frame)
        yield frame


def check_frame(frame: Frame) -> None:
    """Raise InputError unless it is a frame."""
    if not isinstance(frame, Frame):
        raise InputError(
            f"a frame is of type {type(frame).__name__}; expected mien.Frame: mien.frames yields those of a file, and "
            "Recognizer.recognize takes an image alone"
        )


def plain(number: T) -> T:
    """Return a number of NumPy, as a detector of one's own may give, as one of Python: JSON knows no others."""
    return cast("T", number.item()) if isinstance(number, np.generic) else number


def _rounded(prediction: Prediction) -> dict[str, float]:
    return {label: round(p, 6) for label, p in prediction.as_dict().items()}
