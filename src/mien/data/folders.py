"""Pictures in one folder per class, on disk or in a zip."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from mien.data.damage import damage_reported
from mien.data.dataset import SPLITS, Dataset, Split
from mien.data.votes import USAGES, read_votes, votes_by_name
from mien.errors import DatasetError
from mien.labels import label_set_for
from mien.pixels import resize, to_rgb
from mien.structures import ImageArray

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})
SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "publictest"), "valid"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
LAYOUT = "expected <class>/<picture> or <split>/<class>/<picture>, split being train, valid or test"
KAGGLE_NAME = re.compile(rf"({'|'.join(USAGES)})_\d+\.")  # Training_3908.jpg
SIZE_OF_MIXED = 112  # pixels a side when the pictures differ in size; what face networks beyond FER2013 read
HELD_OUT = 0.1  # share of train that stands in for a missing valid or test split
MOST_BYTES = 4 << 30  # the whole dataset lives in memory; `size` is the way past it


class Files(NamedTuple):
    """What a folder or zip holds.

    Args:
        names: Names below it with "/", of those that are not empty.
        read: Returns the bytes of one.
    """

    names: list[str]
    read: Callable[[str], bytes]


class Picture(NamedTuple):
    """A picture file with what its place tells."""

    name: str
    split: Split
    label: str


def can_read(path: Path) -> bool:
    """Tell whether the path is a folder, or a zip with a picture in it."""
    if path.is_dir():
        return True
    if path.suffix.lower() != ".zip":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(map(is_picture, archive.namelist()))
    except (OSError, zipfile.BadZipFile):
        return False


def read(path: Path, *, size: int | None = None, votes: Path | None = None) -> Dataset:
    """Read pictures from class folders, in the order of their names.

    Understood are `<class>/<picture>` and `<split>/<class>/<picture>`, also inside further single folders; and
    Kaggle's form of FER2013, where the file name (`PublicTest_1.jpg`) decides the split. Of a split valid or test
    that is missing, 10 % of train take the place: each file goes by the hash of its own name, so that it stays
    where it is when others are added. Hidden and empty files are passed over; a warning tells of files that are no
    pictures.

    The pictures keep a common size and grey when all of them are grey; else they become RGB, and of the
    wanted size or 112 pixels a side.

    Args:
        path: A folder or a zip; the zip is not unpacked to disk.
        size: Resize the pictures to this many pixels a side.
        votes: A FER+ file; the pictures must then be named as there (fer0000012.png).

    Raises:
        DatasetError: There are no pictures, they do not lie in class folders, or they exceed 4 GB.
    """
    with opened(path) as files:
        pictures = hold_out(placed(path, [name for name in files.names if is_picture(name)]))
        pictures, images = decode_all(path, pictures, files.read, size)
    labels = label_set_for({picture.label for picture in pictures}, name=name_of(path))
    names = [picture.name for picture in pictures]
    return Dataset(
        name="fer2013" if all(map(_kaggle_split, names)) else name_of(path),
        images=images,
        targets=np.array([labels.index(picture.label) for picture in pictures], np.int64),
        labels=labels,
        splits=np.array([SPLITS.index(picture.split) for picture in pictures], np.int8),
        votes=None if votes is None else votes_by_name(read_votes(votes), names),
    )


def name_of(path: Path) -> str:
    """Return what a dataset is called: as its folder, or as its zip without the suffix."""
    return path.resolve().name if path.is_dir() else path.stem


def is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden


def placed(root: Path, names: list[str], *, layout: str = LAYOUT) -> list[Picture]:
    """Tell split and label of each picture, or whatever lies as `layout` says, from its place."""
    if not names:
        raise DatasetError(f"'{root}' holds no pictures; {layout}")
    paths = [PurePosixPath(name) for name in names]
    depth = _wrapper_depth(paths)
    has_splits = any(_split_of_folder(path, depth) for path in paths)
    pictures = []
    for path in paths:
        split = _split_of_folder(path, depth) if has_splits else "train"
        if split is None or len(path.parts) != depth + 2 + has_splits:
            raise DatasetError(f"'{path}' in '{root}' lies in no class folder; {layout}; move or remove it")
        pictures.append(Picture(str(path), _kaggle_split(path.name) or split, path.parent.name))
    return pictures


def _wrapper_depth(paths: list[PurePosixPath]) -> int:
    """Return how many single folders lie around the class or split folders."""
    depth = 0
    while all(len(path.parts) > depth + 2 and path.parts[depth] == paths[0].parts[depth] for path in paths):
        if _split_of_folder(paths[0], depth):
            break
        depth += 1
    return depth


def _split_of_folder(path: PurePosixPath, depth: int) -> Split | None:
    folders = path.parts[depth:-1]
    return SPLIT_NAMES.get(folders[0].lower()) if folders else None


def _kaggle_split(name: str) -> Split | None:
    found = KAGGLE_NAME.match(PurePosixPath(name).name)
    return USAGES[found[1]] if found else None


def hold_out(pictures: list[Picture]) -> list[Picture]:
    """Give the splits valid and test, where missing, their share of train."""
    present = {picture.split for picture in pictures}
    missing = [split for split in SPLITS[1:] if split not in present]
    return [
        picture._replace(split=_drawn_split(picture, missing)) if picture.split == "train" else picture
        for picture in pictures
    ]


def _drawn_split(picture: Picture, missing: list[Split]) -> Split:
    """Draw a split by class folder and name, which no other file touches."""
    draw = drawn(picture.name)
    for i, split in enumerate(missing, start=1):
        if draw < i * HELD_OUT:
            return split
    return "train"


def drawn(name: str) -> float:
    """Return a number from [0, 1) for a file, always the same: by the hash of its name and its folder's."""
    own = "/".join(PurePosixPath(name).parts[-2:])
    return int.from_bytes(hashlib.blake2b(os.fsencode(own), digest_size=8).digest(), "big") / 2**64


def decode_all(
    root: Path, pictures: list[Picture], read: Callable[[str], bytes], size: int | None
) -> tuple[list[Picture], ImageArray]:
    """Return those pictures that can be decoded, and their pixels, uint8 (n, H, W, C)."""
    kept: list[Picture] = []
    images: list[ImageArray] = []
    for picture in pictures:
        image = decode(read(picture.name))
        if image is None:
            continue
        if size is None and images and image.shape[:2] != images[0].shape[:2]:
            size = SIZE_OF_MIXED
            images = [resize(other, size) for other in images]
        if size is not None:
            image = resize(image, size)
        if len(pictures) * image.nbytes > MOST_BYTES:
            raise DatasetError(
                f"'{root}' needs {len(pictures) * image.nbytes / 2**30:.0f} GB of memory with its pictures of "
                f"{image.shape[1]}×{image.shape[0]} pixels; expected at most {MOST_BYTES >> 30}; "
                "have them resized: mien data prepare … --size 96"
            )
        kept.append(picture)
        images.append(image)
    _warn_of_skipped(root, pictures, kept)
    if all(image.ndim == 2 for image in images):
        return kept, np.stack(images)[..., None]
    return kept, np.stack([to_rgb(image) for image in images])


def decode(content: bytes) -> ImageArray | None:
    """Return grey (H, W) or RGB (H, W, 3); None when it is no picture."""
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR)
    except cv2.error:  # more pixels than OpenCV wants to decode
        return None
    if image is None:
        return None
    return np.asarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _warn_of_skipped(root: Path, pictures: list[Picture], kept: list[Picture]) -> None:
    kept_names = {picture.name for picture in kept}
    skipped = [picture.name for picture in pictures if picture.name not in kept_names]
    if not skipped:
        return
    names = ", ".join(skipped[:3]) + (", …" if len(skipped) > 3 else "")
    found = f"{len(skipped)} of {len(pictures)} files in '{root}' are no pictures: {names}"
    if not kept:
        raise DatasetError(f"{found}; expected PNG, JPEG or the like; download the dataset again")
    warnings.warn(f"{found}; they are left out", stacklevel=2)


@contextmanager
def opened(path: Path) -> Iterator[Files]:
    """List a folder or zip; damage found while reading becomes a DatasetError too."""
    with damage_reported(path):
        if path.is_dir():
            found = [file for file in path.rglob("*") if file.is_file() and file.stat().st_size]
            names = [file.relative_to(path).as_posix() for file in found]
            yield Files(sorted(names), lambda name: (path / name).read_bytes())
        else:
            with zipfile.ZipFile(path) as archive:
                names = [entry.filename for entry in archive.infolist() if entry.file_size]
                yield Files(sorted(names), archive.read)
