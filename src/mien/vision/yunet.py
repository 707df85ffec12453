"""YuNet: a face detector that finds small, turned and partly covered faces, run by ONNX Runtime.

See docs/decisions/0037.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mien.errors import ModelError
from mien.files import as_path
from mien.images import to_rgb
from mien.models.runtime import Session
from mien.structures import Box, Face, FloatArray, ImageArray
from mien.vision.candidates import checked_score, checked_side, select_faces, shrink
from mien.vision.fetch import YUNET_FILE, yunet_path

STRIDES = (8, 16, 32)  # pixels of the image per cell, in each of the three output maps
OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)
NMS_IOU = 0.3  # of cv2.FaceDetectorYN
NMS_TOP = 5000


class YuNetDetector:
    """Detects small, rotated and occluded faces too, with five landmarks, by YuNet.

    Wu et al. 2023, doi:10.1007/s11633-023-1423-y. Images with more than 640 pixels on the long side are searched
    twice, the second time downscaled to that, since the network was trained on faces of 10 to 300 pixels and
    misplaces larger ones.

    Each call computes on its caller's thread alone; threads share one ONNX Runtime session.

    Args:
        path: ONNX file; when None, $MIEN_YUNET, or OpenCV's file, fetched on first use.
        min_score: Minimum score of a face, in [0, 1].
        max_side: Larger images are downscaled to this many pixels on the long side, to bound the time.

    Raises:
        ConfigError: min_score or max_side is out of range.
        ModelError: The file cannot be read or fetched, or is another network.
    """

    name = "yunet"
    # For `detect_rotated`: nine of ten upright faces in 150 news photos score more, nine of ten inverted ones less.
    upright_score = 0.9
    SECOND_SIDE = 640  # pixels on the long side, in the second search

    def __init__(self, path: str | Path | None = None, *, min_score: float = 0.6, max_side: int = 1280) -> None:
        self.min_score = checked_score(min_score)
        self.max_side = checked_side(max_side)
        file = yunet_path() if path is None else as_path(path)
        try:
            self._session = Session(file, threads=1)
            self.search(np.zeros((64, 96, 3), np.uint8), 96)
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise ModelError(f"cannot load the YuNet detector from '{file}'; expected {YUNET_FILE}") from error

    def detect(self, image: ImageArray) -> list[Face]:
        image = to_rgb(image)
        if image.size == 0:
            return []
        sides = {min(self.max_side, max(image.shape[:2])), min(self.SECOND_SIDE, max(image.shape[:2]))}
        faces = [face for side in sorted(sides) for face in self.search(image, side)]
        return select_faces(faces, min_score=self.min_score)

    def search(self, image: ImageArray, side: int) -> list[Face]:
        """Return the faces of one search as `cv2.FaceDetectorYN` does; see `candidates.shrink`."""
        small, factor = shrink(image, side)
        pixels = _network_input(small)
        outputs = self._session.run(list(OUTPUTS), {self._session.inputs[0].name: pixels})
        columns = pixels.shape[3]
        rows = _suppress(_decode(dict(zip(OUTPUTS, outputs, strict=True)), columns, self.min_score), self.min_score)
        return [_face(row, factor) for row in rows]


def _network_input(image: ImageArray) -> FloatArray:
    """Return BGR float32 (1, 3, H, W) in [0, 255], padded with black at the right and bottom to multiples of 32."""
    height, width = image.shape[:2]
    pixels = np.zeros((1, 3, height + -height % STRIDES[-1], width + -width % STRIDES[-1]), np.float32)
    pixels[0, :, :height, :width] = image[:, :, ::-1].transpose(2, 0, 1)
    return pixels


def _decode(outputs: Mapping[str, FloatArray], width: int, min_score: float) -> FloatArray:
    """Return the candidates of at least min_score, as cv2.FaceDetectorYN decodes them.

    Args:
        outputs: By name, each (1, cells, channels): cls and obj, whose geometric mean is the score; bbox, centre and
            logarithm of the size; kps, the five points. Lengths are in cells, points relative to their cell.
        width: Width of the network's input in pixels.
        min_score: In [0, 1].

    Returns:
        Shape (n, 15), in pixels: x, y, width, height, five points (right eye, left eye, nose, right and left corner of
        the mouth), score.
    """
    found = []
    for stride in STRIDES:
        scores = np.sqrt(np.clip(outputs[f"cls_{stride}"], 0, 1) * np.clip(outputs[f"obj_{stride}"], 0, 1))[0, :, 0]
        kept = np.flatnonzero(scores >= min_score)
        cells = np.column_stack([kept % (width // stride), kept // (width // stride)]).astype(np.float32)
        boxes, points = outputs[f"bbox_{stride}"][0, kept], outputs[f"kps_{stride}"][0, kept]
        sizes = np.exp(boxes[:, 2:]) * stride
        corners = (cells + boxes[:, :2]) * stride - sizes / 2
        points = (points + np.tile(cells, 5)) * stride
        found.append(np.hstack([corners, sizes, points, scores[kept, None]]))
    rows = np.concatenate(found).astype(np.float32)
    return rows[np.isfinite(rows).all(axis=1)]


def _suppress(rows: FloatArray, min_score: float) -> FloatArray:
    """Drop candidates that overlap a better one; boxes are cut to whole pixels, as in cv2.FaceDetectorYN."""
    boxes, scores = rows[:, :4].astype(np.int64), rows[:, 14]
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), min_score, NMS_IOU, top_k=NMS_TOP)
    return rows[np.asarray(kept, np.int64)]


def _face(row: FloatArray, factor: npt.NDArray[np.float64]) -> Face:
    x, y, width, height = (float(value) for value in row[:4] * factor)
    landmarks = (row[4:14].reshape(5, 2) * factor[:2]).astype(np.float32)
    return Face(Box(x, y, x + width, y + height), float(row[14]), landmarks)
