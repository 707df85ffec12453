"""Videos that can be played while they grow: Matroska with Motion JPEG."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import cv2

from mien.errors import OutputError
from mien.pixels import encode, fit_exactly, to_bgr
from mien.sinks.growing import GrowingFile
from mien.structures import ImageArray

LIVE_SUFFIX = ".mkv"
LIVE_QUALITY = 85  # of JPEG; nearly half the size of OpenCV's usual 95, and no difference to be seen in motion
LAST_PICTURE_MS = 40  # how long a live video shows its last picture


class LiveVideoSink(GrowingFile):
    """Writes a video that can be played while it grows, and whatever ended the program: no picture written is lost.

    Each picture stands at its own time, so the video's clock is the stream's at any rate. The file is Matroska with
    Motion JPEG, put together here: FFmpeg, as OpenCV runs it, keeps 256 KiB back, which may be many seconds, and
    cannot be told to write an MP4 that is playable before its end (github.com/opencv/opencv/issues/24570). The price
    is its size, some six times that of MPEG-4: about 1.4 GB an hour for 640x480 pixels 15 times a second. It has no
    index, so players have to search when they jump far.

    Args:
        path: Ends in .mkv; an old file is overwritten. Without any picture there is none.

    Raises:
        OutputError: Another suffix, or the file cannot be written; on entering or writing.

    Example:
        >>> with LiveVideoSink("seen.mkv") as sink:
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
        self._zero_ms = 0  # the stream's clock when the video began
        self._last_ms = 0  # the video's clock at its last picture

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
        """Append a picture.

        Args:
            image: RGB uint8 (H, W, 3); resized to the first one's size.
            time: Seconds by the stream's clock, whose zero may be anywhere. A clock that goes back, as where a stream
                starts anew, goes on from the last picture.

        Raises:
            OutputError: The file cannot be written.
        """
        size = self.size or (image.shape[1], image.shape[0])
        jpeg = encode(self.path, ".jpg", fit_exactly(to_bgr(image), size), [cv2.IMWRITE_JPEG_QUALITY, LIVE_QUALITY])
        now_ms = round(1000 * time)
        if self.size is None:
            self.size, self._header, self._zero_ms = size, _matroska_header(size), now_ms
            self._append(self._header)
        elif now_ms - self._zero_ms <= self._last_ms:
            self._zero_ms = now_ms - self._last_ms - 1
        self._last_ms = now_ms - self._zero_ms
        self._append(_matroska_cluster(self._last_ms, jpeg))
        self._append(struct.pack(">d", self._last_ms + LAST_PICTURE_MS), at=len(self._header) - 8)


def _matroska_header(size: tuple[int, int]) -> bytes:
    """Return what a Matroska file of Motion JPEG begins with; its last 8 bytes are the duration in ms, a double.

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
    """Return a picture as a cluster of its own: of track 1, at the cluster's time, a key frame."""
    return _element("1f43b675", _element("e7", time_ms) + _element("a3", b"\x81\0\0\x80" + jpeg))


def _element(identifier: str, value: int | bytes) -> bytes:
    """Return an EBML element: identifier (hexadecimal), length in 8 bytes, value; integers take 8 bytes too."""
    data = value.to_bytes(8, "big") if isinstance(value, int) else value
    return bytes.fromhex(identifier) + (1 << 56 | len(data)).to_bytes(8, "big") + data
