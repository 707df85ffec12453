"""Explanations as an image: each face beside the map of the parts that drive its prediction."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from mien.drawing.text import draw_text, shorten, text_width
from mien.pixels import to_grey, to_rgb
from mien.structures import ImageArray
from mien.vision.rise import Explanation, T

# In pixels.
SIDE, MARGIN, LETTER, LINE, BAR = 240, 18, 10, 34, 12
PAPER, INK = 255, (40, 40, 40)
MIN_SCALE = 0.05  # a map with a lower maximum is mostly noise and is not stretched to the full colour range


def draw_explanations(explanations: Sequence[Explanation]) -> ImageArray:
    """Draw one row per face: the crop as the model sees it, and the same with the importance map as an overlay.

    Colours range from dark blue, no importance, to yellow, the maximum of this face (viridis: perceptually uniform, for
    any colour vision). The colour bar gives the maximum in percentage points of probability; it spans at least five.

    Args:
        explanations: At least one.

    Returns:
        RGB uint8 (H, W, 3).
    """
    return np.vstack([_row(number, explanation) for number, explanation in enumerate(explanations, start=1)])


def _row(number: int, explanation: Explanation) -> ImageArray:
    label, scale = explanation.label, max(float(explanation.importance.max()), MIN_SCALE)
    crop = _enlarge(to_rgb(explanation.crop))
    heat = _colours((_enlarge(explanation.importance) / scale).clip(0, 1))
    overlay = np.asarray(cv2.addWeighted(to_rgb(to_grey(crop)), 0.5, heat, 0.5, 0), np.uint8)
    bar = _colours(np.repeat(np.linspace(1, 0, SIDE)[:, None], BAR, axis=1))
    left = _panel(f"face {number}, {100 * explanation.probability:.0f} % {label}", crop)
    right = _panel(f"evidence for {label}", overlay)
    legend = _panel("", np.hstack([bar, np.full((SIDE, text_width("+100 points", LETTER), 3), PAPER, np.uint8)]))
    for text, base in ((f"+{100 * scale:.0f} points", LINE + LETTER), ("0", LINE + SIDE)):
        draw_text(legend, text, LETTER, x=BAR + LETTER // 2, base=base, ink=INK)
    margin = np.full((len(left), MARGIN, 3), PAPER, np.uint8)
    return np.hstack([margin, left, right, legend])


def _panel(title: str, image: ImageArray) -> ImageArray:
    """Put a title above an image, shortened to its width, and a margin to the right and below."""
    width = image.shape[1]
    panel = np.full((LINE + SIDE + MARGIN, width + MARGIN, 3), PAPER, np.uint8)
    panel[LINE : LINE + SIDE, :width] = image
    draw_text(panel[:, :width], shorten(title, LETTER, width), LETTER, x=0, base=LINE - LETTER, ink=INK)
    return panel


def _enlarge(image: npt.NDArray[T]) -> npt.NDArray[T]:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), image.dtype)


def _colours(values: npt.NDArray[np.floating]) -> ImageArray:
    """Return the viridis colours, RGB uint8 (H, W, 3), of values in [0, 1]."""
    bgr = cv2.applyColorMap(np.rint(255 * values).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.asarray(bgr[:, :, ::-1], np.uint8)
