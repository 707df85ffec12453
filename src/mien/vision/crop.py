"""Crop faces from an image in the geometry of the training set. See docs/decisions/0005."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from mien.errors import ModelError
from mien.images import ImageLike, to_rgb
from mien.structures import Box, Face, ImageArray, checked_faces

Points = npt.NDArray[np.float64]  # (n, 2): x, y

# Measured on 600 FER2013 images, as fractions of the side of the square crop: YuNet's five landmarks (right eye, left
# eye, nose tip, right and left corner of the mouth, the person's right and left), and the box of the Haar detector.
FER2013_POINTS: Points = np.array([(0.32, 0.37), (0.67, 0.37), (0.48, 0.59), (0.35, 0.75), (0.64, 0.75)])
FER2013_HAAR_OFFSET = 0.01
FER2013_HAAR_SIDE = 0.97

MIN_SIDE = 48  # pixels of a crop; smaller faces are upscaled here, once, instead of here and for the network
WARP_LIMIT = 32_766  # pixels per side, of OpenCV's warpAffine
MARGIN = 4  # pixels around a frame that interpolation reads
MAX_SIDE = 256  # pixels, above every network's input; larger faces are first downscaled by area, against aliasing


def crop_faces(image: ImageLike, faces: Iterable[Face], *, geometry: str = "fer2013") -> list[ImageArray]:
    """Return a square crop of each face, framed as in the training set.

    A face with landmarks is aligned: rotated, scaled and shifted for the best fit of its five points. A face without
    them is cropped by its box, as from a Haar cascade, made square around its centre and rotated by its `roll`. A box
    that covers exactly the image (detector "whole") returns the image itself, of any shape. Beyond the edge of the
    image its last pixels are repeated.

    Args:
        image: See `mien.to_rgb`.
        faces: Faces in pixels of the image.
        geometry: `ModelSpec.crop`; "fer2013" is the only one.

    Returns:
        RGB uint8 crops in the order of the faces, with sides of 48 to 256 pixels, close to the size of the face.

    Raises:
        ModelError: Unknown geometry.
        InputError: Not such an image, or an impossible face; see `mien.structures.checked_faces`.
    """
    if geometry != "fer2013":
        raise ModelError(f"unknown crop geometry '{geometry}'; expected fer2013")
    pixels = to_rgb(image)
    return [_crop(pixels, face) for face in checked_faces(faces, pixels)]


def fit_similarity(source: Points, target: Points) -> Points:
    """Return the least-squares similarity transform from source to target points: rotation, scale and shift.

    Umeyama 1991, doi:10.1109/34.88573, without reflection.

    Args:
        source: Shape (n, 2), not all at one place.
        target: Shape (n, 2).

    Returns:
        Matrix m, shape (2, 3), with target ≈ m[:, :2] @ point + m[:, 2].
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred, wanted = source - source_mean, target - target_mean
    # In 2D the closed form needs no SVD: rotation and scale are one complex number, a + ib.
    spread = float((centred**2).sum())
    a = float((centred * wanted).sum()) / spread
    b = float((centred[:, 0] * wanted[:, 1] - centred[:, 1] * wanted[:, 0]).sum()) / spread
    linear = np.array([[a, -b], [b, a]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def _crop(image: ImageArray, face: Face) -> ImageArray:
    height, width = image.shape[:2]
    if face.landmarks is None and face.box == Box(0, 0, width, height):
        return image
    frame = _frame_of_box(face) if face.landmarks is None else _frame_of_landmarks(face)
    if max(height, width) > WARP_LIMIT:
        image, frame = _near(image, frame)
    return _cut(image, frame)


def _frame_of_landmarks(face: Face) -> Points:
    points = np.asarray(face.landmarks, np.float64)
    frame = fit_similarity(FER2013_POINTS, points)
    if not np.isfinite(frame).all() or _side(frame) < 1:  # all points at one place
        return _frame_of_box(face)
    return frame


def _frame_of_box(face: Face) -> Points:
    """Return the frame of a Haar box: the (2, 3) matrix from the unit square to pixels of the image."""
    box = face.box
    side = max(box.width, box.height, 1.0)
    frame_side = side / FER2013_HAAR_SIDE
    corner = -side / 2 - FER2013_HAAR_OFFSET * frame_side  # of the upright frame, from the centre of the box
    cos, sin = np.cos(np.radians(face.roll)), np.sin(np.radians(face.roll))
    rotation = np.array([[cos, sin], [-sin, cos]])
    centre = np.array([box.x1 + box.x2, box.y1 + box.y2]) / 2
    return np.column_stack([frame_side * rotation, centre + rotation @ [corner, corner]])


def _near(image: ImageArray, frame: Points) -> tuple[ImageArray, Points]:
    """Return the part of an image around a frame, and the frame in pixels of that part."""
    height, width = image.shape[:2]
    corners = frame[:, :2] @ np.array([[0, 1, 0, 1], [0, 0, 1, 1]]) + frame[:, 2:]
    x1, y1 = np.clip(np.floor(corners.min(1)) - MARGIN, 0, [width - 1, height - 1]).astype(int)
    x2, y2 = np.clip(np.ceil(corners.max(1)) + MARGIN, [x1 + 1, y1 + 1], [width, height]).astype(int)
    moved = frame.copy()
    moved[:, 2] -= [x1, y1]
    return image[y1:y2, x1:x2], moved


def _side(frame: Points) -> float:
    return float(np.hypot(frame[0, 0], frame[1, 0]))


def _cut(image: ImageArray, frame: Points) -> ImageArray:
    """Sample a frame, the (2, 3) matrix from the unit square to pixels of the image, as a square crop."""
    side = _side(frame)
    size = int(np.clip(round(side), MIN_SIDE, MAX_SIDE))
    if side > MAX_SIDE:
        image, frame = _shrink(image, frame, MAX_SIDE / side)
    # Pixel i covers [i, i + 1), but OpenCV's coordinates are those of its centre: hence the halves.
    to_image = frame.copy()
    to_image[:, :2] /= size
    to_image[:, 2] += to_image[:, :2] @ [0.5, 0.5] - 0.5
    crop = cv2.warpAffine(
        image,
        to_image,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(crop, np.uint8)


def _shrink(image: ImageArray, frame: Points, scale: float) -> tuple[ImageArray, Points]:
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, frame * np.array([[size[0] / width], [size[1] / height]])
