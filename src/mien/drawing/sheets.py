"""Contact sheets: named rows of pictures below a title."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mien.pixels import resize, to_rgb
from mien.structures import ImageArray

CELL = 72  # pixels of a sample, of the gap between two, of the margin around the sheet
GAP = 6
MARGIN = 18
NAME_WIDTH = 132  # of the column of class names
HEADER_HEIGHT = 44
CAPTION_HEIGHT = 16
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (140, 140, 140)


class SheetRow(NamedTuple):
    """One row of a `contact_sheet`.

    Args:
        name: Stands on its left.
        note: Stands below the name, fainter.
        images: uint8, each (H, W), (H, W, 1) or (H, W, 3) RGB; stretched to squares.
        captions: Stand below the pictures, one each; may be empty, in every row alike.
    """

    name: str
    note: str
    images: Sequence[ImageArray]
    captions: Sequence[str] = ()


def contact_sheet(rows: Sequence[SheetRow], *, title: str, columns: int) -> ImageArray:
    """Draw named rows of pictures below a title.

    Args:
        rows: From the top.
        title: Stands above them; like all lettering, what is not ASCII is drawn as question marks.
        columns: Pictures that a row has room for, at least 1; what a row holds beyond them is left out.

    Returns:
        RGB uint8 (H, W, 3).
    """
    pitch = CELL + GAP
    row_height = pitch + (CAPTION_HEIGHT if any(row.captions for row in rows) else 0)
    height = MARGIN + HEADER_HEIGHT + row_height * len(rows) - GAP + MARGIN
    width = max(MARGIN + NAME_WIDTH + pitch * columns - GAP, MARGIN + _width(title, 0.6)) + MARGIN
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    _write(sheet, title, (MARGIN, MARGIN + 18), 0.6, INK)
    for number, row in enumerate(rows):
        y = MARGIN + HEADER_HEIGHT + row_height * number
        _write(sheet, row.name, (MARGIN, y + CELL // 2), 0.5, INK)
        _write(sheet, row.note, (MARGIN, y + CELL // 2 + 18), 0.4, FAINT)
        for column, image in enumerate(row.images[:columns]):
            x = MARGIN + NAME_WIDTH + pitch * column
            sheet[y : y + CELL, x : x + CELL] = to_rgb(resize(image, CELL))
        for column, caption in enumerate(row.captions[:columns]):
            x = MARGIN + NAME_WIDTH + pitch * column
            _write(sheet, caption, (x, y + CELL + CAPTION_HEIGHT - 5), 0.36, INK)
    return sheet


def _width(text: str, scale: float) -> int:
    """Return how wide a text is drawn, in pixels."""
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)[0][0])


def _write(sheet: ImageArray, text: str, position: tuple[int, int], scale: float, colour: tuple[int, int, int]) -> None:
    cv2.putText(sheet, text, position, cv2.FONT_HERSHEY_DUPLEX, scale, colour, 1, cv2.LINE_AA)
