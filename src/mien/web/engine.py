"""Recognisers shared by all requests, and the threads that they run in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

from mien import __version__
from mien.errors import UnknownModel
from mien.models.classifier import OnnxClassifier, load_classifier
from mien.models.store import list_models
from mien.recognizer import Recognizer
from mien.sources.paths import MAX_PIXELS
from mien.vision.detect import DETECTORS, FaceDetector, load_detector
from mien.web.problems import Problem
from mien.web.settings import Choice, ServerSettings

P = ParamSpec("P")
T = TypeVar("T")

MAX_FILES = 32  # pictures of one request
KEPT_MODELS, KEPT_DETECTORS = 8, 16  # loaded at once; the least recently used one makes room


class Engine:
    """Loads models once, and recognises in a bounded number of threads. Threads may share it.

    Args:
        settings: Of the service.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._pool = ThreadPoolExecutor(settings.workers or os.cpu_count() or 1, thread_name_prefix="mien")
        self._waiting = 0
        self._classifier = lru_cache(KEPT_MODELS)(self._load_classifier)
        self._detector = lru_cache(KEPT_DETECTORS)(self._load_detector)

    def close(self) -> None:
        """Let running recognitions end; those that wait are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def recognizer(self, choice: Choice) -> Recognizer:
        """Return the recogniser of a request.

        Raises:
            UnknownModel: No model of that name; paths are refused.
            ConfigError: Unknown detector.
            ModelError: The model is unusable, or has no such label set.
        """
        settings = self.settings
        return Recognizer(
            self._detector(choice.detector or settings.detector, choice.min_score),
            self._classifier(choice.model or settings.model),
            labels=choice.labels,
            min_confidence=choice.min_confidence,
        )

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a function, called in one of the threads.

        Raises:
            Problem: 503, too many wait already.
        """
        if self._waiting >= self.settings.waiting:
            raise Problem(503, f"busy: {self._waiting} requests are waiting; try again in a moment")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))
        finally:
            self._waiting -= 1

    def about(self) -> dict[str, Any]:
        """Return version, models with their label sets, detectors and limits, for JSON."""
        settings = self.settings
        models = [
            {
                "name": model.name,
                "labels": {head.labels.name: list(head.labels) for head in model.spec.heads},
                "default_labels": model.spec.head().labels.name,
                "size": model.path.stat().st_size,
            }
            for model in list_models(settings.models_dir)
            if model.spec is not None
        ]
        return {
            "version": __version__,
            "model": settings.model,
            "models": models,
            "detector": settings.detector,
            "detectors": list(DETECTORS),
            "limits": {
                "bytes": settings.max_upload,
                "video_bytes": settings.max_video,
                "pixels": MAX_PIXELS,
                "files": MAX_FILES,
                "sessions": settings.sessions,
            },
        }

    def _load_classifier(self, name: str) -> OnnxClassifier:
        listed = [model.name for model in list_models(self.settings.models_dir) if model.spec is not None]
        if name not in listed and name != self.settings.model:
            raise UnknownModel(f"no model '{name}'; choose from {', '.join(listed)}")
        return load_classifier(name, models_dir=self.settings.models_dir, threads=1)

    def _load_detector(self, name: str, min_score: float | None) -> FaceDetector:
        return load_detector(name, min_score=min_score)
