"""Videos that can be played while they are written: Matroska with Motion JPEG. See docs/decisions/0020."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import cv2

from mien.errors import OutputError
from mien.pixels import encode, fit_exactly
from mien.sinks.growing import GrowingFile
from mien.structures import ImageArray

LIVE_SUFFIX = ".mkv"
LIVE_QUALITY = 85  # of JPEG; half the size of OpenCV's default, 95, with no visible difference in motion
LAST_IMAGE_MS = 40  # duration of the last image


class LiveVideoSink(GrowingFile):
    """Writes a video that can be played while it grows, and after any end of the program, with every image written.

    Each image has its own time, so the video's clock is the stream's at any frame rate. Matroska with Motion JPEG is
    written here, since FFmpeg in OpenCV holds back 256 KiB, which may be many seconds, and writes no MP4 that plays
    before its end (github.com/opencv/opencv/issues/24570). The file is some six times as large as MPEG-4: about 1.4 GB
    per hour for 640x480 pixels at 15 frames per second. It has no index, so seeking is slow.

    Args:
        path: Ends in .mkv; an old file is overwritten. Without any image there is no file.

    Raises:
        OutputError: Another suffix, or the file cannot be written; on entering or writing.

    Example:
        >>> with LiveVideoSink("annotated.mkv") as sink:
        ...     sink.write(image, time=frame.time)
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        if self.path.suffix.lower() != LIVE_SUFFIX:
            raise OutputError(
                f"cannot write '{path}': a video of a live stream is Matroska; choose a name that ends in {LIVE_SUFFIX}"
            )
        self.size: tuple[int, int] | None = None
        self._header = b""
        self._zero_ms = 0  # the stream's clock at the video's start
        self._last_ms = 0  # the video's clock at its last image

    def __enter__(self) -> LiveVideoSink:
        self._append(b"")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if self.size is None:
            with suppress(OSError):
                self.path.unlink()

    def write(self, image: ImageArray, *, time: float) -> None:
        """Append an image.

        Args:
            image: RGB uint8 (H, W, 3); resized to the first one's size.
            time: Seconds by the stream's clock, from any zero. After a clock that goes back, as in a restarted stream,
                times continue from the last image.

        Raises:
            OutputError: The file cannot be written.
        """
        size = self.size or (image.shape[1], image.shape[0])
        jpeg = encode(self.path, ".jpg", fit_exactly(image, size), [cv2.IMWRITE_JPEG_QUALITY, LIVE_QUALITY])
        now_ms = round(1000 * time)
        if self.size is None:
            self.size, self._header, self._zero_ms = size, _matroska_header(size), now_ms
            self._append(self._header)
        elif now_ms - self._zero_ms <= self._last_ms:
            self._zero_ms = now_ms - self._last_ms - 1
        self._last_ms = now_ms - self._zero_ms
        self._append(_matroska_cluster(self._last_ms, jpeg))
        self._append(struct.pack(">d", self._last_ms + LAST_IMAGE_MS), at=len(self._header) - 8)


def _matroska_header(size: tuple[int, int]) -> bytes:
    """Return the header of a Matroska file of Motion JPEG; its last 8 bytes are the duration in ms, a double.

    Elements and codec as in RFC 9559, their coding as in RFC 8794 (EBML).

    Args:
        size: Width and height in pixels.
    """
    width, height = size
    versions = _element("4286", 1) + _element("42f7", 1) + _element("42f2", 4) + _element("42f3", 8)
    kind = _element("4282", b"matroska") + _element("4287", 4) + _element("4285", 2)
    video = _element("e0", _element("b0", width) + _element("ba", height))
    track = _element("d7", 1) + _element("73c5", 1) + _element("83", 1) + _element("86", b"V_MJPEG") + video
    clock = _element("2ad7b1", 1_000_000)  # ns in a unit of time: one ms
    info = clock + _element("4d80", b"mien") + _element("5741", b"mien") + _element("4489", bytes(8))
    segment = bytes.fromhex("18538067 01ffffffffffffff")  # of unknown size: up to the end of the file
    return (
        _element("1a45dfa3", versions + kind) + segment + _element("1654ae6b", _element("ae", track))
        + _element("1549a966", info)
    )  # fmt: skip


def _matroska_cluster(time_ms: int, jpeg: bytes) -> bytes:
    """Return a cluster of one image: track 1, at the cluster's time, a key frame."""
    return _element("1f43b675", _element("e7", time_ms) + _element("a3", b"\x81\0\0\x80" + jpeg))


def _element(identifier: str, value: int | bytes) -> bytes:
    """Return an EBML element: identifier (hexadecimal), length in 8 bytes, value; integers take 8 bytes too."""
    data = value.to_bytes(8, "big") if isinstance(value, int) else value
    return bytes.fromhex(identifier) + (1 << 56 | len(data)).to_bytes(8, "big") + data
