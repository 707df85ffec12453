"""Faces of concurrent calls are classified together, and each call gets its own rows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")

from mien.errors import ModelError
from mien.labels import FER2013
from mien.models.classifier import ExpressionClassifier, OnnxClassifier, predict_heads
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.structures import FloatArray, ImageArray
from mien.web.batching import BatchingClassifier
from mien.web.limits import Slots

BAD = 255


class Echo:
    """Returns rows that name their crop: its first pixel in the first column. It fails on a batch with a bad crop."""

    spec = ModelSpec(name="echo", arch="echo", heads=(Head(FER2013),), preprocess=Preprocess())

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        self.entered.set()
        assert self.gate.wait(20)
        values = np.array([int(crop[0, 0, 0]) for crop in crops])
        self.batches.append(len(crops))
        if (values == BAD).any():
            raise ModelError("bad crop")
        return (
            np.eye(256, 7, dtype=np.float32)[:0] if not len(crops) else np.tile(values[:, None], 7).astype(np.float32)
        )


def crops_of(*values: int) -> list[ImageArray]:
    return [np.full((4 + value % 3, 4, 3), value, np.uint8) for value in values]


def batching(
    classifier: ExpressionClassifier, *, in_flight: int = 99, batch_ms: float = 20, max_batch: int = 32, slots: int = 16
) -> BatchingClassifier:
    return BatchingClassifier(
        classifier, batch_ms=batch_ms, max_batch=max_batch, slots=Slots(slots), in_flight=lambda: in_flight
    )


def test_answers_of_sixteen_threads_are_never_mixed_or_lost() -> None:
    echo, random = Echo(), np.random.default_rng(0)
    shared, slots = batching(echo, batch_ms=1, max_batch=8), Slots(3)
    jobs = [random.integers(0, BAD + 1, random.integers(0, 12)).tolist() for _ in range(400)]

    def ask(values: list[int]) -> list[int] | str:
        try:
            with slots.taken() if len(values) % 2 else nullcontext():
                return [int(row[0]) for row in shared.predict_heads(crops_of(*values))[0]]
        except ModelError as error:
            return str(error)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, jobs))
    assert answers == ["bad crop" if BAD in values else values for values in jobs]
    assert max(echo.batches) > 1


def test_a_real_model_gives_the_probabilities_of_serial_calls(tiny_model: Path) -> None:
    classifier, random = OnnxClassifier(tiny_model, threads=1), np.random.default_rng(1)
    jobs = [[random.integers(0, 256, (30, 30, 3), np.uint8) for _ in range(n)] for n in random.integers(1, 7, 64)]
    serial = [predict_heads(classifier, crops) for crops in jobs]
    shared = batching(classifier, batch_ms=5)
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(shared.predict_heads, jobs))
    for expected, found in zip(serial, together, strict=True):
        assert len(expected) == len(found) == 2
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(shared.predict_proba(jobs[0], head="ferplus"), serial[0][1], atol=1e-6)


def test_calls_that_come_together_are_one_batch() -> None:
    echo = Echo()
    shared = batching(echo, in_flight=3, batch_ms=60_000)  # ends as soon as all three are there
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(shared.predict_heads, [crops_of(1), crops_of(2, 3), crops_of(4)]))
    assert echo.batches == [4]
    assert [[int(row[0]) for row in heads[0]] for heads in found] == [[1], [2, 3], [4]]


def test_a_call_that_is_alone_does_not_wait() -> None:
    echo = Echo()
    batching(echo, in_flight=1, batch_ms=10**9).predict_heads(crops_of(1))  # a wait would never end
    assert echo.batches == [1]


def test_a_full_batch_does_not_wait() -> None:
    echo = Echo()
    batching(echo, in_flight=2, batch_ms=10**9, max_batch=2).predict_heads(crops_of(1, 2, 3))
    assert echo.batches == [3]


def test_batches_are_bounded() -> None:
    echo = Echo()
    shared = batching(echo, in_flight=8, batch_ms=60_000, max_batch=16)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(shared.predict_heads, [crops_of(i, i) for i in range(8)]))
    shared = batching(echo, in_flight=8, batch_ms=200, max_batch=5)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.predict_heads, [crops_of(i, i) for i in range(8)]))
    assert max(echo.batches[1:]) <= 5
    assert [int(heads[0][0, 0]) for heads in found] == list(range(8))


def test_an_error_reaches_only_the_call_that_caused_it() -> None:
    echo = Echo()
    shared = batching(echo, in_flight=3, batch_ms=60_000)
    with ThreadPoolExecutor(3) as pool:
        good, bad, other = (pool.submit(shared.predict_heads, crops_of(value)) for value in (1, BAD, 2))
        assert (good.result()[0][0, 0], other.result()[0][0, 0]) == (1, 2)
        with pytest.raises(ModelError, match="bad crop"):
            bad.result()
    assert sorted(echo.batches) == [1, 1, 1, 3]


def test_a_thread_that_waits_lends_its_slot() -> None:
    echo, slots = Echo(), Slots(1)
    shared = BatchingClassifier(echo, batch_ms=60_000, slots=slots, in_flight=lambda: 2)

    def call(value: int) -> int:
        with slots.taken():
            return int(shared.predict_heads(crops_of(value))[0][0, 0])

    with ThreadPoolExecutor(2) as pool:  # would never end if the first kept the only slot
        assert list(pool.map(call, [1, 2])) == [1, 2]
    assert echo.batches == [2]


def test_calls_that_come_during_a_batch_are_the_next_one() -> None:
    echo, in_flight = Echo(), [1]
    echo.gate.clear()
    shared = BatchingClassifier(echo, batch_ms=60_000, slots=Slots(3), in_flight=lambda: in_flight[-1])
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(shared.predict_heads, crops_of(1))
        assert echo.entered.wait(20)
        in_flight.append(2)
        others = [pool.submit(shared.predict_heads, crops_of(*values)) for values in ((2, 3), (4,))]
        echo.gate.set()
        found = [call.result()[0][:, 0].tolist() for call in (first, *others)]
    assert found == [[1], [2, 3], [4]]
    assert sorted(echo.batches) == [1, 3]
