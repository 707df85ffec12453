"""A client of `mien serve`: the same expressions as a `Recognizer` gives, from a service. See docs/guides/web.md."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

import numpy as np

from mien.errors import ConfigError, DatasetError, ServiceError, needs
from mien.escape import one_line
from mien.files import as_path, atomic_path, printable
from mien.images import ImageLike, to_rgb
from mien.labels import LabelSet
from mien.pixels import encode
from mien.settings import Share, checked
from mien.sources.paths import opened_file
from mien.sources.pictures import decode
from mien.structures import Box, Expression, Face, ImageArray, Prediction, Progress, check_count

__all__ = ["About", "Client", "Limits", "PictureResult", "ServedModel", "VideoJob"]

T = TypeVar("T")
Picture: TypeAlias = ImageLike | bytes  # a path, an array or a PIL image; or the bytes of a file

UNREADABLE = "unreadable-picture"  # code of the problem of a picture that is alone in its request
MAX_WAIT = 30.0  # seconds, whatever a service asks for
ATTEMPTS_SECONDS = 1.0  # where it asks for nothing
POLL_SECONDS = 0.5
PART_BYTES = 2000  # of a multipart form, for each picture, besides its file


@dataclass(frozen=True, slots=True)
class PictureResult:
    """The faces of a picture.

    Args:
        source: Name of its file; "picture" where there is none.
        width: In pixels; None with an error.
        height: In pixels; None with an error.
        note: "no face found", or empty.
        expressions: Left to right; boxes are in pixels of the picture.
        error: Why the picture cannot be read; None where it was.
        code: Kind of the error, of docs/guides/web.md; None where there is none.
        warnings: Warnings, as of `mien predict`: "…is read at half its width and height".
    """

    source: str
    width: int | None
    height: int | None
    note: str
    expressions: list[Expression]
    error: str | None = None
    code: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of a service.

    Args:
        name: For requests.
        label_sets: Its label sets; the default one is first.
        size: Of its file, in bytes.
    """

    name: str
    label_sets: tuple[LabelSet, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of requests.

    Args:
        bytes: Of a request, except for videos.
        video_bytes: Of a video.
        pixels: Of a picture.
        files: Pictures of one request.
        sessions: Live sessions at once.
    """

    bytes: int
    video_bytes: int
    pixels: int
    files: int
    sessions: int


@dataclass(frozen=True, slots=True)
class About:
    """A service.

    Args:
        version: Of mien.
        model: Model of requests that name none.
        models: All its models.
        detector: Detector of requests that name none.
        detectors: Names of all its detectors.
        limits: Bounds of requests.
    """

    version: str
    model: str
    models: tuple[ServedModel, ...]
    detector: str
    detectors: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True, slots=True)
class VideoJob:
    """A video that a service recognises.

    Args:
        id: Of the job.
        state: Of the job.
        frames: Number of frames that the file announces; None where it does not.
        done: Number of frames that were read.
        warnings: Warnings, as of `mien predict`: that the video is shorter than its header states.
        error: Why the job failed; None where it did not.
        code: Kind of the error, of docs/guides/web.md; None where there is none.
        statistics: As in statistics.json of `mien live`; empty until it is done.
        files: Names of the results, for `Client.download`; empty until it is done.
    """

    id: str
    state: Literal["queued", "running", "done", "failed"]
    frames: int | None
    done: int
    warnings: tuple[str, ...] = ()
    error: str | None = None
    code: str | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether it is done, or failed."""
        return self.state in ("done", "failed")


class Client:
    """Asks a service. It may be shared between threads.

    Args:
        url: Address of the service: "http://localhost:8008".
        token: Its secret, where it has one.
        timeout: Longest time to wait for a connection or an answer, in seconds.
        retries: Number of further attempts where the service is busy; it says when to come again.
        transport: Transport of httpx, for tests.

    Raises:
        MissingExtra: httpx is not installed.
        ConfigError: The address is no http or https address.

    Example:
        >>> from mien.client import Client
        >>> with Client("http://localhost:8008") as client:
        ...     print([expression.label for expression in client.predict("party.jpg").expressions])
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 60.0, retries: int = 5, transport: Any = None
    ) -> None:
        with needs("the client", "client"):
            import httpx

        check_count("retries", retries)
        self._http, self._retries = httpx, max(retries, 0)
        headers = {} if token is None else {b"authorization": f"Bearer {token}".encode()}
        try:
            address = httpx.URL(url)
        except (httpx.InvalidURL, TypeError) as error:
            raise _no_address(url) from error
        if address.scheme not in ("http", "https") or not address.host:
            raise _no_address(url)
        self._client = httpx.Client(base_url=address, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def about(self) -> About:
        """Return the service's version, models, detectors and limits.

        Raises:
            ServiceError: See `predict`.
        """
        return self._parsed(_about, self._ask("GET", "v1/about"))

    def predict(
        self,
        picture: Picture,
        *,
        model: str | None = None,
        labels: str | None = None,
        detector: str | None = None,
        min_score: float | None = None,
        min_confidence: float = 0.0,
    ) -> PictureResult:
        """Return the expressions of a picture.

        Args:
            picture: A path, the bytes of a file, or another image as for `Recognizer.recognize`.
            model: Name of a model of the service; its default one when None.
            labels: Label set of the model; its default one when None.
            detector: Name of a detector; the service's default one when None.
            min_score: Minimum detector score of a face, in [0, 1]; the detector's default when None.
            min_confidence: Confidence below which a label is "uncertain", in [0, 1].

        Raises:
            InputError: The file cannot be read, or it is no image.
            ServiceError: The service cannot be reached, or refuses the request; `status` and `code` say how.
        """
        query = _query(model, labels, detector, min_score, min_confidence)
        name, data = _file(picture, 1)
        body = self._ask("POST", "v1/predict", query, files=[("file", (name, data))])
        (result,) = self._parsed(_results, body, min_confidence, 1)
        return result

    def predict_many(
        self,
        pictures: Iterable[Picture],
        *,
        model: str | None = None,
        labels: str | None = None,
        detector: str | None = None,
        min_score: float | None = None,
        min_confidence: float = 0.0,
    ) -> Iterator[PictureResult]:
        """Yield the expressions of each picture, in order; several are sent in one request.

        Args:
            pictures: See `predict`. One that the service cannot read has an `error`.
            model: See `predict`.
            labels: See `predict`.
            detector: See `predict`.
            min_score: See `predict`.
            min_confidence: See `predict`.

        Raises:
            InputError, ServiceError: See `predict`.
        """
        query = _query(model, labels, detector, min_score, min_confidence)
        limits = self.about().limits
        files = (_file(picture, number) for number, picture in enumerate(pictures, start=1))
        for group in _grouped(files, limits):
            try:
                body = self._ask("POST", "v1/predict", query, files=[("file", file) for file in group])
            except ServiceError as error:
                if len(group) > 1 or error.code not in (UNREADABLE, "too-large"):
                    raise
                yield PictureResult(group[0][0], None, None, "", [], str(error), error.code)
            else:
                yield from self._parsed(_results, body, min_confidence, len(group))

    def draw(
        self,
        picture: Picture,
        *,
        top: int = 1,
        model: str | None = None,
        labels: str | None = None,
        detector: str | None = None,
        min_score: float | None = None,
        min_confidence: float = 0.0,
    ) -> ImageArray:
        """Return a picture with its faces and expressions drawn into it, RGB uint8 (H, W, 3).

        Args:
            picture: See `predict`.
            top: Number of labels per face.
            model: See `predict`.
            labels: See `predict`.
            detector: See `predict`.
            min_score: See `predict`.
            min_confidence: See `predict`.

        Raises:
            InputError, ServiceError: See `predict`.
        """
        query = _query(model, labels, detector, min_score, min_confidence) | {"top": str(top)}
        file = _file(picture, 1)
        return decode(self._ask("POST", "v1/draw", query, files=[("file", file)]), name="drawing")

    def video(
        self,
        path: str | Path,
        *,
        model: str | None = None,
        labels: str | None = None,
        detector: str | None = None,
        min_score: float | None = None,
        min_confidence: float = 0.0,
        progress: Progress | None = None,
    ) -> VideoJob:
        """Send a video and wait until it is recognised; `download` then fetches its results.

        Args:
            path: The video.
            model: See `predict`.
            labels: See `predict`.
            detector: See `predict`.
            min_score: See `predict`.
            min_confidence: See `predict`.
            progress: Called with the number of frames read, and of all.

        Raises:
            InputError: The file cannot be read.
            ServiceError: See `predict`; or the job failed.
        """
        query = _query(model, labels, detector, min_score, min_confidence)
        video = as_path(path)
        with opened_file(video) as file:
            body = self._ask("POST", "v1/videos", query, files=[("file", (video.name, file))])
        job = self._parsed(_job, body)
        while not job.is_over:
            time.sleep(POLL_SECONDS)
            job = self.job(job.id)
            if progress is not None:
                progress(job.done, job.frames)
        if job.error is not None:
            raise ServiceError(job.error, code=job.code or "")
        return job

    def job(self, key: str) -> VideoJob:
        """Return the state of a video's job, by its id.

        Raises:
            ServiceError: There is none; see also `predict`.
        """
        return self._parsed(_job, self._ask("GET", f"v1/videos/{key}"))

    def download(self, job: VideoJob, name: str, path: str | Path) -> None:
        """Write a result of a video to a file, whole or not at all.

        Args:
            job: A job that is done.
            name: "faces.csv", "faces.jsonl" or "annotated.mp4".
            path: The file.

        Raises:
            OutputError: The file cannot be written.
            ServiceError: There is no such result; see also `predict`.
        """
        with (
            atomic_path(path) as temporary,
            self._reached(),
            self._client.stream("GET", f"v1/videos/{job.id}/{name}") as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise self._error(answer)
            with temporary.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)

    def delete(self, job: VideoJob) -> None:
        """Delete a video's results from the service, or stop its job.

        Raises:
            ServiceError: It is gone already; see also `predict`.
        """
        self._ask("DELETE", f"v1/videos/{job.id}")

    def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, files: Any = None) -> bytes:
        """Return the body of an answer; a busy service is asked again."""
        for attempt in range(self._retries + 1):
            with self._reached():
                answer = self._client.request(method, path, params=query, files=files)
            if answer.status_code != 503 or attempt == self._retries:
                break
            time.sleep(_wait(answer.headers.get("retry-after", "")))
            _rewind(files)
        if answer.is_success:
            return bytes(answer.content)
        raise self._error(answer)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn errors of the connection into a ServiceError."""
        try:
            yield
        except (self._http.HTTPError, self._http.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ServiceError(
                f"cannot reach the service at {self._client.base_url}: {reason}; is `mien serve` running there?"
            ) from error

    def _error(self, answer: Any) -> ServiceError:
        """Return the error of an answer that is a problem."""
        detail, code = "", ""
        with suppress(ValueError, RecursionError, ConfigError):
            problem: _Problem = checked(_Problem, json.loads(answer.content), "problem")
            detail, code = one_line(problem["detail"]), one_line(problem["code"])
        detail = detail or f"the service at {self._client.base_url} answered {answer.status_code}; is it mien?"
        return ServiceError(detail, status=answer.status_code, code=code)

    def _parsed(self, parse: Callable[..., T], body: bytes, *arguments: object) -> T:
        """Return an answer as an object.

        Raises:
            ServiceError: It has another shape, or numbers that are none, such as a score of NaN.
        """
        try:
            return parse(json.loads(body), *arguments)
        except (ValueError, KeyError, TypeError, RecursionError, ConfigError, DatasetError) as error:
            raise ServiceError(
                f"the service at {self._client.base_url} gave an answer of another shape; is it mien of this version?"
            ) from error


class _Problem(TypedDict):
    """An answer of a service that refuses a request; so are the other kinds, of which only these keys are read."""

    detail: str
    code: str


class _Warning(TypedDict):
    detail: str


class _Face(TypedDict):
    box: list[float]
    score: float
    track: int | None
    probabilities: Mapping[str, Share]


class _Picture(TypedDict):
    source: str
    width: int | None
    height: int | None
    note: str
    faces: list[_Face]
    error: str | None
    code: str | None
    warnings: list[_Warning]


class _Results(TypedDict):
    label_set: str
    labels: list[str]
    pictures: list[_Picture]


class _Model(TypedDict):
    name: str
    default_labels: str
    labels: Mapping[str, list[str]]
    size: int


class _Service(TypedDict):
    version: str
    model: str
    models: list[_Model]
    detector: str
    detectors: list[str]
    limits: Mapping[str, int]


class _Job(TypedDict):
    id: str
    state: Literal["queued", "running", "done", "failed"]
    frames: int | None
    done: int
    warnings: list[_Warning]
    error: str | None
    code: str | None
    statistics: Mapping[str, object] | None
    files: list[str]


def _no_address(url: object) -> ConfigError:
    return ConfigError(f"{url!r} is no address of a service; expected e.g. http://localhost:8008")


def _query(
    model: str | None, labels: str | None, detector: str | None, min_score: float | None, min_confidence: float
) -> dict[str, str]:
    given = {
        "model": model, "labels": labels, "detector": detector, "min_score": min_score,
        "min_confidence": min_confidence or None,
    }  # fmt: skip
    return {name: str(value) for name, value in given.items() if value is not None}


def _file(picture: Picture, number: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a picture's file."""
    name = f"picture {number}.png"
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return f"picture {number}", bytes(picture)
    if isinstance(picture, (str, Path)):
        path = as_path(picture)
        with opened_file(path) as file:
            return printable(Path(path.name)), file.read()
    return name, encode(Path(name), ".png", to_rgb(picture))


def _grouped(files: Iterable[tuple[str, bytes]], limits: Limits) -> Iterator[list[tuple[str, bytes]]]:
    """Yield files in groups that fit into one request."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for name, data in files:
        needed = len(data) + PART_BYTES
        if group and (len(group) == limits.files or size + needed > limits.bytes):
            yield group
            group, size = [], 0
        group.append((name, data))
        size += needed
    if group:
        yield group


def _wait(asked: str) -> float:
    """Return the seconds to wait, by a header Retry-After; dates, which mien does not send, count as nothing."""
    try:
        seconds = float(asked)
    except ValueError:
        return ATTEMPTS_SECONDS
    return ATTEMPTS_SECONDS if isnan(seconds) else min(max(seconds, 0.0), MAX_WAIT)


def _rewind(files: Sequence[tuple[str, tuple[str, Any]]] | None) -> None:
    for _, (_, file) in files or ():
        if hasattr(file, "seek"):
            file.seek(0)


def _results(answer: object, min_confidence: float, n: int) -> list[PictureResult]:
    found: _Results = checked(_Results, answer, "answer")
    if len(found["pictures"]) != n:
        raise ValueError(f"{len(found['pictures'])} pictures in the answer; expected {n}")
    labels = LabelSet(found["label_set"], tuple(found["labels"]))
    return [
        PictureResult(
            picture["source"],
            picture["width"],
            picture["height"],
            picture["note"],
            [_expression(face, labels, min_confidence) for face in picture["faces"]],
            picture["error"] and one_line(picture["error"]),
            picture["code"],
            _details(picture["warnings"]),
        )
        for picture in found["pictures"]
    ]


def _expression(face: _Face, labels: LabelSet, min_confidence: float) -> Expression:
    probabilities = np.array([face["probabilities"][label] for label in labels], np.float32)
    found = Face(Box(*face["box"]), face["score"], track_id=face["track"])
    return Expression(found, Prediction(probabilities, labels), min_confidence)


def _details(warnings: Sequence[_Warning]) -> tuple[str, ...]:
    return tuple(one_line(warning["detail"]) for warning in warnings)


def _about(answer: object) -> About:
    found: _Service = checked(_Service, answer, "answer")
    return About(
        version=found["version"],
        model=found["model"],
        models=tuple(map(_served, found["models"])),
        detector=found["detector"],
        detectors=tuple(found["detectors"]),
        limits=Limits(**{name: found["limits"][name] for name in Limits.__slots__}),
    )


def _served(model: _Model) -> ServedModel:
    default = model["default_labels"]
    names = sorted(model["labels"], key=lambda name: name != default)
    sets = tuple(LabelSet(name, tuple(model["labels"][name])) for name in names)
    return ServedModel(model["name"], sets, model["size"])


def _job(answer: object) -> VideoJob:
    found: _Job = checked(_Job, answer, "answer")
    return VideoJob(
        found["id"], found["state"], found["frames"], found["done"], _details(found["warnings"]),
        found["error"] and one_line(found["error"]), found["code"], found["statistics"] or {}, tuple(found["files"]),
    )  # fmt: skip
