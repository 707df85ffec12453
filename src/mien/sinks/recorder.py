"""What is kept of a live stream: an annotated video, tables, statistics, all written while it runs."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from mien.drawing.faces import draw
from mien.errors import ConfigError, MienError, OutputError
from mien.files import unused
from mien.labels import LabelSet
from mien.live import FrameResult
from mien.sinks.live_video import LIVE_SUFFIX, LiveVideoSink
from mien.sinks.statistics import Statistics
from mien.sinks.tables import CsvSink, JsonlSink
from mien.sinks.videos import VideoSink
from mien.sources.frames import frames
from mien.sources.quiet import quiet
from mien.structures import ImageArray

FPS = 25.0  # of a video that is not Matroska


class Recorder:
    """Writes what is seen to the files that were asked for, and counts it.

    A crash loses nothing that was seen: tables are written through, and a video is Matroska (.mkv) while it grows,
    which can be played at any moment. One that is to be an .mp4 or .avi lies beside it as .mkv until the end, when it
    is converted; where that fails the .mkv stays. Files are made with the first frame, so a stream that gives none
    leaves nothing, and old files of these names as they were.

    Args:
        labels: Label set of the predictions.
        video: File for the annotated video.
        csv: File for a row a face.
        jsonl: File for a line a frame.
        top: How many labels to name for each face, where the recorder has to draw.

    Raises:
        ConfigError: Two of the files are the same.
        OutputError: A file cannot be written; on entering, writing or leaving. Or it is the one that is being seen.
    """

    def __init__(
        self,
        labels: LabelSet,
        *,
        video: Path | None = None,
        csv: Path | None = None,
        jsonl: Path | None = None,
        top: int = 1,
    ) -> None:
        self.labels, self.top = labels, top
        self.statistics = Statistics(labels)
        final = None if video is None or video.suffix.lower() == LIVE_SUFFIX else video
        growing = video if final is None else unused(final.with_suffix(LIVE_SUFFIX))
        self._places = [path for path in (final, growing, csv, jsonl) if path is not None]
        if len({path.resolve() for path in self._places}) < len(self._places):
            raise ConfigError(f"two files of one name: {', '.join(map(str, self._places))}; choose different ones")
        self._final = None if final is None else VideoSink(final, fps=FPS)
        self._video = None if growing is None else LiveVideoSink(growing)
        self._tables: list[CsvSink | JsonlSink] = []
        if csv is not None:
            self._tables.append(CsvSink(csv, labels, smoothed=True))
        if jsonl is not None:
            self._tables.append(JsonlSink(jsonl, labels))
        self._open = False
        self._stack = ExitStack()

    @property
    def writes(self) -> bool:
        """Whether there are files; their labels must stay to the end."""
        return self._video is not None or bool(self._tables)

    def __enter__(self) -> Recorder:
        for path in self._places:
            place = path if os.path.exists(path) else path.parent
            if os.path.isdir(path) or not os.path.isdir(path.parent) or not os.access(place, os.W_OK):
                raise OutputError(
                    f"cannot write '{path}'; expected a file in a folder that is there and may be written to: "
                    "choose another place"
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if self._final is not None and self._video is not None and os.path.exists(self._video.path):
            _finish(self._video.path, self._final)

    def write(self, sight: FrameResult, drawn: ImageArray | None = None) -> None:
        """Record a frame.

        Args:
            sight: What was seen.
            drawn: The frame with that drawn into it, RGB uint8 (H, W, 3); drawn here, for a video, when None.
        """
        if not self._open:
            self._begin(sight.frame.source)
        self.statistics.add(sight.frame, sight.expressions)
        for table in self._tables:
            table.write(sight.frame, sight.expressions)
        if self._video is not None:
            image = draw(sight.frame.image, sight.expressions, top=self.top) if drawn is None else drawn
            self._video.write(image, time=sight.frame.time)

    def _begin(self, source: str) -> None:
        if any(path.resolve() == Path(source).resolve() for path in self._places):
            raise OutputError(f"'{source}' would be overwritten by what is seen in it; choose another name")
        with ExitStack() as stack:
            if self._video is not None:
                stack.enter_context(self._video)
            for table in self._tables:
                stack.enter_context(table)
            self._stack = stack.pop_all()
        self._open = True


def convert(source: Path, sink: VideoSink) -> int:
    """Write a video of any rate at the sink's constant one: at each of its ticks the newest picture until then.

    Returns:
        How many pictures were written.
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
    """Convert a video, and remove it once the other one is there as a whole."""
    try:
        with quiet(), sink:
            convert(grown, sink)
    except MienError as error:
        raise OutputError(f"{error}; what was seen is in '{grown}'") from error
    grown.unlink()
