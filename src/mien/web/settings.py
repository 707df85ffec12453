"""Settings of the service, and those of a request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mien.models.spec import DEFAULT_MODEL
from mien.settings import Range, Share, check_fields

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings of the service.

    Args:
        model: Model of requests that name none.
        detector: Detector of requests that name none.
        models_dir: Directory of user models; the default directory when None.
        hosts: Names that the service may be called by, besides those of this machine: values of the Host header
            without the port.
        origins: Origins of other pages that may call it: "https://example.org".
        token: Secret that every request must carry, except for the page's own files; None for no token.
        page: Whether the page is served too.
        workers: Threads that recognise; 0 for one per core.
        sessions: Live sessions at once.
        waiting: Requests that wait for a thread; further ones are answered 503.
        max_upload: Largest picture in bytes.
        max_video: Largest video in bytes.
        batch_ms: Longest time that a face waits for others to be classified with, in milliseconds; 0 for no batches.
    """

    model: str = DEFAULT_MODEL
    detector: str = "auto"
    models_dir: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token: str | None = None
    page: bool = True
    workers: Annotated[int, Range(0, 256)] = 0
    sessions: Annotated[int, Range(0, 1000)] = 8
    waiting: Annotated[int, Range(1, 100_000)] = 64
    max_upload: Annotated[int, Range(1)] = 32 * MEGABYTE
    max_video: Annotated[int, Range(1)] = 1000 * MEGABYTE
    batch_ms: Annotated[float, Range(0, 1000)] = 2.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The settings of a request; None stands for the service's own.

    Args:
        model: Name of a model in `mien models`, never a path.
        labels: Label set; the model's default one when None.
        detector: Name of a detector.
        min_score: Minimum detector score of a face.
        min_confidence: Confidence below which a label is "uncertain".
    """

    model: str | None = None
    labels: str | None = None
    detector: str | None = None
    min_score: Share | None = None
    min_confidence: Share = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
