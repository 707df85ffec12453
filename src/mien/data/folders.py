"""Class folders: images in one folder per class, on disk or in a zip or tar."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mien.data.classes import plain_number
from mien.data.dataset import Dataset, Split
from mien.data.photographs import FaceCropper
from mien.data.pictures import (
    Picture,
    archive_names,
    dataset_name,
    is_picture,
    open_files,
    read_pictures,
    some,
    warn_of_passed_over,
)
from mien.data.reading import AS_CROPS, Reading
from mien.data.splits import split_within
from mien.data.votes import USAGES, read_votes, votes_by_name
from mien.errors import DatasetError
from mien.labels import FER2013, FERPLUS, canonical
from mien.structures import Progress

NOT_CLASSES = frozenset({  # names of folders that hold all pictures, or none
    "images", "image", "imgs", "img", "pictures", "photos", "faces", "crops", "frames", "original", "aligned", "data",
    "dataset", "annotations", "labels", "masks", "landmarks", "unlabeled", "unlabelled", "eval", "evaluation",
    "holdout",
})  # fmt: skip
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".xlsx", ".xls", ".parquet", ".lst"})
TEXT_SUFFIXES = frozenset({".txt", ".json", ".jsonl", ".xml", ".mat"})  # of tables with such a stem:
TABLE_STEM = re.compile(r"(?:.*[\W_])?(?:labels?|annotations?|emotions?|expressions?|list)(?:[\W_\d].*)?")
LAYOUT = "expected <class>/<image> or <split>/<class>/<image>, split being train, valid or test"
KAGGLE_NAME = re.compile(rf"({'|'.join(USAGES)})_\d+\.")  # Training_3908.jpg


def can_read(path: Path) -> bool:
    """Return whether the path is a folder, or a zip or tar with an image in it."""
    return os.path.isdir(path) or any(map(is_picture, archive_names(path)))


def read(
    path: Path,
    reading: Reading = AS_CROPS,
    *,
    votes: Path | None = None,
    cropper: FaceCropper | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read images from class folders, sorted by name.

    Layouts: `<class>/<image>` and `<split>/<class>/<image>`, also inside further single folders; and Kaggle's form
    of FER2013, where the file name (`PublicTest_1.jpg`) gives the split. Hidden and empty files are ignored.

    Args:
        path: A folder, zip or tar; an archive is not unpacked to disk.
        reading: As in `read_pictures`.
        votes: A FER+ file; the images must then have its names (fer0000012.png).
        cropper: As in `read_pictures`.
        progress: As in `read_pictures`.

    Raises:
        DatasetError: There are no images, some are outside the class folders, or as `read_pictures`.
    """
    with open_files(path) as files:
        pictures = _labelled_by_folders(path, files.names)
        is_fer2013 = all(_kaggle_split(picture.name) for picture in pictures)
        dataset = read_pictures(
            path, files, pictures, reading, name="fer2013" if is_fer2013 else dataset_name(path), cropper=cropper,
            progress=progress,
        )  # fmt: skip
        warn_of_passed_over(path, files)
    if votes is None or dataset.names is None:
        return dataset
    return replace(dataset, votes=votes_by_name(read_votes(votes), dataset.names.tolist()))


def _labelled_by_folders(path: Path, names: list[str]) -> list[Picture]:
    """Return the pictures of class folders; refuse a label table beside them unless the folders are expressions."""
    tables = [name for name in names if _may_hold_labels(name)]
    try:
        pictures = parse_layout(path, [name for name in names if is_picture(name)])
    except DatasetError as error:
        raise DatasetError(f"{error}{_named_tables(tables)}") from error
    folders = {picture.label for picture in pictures}
    beside = [name for name in tables if PurePosixPath(name).parent.name not in folders]
    expressions = {*FER2013, *FERPLUS}
    if beside and not all(plain_number(label) or canonical(label) in expressions for label in folders):
        unknown = next(label for label in sorted(folders) if canonical(label) not in expressions)
        raise DatasetError(
            f"'{path}' holds folders, such as '{unknown}', that may not be classes{_named_tables(beside)}; if the "
            "folders are classes, move it elsewhere"
        )
    return pictures


def _may_hold_labels(name: str) -> bool:
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    is_table = suffix in TABLE_SUFFIXES or (suffix in TEXT_SUFFIXES and TABLE_STEM.fullmatch(path.stem.lower()))
    return bool(is_table) and not path.name.startswith(".")


def _named_tables(names: Sequence[str]) -> str:
    """Return a clause about tables that may hold the labels; "" for none."""
    if not names:
        return ""
    return (
        f"; {some(names)} may hold the labels: expected a .csv or .tsv on disk with a row per picture, and the columns "
        "of picture and label by name or by --image-column and --label-column"
    )


def parse_layout(root: Path, names: list[str], *, layout: str = LAYOUT) -> list[Picture]:
    """Take split and label of each file from its folders; the split is "train" where none is named.

    Args:
        root: For messages.
        names: Paths below the root, of images or clips.
        layout: The expected layout, for messages.

    Raises:
        DatasetError: There are no files, one is not in a class folder, or a class folder has the name of a split or of
            all pictures.
    """
    if not names:
        raise DatasetError(f"'{root}' holds no images; {layout}")
    paths = [PurePosixPath(name) for name in names]
    depth = _wrapper_depth(paths)
    split_of = _split_folders(paths, depth)
    pictures = []
    for path in paths:
        split = split_of.get(path.parts[depth]) if split_of else "train"
        if split is None or len(path.parts) != depth + 2 + bool(split_of):
            way_out = "pack it again with / in its names" if "\\" in str(path) else "move or remove it"
            raise DatasetError(f"'{path}' in '{root}' is not in a class folder; {layout}; {way_out}")
        if reason := _no_class(path.parent.name):
            raise DatasetError(
                f"'{path.parent}' in '{root}' {reason}, so its images have no label; {layout}, or a label table"
            )
        pictures.append(Picture(str(path), _kaggle_split(path.name) or split, path.parent.name))
    return pictures


def _no_class(folder: str) -> str:
    """Return why a folder's name is none of a class; "" if it can be one."""
    if split_within(folder):
        return "has the name of a split, not of a class"
    return "has the name of a folder of all images, not of a class" if folder.lower() in NOT_CLASSES else ""


def _wrapper_depth(paths: list[PurePosixPath]) -> int:
    """Return the number of single folders around the class or split folders."""
    depth = 0
    while all(len(path.parts) > depth + 2 and path.parts[depth] == paths[0].parts[depth] for path in paths):
        if split_within(paths[0].parts[depth]):
            break
        depth += 1
    return depth


def _split_folders(paths: list[PurePosixPath], depth: int) -> dict[str, Split]:
    """Return the split of each split folder; none if folders of that depth have different names beside the split.

    "train", "test_set" and "FER2013Train", "FER2013Test" are splits; "train_happy", "train_sad" are not understood.
    """
    names = {path.parts[depth] for path in paths if len(path.parts) > depth + 1}
    found = {name: within for name in names if (within := split_within(name))}
    if len({rest for _, rest in found.values() if rest}) > 1:
        return {}
    return {name: split for name, (split, _) in found.items()}


def _kaggle_split(name: str) -> Split | None:
    found = KAGGLE_NAME.match(PurePosixPath(name).name)
    return USAGES[found[1]] if found else None
