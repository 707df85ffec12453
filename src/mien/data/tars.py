"""Tars of pictures, plain or packed by gzip: read without unpacking them to disk or following links."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast

from mien.data.damage import check_expansion
from mien.data.wrong_kind import first_bytes
from mien.errors import DatasetError, UnreadablePicture
from mien.sources.content import GZIP, kind_of

TARS = (".tar", ".tar.gz", ".tgz")  # suffixes
MAX_FILE_BYTES = 1 << 29  # of a picture, or of a list of labels
MAX_PACKED_BYTES = 1 << 30  # of all files in a packed tar


class Tar(NamedTuple):
    """A tar: its files and links by name, and the contents of the files if it is packed."""

    archive: tarfile.TarFile
    members: dict[str, tarfile.TarInfo]
    contents: dict[str, bytes]

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            UnreadablePicture: It is a link, or too large.
        """
        return self.contents[name] if name in self.contents else _read(self.archive, self.members[name])


class _BoundedReads:
    """A file of which no more is read at a time than of a picture: a tar may announce a name of gigabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > MAX_FILE_BYTES:
            raise tarfile.ReadError(f"a part has {size >> 20:,} MB")
        return self._file.read(size)


@contextmanager
def open_tar(path: Path) -> Iterator[Tar]:
    """List a tar. The files of a packed one are held in memory: to read them in another order, each would be unpacked
    from the start.

    Raises:
        DatasetError: It expands beyond measure.
    """
    packed = kind_of(first_bytes(path)) == GZIP
    with gzip.open(path) if packed else path.open("rb") as file:
        archive = bounded_tar(cast(BinaryIO, file))
        tar, n_bytes = Tar(archive, {}, {}), 0
        for member in members(archive):
            name, n_bytes = PurePosixPath(member.name).as_posix(), n_bytes + member.size
            check_expansion(path, n_bytes)
            if packed and n_bytes > MAX_PACKED_BYTES:
                raise DatasetError(f"'{path}' holds more than {MAX_PACKED_BYTES >> 30} GB; unpack it (tar -xf)")
            if not member.isdir():
                tar.members[name] = member
            if packed and member.isreg() and member.size <= MAX_FILE_BYTES:
                tar.contents[name] = _read(archive, member)
        yield tar


def bounded_tar(file: BinaryIO) -> tarfile.TarFile:
    """Return a tar of which no more is read at a time than of a picture.

    Raises:
        tarfile.TarError: It is damaged.
    """
    with _damage_reported():
        return tarfile.TarFile(fileobj=cast(BinaryIO, _BoundedReads(file)))


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the files, folders and links of a tar.

    Raises:
        tarfile.TarError: It is damaged.
    """
    while True:
        with _damage_reported():
            member = archive.next()
        if member is None:
            return
        yield member


@contextmanager
def _damage_reported() -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, LookupError, ValueError) as error:  # of damaged headers
        raise tarfile.ReadError(str(error)) from error


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    check_file_size(member.name, member.size)
    if not member.isreg():
        raise UnreadablePicture(f"'{member.name}' is a link or no file; links are not followed")
    with _damage_reported():
        stream = archive.extractfile(member)
        return b"" if stream is None else stream.read(member.size)


def check_file_size(name: str, size: int) -> None:
    """Check the size of a picture or list before it is read.

    Raises:
        UnreadablePicture: It is too large.
    """
    if size > MAX_FILE_BYTES:
        raise UnreadablePicture(f"'{name}' has {size >> 20:,} MB; expected at most {MAX_FILE_BYTES >> 20:,} MB")
