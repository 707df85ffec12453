"""Tables about pictures: read from CSV, matched by file name, and turned into groups."""

from __future__ import annotations

import csv
import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mien.errors import InputError
from mien.files import as_path, refuse_pipe

NAME_COLUMNS = ("file", "name", "picture", "image", "path", "filename", "file_name")  # in order of preference
MAX_VALUES = 20  # of a column of words; more, such as names of persons, are no groups
MAX_NUMBERS = 8  # distinct numbers of a numeric column; more are cut at the quartiles
UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTable:
    """A table about pictures.

    Args:
        path: File it was read from, for messages.
        names: File of each picture: a name, or a path with "/".
        columns: By name, one value per picture; `UNKNOWN` if empty.
    """

    path: Path
    names: list[str]
    columns: dict[str, list[str]]


def read_slices(path: str | Path) -> SliceTable:
    """Read a CSV file with a header and one row per picture.

    One column, named as in `NAME_COLUMNS` in any case, has the files of the pictures. Any other is a column of groups.

    Raises:
        InputError: It cannot be read, is empty, has rows of another length, or has no column of files or of groups.
    """
    path = as_path(path)
    try:
        refuse_pipe(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in row] for row in csv.reader(file) if any(map(str.strip, row))]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read '{path}': {reason}; expected a CSV file with a header") from error
    if len(lines) < 2:
        raise InputError(f"'{path}' is empty; expected a header and one row per picture")
    header, *rows = lines
    if len(set(header)) < len(header):
        raise InputError(f"'{path}' has two columns '{max(header, key=header.count)}'; name each column once")
    if wrong := next((row for row in rows if len(row) != len(header)), None):
        raise InputError(f"'{path}' has a row of {len(wrong)} cells ({wrong[0]}, …); expected {len(header)}")
    lower = [name.lower() for name in header]
    key = next((lower.index(name) for name in NAME_COLUMNS if name in lower), None)
    if key is None:
        raise InputError(f"'{path}' has no column of file names; name one of its columns {' or '.join(NAME_COLUMNS)}")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header) if i != key}
    if not columns:
        raise InputError(f"'{path}' has only file names; expected another column to slice by")
    return SliceTable(path=path, names=[row[key].replace("\\", "/") for row in rows], columns=columns)


def match_rows(table: SliceTable, names: Sequence[str], *, known: Sequence[str]) -> list[int | None]:
    """Return the row of the table for each picture; None if it has none. Warn of rows about unknown pictures.

    A row belongs to a picture if its file is the picture's path, or the end of that path, or ends with it.

    Args:
        table: The table.
        names: Paths of the evaluated pictures, with "/".
        known: Paths of all pictures of the dataset.

    Raises:
        InputError: No picture has a row, a row belongs to several pictures, or a picture has two rows that differ.
    """
    candidates = defaultdict(list)
    for row, name in enumerate(table.names):
        candidates[_last(name)].append(row)
    rows = [_row_of(table, name, candidates[_last(name)]) for name in names]
    matched = [row for row in rows if row is not None]
    if not matched:
        raise InputError(f"'{table.path}' names none of the {len(names):,} evaluated pictures, such as '{names[0]}'")
    if len(set(matched)) < len(matched):
        twice = max(matched, key=matched.count)
        raise InputError(
            f"'{table.names[twice]}' in '{table.path}' fits {matched.count(twice)} pictures; give their paths"
        )
    files = defaultdict(list)
    for name in known:
        files[_last(name)].append(name)
    if unknown := [name for name in table.names if not any(_fits(name, each) for each in files[_last(name)])]:
        warnings.warn(
            f"{len(unknown):,} of {len(table.names):,} rows of '{table.path}' are about pictures that the dataset "
            f"lacks, such as '{unknown[0]}'",
            stacklevel=3,
        )
    return rows


def grouped(values: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the groups of a column in order, and that of each value, `UNKNOWN` if it is unknown.

    More than `MAX_NUMBERS` distinct numbers become four ranges, cut at the quartiles.
    """
    kinds = sorted({value for value in values if value != UNKNOWN})
    numbers = {value: _number(value) for value in kinds}
    if not all(math.isfinite(number) for number in numbers.values()):
        return kinds, list(values)
    if len(set(numbers.values())) <= MAX_NUMBERS:
        return sorted(kinds, key=numbers.__getitem__), list(values)
    cuts = np.unique(np.quantile([numbers[value] for value in values if value != UNKNOWN], (0, 0.25, 0.5, 0.75, 1)))
    ranges = [f"{low} to {high}" for low, high in pairwise(_distinct_texts(cuts.tolist()))]
    of = {value: ranges[int(np.searchsorted(cuts[1:-1], number, side="right"))] for value, number in numbers.items()}
    return ranges, [of.get(value, UNKNOWN) for value in values]


def _distinct_texts(numbers: Sequence[float]) -> list[str]:
    """Return different numbers as different texts: whole ones, such as dates, in full, others as short as can be."""
    formats = [".0f"] if all(number.is_integer() for number in numbers) else [f".{digits}g" for digits in range(6, 18)]
    tries = ([format(number, spec) for number in numbers] for spec in formats)
    return next(texts for texts in tries if len(set(texts)) == len(texts))


def problem_of(groups: Sequence[str]) -> str | None:
    """Return why the groups of a column can't be compared; None if they can."""
    if len(groups) < 2:
        return f"has only the value '{groups[0]}'" if groups else "has no value"
    return f"has {len(groups):,} values, expected at most {MAX_VALUES}" if len(groups) > MAX_VALUES else None


def _row_of(table: SliceTable, name: str, candidates: Sequence[int]) -> int | None:
    rows = [row for row in candidates if _fits(table.names[row], name)]
    rows = [row for row in rows if table.names[row] == name] or rows
    if len({tuple(column[row] for column in table.columns.values()) for row in rows}) > 1:
        raise InputError(f"'{table.path}' has {len(rows)} rows about '{name}' that differ; keep one")
    return rows[0] if rows else None


def _fits(a: str, b: str) -> bool:
    """Return whether the parts of one path are the last parts of the other."""
    return f"/{a}".endswith(f"/{b}") or f"/{b}".endswith(f"/{a}")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
