"""Videos read by time ranges, which together give each frame once, with the index and time it has in the whole video.

Frames before a range are decoded, but neither converted nor recognised: seeking is not exact, see docs/decisions/0051.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from mien.sources.frames import opened_since
from mien.sources.media import WHOLE, FrameSelection, Media, TimeRange
from mien.structures import Frame


class RangeReader:
    """Opens files one after the other, a context manager; ranges of one video in order read it on, not from its start.

    Args:
        selection: The frames of videos that are read.
    """

    def __init__(self, selection: FrameSelection) -> None:
        self._selection = selection
        self._stack = ExitStack()
        self._file: object = None  # identity of the file that is open, at the end of a range
        self._since = 0.0  # start of the range
        self._read = 0.0  # time up to which the open file has been read
        self._media: Media
        self._frames: Iterator[Frame]
        self._ahead: Frame | None = None  # the first frame after the range, already decoded

    def open(self, path: Path, within: TimeRange = WHOLE) -> tuple[Media, Iterator[Frame]]:
        """Return a file's properties and the frames of a range; they are read before the next file is opened.

        Raises:
            InputError: See `sources.open_media`. Errors about a whole video are those of its first range.
        """
        file = _identity(path)
        self._since = within.start
        if file is None or file != self._file or within.start < self._read:
            self.close()
            opened = opened_since(path, self._selection, since=lambda: self._since)
            self._media, self._frames = self._stack.enter_context(opened)
        self._file = None  # until the end of the range
        return self._media, self._within(within, file)

    def close(self) -> None:
        """Close the file that is open."""
        self._stack.close()
        self._file, self._read, self._ahead = None, 0.0, None

    def _within(self, within: TimeRange, file: object) -> Iterator[Frame]:
        finished = False
        try:
            while (frame := self._ahead or next(self._frames, None)) is not None:
                if within.stop is not None and frame.time >= within.stop:
                    self._ahead, self._file, self._read, finished = frame, file, within.stop, True
                    return
                self._ahead = None
                if frame.time >= within.start:
                    yield frame
        finally:
            if not finished:
                self.close()

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _identity(path: Path) -> object:
    with suppress(OSError):
        found = path.stat()
        return path, found.st_ino, found.st_size, found.st_mtime_ns
    return None
