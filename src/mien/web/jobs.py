"""Videos as jobs: uploaded, recognised one after the other, fetched as files. See docs/guides/web.md."""

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
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, cast

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.collection import Failure, Seen, see
from mien.errors import InputError, MienError, OutputError
from mien.escape import visible
from mien.files import locked
from mien.recognizer import Recognizer
from mien.sinks.sink import Sink, many
from mien.sinks.statistics import Statistics
from mien.sinks.tables import CsvSink, JsonlSink
from mien.sources.content import HEADER_BYTES, decoder_of, is_video, kind_of
from mien.sources.frames import inspect
from mien.sources.pictures import ANIMATED
from mien.sources.videos import SHORTFALL
from mien.structures import Expression, Frame
from mien.web.engine import Engine
from mien.web.predict import ChoiceQuery
from mien.web.problems import INTERNAL, MEDIA_TYPE, Problem, of_error, one_line

log = logging.getLogger("mien.web")

JOBS = 1  # at once
MAX_QUEUED = 8  # further ones are answered 503
MAX_UPLOADS = 8  # at once
MAX_KEPT = 32  # finished jobs; the oldest one makes room
KEPT_SECONDS = 3600.0  # from the end of a job until its files are deleted
SWEPT_SECONDS = 60.0  # between two searches for these
LEFT_SECONDS = 86_400.0  # age of folders that a killed process left behind, where there are no locks
MAX_FRAMES = 200_000  # of a video: more than two hours at 25 frames per second
MAX_JOB_SECONDS = 3600.0
MAX_PIXELS = 36_000_000  # of a frame; 8K has 33 million
IDLE_SECONDS = 20.0  # without a byte of an upload
PATIENCE_SECONDS, SLOWEST = 60.0, 20_000  # an upload may take that long, and a second more per so many bytes
CLOSING_SECONDS = 1.0  # that running jobs have to notice the end of the service
WRITE_BYTES = 1_000_000  # written at once
PREFIX = "mien-video-"  # of temporary folders
LONGEST_NAME = 200  # characters of a file name
CONTAINERS = "MP4, MOV, Matroska, WebM, AVI, FLV, Ogg, MPEG, ASF, or an animated GIF, PNG, WebP or AVIF"
FILES = {  # of results: path in a job's folder, media type
    "faces.csv": ("faces.csv", "text/csv; charset=utf-8"),
    "faces.jsonl": ("faces.jsonl", "application/jsonl"),
    "seen.mp4": ("out/seen.mp4", "video/mp4"),
}
UPLOAD = "in/seen.mp4"  # whatever it is: the content decides, and the annotated copy gets this name
PROBED_BYTES = 1 << 20  # by FFmpeg, to choose a reader (PROBE_BUF_MAX of libavformat)
PLAYLIST = re.compile(rb"(?i:<MPD[\s>]|<CompositionPlaylist|[\r\n]c=IN IP[46])")  # DASH, IMF and SDP, at any place
State = Literal["queued", "running", "done", "failed"]


class VideoAnswer(BaseModel):
    """A video that is, or will be, recognised."""

    id: str
    source: str = Field(description='The file name that the client gave, or "video".')
    state: State
    frames: int | None = Field(description="Number of frames that the file announces; null where it does not.")
    done: int = Field(description="Number of frames that were read.")
    note: str = Field(description="That the video ends before its header says, or empty.")
    error: str | None = Field(description="Why the job failed, in one line.")
    statistics: dict[str, Any] | None = Field(description="As statistics.json of mien live; null until it is done.")
    files: list[str] = Field(description="Names of the results, below the job's address; empty until it is done.")


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
    error: str | None = None
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
        is_done = self.state == "done"
        missing = is_done and self.frames is not None and self.done < self.frames - max(1, SHORTFALL * self.frames)
        note = f"the video is cut off or damaged: {self.frames:,} frames are announced, {self.done:,} were read"
        return VideoAnswer(
            id=self.id, source=self.source, state=self.state, frames=self.frames, done=self.done,
            note=note if missing else "", error=self.error, statistics=self.statistics,
            files=list(FILES) if is_done else [],
        )  # fmt: skip

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
        self._home: Path | None = (
            None  # of the jobs' folders; locked, so that no other service takes it for a dead one's
        )
        self._lock = ExitStack()

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Delete old jobs from time to time, and all at the end."""
        _delete_left_behind()
        sweeper = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            await asyncio.to_thread(self._close)

    @asynccontextmanager
    async def upload(self, request: Request) -> AsyncIterator[Job]:
        """Yield a new job with the video of a request; it is deleted unless it is queued in the block.

        Raises:
            Problem: 503, too many are uploaded or queued; 507, the disk is full; see `_receive` for the others.
        """
        self._check_room()
        if self._n_uploads >= MAX_UPLOADS:
            raise Problem(503, f"busy: {self._n_uploads} videos are being uploaded; try again in a moment")
        self._n_uploads += 1
        job = None
        try:
            with _disk_full_reported():
                job = Job("video", Path(tempfile.mkdtemp(prefix=PREFIX)))  # for its owner alone, 0700
                job.lock.enter_context(locked(job.folder, wait=False))
                job.upload.parent.mkdir()
                with job.upload.open("wb") as file:
                    job.source = await _receive(request, file, self._engine.settings.max_video)
            yield job
        finally:
            self._n_uploads -= 1
            if job is not None and job.id not in self._jobs:
                await asyncio.to_thread(job.delete)

    def queue(self, job: Job, recognizer: Recognizer) -> None:
        """Queue a job.

        Raises:
            Problem: 503, too many are queued already.
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
            Problem: 404, there is none of that id.
        """
        if key not in self._jobs:
            hours = KEPT_SECONDS / 3600
            raise Problem(404, f"no video of that id; they are deleted {hours:g} h after their end, and when asked for")
        return self._jobs[key]

    def delete(self, key: str) -> Job:
        """Forget a job and return it, for its files to be deleted.

        Raises:
            Problem: 404, there is none of that id.
        """
        job = self.job(key)
        job.cancelled.set()
        return self._jobs.pop(key)

    def _check_room(self) -> None:
        n_queued = sum(job.state == "queued" for job in self._jobs.values())
        if n_queued >= MAX_QUEUED:
            raise Problem(503, f"busy: {n_queued} videos are queued; try again later")

    def _delete_old(self) -> None:
        ended = sorted((job for job in self._jobs.values() if job.ended is not None), key=lambda job: job.ended or 0)
        past = time.monotonic() - KEPT_SECONDS
        for job in [*(job for job in ended[:-MAX_KEPT]), *(job for job in ended if (job.ended or 0) < past)]:
            self._jobs.pop(job.id, None)
            job.delete()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEPT_SECONDS)
            self._delete_old()

    def _close(self) -> None:
        for job in self._jobs.values():
            job.cancelled.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(list(self._running), CLOSING_SECONDS)
        for job in self._jobs.values():
            job.delete()

    def _work(self, job: Job, recognizer: Recognizer) -> None:
        if job.cancelled.is_set():
            return
        job.state = "running"
        try:
            statistics = self._recognise(job, recognizer)
        except _Stopped as error:
            self._fail(job, str(error))
        except (OutputError, OSError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            self._fail(job, f"the results cannot be written: {getattr(cause, 'strerror', None) or 'no room'}")
        except MienError as error:
            self._fail(job, job.without_paths(of_error(error).detail))
        except Exception:
            log.exception("a video failed")
            self._fail(job, INTERNAL)
        else:
            job.statistics, job.state = statistics, "done"
        finally:
            job.ended = time.monotonic()
            job.upload.unlink(missing_ok=True)
            if job.cancelled.is_set():
                job.delete()

    @staticmethod
    def _fail(job: Job, reason: str) -> None:
        job.error, job.state = one_line(reason), "failed"

    def _recognise(self, job: Job, recognizer: Recognizer) -> dict[str, Any]:
        """Write the results of a job, as `mien predict` does, and return its statistics.

        Raises:
            MienError: The video cannot be read, a result cannot be written, or the model fails.
            _Stopped: It takes too long, or the job was deleted.
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
            results = see(job.upload, recognizer, sinks=[_Named(sink, job.source)], out=job.folder / "out",
                          progress=progress)  # fmt: skip
            with closing(cast("Generator[Seen | Failure]", results)):
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
    if job.cancelled.is_set():
        raise _Stopped("the video was deleted")
    if job.done > MAX_FRAMES:
        raise _Stopped(f"the video has more than {MAX_FRAMES:,} frames; cut it into shorter ones")
    if time.monotonic() > deadline:
        minutes = MAX_JOB_SECONDS / 60
        raise _Stopped(f"{job.done:,} frames were read in {minutes:g} minutes; no video may take longer: cut it")


class _Stopped(Exception):
    """A job that is given up; the message says why."""


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


def routes(engine: Engine) -> APIRouter:
    """Return the routes of videos."""
    videos = Videos(engine)
    router = APIRouter(prefix="/v1/videos", lifespan=videos.lifespan)
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {"type": "object", "required": ["file"], "properties": {"file": binary["schema"]},
            "additionalProperties": False}  # fmt: skip
    body = {"requestBody": {"required": True, "content": {"video/mp4": binary, "video/webm": binary,
                                                          "multipart/form-data": {"schema": form}}}}  # fmt: skip

    @router.post("", status_code=202, openapi_extra=body, responses={507: _problem("There is no room for it.")})
    async def upload(request: Request, response: Response, query: Annotated[ChoiceQuery, Query()]) -> VideoAnswer:
        """Queue a video: a raw body, or a form with one file.

        Its state is at the address in the header Location. It is recognised frame by frame as by `mien predict`. Video
        and results are deleted when asked for, at the end of the service, and an hour after the end of the job.
        """
        recognizer = await engine.run(engine.recognizer, query.choice())
        async with videos.upload(request) as job:
            await engine.run(_check, job, engine.settings.max_upload)
            videos.queue(job, recognizer)
        response.headers["Location"] = f"/v1/videos/{job.id}"
        return job.answer()

    @router.get("/{key}")
    async def state(key: str) -> VideoAnswer:
        """Return the state of a video, and its statistics once it is done."""
        return videos.job(key).answer()

    @router.delete("/{key}", status_code=204)
    async def delete(key: str) -> None:
        """Delete a video and its results; the work on it ends."""
        await asyncio.to_thread(videos.delete(key).delete)

    for name in FILES:
        _add_file(router, videos, name)
    return router


def _add_file(router: APIRouter, videos: Videos, name: str) -> None:
    path, media_type = FILES[name]
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}},
        409: _problem("The video is not done, or failed."),
    }

    @router.get(f"/{{key}}/{name}", name=name, response_class=FileResponse, responses=responses)
    async def fetch(key: str) -> FileResponse:
        """Return a result, as `mien predict` writes it."""
        job = videos.job(key)
        if job.state == "failed":
            raise Problem(409, f"the video failed: {job.error}", title="failed")
        if job.state != "done":
            raise Problem(
                409, f"the video is {job.state}, {job.done:,} frames are read; try again later", title="not done"
            )
        return FileResponse(job.folder / path, media_type=media_type, filename=name)


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemAnswer"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def _check(job: Job, max_animation: int) -> None:
    """Check the content of an upload before FFmpeg sees it, then its header, which says the number of frames.

    FFmpeg chooses the reader of a file by its content, and some readers open other files and addresses: those of
    playlists (HLS, DASH, concat, IMF), of sessions (SDP), of subtitles in two files (VobSub). A file must therefore
    begin as a container of videos does, and hold none of the marks that FFmpeg looks for further on.

    Raises:
        Problem: 413, an animation is too large to count its frames; 422, it is no video, or too long or too large.
    """
    with job.upload.open("rb") as file:
        probed, size = file.read(PROBED_BYTES), os.fstat(file.fileno()).st_size
    start = probed[:HEADER_BYTES]
    animated = decoder_of(start) in ANIMATED
    if not start or not (is_video(start) or animated) or kind_of(start) is not None:
        found = "empty" if not start else "a picture" if decoder_of(start) else kind_of(start) or "of an unknown kind"
        raise Problem(422, f"'{job.source}' is {found}; expected a video: {CONTAINERS}")
    if PLAYLIST.search(probed):
        raise Problem(422, f"'{job.source}' holds a playlist; expected a video: {CONTAINERS}")
    if animated and size > max_animation:
        raise Problem(413, f"'{job.source}' is an animation of {size:,} bytes; at most {max_animation:,} are read")
    try:
        media = inspect(job.upload)
    except InputError as error:
        refusal = of_error(error)
        raise Problem(refusal.status, job.without_paths(refusal.detail), title="unreadable video") from None
    if media.kind == "picture":
        raise Problem(422, f"'{job.source}' is a picture that does not move; send it to /v1/predict")
    if media.size[0] * media.size[1] > MAX_PIXELS:
        raise Problem(422, f"'{job.source}' has frames of {media.size[0]}x{media.size[1]} pixels; at most "
                           f"{MAX_PIXELS // 10**6} million are read")  # fmt: skip
    if (media.frames or 0) > MAX_FRAMES:
        raise Problem(422, f"'{job.source}' has {media.frames:,} frames; at most {MAX_FRAMES:,} are read: cut it")
    job.frames = media.frames


async def _receive(request: Request, file: BinaryIO, limit: int) -> str:
    """Write the video of a request to a file, and return the file name that the client gave.

    Raises:
        Problem: 408, it comes too slowly; 413, it is too large; 415, another content type; 422, no form with one file.
        ClientDisconnect: The client left.
    """
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind.startswith(b"video/"):
        body: _RawBody | _FormBody = _RawBody(request.headers.get("content-disposition"))
    elif kind == b"multipart/form-data":
        body = _FormBody(parameters.get(b"boundary", b""))
    else:
        raise Problem(415, f"the content type is '{kind.decode('latin-1')}'; expected video/* or multipart/form-data")
    pending = bytearray()
    async for chunk in _chunks(request, limit):
        pending += body.feed(chunk)
        if len(pending) >= WRITE_BYTES:
            await asyncio.to_thread(file.write, pending)
            pending = bytearray()
    await asyncio.to_thread(file.write, pending)
    await asyncio.to_thread(file.flush)
    return body.name()


async def _chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield a body as it comes, within the limits of size and time."""
    too_large = Problem(413, f"the video has more than {limit:,} bytes; make it smaller, or cut it")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise too_large
    began, size, stream = time.monotonic(), 0, aiter(request.stream())
    while True:
        left = began + PATIENCE_SECONDS + size / SLOWEST - time.monotonic()
        try:
            with anyio.fail_after(min(left, IDLE_SECONDS)):
                chunk = await anext(stream, None)
        except TimeoutError:
            seconds = time.monotonic() - began
            raise Problem(408, f"the video comes too slowly: {size:,} bytes in {seconds:.0f} s") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > limit:
            raise too_large
        yield chunk


class _RawBody:
    """A body that is the file.

    Args:
        disposition: The header Content-Disposition, which may give a file name.
    """

    def __init__(self, disposition: str | None) -> None:
        self._name = _file_name(disposition)

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes of the file in the next chunk of the body."""
        return chunk

    def name(self) -> str:
        """Return the file name that the client gave."""
        return self._name or "video"


class _FormBody:
    """A multipart form with one file.

    Args:
        boundary: Of its parts.

    Raises:
        Problem: 422, it has none.
    """

    def __init__(self, boundary: bytes) -> None:
        if not boundary:
            raise Problem(422, "the form has no boundary; let the client write the header Content-Type")
        self._header, self._value = b"", b""
        self._names: list[str] = []
        self._found: list[bytes] = []
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part, "on_part_data": self._add_data,
                    "on_header_field": self._add_header, "on_header_value": self._add_value,
                    "on_header_end": self._end_header, "on_headers_finished": self._end_headers, "on_end": self._end,
                },
            )  # fmt: skip
        except FormParserError as error:
            raise _unreadable(error) from error

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes of the file in the next chunk of the body.

        Raises:
            Problem: 422, it is malformed, or has other parts than one file.
        """
        self._found.clear()
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _unreadable(error) from error
        return b"".join(self._found)

    def name(self) -> str:
        """Return the file name that the client gave.

        Raises:
            Problem: 422, the form has no file, or no end.
        """
        if not self._ended:
            raise Problem(422, "the form breaks off; send it whole")
        if not self._names:
            raise Problem(422, "the form has no parts; expected a video as the part named 'file'")
        return self._names[0] or "video"

    def _begin_part(self) -> None:
        self._disposition = ""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")  # as ASGI decodes headers
        self._header, self._value = b"", b""

    def _end_headers(self) -> None:
        part = _parameter(self._disposition, "name")
        if part != "file":
            raise Problem(422, f"unknown part '{visible(part or '')}'; expected a video as the part named 'file', and "
                               "settings in the address: ?model=NAME")  # fmt: skip
        name = _file_name(self._disposition)
        if name is None:
            raise Problem(422, "the part 'file' has no file name, so it is no file: curl -F file=@clip.mp4")
        if self._names:
            raise Problem(422, "the form has several files; send one video per request")
        self._names.append(name)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def _end(self) -> None:
        self._ended = True


def _unreadable(error: FormParserError) -> Problem:
    return Problem(422, f"the form cannot be read: {error}")


def _parameter(disposition: str | None, name: str) -> str | None:
    """Return a parameter of a header Content-Disposition (RFC 6266), of which ASGI decodes the bytes as Latin-1."""
    header = Message()
    header["Content-Disposition"] = disposition or ""
    value = header.get_param(name, header="content-disposition")
    if isinstance(value, tuple):  # name*=UTF-8''percent-encoded
        return collapse_rfc2231_value(value)
    return value.encode("latin-1", "replace").decode(errors="replace") if isinstance(value, str) else None


def _file_name(disposition: str | None) -> str | None:
    """Return the file name in a header, without folders and invisible characters; None where there is none."""
    name = _parameter(disposition, "filename")
    return None if name is None else visible(re.split(r"[/\\]", name)[-1])[:LONGEST_NAME]


@contextmanager
def _disk_full_reported() -> Iterator[None]:
    """Raise Problem, 507, where a file cannot be written."""
    try:
        yield
    except OSError as error:
        log.error("no room for a video in %s: %s", tempfile.gettempdir(), error.strerror)
        raise Problem(507, "the service has no room for this video", title="disk full") from error


def _delete_left_behind() -> None:
    """Delete the folders of services that were killed: no living one holds their lock.

    Where folders cannot be locked, those of yesterday are deleted. Those of other users stay.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError), locked(folder, wait=False) as is_locked:
            if is_locked or time.time() - folder.lstat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
