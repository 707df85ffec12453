"""Faces of concurrent requests, classified together: a batch costs less than its faces one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mien.models.classifier import ExpressionClassifier, predict_heads
from mien.models.spec import ModelSpec
from mien.structures import FloatArray, ImageArray
from mien.web.limits import Slots


class BatchingClassifier:
    """A classifier that threads share, and that classifies the faces of several calls in one batch.

    The first call of a batch waits for the others that are in flight, for a short time and until it has a slot. Then
    it classifies all that came, while further calls form the next batch. Where a batch fails, each of its calls is
    classified alone, so that an error reaches only the call that caused it.

    Args:
        classifier: The classifier behind it; threads may share it.
        batch_ms: Longest time that a call waits for others, in milliseconds.
        max_batch: Most faces of a batch; a single call may have more.
        slots: Slots of the threads that call; a thread that waits lends its own.
        in_flight: Returns the number of calls that may come, this one included; with 1 there is no wait.
        observe: Called with the number of faces of each batch.
    """

    def __init__(
        self,
        classifier: ExpressionClassifier,
        *,
        batch_ms: float = 2.0,
        max_batch: int = 32,
        slots: Slots,
        in_flight: Callable[[], int],
        observe: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.classifier = classifier
        self._seconds, self._max_batch, self._slots = batch_ms / 1000, max_batch, slots
        self._in_flight, self._observe = in_flight, observe
        self._arrived = threading.Condition()
        self._calls: list[_Call] = []  # without a batch yet; the first one leads
        self._is_led = False

    @property
    def spec(self) -> ModelSpec:
        """Labels, input and origin of the model."""
        return self.classifier.spec

    @property
    def path(self) -> Path | None:
        """The model's file, by which temporal models know their classifier."""
        return getattr(self.classifier, "path", None)

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        """Return the probabilities of one head; see `ExpressionClassifier`."""
        chosen = self.spec.heads.index(self.spec.head(head))
        return self.predict_heads(crops)[chosen]

    def predict_heads(self, crops: Sequence[ImageArray]) -> list[FloatArray]:
        """Return the probabilities, float32 (n, k), of each head.

        Raises:
            ModelError: See `OnnxClassifier.predict_proba`.
        """
        crops = list(crops)
        if not crops:
            return predict_heads(self.classifier, crops)
        call = _Call(crops)
        leads = self._join(call)
        if not leads:
            with self._slots.lent():
                call.woken.wait()
        if call.leads:
            with self._slots.lent():
                self._wait_for_others()
            self._classify(self._take())
        return call.result()

    def _join(self, call: _Call) -> bool:
        """Add a call to the next batch; return whether it leads it."""
        with self._arrived:
            self._calls.append(call)
            call.leads, self._is_led = not self._is_led, True
            self._arrived.notify_all()
            return call.leads

    def _wait_for_others(self) -> None:
        with self._arrived:
            self._arrived.wait_for(self._is_complete, timeout=self._seconds)

    def _is_complete(self) -> bool:
        n_faces = sum(len(call.crops) for call in self._calls)
        return n_faces >= self._max_batch or len(self._calls) >= self._in_flight()

    def _take(self) -> list[_Call]:
        """Return the calls of a batch, and let the first of those that remain lead the next one."""
        with self._arrived:
            n_faces, end = 0, 0
            while end < len(self._calls) and (not end or n_faces + len(self._calls[end].crops) <= self._max_batch):
                n_faces += len(self._calls[end].crops)
                end += 1
            batch, self._calls = self._calls[:end], self._calls[end:]
            self._is_led = bool(self._calls)
            if self._calls:
                self._calls[0].leads = True
                self._calls[0].woken.set()
            return batch

    def _classify(self, batch: list[_Call]) -> None:
        """Give each call of a batch its rows, or its error."""
        crops = [crop for call in batch for crop in call.crops]
        self._observe(len(crops))
        try:
            heads = predict_heads(self.classifier, crops)
        except BaseException as error:
            if len(batch) > 1 and isinstance(error, Exception):
                for call in batch:
                    self._classify([call])
                return
            for call in batch:
                call.finish(error)
            return
        ends = np.cumsum([len(call.crops) for call in batch])[:-1]
        for call, *rows in zip(batch, *(np.split(head, ends) for head in heads), strict=True):
            call.finish(rows)


class _Call:
    """Faces that wait for their probabilities."""

    def __init__(self, crops: Sequence[ImageArray]) -> None:
        self.crops = crops
        self.leads = False
        self.woken = threading.Event()  # it has an outcome, or leads
        self._outcome: list[FloatArray] | BaseException | None = None

    def finish(self, outcome: list[FloatArray] | BaseException) -> None:
        self._outcome = outcome
        self.woken.set()

    def result(self) -> list[FloatArray]:
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome
