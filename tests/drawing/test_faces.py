"""Annotated images: boxes and label boxes are drawn, everything else stays, labels stay inside."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.drawing import faces
from mien.drawing.colours import BLACK, COLOURS, UNCERTAIN_COLOUR, WHITE, colour_of, css_colours, ink_on
from mien.drawing.faces import draw
from mien.drawing.voices import voice_title
from mien.fusion import VoiceResult, fuse_faces
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.structures import Box, Expression, Face, ImageArray, Prediction, Utterance

GREY = 77


def blank(height: int = 480, width: int = 640) -> ImageArray:
    return np.full((height, width, 3), GREY, np.uint8)


def expression(box: Box, label: str = "happy", *, probability: float = 0.97, labels: LabelSet = FER2013) -> Expression:
    rest = (1 - probability) / (len(labels) - 1)
    probabilities = np.full(len(labels), rest, np.float32)
    probabilities[labels.index(label)] = probability
    return Expression(Face(box, 0.9), Prediction(probabilities, labels))


def utterance(label: str = "happy", *, probability: float = 0.9, final: bool = True) -> Utterance:
    prediction = expression(Box(0, 0, 1, 1), label, probability=probability).prediction
    return Utterance(0.0, 2.0, prediction, speech_seconds=1.8, final=final)


def changed(image: ImageArray) -> tuple[int, int, int, int]:
    """Return x1, y1, x2, y2 of the pixels that are no longer grey."""
    y, x = np.nonzero((image != GREY).any(axis=2))
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def label_box_area(image: ImageArray, colour: Iterable[int]) -> int:
    return int((image == tuple(colour)).all(axis=2).sum())


def test_the_image_itself_is_unchanged_and_copied() -> None:
    image = blank()
    image.setflags(write=False)
    drawn = draw(image, [expression(Box(200, 200, 300, 300))])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (image == GREY).all()
    assert not np.shares_memory(draw(image, []), image)
    assert np.array_equal(draw(image, []), image)


def test_only_the_box_and_its_label_box_change() -> None:
    drawn = draw(blank(), [expression(Box(200, 200, 300, 300))])
    x1, y1, x2, y2 = changed(drawn)
    assert 195 <= x1 < 200
    assert 170 < y1 < 190
    assert 300 <= x2 < 330
    assert 300 < y2 < 305
    assert (drawn[210:290, 210:290] == GREY).all()  # the face


def test_the_box_has_the_colour_of_the_expression() -> None:
    drawn = draw(blank(), [expression(Box(200, 200, 300, 300), "sad")])
    assert tuple(drawn[250, 200]) == COLOURS["sad"]
    assert label_box_area(drawn, COLOURS["sad"]) > 500


@pytest.mark.parametrize("corner", [(0, 0), (560, 0), (0, 400), (560, 400), (600, 440), (-30, -30)])
def test_the_label_box_stays_inside_at_the_corners(corner: tuple[int, int]) -> None:
    x, y = corner
    drawn = draw(blank(), [expression(Box(x, y, x + 80, y + 80))])
    whole = draw(blank(), [expression(Box(200, 200, 280, 280))])
    # Not equal: less is visible of the box, which has the same colour.
    assert label_box_area(drawn, COLOURS["happy"]) >= label_box_area(whole, COLOURS["happy"]) * 0.75
    assert drawn.shape == (480, 640, 3)


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    corner=st.tuples(*[st.floats(-200, 600)] * 2),
    sides=st.tuples(*[st.floats(0.1, 800)] * 2),
    top=st.integers(1, 9),
)
@settings(deadline=None, max_examples=60)
def test_any_box_in_any_image_is_drawn(
    width: int, height: int, corner: tuple[float, float], sides: tuple[float, float], top: int
) -> None:
    (x, y), (wide, high) = corner, sides
    shown = [expression(Box(x, y, x + wide, y + high))]
    assert draw(blank(height, width), shown, top=top).shape == (height, width, 3)


@pytest.mark.parametrize("shape", [(40, 40), (100, 640), (640, 60), (300, 300)])
@pytest.mark.parametrize("top", [1, 3, 7])
def test_every_label_box_is_inside_the_image(shape: tuple[int, int], top: int) -> None:
    seen = expression(Box(10, 10, 30, 30))
    (label_box,) = faces._place(shape, [seen.face.box], [faces._rows(seen, top)])
    if label_box is not None:
        assert label_box.x >= 0
        assert label_box.y >= 0
        assert label_box.x + label_box.width <= shape[1]
        assert label_box.y + label_box.height <= shape[0]


def test_label_boxes_of_a_crowd_do_not_cover_each_other() -> None:
    crowd = [expression(Box(x, y, x + 60, y + 70), "neutral") for y in (100, 230, 360) for x in range(60, 580, 130)]
    one = label_box_area(draw(blank(), crowd[:1]), COLOURS["neutral"])
    assert label_box_area(draw(blank(), crowd), COLOURS["neutral"]) == pytest.approx(one * len(crowd), rel=0.02)


def test_label_boxes_of_three_rows_in_a_crowd_cover_no_face() -> None:
    crowd = [expression(Box(x, y, x + 40, y + 50), "neutral") for y in (100, 210, 320) for x in range(60, 580, 90)]
    drawn = draw(blank(), crowd, top=3)
    covered = [seen.face.box for seen in crowd if (drawn[inside(seen.face.box)] != GREY).any()]
    assert covered == []


def inside(box: Box) -> tuple[slice, slice]:
    """Return the pixels of a box within its line."""
    return slice(int(box.y1) + 4, int(box.y2) - 4), slice(int(box.x1) + 4, int(box.x2) - 4)


def test_a_label_box_gives_way_to_one_that_has_no_other_place() -> None:
    free, hemmed_in = expression(Box(200, 200, 300, 300)), expression(Box(0, 0, 640, 480))
    label_boxes = faces._place((480, 640), [free.face.box, hemmed_in.face.box], [faces._rows(free, 1)] * 2)
    first, second = (Box(p.x, p.y, p.x + p.width, p.y + p.height) for p in label_boxes if p is not None)
    assert first.iou(second) == 0
    assert first.iou(free.face.box) == 0


def test_long_labels_are_shortened() -> None:
    long = "an expression that nobody can spell"
    labels = LabelSet("own", (long, "other"))
    seen = expression(Box(200, 200, 300, 300), long, labels=labels)
    (label_box,) = faces._place((480, 640), [seen.face.box], [faces._rows(seen, 1)])
    assert label_box is not None
    ((label, value),) = label_box.rows
    assert label.endswith("…")
    assert long.startswith(label[:-1])
    assert value == "97 %"
    assert label_box.width < 300


def test_in_a_tiny_image_the_label_goes_before_the_percentage() -> None:
    seen = expression(Box(0, 0, 48, 48), "surprise")
    (label_box,) = faces._place((48, 48), [seen.face.box], [faces._rows(seen, 1)])
    assert label_box is not None
    assert label_box.rows == [("surprise", "")]


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ([], "no face"),
        (["happy"], "1 face: happy"),
        (["sad", "happy", "happy", "neutral"], "4 faces: 2 happy, 1 sad, 1 neutral"),
    ],
)
def test_a_summary_counts_the_expressions(labels: list[str], line: str) -> None:
    assert faces._summary(labels) == line


def test_in_a_summary_counts_stay_left_of_labels_written_from_right_to_left() -> None:
    assert faces._summary(["سعادة", "سعادة", "sad"]) == "3 faces: 2 سعادة\u200e, 1 sad"


def test_the_summary_is_a_strip_below_the_unchanged_rest() -> None:
    crowd = [expression(Box(x, 200, x + 60, 270), "sad") for x in (100, 300)]
    plain, summed = draw(blank(), crowd), draw(blank(), crowd, summary=True)
    assert np.array_equal(summed[:480], plain)
    strip = summed[480:]
    assert 15 < len(strip) < 40
    assert len(strip) % 2 == 0  # video codecs want even heights
    assert (strip > 200).all(axis=2).sum() > 50
    assert draw(blank(1, 1), crowd, summary=True).shape[1:] == (1, 3)


def test_a_label_box_avoids_a_face_above() -> None:
    upper, lower = Box(200, 100, 300, 200), Box(200, 205, 300, 305)
    drawn = draw(blank(), [expression(lower), expression(upper)])
    assert (drawn[110:190, 210:290] == GREY).all()
    assert (drawn[215:295, 210:290] == GREY).all()


def test_top_names_more_labels() -> None:
    box = Box(200, 200, 300, 300)
    heights = [300 - changed(draw(blank(), [expression(box)], top=n))[1] for n in (1, 3, 20)]
    assert heights[0] < heights[1] < heights[2]


def test_an_uncertain_expression_is_drawn_in_dark_grey_without_a_label() -> None:
    unsure = replace(expression(Box(200, 200, 300, 300), "sad", probability=0.4), min_confidence=0.5)
    drawn = draw(blank(), [unsure])
    assert tuple(drawn[250, 200]) == UNCERTAIN_COLOUR
    assert label_box_area(drawn, UNCERTAIN_COLOUR) > 500
    assert label_box_area(drawn, COLOURS["sad"]) == 0
    assert UNCERTAIN_COLOUR not in COLOURS.values()
    assert faces._rows(unsure, 1) == [("uncertain", "")]
    assert faces._rows(unsure, 2) == [("uncertain", ""), ("sad", "40 %"), ("angry", "10 %")]


def test_letters_grow_with_the_image() -> None:
    small = changed(draw(blank(480, 640), [expression(Box(200, 200, 300, 300))]))
    large = changed(draw(blank(1920, 2560), [expression(Box(800, 800, 1200, 1200))]))
    assert (800 - large[1]) == pytest.approx(4 * (200 - small[1]), rel=0.2)


def test_labels_of_any_language_are_written() -> None:
    labels = LabelSet("own", ("fröhlich", "traurig", "平静"))
    assert faces._rows(expression(Box(0, 0, 1, 1), "fröhlich", labels=labels), 1) == [("fröhlich", "97 %")]
    assert draw(blank(), [expression(Box(200, 200, 300, 300), "平静", labels=labels)]).shape == (480, 640, 3)


def test_other_labels_have_colours_of_their_own_within_their_set() -> None:
    labels = ["happy", *"abcdefghijklm"]
    colours = [colour_of(label, labels) for label in labels]
    assert len(set(colours)) == 14
    assert colours[0] == COLOURS["happy"]
    assert colour_of("b", [*labels, "uncertain"]) == colours[2]
    assert colour_of("uncertain", labels) == UNCERTAIN_COLOUR
    own = LabelSet("own", ("ekel", "φόβος", "wütend", "страх"))
    boxes = [draw(blank(), [expression(Box(200, 200, 300, 300), label, labels=own)])[250, 200] for label in own]
    assert len({tuple(box) for box in boxes}) == 4


def test_colours_in_css_are_those_of_the_boxes() -> None:
    assert css_colours(["happy", "sad"]) == {"happy": "#f0e442", "sad": "#0072b2", "uncertain": "#696969"}


def test_every_known_label_has_a_colour_of_its_own_with_legible_ink() -> None:
    names = {*FER2013, *FERPLUS}
    assert names <= set(COLOURS)
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert colour_of("bored") == colour_of("bored")
    assert ink_on(COLOURS["happy"]) == BLACK
    assert ink_on(COLOURS["sad"]) == WHITE


def test_the_bars_of_a_voice_are_drawn_in_a_corner_without_faces() -> None:
    drawn = draw(blank(), [], voice_result=fuse_faces([], utterance()))
    x1, y1, x2, y2 = changed(drawn)
    assert (x1, y2) == (0, 480)
    assert x2 < 320
    assert y1 > 200
    beside = draw(blank(), [expression(Box(10, 300, 150, 470))], voice_result=VoiceResult(utterance(), None))
    assert (beside[479, 0] == GREY).all()
    assert (beside[479, 639] != GREY).any()


def test_the_label_box_of_a_single_face_names_the_fused_expression_and_its_parts() -> None:
    face = expression(Box(200, 200, 300, 300), "sad", probability=0.4)
    fused = fuse_faces([face], utterance("sad")).fused
    assert fused is not None
    assert [label for label, _ in faces._fused_rows(fused, 1)] == ["sad", "face sad", "voice sad"]
    assert [label for label, _ in faces._fused_rows(fused, 2)][2:] == ["face sad", "voice sad"]
    assert [value for _, value in faces._fused_rows(fused, 1)][1:] == ["40 %", "90 %"]


def test_a_contradiction_is_grey_and_has_no_mixture() -> None:
    face = expression(Box(200, 200, 300, 300), "happy", probability=0.97)
    voice_result = fuse_faces([face], utterance("angry", probability=0.97))
    assert voice_result.fused is not None
    assert faces._fused_rows(voice_result.fused, 1) == [("face happy", "97 %"), ("voice angry", "97 %")]
    drawn = draw(blank(), [face], voice_result=VoiceResult(None, voice_result.fused))
    assert label_box_area(drawn, UNCERTAIN_COLOUR) > 500
    assert not label_box_area(drawn, COLOURS["happy"])


def test_without_speech_or_with_two_faces_label_boxes_are_those_of_the_faces() -> None:
    pair = [expression(Box(100, 200, 200, 300)), expression(Box(400, 200, 500, 300), "sad")]
    assert np.array_equal(draw(blank(), pair[:1], voice_result=fuse_faces(pair[:1], None)), draw(blank(), pair[:1]))
    voice_result = fuse_faces(pair, utterance("angry"))
    assert np.array_equal(draw(blank(), pair, voice_result=VoiceResult(None, voice_result.fused)), draw(blank(), pair))


@pytest.mark.parametrize("shape", [(1, 1), (48, 64), (90, 900), (2000, 3000)])
def test_a_voice_fits_into_any_image_or_is_left_out(shape: tuple[int, int]) -> None:
    assert draw(blank(*shape), [], voice_result=fuse_faces([], utterance())).shape == (*shape, 3)


def test_the_title_names_how_a_voice_sounds() -> None:
    assert voice_title(utterance("angry")) == "voice sounds angry"
    assert voice_title(utterance("angry", final=False)) == "voice sounds angry …"
    assert voice_title(replace(utterance("angry"), min_confidence=0.95)) == "voice: uncertain"
