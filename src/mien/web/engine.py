"""Recognisers shared by all requests, and the threads that they run in."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mien.cores import usable_cores
from mien.download import is_offline
from mien.errors import ModelError, UnknownModel
from mien.models.classifier import ExpressionClassifier, OnnxClassifier, load_classifier
from mien.models.store import Model, list_models, shipped_dir, user_dir
from mien.recognizer import Recognizer
from mien.vision.detect import DETECTORS, FaceDetector, load_detector
from mien.vision.fetch import local_yunet, recent_failure, yunet_path
from mien.vision.yunet import YuNetDetector
from mien.web.batching import BatchingClassifier
from mien.web.limits import Budget, Slots, limit_heaps
from mien.web.metrics import Metrics
from mien.web.problems import Problem, of_error
from mien.web.settings import MIN_SCORE, ServerSettings

P = ParamSpec("P")
T = TypeVar("T")

MAX_FILES = 32  # pictures of one request
KEPT_MODELS, KEPT_DETECTORS = 8, 16  # loaded at once; the least recently used one makes room
DECODING_BYTES = 2_000_000_000  # of pictures that are decoded at once; the largest one takes 1.8 GB, and is then alone
BODIES = 16  # bodies of the largest size that are in memory at once


class Choice(BaseModel):
    """The settings of a request; None stands for the service's own, or the model's default label set."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str | None = Field(None, description="Name of a model of /v1/about.")
    labels: str | None = Field(None, description="Label set of the model.")
    detector: str | None = Field(None, description="Name of a detector of /v1/about.")
    min_score: float | None = Field(None, ge=MIN_SCORE, le=1, description="Minimum detector score of a face.")
    min_confidence: float = Field(0.0, ge=0, le=1, description='Confidence below which a label is "uncertain".')


class Engine:
    """Loads models once, and computes in a bounded number of threads. Threads may share it.

    Args:
        settings: Of the service.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.slots = Slots(settings.workers or usable_cores())
        limit_heaps(self.slots.n)
        self.metrics = Metrics(lambda: self._admitted)
        self.bodies = Budget(BODIES * settings.max_upload)
        self._admitted = 0  # requests
        self._is_closed = False
        self._in_flight = 0  # functions in threads
        self._lock = threading.Lock()
        self._memory = Budget(DECODING_BYTES)
        self._pool = ThreadPoolExecutor(self.slots.n + settings.waiting, thread_name_prefix="mien")
        self._default: tuple[Model, ExpressionClassifier] | None = None
        self._classifiers: LruCache[ExpressionClassifier] = LruCache(KEPT_MODELS)
        self._detectors: LruCache[FaceDetector] = LruCache(KEPT_DETECTORS)
        self._listing: tuple[Hashable, list[Model]] = (None, [])

    def load(self) -> None:
        """Load the default model and detector; until then requests are answered 503.

        Raises:
            MienError: One cannot be loaded.
        """
        settings = self.settings
        self._detectors.get((settings.detector, None), lambda: load_detector(settings.detector))
        loaded = load_classifier(settings.model, models_dir=settings.models_dir, threads=1)
        name = Path(settings.model).stem if settings.model.endswith(".onnx") else settings.model
        self._default = Model(name, loaded.path, False, loaded.spec), self._batching(loaded)

    @property
    def is_ready(self) -> bool:
        """Whether the default model is loaded."""
        return self._default is not None

    def check_ready(self) -> None:
        """Raise Problem, 503, while the default model is loading."""
        if not self.is_ready:
            raise Problem("loading", "the model is loading; try again in a moment")

    def close(self) -> None:
        """Drop the functions that wait for a thread; those that run end by themselves."""
        self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def recognizer(self, choice: Choice) -> Recognizer:
        """Return the recogniser of a request.

        Raises:
            Problem: No such model, label set or detector, where a path is no name of a model; or not loaded yet.
            ModelError: The model's file is unusable.
        """
        classifier = self._classifier(choice.model)
        if choice.labels is not None and choice.labels not in classifier.spec.names:
            known = ", ".join(classifier.spec.names)
            raise Problem(
                "unknown-labels",
                f"model '{classifier.spec.name}' has no labels '{choice.labels}'; choose from {known}",
            )
        detector = self._detector(choice.detector or self.settings.detector, choice.min_score)
        return Recognizer(detector, classifier, labels=choice.labels, min_confidence=choice.min_confidence)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Let a request in; it may then `compute`.

        Raises:
            Problem: 503, too many are waiting already, or the service ends.
        """
        if self._is_closed:
            raise Problem("ending", "the service is shutting down; try again later")
        if self._admitted >= self.slots.n + self.settings.waiting:
            raise Problem("busy", f"busy: {self._admitted} requests are waiting; try again in a moment")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def compute(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a function, called in a thread once it has a slot."""
        call = partial(self.call, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a function, called in this thread once it has a slot."""
        with self._counted(), self.slots.taken():
            return function(*args, **kwargs)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a function: `admitted` and `compute` in one.

        Raises:
            Problem: 503, too many requests are waiting already.
        """
        async with self.admitted():
            return await self.compute(function, *args, **kwargs)

    @contextmanager
    def memory(self, amount: int) -> Iterator[None]:
        """Reserve memory for decoding a picture in a thread of `compute`, which lends its slot while it waits for it.

        Args:
            amount: Bytes.
        """
        if not self._memory.try_take(amount):
            with self.slots.lent():
                amount = self._memory.take(amount)
        try:
            yield
        finally:
            self._memory.give(amount)

    def models(self) -> list[Model]:
        """Return the usable models, those that were added or removed since the start too; the default one stays."""
        assert self._default is not None
        state = _state(shipped_dir()), _state(self.settings.models_dir or user_dir())
        if self._listing[0] != state:
            self._listing = state, list_models(self.settings.models_dir)
        default, _ = self._default
        others = [model for model in self._listing[1] if model.spec is not None and model.name != default.name]
        return [default, *others]

    def names(self) -> dict[str, list[str]]:
        """Return the values that requests may have for model, labels and detector, at this moment."""
        models = self.models() if self.is_ready else []
        labels = {name for model in models if model.spec is not None for name in model.spec.names}
        return {
            **({"model": [model.name for model in models], "labels": sorted(labels)} if models else {}),
            "detector": [name for name in DETECTORS if name != YuNetDetector.name or _has_yunet()],
        }

    def _classifier(self, name: str | None) -> ExpressionClassifier:
        self.check_ready()
        assert self._default is not None
        default, classifier = self._default
        if name in (None, default.name):
            return classifier
        found = {model.name: model.path for model in self.models()}
        try:
            path = found[name or ""]
            return self._classifiers.get(
                (path, path.stat().st_mtime_ns), lambda: self._batching(load_classifier(str(path), threads=1))
            )
        except (KeyError, OSError, UnknownModel):  # also one that vanishes in this moment
            known = ", ".join(other for other in found if other != name)
            raise Problem("unknown-model", f"no model '{name}'; choose from {known}") from None

    def _batching(self, classifier: OnnxClassifier) -> ExpressionClassifier:
        settings = self.settings
        if settings.batch_ms == 0:
            return classifier
        return BatchingClassifier(
            classifier, batch_ms=settings.batch_ms, max_batch=settings.max_batch, slots=self.slots,
            in_flight=lambda: self._in_flight, observe=self.metrics.batch.observe,
        )  # fmt: skip

    def _detector(self, name: str, min_score: float | None) -> FaceDetector:
        if name not in DETECTORS:
            raise Problem("unknown-detector", f"unknown detector '{name}'; choose from {', '.join(DETECTORS)}")
        try:
            if name == YuNetDetector.name:
                yunet_path(retry=False)  # a fetch that failed is not repeated for each request
            return self._detectors.get((name, min_score), lambda: load_detector(name, min_score=min_score))
        except ModelError as error:
            of_error(error)  # into the log
            raise Problem(
                "unknown-detector", f"the detector '{name}' is not installed here; choose another one"
            ) from error

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1


def _has_yunet() -> bool:
    """Return whether YuNet is at hand, or may be fetched and did not fail to be lately."""
    try:
        return local_yunet() is not None or not (is_offline() or recent_failure())
    except ModelError:  # $MIEN_YUNET names something else
        return False


def _state(folder: Path) -> list[tuple[str, int]]:
    """Return the files of a folder with the times of their changes; none where there is no such folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted((entry.name, entry.stat().st_mtime_ns) for entry in entries)
    return []


class LruCache(Generic[T]):
    """Loads things once, and keeps the most recently used ones.

    Args:
        n: Number of those kept.
    """

    def __init__(self, n: int) -> None:
        self._n, self._lock = n, threading.Lock()
        self._things: OrderedDict[Hashable, T] = OrderedDict()
        self._loading: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return the thing of a key; threads that ask for it at once wait for one load, and others don't."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            thing = self._things.get(key)  # loaded by another thread meanwhile
            try:
                thing = load() if thing is None else thing
            finally:
                with self._lock:
                    self._loading.pop(key, None)
            with self._lock:
                self._things[key] = thing
                while len(self._things) > self._n:
                    self._things.popitem(last=False)
            return thing
