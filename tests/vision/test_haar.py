"""Haar cascades: grouping of windows, scores, and sizes of the search."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError, ModelError
from mien.sources.pictures import read_picture
from mien.structures import Box, Face, ImageArray
from mien.vision import haar
from mien.vision.detect import DETECTORS
from mien.vision.haar import CASCADES, HaarDetector

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
FACE = Box(172, 61, 278, 167)  # of the astronaut, as a person would frame it; ± 15 pixels


@pytest.fixture(scope="module")
def photo() -> ImageArray:
    return read_picture(PHOTO)


def test_min_score_removes_faces_of_lower_score(photo: ImageArray) -> None:
    [face] = HaarDetector(min_score=0.0).detect(photo)[:1]
    assert HaarDetector(min_score=face.score - 0.01).detect(photo)
    assert HaarDetector(min_score=face.score + 0.01).detect(photo) == []


def test_a_smaller_max_side_still_gives_boxes_of_the_full_picture(photo: ImageArray) -> None:
    [face] = HaarDetector(max_side=256).detect(photo)
    assert face.box.iou(FACE) > 0.6


def test_overlapping_windows_are_grouped_around_the_strongest() -> None:
    windows = np.array([[10, 10, 40, 40], [12, 10, 40, 40], [200, 10, 40, 40]], float)
    faces = haar._group(windows, np.array([3.0, 5.0, 2.0]), even=8.0)
    assert faces == [Face(Box(11, 10, 51, 50), 0.5), Face(Box(200, 10, 240, 50), 0.2)]


def test_unknown_cascades_list_the_known() -> None:
    with pytest.raises(ConfigError, match="default, alt"):
        HaarDetector("profile")


def test_each_frontal_face_cascade_of_opencv_has_a_name() -> None:
    import cv2.data

    shipped = {path.name for path in Path(cv2.data.haarcascades).glob("haarcascade_frontalface*.xml")}
    assert {cascade.file for cascade in CASCADES.values()} == shipped
    assert sum(isinstance(f, partial) or f is HaarDetector for f in DETECTORS.values()) == len(CASCADES)


@pytest.mark.parametrize("content", [None, b"", b"<opencv_storage/>"])
def test_an_opencv_without_its_cascades_is_one_line(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cv2.data.haarcascades", str(tmp_path))
    if content is not None:
        (tmp_path / CASCADES["alt2"].file).write_bytes(content)
    with pytest.raises(ModelError, match=r"haarcascade_frontalface_alt2\.xml is missing or damaged; reinstall opencv"):
        HaarDetector()
    capfd.readouterr()


def test_an_opencv_without_its_data_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2.data", None)
    with pytest.raises(ModelError, match="is missing or damaged"):
        HaarDetector()
