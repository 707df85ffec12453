"""Views: test-time augmentation, the transforms of an image whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from mien.errors import ConfigError, ModelError
from mien.models.classifier import ExpressionClassifier
from mien.structures import FloatArray, ImageArray, Progress

Transform: TypeAlias = Callable[[ImageArray], ImageArray]
CORNERS = {  # share of the margin above the crop, and to the left of it
    "top left": (0.0, 0.0),
    "top right": (0.0, 1.0),
    "bottom left": (1.0, 0.0),
    "bottom right": (1.0, 1.0),
    "centre": (0.5, 0.5),
}
CROP_RATIO = 42 / 48  # 224 / 256 in Krizhevsky et al. 2012


def mirrored(images: ImageArray) -> ImageArray:
    """Return the mirror images, of images (n, H, W, C)."""
    return np.ascontiguousarray(images[:, :, ::-1])


def cropped(images: ImageArray, *, down: float, right: float, mirror: bool) -> ImageArray:
    """Return the same crop of each image; the model's preprocessing resizes it.

    Args:
        images: uint8 (n, H, W, C).
        down: Vertical position, 0 for the top to 1 for the bottom.
        right: Horizontal position, 0 for the left to 1 for the right.
        mirror: Whether to mirror the crop.

    Returns:
        uint8 (n, h, w, C), its sides `CROP_RATIO` of the image's, rounded.
    """
    height, width = images.shape[1:3]
    h, w = round(CROP_RATIO * height), round(CROP_RATIO * width)
    y, x = round(down * (height - h)), round(right * (width - w))
    crops = images[:, y : y + h, x : x + w]
    return mirrored(crops) if mirror else crops


CROPS: dict[str, Transform] = {
    name: partial(cropped, down=down, right=right, mirror=mirror)
    for corner, (down, right) in CORNERS.items()
    for name, mirror in ((corner, False), (f"{corner}, mirrored", True))
}
TRANSFORMS: dict[str, Transform] = {"identity": lambda images: images, "mirrored": mirrored, **CROPS}
# View -> the transforms whose probabilities are averaged (arithmetic mean).
VIEWS: dict[str, tuple[str, ...]] = {
    "single": ("identity",),
    "flip": ("identity", "mirrored"),
    "tencrop": tuple(CROPS),  # Krizhevsky et al. 2012, section 4.1
}


def predict_views(
    classifier: ExpressionClassifier,
    images: ImageArray,
    views: Sequence[str] = ("single",),
    *,
    head: str | None = None,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> dict[str, FloatArray]:
    """Return a classifier's probabilities for each transform of each view.

    A transform that several views share is predicted once.

    Args:
        classifier: Any object with a `spec` and `predict_proba`.
        images: uint8 (n, H, W, C).
        views: Names in `VIEWS`.
        head: Label set of the model's output; None for the default one.
        batch_size: Images per call of the classifier.
        progress: Called with (done, total) after each batch; each image counts once per transform.

    Returns:
        By view, float32 (m, n, k): m transforms, in the order of `VIEWS`.

    Raises:
        ConfigError: No view, or an unknown one.
        ModelError: No such head, or the probabilities have the wrong shape or are not finite.
    """
    needed = transforms_of(views)
    k = len(classifier.spec.head(head).labels)
    predictions = {name: np.empty((len(images), k), np.float32) for name in needed}
    done = 0
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        for name in needed:
            probabilities = classifier.predict_proba(list(TRANSFORMS[name](batch)), head=head)
            _check_probabilities(probabilities, (len(batch), k), classifier.spec.name)
            predictions[name][start : start + len(batch)] = probabilities
            done += len(batch)
            if progress is not None:
                progress(done, len(needed) * len(images))
    return {view: np.stack([predictions[name] for name in VIEWS[view]]) for view in views}


def transforms_of(views: Sequence[str]) -> list[str]:
    """Return each transform that the views need, once.

    Raises:
        ConfigError: No view, or an unknown one.
    """
    unknown = [view for view in views if view not in VIEWS]
    if unknown or not views:
        raise ConfigError(f"no view '{', '.join(unknown)}'; choose from {', '.join(VIEWS)}")
    return [name for name in TRANSFORMS if any(name in VIEWS[view] for view in views)]


def _check_probabilities(probabilities: FloatArray, expected: tuple[int, int], model: str) -> None:
    if probabilities.shape != expected or not np.isfinite(probabilities).all():
        raise ModelError(
            f"model '{model}' returned {probabilities.shape} probabilities, or some that are not finite; "
            f"expected {expected} numbers in [0, 1]; export it again"
        )
