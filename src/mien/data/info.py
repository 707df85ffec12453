"""What a dataset holds: numbers, and a sheet of sample pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mien.data.dataset import SPLITS, Dataset
from mien.structures import ImageArray
from mien.vision.preprocess import resize, to_rgb

CELL = 72  # pixels of a sample, of the gap between two, of the margin around the sheet
GAP = 6
MARGIN = 18
NAME_WIDTH = 132  # of the column of class names
HEADER_HEIGHT = 44
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (140, 140, 140)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """A dataset in numbers; `dataclasses.asdict` gives what JSON can hold.

    Args:
        name: What the data is called.
        n_pictures: Their number.
        height: Of a picture, in pixels.
        width: Of a picture, in pixels.
        channels: 1 grey, 3 RGB.
        counts: Split -> class -> number of pictures.
        n_blank: Pictures whose pixels are all equal.
        has_votes: Whether raters' votes come with it.
        fingerprint: SHA-256 of the data, 64 hexadecimal digits.
    """

    name: str
    n_pictures: int
    height: int
    width: int
    channels: int
    counts: dict[str, dict[str, int]]
    n_blank: int
    has_votes: bool
    fingerprint: str


def info(dataset: Dataset) -> DatasetInfo:
    """Count what there is."""
    n, height, width, channels = dataset.images.shape
    return DatasetInfo(
        name=dataset.name,
        n_pictures=n,
        height=height,
        width=width,
        channels=channels,
        counts={
            split: dict(zip(dataset.labels, row, strict=True))
            for split, row in zip(SPLITS, dataset.counts().tolist(), strict=True)
        },
        n_blank=int((np.ptp(dataset.images, axis=(1, 2, 3)) == 0).sum()),
        has_votes=dataset.votes is not None,
        fingerprint=dataset.fingerprint,
    )


def sample_sheet(dataset: Dataset, *, per_class: int = 8, seed: int = 0) -> ImageArray:
    """Draw a sheet with a row of pictures for each class.

    Args:
        dataset: What to draw from; pictures are stretched to squares.
        per_class: Pictures in a row, at least 1; a smaller class leaves its row shorter.
        seed: Of the draw; the same seed gives the same sheet.

    Returns:
        RGB uint8 (H, W, 3).
    """
    pitch = CELL + GAP
    height = MARGIN + HEADER_HEIGHT + pitch * len(dataset.labels) - GAP + MARGIN
    width = MARGIN + NAME_WIDTH + pitch * per_class - GAP + MARGIN
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    _write(sheet, f"{dataset.name}: {len(dataset)} pictures", (MARGIN, MARGIN + 18), 0.6, INK)
    for class_id, label in enumerate(dataset.labels):
        members = np.flatnonzero(dataset.targets == class_id)
        y = MARGIN + HEADER_HEIGHT + pitch * class_id
        _write(sheet, label, (MARGIN, y + CELL // 2), 0.5, INK)
        _write(sheet, str(len(members)), (MARGIN, y + CELL // 2 + 18), 0.4, FAINT)
        drawn = np.random.default_rng((seed, class_id)).permutation(members)[:per_class]
        for column, member in enumerate(drawn):
            x = MARGIN + NAME_WIDTH + pitch * column
            sheet[y : y + CELL, x : x + CELL] = to_rgb(resize(dataset.images[member], CELL))
    return sheet


def _write(sheet: ImageArray, text: str, position: tuple[int, int], scale: float, colour: tuple[int, int, int]) -> None:
    cv2.putText(sheet, text, position, cv2.FONT_HERSHEY_DUPLEX, scale, colour, 1, cv2.LINE_AA)
