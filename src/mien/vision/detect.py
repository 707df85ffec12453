"""Face detectors: Haar cascades, part of OpenCV, and YuNet, which finds more faces."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import cv2
import cv2.data
import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError, ModelError
from mien.pixels import to_grey
from mien.structures import Box, Face, FloatArray, ImageArray

YUNET_FILE = "face_detection_yunet_2026may.onnx"
YUNET_URL = f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{YUNET_FILE}"
YUNET_HASH = "sha256:ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
FETCH_TIMEOUT = 8  # seconds; without network the Haar detector is used after that
T = TypeVar("T")


class FaceDetector(Protocol):
    """Finds faces. A detector may be shared between threads and pickled."""

    def detect(self, image: ImageArray) -> list[Face]:
        """Return the faces of an image, in any order.

        Args:
            image: RGB uint8 (H, W, 3); not changed.

        Returns:
            Faces in pixels of the image; an empty list if there are none. The detectors of this module sort them by
            decreasing score, then left to right and top to bottom.
        """
        ...


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
        max_side: Larger images are downscaled to this many pixels on the long side, to bound the time. Faces below 40
            pixels at that scale are skipped: they take most of the time and show little.

    Raises:
        ConfigError: Unknown cascade, or min_score is out of range.
    """

    MIN_FACE = 40  # pixels; the smallest of 29 faces in the Solvay 1927 photo, at 1280 pixels, has 46

    def __init__(self, cascade: str = "alt2", *, min_score: float = 0.5, max_side: int = 1280) -> None:
        if cascade not in CASCADES:
            raise ConfigError(f"unknown cascade '{cascade}'; choose from {', '.join(CASCADES)}")
        self.name = "haar" if cascade == "alt2" else f"haar-{cascade}"
        self.cascade = CASCADES[cascade]
        self.min_score = _checked_score(min_score)
        self.max_side = max_side
        self._classifiers = _Pool(partial(_open_cascade, self.cascade.file))

    def detect(self, image: ImageArray) -> list[Face]:
        small, factor = _shrink(image, self.max_side)
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
        return _select(faces, min_score=self.min_score)


class YuNetDetector:
    """Detects small, rotated and occluded faces too, with five landmarks, by YuNet.

    Wu et al. 2023, doi:10.1007/s11633-023-1423-y. Images with more than 640 pixels on the long side are searched
    twice, the second time downscaled to that, since the network was trained on faces of 10 to 300 pixels and
    misplaces larger ones.

    Args:
        path: ONNX file; when None, $MIEN_YUNET, or OpenCV's file, fetched on first use.
        min_score: Minimum score of a face, in [0, 1].
        max_side: Larger images are downscaled to this many pixels on the long side, to bound the time.

    Raises:
        ConfigError: min_score is out of range.
        ModelError: The file cannot be read or fetched, or is another network.
    """

    name = "yunet"
    SECOND_SIDE = 640  # pixels on the long side, in the second search
    MIN_SIDE = 64  # smaller images are padded: FaceDetectorYN returns random boxes for 32 pixels

    def __init__(self, path: str | Path | None = None, *, min_score: float = 0.6, max_side: int = 1280) -> None:
        self.min_score = _checked_score(min_score)
        self.max_side = max_side
        file = yunet_path() if path is None else Path(path)
        try:
            self._networks = _Pool(partial(_open_yunet, file.read_bytes(), self.min_score))
        except (OSError, cv2.error) as error:
            raise ModelError(f"cannot load the YuNet detector from '{file}'; expected {YUNET_FILE}") from error

    def detect(self, image: ImageArray) -> list[Face]:
        if image.size == 0:
            return []
        sides = {min(self.max_side, max(image.shape[:2])), min(self.SECOND_SIDE, max(image.shape[:2]))}
        faces = [face for side in sorted(sides) for face in self._search(image, side)]
        return _select(faces, min_score=self.min_score)

    def _search(self, image: ImageArray, side: int) -> list[Face]:
        small, factor = _shrink(image, side)
        bgr = _pad(np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), np.uint8), self.MIN_SIDE)
        with self._networks.lend() as network:
            network.setInputSize((bgr.shape[1], bgr.shape[0]))
            _, rows = network.detect(bgr)
        # Per face: x, y, width, height, five points (right eye, left eye, nose, right and left mouth corner), score.
        if rows is None:
            return []
        found = np.asarray(rows, np.float32)
        whole = np.isfinite(found).all(axis=1) & (found[:, 2:4] > 0).all(axis=1)
        return [_yunet_face(row, factor) for row in found[whole]]


def _open_cascade(file: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(os.path.join(cv2.data.haarcascades, file))


def _open_yunet(network: bytes, min_score: float) -> cv2.FaceDetectorYN:
    buffer = np.frombuffer(network, np.uint8)
    return cv2.FaceDetectorYN.create("onnx", buffer, np.empty(0, np.uint8), (320, 320), score_threshold=min_score)


class WholeImage:
    """Returns the whole image as one face, for images that are cropped already.

    Args:
        min_score: Accepted like other detectors' and without effect, as the score is 1.
    """

    name = "whole"

    def __init__(self, *, min_score: float = 0.0) -> None:
        _checked_score(min_score)

    def detect(self, image: ImageArray) -> list[Face]:
        height, width = image.shape[:2]
        return [Face(Box(0.0, 0.0, float(width), float(height)), score=1.0)] if image.size else []


DETECTORS: dict[str, Callable[..., FaceDetector]] = {
    "haar": HaarDetector,
    "haar-alt": partial(HaarDetector, "alt"),
    "haar-default": partial(HaarDetector, "default"),
    "haar-alt-tree": partial(HaarDetector, "alt-tree"),
    "yunet": YuNetDetector,
    "whole": WholeImage,
}


def create_detector(name: str, *, min_score: float | None = None) -> FaceDetector:
    """Return a detector by its name.

    Args:
        name: Name in `DETECTORS`.
        min_score: Minimum score of a face, in [0, 1]; the detector's default when None.

    Raises:
        ConfigError: Unknown detector, or min_score is out of range.
        ModelError: YuNet's file cannot be fetched or read.
    """
    if name not in DETECTORS:
        raise ConfigError(f"unknown detector '{name}'; choose from {', '.join(DETECTORS)}")
    return DETECTORS[name]() if min_score is None else DETECTORS[name](min_score=_checked_score(min_score))


def load_detector(name: str, *, min_score: float | None = None) -> FaceDetector:
    """Return a detector by its name, or Haar, with one warning, if YuNet's file cannot be fetched.

    The Haar detector then has its default min_score, since scores of different detectors are not comparable.

    Args:
        name: Name in `DETECTORS`.
        min_score: Minimum score of a face, in [0, 1]; the detector's default when None.

    Raises:
        ConfigError: Unknown detector, or min_score is out of range.
        ModelError: The file named by $MIEN_YUNET cannot be read.
    """
    try:
        return create_detector(name, min_score=min_score)
    except _NotFetched as error:
        _warn_once(f"{error}. Using the Haar detector, which finds fewer faces")
        return HaarDetector()


def detector_name(detector: FaceDetector) -> str:
    """Return the name of a detector: its `name`, as in `DETECTORS`, or the name of its class."""
    return str(getattr(detector, "name", type(detector).__name__))


def yunet_path() -> Path:
    """Return the path of YuNet's file: $MIEN_YUNET, or OpenCV's file in the user's cache, fetched on first use.

    Raises:
        ModelError: The file is missing or cannot be fetched; the message has the steps for an offline machine.
    """
    if given := os.environ.get("MIEN_YUNET"):
        if not Path(given).is_file():
            raise ModelError(f"MIEN_YUNET is '{given}', which is not a file; expected the path of {YUNET_FILE}")
        return Path(given)
    path, problem = _fetch_yunet()
    if path is None:
        raise _NotFetched(problem)
    return path


class _NotFetched(ModelError):
    """YuNet's file is missing and could not be fetched."""


@cache
def _fetch_yunet() -> tuple[Path | None, str]:
    """Return the path of the fetched file, or None and the reason; tried once per process, failures included."""
    import pooch  # slow to import, rarely needed

    folder = pooch.os_cache("mien")
    pooch.get_logger().setLevel("WARNING")
    try:
        downloader = pooch.HTTPDownloader(timeout=FETCH_TIMEOUT)
        path = pooch.retrieve(YUNET_URL, YUNET_HASH, fname=YUNET_FILE, path=folder, downloader=downloader)
    except (OSError, ValueError) as error:  # network errors are OSErrors; ValueError: another hash
        return None, (
            f"cannot fetch the YuNet detector ({type(error).__name__}); get {YUNET_URL} on another machine and "
            f"set MIEN_YUNET to its path, or put it into {folder}"
        )
    return Path(path), ""


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=3)


def _checked_score(min_score: float) -> float:
    if not 0 <= min_score <= 1:
        raise ConfigError(f"min_score is {min_score}; expected 0 to 1")
    return min_score


def _shrink(image: ImageArray, side: int) -> tuple[ImageArray, npt.NDArray[np.float64]]:
    """Downscale to at most `side` pixels on the long side; return the factors of (x, y, width, height) as well."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width, 1))
    if scale == 1:
        return image, np.ones(4)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, np.array([width / size[0], height / size[1]] * 2)


def _pad(image: ImageArray, side: int) -> ImageArray:
    """Pad with black on the right and at the bottom to at least `side` pixels each way."""
    height, width = image.shape[:2]
    below, right = max(0, side - height), max(0, side - width)
    if not below and not right:
        return image
    return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)


def _yunet_face(row: FloatArray, factor: npt.NDArray[np.float64]) -> Face:
    x, y, width, height = (float(value) for value in row[:4] * factor)
    landmarks = (row[4:14].reshape(5, 2) * factor[:2]).astype(np.float32)
    return Face(Box(x, y, x + width, y + height), float(row[14]), landmarks)


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


def _select(faces: list[Face], *, min_score: float) -> list[Face]:
    """Return the faces of at least min_score, by score, then place, without those that overlap a better one."""
    ordered = sorted(faces, key=lambda face: (-face.score, face.box.x1, face.box.y1))
    kept: list[Face] = []
    for face in ordered:
        if face.score >= min_score and not any(_is_same(face.box, other.box) for other in kept):
            kept.append(replace(face, score=min(face.score, 1.0)))
    return kept


def _is_same(box: Box, other: Box) -> bool:
    """Return whether the IoU of two boxes exceeds 0.3, or 60 % of the smaller one is inside the other."""
    iou = box.iou(other)
    if iou > 0.3:
        return True
    shared = iou * (box.area + other.area) / (1 + iou)
    return shared > 0.6 * min(box.area, other.area)
