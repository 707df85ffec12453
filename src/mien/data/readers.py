"""From a path to a Dataset: which reader understands it, and where the data lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from mien.data import fer2013_csv
from mien.data.dataset import Dataset
from mien.errors import DatasetError


class Read(Protocol):
    def __call__(self, path: Path, *, size: int | None = None, votes: Path | None = None) -> Dataset: ...


class Reader(NamedTuple):
    """One form that a dataset comes in.

    Args:
        form: What it looks like, for error messages.
        can_read: Tells, quickly, whether a path has this form.
        read: Reads it.
    """

    form: str
    can_read: Callable[[Path], bool]
    read: Read


READERS: dict[str, Reader] = {  # the first that can read a path does
    "fer2013-csv": Reader("fer2013.csv, .csv.gz or .zip of it", fer2013_csv.can_read, fer2013_csv.read),
}


def read_dataset(
    path: str | Path, *, reader: str | None = None, size: int | None = None, votes: Path | None = None
) -> Dataset:
    """Read a dataset of any form that mien knows.

    Args:
        path: File or folder.
        reader: Name in `READERS`; None takes the first that can read the path.
        size: Resize the pictures to this many pixels a side; None keeps one size, where there is one.
        votes: FER+ votes that belong to the data (fer2013new.csv); beside a csv they are found without.

    Raises:
        DatasetError: There is nothing at the path, no reader knows its form, or its content is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"no dataset at '{path}'; expected {_forms()}")
    return _reader_for(path, reader).read(path, size=size, votes=votes)


def _reader_for(path: Path, name: str | None) -> Reader:
    if name is not None:
        if name not in READERS:
            raise DatasetError(f"no reader '{name}'; choose from {', '.join(READERS)}")
        return READERS[name]
    for reader in READERS.values():
        if reader.can_read(path):
            return reader
    raise DatasetError(f"'{path}' is no dataset that mien can read; expected {_forms()}")


def _forms() -> str:
    return "; ".join(f"{reader.form} ({name})" for name, reader in READERS.items())
