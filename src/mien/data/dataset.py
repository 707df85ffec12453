"""Dataset: images with labels and splits, in memory. See docs/decisions/0007."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from mien.errors import DatasetError
from mien.labels import LabelSet
from mien.pixels import resize
from mien.structures import BoolArray, FloatArray, ImageArray, IntArray

Split = Literal["train", "valid", "test"]  # FER2013: Training, PublicTest, PrivateTest
SPLITS: tuple[Split, ...] = get_args(Split)
SplitArray: TypeAlias = npt.NDArray[np.int8]  # indices into SPLITS
NameArray: TypeAlias = npt.NDArray[np.str_]
Several = Literal["largest", "skip"]
MAX_BYTES = 4 << 30  # the whole dataset is held in memory; `size` reduces it
N_ANSWERS = 10  # of FER+ raters
MAX_IMAGES = 2_000_000  # names, labels and splits take memory too; AffectNet has a million


class PictureLabel(NamedTuple):
    """A picture's file, split and label, for lists of pictures that are no images of the dataset, or not whole ones."""

    name: str
    split: Split
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFaces:
    """Record of the face detection that turned pictures into crops.

    Args:
        detector: Name of the detector.
        several: What was done with pictures of several faces: "largest" took the largest one, "skip" none.
        n_pictures: Number of pictures searched.
        missed: Pictures without a face; they have no image in the dataset.
        crowded: Pictures with several faces.
    """

    detector: str
    several: Several = "largest"
    n_pictures: int
    missed: tuple[PictureLabel, ...] = field(default=(), repr=False)
    crowded: tuple[PictureLabel, ...] = field(default=(), repr=False)

    def split(self, name: Split) -> FoundFaces:
        """Return the record of one split; `n_pictures` stays that of the whole."""
        missed, crowded = (tuple(p for p in part if p.split == name) for part in (self.missed, self.crowded))
        return replace(self, missed=missed, crowded=crowded)


def _are_counts(votes: FloatArray) -> bool:
    return bool((np.isfinite(votes) & (votes >= 0)).all())


def check_memory(source: str | Path, n: int, *shape: int) -> None:
    """Check that images of a shape can be held in memory.

    Args:
        source: Of the images, for messages.
        n: Number of images.
        shape: Of an image, uint8.

    Raises:
        DatasetError: They exceed `MAX_IMAGES` or `MAX_BYTES`.
    """
    n_bytes = n * math.prod(shape)
    if n > MAX_IMAGES:
        raise DatasetError(f"'{source}' holds {n:,} images; expected at most {MAX_IMAGES:,}")
    if n_bytes > MAX_BYTES:
        pixels = f" of {shape[1]}×{shape[0]} pixels" if len(shape) > 1 else ""
        raise DatasetError(
            f"'{source}' needs {n_bytes / 2**30:.0f} GB of memory for {n:,} images{pixels}; expected at most "
            f"{MAX_BYTES >> 30} GB; reduce them: mien data prepare … --size 96; or find the faces, if they are "
            "photographs: --detector auto"
        )


@dataclass(frozen=True)
class Dataset:
    """Labelled face images.

    Args:
        name: Of the data ("fer2013").
        images: uint8 (n, H, W, C), C = 1 grey or 3 RGB.
        targets: Class ids, int64 (n,), in [0, len(labels)).
        labels: Class names in the order of the ids.
        splits: Index into `SPLITS` of each image, int8 (n,).
        votes: Raters' votes as FER+ counts them, float32 (n, 10): the eight labels of `labels.FERPLUS`, then
            unknown and not-a-face; None if there are none.
        held_out: Splits that the data lacks and the reader drew from train.
        names: File of each image, its path below the root of the data with "/", str (n,); "a.jpg#2" is face 2 of a
            picture with several labelled ones. None if the images had no files. Not part of the fingerprint.
        groups: Person, or other group that belongs in one split, of each image, str (n,); None if unknown. Groups are
            not part of the fingerprint.
        found: Record of the face detection; None if the images were read as they are.

    Raises:
        DatasetError: The lengths or shapes differ, or a target, a split or a vote is out of range.
    """

    name: str
    images: ImageArray = field(repr=False)
    targets: IntArray = field(repr=False)
    labels: LabelSet
    splits: SplitArray = field(repr=False)
    votes: FloatArray | None = field(default=None, repr=False)
    held_out: tuple[Split, ...] = field(default=(), repr=False)
    names: NameArray | None = field(default=None, repr=False)
    groups: NameArray | None = field(default=None, repr=False)
    found: FoundFaces | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        lengths = {len(self.images), len(self.targets), len(self.splits)}
        lengths |= {len(part) for part in (self.votes, self.names, self.groups) if part is not None}
        if len(lengths) != 1:
            raise DatasetError(f"dataset '{self.name}' has parts of different lengths: {sorted(lengths)}")
        if self.images.ndim != 4 or self.images.shape[3] not in (1, 3) or 0 in self.images.shape[1:]:
            raise DatasetError(
                f"dataset '{self.name}' has images of shape {self.images.shape}; expected (n, H, W, 1) or (n, H, W, 3)"
            )
        for name in ("targets", "splits", "names", "groups"):
            part = getattr(self, name)
            if part is not None and part.ndim != 1:
                raise DatasetError(f"dataset '{self.name}' has {name} of shape {part.shape}; expected (n,)")
        if self.votes is not None and not (self.votes.shape[1:] == (N_ANSWERS,) and _are_counts(self.votes)):
            raise DatasetError(
                f"dataset '{self.name}' has votes of shape {self.votes.shape}; expected (n, {N_ANSWERS}) numbers from 0"
            )
        if len(self.targets) and not (self.targets.min() >= 0 and self.targets.max() < len(self.labels)):
            raise DatasetError(f"dataset '{self.name}' has class ids outside 0..{len(self.labels) - 1}")
        if len(self.splits) and not (self.splits.min() >= 0 and self.splits.max() < len(SPLITS)):
            raise DatasetError(f"dataset '{self.name}' has splits outside 0..{len(SPLITS) - 1}")

    def __len__(self) -> int:
        return len(self.images)

    def select(self, index: BoolArray | IntArray) -> Dataset:
        """Return the images that a mask, bool (n,), or indices select."""
        return replace(
            self,
            images=self.images[index],
            targets=self.targets[index],
            splits=self.splits[index],
            votes=None if self.votes is None else self.votes[index],
            names=None if self.names is None else self.names[index],
            groups=None if self.groups is None else self.groups[index],
        )

    def split(self, name: Split) -> Dataset:
        """Return one split.

        Raises:
            DatasetError: It is empty.
        """
        mask = self.splits == SPLITS.index(name)
        if not mask.any():
            raise DatasetError(
                f"dataset '{self.name}' has no '{name}' split; it has "
                f"{', '.join(s for i, s in enumerate(SPLITS) if (self.splits == i).any()) or 'no images'}"
            )
        return replace(self.select(mask), found=None if self.found is None else self.found.split(name))

    def resized(self, size: int) -> Dataset:
        """Return the dataset with its images resized to size × size pixels.

        Raises:
            DatasetError: They exceed 4 GB.
        """
        if self.images.shape[1:3] == (size, size):
            return self
        check_memory(self.name, len(self), size, size, self.images.shape[3])
        images = np.empty((len(self), size, size, self.images.shape[3]), np.uint8)
        for i, image in enumerate(self.images):
            images[i] = resize(image, size).reshape(images.shape[1:])
        return replace(self, images=images)

    def counts(self) -> IntArray:
        """Return the number of images per split and class, int64 (3, k)."""
        pairs = self.splits.astype(np.int64) * len(self.labels) + self.targets
        return np.bincount(pairs, minlength=3 * len(self.labels)).reshape(3, -1)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels, splits and votes, in their order: 64 hexadecimal digits."""
        digest = hashlib.sha256()
        digest.update(repr((self.images.shape, self.labels.labels)).encode())
        for part in (self.images, self.targets, self.splits):
            digest.update(np.ascontiguousarray(part).data)
        if self.votes is not None:
            digest.update(np.ascontiguousarray(self.votes).data)
        return digest.hexdigest()
