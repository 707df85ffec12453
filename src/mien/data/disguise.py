"""Files in place of data: pointers, web pages and archives, recognised by their first bytes, with the way out."""

from __future__ import annotations

from pathlib import Path

from mien.errors import DatasetError

START_BYTES = 512  # a tar's mark is at byte 257
AS_UTF_8 = "save it as UTF-8 (Excel: CSV UTF-8; PowerShell: Out-File -Encoding utf8)"
FROM_BROWSER = "sites that ask for a login or a confirmation give one: download the data with a browser"
# Start of a file, in lower case; its kind; the way out.
KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the data", "fetch the data: git lfs pull"),
    (b"<!doctype", "a web page, not the data", FROM_BROWSER),
    (b"<html", "a web page, not the data", FROM_BROWSER),
    (b"<?xml", "XML, often an error message of a web server", "download the data again, with a browser"),
    (b"\xff\xfe", "text in UTF-16", AS_UTF_8),
    (b"\xfe\xff", "text in UTF-16", AS_UTF_8),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and pass the result"),
    (b"rar!\x1a\x07", "a RAR archive", "unpack it, and pass the result"),
    (b"\xfd7zxz\0", "packed by xz", "unpack it (xz -d, or tar -xf), and pass the result"),
    (b"bzh", "packed by bzip2", "unpack it (bzip2 -d, or tar -xf), and pass the result"),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard", "unpack it (zstd -d, or tar -xf), and pass the result"),
    (b"par1", "a Parquet table", "export pictures in a folder per class, or a csv"),
    (b"\x89hdf\r\n\x1a\n", "an HDF5 file", "export pictures in a folder per class"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "save the table as CSV UTF-8"),
    (b"matlab 5.0 mat-file", "a MATLAB file", "export pictures in a folder per class"),
    (b"\x93numpy", "a NumPy array", "export pictures in a folder per class; mien data prepare makes an .npz"),
    (b"\x80\x04", "a pickle, which could run any program", "export pictures in a folder per class"),
    (b"sqlite format 3", "an SQLite database", "export the table as CSV"),
    (b"%pdf", "a PDF file", "pass the data itself"),
)  # fmt: skip


def refuse_disguise(path: Path, start: bytes | None = None) -> None:
    """Refuse a file of a kind that is known not to be a dataset.

    Args:
        path: The file, or the archive around it, for the message.
        start: Its first bytes; None reads them.

    Raises:
        DatasetError: It is of such a kind, or cannot be read.
    """
    if found := disguise_of(first_bytes(path) if start is None else start):
        raise DatasetError(f"'{path}' is {found}")


def disguise_of(start: bytes) -> str:
    """Return the kind and the way out of a file that is known not to be data, by its first bytes; "" for others."""
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, kind, way_out in KINDS:
        if start.lower().startswith(mark) or head.startswith(mark):
            return f"{kind}; {way_out}"
    return f"text in UTF-16; {AS_UTF_8}" if looks_like_utf_16(start) else ""


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError as error:
        raise DatasetError(f"cannot read '{path}': {error.strerror or error}; check the file") from error


def is_tar(start: bytes) -> bool:
    """Return whether a file with these first bytes is a tar (POSIX 1003.1: ustar in byte 257)."""
    return start[257:262] == b"ustar"


def looks_like_utf_16(start: bytes) -> bool:
    """Return whether every second byte is 0, as in English text in UTF-16 without a mark."""
    odd, even = start[1::2], start[::2]
    return len(start) >= 16 and (not any(odd) or not any(even)) and any(start)
