"""Damaged and unreadable files, and packed ones that expand beyond measure, as one line."""

from __future__ import annotations

import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import DatasetError

DAMAGE = (EOFError, zlib.error, lzma.LZMAError, struct.error, zipfile.BadZipFile, tarfile.TarError)

MAX_EXPANSION = 100  # times the size of a packed file; FER2013 expands to 3 times
SMALL_BYTES = 1 << 26  # that any packed file may expand to


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """Turn errors of reading `path` into a DatasetError: damage, a password, no permission."""
    try:
        yield
    except DAMAGE as error:
        raise DatasetError(f"'{path}' is truncated or damaged ({_line(error)}); download it again") from error
    except (RuntimeError, NotImplementedError, UnicodeError) as error:  # passwords, rare compression, odd names
        if os.path.isdir(path):
            raise DatasetError(f"cannot read folder '{path}': {_line(error)}; check its files") from error
        raise DatasetError(f"cannot unpack '{path}': {_line(error)}; unpack it yourself and pass the result") from error
    except OSError as error:  # gzip's BadGzipFile is one, without strerror
        raise DatasetError(f"cannot read '{path}': {error.strerror or _line(error)}; check the file") from error


def _line(error: Exception) -> str:
    """Return an error's text on one line; tarfile's has several."""
    return " ".join(str(error).split())


def check_expansion(path: Path, n_bytes: int) -> None:
    """Check the size that a packed file expands to, before it takes the memory.

    Args:
        path: The file.
        n_bytes: Its size once unpacked, or as far as it is.

    Raises:
        DatasetError: It exceeds a hundred times the size of the file.
    """
    if n_bytes > SMALL_BYTES + MAX_EXPANSION * path.stat().st_size:
        raise DatasetError(
            f"'{path}' expands to more than {MAX_EXPANSION} times its size, which data of images doesn't; unpack it "
            "yourself if you trust it"
        )
