"""Text in images: DejaVu Sans comes with mien, fonts of the system supply the scripts that it lacks."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mien.drawing.colours import Colour
from mien.escape import INVISIBLE
from mien.structures import ImageArray

FONT = str(Path(__file__).parent / "fonts" / "DejaVuSans.ttf")  # why this one: docs/decisions/0033
CAPITAL = 1493 / 2048  # height of its H, in ems
SYSTEM_FONTS = (  # searched by name in the system's font folders, only for characters that FONT lacks
    *("NotoSansCJK-Regular.ttc", "NotoSansCJK-VF.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc"),  # Linux
    *("DroidSansFallbackFull.ttf", "FreeSans.ttf"),
    *(f"NotoSans{script}-Regular.ttf" for script in ("Devanagari", "Bengali", "Tamil", "Telugu", "Thai", "Ethiopic")),
    *("Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc"),  # macOS
    *("msyh.ttc", "malgun.ttf", "Nirmala.ttc", "Nirmala.ttf", "LeelawUI.ttf"),  # Windows
)
NO_CHARACTER = "\U0010ffff"  # for which every font draws its box for missing characters
REPLACEMENT = "\ufffd"  # for control characters, bidi controls and undecodable bytes of file names
SMALLEST_LETTER = 5  # pixels; smaller capital letters are illegible


def text_width(text: str, letter: int) -> int:
    """Return the width of text in pixels, its capital letters `letter` pixels high."""
    return int(_text_mask(text, letter)[0].shape[1])


def shorten(text: str, letter: int, width: float) -> str:
    """Return the text, its end replaced by an ellipsis where it is wider than `width` pixels."""
    if not letter or text_width(text, letter) <= width:
        return text
    kept = len(text)
    while kept > 1 and text_width(text[:kept] + "…", letter) > width:
        kept = min(kept - 1, round(kept * width / text_width(text[:kept] + "…", letter)))
    return text[: max(kept, 1)].rstrip() + "…"


def draw_text(image: ImageArray, text: str, letter: int, *, x: int, base: int, ink: Colour) -> None:
    """Blend text into an image, in place; text beyond the right and bottom edges is clipped.

    A character that no font has is drawn as a box.

    Args:
        image: RGB uint8 (H, W, 3).
        text: One line; line breaks become spaces.
        letter: Height of capital letters in pixels.
        x: Left edge; a negative one is taken as 0.
        base: y of the baseline; moved down where the text would exceed the top edge.
        ink: RGB.
    """
    mask, ascent = _text_mask(text, letter)
    x, y = max(x, 0), max(base - ascent, 0)
    part = image[y : y + mask.shape[0], x : x + mask.shape[1]]
    cover = mask[: part.shape[0], : part.shape[1], None]
    part[:] = np.rint(part * (1 - cover) + np.array(ink, np.float32) * cover).astype(np.uint8)


@lru_cache(maxsize=1024)  # labels and percentages recur in every frame of a stream
def _text_mask(text: str, letter: int) -> tuple[npt.NDArray[np.float32], int]:
    """Return the coverage of each pixel, float32 (h, w) in [0, 1], and the number of rows above the baseline."""
    text = _one_line(text)
    font = _font(_path_for(text), max(letter, 1) / CAPITAL)
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    x, y = math.floor(min(left, 0)), math.floor(min(top, 0))
    size = (max(math.ceil(right) - x, 1), max(math.ceil(bottom) - y, 1))
    image = Image.new("L", size)
    ImageDraw.Draw(image).text((-x, -y), text, fill=255, font=font, anchor="ls")
    return np.asarray(image, np.float32) / np.float32(255), -y


def _one_line(text: str) -> str:
    return INVISIBLE.sub(REPLACEMENT, re.sub(r"\s+", " ", text))


@lru_cache(maxsize=64)
def _font(path: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def _path_for(text: str) -> str:
    """Return the first font that has all characters of a text, or else the most of them."""
    if text.isascii():
        return FONT
    missing = [sum(not _has(FONT, c) for c in text)]
    if missing[0]:
        missing += [sum(not _has(path, c) for c in text) for path in _system_fonts()]
    return (FONT, *(_system_fonts() if missing[0] else ()))[missing.index(min(missing))]


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[str, ...]:
    """Return the paths of the fonts in SYSTEM_FONTS that this machine has."""
    paths = []
    for name in SYSTEM_FONTS:
        try:
            paths.append(str(ImageFont.truetype(name).path))
        except OSError:
            continue
    return tuple(paths)


@lru_cache(maxsize=4096)
def _has(path: str, character: str) -> bool:
    """Return whether a font has a character: whether it draws anything else than for one that no font has."""
    font = _font(path, 32.0)
    drawn, missing = (font.getmask(c) for c in (character, NO_CHARACTER))
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)
