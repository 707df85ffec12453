"""Counts for Prometheus, and one line of JSON per request in the log; both without pictures, names and secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.web.problems import INTERNAL, Problem, response

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
FACES = (1, 2, 4, 8, 16, 32, 64)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
REQUEST_LOG = logging.getLogger("mien.web.requests")


class Metrics:
    """The numbers of one service.

    Args:
        queue: Returns the number of requests that wait for a thread, or compute.
    """

    def __init__(self, queue: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU and memory, on Linux
        self.requests = Counter(
            "mien_requests", "Requests by route and status.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "mien_request_seconds", "Seconds from the first byte of a request to the last of its answer.", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.faces = Counter("mien_faces", "Faces found.", registry=self.registry)
        self.batch = Histogram("mien_batch_faces", "Faces classified together.", buckets=FACES, registry=self.registry)
        self.sessions = Gauge("mien_sessions", "Live sessions now.", registry=self.registry)
        self.queue = Gauge("mien_queue", "Requests that wait for a thread, or compute.", registry=self.registry)
        self.queue.set_function(queue)


class Observer:
    """An ASGI app that counts and logs each request, and ends those that fail with an answer rather than a traceback.

    Args:
        app: The app behind it.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        seen, start, fault = _Seen(send), time.perf_counter(), ""
        try:
            await self.app(scope, receive, seen.send)
        except asyncio.CancelledError:  # the service ends
            await seen.refuse(scope, receive, Problem("ending", "the service is shutting down; try again later"))
        except Exception as error:
            fault = _place(error)
            await seen.refuse(scope, receive, Problem("internal-error", INTERNAL))
        self._note(scope, seen.status, time.perf_counter() - start, fault)

    def _note(self, scope: Scope, status: int, seconds: float, fault: str) -> None:
        method = scope.get("method", "WEBSOCKET")
        method = method if method in METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        facts = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
        level = logging.INFO if status < 500 else logging.WARNING if status == 503 else logging.ERROR
        REQUEST_LOG.log(level, "request", extra={"facts": facts | ({"fault": fault} if fault else {})})


class _Seen:
    """Notes the status that an app answers with."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "websocket.accept":
            self.status = 101
        elif message["type"] == "websocket.close" and not self.status:
            self.status = 403
        await self._send(message)

    async def refuse(self, scope: Scope, receive: Receive, problem: Problem) -> None:
        """Answer with a problem, unless an answer has begun."""
        if scope["type"] == "websocket":
            await self.send({"type": "websocket.close", "code": 1011 if self.status else 1008})
        elif not self.status:
            await response(problem)(scope, receive, self.send)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["fault"] = _place(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def _place(error: BaseException) -> str:
    """Return an error's type and the lines of code that it passed; its message may quote a request."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"
