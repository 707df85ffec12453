"""Draw faces and their expressions into an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mien.drawing.colours import BLACK, WHITE, Colour, colour_of, ink_on
from mien.drawing.text import SMALLEST_LETTER, draw_text, shorten, text_width
from mien.drawing.voices import draw_voice
from mien.fusion import Fused, VoiceResult, check_voice_result
from mien.images import ImageLike, to_rgb
from mien.structures import UNCERTAIN, Box, Expression, FloatArray, ImageArray, check_count, checked_expressions

PADDING, LINE_HEIGHT, COLUMN_GAP = 0.55, 1.75, 0.6  # of a label box, in heights of a capital letter
MAX_LABEL = 16  # heights of a capital letter, about 20 characters; longer labels are shortened
SMALLER_LETTER = 0.75  # of the usual height, where a label box would otherwise cover a face or another label box
# Cost of a label box that is wholly over another face or label box; over its own face, 1.
FACE_WEIGHT, LABEL_BOX_WEIGHT = 2.0, 4.0
SMALL_WEIGHT = 0.05  # cost of smaller letters
SWEEPS = 2  # over all label boxes, once each is placed; in a picture of 29 faces the second changes nothing
SUMMARY_HEIGHT = 2.4  # of the strip, in heights of a capital letter
LEFT_TO_RIGHT = "\u200e"  # the invisible mark that keeps the next count right of an Arabic or Hebrew label


class LabelBox(NamedTuple):
    """A label's rectangle in pixels, the height of its capital letters, and its rows: label and percentage."""

    x: int
    y: int
    width: int
    height: int
    letter: int
    rows: list[tuple[str, str]]


def draw(
    image: ImageLike,
    expressions: Iterable[Expression],
    *,
    top: int = 1,
    summary: bool = False,
    voice_result: VoiceResult | None = None,
) -> ImageArray:
    """Return a copy of the image with a box around each face and a label box that names its expression.

    Lines and letters grow with the faces and the image. Label boxes stay inside the image and avoid faces and each
    other, by smaller letters if necessary; long labels are shortened. An uncertain expression is drawn in grey: its
    label box says "uncertain" alone, or above the most probable labels if `top` is 2 or more.

    With a voice, its bars are drawn in a corner. The label box of a single face names the fused expression, then those
    of the face and of the voice; if these contradict each other, it is grey and names only them.

    Args:
        image: As for `Recognizer.recognize`; not changed.
        expressions: Their boxes are in pixels of the image.
        top: Number of labels per face, the most probable ones.
        summary: Append a strip below the image that counts the expressions: "5 faces: 3 happy, 2 neutral".
        voice_result: The voice at the time of the image; None without voice recognition.

    Returns:
        RGB uint8 (H, W, 3); with a summary, a few rows more.

    Raises:
        InputError: The image has an unsupported type, shape or value range, or the box of a face is reversed, empty or
            not finite.
    """
    shown = checked_expressions(expressions)
    check_count("top", top)
    canvas = to_rgb(image).copy()
    boxes = [expression.face.box for expression in shown]
    colours = [colour_of(expression.label, expression.prediction.labels) for expression in shown]
    rows = [_rows(expression, top) for expression in shown]
    check_voice_result(voice_result)
    labels = [expression.label for expression in shown]
    fused = None if voice_result is None else voice_result.fused
    if len(shown) == 1 and fused is not None and fused.voice is not None:
        labels = [UNCERTAIN if fused.contradict else fused.label]
        colours, rows = [colour_of(labels[0], fused.prediction.labels)], [_fused_rows(fused, top)]
    for box, colour in zip(boxes, colours, strict=True):
        _draw_box(canvas, box, colour)
    if voice_result is not None and voice_result.utterance is not None:
        draw_voice(canvas, voice_result.utterance, boxes)
    for label_box, colour in zip(_place(canvas.shape[:2], boxes, rows), colours, strict=True):
        if label_box is not None:
            _draw_label_box(canvas, label_box, colour)
    return np.vstack([canvas, _summary_strip(canvas.shape[:2], labels)]) if summary else canvas


def _rows(answer: Expression | Fused, top: int) -> list[tuple[str, str]]:
    best = [_row(label, p) for label, p in answer.prediction.top(max(top, 1))]
    if answer.certain:
        return best
    return [(answer.label, ""), *(best if top > 1 else [])]


def _fused_rows(fused: Fused, top: int) -> list[tuple[str, str]]:
    parts = [("face", fused.face), ("voice", fused.voice)]
    named = [_row(f"{part} {one.label}", one.confidence) for part, one in parts if one is not None]
    return named if fused.contradict else [*_rows(fused, top), *named]


def _row(label: str, probability: float) -> tuple[str, str]:
    return label, f"{100 * probability:.0f} %"


def _draw_box(canvas: ImageArray, box: Box, colour: Colour) -> None:
    x1, y1, x2, y2 = _corners(canvas.shape[:2], box)
    line = _line_width(canvas.shape[:2], box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), BLACK, line + 2)  # an edge that shows on any ground
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line)


def _corners(shape: tuple[int, ...], box: Box) -> tuple[int, int, int, int]:
    """Return the first and last pixel of a box, clipped to the image."""
    height, width = shape
    x1, x2 = (int(np.clip(round(x), 0, width - 1)) for x in (box.x1, box.x2 - 1))
    y1, y2 = (int(np.clip(round(y), 0, height - 1)) for y in (box.y1, box.y2 - 1))
    return x1, y1, x2, y2


def _line_width(shape: tuple[int, ...], box: Box) -> int:
    thin = max(1, round(min(shape) / 700))
    return max(thin, min(round(max(box.width, box.height) / 40), round(min(shape) / 180)))


def _letter_height(shape: tuple[int, ...], box: Box) -> int:
    """Return the height of capital letters in pixels: an eighth of the face, legible when the whole image is shown."""
    short = min(shape)
    smallest = max(8.0, 0.009 * short)
    return round(float(np.clip(0.125 * box.height, smallest, max(smallest, 0.03 * short))))


def _place(
    shape: tuple[int, ...], boxes: Sequence[Box], rows: Sequence[list[tuple[str, str]]]
) -> list[LabelBox | None]:
    """Return the label box of each face at the place where it covers least; None if no letter fits into the image."""
    candidates = [_candidates(shape, box, own) for box, own in zip(boxes, rows, strict=True)]
    faces = np.array([(box.x1, box.y1, box.x2, box.y2) for box in boxes], np.float32).reshape(-1, 4)
    corners = [_corners_of(label_boxes) for label_boxes in candidates]
    costs = [_cost_of_faces(candidates[number], corners[number], faces, number) for number in range(len(boxes))]
    chosen = np.zeros((len(boxes), 4), np.float32)  # corners of the label boxes; of no area until placed
    choice = [0] * len(boxes)
    for _ in range(1 + SWEEPS):
        before = list(choice)
        for number in (number for number, label_boxes in enumerate(candidates) if label_boxes):
            chosen[number] = 0
            cost = costs[number] + LABEL_BOX_WEIGHT * _covered(corners[number], chosen).sum(axis=1)
            choice[number] = int(cost.argmin())  # the first of the best
            chosen[number] = corners[number][choice[number]]
        if choice == before:
            break
    return [
        label_boxes[number] if label_boxes else None for label_boxes, number in zip(candidates, choice, strict=True)
    ]


def _candidates(shape: tuple[int, ...], box: Box, rows: list[tuple[str, str]]) -> list[LabelBox]:
    """Return the candidate label boxes, the preferred first: above, below, beside and inside the box."""
    usual = _letter_height(shape, box)
    smaller = max(round(SMALLER_LETTER * usual), SMALLEST_LETTER)
    label_boxes = []
    for letter in sorted({usual, smaller}, reverse=True):
        fitted = _fit(rows, letter, shape)
        if fitted is not None:
            label_boxes += _around(shape, box, *fitted)
    return label_boxes


def _fit(rows: list[tuple[str, str]], letter: int, shape: tuple[int, ...]) -> tuple[list[tuple[str, str]], int] | None:
    """Return rows and letter height that fit into the image.

    Letters shrink first; at their smallest, percentages and the last rows are dropped and labels are shortened.
    """
    height, width = shape
    rows = [(shorten(label, letter, MAX_LABEL * letter), value) for label, value in rows]
    while True:
        wide, high = _label_box_size(rows, letter)
        if wide <= width and high <= height:
            return rows, letter
        if letter <= SMALLEST_LETTER:
            break
        letter -= 1
    room = width - 2 * PADDING * letter
    rows = [(shorten(label, letter, room), "") for label, _ in rows]
    while rows and _label_box_size(rows, letter)[1] > height:
        rows.pop()
    return (rows, letter) if rows and _label_box_size(rows, letter)[0] <= width else None


def _around(shape: tuple[int, ...], box: Box, rows: list[tuple[str, str]], letter: int) -> list[LabelBox]:
    height, width = shape
    label_width, label_height = _label_box_size(rows, letter)
    x1, y1, x2, y2 = _corners(shape, box)
    edge = (_line_width(shape, box) + 3) // 2  # of the box's line, outward
    left, right = x1 - edge, x2 + edge + 1 - label_width
    above, below = y1 - edge - label_height, y2 + edge + 1
    before, after = x1 - edge - label_width, x2 + edge + 1
    inside_top, inside_bottom = y1 + edge, y2 - edge - label_height
    columns = (left, right, (left + right) // 2)
    places = [(x, y) for y in (above, below) for x in columns]
    places += [(x, y) for x in (after, before) for y in (y1 - edge, y2 + edge + 1 - label_height)]
    places += [(x, y) for y in (inside_bottom, inside_top) for x in columns]
    return [
        LabelBox(
            max(min(x, width - label_width), 0),
            max(min(y, height - label_height), 0),
            label_width,
            label_height,
            letter,
            rows,
        )
        for x, y in places
    ]


def _corners_of(label_boxes: Sequence[LabelBox]) -> FloatArray:
    return np.array([(p.x, p.y, p.x + p.width, p.y + p.height) for p in label_boxes], np.float32).reshape(-1, 4)


def _cost_of_faces(label_boxes: Sequence[LabelBox], corners: FloatArray, faces: FloatArray, own: int) -> FloatArray:
    """Return the cost of each label box without others: faces that it covers, and letters smaller than usual."""
    weights = np.full(len(faces), FACE_WEIGHT, np.float32)
    weights[own] = 1
    small = np.array([label_box.letter < label_boxes[0].letter for label_box in label_boxes], np.float32)
    return np.asarray(_covered(corners, faces) @ weights + np.float32(SMALL_WEIGHT) * small, np.float32)


def _covered(label_boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return the area that each label box shares with each other rectangle, in parts of its own.

    Args:
        label_boxes: Corners x1, y1, x2, y2, shape (n, 4).
        others: Corners, shape (m, 4).

    Returns:
        Shares in [0, 1], shape (n, m).
    """
    shared = np.minimum(label_boxes[:, None, 2:], others[:, 2:]) - np.maximum(label_boxes[:, None, :2], others[:, :2])
    area = (label_boxes[:, 2] - label_boxes[:, 0]) * (label_boxes[:, 3] - label_boxes[:, 1])
    return np.asarray(shared.clip(min=0).prod(axis=2) / area[:, None], np.float32)


def _label_box_size(rows: Sequence[tuple[str, str]], letter: int) -> tuple[int, int]:
    """Return width and height of a label box in pixels."""
    labels = max(text_width(label, letter) for label, _ in rows)
    values = max((text_width(value, letter) + COLUMN_GAP * letter for _, value in rows if value), default=0.0)
    width = labels + values + 2 * PADDING * letter
    return round(width), round((1 + LINE_HEIGHT * (len(rows) - 1) + 2 * PADDING) * letter)


def _draw_label_box(canvas: ImageArray, label_box: LabelBox, colour: Colour) -> None:
    x, y, width, height, letter, rows = label_box
    ground = canvas[y : y + height, x : x + width]
    ground[:] = colour
    ink = ink_on(colour)
    padding = PADDING * letter
    for number, (label, value) in enumerate(rows):
        base = round(padding + letter * (1 + LINE_HEIGHT * number))
        draw_text(ground, label, letter, x=round(padding), base=base, ink=ink)
        draw_text(ground, value, letter, x=round(width - padding) - text_width(value, letter), base=base, ink=ink)


def _summary_strip(shape: tuple[int, ...], labels: Sequence[str]) -> ImageArray:
    """Return the strip below an image of this shape, RGB uint8 (h, width, 3), h even."""
    letter, width = round(max(8.0, 0.018 * min(shape))), shape[1]
    text = _summary(labels)
    while letter > SMALLEST_LETTER and text_width(text, letter) > width - 2 * letter:
        letter -= 1
    strip = np.full((2 * round(SUMMARY_HEIGHT * letter / 2), width, 3), BLACK, np.uint8)
    base = (len(strip) + letter) // 2
    draw_text(strip, shorten(text, letter, width - 2 * letter), letter, x=letter, base=base, ink=WHITE)
    return strip


def _summary(labels: Sequence[str]) -> str:
    """Return the number of faces with each label, the most frequent first: "5 faces: 3 happy, 2 neutral"."""
    if not labels:
        return "no face"
    if len(labels) == 1:
        return f"1 face: {labels[0]}"
    counts = Counter(label if label.isascii() else label + LEFT_TO_RIGHT for label in labels)
    return f"{len(labels)} faces: " + ", ".join(f"{n} {label}" for label, n in counts.most_common())
