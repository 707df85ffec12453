"""Pictures: faces and their expressions as JSON, or drawn into the picture."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from PIL.ImageFile import ImageFile
from pydantic import Field

from mien.drawing.faces import draw
from mien.errors import InputError, UnreadablePicture
from mien.escape import one_line
from mien.pixels import encode
from mien.recognizer import Recognizer
from mien.sinks.records import SCHEMA, origin_keys, record
from mien.sources.content import HEADER_BYTES, decoder_of
from mien.sources.pictures import ANIMATED, decoder_memory, first_frame, open_picture
from mien.structures import Expression, Frame
from mien.warn import collect_warnings, warn
from mien.web.answers import PredictAnswer
from mien.web.bodies import RAW, ImageBody, Upload, pictures_of
from mien.web.engine import MAX_FILES, Choice, Engine
from mien.web.forms import PART
from mien.web.problems import of_error

RGB_BYTES = 6  # per pixel: the array of a picture, and a copy that is turned or drawn into
PICTURES = ("image/jpeg", "image/png", "image/webp", RAW)  # of the OpenAPI document; image/* is taken


class DrawQuery(Choice):
    """The settings of a drawing."""

    top: int = Field(1, ge=1, le=100, description="Number of labels per face.")


def routes(engine: Engine) -> APIRouter:
    """Return the routes of pictures."""
    router = APIRouter(prefix="/v1")

    @router.post("/predict", response_model=PredictAnswer, openapi_extra=_pictures_body(MAX_FILES))
    async def predict(request: Request, query: Annotated[Choice, Query()]) -> Response:
        """Recognise the expressions in up to 32 pictures.

        One that cannot be read is an error in its own entry; alone it is a problem, 422.
        """
        async with pictures_of(request, engine) as uploads, engine.admitted():
            if len(uploads) == 1:  # in one go: changing threads costs as much as a small picture
                recognizer, picture = await engine.compute(_alone, engine, query, uploads[0])
                pictures = [picture]
            else:
                recognizer = await engine.compute(engine.recognizer, query)
                turns = asyncio.Semaphore(engine.slots.n)  # a request of many pictures leaves room for others

                async def entry(upload: Upload) -> dict[str, Any]:
                    async with turns:
                        return await engine.compute(_entry, engine, recognizer, upload)

                pictures = await asyncio.gather(*map(entry, uploads))
        origin = recognizer.provenance
        return JSONResponse({
            "model": origin.model, "label_set": origin.labels.name, "labels": list(origin.labels),
            "detector": origin.detector, "pictures": pictures,
        })  # fmt: skip

    @router.post(
        "/draw", response_class=Response, openapi_extra=_pictures_body(1),
        responses={200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
    )  # fmt: skip
    async def drawing(request: Request, query: Annotated[DrawQuery, Query()]) -> Response:
        """Draw the faces of a picture and their expressions into it."""
        async with pictures_of(request, engine, most=1) as (upload,), engine.admitted():
            drawn = await engine.compute(_drawn, engine, query, upload, query.top)
            return Response(drawn, media_type="image/png")

    return router


@contextmanager
def recognized(engine: Engine, recognizer: Recognizer, upload: Upload) -> Iterator[tuple[Frame, list[Expression]]]:
    """Decode a picture, and recognise the expressions in it; its memory is reserved meanwhile.

    Raises:
        UnreadablePicture: It cannot be decoded.
    """
    if decoder_of(upload.data[:HEADER_BYTES]) == "HEIF" and find_spec("pillow_heif") is None:
        raise UnreadablePicture(f"'{upload.name}' is HEIC, which this service cannot read; save it as JPEG")
    picture = open_picture(io.BytesIO(upload.data), upload.name)
    with engine.memory(decoder_memory(picture) + RGB_BYTES * picture.width * picture.height):
        _warn_of_frames(picture, upload.name)
        frame = first_frame(picture, upload.name)
        expressions = recognizer.recognize(frame.image)
        engine.metrics.faces.inc(len(expressions))
        yield frame, expressions


def _warn_of_frames(picture: ImageFile, name: str) -> None:
    with suppress(Exception):  # of a damaged second frame
        if picture.format in ANIMATED and getattr(picture, "is_animated", False):
            first = f"'{name}' is an animation; only its first frame is read: send it to /v1/videos for all"
            warn(first, code="first-frame")


def _alone(engine: Engine, choice: Choice, upload: Upload) -> tuple[Recognizer, dict[str, Any]]:
    """Return the recogniser of a request, and the record of its only picture.

    Raises:
        UnreadablePicture: It cannot be decoded.
    """
    recognizer = engine.recognizer(choice)
    return recognizer, _record(engine, recognizer, upload)


def _entry(engine: Engine, recognizer: Recognizer, upload: Upload) -> dict[str, Any]:
    """Return the record of one picture of several, or its error."""
    try:
        return _record(engine, recognizer, upload)
    except InputError as error:
        problem = of_error(error)
        return {
            "source": upload.name, "index": 0, "time": 0.0, "note": "", "width": None, "height": None,
            **origin_keys(recognizer.provenance), "schema": SCHEMA, "faces": [], "error": problem.detail,
            "code": problem.code, "warnings": [],
        }  # fmt: skip


def _record(engine: Engine, recognizer: Recognizer, upload: Upload) -> dict[str, Any]:
    """Return the record of a picture, and the warnings about it.

    Raises:
        UnreadablePicture: It cannot be decoded.
    """
    with collect_warnings() as warnings, recognized(engine, recognizer, upload) as (frame, expressions):
        seen = record(frame, expressions, recognizer.provenance)
        told = [{"code": code, "detail": one_line(text)} for code, text in warnings]
        return {**seen, "error": None, "code": None, "warnings": told}


def _drawn(engine: Engine, choice: Choice, upload: Upload, top: int) -> bytes:
    with recognized(engine, engine.recognizer(choice), upload) as (frame, expressions):
        return encode(Path("drawing.png"), ".png", draw(frame.image, expressions, top=top))


def _pictures_body(most: int) -> dict[str, Any]:
    """Return the description of a body that `bodies.pictures_of` reads."""
    binary = {"type": "string", "format": "binary"}
    form = {
        "type": "object", "required": [PART], "additionalProperties": False,
        "properties": {PART: {"type": "array", "items": binary, "minItems": 1, "maxItems": most}},
    }  # fmt: skip
    content = {
        **{kind: {"schema": binary} for kind in PICTURES},
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": ImageBody.model_json_schema()},
    }
    return {"requestBody": {"required": True, "content": content}}
