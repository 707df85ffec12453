"""Draw a sheet of a photograph and cartoons, recognised by the default model and by the one for cartoons.

Usage: python scripts/draw_predictions.py docs/images/predictions.jpg     (needs YuNet)
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from mien.cartoons import draw_cartoons
from mien.drawing.faces import draw
from mien.drawing.sheets import SheetRow, contact_sheet
from mien.labels import FER2013
from mien.pixels import encode, resize
from mien.recognizer import Recognizer
from mien.sources.pictures import read_picture
from mien.structures import ImageArray

PORTRAIT = Path(__file__).parent.parent / "docs" / "images" / "astronaut.png"
HEAD = np.s_[:260, 90:350]  # of the portrait
CHARACTER = "ada"  # held out of the training of ferg
CELL, COLUMNS = 192, 4
QUALITY = 85  # of the JPEG: the sheet is to stay small


def main(path: str) -> None:
    photograph = np.ascontiguousarray(resize(read_picture(PORTRAIT)[HEAD], CELL))
    cartoons = list(draw_cartoons(len(FER2013), seed=2, characters=[CHARACTER], size=CELL))
    images = [photograph, *(cartoon.image for cartoon in cartoons)]
    captions = ["photograph", *(f"drawn: {cartoon.label}" for cartoon in cartoons)]
    rows = [
        *_rows(Recognizer("yunet"), "for photographs", images, captions),
        *_rows(Recognizer("whole", "ferg"), "for cartoons", images, captions),
    ]
    sheet = contact_sheet(rows, title="Predictions on a photograph and on drawings", columns=COLUMNS, cell=CELL)
    Path(path).write_bytes(encode(Path(path), ".jpg", sheet, (cv2.IMWRITE_JPEG_QUALITY, QUALITY)))
    print(path)


def _rows(recognizer: Recognizer, note: str, images: list[ImageArray], captions: list[str]) -> list[SheetRow]:
    drawn = [draw(image, recognizer.recognize(image)) for image in images]
    name = recognizer.provenance.model
    return [
        SheetRow(name if start == 0 else "", note if start == 0 else "", drawn[start:stop], captions[start:stop])
        for start in range(0, len(drawn), COLUMNS)
        for stop in [start + COLUMNS]
    ]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
