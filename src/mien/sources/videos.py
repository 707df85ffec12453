"""Frames of videos, with their times. BGR ends here."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from mien.errors import InputError
from mien.files import printable
from mien.quiet import quiet
from mien.sources.media import FrameSelection, Media
from mien.sources.paths import FORMATS, check_size
from mien.structures import Frame
from mien.warn import warn

MAX_FRAME_PIXELS = 80_000_000  # 12K cameras; decoders hold several frames, some 1.4 GB in all
MAX_ASPECT = 8.0  # of pixels; more is damage
SHORTFALL, MIN_SHORTFALL_SECONDS = 0.02, 0.5  # share of a video, and time, that may be missing without a warning
FALLBACK_FPS = 25.0  # for containers that give neither times nor a rate


@contextmanager
def opened_video(
    path: Path, selection: FrameSelection, *, since: Callable[[], float]
) -> Iterator[tuple[Media, Iterator[Frame]]]:
    """Open a video for its properties and its frames, which come upright, with square pixels; close it at the end.

    Args:
        path: The video.
        selection: The frames that are read.
        since: Gives the time in seconds before which frames are decoded, but not given; asked for each frame.

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
            check_size(printable(path), *media.size, most=MAX_FRAME_PIXELS)
            yield media, _frames(video, path, media, selection, since)
        finally:
            video.release()


def _media(video: cv2.VideoCapture) -> Media:
    size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    return Media("video", _square(size, _pixel_aspect(video)), count if count > 0 else None, _rate(video))


def _pixel_aspect(video: cv2.VideoCapture) -> float:
    """Return the width of an upright pixel relative to its height, 1 where the file gives none."""
    width, height = video.get(cv2.CAP_PROP_SAR_NUM), video.get(cv2.CAP_PROP_SAR_DEN)
    if width <= 0 or height <= 0:
        return 1.0
    turned = int(video.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    aspect = float(height / width if turned else width / height)
    return aspect if 1 / MAX_ASPECT <= aspect <= MAX_ASPECT else 1.0


def _square(size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Return the size at which pixels are square; neither side shrinks."""
    return round(size[0] * max(aspect, 1)), round(size[1] / min(aspect, 1))


def _frames(
    video: cv2.VideoCapture, path: Path, media: Media, selection: FrameSelection, since: Callable[[], float]
) -> Iterator[Frame]:
    rate, wanted = _rate(video), selection.chooser()
    n_read, n_chosen, time = 0, 0, 0.0
    while _grab(video):
        time = _next_time(video, n_read, time, rate)
        if selection.ends_before(time):
            break
        chosen = wanted(time)
        n_chosen += chosen
        if chosen and time >= since():
            with quiet():
                there, bgr = video.retrieve()
            if not there:
                break
            image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            if image.shape[1::-1] != media.size:
                image = cv2.resize(image, media.size, interpolation=cv2.INTER_LINEAR)
            yield Frame(np.asarray(image, np.uint8), time, n_read, str(path))
        n_read += 1
    else:
        if time >= since():
            _warn_if_cut(path, media, n_read, time + 1 / rate)
    if since() > 0:  # errors of the whole video are those of its first range
        return
    if n_read == 0:
        raise InputError(f"'{printable(path)}' has no frame that can be decoded; expected a video or a picture")
    if n_chosen == 0:
        raise no_frame_chosen(path, selection, time)


def _grab(video: cv2.VideoCapture) -> bool:
    with quiet():
        return video.grab()


def no_frame_chosen(path: Path, selection: FrameSelection, last: float) -> InputError:
    """Return the error about a selection in which a video has no frame; its last one read has the given time."""
    return InputError(
        f"'{printable(path)}' has no frame {selection}; its last one is at {last:.2f} s: choose --start and --stop "
        "within it"
    )


def _warn_if_cut(path: Path, media: Media, n_read: int, end: float) -> None:
    """Warn if a video ended before its header says.

    The number of frames alone doesn't tell: in trimmed videos, some are never shown, and many containers give none, so
    that it is estimated from the duration.
    """
    rate = media.rate or FALLBACK_FPS
    if media.frames is None or n_read >= media.frames - max(1, SHORTFALL * media.frames):
        return
    if _is_whole_matroska(path):  # its only duration is that of the longest stream, which may be the sound
        return
    duration = _mp4_seconds(path) or media.frames / rate
    if end < duration - max(2 / rate, SHORTFALL * duration, MIN_SHORTFALL_SECONDS):
        warn(
            f"'{printable(path)}' ends before its header says: {media.frames:,} frames are announced, {n_read:,} were "
            "read; it is cut off or damaged",
            code="video-cut",
            stacklevel=2,
        )


def _is_whole_matroska(path: Path) -> bool:
    """Return whether a file is Matroska or WebM (RFC 9559) with all the bytes that its header announces."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"\x1aE\xdf\xa3":
                return False
            file.seek(_ebml_size(file) or 0, os.SEEK_CUR)
            if file.read(4) != b"\x18S\x80g":
                return False
            size, start = _ebml_size(file), file.tell()
            return size is not None and start + size <= file.seek(0, os.SEEK_END)
    except (OSError, ValueError, IndexError):
        return False


def _ebml_size(file: BinaryIO) -> int | None:
    """Read the size of an element (RFC 8794, section 6); None where it is unknown, as in a live recording."""
    first = file.read(1)[0]
    length = 9 - first.bit_length()
    bits = (1 << 7 * length) - 1
    size = int.from_bytes(bytes([first]) + file.read(length - 1), "big") & bits
    return None if size == bits else size


def _mp4_seconds(path: Path) -> float | None:
    """Return the duration in the header of an MP4 or QuickTime file (ISO 14496-12, mvhd); None for others."""
    try:
        with path.open("rb") as file:
            while len(head := file.read(8)) == 8:
                size, kind = struct.unpack(">I4s", head)
                if kind == b"moov":
                    box = file.read(40)
                    version, layout = (box[8], ">12xII") if box[8] == 0 else (box[8], ">20xIQ")
                    scale, duration = struct.unpack_from(layout, box, 8)
                    return float(duration / scale) if box[4:8] == b"mvhd" and version <= 1 and scale else None
                if size == 1:
                    size = struct.unpack(">Q", file.read(8))[0] - 8
                if size < 8:
                    return None
                file.seek(size - 8, os.SEEK_CUR)
    except (OSError, ValueError, struct.error, IndexError, OverflowError):
        return None
    return None


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
