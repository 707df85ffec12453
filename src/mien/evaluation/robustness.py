"""Robustness: the accuracy on images that were degraded as in real life, beside that on the same images as they are."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np

from mien.data.dataset import Dataset
from mien.evaluation.compare import paired_interval
from mien.evaluation.evaluate import happy_neutral
from mien.evaluation.metrics import confusion_matrix, per_class
from mien.evaluation.ranking import pair_auc
from mien.evaluation.results import DegradedResult, Evaluation
from mien.evaluation.score import accuracy_of
from mien.evaluation.views import predict_views
from mien.models.classifier import ExpressionClassifier
from mien.pixels import to_bgr
from mien.structures import BoolArray, FloatArray, ImageArray, Progress

Degradation: TypeAlias = Callable[[ImageArray], ImageArray]
CLEAN = "clean"


def at_face_size(image: ImageArray, *, pixels: int) -> ImageArray:
    """Return an image shrunk by area to a face of this many pixels a side, and enlarged to its size again.

    Args:
        image: Face crop, uint8 (H, W, C), whose shorter side counts as the side of the face.
        pixels: Side of the small face; a face that is not larger is returned as it is.
    """
    height, width = image.shape[:2]
    scale = pixels / min(height, width)
    if scale >= 1:
        return image
    size = (round(scale * width), round(scale * height))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return _shaped(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), image)


def blurred(image: ImageArray, *, ratio: float) -> ImageArray:
    """Return an image blurred by a Gaussian, σ as a ratio of its shorter side; edges are repeated. Of (H, W, C)."""
    sigma = ratio * min(image.shape[:2])
    return _shaped(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), image)


def as_jpeg(image: ImageArray, *, quality: int) -> ImageArray:
    """Return an image after JPEG compression of a quality from 0 to 100, at its own size. Of (H, W, C), grey or RGB."""
    data = cv2.imencode(".jpg", to_bgr(image), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    flag = cv2.IMREAD_GRAYSCALE if image.shape[2] == 1 else cv2.IMREAD_COLOR
    decoded = np.asarray(cv2.imdecode(data, flag), np.uint8)
    return _shaped(to_bgr(decoded), image)


def with_gamma(image: ImageArray, *, gamma: float) -> ImageArray:
    """Return 255 · (image / 255) ^ gamma: brighter below 1, darker above. Of uint8 (H, W, C)."""
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return np.asarray(table[image], np.uint8)


def noisy(image: ImageArray, *, sigma: float) -> ImageArray:
    """Return an image with Gaussian noise, σ in grey levels, independent per pixel and channel. Of uint8 (H, W, C).

    The noise is seeded by the image's pixels: the same for the same image, and another one for another image.
    """
    noise = np.random.default_rng(zlib.crc32(image.tobytes())).normal(0, sigma, image.shape)
    return np.asarray(np.clip(np.rint(image + noise), 0, 255), np.uint8)


def rotated(image: ImageArray, *, degrees: float) -> ImageArray:
    """Return an image turned counter-clockwise around its centre; edges are repeated outwards. Of uint8 (H, W, C)."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return _shaped(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), image)


def reframed(image: ImageArray, *, scale: float) -> ImageArray:
    """Return a crop as from a face box whose sides are `scale` times as long, at the size of the crop.

    Args:
        image: Face crop, uint8 (H, W, C).
        scale: Above 1 the crop shows more than is known: its edges are repeated outwards.
    """
    height, width = image.shape[:2]
    zoom = np.array([[scale, 0, (1 - scale) * (width - 1) / 2], [0, scale, (1 - scale) * (height - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return _shaped(cv2.warpAffine(image, zoom, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), image)


DEGRADATIONS: dict[str, Degradation] = {
    **{f"face of {pixels} px": partial(at_face_size, pixels=pixels) for pixels in (24, 32, 48, 64, 96)},
    **{f"blur, σ {100 * ratio:g} % of the face": partial(blurred, ratio=ratio) for ratio in (0.02, 0.04)},
    "JPEG, quality 20": partial(as_jpeg, quality=20),
    "gamma 0.5, brighter": partial(with_gamma, gamma=0.5),
    "gamma 2, darker": partial(with_gamma, gamma=2.0),
    "noise, σ 12 grey levels": partial(noisy, sigma=12),
    **{f"rotated by {degrees:+}°": partial(rotated, degrees=degrees) for degrees in (-15, 15)},
    **{f"box scaled by {scale}": partial(reframed, scale=scale) for scale in (0.85, 1.2)},
}


def degrade_evaluation(
    evaluation: Evaluation, classifier: ExpressionClassifier, dataset: Dataset, *, progress: Progress | None = None
) -> Evaluation:
    """Return the evaluation with the results on degraded images, one prediction each.

    The face crops are degraded, not the pictures, so a face that is found stays found. A degradation that changes no
    image, such as a face of 64 px in crops of 48, is left out.

    Args:
        evaluation: The classifier's evaluation of this dataset.
        classifier: The evaluated classifier.
        dataset: Provides the images.
        progress: Called with (done, total) after each degradation.

    Raises:
        ModelError: The probabilities have the wrong shape or are not finite.
    """
    images = dataset.images[evaluation.rows]
    clean = _predict(evaluation, classifier, images)
    results = [_result(CLEAN, clean, clean, evaluation)]
    for done, (name, degrade) in enumerate(DEGRADATIONS.items(), start=1):
        degraded = np.stack([degrade(image) for image in images])
        if not np.array_equal(degraded, images):
            results.append(_result(name, _predict(evaluation, classifier, degraded), clean, evaluation))
        if progress is not None:
            progress(done, len(DEGRADATIONS))
    return replace(evaluation, robustness=tuple(results))


def _predict(evaluation: Evaluation, classifier: ExpressionClassifier, images: ImageArray) -> FloatArray:
    """Return probabilities over the evaluated labels, not normalised, float32 (n, k)."""
    labels = evaluation.head.labels
    (predictions,) = predict_views(classifier, images, ["single"], head=labels.name)["single"]
    return np.asarray(predictions[:, [labels.labels.index(label) for label in evaluation.labels]], np.float32)


def _result(name: str, degraded: FloatArray, clean: FloatArray, evaluation: Evaluation) -> DegradedResult:
    targets, k = evaluation.targets, len(evaluation.labels)
    now, before = (probabilities.argmax(axis=1) == targets for probabilities in (degraded, clean))
    gained, lost = _count(now & ~before), _count(before & ~now)
    low, high = paired_interval(_count(now & before), gained, lost, _count(~now & ~before))
    pair = happy_neutral(evaluation.labels)
    return DegradedResult(
        name=name,
        accuracy=accuracy_of(now),
        lost=lost,
        gained=gained,
        difference=(gained - lost) / len(now),
        low=low,
        high=high,
        recalls=tuple(s.recall for s in per_class(confusion_matrix(targets, degraded.argmax(axis=1), n_classes=k))),
        happy_neutral=pair and pair_auc(degraded, targets, first=pair[0], second=pair[1]),
    )


def _count(mask: BoolArray) -> int:
    return int(mask.sum())


def _shaped(result: object, image: ImageArray) -> ImageArray:
    """Return a result of OpenCV, which drops the axis of a single channel, in the shape of the image."""
    return np.asarray(result, np.uint8).reshape(image.shape)
