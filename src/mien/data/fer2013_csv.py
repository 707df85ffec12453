"""FER2013 as published: a csv that contains the pixels, plain, .gz or .zip; and its FER+ votes."""

from __future__ import annotations

import gzip
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.data.damage import damage_reported
from mien.data.dataset import SPLITS, Dataset, SplitArray
from mien.data.votes import USAGES, VOTES_NAME, read_votes, votes_by_row
from mien.errors import DatasetError
from mien.labels import FER2013
from mien.structures import FloatArray, ImageArray, IntArray

COLUMNS = ("emotion", "pixels", "usage")
MEMBER_NAMES = ("fer2013.csv", "icml_face_data.csv")  # in Kaggle's zips, among other csv files
BLOCK_BYTES = 1 << 22
LONGEST_LINE_BYTES = 1 << 24  # a 48×48 row has 9 kB


class ByteStream(Protocol):
    """Plain, gzip and zip files alike."""

    def read(self, size: int = -1, /) -> bytes: ...


def can_read(path: Path) -> bool:
    """Return whether the path has a suffix of FER2013's csv."""
    return path.is_file() and path.name.lower().endswith((".csv", ".csv.gz", ".zip"))


def read(path: Path, *, size: int | None = None, votes: Path | None = None) -> Dataset:
    """Read FER2013 from its csv.

    The columns emotion, pixels and Usage may be in any order, others are ignored; line ends may be mixed. Images are
    square and of one size. FER+ votes are read from `fer2013new.csv` beside the file; if it does not match, a warning
    says so.

    Args:
        path: A .csv, .csv.gz or a .zip that contains one.
        size: Resize the images to squares of this side in pixels; None keeps them.
        votes: Another FER+ file, which must match row by row.

    Raises:
        DatasetError: The file is damaged, a row is malformed, or the votes don't match.
    """
    pixels, targets, splits = _read_rows(path)
    side = int(np.sqrt(pixels.shape[1]))
    dataset = Dataset(
        name="fer2013",
        images=pixels.reshape(-1, side, side, 1),
        targets=targets,
        labels=FER2013,
        splits=splits,
        votes=_votes_for(splits, path, votes),
    )
    return dataset if size is None else dataset.resized(size)


def _votes_for(splits: SplitArray, path: Path, votes: Path | None) -> FloatArray | None:
    """Return the votes of the given file, or of a matching one beside the data."""
    if votes is not None:
        return votes_by_row(read_votes(votes), splits)
    beside = path.parent / VOTES_NAME
    if not beside.is_file():
        return None
    try:
        return votes_by_row(read_votes(beside), splits)
    except DatasetError as error:
        warnings.warn(f"votes beside the data ignored: {error}", stacklevel=2)
        return None


def _read_rows(path: Path) -> tuple[ImageArray, IntArray, SplitArray]:
    """Return pixels uint8 (n, p), targets int64 (n,) and splits int8 (n,)."""
    pixels: list[ImageArray] = []
    targets: list[int] = []
    splits: list[int] = []
    with _opened(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # so that np.fromstring rejects malformed numbers
        lines = _numbered_lines(stream, path)
        emotion, pixel, usage = _columns(lines, path)
        n_pixels = None
        for number, line in lines:
            fields = line.split(b",")
            try:
                values = _pixels(fields[pixel], n_pixels)
                targets.append(_target(fields[emotion]))
                splits.append(_split(fields[usage]))
            except IndexError:
                raise _row_error(path, number, f"{len(fields)} columns; expected {', '.join(COLUMNS)}") from None
            except ValueError as error:
                raise _row_error(path, number, str(error)) from None
            n_pixels = len(values)
            pixels.append(values)
    if not pixels:
        raise DatasetError(f"'{path}' has a header but no rows; expected emotion,pixels,Usage; download it again")
    return np.stack(pixels), np.array(targets, np.int64), np.array(splits, np.int8)


def _columns(lines: Iterator[tuple[int, bytes]], path: Path) -> list[int]:
    _, header = next(lines, (1, b""))
    if not header:
        raise DatasetError(f"'{path}' is empty; expected a csv of emotion,pixels,Usage; download it again")
    names = [name.decode("utf-8-sig", "replace").strip(' "').lower() for name in header.split(b",")]
    if missing := [name for name in COLUMNS if name not in names]:
        raise DatasetError(
            f"'{path}' is not FER2013's csv: no column {', '.join(missing)} in its first line; "
            "expected emotion,pixels,Usage"
        )
    return [names.index(name) for name in COLUMNS]


def _pixels(field: bytes, n_expected: int | None) -> ImageArray:
    """Parse the pixels of one row; raise ValueError with the problem."""
    try:
        values = np.fromstring(field.strip(b' "'), np.int64, sep=" ")
    except (DeprecationWarning, ValueError):
        raise ValueError("pixels that are not whole numbers; expected 0..255 with blanks between") from None
    if n_expected is None and (not values.size or int(np.sqrt(values.size)) ** 2 != values.size):
        raise ValueError(f"{values.size} pixels; expected a square image, 48×48 = 2304")
    if n_expected is not None and values.size != n_expected:
        raise ValueError(f"{values.size} pixels; expected {n_expected} as in the first row")
    if values.min() < 0 or values.max() > 255:
        raise ValueError(f"pixels from {values.min()} to {values.max()}; expected 0..255")
    return values.astype(np.uint8)


def _target(field: bytes) -> int:
    text = field.strip(b' "')
    if not (text.isdigit() and int(text) < len(FER2013)):
        known = ", ".join(f"{i} {name}" for i, name in enumerate(FER2013))
        raise ValueError(f"emotion {text.decode('utf-8', 'replace')!r}; expected {known}")
    return int(text)


def _split(field: bytes) -> int:
    text = field.strip(b' "').decode("utf-8", "replace")
    if text not in USAGES:
        raise ValueError(f"Usage {text!r}; expected {', '.join(USAGES)}")
    return SPLITS.index(USAGES[text])


def _row_error(path: Path, line: int, problem: str) -> DatasetError:
    return DatasetError(f"'{path}', line {line} has {problem}; correct the row or remove it")


def _numbered_lines(stream: ByteStream, path: Path) -> Iterator[tuple[int, bytes]]:
    r"""Yield (number from 1, line) of all lines that are not blank; \n, \r\n and \r end a line."""
    number = 0
    rest = b""
    while block := stream.read(BLOCK_BYTES):
        *lines, rest = (rest + block).splitlines(keepends=True)  # may end within a line or within \r\n
        for line in lines:
            number += 1
            if line := line.strip():
                yield number, line
        if len(rest) > LONGEST_LINE_BYTES:
            raise DatasetError(
                f"'{path}', line {number + 1} is longer than {LONGEST_LINE_BYTES >> 20} MB; expected a csv of images"
            )
    if rest := rest.strip():
        yield number + 1, rest


@contextmanager
def _opened(path: Path) -> Iterator[ByteStream]:
    """Open the csv and decompress it; damage found while reading raises a DatasetError too."""
    with damage_reported(path):
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_csv_member(path, archive)) as stream:
                yield stream
        elif path.suffix.lower() == ".gz":
            with gzip.open(path) as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream


def _csv_member(path: Path, archive: zipfile.ZipFile) -> str:
    """Return the member with the data: fer2013.csv, Kaggle's icml_face_data.csv, or the only csv."""
    file_names = {member: member.rsplit("/", 1)[-1].lower() for member in archive.namelist()}
    members = [m for m, name in file_names.items() if name.endswith(".csv") and name[0] != "."]
    for member in members:
        if file_names[member] in MEMBER_NAMES:
            return member
    if len(members) != 1:
        raise DatasetError(
            f"'{path}' holds {len(members)} csv files and no images; expected one named fer2013.csv; "
            "unpack it and pass the csv"
        )
    return members[0]
