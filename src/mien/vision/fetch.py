"""YuNet's file: found on this machine, or fetched from the OpenCV zoo; and fetching any file by its hash."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from threading import Thread

from mien.errors import FetchError, MienError, ModelError
from mien.files import make_folder, matching, obstacle, user_folder
from mien.structures import Progress

YUNET_FILE = "face_detection_yunet_2026may.onnx"
YUNET_URL = f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{YUNET_FILE}"
YUNET_HASH = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"  # SHA-256
CONNECT_SECONDS = 2  # to reach the server; a machine without network pays this once per RETRY_HOURS
FETCH_SECONDS = 8  # in all
PATIENT_SECONDS = 120  # in all where the user asked for it: for 230 kB through a slow connection
LEFTOVER_HOURS = 0.1  # a part of the file is deleted after this long, more than any fetch takes
NEWS_HOURS = 24  # a warning is not repeated for this long
REASONS = {  # by exceptions of requests
    "ChunkedEncodingError": "the connection broke",
    "ConnectionError": "no connection",
    "ProxyError": "no answer of the proxy",
    "SSLError": "no secure connection",
}
RETRY_HOURS = 12  # `--detector auto` takes Haar for this long after a failed fetch


def cache_dir() -> Path:
    """Return the folder of fetched files: the platform's place for a user's caches."""
    return user_folder("cache")


def local_yunet() -> Path | None:
    """Return the path of YuNet's file on this machine: $MIEN_YUNET, or fetched before. Nothing is fetched now.

    Returns:
        A file with the right hash; None if there is none.

    Raises:
        ModelError: $MIEN_YUNET is not a file, or another one.
    """
    if given := os.environ.get("MIEN_YUNET"):
        if not os.path.isfile(given):
            raise ModelError(
                f"MIEN_YUNET is '{given}', which is not a file{obstacle(given)}; expected the path of {YUNET_FILE}"
            )
        if not _is_yunet(Path(given)):
            raise ModelError(f"MIEN_YUNET is '{given}', which is damaged or another file; expected {YUNET_FILE}")
        return Path(given)
    fetched = cache_dir() / YUNET_FILE
    return fetched if _is_yunet(fetched) else None


def yunet_path(*, retry: bool = True) -> Path:
    """Return the path of YuNet's file, fetched if it is not on this machine.

    Args:
        retry: Whether to try to fetch it although that failed in the last `RETRY_HOURS`.

    Raises:
        ModelError: $MIEN_YUNET is not this file.
        FetchError: It cannot be fetched: no network, or $MIEN_OFFLINE is set.
    """
    if (file := local_yunet()) is not None:
        return file
    if is_offline():
        raise _not_fetched("MIEN_OFFLINE is set")
    if not retry and (reason := recent_failure()):
        raise _not_fetched(reason)
    return fetch_yunet()


def fetch_yunet(progress: Progress | None = None, *, seconds: float | None = None) -> Path:
    """Fetch YuNet's file (230 kB) into the user's cache, through the proxy that the environment names, if any.

    Args:
        progress: Called with the bytes fetched and their number; when None, one line on stderr announces the fetch.
        seconds: Time limit; `FETCH_SECONDS` when None. A connection that is silent for `FETCH_SECONDS` always fails.

    Raises:
        FetchError: It cannot be fetched in this time, has another hash, or cannot be written.
    """
    try:
        folder = make_folder(cache_dir())
    except MienError as error:
        raise _not_fetched(str(error)) from error
    if progress is None:
        print("fetching YuNet (230 kB)…", file=sys.stderr)
    failure = folder / _FAILURE
    try:
        path = _within(FETCH_SECONDS if seconds is None else seconds, lambda: _download(folder, progress))
    except Exception as error:  # of the network, of the disk, of a hash that differs
        reason = reason_of(error)
        with suppress(OSError):
            failure.write_text(reason, encoding="utf-8")
        raise _not_fetched(reason) from error
    failure.unlink(missing_ok=True)
    return path


def is_offline() -> bool:
    """Return whether $MIEN_OFFLINE forbids to fetch anything."""
    return os.environ.get("MIEN_OFFLINE", "0") not in ("", "0")


def recent_failure() -> str:
    """Return the reason of a fetch that failed in the last `RETRY_HOURS`; empty if none did."""
    file = cache_dir() / _FAILURE
    try:
        return file.read_text(encoding="utf-8") if _hours_since(file) < RETRY_HOURS else ""
    except (OSError, UnicodeDecodeError):
        return ""


def is_news(message: str) -> bool:
    """Return whether a message is another one than that of the last `NEWS_HOURS`, and note it in the cache."""
    file = cache_dir() / f"{YUNET_FILE}.noted"
    try:
        if os.path.isfile(file) and file.read_text(encoding="utf-8") == message and _hours_since(file) < NEWS_HOURS:
            return False
        make_folder(file.parent)
        file.write_text(message, encoding="utf-8")
    except (MienError, OSError, UnicodeDecodeError):  # no place to note it
        pass
    return True


_FAILURE = f"{YUNET_FILE}.failed"  # file in the cache: the reason of the last failed fetch


def _is_yunet(file: Path) -> bool:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == YUNET_HASH
    except OSError:
        return False


def _not_fetched(reason: str) -> FetchError:
    error = FetchError(
        f"YuNet could not be fetched ({reason}); run `mien doctor --fetch` with a network, or set MIEN_YUNET to the "
        f"path of {YUNET_FILE}"
    )
    error.reason = reason
    return error


def _hours_since(file: Path) -> float:
    """Return the age of a file in hours; infinite where the clock was set back."""
    hours = (time.time() - file.stat().st_mtime) / 3600
    return hours if hours >= 0 else inf


def download(
    url: str,
    *,
    sha256: str,
    path: Path,
    progress: Progress | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    silent_seconds: float = FETCH_SECONDS,
) -> Path:
    """Fetch a file whole or not at all, through the proxy that the environment names, if any.

    Args:
        url: Its address.
        sha256: Its hash, in hexadecimal.
        path: Where it is written; the folder is there. A file with another hash is replaced.
        progress: Called with the bytes fetched and their number.
        connect_seconds: Longest time to reach the server.
        silent_seconds: Longest time without a byte.

    Raises:
        Exception: Of the network, of the disk, or of a hash that differs; `reason_of` says which in a few words.
    """
    import pooch  # slow to import, rarely needed

    for part in matching(path.parent, "tmp*"):  # of pooch, in a program that ended meanwhile
        with suppress(OSError):
            if os.path.isfile(part) and _hours_since(part) > LEFTOVER_HOURS:
                part.unlink()
    pooch.get_logger().setLevel("WARNING")
    bar = False if progress is None else _Bar(progress)
    downloader = pooch.HTTPDownloader(progressbar=bar, timeout=(connect_seconds, silent_seconds))
    return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=path.parent, downloader=downloader))


def reason_of(error: Exception) -> str:
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


def _download(folder: Path, progress: Progress | None) -> Path:
    return download(YUNET_URL, sha256=YUNET_HASH, path=folder / YUNET_FILE, progress=progress)


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


def _within(seconds: float, work: Callable[[], Path]) -> Path:
    """Return the result of some work, or raise TimeoutError: name servers have no timeout of their own."""
    results: list[Path | Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        raise TimeoutError
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]
