"""Where frames come from: pictures, animated GIFs, videos, folders, live sources. BGR ends here and in `camera`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2

from mien.errors import InputError
from mien.files import printable
from mien.sources.address import parse_source
from mien.sources.paths import FORMATS, PICTURE_SUFFIXES, cannot_read, list_files, read_bytes, status_of
from mien.sources.picture_header import picture_format
from mien.sources.pictures import checked_header, gif_length, read_picture
from mien.sources.videos import opened_video, rate_of, video_frames
from mien.structures import Frame

TEXT = frozenset(b"\t\n\r" + bytes(range(32, 127)))


def frames(source: int | str | Path, *, glob: str | None = None) -> Iterator[Frame]:
    """Yield the frames of a picture, an animated GIF, a video, a folder of these, or a live source, one at a time.

    The time of a video's frame is its own timestamp, so it is right with variable frame rates too; videos
    filmed upright are turned as their file says. In a folder every file is a source of its own: `source`
    is its path, and `time` and `index` start at 0 again. A file that cannot be read ends the stream; to
    skip it, go over `list_files` and call `frames` for each.

    A camera or stream never ends, and gives the newest frame each time; see `camera.Camera`.

    Args:
        source: Path of a file or folder; a camera's index or "/dev/video…"; a URL. See `parse_source`.
        glob: Which files of a folder, at any depth ("*.jpg"); see `list_files`.

    Raises:
        InputError: There is no such path, the folder holds nothing to read, or a video has no frames.
        CameraError: The camera or stream gives nothing; raised when the first frame is asked for.
        UnreadablePicture: See `read_picture`; raised when the file's turn comes.
    """
    parsed = parse_source(source)
    if not isinstance(parsed, Path):
        return _live_frames(parsed)
    return chain.from_iterable(map(_frames_of_file, list_files(parsed, glob=glob)))


def is_video(path: str | Path) -> bool:
    """Tell whether a file holds moving pictures: a GIF with several, or a file that is no picture.

    Raises:
        InputError: The file cannot be read.
        UnreadablePicture: It is a damaged GIF.
    """
    path = Path(path)
    kind = _kind(path)
    return kind == "video" or (kind == "GIF" and gif_length(path) > 1)


def frame_count(path: str | Path) -> int | None:
    """Return how many frames a file announces (a progress bar's total), 1 for a picture, None if it is unknown.

    Raises:
        InputError: The file cannot be read.
        UnreadablePicture: It is a damaged GIF.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "GIF":
        return gif_length(path)
    if kind != "video":
        return 1
    with opened_video(path) as video:
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    return count if count > 0 else None


def frame_rate(path: str | Path) -> float:
    """Return the frames per second of a video or GIF on average; 25 where the file does not tell.

    Raises:
        InputError: The file cannot be read as a video.
    """
    with opened_video(Path(path)) as video:
        return rate_of(video)


def _live_frames(source: int | str) -> Iterator[Frame]:
    from mien.sources.camera import Camera  # which reads files by this module

    with Camera(source) as camera:
        yield from camera


def _frames_of_file(path: Path) -> Iterator[Frame]:
    kind = _kind(path)
    if kind == "GIF":
        checked_header(path, read_bytes(path))
    if kind in ("GIF", "video"):
        return video_frames(path)
    return iter([Frame(read_picture(path), time=0.0, index=0, source=str(path))])


def _kind(path: Path) -> str:
    """Return "GIF", "picture" or "video", by the first bytes; where they tell nothing, by the suffix."""
    status_of(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise cannot_read(path, error) from error
    if found := picture_format(start):
        return "GIF" if found == "GIF" else "picture"
    if not start or path.suffix.lower() in PICTURE_SUFFIXES:
        return "picture"  # an empty or false one; reading it says so
    if all(byte in TEXT for byte in start):  # FFmpeg would draw a text, and open what a playlist names
        raise InputError(f"'{printable(path)}' is a text; expected a video or a picture ({FORMATS})")
    return "video"
