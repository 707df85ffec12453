"""Faces are found in pictures rotated by any angle, in pixels of the picture."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from detectors import yunet_file
from mien.models.classifier import load_classifier
from mien.recognizer import Recognizer
from mien.sources.pictures import read_picture
from mien.structures import Box, Expression, Face, ImageArray
from mien.vision import rotated as module
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector
from mien.vision.haar import HaarDetector
from mien.vision.rotated import ANGLES, detect_rotated
from mien.vision.yunet import YuNetDetector

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
CENTRE = (224.0, 117.0)  # of the face, in pixels of the photo


def yunet() -> FaceDetector:
    return YuNetDetector(yunet_file())


DETECTORS: dict[str, Callable[[], FaceDetector]] = {"haar": HaarDetector, "yunet": yunet}


@pytest.fixture(scope="module")
def photo() -> ImageArray:
    """The astronaut, wider than high."""
    return read_picture(PHOTO)[:400]


def rotated(image: ImageArray, angle: float) -> tuple[ImageArray, tuple[float, float]]:
    """Rotate counter-clockwise around the centre, nothing cut off; return the place of the face too."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    size = np.rint(np.abs(matrix[:, :2]) @ [width, height]).astype(int)
    matrix[:, 2] += (size - [width, height]) / 2
    turned_image = cv2.warpAffine(image, matrix, (int(size[0]), int(size[1])))
    x, y = matrix @ [CENTRE[0] - 0.5, CENTRE[1] - 0.5, 1] + 0.5  # OpenCV's coordinates are those of a pixel's centre
    return np.asarray(turned_image, np.uint8), (float(x), float(y))


def recognize_one(detector: FaceDetector, image: ImageArray) -> Expression:
    [expression] = Recognizer(detector, load_classifier("base", threads=1)).recognize(image)
    return expression


def difference(one: Expression, other: Expression) -> float:
    return float(np.abs(one.prediction.probabilities - other.prediction.probabilities).max())


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("name", DETECTORS)
def test_a_lying_picture_gives_the_rotated_box_and_the_same_probabilities(
    name: str, quarters: int, photo: ImageArray
) -> None:
    detector = DETECTORS[name]()
    upright, lying = (recognize_one(detector, np.rot90(photo, k).copy()) for k in (0, quarters))
    height, width = photo.shape[:2]
    corners = np.array([[upright.face.box.x1, upright.face.box.y1], [upright.face.box.x2, upright.face.box.y2]])
    for _ in range(quarters):  # counter-clockwise: the right edge becomes the upper one
        corners, width, height = np.column_stack([corners[:, 1], width - corners[:, 0]]), height, width
    expected = Box(*corners.min(axis=0), *corners.max(axis=0))
    assert lying.face.box.iou(expected) > 0.99
    assert lying.face.roll == 90 * quarters
    assert difference(upright, lying) < 0.02


@pytest.mark.parametrize("angle", [15, -15, 30, -30, 45, -45, 70, 135, -100])
def test_yunet_finds_a_rotated_face_and_its_crop_is_upright(angle: float, photo: ImageArray) -> None:
    upright, (image, (x, y)) = recognize_one(yunet(), photo), rotated(photo, angle)
    found = recognize_one(yunet(), image)
    box = found.face.box
    assert np.hypot((box.x1 + box.x2) / 2 - x, (box.y1 + box.y2) / 2 - y) < 12
    assert 0.8 < box.area / upright.face.box.area < 1.25
    assert abs((found.face.roll - angle + 180) % 360 - 180) <= 30
    assert found.label == upright.label
    assert difference(upright, found) < 0.15


def test_landmarks_are_in_pixels_of_the_picture(photo: ImageArray) -> None:
    [upright], [lying] = (detect_rotated(yunet(), np.rot90(photo, k).copy()) for k in (0, 1))
    assert upright.landmarks is not None
    assert lying.landmarks is not None
    x, y = upright.landmarks.T
    np.testing.assert_allclose(lying.landmarks, np.column_stack([y, photo.shape[1] - x]), atol=0.5)


def test_a_large_lying_picture_has_its_faces_at_their_place(photo: ImageArray) -> None:
    large = np.rot90(photo, 1).repeat(3, axis=0).repeat(3, axis=1)
    [face] = detect_rotated(yunet(), large)
    x, y = 3 * CENTRE[1], 3 * (photo.shape[1] - CENTRE[0])
    assert np.hypot((face.box.x1 + face.box.x2) / 2 - x, (face.box.y1 + face.box.y2) / 2 - y) < 36


class Scripted:
    """A detector whose faces have the given scores, one per call."""

    def __init__(self, *scores: float, upright_score: float | None = None) -> None:
        self.scores = list(scores)
        self.shapes: list[tuple[int, ...]] = []
        if upright_score is not None:
            self.upright_score = upright_score

    def detect(self, image: ImageArray) -> list[Face]:
        self.shapes.append(image.shape)
        score = self.scores.pop(0) if self.scores else 0.0
        return [Face(Box(10, 10, 30, 40), score)] if score else []


def test_an_upright_face_ends_the_search() -> None:
    detector = Scripted(0.1)
    assert detect_rotated(detector, np.zeros((50, 80, 3), np.uint8)) == [Face(Box(10, 10, 30, 40), 0.1)]
    assert len(detector.shapes) == 1


def test_the_angle_of_the_best_score_counts_where_no_face_is_surely_upright() -> None:
    detector = Scripted(0.7, 0.6, 0.8, 0.75, 0, 0, 0, 0, 0.85, upright_score=0.9)
    [face] = detect_rotated(detector, np.zeros((50, 80, 3), np.uint8))
    assert (face.score, face.roll) == (0.85, 90)
    assert face.box == Box(10, 20, 40, 40)  # 90° clockwise, the picture is 50 wide: (x, y) came from (y, 50 - x)
    assert len(detector.shapes) == 1 + len(ANGLES) + 1
    assert detector.shapes[2] == detector.shapes[-1] == (80, 50, 3)


def test_faces_that_are_upright_at_a_lower_score_are_kept_if_no_angle_is_better() -> None:
    [face] = detect_rotated(Scripted(0.7, upright_score=0.9), np.zeros((50, 80, 3), np.uint8))
    assert (face.score, face.roll) == (0.7, 0)


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 300), (5, 2000), (3000, 7)])
def test_pictures_without_a_face_and_of_any_shape_have_none(shape: tuple[int, int]) -> None:
    assert detect_rotated(HaarDetector(), np.full((*shape, 3), 127, np.uint8)) == []


def test_the_angle_is_chosen_in_a_small_copy_and_its_faces_are_found_in_a_larger_one() -> None:
    detector = Scripted(0, 0, 0.8, 0, 0, 0, 0, 0, 0.7)
    [face] = detect_rotated(detector, np.zeros((2000, 3000, 3), np.uint8))
    assert face.score == 0.7
    assert [max(shape) for shape in detector.shapes[2:8:2]] == 3 * [module.SEARCH_SIDE]
    assert max(detector.shapes[8]) == module.SIDE


def test_faces_of_the_small_copy_are_kept_where_the_larger_one_shows_none() -> None:
    [face] = detect_rotated(Scripted(0, 0, 0.8), np.zeros((1000, 1500, 3), np.uint8))
    assert (face.score, face.roll) == (0.8, 90)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_box_without_landmarks_is_cropped_upright(angle: int, photo: ImageArray) -> None:
    box = Box(CENTRE[0] - 50, CENTRE[1] - 50, CENTRE[0] + 50, CENTRE[1] + 50)
    image, (x, y) = rotated(photo, angle)
    [upright] = crop_faces(photo, [Face(box, 1.0)])
    [found] = crop_faces(image, [Face(Box(x - 50, y - 50, x + 50, y + 50), 1.0, roll=angle)])
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 6
