"""Videos as files of a constant rate."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

import cv2

from mien.errors import ConfigError, InputError, OutputError
from mien.files import atomic_path
from mien.pixels import fit_exactly, to_bgr
from mien.sources.frames import inspect
from mien.sources.quiet import quiet
from mien.structures import ImageArray

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


class VideoSink:
    """Writes a video, one frame for each picture given; the file appears, whole, when the block ends.

    It also appears when Ctrl+C ends the block, with what was written until then, but not after another error, nor
    without any frame. Of a stream that may end in any way, see `LiveVideoSink`.

    Args:
        path: Ends in .mp4, .mov, .mkv (MPEG-4) or .avi (Motion JPEG).
        fps: Frames per second.
        size: Width and height in pixels; those of the first picture when None. Others are resized to it. Odd
            sides gain a pixel, since the codecs want even ones.

    Raises:
        ConfigError: fps or size are out of range.
        OutputError: Another suffix, or the file cannot be written.

    Example:
        >>> with VideoSink("seen.mp4", fps=25) as sink:
        ...     sink.write(image)
    """

    def __init__(self, path: str | Path, *, fps: float, size: tuple[int, int] | None = None) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in CODECS:
            raise OutputError(f"cannot write '{path}': unknown video suffix; choose from {', '.join(CODECS)}")
        if not 0 < fps <= 1000:
            raise ConfigError(f"fps is {fps}; expected more than 0, at most 1000")
        if size is not None and min(size) < 1:
            raise ConfigError(f"video size is {size}; expected positive width and height")
        self.fps = fps
        self.size = size
        self._stack = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._n_written = 0

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._stack.close()
        else:
            self._stack.__exit__(kind, error, trace)

    def write(self, image: ImageArray) -> None:
        """Append a picture.

        Args:
            image: RGB uint8 (H, W, 3).

        Raises:
            OutputError: The file cannot be written.
        """
        width, height = self.size or (image.shape[1], image.shape[0])
        size = (width + width % 2, height + height % 2)
        if self._writer is None:
            self.size = size
            self._writer = self._open(size)
        self._writer.write(fit_exactly(to_bgr(image), size))
        self._n_written += 1

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        temporary = self._stack.enter_context(atomic_path(self.path))
        self._stack.push(partial(self._check, temporary))  # runs after the release
        codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        with quiet():
            writer = cv2.VideoWriter(str(temporary), codec, self.fps, size)
        self._stack.callback(writer.release)  # runs before the file is put into place
        if not writer.isOpened():
            raise OutputError(
                f"cannot write '{self.path}': this OpenCV cannot encode {size[0]}x{size[1]} pixels there; "
                "choose .avi or another name"
            )
        return writer

    def _check(self, written: Path, kind: type[BaseException] | None, *_: object) -> None:
        """Make sure that all is in the file: OpenCV tells nobody that a disk is full."""
        there = None
        with suppress(InputError):
            there = inspect(written).frames
        if kind is None and there != self._n_written:
            raise OutputError(f"cannot write all of '{self.path}'; make room there or choose another place")
