"""Parts: tables of flat rows in files that appear whole, as CSV, JSON lines or Parquet, all with the same columns."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, TypeAlias

from mien.errors import ConfigError, OutputError, needs
from mien.escape import json_line
from mien.files import atomic_path, printable
from mien.sinks.growing import write_all
from mien.sinks.records import origin_keys, rows, source_text
from mien.sinks.tables import COLUMNS, csv_lines
from mien.structures import Expression, Frame, Provenance

Row: TypeAlias = "Mapping[str, object]"
Append: TypeAlias = "Callable[[Sequence[Row]], None]"

NUMBERS = {  # types of the columns that hold no text
    **dict.fromkeys(("index", "face", "track"), int),
    **dict.fromkeys(("time", "x1", "y1", "x2", "y2", "score", "confidence"), float),
    "certain": bool,
}
ROWS_IN_MEMORY = 10_000  # of a Parquet file before they are written: 10 MB; a row group of its own each


def part_columns(provenance: Provenance) -> dict[str, type]:
    """Return the columns of a part and their types: those of `CsvSink`, and `error` after `note`."""
    probabilities = {f"p_{label}": float for label in provenance.labels}
    texts = dict.fromkeys((*COLUMNS, "error"), str)
    return {**texts, **NUMBERS, **probabilities, **dict.fromkeys(origin_keys(provenance), str)}


def part_rows(frame: Frame, expressions: Sequence[Expression], provenance: Provenance) -> list[Row]:
    """Return one row per face of a frame, or one with a note if there are none."""
    return [{**row, **origin_keys(provenance)} for row in rows(frame, expressions)]


def error_row(path: Path, error: Exception, provenance: Provenance) -> Row:
    """Return the row of a file that cannot be read, or not to its end."""
    return {"source": source_text(str(path)), "error": str(error), **origin_keys(provenance)}


def check_format(name: str) -> None:
    """Make sure that parts can be written in a format.

    Raises:
        ConfigError: It is unknown.
        MissingExtra: Its package is not installed.
    """
    if name not in FORMATS:
        raise ConfigError(f"no format '{name}' of parts; choose from {', '.join(FORMATS)}")
    if name == "parquet":
        with needs("Parquet", "parquet"):
            import pyarrow.parquet  # noqa: F401


@contextmanager
def open_part(path: Path, columns: Mapping[str, type], *, within: Path) -> Iterator[Append]:
    """Yield the function that appends rows to a part, which takes its place once the block has ended well.

    Args:
        path: The part; its suffix is the format.
        columns: See `part_columns`.
        within: Folder of the unfinished file, on the same file system.

    Raises:
        OutputError: It cannot be written.
    """
    write = FORMATS[path.suffix[1:]]
    with atomic_path(path, within=within) as temporary, write(temporary, columns) as append:
        yield append


def read_part(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield some columns of a part's rows; missing values are None, or "" in CSV.

    Raises:
        OutputError: It cannot be read.
    """
    try:
        for row in _read_rows(path, columns):
            found = {column: row[column] for column in columns}
            if any(isinstance(value, (dict, list)) for value in found.values()):
                raise ValueError("a row holds other than texts and numbers")
            yield found
    except (OSError, ValueError, TypeError, KeyError, RecursionError, csv.Error) as error:
        reason = "it is damaged" if isinstance(error, (TypeError, KeyError, RecursionError)) else error
        raise OutputError(f"cannot read the part '{printable(path)}': {reason}; remove it, and resume") from error


def _read_rows(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=list(columns)):
                yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8", newline="") as text:
        yield from csv.DictReader(text) if path.suffix == ".csv" else map(json.loads, text)


@contextmanager
def _csv(path: Path, columns: Mapping[str, type]) -> Iterator[Append]:
    names = list(columns)
    with _synced(path) as file:
        write_all(file, csv_lines(names, [], header=True))
        yield lambda table: write_all(file, csv_lines(names, table))


@contextmanager
def _jsonl(path: Path, columns: Mapping[str, type]) -> Iterator[Append]:
    with _synced(path) as file:
        yield lambda table: write_all(
            file, b"".join(json_line({name: row.get(name) for name in columns}).encode() + b"\n" for row in table)
        )


@contextmanager
def _parquet(path: Path, columns: Mapping[str, type]) -> Iterator[Append]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    waiting: list[Row] = []
    with _synced(path) as file, pq.ParquetWriter(file, schema) as writer:

        def append(table: Sequence[Row]) -> None:
            waiting.extend(table)
            if len(waiting) >= ROWS_IN_MEMORY:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
            waiting.clear()

        yield append
        flush()


@contextmanager
def _synced(path: Path) -> Iterator[FileIO]:
    """Open a file; its bytes are on the disk at the end of the block, before it is renamed."""
    with FileIO(path, "wb") as file:
        yield file
        os.fsync(file.fileno())


FORMATS: dict[str, Callable[[Path, Mapping[str, type]], AbstractContextManager[Append]]] = {
    "csv": _csv, "jsonl": _jsonl, "parquet": _parquet,
}  # fmt: skip
