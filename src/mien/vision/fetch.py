"""YuNet's file: found on this machine, or fetched from the OpenCV zoo."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from mien.download import download, failure_reason, hours_since, is_offline
from mien.errors import FetchError, MienError, ModelError
from mien.files import make_folder, obstacle, sha256_of, user_folder
from mien.structures import Progress

YUNET_FILE = "face_detection_yunet_2026may.onnx"
YUNET_URL = f"https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/{YUNET_FILE}"
YUNET_HASH = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"  # SHA-256
CONNECT_SECONDS = 2  # to reach the server; a machine without network pays this once per RETRY_HOURS
FETCH_SECONDS = 8  # in all
PATIENT_SECONDS = 120  # in all where the user asked for it: for 230 kB through a slow connection
NEWS_HOURS = 24  # a warning is not repeated for this long
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
        reason = failure_reason(error)
        with suppress(OSError):
            failure.write_text(reason, encoding="utf-8")
        raise _not_fetched(reason) from error
    failure.unlink(missing_ok=True)
    return path


def recent_failure() -> str:
    """Return the reason of a fetch that failed in the last `RETRY_HOURS`; empty if none did."""
    file = cache_dir() / _FAILURE
    try:
        return file.read_text(encoding="utf-8") if hours_since(file) < RETRY_HOURS else ""
    except (OSError, UnicodeDecodeError):
        return ""


def is_news(message: str) -> bool:
    """Return whether a message is another one than that of the last `NEWS_HOURS`, and note it in the cache."""
    file = cache_dir() / f"{YUNET_FILE}.noted"
    try:
        if os.path.isfile(file) and file.read_text(encoding="utf-8") == message and hours_since(file) < NEWS_HOURS:
            return False
        make_folder(file.parent)
        file.write_text(message, encoding="utf-8")
    except (MienError, OSError, UnicodeDecodeError):  # no place to note it
        pass
    return True


_FAILURE = f"{YUNET_FILE}.failed"  # file in the cache: the reason of the last failed fetch


def _is_yunet(file: Path) -> bool:
    try:
        return sha256_of(file) == YUNET_HASH
    except OSError:
        return False


def _not_fetched(reason: str) -> FetchError:
    error = FetchError(
        f"YuNet could not be fetched ({reason}); run `mien doctor --fetch` with a network, or set MIEN_YUNET to the "
        f"path of {YUNET_FILE}"
    )
    error.reason = reason
    return error


def _download(folder: Path, progress: Progress | None) -> Path:
    return download(
        YUNET_URL, sha256=YUNET_HASH, path=folder / YUNET_FILE, connect_seconds=CONNECT_SECONDS,
        silent_seconds=FETCH_SECONDS, progress=progress,
    )  # fmt: skip


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
