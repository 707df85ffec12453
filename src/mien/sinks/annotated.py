"""Annotated copies of pictures and videos, and crops of single faces."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from mien.drawing.faces import draw
from mien.errors import OutputError
from mien.files import as_path, make_folder, unused
from mien.fusion import VoiceResult
from mien.pixels import WRITABLE_PICTURES, write_picture
from mien.sinks.encoders import CODECS
from mien.sinks.videos import VideoSink
from mien.sources.frames import inspect
from mien.sources.media import ALL_FRAMES, FrameSelection, Media
from mien.structures import Box, Expression, Frame, ImageArray, check_frame


def save_faces(
    frame: Frame, expressions: Sequence[Expression], folder: str | Path, *, margin_ratio: float = 0.2
) -> list[Path]:
    """Write each face of a frame to a picture file; no file is overwritten.

    Args:
        frame: The frame with the faces.
        expressions: The faces and their expressions.
        folder: Made if missing.
        margin_ratio: Margin on every side of a face's box, relative to its width or height.

    Returns:
        The PNG files, named by time (s), track (or number in the frame) and label: "00012.340-track7-happy.png".
        A face outside the frame has none.

    Raises:
        OutputError: The folder cannot be made, or a file not be written.
    """
    check_frame(frame)
    folder = make_folder(folder)
    paths = []
    for number, expression in enumerate(expressions, start=1):
        if not (crop := _box_with_margin(frame.image, expression.face.box, margin_ratio)).size:
            continue
        track = expression.face.track_id
        who = f"face{number}" if track is None else f"track{track}"
        label = re.sub(r"[^\w-]+", "_", expression.label)  # labels of a user's model may contain any character
        path = unused(folder / f"{frame.time:09.3f}-{who}-{label}.png")
        write_picture(path, crop)
        paths.append(path)
    return paths


class AnnotatedSink:
    """Writes an annotated copy of a picture or video to a folder, under the same name.

    A video's copy is a video with its frame times and sound; see `VideoSink`. Where the format can be read but not
    written, a suffix is appended (clip.gif.mp4). Files of the same name need different folders.

    Args:
        file: The picture or video the frames come from.
        folder: Made if missing; not the folder of the file.
        media: Properties of the file, where they are known already.
        selection: The frames of the video that are written; the copy starts at its start.
        top: Number of labels per face.
        summary: Append a strip below each image that counts the expressions.

    Raises:
        InputError: The file cannot be read.
        OutputError: The folder cannot be made, or the result would take the place of the file itself.
    """

    def __init__(
        self,
        file: str | Path,
        folder: str | Path,
        *,
        media: Media | None = None,
        selection: FrameSelection = ALL_FRAMES,
        top: int = 1,
        summary: bool = False,
    ) -> None:
        file, folder = as_path(file), as_path(folder)
        self.top, self.summary = top, summary
        media = media or inspect(file)
        moves = media.kind == "video"
        self.path = folder / _writable_name(file, CODECS if moves else WRITABLE_PICTURES, ".mp4" if moves else ".png")
        if self.path.resolve() == file.resolve():
            raise OutputError(f"'{self.path}' would be overwritten by its annotated copy; choose another folder")
        make_folder(folder)
        self._start = selection.start
        self._video: VideoSink | None = None
        if media.rate is not None:
            rate = min(media.rate, selection.fps or media.rate)
            self._video = VideoSink(self.path, fps=rate, sound=file, sound_start=self._start)

    def __enter__(self) -> AnnotatedSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.__exit__(kind, error, trace)

    def write(self, frame: Frame, expressions: list[Expression], *, voice_result: VoiceResult | None = None) -> None:
        """Draw the expressions, and the voice if there is one, into a frame and write it.

        Raises:
            OutputError: The file cannot be written.
        """
        image = draw(frame.image, expressions, top=self.top, summary=self.summary, voice_result=voice_result)
        if self._video is None:
            write_picture(self.path, image)
        else:
            self._video.write(image, time=frame.time - self._start)


def copy_names(file: Path) -> list[str]:
    """Return the names that a file's annotated copy may get: as a picture, and as a video; its content decides."""
    names = [_writable_name(file, WRITABLE_PICTURES, ".png"), _writable_name(file, CODECS, ".mp4")]
    return list(dict.fromkeys(names))


def _writable_name(file: Path, suffixes: Container[str], fallback: str) -> str:
    return file.name if file.suffix.lower() in suffixes else file.name + fallback


def _box_with_margin(image: ImageArray, box: Box, ratio: float) -> ImageArray:
    """Return the crop of a box with a margin relative to its sides; empty outside the image."""
    height, width = image.shape[:2]
    x, y = ratio * box.width, ratio * box.height
    x1, x2 = (int(np.clip(round(value), 0, width)) for value in (box.x1 - x, box.x2 + x))
    y1, y2 = (int(np.clip(round(value), 0, height)) for value in (box.y1 - y, box.y2 + y))
    return image[y1:y2, x1:x2]
