"""FER2013 as its authors gave it out: a csv with the pixels inside, plain, .gz or .zip; and its FER+ votes."""

from __future__ import annotations

import csv
import gzip
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from mien.data.dataset import SPLITS, Dataset
from mien.errors import DatasetError
from mien.labels import FER2013, FERPLUS, canonical
from mien.structures import FloatArray, ImageArray
from mien.vision.preprocess import resize

COLUMNS = ("emotion", "pixels", "usage")
USAGES = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
VOTES_NAME = "fer2013new.csv"  # https://github.com/microsoft/FERPlus
VOTE_COLUMNS = (*FERPLUS.labels, "unknown", "nf")  # nf: not a face
BLOCK_BYTES = 1 << 22
LONGEST_LINE_BYTES = 1 << 24  # a 48×48 row has 9 kB


class ByteStream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Votes(NamedTuple):
    """Rows of a FER+ file.

    Args:
        counts: float32 (n, 10), columns as in `VOTE_COLUMNS`.
        splits: int8 (n,), index into `SPLITS`.
        names: Names of the pictures; empty where FER+ removed one.
    """

    counts: FloatArray
    splits: np.ndarray[tuple[int], np.dtype[np.int8]]
    names: list[str]


def can_read(path: Path) -> bool:
    """Tell whether the path looks like FER2013's csv: by its name, and for a zip by the names inside."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".zip":
        return bool(_csv_members(path))
    return path.name.lower().endswith((".csv", ".csv.gz"))


def read(path: Path, *, size: int | None = None, votes: Path | None = None) -> Dataset:
    """Read FER2013 from its csv.

    The columns emotion, pixels, Usage may stand in any order, further ones are ignored; line ends may be
    mixed. Pictures are square and of one size. `fer2013new.csv` beside the file brings the FER+ votes
    along; a warning tells when it does not fit.

    Args:
        path: A .csv, .csv.gz or a .zip that holds one.
        size: Resize the pictures to this many pixels a side; None keeps them.
        votes: A FER+ file to read the votes from instead; it must fit row by row.

    Raises:
        DatasetError: The file is damaged, or a row of it or the votes are not as expected.
    """
    pixels, targets, splits = _read_rows(path)
    side = int(np.sqrt(pixels.shape[1]))
    images = pixels.reshape(-1, side, side, 1)
    if size is not None and size != side:
        images = np.stack([resize(image, size) for image in images])[..., None]
    return Dataset(
        name="fer2013",
        images=images,
        targets=targets,
        labels=FER2013,
        splits=splits,
        votes=_votes_for(splits, path, votes),
    )


def read_votes(path: Path) -> Votes:
    """Read a FER+ file (fer2013new.csv).

    Raises:
        DatasetError: It cannot be read, lacks a column, or holds something other than counts.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise DatasetError(f"cannot read the votes '{path}': {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"'{path}' is not a FER+ votes file (fer2013new.csv): {error}") from error
    header = [canonical(name) for name in rows[0]] if rows else []
    if missing := [name for name in (*VOTE_COLUMNS, "usage", "image name") if name not in header]:
        raise DatasetError(
            f"'{path}' is not a FER+ votes file (fer2013new.csv): no column {', '.join(missing)}"
        )
    columns = [header.index(name) for name in VOTE_COLUMNS]
    usage, image_name = header.index("usage"), header.index("image name")
    counts, splits, names = [], [], []
    for line, row in enumerate(rows[1:], start=2):
        try:
            counts.append([float(row[column]) for column in columns])
            splits.append(SPLITS.index(USAGES[row[usage].strip()]))
            names.append(row[image_name].strip())
        except (ValueError, IndexError, KeyError) as error:
            raise DatasetError(
                f"'{path}', line {line}: expected {', '.join(USAGES)} as Usage and ten counts of votes, "
                f"found {','.join(row)!r}"
            ) from error
    return Votes(np.array(counts, np.float32).reshape(-1, 10), np.array(splits, np.int8), names)


def _votes_for(splits: np.ndarray, path: Path, votes: Path | None) -> FloatArray | None:
    """Return the votes of a given file or of the one beside the data, once they fit row by row."""
    source = votes or path.parent / VOTES_NAME
    if votes is None and not source.is_file():
        return None
    try:
        found = read_votes(source)
        if len(found.splits) != len(splits):
            raise DatasetError(
                f"'{source}' has votes on {len(found.splits)} pictures, but '{path}' has {len(splits)}; "
                "they must agree row by row"
            )
        if not np.array_equal(found.splits, splits):
            row = int((found.splits != splits).argmax())
            raise DatasetError(
                f"'{source}' and '{path}' name different Usage for row {row + 1}; they must agree row by row"
            )
    except DatasetError as error:
        if votes is not None:
            raise
        warnings.warn(f"votes ignored: {error}", stacklevel=4)
        return None
    return found.counts


def _read_rows(path: Path) -> tuple[ImageArray, np.ndarray, np.ndarray]:
    """Return pixels uint8 (n, p), targets int64 (n,) and splits int8 (n,)."""
    pixels: list[ImageArray] = []
    targets: list[int] = []
    splits: list[int] = []
    with _opened(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # so np.fromstring reports what is no number
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
                raise _row_error(
                    path, number, f"{len(fields)} columns; expected {', '.join(COLUMNS)}"
                ) from None
            except ValueError as error:
                raise _row_error(path, number, str(error)) from None
            n_pixels = len(values)
            pixels.append(values)
    if not pixels:
        raise DatasetError(
            f"'{path}' has a header but no rows; expected emotion,pixels,Usage; download it again"
        )
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
    """Parse one row's pixels; ValueError tells what is wrong with them."""
    try:
        values = np.fromstring(field.strip(b' "'), np.int64, sep=" ")
    except (DeprecationWarning, ValueError):
        raise ValueError("pixels that are not whole numbers; expected 0..255 with blanks between") from None
    if n_expected is None and (not values.size or int(np.sqrt(values.size)) ** 2 != values.size):
        raise ValueError(f"{values.size} pixels; expected a square picture, 48×48 = 2304")
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
    return DatasetError(f"'{path}', line {line} has {problem}; mend the row or remove it")


def _numbered_lines(stream: ByteStream, path: Path) -> Iterator[tuple[int, bytes]]:
    r"""Yield (number from 1, line) of all lines but blank ones; \n, \r\n and \r end a line."""
    number = 0
    rest = b""
    while block := stream.read(BLOCK_BYTES):
        *lines, rest = (rest + block).splitlines(keepends=True)  # the rest may be half a line or half a \r\n
        for line in lines:
            number += 1
            if line := line.strip():
                yield number, line
        if len(rest) > LONGEST_LINE_BYTES:
            raise DatasetError(f"'{path}', line {number + 1} does not end; this is no csv of pictures")
    if rest := rest.strip():
        yield number + 1, rest


@contextmanager
def _opened(path: Path) -> Iterator[ByteStream]:
    """Open the csv, unpacking on the way; damage found while reading becomes a DatasetError too."""
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_csv_member(path)) as stream:
                yield stream
        elif path.suffix.lower() == ".gz":
            with gzip.open(path) as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DatasetError(f"'{path}' is truncated or damaged ({error}); download it again") from error
    except OSError as error:
        raise DatasetError(f"cannot read '{path}': {error.strerror or error}") from error


def _csv_member(path: Path) -> str:
    """Return the member that holds the data: fer2013.csv, Kaggle's icml_face_data.csv, or the only csv."""
    members = _csv_members(path)
    for wanted in ("fer2013.csv", "icml_face_data.csv"):
        for member in members:
            if member.rsplit("/", 1)[-1].lower() == wanted:
                return member
    if len(members) != 1:
        raise DatasetError(
            f"'{path}' holds {len(members)} csv files ({', '.join(members)}); expected fer2013.csv; unpack it"
        )
    return members[0]


def _csv_members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []
    return [
        name
        for name in names
        if name.lower().endswith(".csv")
        and not name.startswith("__MACOSX/")
        and name.rsplit("/", 1)[-1].lower() != VOTES_NAME
    ]
