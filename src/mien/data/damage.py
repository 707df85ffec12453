"""Errors of damaged and unreadable files, as one line whichever library raises them."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import DatasetError

DAMAGE = (EOFError, zlib.error, lzma.LZMAError, struct.error, zipfile.BadZipFile, tarfile.TarError)


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """Turn errors of reading `path` into a DatasetError: damage, a password, no permission."""
    try:
        yield
    except DAMAGE as error:
        raise DatasetError(f"'{path}' is truncated or damaged ({error}); download it again") from error
    except (RuntimeError, NotImplementedError, UnicodeError) as error:  # passwords, rare compression, odd names
        raise DatasetError(f"cannot unpack '{path}': {error}; unpack it yourself and pass the result") from error
    except OSError as error:  # gzip's BadGzipFile is one, without strerror
        raise DatasetError(f"cannot read '{path}': {error.strerror or error}; check the file") from error
