"""Every detector keeps one contract; their faces are checked on one public-domain photo."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from detectors import yunet_file
from mien.errors import ConfigError, ModelError
from mien.sources.pictures import read_picture
from mien.structures import Box, Face, ImageArray
from mien.vision import detect, fetch
from mien.vision.detect import DETECTORS, FaceDetector, WholeImage, load_detector
from mien.vision.haar import HaarDetector
from mien.vision.yunet import YuNetDetector

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
FACE = Box(172, 61, 278, 167)  # of the astronaut, as a person would frame it; ± 15 pixels
NAMES = [name for name in DETECTORS if name != "auto"]  # which is one of the others
WITHOUT_WHOLE = [name for name in NAMES if name != "whole"]


def make(name: str) -> FaceDetector:
    return YuNetDetector(yunet_file()) if name == "yunet" else load_detector(name)


@pytest.fixture(scope="module")
def photo() -> ImageArray:
    return read_picture(PHOTO)


@pytest.mark.parametrize("name", NAMES)
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
            load_detector(name, min_score=1.5)


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


def test_whole_returns_the_box_of_the_picture() -> None:
    assert WholeImage().detect(np.zeros((4, 6, 3), np.uint8)) == [Face(Box(0, 0, 6, 4), 1.0)]


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ConfigError, match="unknown detector 'hair'; choose from auto, yunet, haar, haar-alt"):
        load_detector("hair")


class TestAuto:
    @pytest.fixture(autouse=True)
    def fresh_process(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        detect._warn_once.cache_clear()
        monkeypatch.setattr(fetch, "cache_dir", lambda: tmp_path / "cache")

    def test_yunet_is_taken_where_its_file_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIEN_YUNET", str(yunet_file()))
        found = load_detector("auto", min_score=0.7)
        assert isinstance(found, YuNetDetector)
        assert (found.name, found.min_score) == ("yunet", 0.7)

    def test_haar_is_taken_where_yunet_cannot_be_fetched_with_one_warning(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreachable(*, retry: bool) -> Path:
            assert not retry
            raise ModelError("YuNet could not be fetched (no network)")

        monkeypatch.setenv("MIEN_OFFLINE", "0")
        monkeypatch.setattr(detect, "yunet_path", unreachable)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = [load_detector("auto"), load_detector(min_score=0.9)]
        assert [(type(d), getattr(d, "min_score", 0)) for d in found] == [(HaarDetector, 0.5), (HaarDetector, 0.9)]
        [warning] = caught
        assert str(warning.message) == (
            "using the Haar detector: YuNet could not be fetched (no network); --detector haar or MIEN_OFFLINE=1 "
            "silences this"
        )
        assert warning.filename == __file__

    def test_the_warning_comes_once_a_day(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def unreachable(*, retry: bool) -> Path:
            raise ModelError("YuNet could not be fetched (no network)")

        monkeypatch.setenv("MIEN_OFFLINE", "0")
        monkeypatch.setattr(detect, "yunet_path", unreachable)
        with pytest.warns(UserWarning, match="using the Haar detector"):
            load_detector("auto")
        detect._warn_once.cache_clear()  # as in another process
        load_detector("auto")  # warnings are errors
        [note] = (tmp_path / "cache").iterdir()
        os.utime(note, (0, 0))
        with pytest.warns(UserWarning, match="using the Haar detector"):
            load_detector("auto")

    def test_offline_by_choice_haar_is_taken_in_silence(self) -> None:
        assert isinstance(load_detector("auto"), HaarDetector)

    def test_a_damaged_file_is_a_warning_for_auto_and_an_error_for_yunet(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        damaged = tmp_path / "yunet.onnx"
        damaged.write_bytes(yunet_file().read_bytes()[:-1])
        monkeypatch.setenv("MIEN_YUNET", str(damaged))
        with pytest.warns(UserWarning, match=r"using the Haar detector: MIEN_YUNET is '.*', which is damaged"):
            assert isinstance(load_detector("auto"), HaarDetector)
        with pytest.raises(ModelError, match=r"MIEN_YUNET is '.*', which is damaged or another file"):
            load_detector("yunet")

    @pytest.mark.parametrize("offline", ["0", "1"])
    def test_a_wrong_path_of_yunet_is_named_with_a_remedy_that_helps(
        self, monkeypatch: pytest.MonkeyPatch, offline: str
    ) -> None:
        monkeypatch.setenv("MIEN_YUNET", "/nowhere.onnx")
        monkeypatch.setenv("MIEN_OFFLINE", offline)
        with pytest.warns(UserWarning, match=r"'/nowhere\.onnx', which is not a file.*; correct or unset it") as caught:
            load_detector("auto")
        assert "MIEN_OFFLINE" not in str(caught[0].message)

    def test_other_detectors_fetch_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(detect, "yunet_path", None)
        assert isinstance(load_detector("haar"), HaarDetector)
        assert isinstance(load_detector("whole"), WholeImage)
