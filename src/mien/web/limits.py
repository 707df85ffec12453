"""Bounds that threads share: how many compute at once, and how much memory they take."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # of mallopt, in glibc's malloc.h
LARGE_BYTES = 4 << 20  # of an array that is mapped alone: a frame of 1280x720 pixels has 2.8 million
KEPT_BYTES = 8 << 20  # free, at the end of each heap


def limit_heaps(n: int) -> None:
    """Let glibc keep a few small heaps for all threads, for the whole process. Other C libraries have no such setting.

    By default each thread's heap keeps its peak: after 144 photos of up to 2.7 megapixels a service of two cores took
    817 MB and grew, with this 301 MB. Where heaps keep nothing it took 216 MB, but 6% more CPU, and a live session of
    640x480 pixels had 690 page faults per frame, 3.9 ms of CPU, with this none.

    Args:
        n: Number of heaps: threads that compute at once.
    """
    with suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting, value in ((ARENA_MAX, n), (MMAP_THRESHOLD, LARGE_BYTES), (TRIM_THRESHOLD, KEPT_BYTES)):
            mallopt(setting, value)


class Slots:
    """Bounds the number of threads that compute at once.

    Args:
        n: That number.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._free = threading.Semaphore(n)
        self._thread = threading.local()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Compute in a slot, once one is free."""
        with self._free:
            self._thread.has_slot = True
            try:
                yield
            finally:
                self._thread.has_slot = False

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Leave this thread's slot to another one while it waits; nothing happens where it has none."""
        if not getattr(self._thread, "has_slot", False):
            yield
            return
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()


class Budget:
    """An amount that threads share, first come first served.

    Args:
        total: The amount; a thread that wants more has it alone.
    """

    def __init__(self, total: int) -> None:
        self.total, self.used = total, 0
        self._turn, self._changed = threading.Lock(), threading.Condition()

    def take(self, amount: int) -> int:
        """Wait until the amount is free; return what was taken, for `give`."""
        amount = min(amount, self.total)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self.used + amount <= self.total)
            self.used += amount
        return amount

    def try_take(self, amount: int) -> bool:
        """Take the amount if it is free now; return whether it was."""
        with self._changed:
            fits = self.used + amount <= self.total
            self.used += amount if fits else 0
        return fits

    def give(self, amount: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self.used -= amount
            self._changed.notify_all()
