"""Recognizer: detect, crop, classify, for one picture or a stream of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mien.errors import ConfigError, InputError
from mien.models.classifier import ExpressionClassifier, load_classifier, predict_heads
from mien.models.temporal import TemporalModel
from mien.structures import Expression, Face, FloatArray, Frame, ImageArray, Prediction
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector, load_detector


class Recognizer:
    """Sees faces and names their expressions.

    Args:
        detector: A detector, or a name in `vision.detect.DETECTORS`; Haar steps in, with a warning, for a YuNet that
            cannot be fetched.
        classifier: A classifier, or the name or path of a model.
        labels: Label set to answer with, where the model has several heads; its default one when None.
        min_confidence: Answer "uncertain" where no label is as probable as this, in [0, 1]; the probabilities stay.
            0 always gives the most probable label.
        models_dir: Where user models lie; the default directory when None.

    Raises:
        ConfigError: No detector of that name, or min_confidence is out of range.
        UnknownModel: No model of that name.
        ModelError: The model file is not usable, or has no such labels.

    Example:
        >>> from mien import Recognizer, frames
        >>> for frame, expressions in Recognizer().stream(frames("party.mp4")):
        ...     print(frame.time, [e.label for e in expressions])
    """

    def __init__(
        self,
        detector: FaceDetector | str = "haar",
        classifier: ExpressionClassifier | str = "base",
        *,
        labels: str | None = None,
        min_confidence: float = 0.0,
        models_dir: Path | None = None,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise ConfigError(f"min_confidence is {min_confidence}; expected 0 to 1")
        self.min_confidence = min_confidence
        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.classifier = (
            load_classifier(classifier, models_dir=models_dir) if isinstance(classifier, str) else classifier
        )
        self.head = self.classifier.spec.head(labels)
        self.temporal: TemporalModel | None = None  # see `follow_by`

    def follow_by(self, temporal: TemporalModel) -> None:
        """Have `live.Live` follow faces by a temporal model from now on, in place of smoothing.

        Raises:
            ModelError: It belongs to another classifier or label set.
        """
        temporal.check(self.classifier, self.head.labels)
        self.temporal = temporal

    def recognize(self, image: ImageArray) -> list[Expression]:
        """Return the faces of a picture with what they show; an empty list where there is no face.

        Args:
            image: RGB uint8 (H, W, 3).

        Raises:
            InputError: The array is not such a picture.
        """
        return self.classify(image, self.detect(image))

    def detect(self, image: ImageArray) -> list[Face]:
        """Return the faces of a picture, in the order of the detector: the first half of `recognize`.

        Args:
            image: RGB uint8 (H, W, 3).

        Raises:
            InputError: The array is not such a picture.
        """
        return self.detector.detect(_checked(image))

    def classify(self, image: ImageArray, faces: Sequence[Face]) -> list[Expression]:
        """Return what faces show, in their order, all classified in one batch: the second half of `recognize`.

        Args:
            image: RGB uint8 (H, W, 3).
            faces: In pixels of the picture, wherever they come from.

        Raises:
            InputError: The array is not such a picture.
        """
        crops = crop_faces(_checked(image), faces, geometry=self.classifier.spec.crop)
        return self._named(faces, self.classifier.predict_proba(crops, head=self.head.labels.name))

    def classify_by_heads(self, image: ImageArray, faces: Sequence[Face]) -> tuple[list[Expression], FloatArray]:
        """Return what `classify` does, and what all heads say side by side, (n, width), for the temporal model."""
        crops = crop_faces(_checked(image), faces, geometry=self.classifier.spec.crop)
        heads = predict_heads(self.classifier, crops)
        chosen = self.classifier.spec.heads.index(self.head)
        return self._named(faces, heads[chosen]), np.concatenate(heads, axis=1)

    def _named(self, faces: Sequence[Face], probabilities: FloatArray) -> list[Expression]:
        return [
            Expression(face, Prediction(row, self.head.labels), self.min_confidence)
            for face, row in zip(faces, probabilities, strict=True)
        ]

    def stream(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Expression]]]:
        """Yield every frame with its expressions, in order, each seen by itself; `live.Live` follows faces."""
        for frame in frames:
            yield frame, self.recognize(frame.image)


def _checked(image: ImageArray) -> ImageArray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != "uint8":
        raise InputError(f"a picture of shape {image.shape} and {image.dtype}; expected RGB uint8 (H, W, 3)")
    return image
