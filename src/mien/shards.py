"""A job over very many files: shards of them are recognised one by one, each into a part that appears whole.

The folder of a job:

- `job.json`: settings that determine the rows, apart from the files; a resume with other settings is refused.
- `manifest.jsonl`: a line per shard, with the size and the time of change that its files had when they were planned,
  and for a piece of a video the seconds from which and to which it goes.
- `parts/part-000012.csv`: the rows of shard 12. `parts` holds nothing else, so that other programs read it as a table.
- `errors.csv`, `summary.json`: at the end of a run that left no shard open.

What a part holds follows from its line in the manifest, so recognising a shard twice does no harm, and resuming means
recognising the shards without a part. See docs/decisions/0048.
"""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypedDict

from mien import __version__
from mien.collection import FILES_PER_WORKER, Failure, FileResult, Piece, recognize_each, row_settings
from mien.cores import usable_cores
from mien.errors import ConfigError, InputError, OutputError
from mien.files import as_path, atomic_path, locked, make_empty_folder, make_folder, matching, printable, write_text
from mien.recognizer import Recognizer
from mien.settings import Range, checked, shown
from mien.sinks.journal import check_same, identity
from mien.sinks.parts import check_format, error_row, open_part, part_columns, part_rows, read_part
from mien.sinks.records import source_text
from mien.sinks.tables import csv_lines
from mien.sources.frames import inspect
from mien.sources.media import ALL_FRAMES, WHOLE, FrameSelection, TimeRange
from mien.sources.paths import VIDEO_SUFFIXES, list_files
from mien.structures import Progress, Provenance, check_count, check_part
from mien.targets import check_targets
from mien.workers import Crash, in_order

__all__ = ["Done", "Engine", "Job", "JobSummary", "Shard", "run"]

FORMAT = "mien job 1"
SHARD_SIZE = 256  # pictures: a minute of work, which is what a killed process loses
SHARD_FRAMES = (
    15_000  # of a video, ten minutes at 25 per second: less means more decoding again, see docs/decisions/0051
)
LENGTH_SECONDS = 60.0  # for opening a video, after which it stays whole
MIN_FRAME_BYTES = 200  # of a video on average, below which it is not divided: 40 kbit/s at 25 per second
ERROR_COLUMNS = ["part", "source", "error"]

Place: TypeAlias = "Callable[[str, str], str]"
FileState: TypeAlias = "tuple[str, int, int]"  # path, bytes, time of change in nanoseconds; see `identity`


@dataclass(frozen=True, slots=True)
class Shard:
    """Files that are recognised together: pictures, or one video, or a time range of it.

    Args:
        number: From 0, in the order in which shards were planned.
        folder: The working folder from which relative paths start.
        files: Path, bytes and time of change of each file.
        within: The time range of the one file; the whole of all files by default.
    """

    number: int
    folder: str
    files: tuple[FileState, ...]
    within: TimeRange = WHOLE

    @property
    def n_files(self) -> int:
        """Number of files; a video is counted with its first range."""
        return len(self.files) if self.within.start == 0 else 0

    def pieces(self) -> list[Piece]:
        """Return what is recognised; the paths are as they were given, in the working folder of that time."""
        start = Path() if os.getcwd() == self.folder else Path(self.folder)
        return [Piece(start / path, self.within) for path, _, _ in self.files]


class _Job(TypedDict):
    """What `job.json` holds."""

    job: Literal["mien job 1"]  # FORMAT
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Done:
    """A shard whose part is written.

    Args:
        shard: Its number; None for the paths that name no files, which belong to none.
        files: Number of its files; 0 for a later range of a video.
        rows: Number of rows of its part.
        faces: Number of faces among them.
        failures: The files that could not be read, or not to their ends; each has a row with the reason.
    """

    shard: int | None
    files: int = 0
    rows: int = 0
    faces: int = 0
    failures: tuple[Failure, ...] = ()

    @property
    def errors(self) -> int:
        """Number of failures."""
        return len(self.failures)


@dataclass(frozen=True, slots=True)
class Job:
    """A planned job.

    Args:
        folder: Its folder.
        format: Of its parts.
        shards: All shards.
        todo: Those without a part, or to be tried again.
        failures: The paths that name no files.
    """

    folder: Path
    format: str
    shards: list[Shard]
    todo: list[Shard]
    failures: tuple[Failure, ...] = ()

    def part(self, shard: Shard) -> Path:
        """Return the path of a shard's part."""
        return part_path(self.folder, shard.number, self.format)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """Counts of a finished job, in `summary.json`.

    Args:
        shards: Number of shards.
        files: Number of files.
        rows: Number of rows.
        faces: Number of faces, those of videos in every frame.
        errors: Number of errors, all of which are in `errors.csv`.
        labels: Number of faces by label.
    """

    shards: int
    files: int
    rows: int = 0
    faces: int = 0
    errors: int = 0
    labels: dict[str, int] = field(default_factory=dict)


class Engine(Protocol):
    """Recognises the shards of a job and writes their parts with `write_parts`, in any order and on any machine."""

    def __call__(
        self,
        job: Job,
        shards: Sequence[Shard],
        recognizer: Recognizer,
        *,
        selection: FrameSelection,
        progress: Progress | None,
    ) -> Iterator[Done]:
        """Yield `Done` per shard; arguments as for `run`."""
        ...


def run(
    paths: Sequence[str | Path],
    folder: str | Path,
    recognizer: Recognizer,
    *,
    format: str = "csv",
    shard_size: int = SHARD_SIZE,
    shard_frames: int = SHARD_FRAMES,
    glob: str | None = None,
    selection: FrameSelection = ALL_FRAMES,
    workers: int | None = 1,
    engine: Engine | None = None,
    retry_errors: bool = False,
    progress: Progress | None = None,
) -> Iterator[Done]:
    """Recognise very many files into the parts of a job; run again, it continues and takes new and changed files.

    Each file has its rows in one part, exactly once, however often the job is stopped. A file that cannot be read has a
    row with the reason. A shard of which a file has changed is recognised again, without the files of it that are gone;
    the rows of others that are gone stay.

    Args:
        paths: Pictures, videos, and folders, searched at any depth.
        folder: Folder of the job: a new or an empty one, or that of a job to continue.
        recognizer: Detects and classifies.
        format: "csv", "jsonl" or "parquet", which needs the extra `parquet`. Rows have the columns of `CsvSink`, and
            `error` after `note`.
        shard_size: Largest number of pictures per shard, for shards that are new; videos have shards of their own.
        shard_frames: Largest number of frames per shard, about: longer videos are divided by time, for shards that are
            new. Rows are those of the undivided video, frame by frame.
        glob: Pattern for a folder's files; see `sources.list_files`.
        selection: The frames of videos that are read.
        workers: Number of processes that share the files, see `recognize_files`; None for one per core, if there is
            work for them.
        engine: Recognises the shards in place of processes on this machine, as `cluster.Ray` does; None for these.
        retry_errors: Recognise shards with errors again.
        progress: Called with the files done in this run and their number; the ranges of a divided video count as files.

    Yields:
        `Done` per shard that is recognised, once its part is written; before them, if some paths name no files, one
        with their failures.

    Raises:
        ConfigError: The job was begun with other settings, or an argument is out of range.
        OutputError: A part cannot be written, `folder` holds something else, or another process works on the job.
        MissingExtra: The format's package is not installed.

    Example:
        >>> for done in run(["archive"], "expressions", Recognizer(), workers=8):
        ...     print(done.shard, done.files, done.rows, done.errors)
    """
    with opened(
        paths, folder, recognizer, format=format, shard_size=shard_size, shard_frames=shard_frames, glob=glob,
        selection=selection, retry_errors=retry_errors, workers=usable_cores() if workers is None else workers,
    ) as job:  # fmt: skip
        workers = _auto_workers(job.todo) if workers is None else workers
        if job.failures:
            yield Done(None, failures=job.failures)
        recognize = partial(recognize_shards, workers=workers) if engine is None else engine
        yield from recognize(job, job.todo, recognizer, selection=selection, progress=progress)
        if job.shards:
            finish(job)


@contextmanager
def opened(
    paths: Sequence[str | Path],
    folder: str | Path,
    recognizer: Recognizer,
    *,
    format: str = "csv",
    shard_size: int = SHARD_SIZE,
    shard_frames: int = SHARD_FRAMES,
    glob: str | None = None,
    selection: FrameSelection = ALL_FRAMES,
    retry_errors: bool = False,
    workers: int = 1,
) -> Iterator[Job]:
    """Plan a job, and hold its folder alone until the block ends; see `run`."""
    check_part("recognizer", recognizer, "classify_each", expected="a Recognizer")
    check_format(format)
    check_count("workers", workers)
    for name, size in {"shard_size": shard_size, "shard_frames": shard_frames}.items():
        check_count(name, size)
        if size < 1:
            raise ConfigError(f"{name} is {size}; expected 1 or more")
    folder = as_path(folder)
    sources = [as_path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    check_targets(sources, folders=[folder], glob=glob)
    place = _placer()
    files, failures = _find(sources, glob, place)
    if not files and not os.path.exists(folder / "job.json"):
        yield Job(folder, format, [], [], failures)
        return
    settings = {"format": format, **row_settings(recognizer, selection)}
    if not os.path.exists(folder / "job.json"):
        make_empty_folder(folder)
    with _alone(folder):
        _check_job(folder, settings)
        make_folder(folder / "parts")
        before = _read_manifest(folder)
        _remove_unknown(folder, format, before)
        shards, changed, new = _known(before, files, place)
        ranges = _ranges(new, shard_frames, selection=selection, workers=workers)
        shards += _new_shards(new, shard_size, ranges, number=shards[-1].number + 1 if shards else 0)
        remaining = partial(_without_gone, files=files, place=place)
        todo = _todo(folder, format, shards, retry_errors=retry_errors, remaining=remaining)
        redone = {shard.number for shard in (*changed, *todo)}
        shards = [remaining(shard) if shard.number in redone else shard for shard in shards]
        for shard in set(before).difference(shards):  # first: were the manifest new and a part old, nobody would know
            part_path(folder, shard.number, format).unlink(missing_ok=True)
        shards = [shard for shard in shards if shard.files]
        todo = [shard for shard in shards if shard.number in redone]
        if shards != before:
            _write_manifest(folder, shards)
        for name in ("summary.json", "errors.csv") if todo else ():
            (folder / name).unlink(missing_ok=True)
        yield Job(folder, format, shards, todo, failures)


def recognize_shards(
    job: Job,
    shards: Sequence[Shard],
    recognizer: Recognizer,
    *,
    selection: FrameSelection = ALL_FRAMES,
    workers: int = 1,
    progress: Progress | None = None,
) -> Iterator[Done]:
    """Recognise shards of a job and write their parts; see `run`."""
    pieces = [piece for shard in shards for piece in shard.pieces()]
    results = recognize_each(pieces, recognizer, selection=selection, workers=workers)
    yield from write_parts(job, shards, results, recognizer.provenance, progress=progress)


def write_parts(
    job: Job,
    shards: Sequence[Shard],
    results: Iterator[tuple[int, FileResult | Failure | None]],
    origin: Provenance,
    *,
    progress: Progress | None = None,
) -> Iterator[Done]:
    """Write the parts of shards from the results of their pieces, as `recognize_each` yields them."""
    columns = part_columns(origin)
    n_files, n_done = sum(len(shard.files) for shard in shards), 0
    for shard in shards:
        n_rows, n_faces, failures = 0, 0, []
        with open_part(job.part(shard), columns, within=job.folder) as append:
            for _ in shard.files:
                for result in _of_one_file(results):
                    if isinstance(result, FileResult):
                        n_faces += len(result.expressions)
                        rows = part_rows(result.frame, result.expressions, origin)
                    else:
                        failures.append(result)
                        rows = [error_row(result.path, result.error, origin)]
                    append(rows)
                    n_rows += len(rows)
                n_done += 1
                if progress is not None:
                    progress(n_done, n_files)
        yield Done(shard.number, shard.n_files, n_rows, n_faces, tuple(failures))


def finish(job: Job) -> JobSummary:
    """Write the errors and the counts of a job, all of whose shards have parts.

    Raises:
        OutputError: A part cannot be read, or the files cannot be written.
    """
    n_rows, n_faces, n_errors, labels = 0, 0, len(job.failures), Counter[str]()
    with atomic_path(job.folder / "errors.csv") as path, path.open("wb") as file:
        failures = [{"source": str(f.path), "error": str(f.error)} for f in job.failures]
        file.write(csv_lines(ERROR_COLUMNS, failures, header=True))
        for shard in job.shards:
            part = job.part(shard)
            for row in read_part(part, ("source", "face", "label", "error")):
                n_rows += 1
                if row["face"]:
                    n_faces += 1
                    labels[row["label"]] += 1
                if row["error"]:
                    n_errors += 1
                    file.write(csv_lines(ERROR_COLUMNS, [{"part": part.name, **row}]))
    summary = JobSummary(
        shards=len(job.shards), files=sum(shard.n_files for shard in job.shards), rows=n_rows, faces=n_faces,
        errors=n_errors, labels=dict(labels.most_common()),
    )  # fmt: skip
    write_text(job.folder / "summary.json", json.dumps({**asdict(summary), "mien": __version__}, indent=2) + "\n")
    return summary


def read_summary(folder: Path) -> JobSummary | None:
    """Return the counts of a job; None if it is not finished."""
    try:
        plain = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        found: JobSummary = checked(JobSummary, {name: plain[name] for name in JobSummary.__slots__}, "summary")
    except (OSError, ValueError, TypeError, KeyError, RecursionError, ConfigError):
        return None
    return found


def _of_one_file(results: Iterator[tuple[int, FileResult | Failure | None]]) -> Iterator[FileResult | Failure]:
    for _, result in results:
        if result is None:
            return
        yield result


def _auto_workers(shards: Sequence[Shard]) -> int:
    """Return the number of processes that pays: one per core, and one per video or 20 pictures."""
    n_videos = sum(_is_video(shard.files[0][0]) for shard in shards)
    n_pictures = sum(len(shard.files) for shard in shards) - n_videos
    return max(min(usable_cores(), n_videos + n_pictures // FILES_PER_WORKER), 1)


def part_path(folder: Path, number: int, format: str) -> Path:
    """Return the path of the part of a shard, by its number."""
    return folder / "parts" / f"part-{number:06}.{format}"


def _find(sources: Iterable[Path], glob: str | None, place: Place) -> tuple[dict[str, FileState], tuple[Failure, ...]]:
    """Return the files by their places, see `_placer`, and the paths that name none."""
    files: dict[str, FileState] = {}
    failures = []
    start = os.getcwd()
    for source in sources:
        try:
            for path in list_files(source, glob=glob):
                files.setdefault(place(start, str(path)), identity(path))
        except InputError as error:
            failures.append(Failure(source, error))
    return files, tuple(failures)


def _placer() -> Place:
    """Return the function by which a file is known, in whatever way its path is written.

    It takes the folder from which relative paths start, and a path, and returns the real folder of the file and its
    name there. A folder is looked up once, not for each of its files.
    """
    real = cache(os.path.realpath)

    def place(start: str, path: str) -> str:
        folder, name = os.path.split(os.path.join(start, path))
        return os.path.join(real(folder), name)

    return place


def _known(
    before: Sequence[Shard], files: dict[str, FileState], place: Place
) -> tuple[list[Shard], list[Shard], list[FileState]]:
    """Return the shards as their files are now, those of which a file has changed, and the files that are in none.

    A video that has changed keeps its ranges, since the last one ends with it, however long it is.
    """
    shards: list[Shard] = []
    changed, known = [], set()
    for shard in before:
        places = [place(shard.folder, path) for path, _, _ in shard.files]
        known.update(places)
        now = tuple((old[0], *files.get(key, old)[1:]) for key, old in zip(places, shard.files, strict=True))
        shards.append(replace(shard, files=now))
        if now != shard.files:
            changed.append(shards[-1])
    return shards, changed, [state for key, state in files.items() if key not in known]


def _without_gone(shard: Shard, files: dict[str, FileState], place: Place) -> Shard:
    """Return a shard without the files that are gone; one whose part stays keeps them, with their rows."""
    start = Path(shard.folder)
    there = [file for file in shard.files if place(shard.folder, file[0]) in files or os.path.exists(start / file[0])]
    return replace(shard, files=tuple(there))


def _new_shards(
    files: Iterable[FileState], size: int, ranges: Mapping[str, list[TimeRange]], *, number: int
) -> Iterator[Shard]:
    """Yield shards from a number on: each video alone or by its ranges, and the pictures in groups, in their order."""
    numbers, start = count(number), os.getcwd()
    pictures: list[FileState] = []
    for state in files:
        if _is_video(state[0]):
            for within in ranges.get(state[0], [WHOLE]):
                yield Shard(next(numbers), start, (state,), within)
            continue
        pictures.append(state)
        if len(pictures) == size:
            yield Shard(next(numbers), start, tuple(pictures))
            pictures.clear()
    if pictures:
        yield Shard(next(numbers), start, tuple(pictures))


def _is_video(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    return suffix in VIDEO_SUFFIXES and suffix != ".gif"  # most of these are short


def _ranges(
    files: Iterable[FileState], most: int, *, selection: FrameSelection, workers: int
) -> dict[str, list[TimeRange]]:
    """Return the time ranges of videos with more than so many frames, by path; only large files are opened."""
    large = {path: size // MIN_FRAME_BYTES for path, size, _ in files if _is_video(path)}
    large = {path: n for path, n in large.items() if n > most}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again when the video's turn comes
        lengths = _lengths(list(large), workers)
    ranges = {}
    for (path, n_possible), (seconds, rate) in zip(large.items(), lengths, strict=True):
        stop = seconds if selection.stop is None else min(seconds, selection.stop)
        n_frames = (stop - selection.start) * min(rate, selection.fps or rate)
        n = math.ceil(min(n_frames, n_possible) / most)  # the length in a damaged header may be anything
        if n > 1:
            length = (stop - selection.start) / n
            ends = [round(selection.start + length * i, 3) for i in range(1, n)]
            ranges[path] = [TimeRange(*pair) for pair in zip([0.0, *ends], [*ends, None], strict=True)]
    return ranges


def _lengths(paths: Sequence[str], workers: int) -> list[tuple[float, float]]:
    """Return the seconds of videos and their frames per second, 0 where unknown; from several processes if asked."""
    if workers < 2:
        return [_length(path) for path in paths]
    results = in_order(_each_length, paths, workers=workers, silence_seconds=LENGTH_SECONDS)
    return [(0.0, 0.0) if isinstance(result, Crash) else result for _, result in results]


def _each_length() -> Callable[[str], Iterator[tuple[float, float]]]:
    return lambda path: iter([_length(path)])


def _length(path: str) -> tuple[float, float]:
    try:
        media = inspect(path)
    except InputError:  # found again when its turn comes
        return 0.0, 0.0
    return ((media.frames or 0) / media.rate, media.rate) if media.rate else (0.0, 0.0)


def _parts(folder: Path, format: str) -> dict[int, Path]:
    """Return the parts that are there, by the numbers of their shards."""
    found = ((re.fullmatch(rf"part-(\d{{6,}})\.{format}", path.name), path) for path in (folder / "parts").iterdir())
    return {int(name[1]): path for name, path in found if name}


def _remove_unknown(folder: Path, format: str, shards: Sequence[Shard]) -> None:
    """Remove the part of a shard that the manifest has lost: its number is given again, to other files.

    Raises:
        OutputError: There are several; nothing is removed.
    """
    known = {shard.number for shard in shards}
    lost = [path for number, path in sorted(_parts(folder, format).items()) if number not in known]
    if len(lost) > 1:
        raise OutputError(
            f"{len(lost):,} parts in '{printable(folder / 'parts')}', the first of them '{lost[0].name}', are not in "
            "manifest.jsonl; restore that file, or move these parts away to have their files recognised again"
        )
    for path in lost:
        warnings.warn(f"'{path.name}' is not in the manifest; removed, its files are recognised again", stacklevel=5)
        path.unlink()


def _todo(
    folder: Path, format: str, shards: Sequence[Shard], *, retry_errors: bool, remaining: Callable[[Shard], Shard]
) -> list[Shard]:
    """Return the shards without a part, and those with errors if they are retried.

    A shard is not retried where that would lose the rows of a file that is gone, perhaps with a drive for a while.
    """
    parts = _parts(folder, format)

    def is_done(shard: Shard) -> bool:
        part = parts.get(shard.number)
        if part is None or not (part.stat().st_size or format == "jsonl"):  # a range of time may have no frames
            return False
        failed = set(_failed(part)) if retry_errors else set()
        if not failed:
            return True
        gone = [path for path, _, _ in set(shard.files).difference(remaining(shard).files)]
        return any(failed.isdisjoint(map(source_text, (path, str(Path(shard.folder, path))))) for path in gone)

    return [shard for shard in shards if not is_done(shard)]


def _failed(part: Path) -> Iterator[str]:
    """Yield the sources of the rows with errors."""
    return (row["source"] for row in read_part(part, ("source", "error")) if row["error"])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a job's folder during a block.

    Raises:
        OutputError: Another process holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, wait=False))
        except BlockingIOError as error:
            raise OutputError(
                f"another process works on the job in '{printable(folder)}'; wait for its end, or choose another folder"
            ) from error
        yield


def _check_job(folder: Path, settings: dict[str, object]) -> None:
    """Compare the settings of a job with those it was begun with, or note them while it has no parts.

    Raises:
        ConfigError: They differ, or `job.json` is of something else.
    """
    path = folder / "job.json"
    try:
        job: _Job = checked(_Job, json.loads(path.read_bytes()), "job")
    except FileNotFoundError:
        _write_job(path, settings)
        return
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise ConfigError(f"'{printable(path)}' is not of a job of mien; choose a new folder") from error
    if not any(matching(folder / "parts", "part-*")):
        _write_job(path, settings)
        return
    check_same(job["settings"], settings, place=folder, hint="choose a new folder")


def _write_job(path: Path, settings: dict[str, object]) -> None:
    write_text(path, json.dumps({"job": FORMAT, "settings": settings}, indent=2) + "\n")


def _read_manifest(folder: Path) -> list[Shard]:
    """Return the shards of a manifest; a torn last line is left out.

    Raises:
        ConfigError: Another line is damaged.
    """
    path = folder / "manifest.jsonl"
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"cannot read '{printable(path)}': {error.strerror}") from error
    shards: list[Shard] = []
    for number, line in enumerate(lines[:-1], start=1):  # the last one is empty, or torn
        try:
            shards.append(_shard(json.loads(line)))
            if len(shards) > 1 and shards[-1].number <= shards[-2].number:
                raise ValueError("shards are in order")
        except (ValueError, TypeError, KeyError, RecursionError, ConfigError) as error:
            raise ConfigError(
                f"line {number} of '{printable(path)}' is damaged; restore it, or start again in another folder"
            ) from error
    return shards


def _shard(line: Any) -> Shard:
    """Return a shard read from JSON.

    Raises:
        ConfigError, ValueError, TypeError, KeyError: It is none.
    """
    number = checked(Annotated[int, Range(0)], line["shard"], "shard")
    start, stop = checked(list[Annotated[float, Range(0)] | None], line.get("seconds", [0.0, None]), "seconds")
    if start is None or not line["files"]:
        raise ValueError("a range without a start, or a shard without files")
    return Shard(number, _path(line["folder"]), tuple(map(_file, line["files"])), TimeRange(start, stop))


def _file(plain: Any) -> FileState:
    """Return a file of a shard read from JSON, of which there may be millions: `checked` would take seconds."""
    size, mtime_ns = plain["size"], plain["mtime_ns"]
    if type(size) is not int or type(mtime_ns) is not int:
        raise ValueError(f"size {shown(size)} and mtime_ns {shown(mtime_ns)}; expected integers")
    return _path(plain["path"]), size, mtime_ns


def _path(text: object) -> str:
    if not isinstance(text, str) or "\0" in text:
        raise ValueError(f"{shown(text)} is not a path")
    return text


def _write_manifest(folder: Path, shards: Iterable[Shard]) -> None:
    with atomic_path(folder / "manifest.jsonl") as path, path.open("w", encoding="utf-8", newline="\n") as file:
        for shard in shards:
            files = [{"path": path, "size": size, "mtime_ns": mtime} for path, size, mtime in shard.files]
            line = {"shard": shard.number, "folder": shard.folder, "files": files}
            if shard.within != WHOLE:
                line["seconds"] = [shard.within.start, shard.within.stop]
            file.write(json.dumps(line) + "\n")
