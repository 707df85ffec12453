"""Errors as answers: problem+json (RFC 9457), in one line as on the command line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from mien.errors import MienError, ModelError, OutputError, UnknownModel, UnreadablePicture
from mien.escape import visible

log = logging.getLogger("mien.web")

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "bad request", 401: "token needed", 403: "foreign origin", 404: "not found", 405: "method not allowed",
    408: "too slow", 413: "too large", 415: "unsupported content type", 421: "foreign host", 422: "bad input",
    500: "internal error", 503: "busy",
}  # fmt: skip
HINTS = {
    404: "there is nothing at this address; /docs lists the routes",
    405: "this route has other methods; see /docs",
}
RETRY_SECONDS = 1  # in the header Retry-After of a busy service
LONGEST_DETAIL = 1000  # characters; a detail may quote the request
INTERNAL = "the service failed at this request; its log says why"


class Problem(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        detail: One line: what was wrong, what was expected, what to do.
        title: Kind of problem; the status's own when None.
    """

    def __init__(self, status: int, detail: str, *, title: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.title = status, detail, title


def one_line(text: str) -> str:
    """Return a text on one line without control characters, and without its middle where it is too long."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= LONGEST_DETAIL else f"{line[: LONGEST_DETAIL - 200]} … {line[-190:]}"


def problem(status: int, detail: str, title: str | None = None) -> dict[str, Any]:
    """Return a problem as plain data, for JSON."""
    return {"status": status, "title": title or TITLES.get(status, "error"), "detail": one_line(detail)}


def response(refusal: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem as an answer."""
    status = refusal.status
    own = {
        401: {"WWW-Authenticate": "Bearer"},
        408: {"Connection": "close"},
        503: {"Retry-After": str(RETRY_SECONDS)},
    }.get(status, {})
    body = problem(status, refusal.detail, refusal.title)
    return JSONResponse(body, status, {**own, **(headers or {})}, media_type=MEDIA_TYPE)


def of_error(error: MienError) -> Problem:
    """Return the problem that an error of the library is to a client.

    Messages about models and outputs name the service's own files, so they go to its log instead.
    """
    if isinstance(error, (ModelError, OutputError)) and not isinstance(error, UnknownModel):
        log.error("%s: %s", type(error).__name__, one_line(str(error)))
        return Problem(500, INTERNAL)
    return Problem(422, str(error), title="unreadable picture" if isinstance(error, UnreadablePicture) else None)


def of_faults(error: RequestValidationError | ValidationError) -> Problem:
    """Return the problem of a query or a body that is not as described in the OpenAPI document."""
    faults = [f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}" for fault in error.errors()]
    return Problem(422, "; ".join(faults))


def _methods(app: FastAPI, path: str) -> str | None:
    """Return the methods of an address, of all its routes: Starlette names those of the first. None if unknown."""
    paths = app.openapi()["paths"]
    named = {method for template in paths if compile_path(template)[0].match(path) for method in paths[template]}
    return ", ".join(sorted(method.upper() for method in named)) or None


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
        status, headers = error.status_code, error.headers
        if status == 405 and (methods := _methods(app, request.scope["path"])):
            headers = {"Allow": methods}
        return response(Problem(status, HINTS.get(status, str(error.detail))), headers)

    async def on_faults(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return response(of_faults(error))

    async def on_leaving(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # for the log alone

    async def on_fault(_: Request, __: Exception) -> Response:
        return response(Problem(500, INTERNAL))

    app.add_exception_handler(Exception, on_fault)
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(MienError, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_faults)
    app.add_exception_handler(ClientDisconnect, on_leaving)
