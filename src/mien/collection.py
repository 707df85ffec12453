"""Recognise many files: pictures, videos and folders of them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien import __version__
from mien.cores import usable_cores
from mien.errors import ConfigError, InputError, UnwritableImage
from mien.files import as_path, counted, printable
from mien.fusion import VoiceResult, VoiceTrack, fuse_faces
from mien.models.onnx_file import graph_fingerprint
from mien.pixels import is_dark
from mien.recognizer import Detected, Recognizer
from mien.sinks.journal import Journal
from mien.sinks.sink import Sink, write_to
from mien.sources.media import ALL_FRAMES, WHOLE, FrameSelection, Media, TimeRange
from mien.sources.paths import list_files
from mien.sources.ranges import RangeReader
from mien.sources.sounds import sounds
from mien.structures import Block, Expression, Frame, Progress, Utterance, check_count, check_part
from mien.targets import check_targets, folded
from mien.voice.listener import Listener
from mien.workers import SILENCE_SECONDS, Crash, in_order

if TYPE_CHECKING:
    from mien.sinks.annotated import AnnotatedSink

FILES_PER_WORKER = 20  # below, starting a process takes longer than it saves


@dataclass(frozen=True, slots=True)
class Piece:
    """A file to recognise, or a time range of a video.

    Args:
        path: The file.
        within: The time range.
        out: Folder of the annotated copy; None for none.
    """

    path: Path
    within: TimeRange = WHOLE
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class FileResult:
    """A frame of a file and its expressions.

    Args:
        path: The file.
        media: Its properties; `media.kind` is "picture" or "video".
        frame: The picture, or a frame of the video.
        expressions: One per face, left to right.
        voice_result: The voice at the frame's time; None for pictures, and without voice recognition.
    """

    path: Path
    media: Media
    frame: Frame
    expressions: list[Expression]
    voice_result: VoiceResult | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A path that cannot be read, or not to its end, or whose annotated copy its format cannot hold.

    Args:
        path: The file or folder.
        error: The reason.
    """

    path: Path
    error: InputError | UnwritableImage


@dataclass(slots=True)
class Summary:
    """Counts files, faces and labels; as text "12 pictures, 17 faces: 9 happy, 8 neutral".

    Args:
        pictures: Number of pictures.
        videos: Number of videos.
        frames: Number of frames of the videos.
        labels: Number of faces by label, those of videos counted in every frame.
    """

    pictures: int = 0
    videos: int = 0
    frames: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    _last: Path | None = field(default=None, repr=False)  # the video counted last

    def add(self, seen: FileResult) -> None:
        """Count a picture, or the next frame of a video."""
        if seen.media.kind == "picture":
            self.pictures += 1
        else:
            self.videos += seen.path != self._last
            self._last = seen.path
            self.frames += 1
        self.labels.update(expression.label for expression in seen.expressions)

    def __str__(self) -> str:
        parts = [counted(self.pictures, "picture")] if self.pictures else []
        if self.videos:
            parts.append(f"{counted(self.videos, 'video')} ({counted(self.frames, 'frame')})")
        faces = ", ".join([*parts, counted(self.labels.total(), "face")])
        labels = ", ".join(f"{n:,} {label}" for label, n in self.labels.most_common())
        return f"{faces}: {labels}" if labels else faces


def recognize_files(
    paths: str | Path | Sequence[str | Path],
    recognizer: Recognizer,
    *,
    glob: str | None = None,
    selection: FrameSelection = ALL_FRAMES,
    sinks: Sequence[Sink] = (),
    out: str | Path | None = None,
    top: int = 1,
    summary: bool = False,
    listener: Listener | None = None,
    workers: int = 1,
    batch: int | None = None,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Iterator[FileResult | Failure]:
    """Yield the frames of files and folders with their expressions; each file is opened once, when its turn comes.

    Args:
        paths: Pictures, videos, and folders, searched at any depth, or one of them; a file named twice is read once.
        recognizer: Detects and classifies.
        glob: Pattern for a folder's files; see `sources.list_files`.
        selection: The frames of videos that are read.
        sinks: Opened sinks; each frame is written to all of them before it is yielded.
        out: Folder for annotated copies; those of a folder's files keep their places in it. None for no copies.
        top: Number of labels per face in annotated copies.
        summary: Append a strip that counts the expressions to annotated copies.
        listener: Hears the voice of videos, which is joined with the faces, see `fusion.fuse_faces`; None for faces
            alone. Sinks must then be `VoiceSink`s. A warning names videos without sound.
        workers: Number of processes that share the files, with one thread each; see `auto_workers`. Results have the
            same order and values as from one process, but blank images, since pixels stay in the processes. A file that
            stops its process twice is a `Failure`.
        batch: Number of pictures or frames whose faces are classified at once; several processes batch the frames of a
            video. 1 on the CPU and 32 on an accelerator when None. Probabilities differ by rounding errors.
        journal: Notes the files that are done; those of a resumed run are not read again, and only their failures are
            yielded.
        progress: Called with the files done and their number; for one video, with its frames.

    Yields:
        `FileResult` for each frame, and `Failure` for each path that cannot be read; the other paths are still read.
        A file whose annotated copy its format cannot hold has its results, and then a `Failure`.

    Raises:
        InputError: An object among the paths is not a path.
        ConfigError: `recognizer` is not a Recognizer, or a sink is not a Sink.
        OutputError: A sink or an annotated copy cannot be written, or a copy would overwrite one of the files.

    Example:
        >>> for result in recognize_files(["party.jpg", "holiday"], Recognizer()):
        ...     print(result.path, result.error if isinstance(result, Failure) else result.expressions)
    """
    check_part("recognizer", recognizer, "classify_each", expected="a Recognizer")
    if listener is not None:
        check_part("listener", listener, "stream", expected="None, or a mien.Listener")
    if not isinstance(sinks, Iterable) or isinstance(sinks, str):
        raise ConfigError(f"sinks is of type {type(sinks).__name__}; expected a list of opened sinks")
    for sink in sinks:
        check_part("a sink", sink, "write", expected="an opened one, such as CsvSink,")
    check_count("top", top)
    out = None if out is None else as_path(out)
    given = paths if isinstance(paths, Iterable) and not isinstance(paths, (str, bytes, os.PathLike)) else [paths]
    check_count("workers", workers)
    if journal is not None:
        check_part("journal", journal, "start", expected="an opened Journal")
    files, failures = _expand(list(map(as_path, given)), glob, out)
    folders = {} if out is None else _copy_folders(files, out)
    yield from failures
    n_kept = 0
    if journal is not None:
        n_kept = journal.start(list(files))
        yield from (Failure(Path(entry.path), InputError(entry.error)) for entry in journal.kept if entry.error)
    todo = [Piece(file, out=folders.get(file)) for file in list(files)[n_kept:]]
    job = _Job(
        recognizer,
        selection,
        top=top,
        summary=summary,
        listener=listener,
        batch=recognizer.batch if batch is None else batch,
    )
    results = job.shared(todo, workers, progress if len(files) == 1 else None)
    error: InputError | UnwritableImage | None = None
    for index, result in results:
        if isinstance(result, FileResult):
            for sink in sinks:
                write_to(sink, result.frame, result.expressions, result.voice_result)
        if isinstance(result, Failure):
            error = result.error
        if result is not None:
            yield result
            continue
        if journal is not None:
            journal.add(todo[index].path, error)
        error = None
        if progress is not None and len(files) > 1:
            progress(n_kept + index + 1, len(files))


def recognize_each(
    pieces: Sequence[Piece],
    recognizer: Recognizer,
    *,
    selection: FrameSelection = ALL_FRAMES,
    workers: int = 1,
    isolated: bool = False,
) -> Iterator[tuple[int, FileResult | Failure | None]]:
    """Yield the results of files with the ends of the files: `recognize_files` for callers that note what is done.

    Args:
        pieces: Pictures, videos, and time ranges of videos; each is opened when its turn comes.
        recognizer: Detects and classifies.
        selection: The frames of videos that are read.
        workers: See `recognize_files`.
        isolated: Recognise in another process even with one worker, so that a file that crashes it is a `Failure`.

    Yields:
        The index of a piece and a result of it; after its last result the index and None.
    """
    job = _Job(recognizer, selection, top=1, summary=False, listener=None, batch=recognizer.batch)
    return job.shared(pieces, workers, None, isolated=isolated)


def row_settings(
    recognizer: Recognizer, selection: FrameSelection = ALL_FRAMES, listener: Listener | None = None
) -> dict[str, object]:
    """Return the settings that determine the rows of a table, apart from the files, as plain JSON data."""
    origin = recognizer.provenance
    settings: dict[str, object] = {
        "model": origin.model, "graph": _graph_of(recognizer.classifier), "labels": origin.labels.name,
        "detector": origin.detector, "min_score": getattr(recognizer.detector, "min_score", None),
        "min_confidence": recognizer.min_confidence, "fps": selection.fps, "start": selection.start,
        "stop": selection.stop, "mien": __version__,
    }  # fmt: skip
    if listener is not None:
        voice = listener.provenance
        settings |= {"voice": voice.model, "voice_graph": _graph_of(listener.classifier), "hears": voice.detector}
    return settings


def _graph_of(model: object) -> str:
    path = getattr(model, "path", None)
    return "" if path is None else graph_fingerprint(path)[:16]


def auto_workers(paths: Sequence[Path], *, glob: str | None = None) -> int:
    """Return the number of worker processes that pays for files and folders: one per core, and one per 20 files."""
    n_files = len(_expand(paths, glob, None)[0])
    return max(min(usable_cores(), n_files // FILES_PER_WORKER), 1)


def _expand(paths: Sequence[Path], glob: str | None, out: Path | None) -> tuple[dict[Path, Path], list[Failure]]:
    """Return the files that paths name, each with its path in the folder it was found in, and the paths that fail.

    Annotated copies of an earlier run, in a folder `out` inside one of the folders, are left out with a warning.
    """
    files: dict[Path, Path] = {}
    failures = []
    for path in paths:
        try:
            for file in _without_copies(list_files(path, glob=glob), path, out):
                files.setdefault(file, file.relative_to(path) if file != path else Path(file.name))
        except InputError as error:
            failures.append(Failure(path, error))
    return files, failures


def _without_copies(files: list[Path], path: Path, out: Path | None) -> list[Path]:
    copies = None if out is None else Path(os.path.realpath(out))
    if copies is None or Path(os.path.realpath(path)) not in copies.parents:
        return files
    kept = [file for file in files if copies not in Path(os.path.realpath(file)).parents]
    if len(kept) < len(files):
        warnings.warn(
            f"{counted(len(files) - len(kept), 'file')} in '{out}', the folder of annotated copies, not read",
            stacklevel=4,
        )
    return kept


def _copy_folders(files: Mapping[Path, Path], out: Path) -> dict[Path, Path]:
    """Return the folder of each file's annotated copy: that of the file, below `out`.

    No two copies share a name, on file systems that ignore case either: the later one goes a folder deeper.

    Raises:
        OutputError: A copy would overwrite one of the files.
    """
    from mien.sinks.annotated import copy_names  # loads the font

    copies: set[str] = set()
    folders = {}
    for file, place in files.items():
        names = copy_names(file)
        while copies & (taken := {folded(out / place.with_name(name)) for name in names}):
            place = (Path(os.path.realpath(file.parent)).name or "more") / place
        folders[file] = (out / place).parent
        copies |= taken
    check_targets(files, files=[folder / name for file, folder in folders.items() for name in copy_names(file)])
    return folders


@dataclass(frozen=True, slots=True)
class _Step:
    """A frame of a file; or the end of the file, without a frame, and the error that ended it."""

    index: int
    media: Media | None = None
    frame: Frame | None = None
    error: InputError | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """What is done with each file: a process gets it once, by pickling."""

    recognizer: Recognizer
    selection: FrameSelection
    top: int
    summary: bool
    listener: Listener | None
    batch: int

    def shared(
        self, todo: Sequence[Piece], workers: int, progress: Progress | None, *, isolated: bool = False
    ) -> Iterator[tuple[int, FileResult | Failure | None]]:
        """Yield the results of `see_all` from one or several processes."""
        if isolated or (workers > 1 and len(todo) > 1):
            return _from_workers(self, todo, workers)
        return self.see_all(todo, progress)

    def see_all(
        self, todo: Sequence[Piece], progress: Progress | None, reader: RangeReader | None = None
    ) -> Iterator[tuple[int, FileResult | Failure | None]]:
        """Yield the index of each file with its results, the last of which is None."""
        with RangeReader(self.selection) if reader is None else nullcontext(reader) as opened:
            steps = self.recognizer.classify_each(self._detected(todo, opened), batch=self.batch)
            for index, of_file in groupby(steps, key=lambda found: found[0].index):
                for result in self._seen(todo[index], of_file, progress):
                    yield index, result
                yield index, None

    def _detected(self, todo: Sequence[Piece], reader: RangeReader) -> Iterator[Detected[_Step]]:
        """Yield the faces of each frame, and after each file a step without a frame."""
        for index, piece in enumerate(todo):
            yield from self._detected_in(piece, index, reader)

    def _detected_in(self, piece: Piece, index: int, reader: RangeReader) -> Iterator[Detected[_Step]]:
        error: InputError | None = None
        try:
            media, frames = reader.open(piece.path, piece.within)
            for frame in frames:
                step = _Step(index, media, frame)
                yield self.recognizer.find(step, frame.image, any_angle=media.kind != "video")
        except InputError as caught:
            error = caught
        yield Detected(_Step(index, error=error))

    def _seen(
        self, piece: Piece, steps: Iterable[tuple[_Step, list[Expression]]], progress: Progress | None
    ) -> Iterator[FileResult | Failure]:
        """Yield the frames of a file, written to its annotated copy and joined with its voice."""
        copy, voice_result, voice = None, None, None
        impossible: UnwritableImage | None = None  # the copy
        try:
            with ExitStack() as stack:
                for step, expressions in steps:
                    media, frame = step.media, step.frame
                    if media is None or frame is None:  # the end of the file
                        if failure := step.error or impossible:
                            raise failure
                        return
                    if piece.out is not None and copy is None:
                        copy = stack.enter_context(self._copy(piece.path, piece.out, media))
                    if self.listener is not None and media.kind == "video":
                        voice = voice or VoiceTrack(_utterances(piece.path, self.listener, self.selection))
                        voice_result = fuse_faces(expressions, voice.at(frame.time))
                    if copy is not None and impossible is None:
                        try:
                            write_to(copy, frame, expressions, voice_result)
                        except UnwritableImage as refused:
                            impossible = refused
                    if progress is not None:
                        progress(frame.index + 1, media.frames)
                    yield FileResult(piece.path, media, frame, expressions, voice_result)
        except (InputError, UnwritableImage) as error:
            yield Failure(piece.path, error)

    def _copy(self, path: Path, out: Path, media: Media) -> AnnotatedSink:
        from mien.sinks.annotated import AnnotatedSink  # loads the font

        return AnnotatedSink(path, out, media=media, selection=self.selection, top=self.top, summary=self.summary)

    def __call__(self) -> Callable[[Piece], Iterator[_Light | Failure | None]]:
        """Return the function of a worker process."""
        return partial(self._see_light, RangeReader(self.selection))

    def _see_light(self, reader: RangeReader, item: Piece) -> Iterator[_Light | Failure | None]:
        for _, result in self.see_all([item], None, reader):
            yield _Light.of(result) if isinstance(result, FileResult) else result


def _utterances(path: Path, listener: Listener, selection: FrameSelection) -> Iterator[Utterance]:
    """Yield the utterances of a video; what cannot be heard is a warning, and its faces are seen all the same."""
    try:
        yield from listener.stream(_selected(sounds(path), selection, lead=listener.longest))
    except InputError as error:
        warnings.warn(f"{error}; only its faces are recognised", stacklevel=2)


def _selected(blocks: Iterable[Block], selection: FrameSelection, *, lead: float) -> Iterator[Block]:
    """Yield the sound of the selected stretch, and of the `lead` seconds before, in which an utterance may begin."""
    for block in blocks:
        if selection.stop is not None and block.time >= selection.stop:
            return
        if block.end >= selection.start - lead:
            yield block


@dataclass(frozen=True, slots=True)
class _Light:
    """A result on its way from a worker process, without pixels."""

    seen: FileResult
    size: tuple[int, int]  # height, width of the image
    dark: bool  # asked only where no face was found

    @classmethod
    def of(cls, seen: FileResult) -> _Light:
        image = seen.frame.image
        empty = replace(seen, frame=replace(seen.frame, image=image[:0]))
        return cls(empty, (image.shape[0], image.shape[1]), not seen.expressions and is_dark(image))

    def restored(self) -> FileResult:
        """Return the result with a blank image of the same size, black if the real one is nearly so."""
        blank = np.broadcast_to(np.uint8(0 if self.dark else 255), (*self.size, 3))
        return replace(self.seen, frame=replace(self.seen.frame, image=blank))


def longest_silence(pieces: Iterable[Piece], selection: FrameSelection) -> float:
    """Return the seconds without a result after which a process is taken for hung.

    A video is decoded, at least as fast as it is played, up to its first frame, and from one chosen frame to the next.
    """
    first = max((piece.within.start for piece in pieces), default=0.0)
    return SILENCE_SECONDS + max(first, selection.start) + (1 / selection.fps if selection.fps else 0.0)


def _from_workers(job: _Job, todo: Sequence[Piece], workers: int) -> Iterator[tuple[int, FileResult | Failure | None]]:
    """Yield the results of `_Job.see_all` from several processes."""
    for index, result in in_order(job, todo, workers=workers, silence_seconds=longest_silence(todo, job.selection)):
        if isinstance(result, Crash):
            item = todo[index]
            name = f"'{printable(item.path)}'" + ("" if item.within == WHOLE else f", {item.within},")
            yield index, Failure(item.path, InputError(f"{name} cannot be recognised: twice, {result.reason}"))
            yield index, None
        else:
            yield index, result.restored() if isinstance(result, _Light) else result
