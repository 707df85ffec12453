import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.labels import FER2013, LabelSet
from mien.structures import Box, Expression, Face, Prediction

pixels = st.floats(-1000, 1000, allow_nan=False, width=32)
sides = st.floats(1, 1000, allow_nan=False, width=32)
boxes = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), pixels, pixels, sides, sides)


def test_a_box_knows_its_sides_and_area() -> None:
    box = Box(10, 20, 40, 60)
    assert (box.width, box.height, box.area) == (30, 40, 1200)


def test_a_box_inside_out_has_no_area() -> None:
    assert Box(5, 5, 1, 9).area == 0


def test_boxes_share_the_area_of_their_common_part() -> None:
    assert Box(0, 0, 10, 10).intersection(Box(5, 8, 15, 20)) == 10
    assert Box(0, 0, 10, 10).intersection(Box(20, 20, 30, 30)) == 0


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Box(0, 0, 10, 10), 1.0),
        (Box(5, 0, 15, 10), 1 / 3),  # half of each is shared
        (Box(0, 0, 5, 5), 0.25),  # inside
        (Box(10, 0, 20, 10), 0.0),  # edges touch
        (Box(50, 50, 60, 60), 0.0),
    ],
)
def test_iou_of_known_boxes(other: Box, expected: float) -> None:
    assert Box(0, 0, 10, 10).iou(other) == pytest.approx(expected)


@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(a: Box, b: Box) -> None:
    assert a.iou(b) == pytest.approx(b.iou(a))
    assert 0 <= a.iou(b) <= 1 + 1e-9
    assert a.iou(a) == pytest.approx(1)


@given(boxes, boxes, pixels, pixels)
def test_iou_does_not_depend_on_the_place(a: Box, b: Box, dx: float, dy: float) -> None:
    def moved(box: Box) -> Box:
        return Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy)

    assert moved(a).iou(moved(b)) == pytest.approx(a.iou(b), abs=1e-6)


def test_a_face_is_compared_without_its_landmarks() -> None:
    box = Box(0, 0, 1, 1)
    assert Face(box, 0.9, np.zeros((5, 2), np.float32)) == Face(box, 0.9, np.ones((5, 2), np.float32))


def test_a_prediction_names_the_most_probable_label() -> None:
    probabilities = np.array([0.05, 0, 0.1, 0.6, 0.05, 0.05, 0.15], np.float32)
    prediction = Prediction(probabilities, FER2013)
    assert prediction.label == "happy"
    assert prediction.confidence == pytest.approx(0.6)
    assert [name for name, _ in prediction.top(3)] == ["happy", "neutral", "fear"]
    assert list(prediction.as_dict()) == list(FER2013)


def test_ties_go_to_the_first_label() -> None:
    prediction = Prediction(np.array([0.25, 0.25, 0.5], np.float32), LabelSet("abc", ("a", "b", "c")))
    assert [name for name, _ in prediction.top(9)] == ["c", "a", "b"]
    assert prediction.top(0) == []


def test_a_prediction_refuses_another_number_of_labels() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Prediction(np.array([0.5, 0.5], np.float32), FER2013).as_dict()


@pytest.mark.parametrize(
    ("min_confidence", "answer"), [(0.0, "happy"), (0.5, "happy"), (0.75, "happy"), (0.76, "uncertain")]
)
def test_an_expression_is_uncertain_below_its_least_confidence(min_confidence: float, answer: str) -> None:
    probabilities = np.array([0, 0, 0, 0.75, 0.25, 0, 0], np.float32)
    expression = Expression(Face(Box(0, 0, 1, 1), 0.9), Prediction(probabilities, FER2013), min_confidence)
    assert expression.label == answer
    assert expression.certain == (answer == "happy")
    assert expression.prediction.label == "happy"


def test_the_numbers_of_a_detector_of_ones_own_are_plain_in_json() -> None:
    box = Box(*np.array([1.25, 2, 30, 40], np.float32))
    face = Face(box, score=np.float32(0.5), track_id=np.int64(3))  # type: ignore[arg-type]
    prediction = Prediction(np.array([0.75, 0.25], np.float32), LabelSet("mine", ("a", "b")))
    plain = json.loads(json.dumps(Expression(face, prediction).to_dict()))
    assert (plain["box"], plain["score"], plain["track"]) == ([1.2, 2.0, 30.0, 40.0], 0.5, 3)


def test_another_prediction_is_held_to_the_same_confidence() -> None:
    even, sure = (Prediction(np.array(p, np.float32), LabelSet("ab", ("a", "b"))) for p in ([0.5, 0.5], [0, 1]))
    expression = Expression(Face(Box(0, 0, 1, 1), 0.9), even, 0.6)
    assert (expression.label, replace(expression, prediction=sure).label) == ("uncertain", "b")
