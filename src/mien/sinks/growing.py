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

    def __init__(self, path: str | Path, *, resume: bool = False) -> None:
        self.path = as_path(path)
        self._resume = resume  # whether the file is continued, not emptied
        self._file: FileIO | None = None
        self._length = 0
        self.found = 0  # bytes that were there when it was opened to be continued

    @property
    def length(self) -> int:
        """Bytes written, and those that were there before where the file is continued."""
        return self._length

    def cut(self, length: int) -> None:
        """Remove all after the first `length` bytes.

        Raises:
            OutputError: The file cannot be written.
        """
        if length < self._length and self._file is not None:
            try:
                self._file.truncate(length)
                self._file.seek(length)
            except OSError as error:
                raise self._failed(error) from error
            self._length = length

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
                self._file = _open_alone(self.path, keep=self._resume)
                self._length = self.found = self._file.seek(0, io.SEEK_END) if self._resume else 0
            if at is None:
                write_all(self._file, data)
                self._length += len(data)
            else:
                self._file.seek(at)
                write_all(self._file, data)
                self._file.seek(0, io.SEEK_END)
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):  # of a device
                    self._file.truncate(self._length)
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        self._close()
        reason = _REASONS.get(error.errno, error.strerror or error)
        return OutputError(f"cannot write '{self.path}': {reason}; choose another place")

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # nothing is buffered
                self._file.close()


def write_all(file: FileIO, data: bytes) -> None:
    """Write all data: a disk that is nearly full takes a part first."""
    while data:
        data = data[file.write(data) :]


def _open_alone(path: Path, *, keep: bool) -> FileIO:
    """Open a file and empty it unless it is kept, once it is locked: two processes would write into each other's lines.

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
            if not keep:
                file.truncate(0)
    except OSError:
        file.close()
        raise
    return file
