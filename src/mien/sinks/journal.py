"""The journal of a long run, by which it is resumed after any end, with the same bytes as an undisturbed run.

It is a file of JSON lines beside the first table: the settings of the run, then a line per file whose rows are in the
tables, with the sizes that the tables had after them. Resuming keeps the files up to the first one that has changed or
is no longer the next one to read, and cuts the tables there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, TypedDict

from mien.errors import ConfigError, OutputError
from mien.files import atomic_path, printable
from mien.settings import Range, checked, shown
from mien.sinks.growing import GrowingFile

SUFFIX = ".journal"
FORMAT = "mien journal 1"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file whose rows are in the tables.

    Args:
        path: The file, as text.
        size: Its bytes.
        mtime_ns: Time of its last change in nanoseconds.
        ends: Bytes of each table after its rows.
        error: Why it could not be read, or not to its end; empty if it could.
    """

    path: str
    size: int
    mtime_ns: int
    ends: tuple[int, ...]
    error: str = ""


class _Numbers(TypedDict):
    """The numbers of an entry, as read from JSON."""

    size: int
    mtime_ns: int
    ends: list[Annotated[int, Range(0)]]


class Journal(GrowingFile):
    """Notes which files are in the tables of a run; a context manager, entered after the tables.

    A journal that was not resumed is removed when the run ends well.

    Args:
        tables: The tables: opened, with `resume` if this run resumes one.
        settings: Settings that determine the rows, apart from the files: model, detector, …, as plain JSON data.
        resume: Whether to continue the run that an existing journal describes.

    Raises:
        ConfigError: There is a table but no journal to resume by, or it is of other settings or tables.
        OutputError: The journal cannot be read or written.
    """

    def __init__(self, tables: Sequence[GrowingFile], settings: Mapping[str, Any], *, resume: bool = False) -> None:
        super().__init__(journal_path(tables[0].path), resume=True)
        self._tables, self._removed = tables, not resume
        self._head: dict[str, Any] = {
            "format": FORMAT,
            "settings": dict(settings),
            "tables": [table.path.name for table in tables],
        }
        self._entries = self._read() if resume else []
        if not self._entries:
            self._entries = [Entry("", 0, 0, self._sizes())]  # of the tables' headers
        self.n_files = 0  # that are in the tables

    @property
    def kept(self) -> list[Entry]:
        """The files whose rows are in the tables from the resumed run."""
        return self._entries[1:]

    def start(self, files: Sequence[Path]) -> int:
        """Keep the files of the resumed run that come first again; cut the tables after their rows.

        Args:
            files: The files of this run, in order.

        Returns:
            How many of them are in the tables.
        """
        n = sum(1 for _ in takewhile(lambda pair: _is_same(*pair), zip(self.kept, files, strict=False)))
        self._entries = self._entries[: n + 1]
        for table, end in zip(self._tables, self._entries[-1].ends, strict=True):
            table.cut(end)
        self._rewrite()
        self.n_files = n
        return n

    def add(self, file: Path, error: Exception | None = None) -> None:
        """Note that all rows of a file are in the tables, or that it failed."""
        path, size, mtime_ns = identity(file)
        entry = Entry(path, size, mtime_ns, self._sizes(), "" if error is None else str(error))
        self._append(_line(asdict(entry)))
        self.n_files += 1

    def __enter__(self) -> Journal:
        self._rewrite()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        super().__exit__(kind, error, trace)
        if kind is None and self._removed:
            self.path.unlink(missing_ok=True)

    def _sizes(self) -> tuple[int, ...]:
        return tuple(table.length for table in self._tables)

    def _rewrite(self) -> None:
        """Write all lines, whole or not at all."""
        self._close()
        with atomic_path(self.path) as temporary, temporary.open("wb") as file:
            file.write(b"".join(map(_line, [self._head, *map(asdict, self._entries)])))
            file.flush()
            os.fsync(file.fileno())  # else it may be empty after a loss of power, while the tables are not

    def _read(self) -> list[Entry]:
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]  # the last one is empty, or torn
        except FileNotFoundError:
            self._refuse_tables("is missing")
            return []
        except OSError as error:
            raise OutputError(f"cannot read the journal '{self.path}': {error.strerror}") from error
        try:
            head, *rest = map(json.loads, lines) if lines else [self._head]
            entries = list(map(_entry, rest))
            if not isinstance(head, dict) or head.get("format") != FORMAT or (entries and entries[0].path):
                raise ConfigError("no head, or no line of the tables' headers")
            settings = checked(Mapping[str, object], head.get("settings"), "settings")
            tables = _texts(head.get("tables"), "tables")
        except (ValueError, RecursionError, ConfigError) as error:
            raise ConfigError(f"'{self.path}' is not a journal of mien; leave out --resume to start again") from error
        self._check(settings, tables, entries)
        if not entries:
            self._refuse_tables("has no entry")
        return entries

    def _check(self, settings: Mapping[str, object], tables: list[str], entries: Sequence[Entry]) -> None:
        hint = "leave out --resume to start again"
        check_same(settings, self._head["settings"], place=self._tables[0].path, hint=hint)
        if tables != self._head["tables"]:
            raise ConfigError(f"'{self.path.name}' is of the tables {', '.join(tables)}; give the same ones, or {hint}")
        sizes = self._sizes()
        if any(
            len(entry.ends) != len(sizes) or any(end > size for end, size in zip(entry.ends, sizes, strict=True))
            for entry in entries
        ):
            raise ConfigError(
                f"the tables are shorter than '{self.path.name}' says; leave out --resume to write them again"
            )

    def _refuse_tables(self, state: str) -> None:
        """Refuse to append to tables whose files no journal lists, which would double their rows."""
        if there := next((table.path for table in self._tables if table.found), None):
            raise ConfigError(
                f"cannot resume: '{there}' is there, but its journal '{self.path.name}' {state}; leave out --resume to "
                "write it again, or name another table"
            )


def check_same(before: Any, now: Mapping[str, Any], *, place: Path, hint: str) -> None:
    """Refuse to resume a run with other settings.

    Args:
        before: The settings it was begun with, as read from JSON.
        now: Those of this run.
        place: What it writes.
        hint: What to do besides giving the same options.

    Raises:
        ConfigError: They differ.
    """
    before, now = before if isinstance(before, dict) else {}, json.loads(json.dumps(now))
    for name in [*now, *(before.keys() - now.keys())]:
        if before.get(name) != now.get(name):
            raise ConfigError(
                f"'{printable(place)}' was begun with {name} = {shown(str(before.get(name)))}, now it is "
                f"{shown(str(now.get(name)))}; give the same options, or {hint}"
            )


def journal_path(table: Path) -> Path:
    """Return the path of the journal beside a table."""
    return table.with_name(table.name + SUFFIX)


def identity(file: Path) -> tuple[str, int, int]:
    """Return a file's path as text, its bytes, and the time of its last change in nanoseconds; -1 and 0 of no file."""
    try:
        found = os.stat(file)
    except OSError:  # it failed, too
        return str(file), -1, 0
    return str(file), found.st_size, found.st_mtime_ns


def _is_same(entry: Entry, file: Path) -> bool:
    return (entry.path, entry.size, entry.mtime_ns) == identity(file)


def _entry(line: object) -> Entry:
    """Return an entry read from JSON.

    Raises:
        ConfigError: It is none.
    """
    numbers: _Numbers = checked(_Numbers, line, "entry")
    path, error = _texts([numbers.get("path"), numbers.get("error", "")], "entry")
    return Entry(path, numbers["size"], numbers["mtime_ns"], tuple(numbers["ends"]), error)


def _texts(value: object, where: str) -> list[str]:
    """Return a list of texts; `checked` would refuse names of files that aren't valid text."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f"'{where}' is {shown(value)}; expected a list of texts")
    return value


def _line(plain: Mapping[str, Any]) -> bytes:
    return json.dumps(plain).encode() + b"\n"
