"""Silence for OpenCV and FFmpeg, which print errors to stderr that callers raise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import cv2


class _Silence:
    """Counts blocks: OpenCV's log level is global, so the first block lowers it and the last to end restores it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks = 0
        self._undo = ExitStack()

    def begin(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks > 1:
                return
            log = getattr(cv2.utils, "logging", cv2)  # before OpenCV 4.13 its functions were in cv2 itself
            self._undo.callback(log.setLogLevel, log.getLogLevel())
            log.setLogLevel(0)  # silent
            if "OPENCV_FFMPEG_LOGLEVEL" not in os.environ:  # OpenCV reads it once, when it opens the first video
                os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # AV_LOG_QUIET
                self._undo.callback(os.environ.pop, "OPENCV_FFMPEG_LOGLEVEL", None)

    def end(self) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self._undo.close()


_SILENCE = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV and FFmpeg from printing to stderr; safe in any thread."""
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()
