"""Recognizer: detect, crop and classify the faces of an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from mien.errors import ConfigError
from mien.images import ImageLike, each_image, to_rgb
from mien.models.classifier import ExpressionClassifier, load_classifier, predict_heads
from mien.models.spec import DEFAULT_MODEL
from mien.settings import Range
from mien.structures import (
    Expression,
    Face,
    Frame,
    ImageArray,
    Prediction,
    Provenance,
    check_count,
    check_part,
    checked_faces,
    each_frame,
    left_to_right,
)
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector, detector_name, load_detector
from mien.vision.rotated import detect_rotated

T = TypeVar("T")
DEVICE_BATCH = 32  # images whose faces an accelerator gets at once
BATCH_PIXELS = 100_000_000  # of images that wait for their batch: 300 MB


@dataclass(frozen=True, slots=True)
class Detected(Generic[T]):
    """The faces of an image, on their way to the classifier.

    Args:
        of: Whatever they belong to; it is passed on.
        faces: The faces.
        crops: Their crops.
        n_pixels: Of the image; 0 where there is none, and `of` only passes by.
    """

    of: T
    faces: Sequence[Face] = ()
    crops: Sequence[ImageArray] = ()
    n_pixels: int = 0


class Recognizer:
    """Finds the faces of an image and classifies their expressions.

    It may be shared between threads and pickled; every process has an ONNX Runtime session of its own.

    Args:
        detector: A detector, or a name in `vision.DETECTORS`. "auto" is YuNet, fetched on first use, or Haar, with a
            warning, where YuNet cannot be fetched.
        classifier: A classifier, or the name or path of a model.
        labels: Label set, for models with several heads; the default one when None.
        min_confidence: Confidence below which an expression's label is "uncertain", in [0, 1]; its probabilities are
            kept. With 0 the label is always the most probable one.
        models_dir: Directory of user models; the default directory when None.
        device: Where a named classifier runs: "cpu", "cuda", "auto" or another name in `models.runtime.DEVICES`. The
            detector runs on the CPU.

    Raises:
        ConfigError: Unknown detector or device, an argument of another type, or min_confidence is out of range.
        UnknownModel: Unknown model.
        ModelError: The model file is unusable, or has no such label set; or the detector is "yunet" and cannot be
            fetched.

    Example:
        >>> from mien import Recognizer, frames
        >>> for frame, expressions in Recognizer().stream(frames("party.mp4")):
        ...     print(frame.time, [e.label for e in expressions])
    """

    def __init__(
        self,
        detector: FaceDetector | str = "auto",
        classifier: ExpressionClassifier | str | Path = DEFAULT_MODEL,
        *,
        labels: str | None = None,
        min_confidence: float = 0.0,
        models_dir: Path | None = None,
        device: str = "cpu",
    ) -> None:
        self.min_confidence = Range(0, 1).check("min_confidence", min_confidence)
        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.classifier: ExpressionClassifier = (
            load_classifier(classifier, models_dir=models_dir, device=device)
            if isinstance(classifier, (str, Path))
            else classifier
        )
        check_part("detector", self.detector, "detect")
        check_part("classifier", self.classifier, "predict_proba")
        self.head = self.classifier.spec.head(labels)

    def __repr__(self) -> str:
        origin = self.provenance
        return f"Recognizer(model={origin.model!r}, detector={origin.detector!r}, labels={origin.labels.name!r})"

    @property
    def provenance(self) -> Provenance:
        """Model, label set and detector, for the files of results."""
        return Provenance(self.classifier.spec.name, self.head.labels, detector_name(self.detector))

    @property
    def batch(self) -> int:
        """Number of images whose faces are best classified at once: 1 on the CPU, more on an accelerator."""
        return 1 if getattr(self.classifier, "device", "cpu") == "cpu" else DEVICE_BATCH

    def recognize(self, image: ImageLike, *, any_angle: bool = True) -> list[Expression]:
        """Return the expression of each face, left to right; an empty list if there are no faces.

        Args:
            image: RGB uint8 (H, W, 3), or another image that `mien.to_rgb` reads: grey or float arrays, an image
                of PIL, a path.
            any_angle: See `detect`.

        Raises:
            InputError: The image has an unsupported type, shape or value range.
        """
        return self.recognize_many([image], any_angle=any_angle)[0]

    def recognize_many(self, images: Iterable[ImageLike], *, any_angle: bool = True) -> list[list[Expression]]:
        """Recognise several images, with all faces classified in one batch; see `recognize`.

        Args:
            images: Images as for `recognize`; sizes may differ.
            any_angle: See `detect`.

        Returns:
            The expressions of each image.

        Raises:
            InputError: An image has an unsupported type, shape or value range.
        """
        pixels = [to_rgb(image) for image in each_image(images, name="images")]
        faces = [self.detect(image, any_angle=any_angle) for image in pixels]
        crops = [crop for image, found in zip(pixels, faces, strict=True) for crop in self._crop(image, found)]
        expressions = iter(self._classify([face for found in faces for face in found], crops))
        return [list(islice(expressions, len(found))) for found in faces]

    def detect(self, image: ImageLike, *, any_angle: bool = False) -> list[Face]:
        """Return the faces of an image, left to right: the first half of `recognize`.

        Args:
            image: As for `recognize`.
            any_angle: Whether to search other angles too if no upright face is detected with high confidence; see
                `vision.detect_rotated`. Slow if there are no faces, so it is for pictures.

        Raises:
            InputError: The image has an unsupported type, shape or value range.
        """
        pixels = to_rgb(image)
        found = detect_rotated(self.detector, pixels) if any_angle else self.detector.detect(pixels)
        found = checked_faces(found)  # a detector may be anyone's
        return left_to_right(face for face in found if not face.box.is_outside(pixels))

    def classify(self, image: ImageLike, faces: Sequence[Face]) -> list[Expression]:
        """Return the expressions of given faces, classified in one batch: the second half of `recognize`.

        Args:
            image: As for `recognize`.
            faces: Faces in pixels of the image, from any detector.

        Returns:
            One expression per face, in the order of the faces.

        Raises:
            InputError: The image has an unsupported type, shape or value range, or a face is impossible: its box is
                reversed, empty or outside the image.
        """
        return self._classify(faces, self._crop(to_rgb(image), faces))

    def stream(
        self, frames: Iterable[Frame], *, any_angle: bool = False, batch: int = 1
    ) -> Iterator[tuple[Frame, list[Expression]]]:
        """Yield each frame with its expressions, in order and independent of each other; `Live` tracks faces.

        Args:
            frames: The frames.
            any_angle: See `detect`.
            batch: Number of frames that are read before their faces are classified together; 1 for the least delay,
                more to feed an accelerator.

        Raises:
            InputError: One is not a Frame, or its image has an unsupported type, shape or value range.
            ConfigError: batch is less than 1.
        """
        found = (self.find(frame, frame.image, any_angle=any_angle) for frame in each_frame(frames))
        return self.classify_each(found, batch=batch)

    def find(self, of: T, image: ImageLike, *, any_angle: bool = False) -> Detected[T]:
        """Return the faces of an image with their crops, for `classify_each`; see `detect`."""
        pixels = to_rgb(image)
        faces = self.detect(pixels, any_angle=any_angle)
        return Detected(of, faces, self._crop(pixels, faces), pixels.shape[0] * pixels.shape[1])

    def classify_each(self, found: Iterable[Detected[T]], *, batch: int) -> Iterator[tuple[T, list[Expression]]]:
        """Yield the expressions of images in their order, with the faces of several classified in one batch.

        Args:
            found: The faces of each image; see `find`.
            batch: Number of images, fewer where they are large.

        Raises:
            ConfigError: batch is less than 1.
        """
        check_count("batch", batch)
        if batch < 1:
            raise ConfigError(f"batch is {batch}; expected 1 or more")
        return self._in_batches(found, batch)

    def _in_batches(self, found: Iterable[Detected[T]], size: int) -> Iterator[tuple[T, list[Expression]]]:
        waiting: list[Detected[T]] = []
        n_images = n_pixels = 0
        for one in found:
            waiting.append(one)
            n_images, n_pixels = n_images + (one.n_pixels > 0), n_pixels + one.n_pixels
            if n_images in (0, size) or n_pixels >= BATCH_PIXELS:
                yield from self._with_expressions(waiting)
                waiting, n_images, n_pixels = [], 0, 0
        yield from self._with_expressions(waiting)

    def _with_expressions(self, waiting: Sequence[Detected[T]]) -> Iterator[tuple[T, list[Expression]]]:
        crops = [crop for one in waiting for crop in one.crops]
        if not crops:
            return ((one.of, []) for one in waiting)
        expressions = iter(self._classify([face for one in waiting for face in one.faces], crops))
        return ((one.of, list(islice(expressions, len(one.faces)))) for one in waiting)

    def _crop(self, image: ImageArray, faces: Sequence[Face]) -> list[ImageArray]:
        return crop_faces(image, faces, geometry=self.classifier.spec.crop)

    def _classify(self, faces: Sequence[Face], crops: Sequence[ImageArray]) -> list[Expression]:
        heads = self.classifier.spec.heads
        chosen = heads.index(self.head)
        expressions = []
        for face, *rows in zip(faces, *predict_heads(self.classifier, crops), strict=True):
            predictions = [Prediction(row, head.labels) for row, head in zip(rows, heads, strict=True)]
            by_name = {prediction.labels.name: prediction for prediction in predictions}
            expressions.append(Expression(face, predictions[chosen], self.min_confidence, heads=by_name))
        return expressions
