"""Record a stream while it runs: an annotated video, tables, statistics."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from mien.drawing.faces import draw
from mien.errors import ConfigError, MienError, OutputError
from mien.files import as_path, check_folder_of, unused
from mien.fusion import VoiceResult
from mien.labels import LabelSet
from mien.quiet import quiet
from mien.sinks.live_video import LIVE_SUFFIX, LiveVideoSink
from mien.sinks.sink import Sink, many
from mien.sinks.statistics import Statistics
from mien.sinks.tables import CsvSink, JsonlSink
from mien.sinks.videos import VideoSink
from mien.sources.frames import frames
from mien.structures import Expression, Frame, ImageArray, Provenance
from mien.targets import STANDARD_OUTPUT, check_targets

FPS = 25.0  # of a video that is not Matroska


class AnnotatedVideoSink:
    """Writes the annotated video of a stream.

    An .mkv (Matroska) plays at any moment while it grows, and survives a crash. Every other format is recorded as an
    .mkv beside it, and converted at the end; if that fails the .mkv stays.

    Args:
        path: Ends in .mkv, .mp4, .m4v, .mov, .webm or .avi.
        top: Number of labels per face.

    Raises:
        OutputError: Another suffix, or the file cannot be written.
    """

    def __init__(self, path: str | Path, *, top: int = 1) -> None:
        self.top, path = top, as_path(path)
        self._final = None if path.suffix.lower() == LIVE_SUFFIX else VideoSink(path, fps=FPS)
        self._live = LiveVideoSink(path if self._final is None else unused(path.with_suffix(LIVE_SUFFIX)))

    @property
    def paths(self) -> list[Path]:
        """The files that are written: the video, and the one that it grows as."""
        return [self._live.path] if self._final is None else [self._final.path, self._live.path]

    def __enter__(self) -> AnnotatedVideoSink:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)
        if self._final is not None and os.path.exists(self._live.path):
            _finish(self._live.path, self._final)

    def write(
        self,
        frame: Frame,
        expressions: list[Expression],
        drawn: ImageArray | None = None,
        *,
        voice_result: VoiceResult | None = None,
    ) -> None:
        """Append a frame.

        Args:
            frame: The frame.
            expressions: Its expressions.
            drawn: The annotated frame, RGB uint8 (H, W, 3); drawn here when None.
            voice_result: The voice at its time; None without voice recognition.
        """
        image = draw(frame.image, expressions, top=self.top, voice_result=voice_result) if drawn is None else drawn
        self._live.write(image, time=frame.time)


class Recorder:
    """A sink that counts the expressions of a stream, and writes a video and tables if asked for.

    Files are created with the first frame: a stream without frames leaves no files, and old files of these names
    unchanged. A crash loses nothing recorded so far.

    Args:
        provenance: `Recognizer.provenance`.
        video: File of the annotated video; see `AnnotatedVideoSink`.
        csv: File with one row per face; see `CsvSink`.
        jsonl: File with one line per frame; see `JsonlSink`.
        top: Number of labels per face in the video.
        excel: As for `CsvSink`.
        voice: Origin of the voice's predictions, for the tables; None without voice recognition.

    Raises:
        ConfigError: Two of the files are the same, or a table has the suffix of a picture or video.
        OutputError: A file cannot be written, or is the recorded file itself; on entering, writing or leaving.
    """

    def __init__(
        self,
        provenance: Provenance,
        *,
        video: Path | None = None,
        csv: Path | None = None,
        jsonl: Path | None = None,
        top: int = 1,
        excel: bool = False,
        voice: Provenance | None = None,
    ) -> None:
        self.provenance = provenance
        self.statistics = Statistics(provenance)
        self._video = None if video is None else AnnotatedVideoSink(video, top=top)
        self._tables: list[CsvSink | JsonlSink] = []
        if csv is not None:
            self._tables.append(CsvSink(csv, provenance, smoothed=True, excel=excel, voice=voice))
        if jsonl is not None:
            self._tables.append(JsonlSink(jsonl, provenance, voice=voice))
        self._videos = [] if self._video is None else self._video.paths
        self._texts = [table.path for table in self._tables]
        check_targets((), texts=self._texts, files=self._videos)
        self._open = False
        self._stack = ExitStack()

    @property
    def labels(self) -> LabelSet:
        """Label set of the predictions."""
        return self.provenance.labels

    @property
    def writes(self) -> bool:
        """Whether files are written; their label set is fixed."""
        return bool(self._videos or self._texts)

    @property
    def uses_stdout(self) -> bool:
        """Whether a table goes to standard output."""
        return STANDARD_OUTPUT in self._texts

    def switch(self, provenance: Provenance) -> None:
        """Continue with another model or detector; the statistics start again.

        Raises:
            ConfigError: Files are being written, and its label set is another one.
        """
        if self.writes and provenance.labels != self.labels:
            raise ConfigError(
                f"{provenance.model} has other labels than the files that are being written; stop the recording first"
            )
        self.provenance, self.statistics = provenance, Statistics(provenance)
        for table in self._tables:
            table.provenance = provenance

    def __enter__(self) -> Recorder:
        for path in (*self._videos, *self._texts):
            check_folder_of(path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(
        self,
        frame: Frame,
        expressions: list[Expression],
        drawn: ImageArray | None = None,
        *,
        voice_result: VoiceResult | None = None,
    ) -> None:
        """Record a frame.

        Args:
            frame: The frame.
            expressions: Its expressions.
            drawn: The annotated frame, RGB uint8 (H, W, 3); drawn here, for a video, when None.
            voice_result: The voice at its time; None without voice recognition.
        """
        if not self._open:
            self._begin(frame.source)
        self.statistics.write(frame, expressions)
        for table in self._tables:
            table.write(frame, expressions, voice_result=voice_result)
        if self._video is not None:
            self._video.write(frame, expressions, drawn, voice_result=voice_result)

    def _begin(self, source: str) -> None:
        check_targets([source], texts=self._texts, files=self._videos)
        video: list[Sink] = [] if self._video is None else [self._video]
        self._stack.enter_context(many([*video, *self._tables]))
        self._open = True


def convert(source: Path, sink: VideoSink) -> int:
    """Write a video of any rate at the sink's constant one: at each tick the newest image until then.

    Returns:
        Number of images written.
    """
    written = 0
    last: ImageArray | None = None
    for frame in frames(source):
        while last is not None and written / sink.fps < frame.time:
            sink.write(last)
            written += 1
        last = frame.image
    if last is not None:
        sink.write(last)
        written += 1
    return written


def _finish(grown: Path, sink: VideoSink) -> None:
    """Convert a video, and remove it once the converted one is complete."""
    try:
        with quiet(), sink:
            convert(grown, sink)
    except MienError as error:
        raise OutputError(f"{error}; the recording is in '{grown}'") from error
    grown.unlink()
