"""From a path to a Dataset: where the data lies, and which reader understands it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from mien.data import fer2013_csv, ferg, folders, prepared
from mien.data.dataset import Dataset
from mien.errors import DatasetError

DATA_VARIABLE = "MIEN_DATA"
SIZES = range(1, 1025)  # sides in pixels that pictures can be resized to
KNOWN_FILES = tuple(
    folder + file
    for folder in ("", "fer2013/")
    for file in ("fer2013.csv", "fer2013.csv.gz", "fer2013.csv.zip", "fer2013.zip", "icml_face_data.csv")
)
SUFFIXES = ("", ".gz", ".zip", ".csv", ".csv.gz", ".npz")  # that a bare name may leave out


class Read(Protocol):
    """Read the dataset at a path; `READERS` says which, `read_dataset` what the arguments mean."""

    def __call__(self, path: Path, *, size: int | None = None, votes: Path | None = None) -> Dataset: ...


class Reader(NamedTuple):
    """One form that a dataset comes in.

    Args:
        form: What it looks like, for messages.
        can_read: Tells quickly whether a path has this form.
        read: Reads it.
    """

    form: str
    can_read: Callable[[Path], bool]
    read: Read


READERS: dict[str, Reader] = {  # the first that can read a path does
    "prepared": Reader("a prepared .npz", prepared.can_read, prepared.read),
    "ferg": Reader("FERG-DB, or what is laid out like it", ferg.can_read, ferg.read),
    "folders": Reader("a folder or zip with a folder per class", folders.can_read, folders.read),
    "fer2013-csv": Reader("fer2013.csv, also as .gz or .zip", fer2013_csv.can_read, fer2013_csv.read),
}


def read_dataset(
    path: str | Path, *, reader: str | None = None, size: int | None = None, votes: Path | None = None
) -> Dataset:
    """Read a dataset of any form that mien knows.

    Args:
        path: File or folder; of a folder with fer2013.csv in it, this file.
        reader: Name in `READERS`; None takes the first that can read the path.
        size: Resize the pictures to this many pixels a side; None keeps the size they share.
        votes: FER+ votes that belong to the data (fer2013new.csv); beside a csv they are found without.

    Raises:
        DatasetError: There is nothing at the path, no reader knows its form, its content is wrong, or the size is
            not in `SIZES`.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"no dataset at '{path}'; expected {_forms()}")
    if size is not None and size not in SIZES:
        raise DatasetError(f"size is {size}; expected {SIZES[0]} to {SIZES[-1]} pixels a side")
    if reader is not None and reader not in READERS:
        raise DatasetError(f"no reader '{reader}'; choose from {', '.join(READERS)}")
    if reader is None:
        path = _known_file_in(path)
    for name, candidate in READERS.items():
        if name == reader or (reader is None and candidate.can_read(path)):
            return candidate.read(path, size=size, votes=votes)
    raise DatasetError(f"'{path}' is no dataset that mien can read; expected {_forms()}")


def data_path(argument: str | None) -> Path:
    """Find the dataset that a user means.

    Args:
        argument: A path, or a name to look up in $MIEN_DATA ("fer2013"); None for $MIEN_DATA itself.

    Returns:
        An existing file or folder; of a folder with fer2013.csv in it, this file.

    Raises:
        DatasetError: Nothing is there; the message lists where it was looked for.
    """
    home = os.environ.get(DATA_VARIABLE)
    if argument is None and not home:
        raise DatasetError(f"no dataset given; pass --data PATH or set {DATA_VARIABLE} to a file or folder")
    tried = [Path(argument or home or "")]
    if argument and home:
        folder = Path(home) if Path(home).is_dir() else Path(home).parent
        tried += [folder / part / (argument + suffix) for part in ("", "fer2013") for suffix in SUFFIXES]
    for path in tried:
        if path.exists():
            return _known_file_in(path)
    where = f"also looked in '{home}'" if argument and home else f"{DATA_VARIABLE} can name a file or folder"
    raise DatasetError(f"no dataset at '{tried[0]}'; {where}; expected {_forms()}")


def _known_file_in(path: Path) -> Path:
    """Return the FER2013 file in a folder, or the path as it is."""
    return next((path / name for name in KNOWN_FILES if (path / name).is_file()), path)


def _forms() -> str:
    return "; ".join(f"{reader.form} ({name})" for name, reader in READERS.items())
