"""Picture and video files of a folder, and opening them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mien.errors import InputError, UnreadablePicture
from mien.files import printable
from mien.sources.address import without_credentials

PICTURE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".heic", ".heif", ".bmp", ".dib", ".tif",
    ".tiff", ".pbm", ".pgm", ".ppm", ".pnm",
})  # fmt: skip
VIDEO_SUFFIXES = frozenset({
    ".gif", ".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv",
    ".flv", ".ogv",
})  # fmt: skip
FORMATS = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP, GIF or PNM"
MAX_PIXELS = 250_000_000  # 750 MB as RGB; the largest cameras of phones take 200 million


def list_files(source: str | Path, *, glob: str | None = None) -> list[Path]:
    """Return a folder's pictures and videos at any depth, sorted; a file as itself.

    Args:
        source: Path of a file or folder.
        glob: Pattern for a folder's files ("*.jpg", "day1/*"); without one, all of `PICTURE_SUFFIXES` and
            `VIDEO_SUFFIXES`. Hidden files are left out.

    Raises:
        InputError: There is no such path, it cannot be read, or no file fits.
    """
    path = as_path(source)
    if not stat.S_ISDIR(status_of(path).st_mode):
        return [path]
    wanted = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    try:
        found = sorted(p for p in path.rglob(glob or "*") if p.is_file() and not _is_hidden(p.relative_to(path)))
    except (OSError, ValueError, NotImplementedError) as error:
        pattern = f" for '{glob}'" if glob else ""
        raise InputError(f"cannot search folder '{printable(path)}'{pattern}: {error}") from error
    files = found if glob else [p for p in found if p.suffix.lower() in wanted and not _is_typescript(p)]
    if not files:
        expected = f"files that match '{glob}'" if glob else f"files ending in {', '.join(sorted(wanted))}"
        raise InputError(f"no pictures or videos in folder '{printable(path)}'; expected {expected}")
    return files


def as_path(path: object) -> Path:
    """Return a path that a caller handed over.

    Raises:
        InputError: It is neither a text nor a path, such as None or the bytes of a file.
    """
    if isinstance(path, (str, os.PathLike)) and isinstance(text := os.fspath(path), str):
        return Path(text)
    hint = "; decode the bytes of a picture file with mien.sources.decode" if path is not None else ""
    raise InputError(f"the path is of type {type(path).__name__}; expected a text or a pathlib.Path{hint}")


def status_of(path: Path) -> os.stat_result:
    """Return the status of a file or folder.

    Raises:
        InputError: There is none, or it is something else.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise _not_found(printable(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte
        raise cannot_read(path, error) from error
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise InputError(f"'{printable(path)}' is neither a file nor a folder; expected a picture, video or folder")
    return status


@contextmanager
def opened_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read its bytes; close it at the end.

    Raises:
        InputError: There is no such file, it is a folder, or it cannot be read.
    """
    if stat.S_ISDIR(status_of(path).st_mode):
        raise InputError(f"'{printable(path)}' is a folder; expected a picture or video file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error
    with file:
        yield file


def check_size(name: str, width: int, height: int) -> None:
    """Refuse images of more than `MAX_PIXELS`.

    Raises:
        UnreadablePicture: It is too large.
    """
    if width * height > MAX_PIXELS:
        raise UnreadablePicture(
            f"'{name}' has {width}x{height} pixels; at most {MAX_PIXELS // 10**6} million are read: make it smaller"
        )


def cannot_read(path: Path, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"cannot read '{printable(path)}': {reason}; check the path and its permissions")


def _not_found(path: str) -> InputError:
    if re.match("https?:/", path):
        return InputError(f"'{without_credentials(path)}' is an address; expected a file or folder: download it first")
    if re.search(r"[*?\[]", path):
        return InputError(
            f"no file or folder '{path}'; a shell expands no quoted pattern: remove the quotes, or give a folder and "
            f"--glob '{Path(path).name}'"
        )
    return InputError(f"no file or folder '{path}'; check the path")


def _is_typescript(path: Path) -> bool:
    """Return whether a file ending in .ts is no MPEG transport stream, whose packets begin with G (ISO 13818-1)."""
    if path.suffix.lower() != ".ts":
        return False
    try:
        with path.open("rb") as file:
            return file.read(1) != b"G"
    except OSError:  # reading it says why
        return False


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
