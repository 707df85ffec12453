"""Python objects handed over by mistake.

The kind of public issues on face libraries titled "TypeError: expected np.ndarray" or "OpenCV error: !_src.empty()":
None from cv2.imread, bytes of an upload, a single crop in place of a list, floats.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from mien import Live, MienError, Recognizer, draw, frames, read_picture, write_picture
from mien.models import preprocess
from mien.sinks import save_faces
from mien.sources import decode
from mien.vision import HaarDetector, WholeImage, crop_faces, detect_turned, explain, explain_faces

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
        lambda: Live(recognizer).see(thing),  # type: ignore[arg-type]
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
        lambda: detect_turned(WholeImage(), thing),  # type: ignore[arg-type]
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
