"""Addresses of live sources: camera indices, device files, URLs."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path

from mien.errors import InputError

LIVE = re.compile(r"[a-z][a-z0-9+.-]+://|/dev/video\d+$|/dev/v4l/", re.IGNORECASE)
CREDENTIALS = re.compile(r"(?<=:)(//?)[^/]*@")  # one slash where a path was made of a URL
MAX_CAMERA = 9999  # OpenCV takes the number of a backend in an index too: 1400 is MSMF's first camera


def parse_source(source: int | str | Path) -> int | str | Path:
    """Return a camera's index (int), the address of a live source (str), or a path.

    An address is a URL ("rtsp://…", "http://…") or a device ("/dev/video0", "/dev/v4l/by-id/…"). A text of digits is
    an index, unless a file or folder of that name exists.

    Raises:
        InputError: An index out of range, or an address with control characters or bytes that aren't UTF-8.
    """
    if isinstance(source, int) and not isinstance(source, bool):
        if not 0 <= source <= MAX_CAMERA:  # OpenCV crashes at some negative ones
            raise InputError(f"no camera {source}; expected a number from 0 to {MAX_CAMERA}, the first camera is 0")
        return source
    if not isinstance(source, (str, PathLike)):
        raise InputError(
            f"the source is of type {type(source).__name__}; expected a path, an address or the number of a camera"
        )
    text = str(source)
    if LIVE.match(text):
        if not text.isprintable():  # OpenCV crashes at text that isn't UTF-8
            raise InputError(f"{text!r} is no address; expected one without control characters, in UTF-8")
        return text
    if re.fullmatch("[0-9]{1,4}", text) and not os.path.exists(text):
        return int(text)
    return Path(source)


def is_url(source: int | str) -> bool:
    """Return whether a live source is a URL rather than an index or a device file."""
    return isinstance(source, str) and "://" in source


def without_credentials(address: str) -> str:
    """Return an address without user name and password, for messages, results and settings."""
    return CREDENTIALS.sub(r"\1", address)


def display_name(source: int | str) -> str:
    """Return the name of a live source in messages and results: "camera 0", or its address without credentials."""
    return f"camera {source}" if isinstance(source, int) else without_credentials(source)
