"""Errors as answers: problem+json (RFC 9457), in one line as on the command line."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import MienError, ModelError, OutputError, UnknownModel, UnreadablePicture, UnwritableImage
from mien.escape import one_line

log = logging.getLogger("mien.web")

MEDIA_TYPE = "application/problem+json"
# By code, for programs: status and meaning. docs/guides/web.md lists them too.
PROBLEMS = {
    "bad-request": (400, "not a valid HTTP request"),
    "token-needed": (401, "the service has a token, and the request none"),
    "token-wrong": (401, "wrong token"),
    "foreign-origin": (403, "a page of another site calls"),
    "not-found": (404, "there is nothing at this address"),
    "method-not-allowed": (405, "method not supported at this address"),
    "too-slow": (408, "the body did not arrive in time"),
    "not-done": (409, "the video is not recognised yet"),
    "video-failed": (409, "the video has no results, since it failed"),
    "too-large": (413, "the body has too many bytes"),
    "unsupported-content-type": (415, "the body is of a type that this address does not take"),
    "bad-range": (416, "the file has no such bytes"),
    "foreign-host": (421, "the service is called by a name that it does not know"),
    "bad-input": (422, "a setting or a body of another shape"),
    "unknown-model": (422, "no model of that name"),
    "unknown-labels": (422, "the model has no such label set"),
    "unknown-detector": (422, "no detector of that name, or not on this machine"),
    "unreadable-picture": (422, "the bytes are no picture, a damaged one, or one of too many pixels"),
    "unreadable-video": (422, "the bytes are no video, or a damaged one"),
    "video-too-long": (422, "the video has too many frames, too large ones, or takes too long"),
    "unwritable-image": (422, "the format of the annotated copy cannot hold so large an image"),
    "websocket-only": (426, "this address takes WebSockets"),
    "internal-error": (500, "internal error; see the service's log"),
    "busy": (503, "too many requests wait; try again"),
    "loading": (503, "the model is loading; try again"),
    "ending": (503, "the service is shutting down"),
    "disk-full": (507, "no disk space for the video"),
}
CODES: dict[type[MienError], str] = {
    UnreadablePicture: "unreadable-picture",
    UnknownModel: "unknown-model",
    UnwritableImage: "unwritable-image",
}
HINTS = {
    "not-found": "there is nothing at this address; /docs lists the routes",
    "method-not-allowed": "method not supported at this address; see the header Allow, or /docs",
    "bad-range": "the file has no bytes of this header Range; its length is in the header Content-Range",
}
FAULTS = {"extra_forbidden": "unknown; /docs lists what this address takes"}  # by pydantic's type, for its own words
RETRY_SECONDS = 1  # in the header Retry-After of a busy service
INTERNAL = "the request failed with an internal error; see the service's log"


class Problem(Exception):
    """A request that is refused.

    Args:
        code: Kind of problem, of `PROBLEMS`.
        detail: One line: what was wrong, what was expected, what to do.
        status: HTTP status; the code's own when None.
    """

    def __init__(self, code: str, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail = code, one_line(detail)
        self.status = PROBLEMS[code][0] if status is None else status


def response(refusal: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem as an answer."""
    status = refusal.status
    own = {
        401: {"WWW-Authenticate": "Bearer"},
        408: {"Connection": "close"},
        426: {"Upgrade": "websocket", "Connection": "Upgrade"},
        503: {"Retry-After": str(RETRY_SECONDS)},
    }.get(status, {})
    title = refusal.code.replace("-", " ")
    body = {"status": status, "code": refusal.code, "title": title, "detail": refusal.detail}
    return JSONResponse(body, status, {**own, **(headers or {})}, media_type=MEDIA_TYPE)


def of_error(error: MienError) -> Problem:
    """Return the problem that an error of the library is to a client.

    Messages about models and outputs name the service's own files, so they go to its log instead.
    """
    if isinstance(error, (ModelError, OutputError)) and not isinstance(error, (UnknownModel, UnwritableImage)):
        log.error("%s: %s", type(error).__name__, one_line(str(error)))
        return Problem("internal-error", INTERNAL)
    return Problem(CODES.get(type(error), "bad-input"), str(error))


def of_faults(error: RequestValidationError | ValidationError) -> Problem:
    """Return the problem of a query or a body that is not as described in the OpenAPI document."""
    faults = [
        f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {FAULTS.get(fault['type'], fault['msg'])}"
        for fault in error.errors()
    ]
    return Problem("bad-input", "; ".join(faults))


def of_status(status: int, detail: str) -> Problem:
    """Return the problem of a status that a library chose, with its own words where there are no better ones."""
    code = next((code for code, (own, _) in PROBLEMS.items() if own == status), "bad-request")
    return Problem(code, HINTS.get(code, detail), status=status)


def answering_problems(app: ASGIApp) -> ASGIApp:
    """Return an app whose errors are problems too where a library answers in plain text, as for a bad Range."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        refused: Message | None = None

        async def sending(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                headers = Headers(raw=message["headers"])
                if headers.get("content-type", "text/plain").startswith("text/plain"):
                    refused = message
                    return
            if refused is None:
                await send(message)
            elif not message.get("more_body", False):
                headers = Headers(raw=refused["headers"])
                kept = {name: headers[name] for name in ("allow", "content-range") if name in headers}
                found = of_status(refused["status"], message.get("body", b"").decode())
                await response(found, kept)(scope, receive, send)

        await app(scope, receive, sending)

    return answer


def _methods(app: FastAPI, path: str) -> str:
    """Return the methods of an address, of all its routes: Starlette names those of the first. Files have the rest."""
    paths = app.openapi()["paths"]
    named = {method for template in paths if compile_path(template)[0].match(path) for method in paths[template]}
    allowed = {method.upper() for method in named} or {"GET"}
    return ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))


def add_handlers(app: FastAPI) -> None:
    """Answer every exception of a request with a problem."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return response(error)

    async def on_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, MienError)
        return response(of_error(error))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            methods = _methods(app, request.scope["path"])
            detail = f"this address takes {methods}, not {request.method}; see /docs"
            return response(Problem("method-not-allowed", detail), {"Allow": methods})
        return response(of_status(error.status_code, str(error.detail)), error.headers)

    async def on_faults(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return response(of_faults(error))

    async def on_leaving(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # for the log alone

    async def on_fault(_: Request, __: Exception) -> Response:
        return response(Problem("internal-error", INTERNAL))

    app.add_exception_handler(Exception, on_fault)
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(MienError, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_faults)
    app.add_exception_handler(ClientDisconnect, on_leaving)
