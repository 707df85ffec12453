"""Where results go: annotated pictures and videos, CSV and JSON lines. BGR begins here."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import struct
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import cv2
import numpy as np

from mien.errors import ConfigError, InputError, OutputError
from mien.files import atomic_path
from mien.labels import LabelSet
from mien.sources import frame_count, frame_rate, is_video, quiet
from mien.structures import Box, Expression, Frame, ImageArray, Prediction
from mien.vision.draw import draw

NO_FACE = "no face found"
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
WRITABLE_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
COLUMNS = (
    "source", "index", "time", "face", "track", "x1", "y1", "x2", "y2", "score", "label", "confidence", "certain",
    "note",
)  # fmt: skip
LIVE_SUFFIX = ".mkv"
LIVE_QUALITY = 85  # of JPEG; nearly half the size of OpenCV's usual 95, and no difference to be seen in motion
LAST_PICTURE_MS = 40  # how long a live video shows its last picture


def record(frame: Frame, expressions: list[Expression]) -> dict[str, object]:
    """Return what was seen in a frame as plain data, for JSON.

    Keys: source, index, time (seconds), note (why there are no faces; else empty), faces. Of a face: face
    (number in the frame, from 1), track, box (x1, y1, x2, y2 in pixels), score (the detector's), label
    (the answer, "uncertain" too), confidence (the largest probability), certain, probabilities by label; raw, those
    before smoothing over time, where there was any.
    """
    return {**_frame_record(frame, expressions), "faces": _face_records(expressions)}


def write_picture(path: str | Path, image: ImageArray) -> None:
    """Write a picture, whole or not at all, in the format that the suffix names.

    Args:
        path: Ends in .png, .jpg, .webp, .bmp, .tif or .ppm.
        image: uint8 (H, W, 3) RGB or (H, W) grey.

    Raises:
        OutputError: Another suffix, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_PICTURES:
        raise OutputError(f"cannot write '{path}': unknown suffix; choose from {', '.join(WRITABLE_PICTURES)}")
    data = _encode(path, suffix, _to_bgr(image))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def save_faces(
    frame: Frame, expressions: Sequence[Expression], folder: str | Path, *, margin_ratio: float = 0.2
) -> list[Path]:
    """Write each face of a frame as a picture of its own; none ever takes the place of another.

    Args:
        frame: Where the faces are.
        expressions: What was seen in it.
        folder: Made if missing.
        margin_ratio: How much is added on every side of a face's box, in parts of its width or height.

    Returns:
        The PNG files, named by time (s), track (or number in the frame) and answer: "00012.340-track7-happy.png".
        A face that lies outside the frame has none.

    Raises:
        OutputError: The folder cannot be made, or a file not be written.
    """
    folder = Path(folder)
    make_folder(folder)
    paths = []
    for number, expression in enumerate(expressions, start=1):
        if not (crop := _box_with_margin(frame.image, expression.face.box, margin_ratio)).size:
            continue
        track = expression.face.track_id
        who = f"face{number}" if track is None else f"track{track}"
        label = re.sub(r"[^\w-]+", "_", expression.label)  # labels of a user's model may hold anything
        path = unused(folder / f"{frame.time:09.3f}-{who}-{label}.png")
        write_picture(path, crop)
        paths.append(path)
    return paths


def unused(path: Path) -> Path:
    """Return the path, or where there is such a file the first of path-2, path-3 … that is none."""
    others = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(other for other in chain([path], others) if not os.path.exists(other))


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in, where missing.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make folder '{folder}': {error.strerror}; choose another place") from error


class VideoSink:
    """Writes a video, one frame for each picture given; the file appears, whole, when the block ends.

    It also appears when Ctrl+C ends the block, with what was written until then, but not after another error, nor
    without any frame. Of a stream that may end in any way, see `LiveVideoSink`.

    Args:
        path: Ends in .mp4, .mov, .mkv (MPEG-4) or .avi (Motion JPEG).
        fps: Frames per second.
        size: Width and height in pixels; those of the first picture when None. Others are resized to it. Odd
            sides gain a pixel, since the codecs want even ones.

    Raises:
        ConfigError: fps or size are out of range.
        OutputError: Another suffix, or the file cannot be written.

    Example:
        >>> with VideoSink("seen.mp4", fps=25) as sink:
        ...     sink.write(image)
    """

    def __init__(self, path: str | Path, *, fps: float, size: tuple[int, int] | None = None) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in CODECS:
            raise OutputError(f"cannot write '{path}': unknown video suffix; choose from {', '.join(CODECS)}")
        if not 0 < fps <= 1000:
            raise ConfigError(f"fps is {fps}; expected more than 0, at most 1000")
        if size is not None and min(size) < 1:
            raise ConfigError(f"video size is {size}; expected positive width and height")
        self.fps = fps
        self.size = size
        self._stack = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._n_written = 0

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._stack.close()
        else:
            self._stack.__exit__(kind, error, trace)

    def write(self, image: ImageArray) -> None:
        """Append a picture.

        Args:
            image: RGB uint8 (H, W, 3).

        Raises:
            OutputError: The file cannot be written.
        """
        width, height = self.size or (image.shape[1], image.shape[0])
        size = (width + width % 2, height + height % 2)
        if self._writer is None:
            self.size = size
            self._writer = self._open(size)
        self._writer.write(_fit(_to_bgr(image), size))
        self._n_written += 1

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        temporary = self._stack.enter_context(atomic_path(self.path))
        self._stack.push(partial(self._check, temporary))  # runs after the release
        codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        with quiet():
            writer = cv2.VideoWriter(str(temporary), codec, self.fps, size)
        self._stack.callback(writer.release)  # runs before the file is put into place
        if not writer.isOpened():
            raise OutputError(
                f"cannot write '{self.path}': this OpenCV cannot encode {size[0]}x{size[1]} pixels there; "
                "choose .avi or another name"
            )
        return writer

    def _check(self, written: Path, kind: type[BaseException] | None, *_: object) -> None:
        """Make sure that all is in the file: OpenCV tells nobody that a disk is full."""
        there = None
        with suppress(InputError):
            there = frame_count(written)
        if kind is None and there != self._n_written:
            raise OutputError(f"cannot write all of '{self.path}'; make room there or choose another place")


class AnnotatedSink:
    """Writes what was seen in a file, drawn into it, to a folder, under the file's own name.

    A video becomes a video, a picture a picture. Where the format can only be read, one that can be written
    is appended to the name (clip.webm.mp4). Files of one name need folders of their own.

    Args:
        file: The picture or video the frames come from.
        folder: Made if missing; not the folder of the file.
        top: How many labels to name for each face.

    Raises:
        InputError: The file cannot be read.
        OutputError: The folder cannot be made, or the result would take the place of the file itself.
    """

    def __init__(self, file: str | Path, folder: str | Path, *, top: int = 1) -> None:
        file, folder = Path(file), Path(folder)
        self.top = top
        moves = is_video(file)
        self.path = folder / _writable_name(file, CODECS if moves else WRITABLE_PICTURES, ".mp4" if moves else ".png")
        if self.path.resolve() == file.resolve():
            raise OutputError(f"'{self.path}' would be overwritten by its annotated copy; choose another folder")
        make_folder(folder)
        self._video = VideoSink(self.path, fps=frame_rate(file)) if moves else None

    def __enter__(self) -> AnnotatedSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.__exit__(kind, error, trace)

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        """Draw the expressions into the frame and write it.

        Raises:
            OutputError: The file cannot be written.
        """
        image = draw(frame.image, expressions, top=self.top)
        if self._video is None:
            write_picture(self.path, image)
        else:
            self._video.write(image)


class _GrowingFile:
    """A file that holds, at any moment, all that was written: it can be read while a long run goes on."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: BinaryIO | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _append(self, data: bytes, *, at: int | None = None) -> None:
        """Write data through to the file, which the first call makes; at its end, or over what stands at a place."""
        try:
            if self._file is None:
                self._file = self.path.open("wb")
            if at is not None:
                self._file.seek(at)
            self._file.write(data)
            self._file.flush()
            if at is not None:
                self._file.seek(0, io.SEEK_END)
        except OSError as error:
            self._close()
            raise OutputError(f"cannot write '{self.path}': {error.strerror or error}; choose another place") from error

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # all was flushed; what could not be was told then
                self._file.close()


class LiveVideoSink(_GrowingFile):
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
        jpeg = _encode(self.path, ".jpg", _fit(_to_bgr(image), size), [cv2.IMWRITE_JPEG_QUALITY, LIVE_QUALITY])
        now_ms = round(1000 * time)
        if self.size is None:
            self.size, self._header, self._zero_ms = size, _matroska_header(size), now_ms
            self._append(self._header)
        elif now_ms - self._zero_ms <= self._last_ms:
            self._zero_ms = now_ms - self._last_ms - 1
        self._last_ms = now_ms - self._zero_ms
        self._append(_matroska_cluster(self._last_ms, jpeg))
        self._append(struct.pack(">d", self._last_ms + LAST_PICTURE_MS), at=len(self._header) - 8)


class _TextSink(_GrowingFile):
    """A growing file of text about predictions over a label set."""

    def __init__(self, path: str | Path, labels: LabelSet) -> None:
        super().__init__(path)
        self.labels = labels


class CsvSink(_TextSink):
    """Writes a row for each face, and one with empty fields and a note for each frame without a face.

    Columns, always in this order: source, index (of the frame, from 0), time (s), face (number in the frame,
    from 1), track, x1, y1, x2, y2 (pixels), score (the detector's), label (the answer, "uncertain" too), confidence
    (the largest probability), certain (true or false), note, then p_<label>, the probability of each label of the
    set, and of smoothed ones raw_<label>, those before. The file grows as rows come.

    Args:
        path: File to write; an old one is overwritten.
        labels: Label set of the predictions.
        smoothed: Whether expressions come smoothed over time, so that there are columns of raw probabilities.

    Raises:
        OutputError: The file cannot be written; on entering or writing.
    """

    def __init__(self, path: str | Path, labels: LabelSet, *, smoothed: bool = False) -> None:
        super().__init__(path, labels)
        self._columns = [*COLUMNS, *(f"p_{label}" for label in labels)]
        if smoothed:
            self._columns += [f"raw_{label}" for label in labels]

    def __enter__(self) -> CsvSink:
        self._append(_csv_lines(self._columns, [dict(zip(self._columns, self._columns, strict=True))]))
        return self

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        """Append the rows of a frame."""
        common = _frame_record(frame, expressions)
        rows = [{**common, **_flat(face)} for face in _face_records(expressions)]
        self._append(_csv_lines(self._columns, rows or [common]))


class JsonlSink(_TextSink):
    """Writes a line of JSON for each frame, with faces or without; see `record` for its keys.

    Args:
        path: File to write; an old one is overwritten. It grows as frames come.
        labels: Label set of the predictions; taken as `CsvSink` does, though each line names its labels.

    Raises:
        OutputError: The file cannot be written; on entering or writing.
    """

    def __enter__(self) -> JsonlSink:
        self._append(b"")
        return self

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        """Append the line of a frame."""
        self._append(json.dumps(record(frame, expressions), ensure_ascii=False).encode() + b"\n")


def _frame_record(frame: Frame, expressions: list[Expression]) -> dict[str, object]:
    return {
        "source": _text(frame.source),
        "index": frame.index,
        "time": round(frame.time, 6),
        "note": "" if expressions else NO_FACE,
    }


def _face_records(expressions: list[Expression]) -> list[dict[str, Any]]:
    return [_face_record(number, expression) for number, expression in enumerate(expressions, start=1)]


def _face_record(number: int, expression: Expression) -> dict[str, Any]:
    face, prediction = expression.face, expression.prediction
    box = face.box
    raw = expression.raw
    return {
        "face": number,
        "track": face.track_id,
        "box": [round(v, 1) for v in (box.x1, box.y1, box.x2, box.y2)],
        "score": round(face.score, 4),
        "label": expression.label,
        "confidence": round(prediction.confidence, 6),
        "certain": expression.certain,
        "probabilities": _rounded(prediction),
        **({} if raw is None else {"raw": _rounded(raw)}),
    }


def _rounded(prediction: Prediction) -> dict[str, float]:
    return {label: round(p, 6) for label, p in prediction.as_dict().items()}


def _flat(face: dict[str, Any]) -> dict[str, object]:
    """Return a face's record with a column for each side of the box and each probability."""
    simple = {key: value for key, value in face.items() if key not in ("box", "probabilities", "raw")}
    box = dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True))
    probabilities = {f"p_{label}": p for label, p in face["probabilities"].items()}
    raw = {f"raw_{label}": p for label, p in face.get("raw", {}).items()}
    return {**simple, **box, "certain": "true" if face["certain"] else "false", **probabilities, **raw}


def _csv_lines(columns: list[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _writable_name(file: Path, suffixes: Container[str], fallback: str) -> str:
    return file.name if file.suffix.lower() in suffixes else file.name + fallback


def _encode(path: Path, suffix: str, image: ImageArray, options: Sequence[int] = ()) -> bytes:
    """Return the bytes of a picture file, BGR or grey, in the format of a suffix; the path is for the message."""
    try:
        written, data = cv2.imencode(suffix, image, options)
    except cv2.error:
        written = False
    if not written:
        raise OutputError(f"cannot write '{path}': no {suffix} of {image.shape} {image.dtype}; choose .png")
    return data.tobytes()


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


def _box_with_margin(image: ImageArray, box: Box, ratio: float) -> ImageArray:
    """Return the part of a picture that a box covers with a margin, in parts of its sides; empty outside."""
    height, width = image.shape[:2]
    x, y = ratio * box.width, ratio * box.height
    x1, x2 = (int(np.clip(round(value), 0, width)) for value in (box.x1 - x, box.x2 + x))
    y1, y2 = (int(np.clip(round(value), 0, height)) for value in (box.y1 - y, box.y2 + y))
    return image[y1:y2, x1:x2]


def _to_bgr(image: ImageArray) -> ImageArray:
    return image if image.ndim == 2 else np.ascontiguousarray(image[:, :, ::-1])


def _fit(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Bring a picture to a size: by repeating its last pixels where one is missing, else by resizing."""
    right, below = size[0] - image.shape[1], size[1] - image.shape[0]
    if right in (0, 1) and below in (0, 1):
        return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _text(path: str) -> str:
    """Return a path that UTF-8 can hold, also where its bytes are none."""
    return path.encode("utf-8", "backslashreplace").decode()
