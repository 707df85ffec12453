"""Frames of pictures, animations, videos, folders and live sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from mien.errors import InputError
from mien.files import as_path, printable
from mien.sources.address import parse_source
from mien.sources.content import HEADER_BYTES, SOUND, decoder_of, is_video, kind_of
from mien.sources.media import ALL_FRAMES, FrameSelection, Media
from mien.sources.paths import FORMATS, PICTURE_SUFFIXES, list_files, opened_file
from mien.sources.pictures import picture_and_frames
from mien.sources.videos import opened_video
from mien.structures import Frame

MOTION_JPEG = frozenset({".mjpg", ".mjpeg"})  # a video that begins as a picture does


def inspect(path: str | Path) -> Media:
    """Return the kind, size, number of frames and frame rate of a file, without decoding its frames.

    Raises:
        InputError: The file cannot be read.
        UnreadablePicture: Its header is damaged, or it is too large.
    """
    with open_media(path) as (media, _):
        return media


@contextmanager
def open_media(path: str | Path, *, selection: FrameSelection = ALL_FRAMES) -> Iterator[tuple[Media, Iterator[Frame]]]:
    """Open a picture or video file once, for its properties and its frames; close it at the end.

    Args:
        path: The file.
        selection: The frames of a video that are read; their indices and times are those of the whole video.

    Raises:
        InputError: The file cannot be read; found when the frames are read: it has none, or none in the selection.
        UnreadablePicture: See `read_picture`; a damaged end is found when the frames are read.

    Example:
        >>> with open_media("clip.mp4") as (media, frames):
        ...     for frame in frames:
        ...         print(frame.index, "of", media.frames)
    """
    with opened_since(as_path(path), selection, since=lambda: 0.0) as opened:
        yield opened


@contextmanager
def opened_since(
    path: Path, selection: FrameSelection, *, since: Callable[[], float]
) -> Iterator[tuple[Media, Iterator[Frame]]]:
    """Open a file like `open_media`; a video's frames before `since()` are passed over, see `opened_video`."""
    with opened_file(path) as file:
        if _is_video(file, path):
            with opened_video(path, selection, since=since) as video:
                yield video
        else:
            yield picture_and_frames(file, path, selection)


def frames(
    source: int | str | Path, *, glob: str | None = None, selection: FrameSelection = ALL_FRAMES
) -> Iterator[Frame]:
    """Yield the frames of a picture, animation, video, folder or live source, one at a time.

    A video's frames have their own timestamps, at variable frame rates too, are turned upright and have square pixels,
    as the file says. A warning says if it ends before its header says.
    In a folder every file is a source of its own: `source` is its path, and `time` and `index` start at 0 again. A
    file that cannot be read ends the stream; to skip it, loop over `list_files` and call `frames` for each.

    A camera or stream never ends, and gives the newest frame each time; see `Camera`.

    Args:
        source: Path of a file or folder; a camera's index or "/dev/video…"; a URL. See `parse_source`.
        glob: Pattern for a folder's files, at any depth ("*.jpg"); see `list_files`.
        selection: The frames of videos that are read; see `FrameSelection`. A live source gives all.

    Raises:
        InputError: There is no such path, the folder holds nothing to read, or a video has no frames.
        CameraError: The camera or stream gives nothing; raised when the first frame is asked for.
        UnreadablePicture: See `read_picture`; raised when the file's turn comes.
    """
    parsed = parse_source(source)
    if not isinstance(parsed, Path):
        return _live_frames(parsed)
    return chain.from_iterable(_frames_of_file(path, selection) for path in list_files(parsed, glob=glob))


def _live_frames(source: int | str) -> Iterator[Frame]:
    from mien.sources.camera import Camera  # which reads files by this module

    with Camera(source) as camera:
        yield from camera


def _frames_of_file(path: Path, selection: FrameSelection) -> Iterator[Frame]:
    with open_media(path, selection=selection) as (_, stream):
        yield from stream


def _is_video(file: BinaryIO, path: Path) -> bool:
    """Decide by the first bytes whether FFmpeg reads a file; where they are unknown, by the suffix.

    Raises:
        InputError: It is of another kind, such as a text, which FFmpeg would draw, or whose playlist it would open.
    """
    start = file.read(HEADER_BYTES)
    file.seek(0)
    suffix = path.suffix.lower()
    decoder = decoder_of(start)
    if not start or decoder is not None:
        return decoder == "JPEG" and suffix in MOTION_JPEG
    if suffix in PICTURE_SUFFIXES:
        return kind_of(start) is None and is_video(start)
    if kind := kind_of(start):
        hint = "; `mien listen` hears it" if kind == SOUND else ""
        raise InputError(f"'{printable(path)}' is {kind}; expected a video or a picture ({FORMATS}){hint}")
    return True
