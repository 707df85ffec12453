"""The shapes of answers, for the OpenAPI document. See `mien.sinks.records` for the records of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mien.warn import WarningCode
from mien.web.problems import PROBLEMS


class FaceAnswer(BaseModel):
    """A face and its expression."""

    face: int = Field(description="Number in the picture, from 1, left to right.")
    track: int | None = Field(description="Number of the face in a stream; null on pictures.")
    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in pixels of the picture.")
    score: float = Field(description="Confidence of the detector, 0 to 1.")
    label: str = Field(description='The most probable label, or "uncertain".')
    confidence: float = Field(description="Probability of the most probable label.")
    certain: bool = Field(description="Whether the confidence is at least min_confidence.")
    probabilities: dict[str, float] = Field(description="By label; they sum to 1.")


class WarningAnswer(BaseModel):
    """A warning about a picture or a video, as of mien predict."""

    code: WarningCode = Field(description="Kind of warning, for programs.")
    detail: str = Field(description="One line.")


class PictureAnswer(BaseModel):
    """A picture: an item of `mien predict --json`, and its error."""

    model_config = ConfigDict(protected_namespaces=())

    source: str = Field(description='The file name of the part; "picture" for other bodies.')
    index: int = Field(description="0: the picture, or the first frame of an animation.")
    time: float = Field(description="0, in seconds.")
    note: str = Field(description='"no face found", or empty.')
    width: int | None = Field(description="In pixels, as boxes; null with an error.")
    height: int | None
    model: str
    label_set: str
    detector: str
    mien: str = Field(description="Version of mien.")
    schema_: int = Field(alias="schema", description="Version of these keys.")
    faces: list[FaceAnswer] = Field(description="Left to right.")
    error: str | None = Field(description="Why the picture cannot be read; null otherwise.")
    code: str | None = Field(description="Kind of the error, see ProblemAnswer; null where there is none.")
    warnings: list[WarningAnswer] = Field(description="For instance that it is read at half its size.")


class PredictAnswer(BaseModel):
    """The pictures of a request, in its order."""

    model: str
    label_set: str
    labels: list[str]
    detector: str
    pictures: list[PictureAnswer]


class HealthAnswer(BaseModel):
    """The state of the service."""

    status: str = Field(description='"ok".')


class ModelAnswer(BaseModel):
    """A model that requests may name."""

    name: str
    labels: dict[str, list[str]] = Field(description="Labels of each label set.")
    colours: dict[str, dict[str, str]] = Field(description='"#rrggbb" of each label and of "uncertain", by label set.')
    default_labels: str = Field(description="Label set of requests that name none.")
    temporal: list[str] = Field(description="Label sets for which there is a temporal model, for live sessions.")
    size: int = Field(description="Of its file, in bytes.")


class LimitsAnswer(BaseModel):
    """Bounds of requests."""

    bytes: int = Field(description="Of a body, except for videos.")
    video_bytes: int
    pixels: int = Field(description="Of a picture.")
    files: int = Field(description="Pictures of one request.")
    sessions: int = Field(description="Live sessions at once.")


class AboutAnswer(BaseModel):
    """The service: its models, detectors and limits."""

    version: str = Field(description="Of mien.")
    model: str = Field(description="Model of requests that name none.")
    models: list[ModelAnswer]
    detector: str = Field(description="Detector of requests that name none.")
    detectors: list[str]
    limits: LimitsAnswer


class VideoAnswer(BaseModel):
    """A video that is, or will be, recognised."""

    id: str
    source: str = Field(description='The file name that the client gave, or "video".')
    state: Literal["queued", "running", "done", "failed"]
    frames: int | None = Field(description="Number of frames that the file announces; null where it does not.")
    done: int = Field(description="Number of frames that were read.")
    warnings: list[WarningAnswer] = Field(description="Complete once it is done.")
    error: str | None = Field(description="Why the job failed, in one line.")
    code: str | None = Field(description="Kind of the error, see ProblemAnswer.")
    statistics: dict[str, Any] | None = Field(description="As statistics.json of mien live; null until it is done.")
    files: list[str] = Field(description="Names of the results, below the job's address; empty until it is done.")


class ProblemAnswer(BaseModel):
    """An error (RFC 9457)."""

    status: int
    code: str = Field(description="Kind of problem, for programs.")
    title: str = Field(description="The code in words.")
    detail: str = Field(description="One line: what was wrong, what was expected, what to do.")


def document(openapi: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Add the problems that any request may be answered with, and the token, to an OpenAPI document.

    Args:
        openapi: The document.
        names: The values that a parameter may have, by its name.
    """
    schemas = openapi.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemAnswer"] = ProblemAnswer.model_json_schema()
    schemas["ProblemAnswer"]["properties"]["code"]["enum"] = list(PROBLEMS)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    openapi["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    openapi["security"] = [{}, {"token": []}]  # where the service has one
    for operations in openapi["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in names:
                    parameter["schema"] = {"type": "string", "enum": list(names[parameter["name"]])}
            own = (404,) if "parameters" in operation and _has_path(operation) else ()
            body = (408, 413, 415) if "requestBody" in operation else ()
            for status in (401, 403, 421, 422, 500, 503, *own, *body):
                operation["responses"][str(status)] = _PROBLEM
    return openapi


_PROBLEM = {
    "description": "A problem, in one line.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}},
}


def _has_path(operation: dict[str, Any]) -> bool:
    return any(parameter["in"] == "path" for parameter in operation["parameters"])
