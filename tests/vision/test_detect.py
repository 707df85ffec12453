"""Every detector keeps one contract; their faces are checked on one public-domain photo."""

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from detectors import yunet_file
from mien.errors import ConfigError, ModelError
from mien.sources.pictures import read_picture
from mien.structures import Box, Face, ImageArray
from mien.vision import detect
from mien.vision.detect import (
    CASCADES,
    DETECTORS,
    FaceDetector,
    HaarDetector,
    WholeImage,
    YuNetDetector,
    create_detector,
    load_detector,
    yunet_path,
)

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
FACE = Box(172, 61, 278, 167)  # of the astronaut, as a person would frame it; ± 15 pixels
WITHOUT_WHOLE = [name for name in DETECTORS if name != "whole"]


def make(name: str) -> FaceDetector:
    return YuNetDetector(yunet_file()) if name == "yunet" else create_detector(name)


@pytest.fixture(scope="module")
def photo() -> ImageArray:
    return read_picture(PHOTO)


@pytest.fixture
def fresh_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Give an empty cache folder and a process that has not tried to fetch anything yet."""
    monkeypatch.delenv("MIEN_YUNET", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path)
    clear = (detect._fetch_yunet.cache_clear, detect._warn_once.cache_clear)
    for function in clear:
        function()
    yield tmp_path
    for function in clear:
        function()


@pytest.mark.parametrize("name", DETECTORS)
class TestContract:
    def test_faces_are_inside_the_picture(self, name: str, photo: ImageArray) -> None:
        faces = make(name).detect(photo)
        height, width = photo.shape[:2]
        assert faces
        for face in faces:
            box = face.box
            assert all(type(v) is float for v in (box.x1, box.y1, box.x2, box.y2, face.score))
            assert 0 <= (box.x1 + box.x2) / 2 <= width
            assert 0 <= (box.y1 + box.y2) / 2 <= height
            assert min(box.width, box.height) > 0
            assert 0 <= face.score <= 1
            if face.landmarks is not None:
                assert (face.landmarks.shape, face.landmarks.dtype) == ((5, 2), np.float32)

    def test_the_face_of_highest_score_comes_first(self, name: str, photo: ImageArray) -> None:
        scores = [face.score for face in make(name).detect(np.hstack([photo, photo[:, ::-1] // 2]))]
        assert scores == sorted(scores, reverse=True)

    def test_the_same_picture_gives_the_same_faces(self, name: str, photo: ImageArray) -> None:
        detector = make(name)
        assert detector.detect(photo) == detector.detect(photo) == make(name).detect(photo)

    def test_the_picture_is_not_changed(self, name: str, photo: ImageArray) -> None:
        copy = photo.copy()
        copy.setflags(write=False)
        make(name).detect(copy)
        assert np.array_equal(copy, photo)

    @pytest.mark.parametrize(
        "shape", [(0, 0), (1, 1), (1, 300), (300, 1), (5, 2000), (32, 640), (39, 41), (48, 48), (2000, 30), (64, 3000)]
    )
    def test_pictures_of_any_shape_are_accepted(self, name: str, shape: tuple[int, int]) -> None:
        faces = make(name).detect(np.full((*shape, 3), 127, np.uint8))
        assert len(faces) == (1 if name == "whole" and shape != (0, 0) else 0)

    def test_a_bad_min_score_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match="min_score"):
            create_detector(name, min_score=1.5)


@pytest.mark.parametrize("name", WITHOUT_WHOLE)
class TestFinding:
    def test_the_astronaut_is_found_and_nothing_else(self, name: str, photo: ImageArray) -> None:
        [face] = make(name).detect(photo)
        assert face.box.iou(FACE) > 0.6

    def test_nothing_is_found_in_a_blank_picture_or_in_noise(self, name: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
        assert make(name).detect(np.full((240, 320, 3), 200, np.uint8)) == []
        assert make(name).detect(noise) == []

    def test_a_mirrored_picture_gives_the_mirrored_box(self, name: str, photo: ImageArray) -> None:
        [face] = make(name).detect(photo)
        [mirrored] = make(name).detect(np.ascontiguousarray(photo[:, ::-1]))
        width = photo.shape[1]
        back = Box(width - mirrored.box.x2, mirrored.box.y1, width - mirrored.box.x1, mirrored.box.y2)
        assert face.box.iou(back) > 0.8

    def test_a_face_is_found_at_its_place_in_a_large_picture(self, name: str, photo: ImageArray) -> None:
        large = np.full((1500, 2500, 3), 90, np.uint8)
        large[800 : 800 + 512, 1700 : 1700 + 512] = photo
        [face] = make(name).detect(large)
        moved = Box(FACE.x1 + 1700, FACE.y1 + 800, FACE.x2 + 1700, FACE.y2 + 800)
        assert face.box.iou(moved) > 0.6

    def test_a_face_that_fills_a_large_picture_is_found(self, name: str, photo: ImageArray) -> None:
        close = photo[20:200, 120:330].repeat(5, axis=0).repeat(5, axis=1)
        [face] = make(name).detect(close)
        expected = Box(*((v - o) * 5 for v, o in zip((172, 61, 278, 167), (120, 20, 120, 20), strict=True)))
        assert face.box.iou(expected) > 0.5


def test_yunet_points_are_named_by_the_person_s_right_and_left(photo: ImageArray) -> None:
    [face] = YuNetDetector(yunet_file()).detect(photo)
    by_eye = [(203, 100), (248, 102), (224, 124), (204, 144), (242, 145)]  # read off the photo
    assert face.landmarks is not None
    assert np.abs(face.landmarks - by_eye).max() < 8


def test_min_score_removes_faces_of_lower_score(photo: ImageArray) -> None:
    [face] = HaarDetector(min_score=0.0).detect(photo)[:1]
    assert HaarDetector(min_score=face.score - 0.01).detect(photo)
    assert HaarDetector(min_score=face.score + 0.01).detect(photo) == []


def test_a_smaller_max_side_still_gives_boxes_of_the_full_picture(photo: ImageArray) -> None:
    [face] = HaarDetector(max_side=256).detect(photo)
    assert face.box.iou(FACE) > 0.6


def test_whole_returns_the_box_of_the_picture() -> None:
    assert WholeImage().detect(np.zeros((4, 6, 3), np.uint8)) == [Face(Box(0, 0, 6, 4), 1.0)]


def test_nested_boxes_become_one() -> None:
    outer, inner, beside = Box(0, 0, 100, 100), Box(30, 30, 80, 80), Box(90, 0, 190, 100)
    faces = [Face(inner, 0.8), Face(outer, 0.9), Face(beside, 0.7)]
    assert detect._select(faces, min_score=0.5) == [Face(outer, 0.9), Face(beside, 0.7)]


def test_overlapping_windows_are_grouped_around_the_strongest() -> None:
    windows = np.array([[10, 10, 40, 40], [12, 10, 40, 40], [200, 10, 40, 40]], float)
    faces = detect._group(windows, np.array([3.0, 5.0, 2.0]), even=8.0)
    assert faces == [Face(Box(11, 10, 51, 50), 0.5), Face(Box(200, 10, 240, 50), 0.2)]


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ConfigError, match="unknown detector 'hair'; choose from haar, haar-alt"):
        create_detector("hair")
    with pytest.raises(ConfigError, match="default, alt"):
        HaarDetector("profile")


def test_each_frontal_face_cascade_of_opencv_has_a_name() -> None:
    import cv2.data

    shipped = {path.name for path in Path(cv2.data.haarcascades).glob("haarcascade_frontalface*.xml")}
    assert {cascade.file for cascade in CASCADES.values()} == shipped
    assert sum(isinstance(f, partial) or f is HaarDetector for f in DETECTORS.values()) == len(CASCADES)


class TestFetching:
    def no_network(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[int]:
        calls: list[int] = []

        def fail(*_: object, **__: object) -> str:
            calls.append(1)
            raise error

        monkeypatch.setattr("pooch.retrieve", fail)
        return calls

    @pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError(), ValueError("another hash")])
    def test_without_network_haar_is_used_with_one_warning(
        self, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        calls = self.no_network(monkeypatch, error)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            detectors = [load_detector("yunet"), load_detector("yunet", min_score=0.9)]
        assert all(isinstance(d, HaarDetector) and d.min_score == 0.5 for d in detectors)
        assert len(calls) == 1
        [warning] = caught
        assert "MIEN_YUNET" in str(warning.message)
        assert str(fresh_cache) in str(warning.message)
        assert warning.filename == __file__

    def test_create_detector_raises_without_network(self, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.no_network(monkeypatch, ConnectionError())
        with pytest.raises(ModelError, match="MIEN_YUNET"):
            create_detector("yunet")

    def test_a_file_in_the_cache_is_checked_and_used(self, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        network = yunet_file()
        (fresh_cache / detect.YUNET_FILE).write_bytes(network.read_bytes())
        monkeypatch.setattr("pooch.HTTPDownloader.__call__", None)  # nothing is to be fetched
        assert yunet_path() == fresh_cache / detect.YUNET_FILE
        assert isinstance(load_detector("yunet", min_score=0.7), YuNetDetector)

    def test_the_environment_names_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("MIEN_YUNET", str(tmp_path / "no.onnx"))
        with pytest.raises(ModelError, match=r"no\.onnx"):
            load_detector("yunet")
        (tmp_path / "no.onnx").write_bytes(b"no network")
        assert yunet_path() == tmp_path / "no.onnx"
        with pytest.raises(ModelError, match=r"no\.onnx"):
            load_detector("yunet")

    def test_other_detectors_fetch_nothing(self, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = self.no_network(monkeypatch, ConnectionError())
        assert isinstance(load_detector("haar"), HaarDetector)
        assert calls == []
