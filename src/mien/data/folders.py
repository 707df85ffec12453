"""Class folders: images in one folder per class, on disk or in a zip."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from mien.data import splits
from mien.data.damage import damage_reported
from mien.data.dataset import SPLITS, Dataset, Split
from mien.data.votes import USAGES, read_votes, votes_by_name
from mien.errors import DatasetError, UnreadablePicture
from mien.labels import label_set_for
from mien.pixels import resize, to_rgb
from mien.sources.paths import PICTURE_SUFFIXES
from mien.sources.pictures import decode as decode_picture
from mien.structures import ImageArray

SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "publictest"), "valid"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
LAYOUT = "expected <class>/<image> or <split>/<class>/<image>, split being train, valid or test"
KAGGLE_NAME = re.compile(rf"({'|'.join(USAGES)})_\d+\.")  # Training_3908.jpg
MIXED_SIZE = 112  # side in pixels where the images differ in size; the input of face recognition networks
MAX_BYTES = 4 << 30  # the whole dataset is held in memory; `size` reduces it


class Files(NamedTuple):
    """The files of a folder or zip.

    Args:
        names: Paths below it, with "/", of all files that are not empty.
        read: Returns the bytes of one.
    """

    names: list[str]
    read: Callable[[str], bytes]


class Picture(NamedTuple):
    """An image file, with the split and label that its folders name."""

    name: str
    split: Split
    label: str


def can_read(path: Path) -> bool:
    """Return whether the path is a folder, or a zip with an image in it."""
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
    """Read images from class folders, sorted by name.

    Layouts: `<class>/<image>` and `<split>/<class>/<image>`, also inside further single folders; and Kaggle's form
    of FER2013, where the file name (`PublicTest_1.jpg`) gives the split. A missing valid or test split is held out of
    train, 10 % of each class: see `mien.data.splits.hold_out`. Hidden and empty files are ignored; a warning names
    files that cannot be decoded.

    Images of one size keep it, others become squares of `size` or 112 pixels. The images are grey if all images
    are, else RGB.

    Args:
        path: A folder or a zip; the zip is not unpacked to disk.
        size: Resize the images to squares of this side in pixels.
        votes: A FER+ file; the images must then have its names (fer0000012.png).

    Raises:
        DatasetError: There are no images, some are outside the class folders, or they exceed 4 GB.
    """
    with open_files(path) as files:
        pictures = parse_layout(path, [name for name in files.names if is_picture(name)])
        pictures, images = decode_all(path, pictures, files.read, size)
    pictures, held_out = hold_out(pictures)
    labels = label_set_for({picture.label for picture in pictures}, name=dataset_name(path))
    names = [picture.name for picture in pictures]
    return Dataset(
        name="fer2013" if all(map(_kaggle_split, names)) else dataset_name(path),
        images=images,
        targets=np.array([labels.index(picture.label) for picture in pictures], np.int64),
        labels=labels,
        splits=np.array([SPLITS.index(picture.split) for picture in pictures], np.int8),
        votes=None if votes is None else votes_by_name(read_votes(votes), names),
        held_out=held_out,
        names=np.array(names, np.str_),
    )


def dataset_name(path: Path) -> str:
    """Return the name of a folder, or of a zip without its suffix."""
    return path.resolve().name if path.is_dir() else path.stem


def is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden


def parse_layout(root: Path, names: list[str], *, layout: str = LAYOUT) -> list[Picture]:
    """Take split and label of each file from its folders; the split is "train" where none is named.

    Args:
        root: For messages.
        names: Paths below the root, of images or clips.
        layout: The expected layout, for messages.

    Raises:
        DatasetError: There are no files, or one is not in a class folder.
    """
    if not names:
        raise DatasetError(f"'{root}' holds no images; {layout}")
    paths = [PurePosixPath(name) for name in names]
    depth = _wrapper_depth(paths)
    has_splits = any(_split_of_folder(path, depth) for path in paths)
    pictures = []
    for path in paths:
        split = _split_of_folder(path, depth) if has_splits else "train"
        if split is None or len(path.parts) != depth + 2 + has_splits:
            raise DatasetError(f"'{path}' in '{root}' is not in a class folder; {layout}; move or remove it")
        pictures.append(Picture(str(path), _kaggle_split(path.name) or split, path.parent.name))
    return pictures


def _wrapper_depth(paths: list[PurePosixPath]) -> int:
    """Return the number of single folders around the class or split folders."""
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


def hold_out(pictures: list[Picture]) -> tuple[list[Picture], tuple[Split, ...]]:
    """Move images of train to valid and test where these are missing; return also the splits that were missing."""
    present = {picture.split for picture in pictures}
    missing = tuple(split for split in SPLITS[1:] if split not in present)
    train = [picture for picture in pictures if picture.split == "train"]
    names = [picture.name for picture in train]
    drawn = dict(zip(names, splits.hold_out(names, [picture.label for picture in train], missing), strict=True))
    return [picture._replace(split=drawn.get(picture.name, picture.split)) for picture in pictures], missing


def decode_all(
    root: Path, pictures: list[Picture], read: Callable[[str], bytes], size: int | None
) -> tuple[list[Picture], ImageArray]:
    """Decode images and bring them to one size.

    Args:
        root: For messages.
        pictures: The files; those that cannot be decoded are skipped with a warning.
        read: Returns the bytes of a file.
        size: Side in pixels; None keeps the common size, or takes `MIXED_SIZE` if there is none.

    Returns:
        The decoded images, and their pixels, uint8 (n, H, W, 1) grey or (n, H, W, 3) RGB.

    Raises:
        DatasetError: None can be decoded, or they exceed `MAX_BYTES`.
    """
    kept: list[Picture] = []
    images: list[ImageArray] = []
    failures: dict[str, UnreadablePicture] = {}
    for picture in pictures:
        try:
            image = decode(read(picture.name), picture.name)
        except UnreadablePicture as error:
            failures[picture.name] = error
            continue
        if size is None and images and image.shape[:2] != images[0].shape[:2]:
            size = MIXED_SIZE
            images = [resize(other, size) for other in images]
        if size is not None:
            image = resize(image, size)
        _check_memory(root, len(pictures), image)
        kept.append(picture)
        images.append(image)
    if failures:
        _report_failures(root, failures, n_kept=len(kept))
    if all(image.ndim == 2 for image in images):
        return kept, np.stack(images)[..., None]
    return kept, np.stack([to_rgb(image) for image in images])


def decode(content: bytes, name: str) -> ImageArray:
    """Return an image as grey (H, W) or RGB (H, W, 3); raise UnreadablePicture if it cannot be decoded."""
    return decode_picture(content, name=name, keep_grey=True, drop_alpha=True)


def _check_memory(root: Path, n: int, image: ImageArray) -> None:
    if n * image.nbytes > MAX_BYTES:
        raise DatasetError(
            f"'{root}' needs {n * image.nbytes / 2**30:.0f} GB of memory for {n:,} images of "
            f"{image.shape[1]}×{image.shape[0]} pixels; expected at most {MAX_BYTES >> 30} GB; "
            "reduce them: mien data prepare … --size 96"
        )


def _report_failures(root: Path, failures: dict[str, UnreadablePicture], *, n_kept: int) -> None:
    names = ", ".join(list(failures)[:3]) + (", …" if len(failures) > 3 else "")
    found = f"{len(failures)} of {n_kept + len(failures)} files in '{root}' cannot be decoded: {names}"
    reason = next(iter(failures.values()))
    if not n_kept:
        raise DatasetError(f"{found}; {reason}")
    warnings.warn(f"{found}; they are skipped: {reason}", stacklevel=3)


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """List a folder or zip, sorted; damage found while reading raises a DatasetError too."""
    with damage_reported(path):
        if path.is_dir():
            found = [file for file in path.rglob("*") if file.is_file() and file.stat().st_size]
            names = [file.relative_to(path).as_posix() for file in found]
            yield Files(sorted(names), lambda name: (path / name).read_bytes())
        else:
            with zipfile.ZipFile(path) as archive:
                names = [entry.filename for entry in archive.infolist() if entry.file_size]
                yield Files(sorted(names), archive.read)
