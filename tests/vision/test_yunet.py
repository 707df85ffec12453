"""YuNet by ONNX Runtime: OpenCV's own implementation is the oracle."""

import copy
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from detectors import yunet_file
from mien.data.synthetic import draw_faces
from mien.errors import ModelError
from mien.pixels import to_rgb
from mien.sources.pictures import read_picture
from mien.structures import FloatArray, ImageArray
from mien.vision.yunet import YuNetDetector

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PHOTOS = ("astronaut.png", "demo.png", "cartoons.jpg", "window-light.png")


@pytest.fixture(scope="module")
def photo() -> ImageArray:
    return read_picture(IMAGES / "astronaut.png")


def drawn() -> ImageArray:
    faces = draw_faces(6, seed=1, size=160).images
    return np.vstack([np.hstack([to_rgb(face) for face in row]) for row in (faces[:3], faces[3:])])


def crowd() -> ImageArray:
    """Return the astronaut many times, small and large, overlapping, so that suppression matters."""
    photo, canvas = read_picture(IMAGES / "astronaut.png")[0:240, 100:340], np.full((470, 630, 3), 60, np.uint8)
    rng = np.random.default_rng(0)
    for side in rng.integers(24, 200, 40):
        y, x = rng.integers(0, 470 - side), rng.integers(0, 630 - side)
        canvas[y : y + side, x : x + side] = cv2.resize(photo, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return canvas


def by_opencv(image: ImageArray, min_score: float) -> FloatArray:
    size = (image.shape[1], image.shape[0])
    network = cv2.FaceDetectorYN.create(str(yunet_file()), "", size, score_threshold=min_score)
    _, rows = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return np.zeros((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)


@pytest.mark.parametrize("min_score", [0.02, 0.6])
@pytest.mark.parametrize("name", [*PHOTOS, "drawn", "crowd"])
def test_faces_are_those_of_opencv(name: str, min_score: float) -> None:
    image = {"drawn": drawn, "crowd": crowd}.get(name, lambda: read_picture(IMAGES / name))()
    detector = YuNetDetector(yunet_file(), min_score=min_score)
    faces, rows = detector.search(image, max(image.shape)), by_opencv(image, min_score)
    assert len(faces) == len(rows)
    order = np.argsort([-face.score for face in faces], kind="stable"), np.argsort(-rows[:, 14], kind="stable")
    for face, row in zip([faces[i] for i in order[0]], rows[order[1]], strict=True):
        box, landmarks = face.box, face.landmarks
        assert landmarks is not None
        np.testing.assert_allclose([box.x1, box.y1, box.width, box.height], row[:4], atol=1e-3)
        np.testing.assert_allclose(landmarks.ravel(), row[4:14], atol=1e-3)
        assert face.score == pytest.approx(row[14], abs=1e-4)


def test_the_oracle_sees_faces() -> None:
    assert len(by_opencv(crowd(), 0.6)) > 5
    assert len(by_opencv(read_picture(IMAGES / "astronaut.png"), 0.6)) == 1


def test_landmarks_are_named_by_the_person_s_right_and_left(photo: ImageArray) -> None:
    [face] = YuNetDetector(yunet_file()).detect(photo)
    by_eye = [(203, 100), (248, 102), (224, 124), (204, 144), (242, 145)]  # read off the photo
    assert face.landmarks is not None
    assert np.abs(face.landmarks - by_eye).max() < 8


def test_copies_find_the_same_faces(photo: ImageArray) -> None:
    detector = YuNetDetector(yunet_file(), min_score=0.7, max_side=300)
    for other in (copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))):
        assert (other.min_score, other.max_side) == (0.7, 300)
        assert other.detect(photo) == detector.detect(photo)


def test_another_network_or_no_network_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"no network")
    for path in (tiny_model, tmp_path / "text.onnx", tmp_path / "missing.onnx"):
        with pytest.raises(ModelError, match=f"cannot load the YuNet detector from '.*{path.name}'; expected face_det"):
            YuNetDetector(path)
