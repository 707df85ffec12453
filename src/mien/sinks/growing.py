"""Files that can be read while they are written."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from mien.errors import OutputError


class GrowingFile:
    """A file that holds all that was written at any moment, so that it can be read during a long run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: BinaryIO | None = None

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
                self._file = self.path.open("wb")
            if at is not None:
                self._file.seek(at)
            self._file.write(data)
            self._file.flush()
            if at is not None:
                self._file.seek(0, io.SEEK_END)
        except OSError as error:
            self._close()
            raise OutputError(f"cannot write '{self.path}': {error.strerror or error}; choose another place") from error

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # all was flushed; failures were raised then
                self._file.close()
