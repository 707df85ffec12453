"""Steps that detectors share."""

from mien.structures import Box, Face
from mien.vision.candidates import select_faces


def test_nested_boxes_become_one() -> None:
    outer, inner, beside = Box(0, 0, 100, 100), Box(30, 30, 80, 80), Box(90, 0, 190, 100)
    faces = [Face(inner, 0.8), Face(outer, 0.9), Face(beside, 0.7)]
    assert select_faces(faces, min_score=0.5) == [Face(outer, 0.9), Face(beside, 0.7)]
