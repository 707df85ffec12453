"""Label tables: a .csv or .tsv that names the label of each picture, beside the pictures or in a folder below."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mien.data.dataset import Dataset, Split
from mien.data.delimited import table_rows
from mien.data.photographs import FaceCropper
from mien.data.pictures import Picture, dataset_name, is_picture, open_files, read_pictures, some, warn_of_passed_over
from mien.data.reading import AS_CROPS, Reading
from mien.data.splits import split_named, split_within
from mien.errors import DatasetError
from mien.files import matching
from mien.labels import canonical
from mien.settings import shown
from mien.sources.paths import PICTURE_SUFFIXES, walk
from mien.structures import Progress

KIND = "a label table"
SUFFIXES = (".csv", ".tsv")
MAX_NAME = 200  # characters of a column's name; pixels are longer
PREFERRED = ("labels", "legend")  # stems, where a folder holds several tables
# Names of columns that are recognised, in order of preference, without case and punctuation.
IMAGE_NAMES = (
    "image", "imagename", "imagefile", "imagepath", "img", "picture", "photo", "file", "filename", "filepath", "path",
    "pth", "name",
)  # fmt: skip
LABEL_NAMES = ("label", "labels", "emotion", "expression", "class", "classname", "category", "target")
SPLIT_COLUMN_NAMES = ("split", "usage", "subset", "partition", "set")


class Columns(NamedTuple):
    """Names of a table's columns, as given; None for those to be found by their names."""

    image: str | None = None
    label: str | None = None
    split: str | None = None


class Row(NamedTuple):
    """A row of a label table; split and group are empty where there is no such column."""

    line: int
    name: str
    label: str
    split: str
    group: str


def can_read(path: Path) -> bool:
    """Return whether the path is a table other than FER2013's, or a folder that holds one with recognised columns."""
    if os.path.isdir(path):
        return any(map(_is_usable, _tables_in(path)))
    if path.suffix.lower() not in SUFFIXES or not os.path.isfile(path):
        return False
    try:
        header = _header(path)
    except DatasetError:
        return False
    words = list(map(_plain, header))
    has_names = any(character.isalpha() for word in words for character in word)
    return len(words) > 1 and has_names and not any(word.startswith("pixel") or len(word) > MAX_NAME for word in words)


def read(
    path: Path,
    reading: Reading = AS_CROPS,
    *,
    votes: Path | None = None,
    cropper: FaceCropper | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read pictures with the labels of a table.

    Pictures are named by their paths below the folder, or by their file names alone, with or without suffix. In a
    folder with several tables "labels" and "legend" are preferred; tables named by splits (train.csv, test_labels.csv)
    are read together.

    Args:
        path: A .csv or .tsv, or the folder that holds it, at the top or one folder below.
        reading: As in `read_pictures`; `group_by` may be a column too.
        votes: Must be None: tables give no FER+ votes.
        cropper: As in `read_pictures`.
        progress: As in `read_pictures`.

    Raises:
        DatasetError: The table lacks a column, names a missing picture, a picture with two labels, an empty label or an
            unknown split; or as `read_pictures`.
    """
    if votes is not None:
        raise DatasetError(f"'{path}' is a label table and cannot take the votes '{votes}'; leave them out")
    columns = Columns(reading.image_column, reading.label_column, reading.split_column)
    tables = _chosen_tables(path, columns) if os.path.isdir(path) else {path: None}
    root = path if os.path.isdir(path) else path.parent
    column = None if reading.group_by == "name" else reading.group_by
    rows_of = {file: list(_rows(file, columns, column)) for file in tables}
    with open_files(root) as files:
        files.used.update(file.relative_to(root).as_posix() for file in tables)
        names = [name for name in files.names if is_picture(name)]
        if not names:
            raise DatasetError(f"'{root}' holds no pictures for '{path.name}'; pass the folder that holds both")
        pictures: dict[str, Picture] = {}
        for file, split in tables.items():
            for picture in _pictures(file, rows_of[file], _Finder(names, file.parent.relative_to(root)), root, split):
                if picture.name in pictures:
                    raise DatasetError(
                        f"'{picture.name}' is in several tables of '{root}'; expected each picture in one"
                    )
                pictures[picture.name] = picture
        dataset = read_pictures(
            root, files, sorted(pictures.values()), reading if column is None else replace(reading, group_by=None),
            name=dataset_name(root), cropper=cropper, progress=progress,
        )  # fmt: skip
        warn_of_passed_over(root, files)
        return dataset


def _tables_in(folder: Path) -> list[Path]:
    found = (path for depth in ("", "*/") for suffix in SUFFIXES for path in matching(folder, f"{depth}*{suffix}"))
    return sorted(path for path in found if os.path.isfile(path) and not path.name.startswith("."))


def _is_usable(path: Path) -> bool:
    try:
        header = _header(path)
    except DatasetError:
        return False
    return _find(header, IMAGE_NAMES) is not None and _find(header, LABEL_NAMES) is not None


def _chosen_tables(folder: Path, columns: Columns) -> dict[Path, Split | None]:
    """Return the tables of a folder to read, with the splits that their names give."""
    named = columns.image is not None or columns.label is not None
    found = [path for path in _tables_in(folder) if named or _is_usable(path)]
    for stem in PREFERRED:
        if chosen := [path for path in found if path.stem.lower() == stem]:
            return {chosen[0]: None}
    within = {path: split_within(path.stem) for path in found}
    splits = {path: split and split[0] for path, split in within.items()}
    if len(found) == 1 or (found and all(splits.values()) and len(set(splits.values())) == len(found)):
        return splits if len(found) > 1 else {found[0]: None}
    if not found:
        raise DatasetError(
            f"'{folder}' holds no label table; expected a .csv or .tsv with columns for picture and label"
        )
    names = [str(path.relative_to(folder)) for path in found]
    raise DatasetError(f"'{folder}' holds {len(found)} tables: {some(names)}; pass the one to read")


def _header(path: Path) -> list[str]:
    rows = table_rows(path, kind=KIND)
    _, names = next(rows, (1, []))
    return list(map(str.strip, names))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _find(header: Sequence[str], names: Sequence[str]) -> int | None:
    plain = list(map(_plain, header))
    return next((plain.index(name) for name in names if name in plain), None)


def _column(path: Path, header: Sequence[str], given: str | None, names: Sequence[str], of: str) -> int | None:
    """Return the index of a column by its given name or one of the known names; None if it isn't there."""
    if given is None:
        return _find(header, names)
    if given not in header:
        raise DatasetError(f"'{path}' has no column '{given}' for the {of}; its columns are {', '.join(header)}")
    return header.index(given)


def _required(path: Path, header: Sequence[str], given: str | None, names: Sequence[str], of: str, flag: str) -> int:
    index = _column(path, header, given, names, of)
    if index is None:
        raise DatasetError(
            f"'{path}' has no column for the {of}, such as '{names[0]}'; its columns are "
            f"{', '.join(header) or 'none'}; choose one with {flag}"
        )
    return index


def _rows(path: Path, columns: Columns, group_column: str | None) -> Iterator[Row]:
    """Yield the rows of a table, at least one."""
    header = _header(path)
    if any(PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES for name in header):
        raise DatasetError(f"'{path}' has a picture in its first line; expected names of columns: add image,label")
    image = _required(path, header, columns.image, IMAGE_NAMES, "pictures", "--image-column")
    label = _required(path, header, columns.label, LABEL_NAMES, "labels", "--label-column")
    split = _column(path, header, columns.split, SPLIT_COLUMN_NAMES, "splits")
    group = None if group_column is None else _column(path, header, group_column, (), "persons")
    rows = table_rows(path, kind=KIND)
    next(rows)
    line = 0
    for line, row in rows:
        fields = row + [""] * (len(header) - len(row))
        cells = [fields[i].strip() if i is not None else "" for i in (image, label, split, group)]
        for cell, what in zip(cells, ("picture", "label", "split", "person"), strict=True):
            required = what in ("picture", "label") or (what == "person" and group is not None)
            if required and not cell:
                raise DatasetError(f"'{path}', line {line} has no {what}; add it, or remove the row")
        yield Row(line, *cells)
    if not line:
        raise DatasetError(f"'{path}' has a header but no rows; expected one row per picture")


class _Finder:
    """Finds the pictures that a table names.

    Args:
        names: Paths of all pictures below the root.
        folder: Of the table, below the root.
    """

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self.names, self.folder = set(names), PurePosixPath(folder.as_posix())
        self.by_file: dict[str, list[str]] = defaultdict(list)
        for name in names:
            path = PurePosixPath(name)
            self.by_file[path.name].append(name)
            self.by_file[path.stem].append(name)

    def find(self, given: str) -> list[str]:
        """Return the pictures that a name can mean; only the first if it is a path below the table's folder."""
        path = PurePosixPath(given.replace("\\", "/").lstrip("/"))
        for name in (str(self.folder / path), str(path)):
            if name in self.names:
                return [name]
        alike = self.by_file.get(path.name, [])
        parts = path.with_suffix("").parts if path.suffix.lower() in PICTURE_SUFFIXES else path.parts
        return [name for name in alike if PurePosixPath(name).with_suffix("").parts[-len(parts) :] == parts]


def _pictures(table: Path, rows: Sequence[Row], finder: _Finder, root: Path, split: Split | None) -> list[Picture]:
    """Return the pictures of a table, each once."""
    found: dict[str, tuple[Row, Picture]] = {}
    missing: list[Row] = []
    for row in rows:
        files = finder.find(row.name)
        if not files:
            missing.append(row)
            continue
        if len(files) > 1:
            raise DatasetError(
                f"'{table}', line {row.line} names {shown(row.name)}, but '{root}' holds {len(files)} such pictures: "
                f"{some(files)}; give the folder too"
            )
        earlier = found.setdefault(
            files[0], (row, Picture(files[0], split or _split(table, row), row.label, row.group))
        )[0]
        if canonical(earlier.label) != canonical(row.label):
            raise DatasetError(
                f"'{table}' gives {shown(row.name)} two labels: {shown(earlier.label)} in line {earlier.line} "
                f"and {shown(row.label)} in line {row.line}; keep one"
            )
    if missing:
        first = missing[0]
        name = PurePosixPath(first.name.replace("\\", "/")).name
        state = "missing or empty" if any(file.name == name for file, _ in walk(root)) else "missing"
        raise DatasetError(
            f"{len(missing):,} of {len(rows):,} pictures in '{table}' are {state} below '{root}', such as "
            f"{shown(first.name)} in line {first.line}; add them, or remove their rows"
        )
    return [picture for _, picture in found.values()]


def _split(table: Path, row: Row) -> Split:
    if not row.split:
        return "train"
    if (split := split_named(row.split)) is None:
        raise DatasetError(f"'{table}', line {row.line} has split {shown(row.split)}; expected train, valid or test")
    return split
