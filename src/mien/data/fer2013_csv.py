"""FER2013 as published: a csv that contains the pixels, plain, packed or in an archive; and its FER+ votes."""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zipfile
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from mien.data.classes import name_classes, plain_number
from mien.data.damage import check_expansion, damage_reported
from mien.data.dataset import SPLITS, Dataset, Split, SplitArray, check_memory
from mien.data.reading import AS_CROPS, Reading
from mien.data.splits import hold_out, split_named
from mien.data.tars import bounded_tar, members
from mien.data.votes import USAGES, VOTES_NAME, read_votes, votes_by_row
from mien.data.wrong_kind import first_bytes, refuse_wrong_kind
from mien.errors import DatasetError
from mien.escape import visible
from mien.labels import FER2013, LabelSet, label_set_for
from mien.settings import shown
from mien.sources.content import GZIP, HEADER_BYTES, TAR, ZIP, kind_of
from mien.structures import FloatArray, ImageArray, IntArray

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".zip", ".tar", ".tar.gz", ".tgz")
EXPECTED = "expected emotion,pixels,Usage"
EMOTIONS = ("emotion", "label", "labels", "expression", "class", "target")  # of columns, in order of preference
PIXELS = ("pixels", "pixel")
PIXEL = re.compile(r"pixel[ _]?\d+")  # a column per pixel, in their order
USAGE = ("usage", "split", "subset", "set")
DELIMITERS = (b",", b";", b"\t")
QUOTED = {
    delimiter: re.compile(rb'(?:^|%b)\s*("(?:[^"]|"")*"[^%b]*|[^%b]*)' % (delimiter, delimiter, delimiter))
    for delimiter in DELIMITERS
}
MEMBER_NAMES = ("fer2013.csv", "icml_face_data.csv")  # in Kaggle's archives, among other csv files
N_KINDS = 3  # of files, in a message
ENOUGH_ROWS = 50  # in which every class may be expected
BLOCK_BYTES = 1 << 22
MAX_LINE_BYTES = 1 << 24  # a 48×48 row has 9 kB
MAX_NAME = 200  # characters of a column's name; pixels are longer
EXCEL_SEPARATOR = re.compile(rb"(?:\xef\xbb\xbf)?sep=[,;\t]?")  # a first line that Excel reads
LIST_PUNCTUATION = bytes.maketrans(b"[](),;\t\n", b" " * 8)


class ByteStream(Protocol):
    """Plain, gzip, zip and tar files alike."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...


class Rows(NamedTuple):
    """Rows of a csv.

    Args:
        pixels: uint8 (n, p), p being square.
        labels: Labels as given, each once.
        lines: Line where each label occurs first.
        codes: Index into `labels` of each row, int64 (n,).
        splits: Index into `SPLITS`, int8 (n,); train where there is no Usage.
        has_usage: Whether the csv has a column of splits.
    """

    pixels: ImageArray
    labels: list[str]
    lines: list[int]
    codes: IntArray
    splits: SplitArray
    has_usage: bool


class Header(NamedTuple):
    """Separator, number of columns, and index of the known columns; no usage where the csv has no splits."""

    delimiter: bytes
    width: int
    emotion: int
    pixels: Sequence[int]
    usage: int | None


def can_read(path: Path) -> bool:
    """Return whether the path has a suffix of FER2013's csv, or of an archive that can hold it."""
    return os.path.isfile(path) and path.name.lower().endswith(SUFFIXES)


def holds_pixels(path: Path) -> bool:
    """Return whether a file is a csv with columns of emotions and pixels."""
    if not os.path.isfile(path):
        return False
    try:
        with _opened(path) as stream:
            _header(_numbered_lines(stream, path), path)
    except DatasetError:
        return False
    return True


def read(path: Path, reading: Reading = AS_CROPS, *, votes: Path | None = None) -> Dataset:
    """Read FER2013, or faces in its form, from a csv.

    The columns emotion, pixels and Usage may be in any order, others are ignored; line ends may be mixed; commas,
    semicolons or tabs separate the columns. Emotions are numbered as in FER2013, named, or numbered and named by
    `classes`. Pixels may be spelled as a list, or have a column each. Without Usage, or where it lacks a split, valid
    and test are held out of train: see `mien.data.splits.hold_out`. Images are square and of one size. FER+ votes are
    read from `fer2013new.csv` beside the file; if it does not match, a warning says so.

    Args:
        path: A .csv, packed or not, or a .zip or tar that contains one; the content decides, not the suffix.
        reading: `size`, and `classes`: names of emotions that are numbered in another way, {"7": "contempt"}.
        votes: Another FER+ file, which must match row by row.

    Raises:
        DatasetError: The file is damaged or of another kind, a row is malformed, the images exceed 4 GB, or the votes
            don't match.
    """
    rows = _read_rows(path)
    labels, names = _label_set(path, rows, reading.classes or None)
    targets = np.array([labels.index(name) for name in names], np.int64)[rows.codes]
    splits, held_out = _complete(rows.splits, targets)
    side = int(np.sqrt(rows.pixels.shape[1]))
    dataset = Dataset(
        name="fer2013" if labels is FER2013 and rows.has_usage else _stem(path),
        images=rows.pixels.reshape(-1, side, side, 1),
        targets=targets,
        labels=labels,
        splits=splits,
        votes=_votes_for(rows.splits, path, votes),
        held_out=held_out,
    )
    return dataset if reading.size is None else dataset.resized(reading.size)


def _label_set(path: Path, rows: Rows, classes: Mapping[str, str] | None) -> tuple[LabelSet, list[str]]:
    """Return the label set, FER2013's for numbers that aren't named, and the class of each label."""
    if classes is not None or not any(map(plain_number, rows.labels)):
        names = list(name_classes(path, rows.labels, classes).values())
        return label_set_for(names, name=_stem(path)), names
    numbers = {str(i): name for i, name in enumerate(FER2013)}
    for label, line in zip(rows.labels, rows.lines, strict=True):
        if plain_number(label) not in numbers:
            known = ", ".join(f"{number} {name}" for number, name in numbers.items())
            raise DatasetError(
                f"'{path}', line {line} has emotion {shown(label)}; expected {known}; correct the row or remove it, or "
                "name classes that are numbered in another way: --classes 0=angry,1=…"
            )
    missing = [name for number, name in numbers.items() if number not in map(plain_number, rows.labels)]
    if missing and len(rows.codes) >= ENOUGH_ROWS:
        warnings.warn(
            f"'{path}' has no image of {', '.join(missing)}: its emotions are read as FER2013's numbers; if they are "
            "others, name them: --classes 0=angry,1=…",
            stacklevel=4,
        )
    return FER2013, [numbers[plain_number(label) or ""] for label in rows.labels]


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _complete(splits: SplitArray, targets: IntArray) -> tuple[SplitArray, tuple[Split, ...]]:
    """Hold splits that are missing out of train; return all splits, and the missing ones."""
    splits = splits.copy()
    missing = tuple(split for i, split in enumerate(SPLITS) if i and not (splits == i).any())
    train = np.flatnonzero(splits == 0)
    if not missing or not len(train):
        return splits, ()
    drawn = hold_out([f"{row}" for row in train], [f"{target}" for target in targets[train]], missing)
    splits[train] = [SPLITS.index(split) for split in drawn]
    return splits, missing


def _votes_for(splits: SplitArray, path: Path, votes: Path | None) -> FloatArray | None:
    """Return the votes of the given file, or of a matching one beside the data."""
    if votes is not None:
        return votes_by_row(read_votes(votes), splits)
    beside = path.parent / VOTES_NAME
    if not os.path.isfile(beside):
        return None
    try:
        return votes_by_row(read_votes(beside), splits)
    except DatasetError as error:
        warnings.warn(f"votes beside the data ignored: {error}", stacklevel=2)
        return None


def _read_rows(path: Path) -> Rows:
    pixels, splits, codes = bytearray(), bytearray(), array("q")
    label_codes: dict[str, int] = {}
    first_lines: list[int] = []
    with _opened(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # so that np.fromstring rejects malformed numbers
        numbered = _numbered_lines(stream, path)
        header = _header(numbered, path)
        n_pixels = None
        for number, line in numbered:
            try:
                fields = _fields(line, header.delimiter)
                if len(fields) < header.width:
                    raise ValueError(f"{len(fields)} columns; expected {header.width}, as in the first line")
                values = _pixels(b" ".join(fields[i] for i in header.pixels), n_pixels)
                splits.append(0 if header.usage is None else _split(fields[header.usage]))
            except ValueError as error:
                raise DatasetError(f"'{path}', line {number} has {error}; correct the row or remove it") from None
            label = _text(fields[header.emotion])
            if label not in label_codes:
                first_lines.append(number)
            codes.append(label_codes.setdefault(label, len(label_codes)))
            n_pixels = len(values)
            pixels += values.tobytes()
            check_memory(path, len(codes), n_pixels)
    if n_pixels is None:
        raise DatasetError(f"'{path}' has a header but no rows; {EXPECTED}; download it again")
    return Rows(
        np.frombuffer(pixels, np.uint8).reshape(-1, n_pixels),
        list(label_codes),
        first_lines,
        np.array(codes, np.int64),
        np.frombuffer(splits, np.int8),
        header.usage is not None,
    )


def _header(lines: Iterator[tuple[int, bytes]], path: Path) -> Header:
    _, line = next(lines, (1, b""))
    if EXCEL_SEPARATOR.fullmatch(line):
        _, line = next(lines, (1, b""))
    if not line:
        raise DatasetError(f"'{path}' is empty; {EXPECTED}; download it again")
    delimiter = max(DELIMITERS, key=line.count)
    names = [_text(field).lower() for field in _fields(line.removeprefix(b"\xef\xbb\xbf"), delimiter)]
    emotion, pixel, usage = (
        next((names.index(name) for name in known if name in names), None) for known in (EMOTIONS, PIXELS, USAGE)
    )
    pixels = [i for i, name in enumerate(names) if PIXEL.fullmatch(name)] if pixel is None else [pixel]
    if emotion is None or not pixels:
        if any(len(name) > MAX_NAME for name in names):
            raise DatasetError(f"'{path}' has no names of columns in its first line; {EXPECTED}: add them")
        missing = [of[0] for of, found in ((EMOTIONS, emotion is not None), (PIXELS, pixels)) if not found]
        raise DatasetError(
            f"'{path}' is not FER2013's csv: no column {', '.join(missing)} in its first line; {EXPECTED}"
        )
    return Header(delimiter, len(names), emotion, pixels, usage)


def _fields(line: bytes, delimiter: bytes) -> list[bytes]:
    """Split a line; only fields in quotes hold delimiters."""
    if b'"' not in line:
        return line.split(delimiter)
    return [found[1] for found in QUOTED[delimiter].finditer(line)]


def _text(field: bytes) -> str:
    return field.strip(b' "').decode("utf-8", "replace")


def _pixels(field: bytes, n_expected: int | None) -> ImageArray:
    """Parse the pixels of one row; raise ValueError with the problem."""
    values: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    try:
        values = np.fromstring(field.strip(b' "'), np.int64, sep=" ")
    except (DeprecationWarning, ValueError):
        values = _listed_pixels(field)
    if n_expected is None and (not values.size or int(np.sqrt(values.size)) ** 2 != values.size):
        raise ValueError(f"{values.size} pixels; expected a square image, 48×48 = 2304")
    if n_expected is not None and values.size != n_expected:
        raise ValueError(f"{values.size} pixels; expected {n_expected} as in the first row")
    if values.min() < 0 or values.max() > 255:
        raise ValueError(f"pixels from {values.min():g} to {values.max():g}; expected 0..255")
    return values.astype(np.uint8)


def _listed_pixels(field: bytes) -> npt.NDArray[np.float64]:
    """Parse pixels in the spelling of a list, or with a decimal point; raise ValueError with the problem."""
    if b"..." in field:
        raise ValueError("pixels cut short by '...', as NumPy prints them; write all of them when making the csv")
    try:
        values = np.fromstring(field.translate(LIST_PUNCTUATION, b'"'), np.float64, sep=" ")
    except (DeprecationWarning, ValueError):
        values = np.array([0.5])
    if not (values == np.floor(values)).all():  # nor NaN
        raise ValueError("pixels that are not integers; expected 0..255 separated by spaces")
    return values


@lru_cache(64)  # a few spellings, in every row
def _split(field: bytes) -> int:
    text = _text(field)
    if (split := split_named(text)) is None:
        raise ValueError(f"Usage {shown(text)}; expected {', '.join(USAGES)}")
    return SPLITS.index(split)


def _numbered_lines(stream: ByteStream, path: Path) -> Iterator[tuple[int, bytes]]:
    r"""Yield (number from 1, line) of all lines that are not blank; \n, \r\n and \r end a line.

    A line end inside quotes ends no line.
    """
    number, n_bytes, rest = 0, 0, b""
    parts: list[bytes] = []  # of a line whose quotes are open
    while block := stream.read(BLOCK_BYTES):
        if number == 0 and not rest:
            refuse_wrong_kind(path, block[:HEADER_BYTES])
        n_bytes += len(block)
        check_expansion(path, n_bytes)
        *lines, rest = (rest + block).splitlines(keepends=True)  # may end within a line or within \r\n
        for line in lines:
            number += 1
            odd = line.count(b'"') % 2 == 1
            if odd or parts:
                parts.append(line.strip())
                if odd != (len(parts) > 1):
                    continue
                line = b" ".join(parts)
                parts.clear()
            if line := line.strip():
                yield number, line
        if max(len(rest), sum(map(len, parts))) > MAX_LINE_BYTES:
            raise DatasetError(
                f"'{path}', line {number + 1} is longer than {MAX_LINE_BYTES >> 20} MB; expected a csv of images"
            )
    parts.append(rest.strip())
    if rest := b" ".join(parts).strip():
        yield number + 1, rest


@contextmanager
def _opened(path: Path) -> Iterator[ByteStream]:
    """Open the csv and decompress it; damage found while reading raises a DatasetError too."""
    start = first_bytes(path)
    with damage_reported(path), ExitStack() as stack:
        if kind_of(start) == ZIP:
            archive = stack.enter_context(zipfile.ZipFile(path))
            yield stack.enter_context(archive.open(_csv_member(path, archive.namelist())))
            return
        stream: ByteStream = stack.enter_context(path.open("rb"))
        if kind_of(start) == GZIP:
            stream = stack.enter_context(gzip.open(path))
            start = stream.read(HEADER_BYTES)
            stream.seek(0)
        if kind_of(start) == TAR:
            tar = bounded_tar(cast(BinaryIO, stream))
            files = {member.name: member for member in members(tar) if member.isfile()}
            found = tar.extractfile(files[_csv_member(path, list(files))])
            assert found is not None
            stream = found
        yield stream


def _csv_member(path: Path, members: Sequence[str]) -> str:
    """Return the member with the data: fer2013.csv, Kaggle's icml_face_data.csv, or the only csv."""
    file_names = {member: member.rsplit("/", 1)[-1].lower() for member in members}
    found = [m for m, name in file_names.items() if name.endswith(".csv") and name[0] != "."]
    for member in found:
        if file_names[member] in MEMBER_NAMES:
            return member
    if not found:
        raise DatasetError(f"'{path}' holds {_contents(members)}; expected pictures in a folder per class, or a csv")
    if len(found) != 1:
        raise DatasetError(
            f"'{path}' holds {len(found)} csv files; expected one named fer2013.csv; unpack it, and pass the csv or "
            "the folder of pictures"
        )
    return found[0]


def _contents(members: Sequence[str]) -> str:
    """Return the kinds of an archive's files for a message: "2 .mp4, 1 .txt"."""
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in members if name[-1:] != "/")
    if not kinds:
        return "folders only" if members else "nothing"
    named = ", ".join(f"{n:,} {visible(kind)}" for kind, n in kinds.most_common(N_KINDS))
    odd = next((name for name in members if "\\" in name or {"..", "/"} & {*PurePosixPath(name).parts}), None)
    return named if odd is None else f"{named} with names such as {shown(odd)}, which are not read: pack them again"
