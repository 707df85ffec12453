from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mien
from mien import Box, Face, Frame, Recognizer, draw, frames, read_picture
from mien.errors import ConfigError, InputError, ModelError, UnknownModel
from mien.structures import ImageArray

ASTRONAUT = Path(__file__).parent.parent / "docs" / "images" / "astronaut.png"


class TwoFaces:
    """A detector that always finds the left and the right half."""

    def detect(self, image: ImageArray) -> list[Face]:
        height, width = image.shape[:2]
        return [Face(Box(0, 0, width / 2, height), 0.9), Face(Box(width / 2, 0, width, height), 0.8)]


class NoFace:
    """A detector that never finds one."""

    def detect(self, image: ImageArray) -> list[Face]:
        return []


def test_every_face_gets_an_expression_in_the_order_of_the_detector(tiny_model: Path) -> None:
    expressions = Recognizer(TwoFaces(), str(tiny_model)).recognize(np.zeros((60, 120, 3), np.uint8))
    assert [e.face.score for e in expressions] == [0.9, 0.8]
    assert all(sum(e.prediction.as_dict().values()) == pytest.approx(1, abs=1e-5) for e in expressions)


def test_no_face_is_an_empty_list(tiny_model: Path) -> None:
    assert Recognizer(NoFace(), str(tiny_model)).recognize(np.zeros((60, 60, 3), np.uint8)) == []


def test_all_faces_of_a_frame_are_classified_in_one_batch(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer(TwoFaces(), str(tiny_model))
    sizes: list[int] = []
    original = recognizer.classifier.predict_proba

    def counted(crops: list[ImageArray], *, head: str | None = None) -> object:
        sizes.append(len(crops))
        return original(crops, head=head)

    monkeypatch.setattr(recognizer.classifier, "predict_proba", counted)
    recognizer.recognize(np.zeros((60, 120, 3), np.uint8))
    assert sizes == [2]


def test_the_two_halves_give_what_the_whole_gives(tiny_model: Path) -> None:
    recognizer = Recognizer(TwoFaces(), str(tiny_model))
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    faces = recognizer.detect(image)
    assert faces == TwoFaces().detect(image)
    halves, whole = recognizer.classify(image, faces), recognizer.recognize(image)
    assert halves == whole
    for half, other in zip(halves, whole, strict=True):
        np.testing.assert_array_equal(half.prediction.probabilities, other.prediction.probabilities)


def test_faces_found_elsewhere_are_classified_in_their_order(tiny_model: Path) -> None:
    recognizer = Recognizer(NoFace(), str(tiny_model))
    image = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    right, left = reversed(TwoFaces().detect(image))
    both = recognizer.classify(image, [right, left])
    assert [e.face for e in both] == [right, left]
    (alone,) = recognizer.classify(image, [left])
    np.testing.assert_allclose(both[1].prediction.probabilities, alone.prediction.probabilities, atol=1e-5)
    assert recognizer.classify(image, []) == []


def test_labels_choose_the_head(tiny_model: Path) -> None:
    recognizer = Recognizer("whole", str(tiny_model), labels="ferplus")
    (expression,) = recognizer.recognize(np.zeros((48, 48, 3), np.uint8))
    assert "contempt" in expression.prediction.as_dict()
    with pytest.raises(ModelError, match="choose from fer2013, ferplus"):
        Recognizer("whole", str(tiny_model), labels="ferg")


def test_an_answer_below_the_least_confidence_is_uncertain(tiny_model: Path) -> None:
    image = np.zeros((48, 48, 3), np.uint8)
    (plain,) = Recognizer("whole", str(tiny_model)).recognize(image)
    (strict,) = Recognizer("whole", str(tiny_model), min_confidence=0.99).recognize(image)
    assert plain.certain
    assert plain.label == plain.prediction.label == strict.prediction.label
    assert strict.label == "uncertain"
    assert strict.prediction.as_dict() == plain.prediction.as_dict()


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_least_confidence_out_of_range_is_refused(tiny_model: Path, value: float) -> None:
    with pytest.raises(ConfigError, match="expected 0 to 1"):
        Recognizer("whole", str(tiny_model), min_confidence=value)


def test_stream_yields_every_frame_in_order(tiny_model: Path) -> None:
    pictures = [Frame(np.full((50, 50, 3), i, np.uint8), time=i / 10, index=i, source="drawn") for i in range(4)]
    seen = list(Recognizer("whole", str(tiny_model)).stream(pictures))
    assert [frame.index for frame, _ in seen] == [0, 1, 2, 3]
    assert all(len(expressions) == 1 for _, expressions in seen)


@pytest.mark.parametrize(
    "image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3), np.float32)]
)
def test_what_is_not_a_picture_is_refused(tiny_model: Path, image: ImageArray) -> None:
    recognizer = Recognizer("whole", str(tiny_model))
    for see in (recognizer.recognize, recognizer.detect, lambda image: recognizer.classify(image, [])):
        with pytest.raises(InputError, match="expected RGB uint8"):
            see(image)


def test_unknown_names_list_the_known_ones(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="haar"):
        Recognizer("hair", str(tiny_model))
    with pytest.raises(UnknownModel, match="no model"):
        Recognizer("haar", "nobody")


def test_the_three_lines_of_the_readme_work(tiny_model: Path) -> None:
    for frame, expressions in Recognizer("haar", str(tiny_model)).stream(frames(ASTRONAUT)):
        assert len(expressions) == 1
        assert draw(frame.image, expressions).shape == read_picture(ASTRONAUT).shape


def test_every_public_name_is_there() -> None:
    assert all(getattr(mien, name) is not None for name in mien.__all__)
    with pytest.raises(AttributeError, match="No mien attribute nothing"):
        mien.nothing  # noqa: B018
