"""Overview of a dataset: counts, and a sheet of sample images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.data.dataset import SPLITS, Dataset
from mien.drawing.sheets import SheetRow, contact_sheet
from mien.structures import ImageArray

MAX_LISTED = 12  # classes; more would fill the screen


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """Counts and properties of a dataset; `dataclasses.asdict` makes it serialisable as JSON.

    Args:
        name: Of the data.
        n_pictures: Number of images.
        height: Of an image, in pixels.
        width: Of an image, in pixels.
        channels: 1 grey, 3 RGB.
        counts: Split -> class -> number of images.
        n_blank: Number of images whose pixels are all equal.
        has_votes: Whether it has raters' votes.
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
    """Count the images by split and class."""
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


def describe_held_out(dataset: Dataset) -> str:
    """Return a sentence with the number of images per class in the splits held out of train; "" if there are none."""
    if not dataset.held_out:
        return ""
    parts = []
    for split in dataset.held_out:
        row = dataset.counts()[SPLITS.index(split)]
        counts = ", ".join(f"{label} {n:,}" for label, n in zip(dataset.labels, row, strict=True))
        if len(row) > MAX_LISTED:
            counts = f"{row.min():,} to {row.max():,} per class"
        parts.append(f"{split} {row.sum():,} ({counts})")
    return f"'{dataset.name}' has no {' and no '.join(dataset.held_out)} split; held out of train: {'; '.join(parts)}"


def sample_sheet(dataset: Dataset, *, per_class: int = 8, seed: int = 0) -> ImageArray:
    """Draw a contact sheet with one row of random images per class.

    Args:
        dataset: Its images are stretched to squares.
        per_class: Images per row, at least 1; a smaller class has a shorter row.
        seed: Of the choice of images.

    Returns:
        RGB uint8 (H, W, 3).
    """
    rows = []
    for class_id, label in enumerate(dataset.labels):
        members = np.flatnonzero(dataset.targets == class_id)
        drawn = np.random.default_rng((seed, class_id)).permutation(members)[:per_class]
        rows.append(SheetRow(label, str(len(members)), list(dataset.images[drawn])))
    return contact_sheet(rows, title=f"{dataset.name}: {len(dataset)} images", columns=per_class)
