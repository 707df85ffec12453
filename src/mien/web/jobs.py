"""Videos as jobs: kept in private folders, recognised one after the other, deleted."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from fastapi import Request

from mien.collection import Failure, FileResult, recognize_files
from mien.errors import InputError, MienError, OutputError, UnwritableImage
from mien.escape import one_line, visible
from mien.files import locked, matching
from mien.recognizer import Recognizer
from mien.sinks.encoders import check_size
from mien.sinks.sink import Sink, many
from mien.sinks.statistics import Statistics
from mien.sinks.tables import CsvSink, JsonlSink
from mien.structures import Expression, Frame
from mien.warn import Warned, collect_warnings
from mien.web.answers import VideoAnswer, WarningAnswer
from mien.web.bodies import receive_video
from mien.web.engine import Engine
from mien.web.problems import INTERNAL, Problem, of_error
from mien.web.video_files import MAX_FRAMES, inspect_video

log = logging.getLogger("mien.web")

JOBS = 1  # at once
MAX_QUEUED = 8  # further ones are answered 503
MAX_UPLOADS = 8  # at once
MAX_KEPT = 32  # finished jobs; the oldest one makes room
KEPT_SECONDS = 3600.0  # from the end of a job until its files are deleted
SWEPT_SECONDS = 60.0  # between two searches for these
LEFT_SECONDS = 86_400.0  # age of folders that a killed process left behind, where there are no locks
MAX_JOB_SECONDS = 3600.0
CLOSING_SECONDS = 1.0  # that running jobs have to notice the end of the service
PREFIX = "mien-video-"  # of temporary folders
MAX_NAME = 200  # characters of a file name
FILES = {  # of results: path in a job's folder, media type
    "faces.csv": ("faces.csv", "text/csv; charset=utf-8"),
    "faces.jsonl": ("faces.jsonl", "application/jsonl"),
    "annotated.mp4": ("out/annotated.mp4", "video/mp4"),
}
UPLOAD = "in/annotated.mp4"  # whatever it is: the content decides, and the annotated copy gets this name
State = Literal["queued", "running", "done", "failed"]


@dataclass(slots=True, eq=False)
class Job:
    """A video and its results. One thread works on it while others read its state.

    Args:
        source: The file name that the client gave.
        folder: Of its files; deleted with the job.
    """

    source: str
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "queued"
    frames: int | None = None
    done: int = 0
    warnings: list[Warned] = field(default_factory=list)  # may name the video's path
    error: str | None = None
    code: str | None = None  # of the error
    statistics: dict[str, Any] | None = None
    ended: float | None = None  # by time.monotonic
    cancelled: threading.Event = field(default_factory=threading.Event)
    lock: ExitStack = field(default_factory=ExitStack)  # of the folder, see `_delete_left_behind`

    @property
    def upload(self) -> Path:
        """The video itself."""
        return self.folder / UPLOAD

    def answer(self) -> VideoAnswer:
        """Return its state, for JSON."""
        return VideoAnswer(
            id=self.id, source=self.source, state=self.state, frames=self.frames, done=self.done,
            warnings=[
                WarningAnswer(code=code, detail=one_line(self.without_paths(text))) for code, text in self.warnings
            ],
            error=self.error, code=self.code, statistics=self.statistics,
            files=list(FILES) if self.state == "done" else [],
        )  # fmt: skip

    def inspect(self, *, max_animation: int) -> None:
        """Check the video, and note its number of frames; see `video_files.inspect_video`.

        Raises:
            Problem: It is not a video that can be recognised.
            UnwritableImage: Its annotated copy cannot be written.
        """
        try:
            media = inspect_video(self.upload, self.source, max_animation=max_animation)
            check_size(".mp4", media.size)
            self.frames = media.frames
        except Problem as problem:
            raise Problem(problem.code, self.without_paths(problem.detail)) from None

    def delete(self) -> None:
        """Delete its files; a thread that works on it stops at the next frame, and deletes what it wrote since."""
        self.cancelled.set()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()

    def without_paths(self, text: str) -> str:
        """Return a message in which the client's name stands for the video, and results have no folder."""
        return text.replace(str(self.upload), self.source).replace(f"{self.folder}{os.sep}", "")


class Videos:
    """The jobs of a service. Its methods are called in the event loop's thread.

    Args:
        engine: Recognisers and threads.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: dict[str, Job] = {}
        self._running: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(JOBS, thread_name_prefix="mien-video")
        self._n_uploads = 0
        self._sweeper: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Delete old jobs from time to time, and all at the end."""
        self._start()
        try:
            yield
        finally:
            if self._sweeper is not None:
                self._sweeper.cancel()
                await asyncio.wait([self._sweeper])

    def _start(self) -> None:
        """Begin to delete old jobs, also where no lifespan is run: where another app has mounted the service."""
        if self._sweeper is None or self._sweeper.done():
            _delete_left_behind()
            self._sweeper = asyncio.create_task(self._sweep())

    @asynccontextmanager
    async def upload(self, request: Request) -> AsyncIterator[Job]:
        """Yield a new job with the video of a request; it is deleted unless it is queued in the block.

        Raises:
            Problem: busy: too many are uploaded or queued; disk-full; see `bodies.receive_video` for the others.
        """
        self._start()
        self._check_room()
        if self._n_uploads >= MAX_UPLOADS:
            raise Problem("busy", f"busy: {self._n_uploads} videos are being uploaded; try again in a moment")
        self._n_uploads += 1
        job = None
        try:
            with _disk_full_reported():
                job = Job("video", Path(tempfile.mkdtemp(prefix=PREFIX)))  # for its owner alone, 0700
                job.lock.enter_context(locked(job.folder, wait=False))
                job.upload.parent.mkdir()
                with job.upload.open("wb") as file:
                    name = await receive_video(request, file, self._engine)
                job.source = visible(re.split(r"[/\\]", name)[-1])[:MAX_NAME] or job.source
            yield job
        finally:
            self._n_uploads -= 1
            if job is not None and job.id not in self._jobs:
                await asyncio.to_thread(job.delete)

    def queue(self, job: Job, recognizer: Recognizer) -> None:
        """Queue a job.

        Raises:
            Problem: busy: too many are queued already.
        """
        self._check_room()
        self._delete_old()
        self._jobs[job.id] = job
        future = self._pool.submit(self._work, job, recognizer)
        self._running.add(future)
        future.add_done_callback(self._running.discard)

    def job(self, key: str) -> Job:
        """Return a job.

        Raises:
            Problem: not-found: there is none of that id.
        """
        if key not in self._jobs:
            hours = KEPT_SECONDS / 3600
            raise Problem(
                "not-found", f"no video of that id; they are deleted {hours:g} h after their end, and when asked for"
            )
        return self._jobs[key]

    def delete(self, key: str) -> Job:
        """Forget a job and return it, for its files to be deleted.

        Raises:
            Problem: not-found: there is none of that id.
        """
        job = self.job(key)
        job.cancelled.set()
        return self._jobs.pop(key)

    def _check_room(self) -> None:
        n_queued = sum(job.state == "queued" for job in self._jobs.values())
        if n_queued >= MAX_QUEUED:
            raise Problem("busy", f"busy: {n_queued} videos are queued; try again later")

    def _delete_old(self) -> None:
        ended = sorted((job for job in self._jobs.values() if job.ended is not None), key=lambda job: job.ended or 0)
        past = time.monotonic() - KEPT_SECONDS
        for job in [*(job for job in ended[:-MAX_KEPT]), *(job for job in ended if (job.ended or 0) < past)]:
            self._jobs.pop(job.id, None)
            job.delete()

    async def _sweep(self) -> None:
        """Delete old jobs until the end of the service cancels this, and then all."""
        try:
            while True:
                await asyncio.sleep(SWEPT_SECONDS)
                self._delete_old()
        finally:
            for job in self._jobs.values():
                job.cancelled.set()
            wait(list(self._running), CLOSING_SECONDS)
            for job in self._jobs.values():
                job.delete()
            self._jobs.clear()

    def _work(self, job: Job, recognizer: Recognizer) -> None:
        if job.cancelled.is_set():
            return
        job.state = "running"
        try:
            with collect_warnings() as job.warnings:
                statistics = self._recognise(job, recognizer)
        except Problem as problem:
            self._fail(job, problem)
        except UnwritableImage as error:
            self._fail(job, Problem("unwritable-image", job.without_paths(str(error))))
        except (OutputError, OSError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            reason = getattr(cause, "strerror", None) or "no room"
            self._fail(job, Problem("disk-full", f"the results cannot be written: {reason}"))
        except InputError as error:
            self._fail(job, Problem("unreadable-video", job.without_paths(str(error))))
        except MienError as error:
            self._fail(job, of_error(error))
        except Exception:
            log.exception("a video failed")
            self._fail(job, Problem("internal-error", INTERNAL))
        else:
            job.statistics, job.state = statistics, "done"
        finally:
            job.ended = time.monotonic()
            job.upload.unlink(missing_ok=True)
            if job.cancelled.is_set():
                job.delete()

    @staticmethod
    def _fail(job: Job, problem: Problem) -> None:
        job.error, job.code, job.state = problem.detail, problem.code, "failed"

    def _recognise(self, job: Job, recognizer: Recognizer) -> dict[str, Any]:
        """Write the results of a job, as `mien predict` does, and return its statistics.

        Raises:
            MienError: The video cannot be read, a result cannot be written, or the model fails.
            Problem: video-too-long; or the job was deleted.
        """
        origin = recognizer.provenance
        statistics = Statistics(origin)
        sinks: list[Sink] = [
            CsvSink(job.folder / "faces.csv", origin), JsonlSink(job.folder / "faces.jsonl", origin), statistics,
        ]  # fmt: skip
        deadline = time.monotonic() + MAX_JOB_SECONDS

        def progress(done: int, _: int | None) -> None:
            job.done = done

        with many(sinks) as sink:
            results = recognize_files(
                job.upload, recognizer, sinks=[_Named(sink, job.source)], out=job.folder / "out", progress=progress
            )
            with closing(cast("Generator[FileResult | Failure]", results)):
                while True:
                    # frame by frame, so that requests and sessions have their turns
                    result = self._engine.call(next, results, None)
                    if result is None:
                        return statistics.as_dict()
                    if isinstance(result, Failure):
                        raise result.error
                    self._engine.metrics.faces.inc(len(result.expressions))
                    _check_limits(job, deadline)


def _check_limits(job: Job, deadline: float) -> None:
    """Raise Problem where a job is to be given up."""
    if job.cancelled.is_set():
        raise Problem("not-found", "the video was deleted")
    if job.done > MAX_FRAMES:
        raise Problem("video-too-long", f"the video has more than {MAX_FRAMES:,} frames; cut it into shorter ones")
    if time.monotonic() > deadline:
        minutes = MAX_JOB_SECONDS / 60
        raise Problem(
            "video-too-long",
            f"{job.done:,} frames were read in {minutes:g} minutes; no video may take longer: cut it",
        )


class _Named:
    """A sink whose frames have another source.

    Args:
        sink: Opened and closed elsewhere.
        source: Name of the source.
    """

    def __init__(self, sink: Sink, source: str) -> None:
        self._sink, self._source = sink, source

    def __enter__(self) -> _Named:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        """Write a frame."""
        self._sink.write(replace(frame, source=self._source), expressions)


@contextmanager
def _disk_full_reported() -> Iterator[None]:
    """Raise Problem, disk-full, where a file cannot be written."""
    try:
        yield
    except OSError as error:
        log.error("no room for a video in %s: %s", tempfile.gettempdir(), error.strerror)
        raise Problem("disk-full", "no disk space for the video") from error


def _delete_left_behind() -> None:
    """Delete the folders of services that were killed: no living one holds their lock.

    Where folders cannot be locked, those of yesterday are deleted. Those of other users stay.
    """
    for folder in matching(Path(tempfile.gettempdir()), f"{PREFIX}*"):
        with suppress(OSError), locked(folder, wait=False) as is_locked:
            if is_locked or time.time() - folder.lstat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
