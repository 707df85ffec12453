"""Draw faces and their expressions into a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mien.drawing.colours import BLACK, UNCERTAIN_COLOUR, Colour, colour_of, ink_on
from mien.drawing.text import SMALLEST_LETTER, draw_text, text_width
from mien.structures import Box, Expression, ImageArray

PADDING, LINE_HEIGHT, COLUMN_GAP = 0.55, 1.75, 0.6  # of a plate, in heights of a capital letter


class Plate(NamedTuple):
    """A label's rectangle in pixels and the height of its capital letters."""

    x: int
    y: int
    width: int
    height: int
    letter: int


def draw(image: ImageArray, expressions: Iterable[Expression], *, top: int = 1) -> ImageArray:
    """Return a copy of the picture with a box around each face and a plate that names its expression.

    Lines and letters grow with the faces and the picture. Plates stay inside the picture and keep clear of other
    faces and of each other where there is room. Where the answer is "uncertain", both are grey, and the plate says so
    alone, or above the most probable labels if several are asked for.

    Args:
        image: RGB uint8 (H, W, 3); not changed.
        expressions: What to draw, in pixels of the picture.
        top: How many of the most probable labels to name for each face.

    Returns:
        RGB uint8 (H, W, 3).
    """
    shown = list(expressions)
    canvas = image.copy()
    for expression in shown:
        _draw_box(canvas, expression.face.box, _colour(expression))
    plates: list[Plate] = []
    for expression in shown:
        others = [other.face.box for other in shown if other is not expression]
        rows = _rows(expression, top)
        plate = _place(canvas.shape[:2], expression.face.box, rows, taken=plates, others=others)
        if plate is not None:
            plates.append(plate)
            _draw_plate(canvas, plate, rows, _colour(expression))
    return canvas


def _colour(expression: Expression) -> Colour:
    return colour_of(expression.label) if expression.certain else UNCERTAIN_COLOUR


def _rows(expression: Expression, top: int) -> list[tuple[str, str]]:
    best = [(label, f"{100 * p:.0f} %") for label, p in expression.prediction.top(max(top, 1))]
    if expression.certain:
        return best
    return [(expression.label, ""), *(best if top > 1 else [])]


def _draw_box(canvas: ImageArray, box: Box, colour: Colour) -> None:
    x1, y1, x2, y2 = _corners(canvas.shape[:2], box)
    line = _line_width(canvas.shape[:2], box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), BLACK, line + 2)  # an edge that shows on any ground
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line)


def _corners(shape: tuple[int, ...], box: Box) -> tuple[int, int, int, int]:
    """Return the first and last pixel of a box, clipped to the picture."""
    height, width = shape
    x1, x2 = (int(np.clip(round(x), 0, width - 1)) for x in (box.x1, box.x2 - 1))
    y1, y2 = (int(np.clip(round(y), 0, height - 1)) for y in (box.y1, box.y2 - 1))
    return x1, y1, x2, y2


def _line_width(shape: tuple[int, ...], box: Box) -> int:
    thin = max(1, round(min(shape) / 700))
    return max(thin, min(round(max(box.width, box.height) / 40), round(min(shape) / 180)))


def _letter_height(shape: tuple[int, ...], box: Box) -> int:
    """Return the height of capital letters in pixels: an eighth of the face, legible in the picture as a whole."""
    short = min(shape)
    smallest = max(8.0, 0.009 * short)
    return round(float(np.clip(0.125 * box.height, smallest, max(smallest, 0.03 * short))))


def _place(
    shape: tuple[int, ...],
    box: Box,
    rows: Sequence[tuple[str, str]],
    *,
    taken: Sequence[Plate],
    others: Sequence[Box],
) -> Plate | None:
    """Return the plate at the best of the places around and in the box; None where no letter fits."""
    height, width = shape
    letter = _letter_height(shape, box)
    plate_width, plate_height = _plate_size(rows, letter)
    shrink = min(1.0, width / plate_width, height / plate_height)
    if shrink < 1:
        letter = int(letter * shrink)
        if letter < SMALLEST_LETTER:
            return None
        plate_width, plate_height = (min(a, b) for a, b in zip(_plate_size(rows, letter), (width, height), strict=True))
    x1, y1, x2, y2 = _corners(shape, box)
    edge = (_line_width(shape, box) + 3) // 2  # of the box's line, outward
    left, right = x1 - edge, x2 + edge + 1 - plate_width
    above, below = y1 - edge - plate_height, y2 + edge + 1
    inside_top, inside_bottom = y1 + edge, y2 - edge - plate_height
    places = [(x, y) for y in (above, below, inside_bottom, inside_top) for x in (left, right, (left + right) // 2)]
    plates = [
        Plate(
            int(np.clip(x, 0, width - plate_width)),
            int(np.clip(y, 0, height - plate_height)),
            plate_width,
            plate_height,
            letter,
        )
        for x, y in places
    ]
    return min(plates, key=lambda plate: _harm(plate, box, taken=taken, others=others))  # the first of the best


def _harm(plate: Plate, box: Box, *, taken: Sequence[Plate], others: Sequence[Box]) -> float:
    """Return what a plate hides, in parts of its area: plates count most, then others' faces, then its own."""
    area = _box_of(plate)
    over_plates = sum(_shared(area, _box_of(other)) for other in taken)
    over_faces = sum(_shared(area, other) for other in others)
    return (4 * over_plates + 2 * over_faces + _shared(area, box)) / area.area


def _box_of(plate: Plate) -> Box:
    return Box(plate.x, plate.y, plate.x + plate.width, plate.y + plate.height)


def _shared(a: Box, b: Box) -> float:
    return Box(max(a.x1, b.x1), max(a.y1, b.y1), min(a.x2, b.x2), min(a.y2, b.y2)).area


def _plate_size(rows: Sequence[tuple[str, str]], letter: int) -> tuple[int, int]:
    """Return width and height of a plate in pixels."""
    labels = max(text_width(label, letter) for label, _ in rows)
    values = max((text_width(value, letter) + COLUMN_GAP * letter for _, value in rows if value), default=0.0)
    width = labels + values + 2 * PADDING * letter
    return round(width), round((1 + LINE_HEIGHT * (len(rows) - 1) + 2 * PADDING) * letter)


def _draw_plate(canvas: ImageArray, plate: Plate, rows: Sequence[tuple[str, str]], colour: Colour) -> None:
    x, y, width, height, letter = plate
    ground = canvas[y : y + height, x : x + width]
    ground[:] = colour
    ink = ink_on(colour)
    padding = PADDING * letter
    for number, (label, value) in enumerate(rows):
        base = round(padding + letter * (1 + LINE_HEIGHT * number))
        draw_text(ground, label, letter, x=round(padding), base=base, ink=ink)
        draw_text(ground, value, letter, x=round(width - padding) - text_width(value, letter), base=base, ink=ink)
