"""Python objects handed over by mistake.

The kind of public issues on face libraries titled "TypeError: expected np.ndarray" or "OpenCV error: !_src.empty()":
None from cv2.imread, bytes of an upload, a single crop in place of a list, floats.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien import Live, MienError, Recognizer, draw, frames, read_picture, recognize_files, write_picture
from mien.errors import ConfigError, InputError, UnwritableImage
from mien.models import preprocess
from mien.sinks import CsvSink, JsonlSink, VideoSink, save_faces
from mien.sources import decode
from mien.structures import Box, Face, Frame
from mien.vision import HaarDetector, WholeImage, crop_faces, detect_rotated, explain, explain_faces

IMAGE = np.zeros((48, 48, 3), np.uint8)


@pytest.fixture(scope="module")
def recognizer(tiny_model: Path) -> Recognizer:
    return Recognizer("whole", str(tiny_model))


@pytest.mark.parametrize(
    "thing", [None, 3, 1.5, True, b"\xff\xd8", io.BytesIO(), [IMAGE], {}, object(), "no.jpg", IMAGE[0, 0]]
)
def test_any_object_is_refused_in_one_line_everywhere(recognizer: Recognizer, thing: object, tmp_path: Path) -> None:
    classifier = recognizer.classifier
    uses = [
        lambda: recognizer.recognize(thing),  # type: ignore[arg-type]
        lambda: recognizer.detect(thing, any_angle=True),  # type: ignore[arg-type]
        lambda: recognizer.recognize_many([thing]),  # type: ignore[list-item]
        lambda: recognizer.classify(IMAGE, [thing]),  # type: ignore[list-item]
        lambda: list(recognizer.stream([thing])),  # type: ignore[list-item]
        lambda: Live(recognizer).recognize(thing),  # type: ignore[arg-type]
        lambda: classifier.predict_proba([thing]),  # type: ignore[list-item]
        lambda: draw(thing, []),  # type: ignore[arg-type]
        lambda: HaarDetector().detect(thing),  # type: ignore[arg-type]
        lambda: WholeImage().detect(thing),  # type: ignore[arg-type]
        lambda: write_picture(tmp_path / "a.png", thing),  # type: ignore[arg-type]
        lambda: read_picture(thing),  # type: ignore[arg-type]
        lambda: explain(classifier, thing, n_masks=2),  # type: ignore[arg-type]
        lambda: explain_faces(classifier, [thing], n_masks=2),  # type: ignore[list-item]
        lambda: crop_faces(thing, []),  # type: ignore[arg-type]
        lambda: crop_faces(IMAGE, [thing]),  # type: ignore[list-item]
        lambda: detect_rotated(WholeImage(), thing),  # type: ignore[arg-type]
        lambda: preprocess([thing], classifier.spec.preprocess),  # type: ignore[list-item]
        lambda: save_faces(thing, [], tmp_path / "faces"),  # type: ignore[arg-type]
        lambda: decode(thing),  # type: ignore[arg-type]
    ]
    if not isinstance(thing, int):
        uses.append(lambda: list(frames(thing)))  # type: ignore[arg-type]
    for use in uses:
        with pytest.raises(MienError) as caught:
            use()
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "found", [None, 3, "x", [(1, 2, 3, 4)], np.zeros((1, 4)), [Face(None, 1.0)], [Face(Box(None, 0, 1, 1), 1.0)]]
)
@pytest.mark.parametrize("any_angle", [True, False])
def test_a_detector_that_returns_no_faces_is_named(recognizer: Recognizer, found: object, any_angle: bool) -> None:
    class Detector:
        def detect(self, image: object) -> object:
            return found

    with pytest.raises(InputError, match=r"^the faces are of type|^faces\[0\] is of type|^the box of faces\[0\] is"):
        Recognizer(Detector(), recognizer.classifier).recognize(IMAGE, any_angle=any_angle)  # type: ignore[arg-type]


@pytest.mark.parametrize("thing", [None, 3, "x", ["x"], object()])
def test_any_object_in_place_of_a_part_is_refused_in_one_line(
    recognizer: Recognizer, thing: Any, tmp_path: Path
) -> None:
    expression, frame = recognizer.recognize(IMAGE)[0], Frame(IMAGE, 0.0, 0, "a.png")
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    sink = CsvSink(tmp_path / "a.csv", recognizer.provenance)
    uses = [
        lambda: list(recognize_files([tmp_path / "a.png"], thing)),
        lambda: list(recognize_files([tmp_path / "a.png"], recognizer, sinks=thing)),
        lambda: list(recognizer.stream(thing)),
        lambda: list(Live(recognizer).stream(thing)),
        lambda: Live(thing),
        lambda: draw(IMAGE, thing),
        lambda: CsvSink(tmp_path / "b.csv", thing),
        lambda: sink.write(thing, [expression]),
        lambda: sink.write(frame, thing),
        lambda: JsonlSink(tmp_path / "a.jsonl", recognizer.provenance).write(frame, thing),
        lambda: VideoSink(tmp_path / "a.mp4", fps=25).write(thing),
    ]
    if thing != 3:
        uses += [
            lambda: Live(recognizer, half_life=thing),
            lambda: draw(IMAGE, [expression], top=thing),
            lambda: expression.prediction.top(thing),
            lambda: VideoSink(tmp_path / "a.mp4", fps=thing),
        ]
    for use in uses:
        with pytest.raises(MienError) as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_class_in_place_of_a_detector_is_named(recognizer: Recognizer) -> None:
    with pytest.raises(ConfigError, match="is the class WholeImage; expected a name, or an object with detect"):
        Recognizer(WholeImage, recognizer.classifier)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [
        ("wide.jpg", 70_000, r"\.jpg has at most 65,500 pixels a side; choose \.png"),
        ("wide.webp", 1_100_000, r"\.webp has at most 16,383 pixels a side; choose \.ppm"),
        ("wide.png", 1_100_000, r"\.png has at most 1,000,000 pixels a side; choose \.ppm"),
        ("empty.png", 0, r"no \.png of \(1, 0, 3\)"),
    ],
)
def test_a_picture_that_its_format_cannot_hold_is_refused_quietly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, width: int, words: str
) -> None:
    with pytest.raises(UnwritableImage, match=words):
        write_picture(tmp_path / name, np.zeros((1, width, 3), np.uint8))
    assert capfd.readouterr().err == ""
