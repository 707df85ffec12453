"""Frames of videos and animated GIFs, with their times."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mien.errors import InputError
from mien.files import printable
from mien.sources.paths import FORMATS, check_size, status_of
from mien.sources.quiet import quiet
from mien.structures import Frame

FALLBACK_FPS = 25.0  # for containers that give neither times nor a rate


def video_frames(path: Path) -> Iterator[Frame]:
    with opened_video(path) as video:
        rate = rate_of(video)
        index, time = 0, 0.0
        while True:
            with quiet():
                there, bgr = video.read()
            if not there:
                break
            time = _next_time(video, index, time, rate)
            yield Frame(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), time, index, str(path))
            index += 1
    if index == 0:
        raise InputError(f"'{printable(path)}' has no frame that can be decoded; expected a video or a picture")


def _next_time(video: cv2.VideoCapture, index: int, last: float, rate: float) -> float:
    """Return the time of the frame just read, in seconds; later than the last one, whatever the file says."""
    time = float(video.get(cv2.CAP_PROP_POS_MSEC)) / 1000
    if index == 0:
        return max(time, 0.0)
    return time if time > last else last + 1 / rate


def rate_of(video: cv2.VideoCapture) -> float:
    rate = float(video.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate <= 1000 else FALLBACK_FPS


@contextmanager
def opened_video(path: Path) -> Iterator[cv2.VideoCapture]:
    """Open a video with its rotation applied; close it at the end."""
    if stat.S_ISDIR(status_of(path).st_mode):
        raise InputError(f"'{printable(path)}' is a folder; expected a video file")
    with _plain_name(path) as name:
        with quiet():
            video = cv2.VideoCapture(name)
        try:
            if not video.isOpened():
                raise InputError(
                    f"cannot open '{printable(path)}' as a video; expected one that FFmpeg reads, or a picture "
                    f"({FORMATS}): is it whole?"
                )
            video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
            width, height = video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)
            check_size(path, int(width), int(height))
            yield video
        finally:
            video.release()


@contextmanager
def _plain_name(path: Path) -> Iterator[str]:
    """Yield a name of the file that OpenCV takes: absolute, so that "a:b.mp4" is no protocol, and UTF-8."""
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="mien-") as folder:
            link = Path(folder) / "video"
            link.symlink_to(name)
            yield str(link)
    else:
        yield name
