"""Bodies of requests: read in time and up to a size, into memory alone, and taken apart into pictures."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mien.web.engine import MAX_FILES, Engine
from mien.web.problems import Problem, of_faults

T = TypeVar("T")

RAW = "application/octet-stream"
PART = "file"  # name of the parts that hold pictures
HEAD_BYTES = 64_000  # of the parts of a multipart body, besides the pictures
_DATA_URL = re.compile(r"data:(?P<type>[^,;]*)(;[^,;]*)*?;base64,", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n]+")  # `base64` wraps its lines


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture of a request.

    Args:
        name: Its file name, as the client gives it.
        data: The whole file.
    """

    name: str
    data: bytes


class ImageBody(BaseModel):
    """A picture as JSON."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(description="The file in base64, or a data: URL of it. Addresses and paths are not read.")


@asynccontextmanager
async def pictures_of(request: Request, engine: Engine, *, most: int = MAX_FILES) -> AsyncIterator[list[Upload]]:
    """Read the pictures of a request: raw, as the parts of a multipart form, or as JSON.

    Their memory counts until the end of the context.

    Args:
        request: The request.
        engine: Its limits.
        most: Number of pictures.

    Raises:
        Problem: 408, 413, 415, or 422: not as described in the OpenAPI document; 503: too much is in memory already.
        ClientDisconnect: The client left.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = Body(request, engine, limit=engine.settings.max_upload)
    try:
        if kind == "multipart/form-data":
            yield await body.in_time(_parts(request, body, most))
        elif kind.startswith("image/") or kind == RAW:
            yield [Upload("picture", await body.in_time(body.read()))]
        elif kind == "application/json":
            yield [await engine.run(_from_json, await body.in_time(body.read()))]
        else:
            raise Problem(
                415, f"the content type is '{kind}'; expected image/*, {RAW}, multipart/form-data or application/json"
            )
    finally:
        body.forget()


class Body:
    """The body of a request, counted while it is read.

    Args:
        request: The request.
        engine: Knows how much may be in memory.
        limit: Most bytes.
    """

    def __init__(self, request: Request, engine: Engine, *, limit: int) -> None:
        self.size = 0
        self._request, self._engine, self._limit = request, engine, limit

    async def in_time(self, reading: Awaitable[T]) -> T:
        """Return the result of something that reads the body.

        Raises:
            Problem: 408, the body does not arrive in time.
        """
        seconds = self._engine.settings.read_seconds
        try:
            with anyio.fail_after(seconds):
                return await reading
        except TimeoutError:
            raise Problem(408, f"the body did not arrive within {seconds:g} s; send a smaller one") from None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives.

        Raises:
            Problem: 413 or 503.
        """
        announced = self._request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self._limit:
            raise self._too_large()
        async for chunk in self._request.stream():
            self._count(len(chunk))
            yield chunk

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    def forget(self) -> None:
        """Give its memory back."""
        self._engine.bodies.give(self.size)
        self.size = 0

    def _count(self, n: int) -> None:
        if self.size + n > self._limit:
            raise self._too_large()
        if not self._engine.bodies.try_take(n):
            raise Problem(503, "busy: other requests take all memory for uploads; try again in a moment")
        self.size += n

    def _too_large(self) -> Problem:
        return Problem(413, f"the body has more than {self._limit:,} bytes; send a smaller picture, or fewer at once")


class _MemoryParser(MultiPartParser):
    """A parser that keeps pictures in memory, and knows whether it has read a whole form."""

    spool_max_size = sys.maxsize  # faces never go into temporary files
    has_ended = False

    def on_end(self) -> None:
        self.has_ended = True


async def _parts(request: Request, body: Body, most: int) -> list[Upload]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        async for chunk in body.chunks():
            yield chunk
        if body.size and not parser.has_ended:
            raise Problem(422, "the form cannot be read: it ends before its last boundary; send it again")

    parser = _MemoryParser(request.headers, chunks(), max_files=most, max_fields=most, max_part_size=HEAD_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(422, f"the form cannot be read: {error.message}") from error
    try:
        items = form.multi_items()
        if not items:
            raise Problem(422, f"the form has no parts; expected pictures as parts named '{PART}'")
        return [await _upload(name, part, i) for i, (name, part) in enumerate(items, start=1)]
    finally:
        await form.close()


async def _upload(field: str, part: UploadFile | str, number: int) -> Upload:
    if field != PART:
        raise Problem(422, f"unknown part '{field}'; expected pictures as parts named '{PART}'")
    if isinstance(part, str):
        raise Problem(422, f"the part '{field}' has no file name, so it is no file: curl -F {PART}=@photo.jpg")
    return Upload(part.filename or f"picture {number}", await part.read())


def _from_json(data: bytes) -> Upload:
    try:
        text = ImageBody.model_validate_json(data).image
    except ValidationError as error:
        raise of_faults(error) from error
    if (match := _DATA_URL.match(text)) is not None:
        text = text[match.end() :]
    try:
        return Upload("picture", base64.b64decode(_SPACES.sub("", text), validate=True))
    except (binascii.Error, ValueError) as error:
        raise Problem(422, "image: expected base64 or a data: URL of it; addresses and paths are not read") from error
