"""Errors as answers: problem+json (RFC 9457), in one line as on the command line."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mien.errors import MienError, ModelError, UnknownModel
from mien.escape import visible

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "bad request", 401: "token needed", 403: "foreign origin", 404: "not found", 405: "method not allowed",
    408: "too slow", 413: "too large", 415: "unsupported content type", 421: "foreign host", 422: "bad input",
    500: "internal error", 503: "busy",
}  # fmt: skip
RETRY_SECONDS = 1  # in the header Retry-After of a busy service


class Problem(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        detail: One line: what was wrong, what was expected, what to do.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def problem(status: int, detail: str) -> dict[str, Any]:
    """Return an error as plain data, for JSON."""
    return {"status": status, "title": TITLES.get(status, "error"), "detail": visible(" ".join(detail.split()))}


def response(status: int, detail: str) -> JSONResponse:
    """Return an error as an answer."""
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    return JSONResponse(problem(status, detail), status, headers, media_type=MEDIA_TYPE)


def of_error(error: MienError) -> Problem:
    """Return the problem that an error of the library is to a client."""
    if isinstance(error, ModelError) and not isinstance(error, UnknownModel):
        return Problem(500, str(error))
    return Problem(422, str(error))


def add_handlers(app: FastAPI) -> None:
    """Answer every exception of a request with a problem."""

    async def on_problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return response(error.status, error.detail)

    async def on_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, MienError)
        found = of_error(error)
        return response(found.status, found.detail)

    async def on_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return response(error.status_code, str(error.detail))

    async def on_validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return response(422, "; ".join(faults))

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(MienError, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)
