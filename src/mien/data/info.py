"""What a dataset holds: numbers, and a sheet of sample pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.data.dataset import SPLITS, Dataset
from mien.drawing.sheets import SheetRow, contact_sheet
from mien.structures import ImageArray


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
    rows = []
    for class_id, label in enumerate(dataset.labels):
        members = np.flatnonzero(dataset.targets == class_id)
        drawn = np.random.default_rng((seed, class_id)).permutation(members)[:per_class]
        rows.append(SheetRow(label, str(len(members)), list(dataset.images[drawn])))
    return contact_sheet(rows, title=f"{dataset.name}: {len(dataset)} pictures", columns=per_class)
