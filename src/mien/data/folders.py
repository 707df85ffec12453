"""Class folders: images in one folder per class, on disk or in a zip."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mien.data.dataset import Dataset, Split
from mien.data.photographs import FaceCropper
from mien.data.pictures import Picture, dataset_name, is_picture, open_files, read_pictures
from mien.data.votes import USAGES, read_votes, votes_by_name
from mien.errors import DatasetError
from mien.structures import Progress

SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "publictest"), "valid"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
LAYOUT = "expected <class>/<image> or <split>/<class>/<image>, split being train, valid or test"
KAGGLE_NAME = re.compile(rf"({'|'.join(USAGES)})_\d+\.")  # Training_3908.jpg


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


def read(
    path: Path,
    *,
    size: int | None = None,
    votes: Path | None = None,
    cropper: FaceCropper | None = None,
    group_by: str | None = None,
    classes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read images from class folders, sorted by name.

    Layouts: `<class>/<image>` and `<split>/<class>/<image>`, also inside further single folders; and Kaggle's form
    of FER2013, where the file name (`PublicTest_1.jpg`) gives the split. Hidden and empty files are ignored.

    Args:
        path: A folder or a zip; the zip is not unpacked to disk.
        size: As in `read_pictures`, like all that is not named here.
        votes: A FER+ file; the images must then have its names (fer0000012.png).
        cropper: See `read_pictures`.
        group_by: See `read_pictures`.
        classes: See `read_pictures`.
        progress: See `read_pictures`.

    Raises:
        DatasetError: There are no images, some are outside the class folders, or as `read_pictures`.
    """
    with open_files(path) as files:
        pictures = parse_layout(path, [name for name in files.names if is_picture(name)])
        is_fer2013 = all(_kaggle_split(picture.name) for picture in pictures)
        dataset = read_pictures(
            path, files, pictures, name="fer2013" if is_fer2013 else dataset_name(path), size=size, cropper=cropper,
            group_by=group_by, classes=classes, progress=progress,
        )  # fmt: skip
    if votes is None or dataset.names is None:
        return dataset
    return replace(dataset, votes=votes_by_name(read_votes(votes), dataset.names.tolist()))


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
