"""Bodies of requests, read in time and up to a size: pictures into memory alone, a video into a file."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import re
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

import anyio
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien.web.engine import MAX_FILES, Engine
from mien.web.forms import FileForm, file_name
from mien.web.limits import Budget
from mien.web.problems import Problem, of_faults

RAW = "application/octet-stream"
WRITE_BYTES = 1_000_000  # of a video, written at once
IDLE_SECONDS = 20.0  # without a byte of a video
PATIENCE_SECONDS, SLOWEST = 60.0, 20_000  # a video may take that long, and a second more per so many bytes
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Limits of a request body.

    Args:
        size: Most bytes.
        seconds: Longest time until its end.
        slowest: Bytes for each of which it may take another second.
        idle: Longest time without a byte, in seconds.
        hint: What to do where it has more bytes.
    """

    size: int
    seconds: float
    slowest: float = math.inf
    idle: float = math.inf
    hint: str


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
        Problem: too-slow, too-large, unsupported-content-type; bad-input: not as described in the OpenAPI document;
            busy: too much is in memory already.
        ClientDisconnect: The client left.
    """
    settings = engine.settings
    allowance = Allowance(
        size=settings.max_upload, seconds=settings.read_seconds, hint="send a smaller picture, or fewer at once"
    )
    kind, body = _content_type(request), Body(request, allowance, memory=engine.bodies)
    try:
        if kind == "multipart/form-data":
            yield await _parts(request, body, most)
        elif kind.startswith("image/") or kind == RAW:
            yield [Upload("picture", await body.read())]
        elif kind == "application/json":
            yield [await engine.run(_from_json, await body.read())]
        else:
            raise _unsupported(kind, f"image/*, {RAW}, multipart/form-data or application/json")
    finally:
        body.forget()


async def receive_video(request: Request, file: BinaryIO, engine: Engine) -> str:
    """Write the video of a request, raw or a form with one file, to a file; return the file name that the client gave.

    Raises:
        Problem: too-slow, too-large, unsupported-content-type; bad-input: the form is malformed, or has no single file.
        ClientDisconnect: The client left.
    """
    kind, headers = _content_type(request), request.headers
    if kind == "multipart/form-data":
        form: FileForm | None = FileForm(headers["content-type"], most=1)
    elif kind.startswith("video/"):
        form = None
    else:
        raise _unsupported(kind, "video/* or multipart/form-data")
    allowance = Allowance(
        size=engine.settings.max_video, seconds=PATIENCE_SECONDS, slowest=SLOWEST, idle=IDLE_SECONDS,
        hint="make the video smaller, or cut it",
    )  # fmt: skip
    pending = bytearray()
    async for chunk in Body(request, allowance).chunks():
        pending += chunk if form is None else b"".join(data for _, data in form.feed(chunk))
        if len(pending) >= WRITE_BYTES:
            await asyncio.to_thread(file.write, pending)
            pending = bytearray()
    await asyncio.to_thread(file.write, pending)
    await asyncio.to_thread(file.flush)
    return (file_name(headers.get("content-disposition")) or "") if form is None else form.names()[0]


class Body:
    """The body of a request, counted while it is read.

    Args:
        request: The request.
        allowance: What it may take.
        memory: What it takes is taken from this; None where it does not stay in memory.
    """

    def __init__(self, request: Request, allowance: Allowance, *, memory: Budget | None = None) -> None:
        self.size = 0
        self._request, self._allowance, self._memory = request, allowance, memory

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives.

        Raises:
            Problem: too-slow, too-large or busy.
        """
        allowance, began = self._allowance, time.monotonic()
        announced = self._request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > allowance.size:
            raise self._too_large()
        stream = aiter(self._request.stream())
        while True:
            left = began + allowance.seconds + self.size / allowance.slowest - time.monotonic()
            try:
                with anyio.fail_after(min(left, allowance.idle)):
                    chunk = await anext(stream, None)
            except TimeoutError:
                raise self._too_slow(time.monotonic() - began) from None
            if chunk is None:
                return
            self._count(len(chunk))
            yield chunk

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    def forget(self) -> None:
        """Give its memory back."""
        if self._memory is not None:
            self._memory.give(self.size)
        self.size = 0

    def _count(self, n: int) -> None:
        if self.size + n > self._allowance.size:
            raise self._too_large()
        if self._memory is not None and not self._memory.try_take(n):
            raise Problem("busy", "busy: other requests take all memory for uploads; try again in a moment")
        self.size += n

    def _too_large(self) -> Problem:
        return Problem("too-large", f"the body has more than {self._allowance.size:,} bytes; {self._allowance.hint}")

    def _too_slow(self, seconds: float) -> Problem:
        return Problem(
            "too-slow",
            f"the body did not arrive within {round(seconds, 1):g} s, {self.size:,} bytes did; send a smaller one",
        )


async def _parts(request: Request, body: Body, most: int) -> list[Upload]:
    form, contents = FileForm(request.headers["content-type"], most=most), defaultdict[int, list[bytes]](list)
    async for chunk in body.chunks():
        for number, data in form.feed(chunk):
            contents[number].append(data)
    return [Upload(name or f"picture {i + 1}", b"".join(contents[i])) for i, name in enumerate(form.names())]


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unsupported(kind: str, expected: str) -> Problem:
    return Problem("unsupported-content-type", f"the content type is '{kind}'; expected {expected}")


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
        raise Problem(
            "bad-input", "image: expected base64 or a data: URL of it; addresses and paths are not read"
        ) from error
