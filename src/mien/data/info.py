"""Overview of a dataset: counts, and a sheet of sample images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.data.dataset import SPLITS, Dataset
from mien.data.pictures import some
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
        n_groups: Number of persons or other groups; None if unknown.
        detector: Name of the detector that found the faces; None if the images were read as they are.
        without_face: Files of pictures without a face, which are left out.
        several_faces: Files of pictures with several faces, of which the largest is taken unless they are left out.
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
    n_groups: int | None
    detector: str | None
    without_face: list[str]
    several_faces: list[str]
    fingerprint: str


def info(dataset: Dataset) -> DatasetInfo:
    """Count the images by split and class."""
    n, height, width, channels = dataset.images.shape
    found = dataset.found
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
        n_groups=None if dataset.groups is None else len(np.unique(dataset.groups)),
        detector=None if found is None else found.detector,
        without_face=[] if found is None else [picture.name for picture in found.missed],
        several_faces=[] if found is None else [picture.name for picture in found.crowded],
        fingerprint=dataset.fingerprint,
    )


def describe_found(dataset: Dataset) -> str:
    """Return a sentence on the pictures without a face and with several; "" if the images were read as they are."""
    found = dataset.found
    if found is None:
        return ""
    missed, crowded = (
        f"{len(part):,}{f' ({some([picture.name for picture in part])})' if part else ''}"
        for part in (found.missed, found.crowded)
    )
    taken = "the largest face is taken" if found.several == "largest" else "left out"
    return (
        f"the detector {found.detector} searched {found.n_pictures:,} pictures of '{dataset.name}': without a face "
        f"{missed}, left out; with several {crowded}, {taken}"
    )


def describe_held_out(dataset: Dataset) -> str:
    """Return a sentence with the number of images per class in the splits held out of train; "" if there are none."""
    if not dataset.held_out:
        return ""
    missing = " and no ".join(dataset.held_out)
    if not (dataset.splits == SPLITS.index("train")).any():
        return f"'{dataset.name}' has no {missing} split, and no train split to hold it out of"
    parts = []
    for split in dataset.held_out:
        row = dataset.counts()[SPLITS.index(split)]
        counts = ", ".join(f"{label} {n:,}" for label, n in zip(dataset.labels, row, strict=True))
        if len(row) > MAX_LISTED:
            counts = f"{row.min():,} to {row.max():,} per class"
        parts.append(f"{split} {row.sum():,} ({counts})")
    return f"'{dataset.name}' has no {missing} split; held out of train: {'; '.join(parts)}"


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
