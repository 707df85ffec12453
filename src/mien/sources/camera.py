"""Live sources: cameras, streams, and files played like cameras. Reading gives the newest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

import cv2

from mien.errors import CameraError, ConfigError, InputError
from mien.sources.address import display_name, parse_source
from mien.sources.devices import (
    Opener,
    grab,
    is_recorded,
    open_device,
    opened,
    refusal,
)
from mien.sources.frames import frames
from mien.sources.videos import FALLBACK_FPS
from mien.structures import Frame, ImageArray

CLOSE_SECONDS = 0.8  # longest wait for the thread, which may be stuck in a device
STALL_SECONDS = 3.0  # without a frame until a camera counts as lost; in the dark a webcam still gives 5 per second
State: TypeAlias = Literal["opening", "live", "lost", "ended"]


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """The state of a live source.

    Args:
        state: "opening"; "live"; "lost" (no frames for now; it is reopened); "ended" for good.
        text: The state as a sentence for users; after a failure, its cause.
    """

    state: State
    text: str


class Camera:
    """A live source, read in its own thread: a slow reader misses frames, but never gets old ones.

    A camera or stream that is lost is reopened until it returns or `close` is called; index and time keep increasing.
    A file or folder plays at its own speed, decoded by `sources.frames`.

    Args:
        source: A camera's index or device, a URL, or a path; see `sources.parse_source`.
        as_camera: Accept a path too, and play the file or folder like a camera.
        fps: Frames per second of a folder of pictures.
        loop: Repeat a file or folder.
        retry_seconds: Wait before a lost source is reopened.
        timeout_seconds: Longest time for a stream to open, and to give a frame.
        opener: Opens an index or address; by OpenCV when None.

    Raises:
        InputError: An index out of range, or a path without `as_camera`.
        ConfigError: fps is out of range.

    Example:
        >>> with Camera(0) as camera:
        ...     for frame in camera:
        ...         print(frame.index, frame.time)
    """

    def __init__(
        self,
        source: int | str | Path,
        *,
        as_camera: bool = False,
        fps: float = FALLBACK_FPS,
        loop: bool = False,
        retry_seconds: float = 1.0,
        timeout_seconds: float = 5.0,
        opener: Opener | None = None,
    ) -> None:
        if not 0 < fps <= 1000:
            raise ConfigError(f"fps is {fps}; expected more than 0, at most 1000")
        self.source = parse_source(source)
        if isinstance(self.source, Path) and not as_camera:
            raise InputError(
                f"'{source}' is no camera; expected an index (0), a device (/dev/video0) or a URL (rtsp://…); "
                "a file plays with as_camera=True"
            )
        self._fps, self._loop, self._retry_seconds = fps, loop, retry_seconds
        self._opener = opener or partial(open_device, timeout_seconds=timeout_seconds)
        self._closing = threading.Event()
        self._changed = threading.Condition()  # guards the attributes below
        self._newest: Frame | None = None
        self._newest_at = 0.0  # by time.monotonic
        self._began: float | None = None  # time.monotonic at frame time 0
        self._error: Exception | None = None
        if isinstance(self.source, Path):
            self.name, play = self.source.name or str(self.source), self._play(self.source)
        else:
            self.name, play = display_name(self.source), self._capture(self.source)
        self._status = CameraStatus("opening", f"opening {self.name}")
        self._thread = threading.Thread(target=self._run, args=(play,), name=f"mien: {self.name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frame, each once, until the source ends or is closed; raises the errors of `read`."""
        while not self.ended:
            frame = self.read(timeout=0.5)
            if frame is not None:
                yield frame

    @property
    def status(self) -> CameraStatus:
        """The current state."""
        with self._changed:
            silent = time.monotonic() - self._newest_at
            if self._status.state == "live" and silent > STALL_SECONDS and not isinstance(self.source, Path):
                return CameraStatus("lost", f"no frame from {self.name} for {silent:.0f} seconds; waiting")
            return self._status

    @property
    def ended(self) -> bool:
        """Whether all is read and no more will come."""
        with self._changed:
            return self._status.state == "ended" and self._newest is None and self._error is None

    def clock(self) -> float:
        """Return the time in seconds that a frame captured now would get; 0 before the first frame."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the newest frame if it is new; else wait for one.

        Args:
            timeout: Longest wait in seconds; 0 doesn't wait.

        Returns:
            The frame, or None if none came in time; see `ended`. Its index counts all captured frames. Its time is
            that of the file or of the capture, in seconds since the first frame.

        Raises:
            CameraError: The camera or stream gave no frame from the start: it is missing, busy or forbidden.
            InputError: A file cannot be read. Both are raised once.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._status.state == "ended", timeout)
            frame, self._newest = self._newest, None
            if frame is None and self._error is not None:
                error, self._error = self._error, None
                raise error
            return frame

    def close(self) -> None:
        """End the source within a second; a thread stuck in its device releases the device when it returns."""
        with self._changed:
            self._set_status("ended", f"{self.name} is closed")
            self._newest = self._error = None
            self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self, play: Generator[Frame, None, None]) -> None:
        try:
            with closing(play):
                for frame in play:
                    self._publish(frame)
                    if self._closing.is_set():
                        return
            self._set_status("ended", f"{self.name} has ended")
        except Exception as error:  # bugs of ours too are raised where frames are read, not lost in this thread
            self._set_status("ended", str(error), error=error)

    def _publish(self, frame: Frame) -> None:
        now = time.monotonic()
        with self._changed:
            self._began = now - frame.time if self._began is None else self._began
            self._set_status("live", f"{self.name} is live", frame=frame)
            self._newest_at = now

    def _set_status(
        self, state: State, text: str, *, frame: Frame | None = None, error: Exception | None = None
    ) -> None:
        with self._changed:
            if not self._closing.is_set():
                self._status, self._error = CameraStatus(state, text), error
                self._newest = frame or self._newest
                self._changed.notify_all()

    def _play(self, path: Path) -> Generator[Frame, None, None]:
        """Yield the frames of a file, or of a folder's files in turn, each at its time."""
        start, last, index = 0.0, 0.0, 0
        while index == 0 or self._loop:
            for frame in frames(path):
                if frame.index == 0 and index > 0:  # the next file begins
                    start = last + 1 / self._fps
                last = start + frame.time
                if self._closing.wait(last - self.clock()):
                    return
                yield replace(frame, time=last, index=index)
                index += 1

    def _capture(self, source: int | str) -> Generator[Frame, None, None]:
        for index, image in enumerate(self._images(source)):
            yield Frame(image, self.clock(), index, self.name)

    def _images(self, source: int | str) -> Iterator[ImageArray]:
        """Yield the images that a device captures; reopen it whenever it is lost."""
        seen = recorded = False
        while not self._closing.is_set():
            with opened(source, self._opener) as device:
                if device is not None:
                    recorded = is_recorded(device, source)
                    while (image := grab(device)) is not None:
                        if recorded:
                            self._closing.wait(device.get(cv2.CAP_PROP_POS_MSEC) / 1000 - self.clock())
                        seen = True
                        yield image
            if not seen:
                raise CameraError(refusal(source))
            if recorded:
                return
            self._set_status("lost", f"{self.name} gives no more frames; reopening it")
            self._closing.wait(self._retry_seconds)
