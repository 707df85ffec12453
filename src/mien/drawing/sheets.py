"""Contact sheets: named rows of images below a title."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mien.drawing.colours import Colour
from mien.drawing.text import draw_text, shorten, text_width
from mien.pixels import resize, to_rgb
from mien.structures import ImageArray

# In pixels.
CELL, GAP, MARGIN = 72, 6, 18  # side of an image, space between two, margin of the sheet
NAME_WIDTH = 132  # of the column of row names
HEADER_HEIGHT, CAPTION_HEIGHT = 44, 16
TITLE_LETTER, NAME_LETTER, NOTE_LETTER, CAPTION_LETTER = 11, 10, 8, 7  # heights of capital letters
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (110, 110, 110)


class SheetRow(NamedTuple):
    """One row of a `contact_sheet`.

    Args:
        name: Written left of the images, shortened where it is too wide.
        note: Written below the name, fainter.
        images: uint8, each (H, W), (H, W, 1) or (H, W, 3) RGB; resized to squares.
        captions: One below each image, shortened to its width; empty for none.
    """

    name: str
    note: str
    images: Sequence[ImageArray]
    captions: Sequence[str] = ()


def contact_sheet(rows: Sequence[SheetRow], *, title: str, columns: int, cell: int = CELL) -> ImageArray:
    """Return a sheet with named rows of images below a title.

    Args:
        rows: From top to bottom.
        title: Written above the rows; the sheet is at least as wide.
        columns: Images per row, at least 1; further ones are left out.
        cell: Side of an image in pixels.

    Returns:
        RGB uint8 (H, W, 3).
    """
    pitch, name_width = cell + GAP, NAME_WIDTH - GAP
    row_height = pitch + (CAPTION_HEIGHT if any(row.captions for row in rows) else 0)
    height = MARGIN + HEADER_HEIGHT + row_height * len(rows) - GAP + MARGIN
    width = max(MARGIN + NAME_WIDTH + pitch * columns - GAP, MARGIN + text_width(title, TITLE_LETTER)) + MARGIN
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    draw_text(sheet, title, TITLE_LETTER, x=MARGIN, base=MARGIN + 18, ink=INK)
    for number, row in enumerate(rows):
        y = MARGIN + HEADER_HEIGHT + row_height * number
        for text, letter, base, ink in (
            (row.name, NAME_LETTER, y + cell // 2, INK),
            (row.note, NOTE_LETTER, y + cell // 2 + 18, FAINT),
        ):
            draw_text(sheet, shorten(text, letter, name_width), letter, x=MARGIN, base=base, ink=ink)
        for column, image in enumerate(row.images[:columns]):
            x = MARGIN + NAME_WIDTH + pitch * column
            sheet[y : y + cell, x : x + cell] = to_rgb(resize(image, cell))
        for column, caption in enumerate(row.captions[:columns]):
            x = MARGIN + NAME_WIDTH + pitch * column
            draw_caption(sheet, caption, x, y, cell=cell)
    return sheet


def draw_caption(sheet: ImageArray, caption: str, x: int, y: int, *, ink: Colour = INK, cell: int = CELL) -> None:
    """Write a caption below the image of side `cell` at (x, y), shortened to its width."""
    text = shorten(caption, CAPTION_LETTER, cell)
    draw_text(sheet, text, CAPTION_LETTER, x=x, base=y + cell + CAPTION_HEIGHT - 5, ink=ink)
