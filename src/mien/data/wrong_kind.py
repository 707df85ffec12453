"""Files in place of data: pointers, web pages, archives and documents, with the way out."""

from __future__ import annotations

from pathlib import Path

from mien.errors import DatasetError
from mien.files import refuse_pipe
from mien.sources.content import GZIP, HEADER_BYTES, TAR, TEXT_FILE, UTF_16, ZIP, kind_of

DATA = frozenset({TAR, GZIP, ZIP, TEXT_FILE})  # kinds that can hold a dataset
WAYS_OUT = {  # by the kind of file, see `sources.content.KINDS`
    UTF_16: "save it as UTF-8 (Excel: CSV UTF-8; PowerShell: Out-File -Encoding utf8)",
    "a web page": "sites that ask for a login or a confirmation give one: download the data with a browser",
    "XML, often an error message of a web server": "download the data again, with a browser",
    "a file packed by xz": "unpack it (xz -d, or tar -xf), and pass the result",
    "a file packed by bzip2": "unpack it (bzip2 -d, or tar -xf), and pass the result",
    "a file packed by Zstandard": "unpack it (zstd -d, or tar -xf), and pass the result",
    "a 7z archive": "unpack it, and pass the result",
    "a RAR archive": "unpack it, and pass the result",
    "a Parquet table": "export pictures in a folder per class, or a csv",
    "an HDF5 file": "export pictures in a folder per class",
    "a MATLAB file": "export pictures in a folder per class",
    "a NumPy array": "export pictures in a folder per class; mien data prepare makes an .npz",
    "a pickle, which could run any program": "export pictures in a folder per class",
    "an old Excel or Word file": "save the table as CSV UTF-8",
    "an SQLite database": "export the table as CSV",
}  # fmt: skip
OTHERWISE = "pass the data itself"


def refuse_wrong_kind(path: Path, start: bytes | None = None) -> None:
    """Refuse a file of a kind that is known not to be a dataset.

    Args:
        path: The file, or the archive around it, for the message.
        start: Its first bytes; None reads them.

    Raises:
        DatasetError: It is of such a kind, or cannot be read.
    """
    if found := wrong_kind_of(first_bytes(path) if start is None else start):
        raise DatasetError(f"'{path}' is {found}")


def wrong_kind_of(start: bytes) -> str:
    """Return the kind and the way out of a file that is known not to be data, by its first bytes; "" for others."""
    kind = kind_of(start) or (UTF_16 if looks_like_utf_16(start) else None)
    return "" if kind is None or kind in DATA else f"{kind}; {WAYS_OUT.get(kind, OTHERWISE)}"


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            return file.read(HEADER_BYTES)
    except OSError as error:
        raise DatasetError(f"cannot read '{path}': {error.strerror or error}; check the file") from error


def looks_like_utf_16(start: bytes) -> bool:
    """Return whether every second byte is 0, as in English text in UTF-16 without a mark."""
    odd, even = start[1::2], start[::2]
    return len(start) >= 16 and (not any(odd) or not any(even)) and any(start)
