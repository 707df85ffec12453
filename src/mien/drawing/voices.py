"""Draw the bars of a voice into a corner of an image."""

from __future__ import annotations

from collections.abc import Sequence

from mien.drawing.charts import bar_chart
from mien.drawing.text import SMALLEST_LETTER
from mien.structures import Box, ImageArray, Utterance

USUAL_LETTER = 0.018  # height of a capital letter, of the image's shorter side
STANDARD_LETTER = 8  # pixels, of a chart at scale 1
WIDTH, ROW_HEIGHT = 23, 2.1  # of the bars, in heights of a capital letter
MAX_SHARE = 0.5  # of the image's width and height


def draw_voice(canvas: ImageArray, utterance: Utterance, boxes: Sequence[Box]) -> None:
    """Draw the bars of a voice, in place, into the corner where they cover the least of the faces.

    An image that is too small for legible bars is left as it is.

    Args:
        canvas: RGB uint8 (H, W, 3).
        utterance: The voice.
        boxes: The faces, in pixels of the image.
    """
    height, width = canvas.shape[:2]
    rows = len(utterance.prediction.labels) + 2.5  # with the title and the margins
    usual = max(STANDARD_LETTER, USUAL_LETTER * min(height, width))
    letter = min(usual, MAX_SHARE * width / WIDTH, MAX_SHARE * height / (ROW_HEIGHT * rows))
    if letter < SMALLEST_LETTER:
        return
    size = round(WIDTH * letter), round(ROW_HEIGHT * rows * letter)
    chart = bar_chart(
        utterance.prediction.as_dict(),
        size=size,
        dark=True,
        title=voice_title(utterance),
        scale=letter / STANDARD_LETTER,
    )
    x, y = min(_corners((width, height), size), key=lambda corner: _covered(corner, size, boxes))
    canvas[y : y + size[1], x : x + size[0]] = chart


def voice_title(utterance: Utterance) -> str:
    """Return how a voice sounds, in words: "voice sounds happy", with an ellipsis while it goes on."""
    text = f"voice sounds {utterance.label}" if utterance.certain else f"voice: {utterance.label}"
    return text if utterance.final else f"{text} …"


def _corners(image: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the upper left corners of a rectangle at the image's corners: bottom left, bottom right, top."""
    right, bottom = image[0] - size[0], image[1] - size[1]
    return [(0, bottom), (right, bottom), (0, 0), (right, 0)]


def _covered(corner: tuple[int, int], size: tuple[int, int], boxes: Sequence[Box]) -> float:
    (x, y), (width, height) = corner, size
    own = Box(x, y, x + width, y + height)
    return sum(map(own.intersection, boxes))
