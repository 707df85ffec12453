"""Readers: find a dataset by path or name, and read it in any known format. See docs/decisions/0009."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mien.data import fer2013_csv, ferg, folders, layouts, prepared, tables
from mien.data.dataset import Dataset
from mien.data.photographs import FaceCropper
from mien.data.reading import Reading
from mien.data.wrong_kind import refuse_wrong_kind
from mien.errors import DatasetError
from mien.files import as_path, obstacle
from mien.structures import Progress

DATA_VARIABLE = "MIEN_DATA"
SIZES = range(1, 1025)  # side in pixels that images can be resized to
KNOWN_FILES = tuple(
    folder + file
    for folder in ("", "fer2013/")
    for file in (
        "fer2013.csv",
        "fer2013.csv.gz",
        "fer2013.csv.zip",
        "fer2013.zip",
        "fer2013.tar.gz",
        "icml_face_data.csv",
    )
)
SUFFIXES = ("", ".gz", ".zip", ".csv", ".csv.gz", ".tar.gz", ".npz")  # tried after a bare name


class Reader(NamedTuple):
    """Reader of one dataset format.

    Args:
        form: Description of the format, for messages.
        can_read: Returns quickly whether a path has this format.
        read: Reads the dataset at a path; takes a `Reading`, votes, and cropper and progress if `takes` names them.
        takes: Arguments of `read_dataset` that count, beside size and votes.
    """

    form: str
    can_read: Callable[[Path], bool]
    read: Callable[..., Dataset]
    takes: frozenset[str] = frozenset()


PICTURES = frozenset({"cropper", "progress"})
GROUPED = PICTURES | {"group_by"}
FOLDERS = GROUPED | {"classes"}
COLUMNS = frozenset({"image_column", "label_column", "split_column"})
READERS: dict[str, Reader] = {  # in order of precedence
    "prepared": Reader("a prepared .npz", prepared.can_read, prepared.read),
    "ferg": Reader("FERG-DB, or faces in its layout", ferg.can_read, ferg.read, PICTURES),
    **{
        name: Reader(layout.form, partial(layouts.can_read, layout), partial(layouts.read, layout), GROUPED)
        for name, layout in layouts.LAYOUTS.items()
    },
    "table": Reader(
        "a label table (.csv, .tsv) beside pictures, or its folder", tables.can_read, tables.read, FOLDERS | COLUMNS
    ),
    "folders": Reader("a folder, zip or tar with a folder per class", folders.can_read, folders.read, FOLDERS),
    "fer2013-csv": Reader(
        "fer2013.csv, also as .gz, .zip or .tar.gz", fer2013_csv.can_read, fer2013_csv.read, frozenset({"classes"})
    ),
}
NEEDS = {  # argument of `read_dataset` -> its option, and the data that it is for
    "cropper": ("--detector", "picture files"),
    "group_by": ("--group-by", "picture files"),
    "classes": ("--classes", "class folders, a label table or a csv of pixels"),
    "image_column": ("--image-column", "a label table"),
    "label_column": ("--label-column", "a label table"),
    "split_column": ("--split-column", "a label table"),
}


def read_dataset(
    path: str | Path,
    *,
    reader: str | None = None,
    size: int | None = None,
    votes: Path | None = None,
    cropper: FaceCropper | None = None,
    group_by: str | None = None,
    classes: Mapping[str, str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read a dataset in any known format.

    Args:
        path: File or folder; a folder with fer2013.csv in it means that file.
        reader: Name in `READERS`; None takes the first that can read the path.
        size: Resize the images to squares of this side in pixels; None keeps their common size.
        votes: FER+ votes of the data (fer2013new.csv); beside a csv they are found automatically.
        cropper: Finds the face in each picture and crops it; pictures without a face are left out and listed in
            `Dataset.found`. None takes the pictures as they are: as crops.
        group_by: Keep a person in one split where splits are drawn: "name" takes the person from file names like
            Ada_Lovelace_0001.jpg, any other text is a column of the label table.
        classes: Names of classes that are only numbered: {"1": "surprise"}.
        image_column: Column of a label table with the pictures' names; None finds it by its name.
        label_column: Column of a label table with the labels; None finds it by its name.
        split_column: Column of a label table with the splits; None finds it by its name, if there is one.
        progress: Called with (done, all) after each picture, by readers of picture files.

    Raises:
        DatasetError: There is nothing at the path, no reader knows its format, its content is wrong, the size is
            not in `SIZES`, or the format doesn't take an argument.
    """
    path = as_path(path)
    if not os.path.exists(path):
        raise DatasetError(f"no dataset at '{path}'{obstacle(path)}; expected {_forms()}")
    if size is not None and size not in SIZES:
        raise DatasetError(f"size is {size}; expected {SIZES[0]} to {SIZES[-1]} pixels a side")
    reading = Reading(
        size=size, group_by=group_by, classes=classes or {}, image_column=image_column, label_column=label_column,
        split_column=split_column,
    )  # fmt: skip
    further = {"cropper": cropper, "progress": progress}
    given = {option for option, value in (asdict(reading) | further).items() if value not in (None, {})}
    if reader is None and os.path.isdir(path) and COLUMNS & given:
        reader = "table"  # whose columns have names that aren't recognised
    name, path = _reader_of(path, reader)
    chosen = READERS[name]
    for option, (flag, data) in NEEDS.items():
        if option in given and option not in chosen.takes:
            raise DatasetError(f"{flag} is for {data}, but '{path}' is read as {chosen.form} ({name}); leave it out")
    return chosen.read(path, reading, votes=votes, **{key: further[key] for key in further.keys() & chosen.takes})


def without_refused(reading: Reading, path: Path) -> Reading:
    """Return options of reading without those that the data at a path doesn't take."""
    takes = READERS[_reader_of(path, None)[0]].takes
    if "cropper" not in takes:
        reading = replace(reading, size=None, detector=None)
    refused = {"group_by", "image_column", "label_column", "split_column"} - takes
    classes = reading.classes if "classes" in takes else {}
    return replace(reading, classes=classes, **dict.fromkeys(refused))


def _reader_of(path: Path, reader: str | None) -> tuple[str, Path]:
    """Return the reader for a path, and the path of the data in it."""
    if reader is not None:
        if reader not in READERS:
            raise DatasetError(f"no reader '{reader}'; choose from {', '.join(READERS)}")
        return reader, path
    path = _known_file_in(path)
    if not os.path.isdir(path):
        refuse_wrong_kind(path)
    for name, candidate in READERS.items():
        if candidate.can_read(path):
            return name, path
    raise DatasetError(f"'{path}' is not a dataset that mien can read; expected {_forms()}")


def read_characters(
    path: str | Path,
    *,
    hold_out: Sequence[str],
    valid: Sequence[str],
    size: int | None = None,
    votes: Path | None = None,
) -> Dataset:
    """Read FERG-DB or drawn faces, split by character.

    Args:
        path: File or folder.
        hold_out: Characters of the test split; if there are none, a quarter of the images is drawn.
        valid: Characters of the valid split; if there are none, a tenth of the images that are not test is drawn.
        size: As in `read_dataset`.
        votes: Must be None: FER+ has no votes on these images.

    Raises:
        DatasetError: The data has no characters, or as `mien.data.ferg.read`.
    """
    path = as_path(path)
    if not ferg.can_read(path):
        raise DatasetError(f"'{path}' has no characters; --hold-out and --valid are for FERG-DB and drawn faces")
    return ferg.read(path, Reading(size=size), votes=votes, hold_out=hold_out, valid=valid)


def data_path(argument: str | None) -> Path:
    """Find a dataset by path or by name.

    Args:
        argument: A path, or a name to look up in $MIEN_DATA ("fer2013"); None for $MIEN_DATA itself.

    Returns:
        An existing file or folder; for a folder with fer2013.csv in it, that file.

    Raises:
        DatasetError: Nothing is there; the message lists the places searched.
    """
    home = os.environ.get(DATA_VARIABLE)
    if argument is None and not home:
        raise DatasetError(f"no dataset given; pass --data PATH or set {DATA_VARIABLE} to a file or folder")
    tried = [as_path(argument or home or "")]
    if argument and home:
        folder = Path(home) if os.path.isdir(home) else Path(home).parent
        tried += [folder / part / (argument + suffix) for part in ("", "fer2013") for suffix in SUFFIXES]
    for path in tried:
        if os.path.exists(path):
            return _known_file_in(path)
    where = f"{DATA_VARIABLE} can name a file or folder"
    if argument and home:
        where = f"also searched '{home}'{obstacle(home)}"
    raise DatasetError(f"no dataset at '{tried[0]}'{obstacle(tried[0])}; {where}; expected {_forms()}")


def _known_file_in(path: Path) -> Path:
    """Return the FER2013 file in a folder, also Kaggle's train.csv with pixels; else the path unchanged."""
    if known := next((path / name for name in KNOWN_FILES if os.path.isfile(path / name)), None):
        return known
    return path / "train.csv" if fer2013_csv.holds_pixels(path / "train.csv") else path


def _forms() -> str:
    return "; ".join(f"{reader.form} ({name})" for name, reader in READERS.items())
