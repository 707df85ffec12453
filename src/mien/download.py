"""Download of a file by its hash, whole or not at all."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from math import inf
from pathlib import Path

from mien.files import matching
from mien.structures import Progress

LEFTOVER_HOURS = 0.1  # a part of a file is deleted after this long, more than any fetch takes
REASONS = {  # by exceptions of requests
    "ChunkedEncodingError": "the connection broke",
    "ConnectionError": "no connection",
    "ProxyError": "no answer of the proxy",
    "SSLError": "no secure connection",
}


def is_offline() -> bool:
    """Return whether $MIEN_OFFLINE forbids to fetch anything."""
    return os.environ.get("MIEN_OFFLINE", "0") not in ("", "0")


def download(
    url: str,
    *,
    sha256: str,
    path: Path,
    connect_seconds: float,
    silent_seconds: float,
    progress: Progress | None = None,
) -> Path:
    """Fetch a file whole or not at all, through the proxy that the environment names, if any.

    Args:
        url: Its address.
        sha256: Its hash, in hexadecimal.
        path: Where it is written; the folder is there. A file with another hash is replaced.
        connect_seconds: Longest time to reach the server.
        silent_seconds: Longest time without a byte.
        progress: Called with the bytes fetched and their number.

    Raises:
        Exception: Of the network, of the disk, or of a hash that differs; `failure_reason` says which in a few words.
    """
    import pooch  # slow to import, rarely needed

    for part in matching(path.parent, "tmp*"):  # of pooch, in a program that ended meanwhile
        with suppress(OSError):
            if os.path.isfile(part) and hours_since(part) > LEFTOVER_HOURS:
                part.unlink()
    pooch.get_logger().setLevel("WARNING")
    bar = False if progress is None else _Bar(progress)
    downloader = pooch.HTTPDownloader(progressbar=bar, timeout=(connect_seconds, silent_seconds))
    return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=path.parent, downloader=downloader))


def failure_reason(error: Exception) -> str:
    """Return a few words on why a download failed: exceptions of requests are several lines of internals."""
    if any(kind.__name__ in ("Timeout", "TimeoutError") for kind in type(error).__mro__):
        return "no answer in time"
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # pooch's; those of requests are OSErrors
        return "its hash differs from the expected one"
    if type(error).__name__ == "HTTPError":
        return " ".join(str(error).split(" for url")[0].split())
    if isinstance(error, OSError) and error.strerror:  # of the disk
        return error.strerror
    return REASONS.get(type(error).__name__, type(error).__name__)


def hours_since(file: Path) -> float:
    """Return the age of a file in hours; infinite where the clock was set back."""
    hours = (time.time() - file.stat().st_mtime) / 3600
    return hours if hours >= 0 else inf


class _Bar:
    """Pooch's interface of a progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0
        self.total = 0

    def update(self, n: int) -> None:
        self._done += n
        self._progress(min(self._done, self.total), self.total or None)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass
