"""Frames of pictures, animations, videos, folders and live sources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from mien.errors import InputError
from mien.files import printable
from mien.sources.address import parse_source
from mien.sources.media import Media
from mien.sources.paths import FORMATS, PICTURE_SUFFIXES, as_path, list_files, opened_file
from mien.sources.pictures import HEADER_BYTES, decoder_of, picture_and_frames
from mien.sources.videos import opened_video
from mien.structures import Frame

TEXT = frozenset(b"\t\n\r" + bytes(range(32, 127)))
TEXT_PICTURE = re.compile(rb"P[1-6]\s")  # PNM


def inspect(path: str | Path) -> Media:
    """Return the kind, size, number of frames and frame rate of a file, without decoding its frames.

    Raises:
        InputError: The file cannot be read.
        UnreadablePicture: Its header is damaged, or it is too large.
    """
    with open_media(path) as (media, _):
        return media


@contextmanager
def open_media(path: str | Path) -> Iterator[tuple[Media, Iterator[Frame]]]:
    """Open a picture or video file once, for its properties and its frames; close it at the end.

    Raises:
        InputError: The file cannot be read.
        UnreadablePicture: See `read_picture`; a damaged end is found when the frames are read.

    Example:
        >>> with open_media("clip.mp4") as (media, frames):
        ...     for frame in frames:
        ...         print(frame.index, "of", media.frames)
    """
    path = as_path(path)
    with opened_file(path) as file:
        if _is_video(file, path):
            with opened_video(path) as video:
                yield video
        else:
            yield picture_and_frames(file, path)


def frames(source: int | str | Path, *, glob: str | None = None) -> Iterator[Frame]:
    """Yield the frames of a picture, animation, video, folder or live source, one at a time.

    A video's frames have their own timestamps, at variable frame rates too, and are turned upright as the file says.
    In a folder every file is a source of its own: `source` is its path, and `time` and `index` start at 0 again. A
    file that cannot be read ends the stream; to skip it, loop over `list_files` and call `frames` for each.

    A camera or stream never ends, and gives the newest frame each time; see `Camera`.

    Args:
        source: Path of a file or folder; a camera's index or "/dev/video…"; a URL. See `parse_source`.
        glob: Pattern for a folder's files, at any depth ("*.jpg"); see `list_files`.

    Raises:
        InputError: There is no such path, the folder holds nothing to read, or a video has no frames.
        CameraError: The camera or stream gives nothing; raised when the first frame is asked for.
        UnreadablePicture: See `read_picture`; raised when the file's turn comes.
    """
    parsed = parse_source(source)
    if not isinstance(parsed, Path):
        return _live_frames(parsed)
    return chain.from_iterable(map(_frames_of_file, list_files(parsed, glob=glob)))


def _live_frames(source: int | str) -> Iterator[Frame]:
    from mien.sources.camera import Camera  # which reads files by this module

    with Camera(source) as camera:
        yield from camera


def _frames_of_file(path: Path) -> Iterator[Frame]:
    with open_media(path) as (_, stream):
        yield from stream


def _is_video(file: BinaryIO, path: Path) -> bool:
    """Decide by the first bytes whether FFmpeg reads a file; where they are unknown, by the suffix.

    Raises:
        InputError: It is a text, which FFmpeg would draw, or whose playlist it would open.
    """
    start = file.read(HEADER_BYTES)
    file.seek(0)
    if path.suffix.lower() in PICTURE_SUFFIXES or not start:
        return False
    if all(byte in TEXT for byte in start) and not TEXT_PICTURE.match(start):
        raise InputError(f"'{printable(path)}' is a text file; expected a video or a picture ({FORMATS})")
    return decoder_of(start) is None
