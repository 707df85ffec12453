"""Silence for OpenCV, FFmpeg and libraries of pictures and sound, which print errors to stderr that callers raise."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from threading import Lock
from types import TracebackType

import cv2


class _Silence(AbstractContextManager[None]):
    """Counts blocks: what is silenced is global, so the first block silences it and the last to end restores it.

    Args:
        begin: Silences, and pushes what restores it on a stack.
    """

    def __init__(self, begin: Callable[[ExitStack], None]) -> None:
        self._begin = begin
        self._lock = Lock()
        self._blocks = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1:
                self._begin(self._undo)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self._undo.close()


def _silence_opencv(undo: ExitStack) -> None:
    log = getattr(cv2.utils, "logging", cv2)  # before OpenCV 4.13 its functions were in cv2 itself
    undo.callback(log.setLogLevel, log.getLogLevel())
    log.setLogLevel(0)  # silent
    if "OPENCV_FFMPEG_LOGLEVEL" not in os.environ:  # OpenCV reads it once, when it opens the first video
        os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # AV_LOG_QUIET
        undo.callback(os.environ.pop, "OPENCV_FFMPEG_LOGLEVEL", None)


def _silence_c(undo: ExitStack) -> None:
    """Let C's variable `stderr` point to a file that leads nowhere.

    The file descriptor stays as it is, and with it Python's sys.stderr, in all threads.
    """
    found = _c_stderr()
    if found is None:
        return
    variable, nowhere = found
    undo.callback(setattr, variable, "value", variable.value)
    variable.value = nowhere


@cache
def _c_stderr() -> tuple[ctypes.c_void_p, int] | None:
    """Return C's variable `stderr`, and an open /dev/null; None where it cannot be replaced.

    In musl it is a constant; in Windows each library may have its own.
    """
    if sys.platform == "win32":
        return None
    c = ctypes.CDLL(None)
    if sys.platform != "darwin" and not hasattr(c, "gnu_get_libc_version"):
        return None
    c.fopen.restype = ctypes.c_void_p
    nowhere: int | None = c.fopen(b"/dev/null", b"w")  # never closed: another thread may be printing to it
    name = "__stderrp" if sys.platform == "darwin" else "stderr"
    return None if nowhere is None else (ctypes.c_void_p.in_dll(c, name), nowhere)


_OPENCV, _C = _Silence(_silence_opencv), _Silence(_silence_c)


def quiet() -> AbstractContextManager[None]:
    """Keep OpenCV and FFmpeg from printing to stderr; safe in any thread."""
    return _OPENCV


def silent_libraries() -> AbstractContextManager[None]:
    """Keep libraries that have no switch for it from printing to stderr: PortAudio, ALSA, libmpg123, libtiff.

    Safe in any thread; errors of Python are printed meanwhile, those of other C libraries are not.
    """
    return _C
