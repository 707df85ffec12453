"""Steps that detectors share: downscale the image before the search, drop overlapping candidates after it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from mien.settings import Range
from mien.structures import Box, Face, ImageArray


def checked_score(min_score: float) -> float:
    """Return min_score, or raise ConfigError unless it is in [0, 1]."""
    return Range(0, 1).check("min_score", min_score)


def checked_side(max_side: int) -> int:
    """Return max_side, or raise ConfigError unless it is at least one pixel."""
    return int(Range(1).check("max_side", max_side))


def shrink(image: ImageArray, side: int) -> tuple[ImageArray, npt.NDArray[np.float64]]:
    """Downscale to at most `side` pixels on the long side; return the factors of (x, y, width, height) as well."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width, 1))
    if scale == 1:
        return image, np.ones(4)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, np.array([width / size[0], height / size[1]] * 2)


def select_faces(faces: list[Face], *, min_score: float) -> list[Face]:
    """Return the faces of at least min_score, by score, then place, without those that overlap a better one."""
    ordered = sorted(faces, key=lambda face: (-face.score, face.box.x1, face.box.y1))
    kept: list[Face] = []
    for face in ordered:
        if face.score >= min_score and not any(_is_same(face.box, other.box) for other in kept):
            kept.append(replace(face, score=min(face.score, 1.0)))
    return kept


def _is_same(box: Box, other: Box) -> bool:
    """Return whether the IoU of two boxes exceeds 0.3, or 60 % of the smaller one is inside the other."""
    return box.iou(other) > 0.3 or box.intersection(other) > 0.6 * min(box.area, other.area)
