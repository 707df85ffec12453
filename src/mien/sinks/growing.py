"""Files that can be read while they are written."""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType

from mien.errors import OutputError
from mien.files import as_path, lock

_REASONS: dict[int | None, str] = {
    errno.EAGAIN: "another process is writing it",
    errno.ENXIO: "it is a pipe that no program reads",
}


class GrowingFile:
    """A file that holds all that was written at any moment, so that it can be read during a long run.

    One process writes it at a time, where files can be locked, as on Unix. On a full disk it ends with the last part
    that was written whole, such as a row.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = as_path(path)
        self._file: FileIO | None = None
        self._length = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _append(self, data: bytes, *, at: int | None = None) -> None:
        """Write data and flush it; the first call creates the file.

        Args:
            data: Bytes to append.
            at: Position where they replace others instead.
        """
        try:
            if self._file is None:
                self._file = _open_alone(self.path)
            if at is None:
                _write(self._file, data)
                self._length += len(data)
            else:
                self._file.seek(at)
                _write(self._file, data)
                self._file.seek(0, io.SEEK_END)
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):  # of a device
                    self._file.truncate(self._length)
            self._close()
            reason = _REASONS.get(error.errno, error.strerror or error)
            raise OutputError(f"cannot write '{self.path}': {reason}; choose another place") from error

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # nothing is buffered
                self._file.close()


def _write(file: FileIO, data: bytes) -> None:
    """Write all data: a disk that is nearly full takes a part first."""
    while data:
        data = data[file.write(data) :]


def _open_alone(path: Path) -> FileIO:
    """Open a file and empty it, once it is locked: two processes would write into each other's lines.

    A pipe needs a reader; opening one without would wait for it.

    Raises:
        BlockingIOError: Another process writes it.
        OSError: It cannot be opened.
    """
    no_wait = getattr(os, "O_NONBLOCK", 0)  # not on Windows
    file = FileIO(path, "wb", opener=lambda name, flags: os.open(name, flags & ~os.O_TRUNC | no_wait, 0o666))
    try:
        if no_wait:
            os.set_blocking(file.fileno(), True)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            lock(file.fileno())
            file.truncate(0)
    except OSError:
        file.close()
        raise
    return file
