"""Text on pictures."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from mien.drawing.colours import Colour
from mien.structures import ImageArray

FONT = cv2.FONT_HERSHEY_DUPLEX
MASTER_SCALE, MASTER_STROKE = 2.0, 4  # letters are drawn large and shrunk, which smooths them better than LINE_AA
SMALLEST_LETTER = 5  # pixels; where not even these fit, the box stays without a label


def to_ascii(text: str) -> str:
    """Return the text in the letters that OpenCV's fonts have."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or "?"


def text_width(text: str, letter: int) -> int:
    return int(_text_mask(text, letter)[0].shape[1])


def draw_text(ground: ImageArray, text: str, letter: int, *, x: int, base: int, ink: Colour) -> None:
    """Blend text into the ground, its baseline at y = base; what does not fit is cut off."""
    mask, ascent = _text_mask(text, letter)
    x, y = max(x, 0), max(base - ascent, 0)
    part = ground[y : y + mask.shape[0], x : x + mask.shape[1]]
    cover = mask[: part.shape[0], : part.shape[1], None]
    part[:] = np.rint(part * (1 - cover) + np.array(ink, np.float32) * cover).astype(np.uint8)


@lru_cache(maxsize=1024)  # labels and percentages come again in every frame of a stream
def _text_mask(text: str, letter: int) -> tuple[npt.NDArray[np.float32], int]:
    """Return how much of each pixel the text covers, float32 (h, w) in [0, 1], and the rows above the baseline."""
    (_, capital), _ = cv2.getTextSize("H", FONT, MASTER_SCALE, MASTER_STROKE)
    (width, ascent), descent = cv2.getTextSize(text, FONT, MASTER_SCALE, MASTER_STROKE)
    master = np.zeros((ascent + descent + 2 * MASTER_STROKE, width + 2 * MASTER_STROKE), np.uint8)
    origin = (MASTER_STROKE, ascent + MASTER_STROKE)
    cv2.putText(master, text, origin, FONT, MASTER_SCALE, 255, MASTER_STROKE, cv2.LINE_AA)
    scale = letter / capital
    size = (max(1, round(master.shape[1] * scale)), max(1, round(master.shape[0] * scale)))
    mask = cv2.resize(master, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(mask, np.float32) / np.float32(255), round(origin[1] * size[1] / master.shape[0])
