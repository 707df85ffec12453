from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien
from mien import Box, Face, Frame, Recognizer, draw, frames, read_picture
from mien.errors import ConfigError, InputError, ModelError, UnknownModel
from mien.structures import ImageArray

ASTRONAUT = Path(__file__).parent.parent / "docs" / "images" / "astronaut.png"


class TwoFaces:
    """A detector that always finds the right and the left half, in this order."""

    def detect(self, image: ImageArray) -> list[Face]:
        height, width = image.shape[:2]
        return [Face(Box(width / 2, 0, width, height), 0.9), Face(Box(0, 0, width / 2, height), 0.8)]


class NoFace:
    """A detector that never finds one."""

    def detect(self, image: ImageArray) -> list[Face]:
        return []


def test_every_face_gets_an_expression_from_left_to_right(tiny_model: Path) -> None:
    expressions = Recognizer(TwoFaces(), str(tiny_model)).recognize(np.zeros((60, 120, 3), np.uint8))
    assert [e.face.score for e in expressions] == [0.8, 0.9]
    assert all(sum(e.prediction.as_dict().values()) == pytest.approx(1, abs=1e-5) for e in expressions)


def test_no_face_is_an_empty_list(tiny_model: Path) -> None:
    assert Recognizer(NoFace(), str(tiny_model)).recognize(np.zeros((60, 60, 3), np.uint8)) == []


def test_all_faces_of_a_frame_are_classified_in_one_batch(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer(TwoFaces(), str(tiny_model))
    sizes: list[int] = []
    original = recognizer.classifier.predict_heads

    def counted(crops: list[ImageArray]) -> object:
        sizes.append(len(crops))
        return original(crops)

    monkeypatch.setattr(recognizer.classifier, "predict_heads", counted)
    recognizer.recognize(np.zeros((60, 120, 3), np.uint8))
    assert sizes == [2]
    recognizer.recognize_many([np.zeros((60, 120, 3), np.uint8)] * 3)
    assert sizes == [2, 6]


def test_detect_and_classify_equal_recognize(tiny_model: Path) -> None:
    recognizer = Recognizer(TwoFaces(), str(tiny_model))
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    faces = recognizer.detect(image)
    assert faces == TwoFaces().detect(image)[::-1]
    halves, whole = recognizer.classify(image, faces), recognizer.recognize(image)
    assert halves == whole
    for half, other in zip(halves, whole, strict=True):
        np.testing.assert_array_equal(half.prediction.probabilities, other.prediction.probabilities)


def test_faces_found_elsewhere_are_classified_in_their_order(tiny_model: Path) -> None:
    recognizer = Recognizer(NoFace(), str(tiny_model))
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    right, left = TwoFaces().detect(image)
    both = recognizer.classify(image, [right, left])
    assert [e.face for e in both] == [right, left]
    (alone,) = recognizer.classify(image, [left])
    np.testing.assert_allclose(both[1].prediction.probabilities, alone.prediction.probabilities, atol=1e-5)
    assert recognizer.classify(image, []) == []


def test_recognize_many_equals_recognize_for_each_image(tiny_model: Path) -> None:
    recognizer = Recognizer(TwoFaces(), str(tiny_model))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, 120, 3), np.uint8) for height in (60, 90)]
    many = recognizer.recognize_many(images)
    assert many == [recognizer.recognize(image) for image in images]
    for expressions, image in zip(many, images, strict=True):
        for expression, alone in zip(expressions, recognizer.recognize(image), strict=True):
            np.testing.assert_allclose(expression.prediction.probabilities, alone.prediction.probabilities, atol=1e-5)
    assert Recognizer(NoFace(), str(tiny_model)).recognize_many([*images, images[0]]) == [[], [], []]
    assert recognizer.recognize_many([]) == []


def test_an_expression_carries_the_predictions_of_all_heads(tiny_model: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    for labels in ("fer2013", "ferplus"):
        (expression,) = Recognizer("whole", str(tiny_model), labels=labels).recognize(image)
        assert list(expression.heads) == ["fer2013", "ferplus"]
        assert expression.heads[labels] is expression.prediction
        assert [len(head.probabilities) for head in expression.heads.values()] == [7, 8]


def test_repr_names_model_detector_and_labels(tiny_model: Path) -> None:
    assert repr(Recognizer("haar", tiny_model)) == "Recognizer(model='tiny', detector='haar', labels='ferplus')"
    assert "detector='TwoFaces', labels='ferplus'" in repr(Recognizer(TwoFaces(), str(tiny_model), labels="ferplus"))


def test_labels_choose_the_head(tiny_model: Path) -> None:
    recognizer = Recognizer("whole", str(tiny_model), labels="ferplus")
    (expression,) = recognizer.recognize(np.zeros((48, 48, 3), np.uint8))
    assert "contempt" in expression.prediction.as_dict()
    with pytest.raises(ModelError, match="choose from fer2013, ferplus"):
        Recognizer("whole", str(tiny_model), labels="ferg")


def test_an_expression_below_the_minimum_confidence_is_uncertain(tiny_model: Path) -> None:
    image = np.zeros((48, 48, 3), np.uint8)
    (plain,) = Recognizer("whole", str(tiny_model)).recognize(image)
    (strict,) = Recognizer("whole", str(tiny_model), min_confidence=0.99).recognize(image)
    assert plain.certain
    assert plain.label == plain.prediction.label == strict.prediction.label
    assert strict.label == "uncertain"
    assert strict.prediction.as_dict() == plain.prediction.as_dict()


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), None, "high"])
def test_a_minimum_confidence_out_of_range_is_refused(tiny_model: Path, value: float) -> None:
    with pytest.raises(ConfigError, match=f"min_confidence is .*{value}.*0 to 1"):
        Recognizer("whole", str(tiny_model), min_confidence=value)


def test_stream_yields_every_frame_in_order(tiny_model: Path) -> None:
    pictures = [Frame(np.full((50, 50, 3), i, np.uint8), time=i / 10, index=i, source="drawn") for i in range(4)]
    seen = list(Recognizer("whole", str(tiny_model)).stream(pictures))
    assert [frame.index for frame, _ in seen] == [0, 1, 2, 3]
    assert all(len(expressions) == 1 for _, expressions in seen)


@pytest.mark.parametrize(
    "image", [None, [[[0, 0, 0]]], np.zeros((5, 5, 4), np.uint8), np.zeros((2, 5, 5, 3), np.uint8)]
)
def test_every_method_refuses_what_is_no_image(tiny_model: Path, image: object) -> None:
    recognizer = Recognizer("whole", str(tiny_model))
    methods = (recognizer.recognize, recognizer.detect, lambda image: recognizer.classify(image, []))
    for method in (*methods, lambda image: recognizer.recognize_many([image])):
        with pytest.raises(InputError, match=r"^the image .*; expected RGB uint8 \(H, W, 3\), a PIL image or a path"):
            method(image)  # type: ignore[arg-type]


def test_an_image_is_understood_in_other_forms(tiny_model: Path) -> None:
    recognizer, image = Recognizer("haar", str(tiny_model)), read_picture(ASTRONAUT)
    [expected] = recognizer.recognize(image)
    with Image.open(ASTRONAUT) as picture:
        forms = [ASTRONAUT, str(ASTRONAUT), picture, (image / 255).astype(np.float32), image.astype(np.int64)]
        for expressions in (*map(recognizer.recognize, forms), *recognizer.recognize_many(forms)):
            assert expressions == [expected]


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        ([Face(Box(float("nan"), 0, 9, 9), 0.9)], r"faces\[0\] is \(nan, 0, 9, 9\); expected .* x1 < x2 and y1 < y2"),
        ([Face(Box(9, 0, 3, 9), 0.9)], "expected .* x1 < x2 and y1 < y2"),
        ([Face(Box(3, 3, 3, 9), 0.9)], "expected .* x1 < x2 and y1 < y2"),
        (
            [Face(Box(0, 0, 9, 9), 0.9), Face(Box(20, 0, 30, 9), 0.9)],
            r"faces\[1\] .* outside the image of 20x10 pixels",
        ),
        ([Face(Box(-9, -9, 0, 5), 0.9)], "outside the image"),
        ([Face(Box(0, 0, 9, 9), 0.9, np.zeros((3, 2), np.float32))], r"shape \(3, 2\); expected five finite points"),
        ([Box(0, 0, 9, 9)], r"faces\[0\] is of type Box; expected mien\.Face"),
        (Face(Box(0, 0, 9, 9), 0.9), "the faces are of type Face; expected a list"),
        (None, "the faces are of type NoneType; expected a list"),
    ],
)
def test_an_impossible_face_is_refused(tiny_model: Path, faces: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recognizer("whole", str(tiny_model)).classify(np.zeros((10, 20, 3), np.uint8), faces)  # type: ignore[arg-type]


def test_faces_that_a_detector_sees_outside_the_image_are_dropped(tiny_model: Path) -> None:
    class Astray:
        def detect(self, image: ImageArray) -> list[Face]:
            return [Face(Box(-30, 0, -1, 9), 0.9), Face(Box(-5, 0, 9, 9), 0.8)]

    [expression] = Recognizer(Astray(), str(tiny_model)).recognize(np.zeros((60, 60, 3), np.uint8))
    assert expression.face.score == 0.8


def test_a_detector_or_classifier_of_another_type_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="detector is of type NoneType; expected a name, or an object with detect"):
        Recognizer(None, tiny_model)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="classifier is of type int; expected a name, or an object with predict_proba"
    ):
        Recognizer("whole", 7)  # type: ignore[arg-type]


def test_unknown_names_list_the_known_ones(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="haar"):
        Recognizer("hair", str(tiny_model))
    with pytest.raises(UnknownModel, match="no model"):
        Recognizer("haar", "nobody")


def test_the_three_lines_of_the_readme_work(tiny_model: Path) -> None:
    ((frame, expressions),) = Recognizer("haar", str(tiny_model)).stream(frames(ASTRONAUT))
    assert len(expressions) == 1
    assert draw(frame.image, expressions).shape == read_picture(ASTRONAUT).shape


def test_every_public_name_is_there() -> None:
    assert all(getattr(mien, name) is not None for name in mien.__all__)
    with pytest.raises(AttributeError, match="No mien attribute nothing"):
        mien.nothing  # noqa: B018


class Lying:
    """Finds a face in images wider than high."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def detect(self, image: ImageArray) -> list[Face]:
        self.shapes.append(image.shape)
        return [Face(Box(0, 0, 20, 20), 0.8)] if image.shape[0] < image.shape[1] else []


def test_pictures_are_searched_at_other_angles_and_streams_are_not(tiny_model: Path) -> None:
    high = np.zeros((80, 60, 3), np.uint8)
    recognizer = Recognizer(Lying(), str(tiny_model))
    [expression] = recognizer.recognize(high)
    assert (expression.face.roll, expression.face.box) == (90, Box(0, 60, 20, 80))  # its upper left is the lower left
    assert recognizer.recognize_many([high]) == [[expression]]
    assert recognizer.detect(high, any_angle=True) == [expression.face]
    assert recognizer.detect(high) == []
    assert recognizer.recognize(high, any_angle=False) == []
    frame = Frame(high, 0.0, 0, "clip")
    assert list(recognizer.stream([frame])) == [(frame, [])]
    assert list(recognizer.stream([frame], any_angle=True)) == [(frame, [expression])]


@pytest.mark.parametrize(("batch", "sizes"), [(1, [2] * 7), (3, [6, 6, 2]), (32, [14])])
def test_a_stream_in_batches_gives_the_same_expressions(
    batch: int, sizes: list[int], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer(TwoFaces(), tiny_model)
    rng = np.random.default_rng(0)
    stream = [Frame(rng.integers(0, 256, (60, 120, 3), np.uint8), i / 10, i, "a") for i in range(7)]
    expected = list(recognizer.stream(stream))
    counted = count_batches(recognizer, monkeypatch)
    found = list(recognizer.stream(iter(stream), batch=batch))
    assert counted == sizes
    assert [frame for frame, _ in found] == stream
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        assert [e.face for e in ours] == [e.face for e in theirs]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.prediction.probabilities, b.prediction.probabilities, atol=1e-6)


def test_large_images_do_not_wait_for_a_whole_batch(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer(TwoFaces(), tiny_model)
    monkeypatch.setattr("mien.recognizer.BATCH_PIXELS", 15_000)
    counted = count_batches(recognizer, monkeypatch)
    stream = [Frame(np.zeros((60, 120, 3), np.uint8), i / 10, i, "a") for i in range(5)]  # 7,200 pixels each
    assert len(list(recognizer.stream(stream, batch=4))) == 5
    assert counted == [6, 4]


def test_without_batches_a_frame_is_answered_before_the_next_one_is_read(tiny_model: Path) -> None:
    read = []

    def camera() -> Iterator[Frame]:
        for i in range(3):
            read.append(i)
            yield Frame(np.zeros((60, 120, 3), np.uint8), i / 10, i, "a")

    answers = Recognizer(TwoFaces(), tiny_model).stream(camera())
    next(answers)
    assert read == [0]


def test_a_batch_below_one_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="batch is 0; expected 1 or more"):
        Recognizer(TwoFaces(), tiny_model).stream([], batch=0)


def test_only_accelerators_get_batches_by_themselves(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer(TwoFaces(), tiny_model)
    assert (recognizer.classifier.device, recognizer.batch) == ("cpu", 1)
    monkeypatch.setattr(type(recognizer.classifier), "device", "cuda")
    assert recognizer.batch == 32


def count_batches(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of batches that the classifier gets from now on."""
    sizes: list[int] = []
    original = recognizer.classifier.predict_heads
    monkeypatch.setattr(
        recognizer.classifier, "predict_heads", lambda crops: sizes.append(len(crops)) or original(crops)
    )
    return sizes
