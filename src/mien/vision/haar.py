"""Haar cascades: fast face detectors, part of OpenCV. See docs/decisions/0003 and 0018."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError, ModelError
from mien.images import to_rgb
from mien.pixels import to_grey
from mien.structures import Box, Face, ImageArray
from mien.vision.candidates import checked_score, checked_side, select_faces, shrink

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cascade:
    """A Haar cascade and the constants that map its stage sums to a score.

    Args:
        file: File name in `cv2.data.haarcascades`.
        threshold: `stageThreshold` of the last stage, from the file.
        even: Evidence with score 0.5: the best separation of faces from other objects on five photographs with 38
            faces and 40 frames of four clips, with YuNet's faces as the truth.
        step: Growth factor of the searched sizes. A larger one is faster and finds fewer faces: of the Solvay photo's
            29 faces "default" finds 28 at 1.15 and 18 at 1.25, "alt2" all at 1.15 and 28 at 1.25, in half the time.
    """

    file: str
    threshold: float
    even: float
    step: float = 1.15


CASCADES = {
    "default": Cascade("haarcascade_frontalface_default.xml", threshold=-2.993, even=22.0),
    "alt": Cascade("haarcascade_frontalface_alt.xml", threshold=105.761, even=4.0),
    "alt2": Cascade("haarcascade_frontalface_alt2.xml", threshold=53.756, even=4.0, step=1.25),
    "alt-tree": Cascade("haarcascade_frontalface_alt_tree.xml", threshold=-1.170, even=2.0),
}


class HaarDetector:
    """Detects upright frontal faces by a Haar cascade (Viola and Jones 2001): fast, and part of OpenCV.

    The cascade slides a window over the image at growing sizes. Overlapping windows that pass all stages form a face;
    its box is their mean, the frame that FER2013's faces were cropped with. Its evidence is the sum of the margins by
    which the windows exceed the threshold of the last stage, so the number of windows and their margins both count.
    Its score is evidence / (evidence + even), comparable between cascades, but not a probability.

    Args:
        cascade: Name in `CASCADES`.
        min_score: Minimum score of a face, in [0, 1].
        max_side: Larger images are downscaled to this many pixels on the long side, to bound the time, but at most by
            `MAX_SHRINK`. Faces below 40 pixels at that scale are skipped: they take most of the time and show little.
            So faces of 120 pixels are found in images of any size.

    Raises:
        ConfigError: Unknown cascade, or min_score or max_side is out of range.
        ModelError: OpenCV came without the cascade's file.
    """

    MIN_FACE = 40  # pixels; the smallest of 29 faces in the Solvay 1927 photo, at 1280 pixels, has 46
    MAX_SHRINK = 3.0  # so that photos of 48 megapixels and panoramas keep their faces; frames of 4K videos become 1280

    def __init__(self, cascade: str = "alt2", *, min_score: float = 0.5, max_side: int = 1280) -> None:
        if cascade not in CASCADES:
            raise ConfigError(f"unknown cascade '{cascade}'; choose from {', '.join(CASCADES)}")
        self.name = "haar" if cascade == "alt2" else f"haar-{cascade}"
        self.cascade = CASCADES[cascade]
        self.min_score = checked_score(min_score)
        self.max_side = checked_side(max_side)
        self._classifiers = _Pool(partial(_open_cascade, self.cascade.file))

    def detect(self, image: ImageArray) -> list[Face]:
        image = to_rgb(image)
        small, factor = shrink(image, max(self.max_side, round(max(image.shape[:2]) / self.MAX_SHRINK)))
        if min(small.shape[:2]) < self.MIN_FACE:
            return []
        with self._classifiers.lend() as classifier:
            windows, _, sums = classifier.detectMultiScale3(
                to_grey(small),
                scaleFactor=self.cascade.step,
                minNeighbors=0,  # all windows, ungrouped
                minSize=(self.MIN_FACE, self.MIN_FACE),
                outputRejectLevels=True,
            )
        margins = np.ravel(np.asarray(sums, np.float64)) - self.cascade.threshold
        faces = _group(np.asarray(windows, np.float64).reshape(-1, 4) * factor, margins, even=self.cascade.even)
        return select_faces(faces, min_score=self.min_score)


def _open_cascade(file: str) -> cv2.CascadeClassifier:
    """Open a cascade of OpenCV's.

    Raises:
        ModelError: This OpenCV came without it, as those of some systems and frozen apps do.
    """
    try:
        from cv2.data import haarcascades

        path = os.path.join(haarcascades, file)
        # OpenCV would print a line of its own about a missing file.
        cascade = cv2.CascadeClassifier(path) if os.path.isfile(path) else None
    except (ImportError, cv2.error, SystemError):
        cascade = None
    if cascade is None or cascade.empty():
        raise ModelError(
            f"OpenCV's file {file} is missing or damaged; reinstall opencv-python-headless, or use --detector yunet"
        )
    return cascade


class _Pool(Generic[T]):
    """Lends an OpenCV object to one call at a time, since two threads must not use one object at once.

    There are as many objects as calls overlap; a copy or a pickled pool starts with one of its own.

    Args:
        make: Creates an object; can be pickled.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle = deque([make()])

    @contextmanager
    def lend(self) -> Iterator[T]:
        try:
            item = self._idle.pop()  # atomic without a lock, which a fork could leave locked
        except IndexError:
            item = self._make()
        try:
            yield item
        finally:
            self._idle.append(item)

    def __reduce__(self) -> tuple[type[_Pool[T]], tuple[Callable[[], T]]]:
        return type(self), (self._make,)


def _group(windows: npt.NDArray[np.float64], margins: npt.NDArray[np.float64], *, even: float) -> list[Face]:
    """Merge overlapping windows into faces: those with an IoU of 0.35 or more with the strongest one.

    Args:
        windows: x, y, width, height, shape (n, 4).
        margins: Excess over the threshold of the cascade's last stage, shape (n,).
        even: Evidence with score 0.5.
    """
    order = np.lexsort((windows[:, 1], windows[:, 0], windows[:, 2], -margins))  # OpenCV's threads return any order
    corners = np.hstack([windows[:, :2], windows[:, :2] + windows[:, 2:]])[order]
    margins = margins[order]
    faces = []
    while len(corners):
        alike = _overlap(corners[0], corners) >= 0.35
        evidence = max(float(margins[alike].sum()), 0.0)
        faces.append(Face(Box(*(float(v) for v in corners[alike].mean(axis=0))), evidence / (evidence + even)))
        corners, margins = corners[~alike], margins[~alike]
    return faces


def _overlap(box: npt.NDArray[np.float64], boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the intersection over union of a box (4,) with boxes (n, 4), all x1, y1, x2, y2."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(shared / (areas + (box[2:] - box[:2]).prod() - shared), np.float64)
