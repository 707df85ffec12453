"""Face detectors by name. See docs/decisions/0004."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Protocol

from mien.download import is_offline
from mien.errors import ConfigError, ModelError
from mien.images import to_rgb
from mien.structures import Box, Face, ImageArray
from mien.vision.candidates import checked_score
from mien.vision.fetch import is_news, yunet_path
from mien.vision.haar import HaarDetector
from mien.vision.yunet import YuNetDetector


class FaceDetector(Protocol):
    """Finds faces. A detector may be shared between threads and pickled."""

    def detect(self, image: ImageArray) -> list[Face]:
        """Return the faces of an image, in any order.

        Args:
            image: RGB uint8 (H, W, 3); not changed.

        Returns:
            Faces in pixels of the image; an empty list if there are none. mien's detectors sort them by
            decreasing score, then left to right and top to bottom.
        """
        ...


class WholeImage:
    """Returns the whole image as one face, for images that are cropped already.

    Args:
        min_score: Accepted like other detectors' and without effect, as the score is 1.
    """

    name = "whole"

    def __init__(self, *, min_score: float = 0.0) -> None:
        checked_score(min_score)

    def detect(self, image: ImageArray) -> list[Face]:
        image = to_rgb(image)
        height, width = image.shape[:2]
        return [Face(Box(0.0, 0.0, float(width), float(height)), score=1.0)] if image.size else []


def auto_detector(*, min_score: float | None = None) -> FaceDetector:
    """Return YuNet, or Haar, with one warning, where YuNet's file cannot be fetched or is damaged.

    A failed fetch is not repeated for some hours, see `fetch.RETRY_HOURS`, nor its warning in other processes of the
    same day. $MIEN_OFFLINE forbids it, without a warning.

    Args:
        min_score: Minimum score of a face, in [0, 1]; the detector's default when None. Scores of different detectors
            are not comparable.

    Raises:
        ConfigError: min_score is out of range.
    """
    try:
        return _create(partial(YuNetDetector, yunet_path(retry=False)), min_score)
    except ModelError as error:
        if os.environ.get("MIEN_YUNET"):
            _warn_once(f"using the Haar detector: {error}; correct or unset it; --detector haar silences this")
        elif not is_offline() and is_news(str(error)):
            _warn_once(f"using the Haar detector: {error}; --detector haar or MIEN_OFFLINE=1 silences this")
        return _create(HaarDetector, min_score)


DETECTORS: dict[str, Callable[..., FaceDetector]] = {
    "auto": auto_detector,
    "yunet": YuNetDetector,
    "haar": HaarDetector,
    "haar-alt": partial(HaarDetector, "alt"),
    "haar-default": partial(HaarDetector, "default"),
    "haar-alt-tree": partial(HaarDetector, "alt-tree"),
    "whole": WholeImage,
}


def load_detector(name: str = "auto", *, min_score: float | None = None) -> FaceDetector:
    """Return a detector by its name.

    Args:
        name: Name in `DETECTORS`. "auto" is YuNet, or Haar, with one warning, where YuNet's file cannot be had.
        min_score: Minimum score of a face, in [0, 1]; the detector's default when None.

    Raises:
        ConfigError: Unknown detector, or min_score is out of range.
        ModelError: "yunet" was asked for, and its file cannot be fetched or read.
    """
    if not isinstance(name, str) or name not in DETECTORS:
        raise ConfigError(f"unknown detector '{name}'; choose from {', '.join(DETECTORS)}")
    return _create(DETECTORS[name], min_score)


def detector_name(detector: FaceDetector) -> str:
    """Return the name of a detector: its `name`, as in `DETECTORS`, or the name of its class."""
    return str(getattr(detector, "name", type(detector).__name__))


def _create(make: Callable[..., FaceDetector], min_score: float | None) -> FaceDetector:
    return make() if min_score is None else make(min_score=checked_score(min_score))


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=5)  # at the caller of load_detector
