"""Faces in rotated images, such as scans and phone pictures without EXIF: a search at other angles.

See docs/decisions/0038.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from mien.images import ImageLike, to_rgb
from mien.structures import Box, Face, ImageArray, checked_faces
from mien.vision.candidates import shrink
from mien.vision.detect import FaceDetector

Matrix = npt.NDArray[np.float64]  # (2, 3), affine, or (2, 2)

# Of 150 news photos YuNet finds all faces rotated by 15 degrees, 87 % by 30, 41 % by 45; so 45 degrees apart is enough.
ANGLES = tuple(range(45, 360, 45))
SEARCH_SIDE, SIDE = 480, 1280  # pixels on the long side, for the choice of the angle and for the faces at that angle


def detect_rotated(detector: FaceDetector, image: ImageLike) -> list[Face]:
    """Return the faces of an image that may be rotated: upright ones, else those at the angle of the best score.

    Upright faces are returned at once if one has the detector's `upright_score`, or any score where a detector has no
    such attribute. Else seven other angles are searched in a small copy, where faces below some 15 pixels are missed.

    Args:
        detector: Finds upright faces.
        image: See `mien.to_rgb`.

    Returns:
        Faces in pixels of the image, with the angle as their `roll`. A box stays parallel to the image, around the
        centre of the face.

    Raises:
        InputError: The image has an unsupported type, shape or value range, or the detector returns anything other than
            faces.
    """
    image = to_rgb(image)
    faces = checked_faces(detector.detect(image))  # a detector may be anyone's
    best = _best(faces)
    if image.size == 0 or (faces and best >= getattr(detector, "upright_score", 0.0)):
        return faces
    small = shrink(image, SEARCH_SIDE)
    candidates = {angle: _detect_at(detector, *small, angle) for angle in ANGLES}
    angle = max(candidates, key=lambda angle: _best(candidates[angle]))
    if _best(candidates[angle]) <= best:
        return faces
    return _detect_at(detector, *shrink(image, SIDE), angle) or candidates[angle]


def _detect_at(detector: FaceDetector, image: ImageArray, factor: npt.NDArray[np.float64], angle: float) -> list[Face]:
    """Return the faces of a rotated image, in pixels of the image before `shrink`, which gave the factor."""
    turned, back = _turn(image, angle)
    return [_turn_back(face, angle, back * factor[:2, None]) for face in checked_faces(detector.detect(turned))]


def _best(faces: list[Face]) -> float:
    return max((face.score for face in faces), default=0.0)


def _turn(image: ImageArray, angle: float) -> tuple[ImageArray, Matrix]:
    """Rotate an image clockwise by an angle in degrees, black around it; return the matrix back to the image too."""
    height, width = image.shape[:2]
    rotation = _rotation(angle)
    size = np.maximum(np.rint(np.abs(rotation) @ [width, height]), 1)
    back = np.column_stack([rotation, np.array([width, height]) / 2 - rotation @ size / 2])
    centres = back.copy()
    centres[:, 2] += rotation @ [0.5, 0.5] - 0.5  # OpenCV's coordinates are those of a pixel's centre
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, centres, (int(size[0]), int(size[1])), flags=flags), np.uint8), back


def _turn_back(face: Face, angle: float, back: Matrix) -> Face:
    """Map a face to the image; sides of its box swap at 90 degrees, and are equal at 45."""
    box, points = face.box, face.landmarks
    if points is not None:
        points = (points @ back[:, :2].T + back[:, 2]).astype(np.float32)
    x, y = back[:, :2] @ [(box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2] + back[:, 2]
    shares = np.abs(_rotation(angle))
    width, height = shares @ [box.width, box.height] / shares.sum(axis=1) * np.hypot(*back[0, :2])
    box = Box(float(x - width / 2), float(y - height / 2), float(x + width / 2), float(y + height / 2))
    return replace(face, box=box, landmarks=points, roll=float(angle))


def _rotation(angle: float) -> Matrix:
    """Return the (2, 2) matrix from an image rotated clockwise by an angle in degrees back to the image."""
    cos, sin = float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))
    return np.array([[cos, sin], [-sin, cos]]).round(12)  # exact at right angles
