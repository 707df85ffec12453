"""Where results go: annotated pictures and videos, CSV and JSON lines. BGR begins here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Container, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import cv2
import numpy as np

from mien.errors import ConfigError, OutputError
from mien.files import atomic_path
from mien.labels import LabelSet
from mien.sources import frame_rate, is_video, quiet
from mien.structures import Expression, Frame, ImageArray, Prediction
from mien.vision.draw import draw

NO_FACE = "no face found"
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
WRITABLE_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
COLUMNS = (
    "source", "index", "time", "face", "track", "x1", "y1", "x2", "y2", "score", "label", "confidence", "certain",
    "note",
)  # fmt: skip


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
    try:
        written, data = cv2.imencode(suffix, _to_bgr(image))
    except cv2.error:
        written = False
    if not written:
        raise OutputError(f"cannot write '{path}': no {suffix} of {image.shape} {image.dtype}; choose .png")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


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
    without any frame.

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

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        temporary = self._stack.enter_context(atomic_path(self.path))
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


class _TextSink:
    """A text file that holds, at any moment, all that was written: it can be read while a long run goes on."""

    def __init__(self, path: str | Path, labels: LabelSet) -> None:
        self.path = Path(path)
        self.labels = labels
        self._file: TextIO | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _append(self, text: str) -> None:
        """Write text through to the file, which the first call makes."""
        try:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8", newline="")
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._close()
            raise OutputError(f"cannot write '{self.path}': {error.strerror}; choose another place") from error

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # all was flushed; what could not be was told then
                self._file.close()


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
        self._append("")
        return self

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        """Append the line of a frame."""
        self._append(json.dumps(record(frame, expressions), ensure_ascii=False) + "\n")


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


def _csv_lines(columns: list[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n").writerows(rows)
    return text.getvalue()


def _writable_name(file: Path, suffixes: Container[str], fallback: str) -> str:
    return file.name if file.suffix.lower() in suffixes else file.name + fallback


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
