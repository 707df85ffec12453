"""Encoders of video files: PyAV's where it is installed, else OpenCV's."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import cv2

from mien.errors import UnwritableImage, install_command
from mien.files import counted
from mien.pixels import to_bgr
from mien.quiet import quiet, silent_libraries
from mien.sources.videos import plain_name
from mien.structures import ImageArray
from mien.warn import warn

# VP8 plays in browsers too, but OpenCV encodes 25 frames of 640x480 per second on two cores; of VP9 6, of MPEG-4 260.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".webm": "VP80", ".avi": "MJPG"}
# Longest time between two images at a constant rate, filled by repeating one of them: the frames written per image stay
# bounded, whatever delays a file states (65,535 s in an animated PNG).
MAX_GAP_SECONDS = 10.0
# Pixels a side that each codec can hold, of even ones. FFmpeg refuses more; Motion JPEG's 16 bits would be cut off.
MAX_SIDES = {"H.264": 16_384, "VP9": 65_536, "MPEG-4 Part 2": 8190, "VP8": 16_382, "Motion JPEG": 65_500}
CODEC_NAMES = {"mp4v": "MPEG-4 Part 2", "VP80": "VP8", "MJPG": "Motion JPEG"}


class Encoder(Protocol):
    """Appends images to a video file."""

    def write(self, image: ImageArray, time: float) -> None: ...
    def close(self) -> None: ...


def open_encoder(
    path: Path, *, fps: float, size: tuple[int, int], sound: Path | None, sound_start: float = 0.0
) -> Encoder:
    """Open the best encoder for a file's suffix.

    Args:
        path: The file to write.
        fps: Frames per second.
        size: Width and height, even.
        sound: Video whose sound is copied, where PyAV is installed.
        sound_start: Its time in seconds that is the start of the file.

    Raises:
        OSError: The file cannot be written.
        UnwritableImage: The codec cannot hold images of this size; the message is the reason alone.
    """
    suffix = path.suffix.lower()
    check_size(suffix, size)
    if _has_pyav(suffix):
        from mien.sinks.pyav import PyAvEncoder

        return PyAvEncoder(path, fps=fps, size=size, sound=sound, sound_start=sound_start)
    if CODECS[suffix] == "mp4v":
        _warn_of_mpeg4()
    return OpenCvEncoder(path, fps=fps, size=size)


def check_size(suffix: str, size: tuple[int, int]) -> None:
    """Refuse images with more pixels a side than the codec of a video can hold.

    Args:
        suffix: Of the video, in lower case.
        size: Width and height.

    Raises:
        UnwritableImage: They have.
    """
    modern = "VP9" if suffix == ".webm" else "H.264"
    codec = modern if _has_pyav(suffix) else CODEC_NAMES[CODECS[suffix]]
    if max(size) > MAX_SIDES[codec]:
        raise UnwritableImage(f"{codec} has at most {MAX_SIDES[codec]:,} pixels a side; make the video smaller")


def _has_pyav(suffix: str) -> bool:
    return suffix != ".avi" and find_spec("av") is not None


@cache  # once per process
def _warn_of_mpeg4() -> None:
    warnings.warn(
        "videos are written as MPEG-4 Part 2, which browsers don't play, and without sound; a .webm plays, and H.264 "
        f"with sound needs the 'video' extra: {install_command('video')}",
        stacklevel=4,
    )


class OpenCvEncoder:
    """Encodes at a constant rate, without sound: at each tick the newest image until then.

    The time of the first image is the start. Images that follow faster than the rate are left out, and gaps of more
    than `MAX_GAP_SECONDS` shortened, with warnings.
    """

    def __init__(self, path: Path, *, fps: float, size: tuple[int, int]) -> None:
        fps = max(fps, 1 / MAX_GAP_SECONDS)  # OpenCV writes no file of 0.001 per second
        self._path, self._fps, self._n_written, self._n_left_out = path, fps, 0, 0
        self._longest_gap = round(MAX_GAP_SECONDS * fps)  # in ticks
        self._n_gaps, self._cut = 0, 0  # gaps that were shortened, and the ticks that they lost
        self._start: float | None = None
        self._last: ImageArray | None = None  # BGR, not written yet
        self._stack = ExitStack()
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        with quiet(), silent_libraries():
            self._writer = cv2.VideoWriter(self._stack.enter_context(plain_name(path)), codec, fps, size)
        if not self._writer.isOpened():
            self._stack.close()
            raise UnwritableImage(f"this OpenCV cannot encode {size[0]}x{size[1]} pixels there; choose another format")

    def write(self, image: ImageArray, time: float) -> None:
        """Append an image at the tick nearest to its time in seconds; the image before fills the ticks until then."""
        if self._start is None:
            self._start = time
        tick = round((time - self._start) * self._fps) - self._cut
        if self._last is not None and tick > (latest := self._n_written + self._longest_gap):
            self._n_gaps, self._cut, tick = self._n_gaps + 1, self._cut + tick - latest, latest
        self._n_left_out += self._last is not None and tick <= self._n_written
        while self._last is not None and self._n_written < tick:
            self._write(self._last)
        self._last = to_bgr(image)

    def _write(self, image: ImageArray) -> None:
        self._writer.write(image)
        self._n_written += 1  # one too low if Ctrl+C came before

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: Frames are missing: OpenCV doesn't report that a disk is full.
        """
        if self._last is not None:
            self._write(self._last)
        self._writer.release()
        self._stack.close()
        if _count_frames(self._path) < self._n_written:  # its header may announce those that are missing
            raise OSError("the file is incomplete")
        if self._n_left_out:
            warn(
                f"{self._n_left_out:,} images at uneven times were left out of a video of constant rate; the 'video' "
                f"extra keeps all: {install_command('video')}",
                code="frames-left-out",
                stacklevel=2,
            )
        if self._n_gaps:
            warn_of_gaps(self._n_gaps, MAX_GAP_SECONDS)


def warn_of_gaps(n: int, longest: float) -> None:
    """Warn of gaps between images that were shortened.

    Args:
        n: Their number.
        longest: Seconds that were kept of each.
    """
    warn(
        f"{counted(n, 'gap')} between two images shortened to {longest:,g} s in a video, so that times after it are "
        "too early; a table has those of the original",
        code="gap-shortened",
        stacklevel=3,
    )


def _count_frames(path: Path) -> int:
    with quiet(), plain_name(path) as name:
        video, n = cv2.VideoCapture(name), 0
        while video.grab():
            n += 1
        video.release()
    return n
