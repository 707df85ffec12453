"""Frames of videos, with their times. BGR ends here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mien.errors import InputError
from mien.files import printable
from mien.sources.media import Media
from mien.sources.paths import FORMATS, check_size
from mien.sources.quiet import quiet
from mien.structures import Frame

FALLBACK_FPS = 25.0  # for containers that give neither times nor a rate


@contextmanager
def opened_video(path: Path) -> Iterator[tuple[Media, Iterator[Frame]]]:
    """Open a video for its properties and its frames, which come upright; close it at the end.

    Raises:
        InputError: FFmpeg cannot open it, or it has no frames.
        UnreadablePicture: Its frames are too large.
    """
    with plain_name(path) as name:
        with quiet():
            video = cv2.VideoCapture(name)
        try:
            if not video.isOpened():
                raise InputError(
                    f"cannot open '{printable(path)}' as a video; expected one that FFmpeg reads, or a picture "
                    f"({FORMATS}): is it whole?"
                )
            video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
            media = _media(video)
            check_size(printable(path), *media.size)
            yield media, _frames(video, path)
        finally:
            video.release()


def _media(video: cv2.VideoCapture) -> Media:
    size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    return Media("video", size, count if count > 0 else None, _rate(video))


def _frames(video: cv2.VideoCapture, path: Path) -> Iterator[Frame]:
    rate = _rate(video)
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
    """Return the time in seconds of the frame just read; times increase even where the file's own don't."""
    time = float(video.get(cv2.CAP_PROP_POS_MSEC)) / 1000
    if index == 0:
        return max(time, 0.0)
    return time if time > last else last + 1 / rate


def _rate(video: cv2.VideoCapture) -> float:
    """Return the average frames per second, 25 where the file gives none."""
    rate = float(video.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate <= 1000 else FALLBACK_FPS


@contextmanager
def plain_name(path: Path) -> Iterator[str]:
    """Yield a file name that OpenCV accepts: absolute, so that "a:b.mp4" isn't taken for a protocol, and UTF-8."""
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
