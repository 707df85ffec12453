"""Live sessions: frames of a camera by WebSocket, expressions back. See docs/guides/web.md for the messages."""

from __future__ import annotations

import asyncio
import io
import json
import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Annotated, Any, NoReturn

import anyio
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from mien.drawing.colours import css_colours
from mien.errors import MienError, UnreadablePicture
from mien.live import Live
from mien.models.temporal import find_temporal
from mien.recognizer import Recognizer
from mien.settings import NotNegative, Range, Share, from_dict, shown
from mien.sinks.records import record
from mien.sinks.statistics import Statistics
from mien.sources.content import HEADER_BYTES, decoder_of
from mien.sources.paths import check_size
from mien.sources.pictures import open_picture, to_rgb
from mien.structures import Frame, ImageArray
from mien.vision.smooth import HalfLifeSmoother, Smoother, TemporalSmoother
from mien.web.engine import Choice, Engine
from mien.web.problems import Problem, of_error
from mien.web.settings import MinScore

PROTOCOL = "mien.live.1"
HEAD = struct.Struct("<Id")  # number and time in seconds, before the picture
CREDIT = 2  # frames in flight: one is seen while the next one is sent
MAX_BYTES = 4 * 1024 * 1024  # of a frame's picture; a JPEG of 12 megapixels has some 4 MB
MAX_TEXT = 16 * 1024  # characters of a message
MAX_PIXELS = 16_000_000  # of a frame: 48 MB decoded
MAX_SECONDS = 1e10  # of a frame's time; Unix time is below, in milliseconds it is above
FORMATS = ("JPEG", "PNG", "WEBP")
SILENCE = 60.0  # s without a message after which a session ends
CLOSING = 2.0  # s that a client has to take the last message
MAX_WAITING = 16  # messages; further ones wait in the network's buffers
MAX_REASON = 123  # bytes of a close frame (RFC 6455, 5.5)
# Close codes (RFC 6455, 7.4.1, and IANA's registry).
DONE, GOING_AWAY, UNKNOWN, NO_FRAME, REFUSED, TOO_LARGE, TRY_LATER = 1000, 1001, 1003, 1007, 1008, 1009, 1013


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """The settings of a live session, as in the message "start".

    Args:
        model: Name of a model; the service's own when None.
        labels: Label set; the model's default one when None.
        detector: Name of a detector; the service's own when None.
        half_life: Half-life of the smoothing in seconds; 0 for no smoothing.
        max_detection_gap: Longest time between two runs of the detector in seconds; see `Live`.
        min_confidence: Confidence below which a label is "uncertain".
        min_score: Minimum detector score of a face; the detector's own when None.
        temporal: Smooth by the classifier's temporal model instead of a half-life.
    """

    model: str | None = None
    labels: str | None = None
    detector: str | None = None
    half_life: NotNegative = 0.3
    max_detection_gap: Annotated[float, Range(0, 0.5)] = 0.2
    min_confidence: Share = 0.0
    min_score: MinScore | None = None
    temporal: bool = False

    @property
    def choice(self) -> Choice:
        """The part that chooses a recogniser."""
        return Choice(model=self.model, labels=self.labels, detector=self.detector, min_score=self.min_score,
                      min_confidence=self.min_confidence)  # fmt: skip

    def changed(self, given: Mapping[str, object]) -> SessionSettings:
        """Return the settings with those of a message "change"; a model without labels has its default label set.

        Raises:
            ConfigError: An unknown setting, or a value of the wrong type or out of range.
        """
        old = asdict(self)
        if "model" in given:
            old["labels"] = None
        return from_dict(SessionSettings, {**old, **given})


@dataclass(frozen=True, slots=True)
class _Picture:
    """A frame as it came."""

    number: int
    time: float
    data: bytes
    received: float  # by perf_counter


class _Close(Exception):
    """The end of a session.

    Args:
        code: Close code.
        reason: One line.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class _SessionRecognizer:
    """The recognition of a session, called from one thread at a time.

    Args:
        engine: Recognisers.
        settings: Of the session.

    Raises:
        MienError: The settings choose no usable model or detector.
    """

    def __init__(self, engine: Engine, settings: SessionSettings) -> None:
        self._engine = engine
        self.settings = settings
        recognizer = engine.recognizer(settings.choice)
        smoother = self._smoother(settings, recognizer)
        self._live = Live(recognizer, smoother=smoother, max_detection_gap=settings.max_detection_gap)
        self.statistics = Statistics(recognizer.provenance)

    def change(self, given: Mapping[str, object]) -> bool:
        """Go on with other settings; tracks stay. Return whether the statistics start again: model, labels or detector
        are others.

        Raises:
            MienError: The settings are wrong; the old ones are kept.
        """
        settings = self.settings.changed(given)
        recognizer = self._engine.recognizer(settings.choice)
        smoother = self._smoother(settings, recognizer)
        live = self._live
        if isinstance(smoother, HalfLifeSmoother) and isinstance(live.smoother, HalfLifeSmoother):
            live.smoother.half_life = smoother.half_life
        else:
            live.smoother = smoother
        live.recognizer, live.max_detection_gap, self.settings = recognizer, settings.max_detection_gap, settings
        if recognizer.provenance == self.statistics.provenance:
            return False
        self.statistics = Statistics(recognizer.provenance)
        return True

    def ready(self) -> dict[str, Any]:
        """Return what the session answers with: model, labels and their colours, detector."""
        origin = self._live.recognizer.provenance
        return {
            "model": origin.model,
            "label_set": origin.labels.name,
            "labels": list(origin.labels),
            "detector": origin.detector,
            "colours": css_colours(origin.labels),
        }

    def recognize(self, picture: _Picture) -> dict[str, Any]:
        """Return the record of a frame.

        Raises:
            MienError: Its picture cannot be decoded, or the model fails.
        """
        began = perf_counter()
        image = _decode(picture.data)
        decoded = perf_counter()
        result = self._live.recognize(Frame(image, picture.time, picture.number, "live"))
        self.statistics.write(result.frame, result.expressions)
        self._engine.metrics.faces.inc(len(result.expressions))
        seen = record(result.frame, result.expressions, self._live.recognizer.provenance)
        seconds = {"wait": began - picture.received, "decode": decoded - began, **result.seconds,
                   "all": perf_counter() - picture.received}  # fmt: skip
        ms = {stage: round(1000 * duration, 2) for stage, duration in seconds.items()}
        return {"type": "result", "number": picture.number, **seen, "ms": ms}

    def _smoother(self, settings: SessionSettings, recognizer: Recognizer) -> Smoother:
        if not settings.temporal:
            return HalfLifeSmoother(settings.half_life)
        models_dir = self._engine.settings.models_dir
        return TemporalSmoother(find_temporal(recognizer.classifier, recognizer.head.labels, models_dir=models_dir))


class _Session:
    """One connection: a task reads messages, another one answers them in order.

    Args:
        socket: Accepted already.
        engine: Recognisers and threads.
    """

    def __init__(self, socket: WebSocket, engine: Engine) -> None:
        self._socket, self._engine = socket, engine
        self._messages: asyncio.Queue[_Picture | dict[str, Any]] = asyncio.Queue(MAX_WAITING)
        self._in_flight = 0

    async def run(self) -> NoReturn:
        """Serve the connection to its end.

        Raises:
            _Close: The session is over.
            WebSocketDisconnect: The client has gone.
        """
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._answer_all())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        raise next(end for end in ends if isinstance(end, Exception))

    async def _read(self) -> NoReturn:
        while True:
            try:
                with anyio.fail_after(SILENCE):  # asyncio.wait_for may lose a cancellation before Python 3.12
                    message = await self._socket.receive()
            except TimeoutError:
                raise _Close(GOING_AWAY, f"no message for {SILENCE:g} s") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", DONE))
            text, data = message.get("text"), message.get("bytes")
            await self._messages.put(self._picture(data or b"") if text is None else _parsed(text))

    def _picture(self, data: bytes) -> _Picture:
        if len(data) > HEAD.size + MAX_BYTES:
            raise _Close(TOO_LARGE, f"a picture of {len(data) - HEAD.size} bytes; at most {MAX_BYTES} are read")
        if len(data) < HEAD.size:
            raise _Close(NO_FRAME, f"no frame: {len(data)} bytes; expected {HEAD.size} of number and time, a picture")
        number, time = HEAD.unpack_from(data)
        if not math.isfinite(time) or abs(time) > MAX_SECONDS:
            raise _Close(NO_FRAME, f"no frame: its time is {time:g}; expected seconds, little-endian float64")
        if self._in_flight >= CREDIT:
            raise _Close(REFUSED, f"more than {CREDIT} frames in flight; wait for an answer before the next one")
        self._in_flight += 1
        return _Picture(number, time, data[HEAD.size :], perf_counter())

    async def _answer_all(self) -> NoReturn:
        recognizer = await self._start(await self._messages.get())
        while True:
            message = await self._messages.get()
            if isinstance(message, _Picture):
                await self._recognize(recognizer, message)
            elif message["type"] == "change":
                await self._change(recognizer, {key: value for key, value in message.items() if key != "type"})
            elif message["type"] in ("statistics", "stop"):
                await self._send({"type": "statistics", **recognizer.statistics.as_dict()})
                if message["type"] == "stop":
                    raise _Close(DONE)
            else:
                raise _Close(UNKNOWN, f"unexpected {shown(message['type'])}; expected change, statistics or stop")

    async def _start(self, message: _Picture | dict[str, Any]) -> _SessionRecognizer:
        if isinstance(message, _Picture) or message["type"] != "start":
            raise _Close(UNKNOWN, 'the first message must be {"type": "start"}')
        given = {key: value for key, value in message.items() if key != "type"}
        try:
            recognizer = await self._engine.run(_SessionRecognizer, self._engine, SessionSettings().changed(given))
        except (MienError, Problem) as error:
            problem = await self._send_error(None, error)
            raise _Close(TRY_LATER if problem.status == 503 else REFUSED, problem.detail) from None
        await self._send_ready(recognizer, restarted=True)
        return recognizer

    async def _change(self, recognizer: _SessionRecognizer, given: Mapping[str, object]) -> None:
        try:
            restarted = await self._engine.run(recognizer.change, given)
        except (MienError, Problem) as error:
            await self._send_error(None, error)
        else:
            await self._send_ready(recognizer, restarted=restarted)

    async def _recognize(self, recognizer: _SessionRecognizer, picture: _Picture) -> None:
        try:
            seen = await self._engine.run(recognizer.recognize, picture)
        except (MienError, Problem) as error:
            self._in_flight -= 1
            await self._send_error(picture.number, error)
        else:
            self._in_flight -= 1  # before the client, which may send the next one at once, has the answer
            await self._send(seen)

    async def _send_ready(self, recognizer: _SessionRecognizer, *, restarted: bool) -> None:
        limits = {"credit": CREDIT, "max_bytes": MAX_BYTES, "max_pixels": MAX_PIXELS}
        await self._send({"type": "ready", **recognizer.ready(), **limits, "restarted": restarted})

    async def _send_error(self, number: int | None, error: MienError | Problem) -> Problem:
        problem = of_error(error) if isinstance(error, MienError) else error
        await self._send({"type": "error", "number": number, "code": problem.code, "detail": problem.detail})
        return problem

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(message, ensure_ascii=False))


def routes(engine: Engine) -> APIRouter:
    """Return the route of live sessions."""
    router = APIRouter(prefix="/v1")
    n_open = 0
    engine.metrics.sessions.set_function(lambda: n_open)

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        nonlocal n_open
        if n_open >= engine.settings.sessions:
            await _refuse(socket, n_open)
            return
        n_open += 1
        try:
            await _accept(socket)
            await _Session(socket, engine).run()
        except _Close as end:
            await _close(socket, end)
        except WebSocketDisconnect:
            pass
        finally:
            n_open -= 1

    @router.get("/live", include_in_schema=False)
    async def no_socket() -> None:
        raise Problem("websocket-only", f"this address takes WebSockets, with the subprotocol {PROTOCOL}; see /docs")

    return router


async def _accept(socket: WebSocket) -> None:
    await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)


async def _refuse(socket: WebSocket, n_open: int) -> None:
    """Close a connection that is one too many; it is accepted before, since pages see no status of a refusal."""
    with suppress(WebSocketDisconnect):
        await _accept(socket)
        await _close(socket, _Close(TRY_LATER, f"{n_open} sessions are open already; try again later"))


async def _close(socket: WebSocket, end: _Close) -> None:
    """Close a connection, whose client may have gone or reads nothing."""
    reason = end.reason.encode()[:MAX_REASON].decode(errors="ignore")
    with suppress(WebSocketDisconnect, RuntimeError, OSError), anyio.move_on_after(CLOSING):
        await socket.close(end.code, reason)


def _parsed(text: str) -> dict[str, Any]:
    """Return a text message.

    Raises:
        _Close: It is too long, no JSON, or no object with a type.
    """
    if len(text) > MAX_TEXT:
        raise _Close(TOO_LARGE, f"a text of {len(text)} characters; at most {MAX_TEXT} are read")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise _Close(UNKNOWN, 'unknown text; expected a JSON object with a type: {"type": "start"}')
    return message


def _decode(data: bytes) -> ImageArray:
    """Decode the picture of a frame, RGB uint8 (H, W, 3).

    Raises:
        UnreadablePicture: It is damaged, too large, or of another format.
    """
    name = "frame"  # without its number, since Python keeps the texts of all warnings
    if data and decoder_of(data[:HEADER_BYTES]) not in (*FORMATS, None):
        raise UnreadablePicture(f"'{name}' is {decoder_of(data[:HEADER_BYTES])}; expected {', '.join(FORMATS)}")
    picture = open_picture(io.BytesIO(data), name)
    check_size(name, *picture.size, most=MAX_PIXELS)
    return to_rgb(picture, name)
