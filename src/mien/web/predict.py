"""Pictures: faces and their expressions as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from mien.recognizer import Recognizer
from mien.sinks.records import record
from mien.sources.pictures import decode
from mien.structures import Frame
from mien.web.engine import Engine
from mien.web.settings import Choice


def choice(
    model: str | None = None,
    labels: str | None = None,
    detector: str | None = None,
    min_score: Annotated[float | None, Query(ge=0, le=1)] = None,
    min_confidence: Annotated[float, Query(ge=0, le=1)] = 0.0,
) -> Choice:
    """Return the settings that a query names."""
    return Choice(
        model=model, labels=labels, detector=detector, min_score=min_score, min_confidence=min_confidence
    )  # fmt: skip


def routes(engine: Engine) -> APIRouter:
    """Return the routes of pictures."""
    router = APIRouter(prefix="/v1")

    @router.post("/predict")
    async def predict(request: Request, chosen: Annotated[Choice, Depends(choice)]) -> dict[str, Any]:
        recognizer = await engine.run(engine.recognizer, chosen)
        data = await request.body()
        picture = await engine.run(see, recognizer, data, "picture")
        return {"model": recognizer.provenance.model, "pictures": [picture]}

    return router


def see(recognizer: Recognizer, data: bytes, name: str) -> dict[str, Any]:
    """Return the record of a picture.

    Args:
        recognizer: Detects and classifies.
        data: The whole file.
        name: Of the picture.

    Raises:
        UnreadablePicture: It cannot be decoded.
    """
    image = decode(data, name=name)
    frame = Frame(image, time=0.0, index=0, source=name)
    return record(frame, recognizer.recognize(image), recognizer.provenance)
