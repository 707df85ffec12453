"""Recognizer: detect, crop and classify the faces of an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from mien.errors import ConfigError, InputError
from mien.models.classifier import ExpressionClassifier, load_classifier, predict_heads
from mien.structures import Expression, Face, Frame, ImageArray, Prediction, Provenance, left_to_right
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector, detector_name, load_detector
from mien.vision.turned import detect_turned


class Recognizer:
    """Finds the faces of an image and classifies their expressions.

    It may be shared between threads and pickled; every process has an ONNX Runtime session of its own.

    Args:
        detector: A detector, or a name in `vision.DETECTORS`. "auto" is YuNet, fetched on first use, or Haar, with a
            warning, where YuNet cannot be fetched.
        classifier: A classifier, or the name or path of a model.
        labels: Label set, for models with several heads; that of the first head when None.
        min_confidence: Confidence below which an expression's label is "uncertain", in [0, 1]; its probabilities are
            kept. With 0 the label is always the most probable one.
        models_dir: Directory of user models; the default directory when None.

    Raises:
        ConfigError: Unknown detector, an argument of another type, or min_confidence is out of range.
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
        classifier: ExpressionClassifier | str | Path = "base",
        *,
        labels: str | None = None,
        min_confidence: float = 0.0,
        models_dir: Path | None = None,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise ConfigError(f"min_confidence is {min_confidence}; expected 0 to 1")
        self.min_confidence = min_confidence
        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.classifier: ExpressionClassifier = (
            load_classifier(str(classifier), models_dir=models_dir)
            if isinstance(classifier, (str, Path))
            else classifier
        )
        _check_part("detector", self.detector, "detect")
        _check_part("classifier", self.classifier, "predict_proba")
        self.head = self.classifier.spec.head(labels)

    def __repr__(self) -> str:
        origin = self.provenance
        return f"Recognizer(model={origin.model!r}, detector={origin.detector!r}, labels={origin.labels.name!r})"

    @property
    def provenance(self) -> Provenance:
        """Model, label set and detector, for the files of results."""
        return Provenance(self.classifier.spec.name, self.head.labels, detector_name(self.detector))

    def recognize(self, image: ImageArray, *, any_angle: bool = True) -> list[Expression]:
        """Return the expression of each face, left to right; an empty list if there are no faces.

        Args:
            image: RGB uint8 (H, W, 3).
            any_angle: See `detect`.

        Raises:
            InputError: The image is not such an array.
        """
        return self.classify(image, self.detect(image, any_angle=any_angle))

    def recognize_many(self, images: Iterable[ImageArray]) -> list[list[Expression]]:
        """Recognise several images, with all faces classified in one batch; see `recognize`.

        Args:
            images: RGB uint8 (H, W, 3) each; sizes may differ.

        Returns:
            The expressions of each image.

        Raises:
            InputError: An image is not such an array.
        """
        images = list(images)
        faces = [self.detect(image, any_angle=True) for image in images]
        crops = [crop for image, found in zip(images, faces, strict=True) for crop in self._crop(image, found)]
        expressions = iter(self._classify([face for found in faces for face in found], crops))
        return [list(islice(expressions, len(found))) for found in faces]

    def detect(self, image: ImageArray, *, any_angle: bool = False) -> list[Face]:
        """Return the faces of an image, left to right: the first half of `recognize`.

        Args:
            image: RGB uint8 (H, W, 3).
            any_angle: Whether to search a turned or lying picture at other angles too, where no face is surely
                upright; see `vision.detect_turned`. Slow where there are no faces, so it is for pictures.

        Raises:
            InputError: The image is not such an array.
        """
        image = _checked(image)
        return left_to_right(detect_turned(self.detector, image) if any_angle else self.detector.detect(image))

    def classify(self, image: ImageArray, faces: Sequence[Face]) -> list[Expression]:
        """Return the expressions of given faces, classified in one batch: the second half of `recognize`.

        Args:
            image: RGB uint8 (H, W, 3).
            faces: Faces in pixels of the image, from any detector.

        Returns:
            One expression per face, in the order of the faces.

        Raises:
            InputError: The image is not such an array.
        """
        return self._classify(faces, self._crop(image, faces))

    def stream(self, frames: Iterable[Frame], *, any_angle: bool = False) -> Iterator[tuple[Frame, list[Expression]]]:
        """Yield each frame with its expressions, in order and independent of each other; `Live` tracks faces.

        Args:
            frames: The frames.
            any_angle: See `detect`.
        """
        for frame in frames:
            yield frame, self.recognize(frame.image, any_angle=any_angle)

    def _crop(self, image: ImageArray, faces: Sequence[Face]) -> list[ImageArray]:
        return crop_faces(_checked(image), faces, geometry=self.classifier.spec.crop)

    def _classify(self, faces: Sequence[Face], crops: Sequence[ImageArray]) -> list[Expression]:
        heads = self.classifier.spec.heads
        chosen = heads.index(self.head)
        expressions = []
        for face, *rows in zip(faces, *predict_heads(self.classifier, crops), strict=True):
            predictions = [Prediction(row, head.labels) for row, head in zip(rows, heads, strict=True)]
            by_name = {prediction.labels.name: prediction for prediction in predictions}
            expressions.append(Expression(face, predictions[chosen], self.min_confidence, heads=by_name))
        return expressions


def _check_part(name: str, part: object, method: str) -> None:
    if not hasattr(part, method):
        raise ConfigError(f"{name} is of type {type(part).__name__}; expected a name, or an object with {method}")


def _checked(image: ImageArray) -> ImageArray:
    """Return the image.

    Raises:
        InputError: It is not RGB uint8 (H, W, 3); the message names the conversion.
    """
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        return image
    expected = "expected RGB uint8 (H, W, 3)"
    if not isinstance(image, np.ndarray):
        if isinstance(image, (str, Path)):
            raise InputError(f"the image is a path; {expected}: read it with mien.read_picture({str(image)!r})")
        convert = 'np.asarray(image.convert("RGB"))' if hasattr(image, "convert") else "an array of NumPy"
        raise InputError(f"the image is of type {type(image).__name__}; {expected}: pass {convert}")
    hint = ""
    if image.dtype != np.uint8:
        hint = ": scale to 0 to 255 and convert with image.astype(np.uint8)"
    elif image.ndim == 2 or image.shape[2:] == (1,):
        hint = ": convert grey with cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)"
    elif image.shape[2:] == (4,):
        hint = ": drop the alpha channel with image[:, :, :3]"
    raise InputError(f"the image has shape {image.shape} and dtype {image.dtype}; {expected}{hint}")
