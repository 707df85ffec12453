"""Functions that worker processes call; they must be importable there."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from mien.cores import usable_cores
from mien.errors import InputError
from mien.structures import Face, ImageArray
from mien.vision.detect import WholeImage


def count(n: int) -> Iterator[int]:
    return (i * i for i in range(n))


def squares() -> Callable[[int], Iterator[int]]:
    """Yield each number up to the item, squared."""
    return count


def broken() -> Callable[[int], Iterator[int]]:
    raise InputError("no such thing")


def sleepless() -> Callable[[int], Iterator[int]]:
    """Never become ready."""
    while True:
        time.sleep(1)


def blocked_signals(_: int) -> Iterator[set[int]]:
    yield {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])}


def masked() -> Callable[[int], Iterator[set[int]]]:
    """Yield the numbers of the signals that the process has blocked."""
    return blocked_signals


def refuse_three(n: int) -> Iterator[int]:
    if n == 3:
        raise InputError("three is too many")
    yield n


def refusing() -> Callable[[int], Iterator[int]]:
    return refuse_three


class Dying:
    """Yields 0, 1, 2, and kills its process before the last one: the first time, or each time, that `item` is seen.

    Args:
        item: The deadly item.
        note: A file that remembers that it was seen.
        always: Whether it kills each time.
        hang: Sleep instead.
        warn: Warn before that, and never again.
    """

    def __init__(self, item: int, note: Path, *, always: bool, hang: bool = False, warn: bool = False) -> None:
        self.item, self.note, self.always, self.hang, self.warn = item, note, always, hang, warn

    def __call__(self) -> Callable[[int], Iterator[tuple[int, int]]]:
        return self.results

    def results(self, item: int) -> Iterator[tuple[int, int]]:
        yield item, 0
        yield item, 1
        if item == self.item and (self.always or not self.note.exists()):
            self.note.touch()
            if self.warn:
                warnings.warn("only once", UserWarning, stacklevel=1)
            if self.hang:
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGKILL)
        yield item, 2


class Large:
    """Yields 5 kB per item; the first item waits for the second one, and half a second, and then yields what was begun.

    Args:
        begun: A folder with a file per item that was begun.
    """

    def __init__(self, begun: Path) -> None:
        self.begun = begun

    def __call__(self) -> Callable[[int], Iterator[object]]:
        return self.results

    def results(self, item: int) -> Iterator[object]:
        (self.begun / str(item)).touch()
        if item == 0:
            while not (self.begun / "1").exists():
                time.sleep(0.01)
            time.sleep(0.5)
            yield sorted(int(path.name) for path in self.begun.iterdir())
        yield bytes(5000)


def warn_and_count(item: int) -> Iterator[int]:
    warnings.warn(f"item {item}", UserWarning, stacklevel=1)
    yield usable_cores()


def warning() -> Callable[[int], Iterator[int]]:
    return warn_and_count


def slow(item: int) -> Iterator[int]:
    yield os.getpid()
    time.sleep(600)


def sleeping() -> Callable[[int], Iterator[int]]:
    return slow


class NotInTheDark(WholeImage):
    """Takes an image for a face, unless it is dark."""

    name = "not-in-the-dark"

    def detect(self, image: ImageArray) -> list[Face]:
        return super().detect(image) if image.mean() > 60 else []


class Deadly(WholeImage):
    """Kills its process when it sees a small picture: the first time, or each time.

    Args:
        note: A file that remembers that it was seen; None for each time.
        hang: Sleep instead.
    """

    def __init__(self, note: Path | None = None, *, hang: bool = False) -> None:
        super().__init__()
        self.note, self.hang = note, hang

    def detect(self, image: ImageArray) -> list[Face]:
        if image.shape[0] < 30 and not (self.note and self.note.exists()):
            if self.note:
                self.note.touch()
            if self.hang:
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().detect(image)


class OnMachine(WholeImage):
    """Waits for ever on one machine of a Ray cluster; on the others until somebody waits there.

    Args:
        machine: Its number.
        note: A file that appears when somebody waits there.
    """

    def __init__(self, machine: str, note: Path) -> None:
        super().__init__()
        self.machine, self.note = machine, note

    def detect(self, image: ImageArray) -> list[Face]:
        import ray

        if ray.is_initialized() and ray.get_runtime_context().get_node_id() == self.machine:
            self.note.touch()
            time.sleep(600)
        end = time.monotonic() + 100
        while not self.note.exists():
            assert time.monotonic() < end, "no process of the machine came here"
            time.sleep(0.05)
        return super().detect(image)
