"""Tables in text files, .csv and .tsv, read row by row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from mien.data.dataset import MAX_IMAGES
from mien.data.wrong_kind import refuse_wrong_kind
from mien.errors import DatasetError
from mien.files import refuse_pipe
from mien.sources.content import HEADER_BYTES

EXCEL_SEPARATOR = re.compile(r"sep=[,;\t]?\s*")  # a first line that Excel reads
MAX_LINE = 1 << 20  # characters


def table_rows(path: Path, *, kind: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line and the fields of each row that is not blank, the header first.

    Commas, semicolons or tabs separate the fields: those of which the first line has most.

    Args:
        path: Text in UTF-8.
        kind: The kind of file that is expected, for messages.

    Raises:
        DatasetError: The file cannot be read, is of another kind, or has more rows than `MAX_IMAGES`.
    """
    try:
        refuse_pipe(path)
        with path.open("rb") as start:
            refuse_wrong_kind(path, start.read(HEADER_BYTES))
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline(MAX_LINE)
            skipped = EXCEL_SEPARATOR.fullmatch(first) is not None
            begin = file.tell() if skipped else 0
            first = file.readline(MAX_LINE) if skipped else first
            file.seek(begin)
            delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
            rows = csv.reader(_bounded_lines(file), delimiter=delimiter)
            for n, row in enumerate(rows):
                if n > MAX_IMAGES:
                    raise csv.Error(f"more than {MAX_IMAGES:,} rows")
                if any(map(str.strip, row)):
                    yield rows.line_num + skipped, row
    except OSError as error:
        raise DatasetError(f"cannot read '{path}': {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"'{path}' is not {kind}: {error}; expected a table in UTF-8") from error


def _bounded_lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise csv.Error(f"a line of more than {MAX_LINE:,} characters")
        yield line
