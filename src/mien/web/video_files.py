"""Validation of uploaded videos before FFmpeg opens them: none may name another file or an address."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mien.errors import InputError
from mien.sources.content import HEADER_BYTES, decoder_of, is_video, kind_of
from mien.sources.frames import inspect
from mien.sources.media import Media
from mien.sources.pictures import ANIMATED
from mien.web.problems import Problem, of_error

MAX_FRAMES = 200_000  # of a video: more than two hours at 25 frames per second
MAX_PIXELS = 36_000_000  # of a frame; 8K has 33 million
CONTAINERS = "MP4, MOV, Matroska, WebM, AVI, FLV, Ogg, MPEG, ASF, or an animated GIF, PNG, WebP or AVIF"
PROBED_BYTES = 1 << 20  # by FFmpeg, to choose a reader (PROBE_BUF_MAX of libavformat)
PLAYLIST = re.compile(rb"(?i:<MPD[\s>]|<CompositionPlaylist|[\r\n]c=IN IP[46])")  # DASH, IMF and SDP, at any place


def inspect_video(path: Path, name: str, *, max_animation: int) -> Media:
    """Return the properties of a video by its header, once its content was checked.

    FFmpeg chooses the reader of a file by its content, and some readers open other files and addresses: those of
    playlists (HLS, DASH, concat, IMF), of sessions (SDP), of subtitles in two files (VobSub). A file must therefore
    begin as a container of videos does, and hold none of the marks that FFmpeg looks for further on.

    Args:
        path: The file.
        name: Its name in messages, which may name the path too.
        max_animation: Most bytes of an animated picture, whose frames are counted.

    Raises:
        Problem: unreadable-video; too-large: an animation; video-too-long: too many frames, or too large ones.
    """
    with path.open("rb") as file:
        probed, size = file.read(PROBED_BYTES), os.fstat(file.fileno()).st_size
    start = probed[:HEADER_BYTES]
    animated = decoder_of(start) in ANIMATED
    if not start or not (is_video(start) or animated) or kind_of(start) is not None:
        found = "empty" if not start else "a picture" if decoder_of(start) else kind_of(start) or "of an unknown kind"
        raise Problem("unreadable-video", f"'{name}' is {found}; expected a video: {CONTAINERS}")
    if PLAYLIST.search(probed):
        raise Problem("unreadable-video", f"'{name}' holds a playlist; expected a video: {CONTAINERS}")
    if animated and size > max_animation:
        raise Problem("too-large", f"'{name}' is an animation of {size:,} bytes; at most {max_animation:,} are read")
    try:
        media = inspect(path)
    except InputError as error:
        raise Problem("unreadable-video", of_error(error).detail) from None
    if media.kind == "picture":
        raise Problem("unreadable-video", f"'{name}' is a picture that does not move; send it to /v1/predict")
    if media.size[0] * media.size[1] > MAX_PIXELS:
        raise Problem("video-too-long", f"'{name}' has frames of {media.size[0]}x{media.size[1]} pixels; at most "
                                        f"{MAX_PIXELS // 10**6} million are read")  # fmt: skip
    if (media.frames or 0) > MAX_FRAMES:
        raise Problem("video-too-long", f"'{name}' has {media.frames:,} frames; at most {MAX_FRAMES:,} are read: cut "
                                        "it")  # fmt: skip
    return media
