"""Processes that share the work on many items; results come in the order of the items, as from one process."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any, Generic, TypeVar, cast

from mien import cores
from mien.errors import ConfigError, MienError

T = TypeVar("T")
R = TypeVar("R")
TRIES = 2  # an item that stops a process so often is given up
AHEAD = 64  # items per process that may be done before the first unfinished one, whose results are waited for
WAITING_BYTES = 1 << 30  # of results that wait; above, no other item is begun
SILENCE_SECONDS = 300.0  # without a result of an item, after which its process is taken for hung
START_SECONDS = 300.0  # that a process may take until it is ready
END_SECONDS = 5.0  # that a process may take to end once its connection is closed


@dataclass(frozen=True, slots=True)
class Crash:
    """The result of an item that stopped its process, or made it hang, twice.

    Args:
        reason: What happened, as a clause: "its process was killed (SIGKILL)".
    """

    reason: str


@dataclass(slots=True)
class _Item:
    """An item under way, or done before those in front of it."""

    results: deque[bytes | Crash] = field(default_factory=deque)  # and warnings; pickled, a quarter of the size
    n_results: int = 0  # received, without warnings, which a second try may not repeat
    repeated: int = 0  # results that come again after a crash, and are dropped
    warnings: set[bytes] = field(default_factory=set)  # received
    tries: int = 1
    done: bool = False


@dataclass(slots=True)
class _Worker:
    process: Any
    connection: Connection
    index: int | None = None  # of the item at work
    ready: bool = False
    heard: float = field(default_factory=monotonic)  # time of the last message


def in_order(
    make: Callable[[], Callable[[T], Iterator[R]]],
    items: Sequence[T],
    *,
    workers: int,
    silence_seconds: float = SILENCE_SECONDS,
) -> Iterator[tuple[int, R | Crash]]:
    """Call a function for each item in several processes, and yield its results in the order of the items.

    An item whose process ends or hangs is tried once more, in another process. The results that were yielded before are
    not yielded again, so the function must give the same ones each time. Warnings are issued here, errors raised here.
    The processes don't get Ctrl-C, and end with this one, also when it is killed.

    Args:
        make: Returns the function; called once in each process. It is pickled, as are items and results.
        items: The items.
        workers: Number of processes; each uses one thread.
        silence_seconds: Longest time between two results of an item.

    Yields:
        The index of an item and a result of it, or a `Crash`, after which the item has no more results.

    Raises:
        ConfigError: `make` cannot be pickled.
        MienError: A process cannot start, or the function raised it.
    """
    try:
        pickled = pickle.dumps(make)
    except Exception as error:  # of any object's own pickling
        raise ConfigError(f"worker processes cannot get it: {error}; use one process, or parts that pickle") from error
    pool = _Pool[R](pickled, min(workers, len(items)), silence_seconds)
    try:
        yield from pool.run(items)
    finally:
        pool.stop()


class _Pool(Generic[R]):
    def __init__(self, make: bytes, n: int, silence_seconds: float) -> None:
        self._make = make
        self._silence = silence_seconds
        self._context = get_context("spawn")
        self._workers = [self._start() for _ in range(n)]
        self._items: dict[int, _Item] = {}  # those under way, and those done out of order
        self._waiting = 0  # bytes of their results

    def run(self, items: Sequence[Any]) -> Iterator[tuple[int, R | Crash]]:
        first, coming, again = 0, 0, deque[int]()
        while first < len(items):
            for worker in self._workers:
                if worker.index is None and worker.ready:
                    if again:
                        index = again.popleft()
                    elif coming < self._end(first, len(items)):
                        index, coming = coming, coming + 1
                        self._items[index] = _Item()
                    else:
                        continue
                    self._hand(worker, index, items[index])
            again.extend(self._receive())
            while (item := self._items.get(first)) is not None:
                while item.results:
                    result = self._unpickled(item.results.popleft())
                    if isinstance(result, Warning):
                        warnings.warn(result, stacklevel=2)
                    else:
                        yield first, result
                if not item.done:
                    break
                del self._items[first]
                first += 1

    def _end(self, first: int, n_items: int) -> int:
        """Return the index up to which items may be begun, while the first one is unfinished."""
        return first + 1 if self._waiting > WAITING_BYTES else min(n_items, first + AHEAD * len(self._workers))

    def _unpickled(self, result: bytes | Crash) -> R | Crash | Warning:
        if isinstance(result, Crash):
            return result
        self._waiting -= len(result)
        return cast("R | Warning", pickle.loads(result))

    def stop(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._make), daemon=True)
        with _ctrl_c_blocked():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hand(self, worker: _Worker, index: int, item: object) -> None:
        worker.index, worker.heard = index, monotonic()
        with suppress(OSError):  # it died; `_receive` finds out
            worker.connection.send(item)

    def _receive(self) -> list[int]:
        """Take the messages that are there, or wait for one; return the items to be tried again."""
        again = []
        readable = set(wait([worker.connection for worker in self._workers], timeout=1.0))
        for position, worker in enumerate(self._workers):
            alive, limit = True, self._silence if worker.ready else START_SECONDS
            hung = (worker.index is not None or not worker.ready) and monotonic() - worker.heard > limit
            if worker.connection in readable:
                alive = self._take(worker)
            elif hung:
                worker.process.kill()
                alive = False
            if not alive:
                index = self._reap(worker, f"it gave nothing for {limit:.0f} s" if hung else None)
                if index is not None:
                    again.append(index)
                self._workers[position] = self._start()
        return again

    def _take(self, worker: _Worker) -> bool:
        """Take one message of a process; return whether the process is alive."""
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            return False
        worker.heard = monotonic()
        if kind == "ready":
            worker.ready = True
        elif kind == "error":
            raise value
        else:
            assert worker.index is not None
            item = self._items[worker.index]
            if kind == "done":
                item.done, worker.index = True, None
            elif kind == "warning" and value in item.warnings:
                pass
            elif kind == "result" and item.repeated:
                item.repeated -= 1
            else:
                if kind == "warning":
                    item.warnings.add(value)
                else:
                    item.n_results += 1
                item.results.append(value)
                self._waiting += len(value)
        return True

    def _reap(self, worker: _Worker, reason: str | None) -> int | None:
        """Note the end of a process, for a reason or by itself; return the item to be tried again."""
        worker.process.join(END_SECONDS)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        reason = reason or _reason(worker.process.exitcode)
        if not worker.ready:
            raise MienError(
                f"a worker process did not start: {reason}; in a script of your own, call this below "
                "`if __name__ == '__main__':`, or use one process"
            )
        if worker.index is None:
            return None
        item = self._items[worker.index]
        if item.tries == TRIES:
            item.results.append(Crash(reason))
            item.done = True
            return None
        item.tries += 1
        item.repeated = item.n_results
        return worker.index


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"its process was killed ({signal.Signals(-code).name})"
    return f"its process ended (exit code {code})"


def _work(connection: Connection, pickled: bytes) -> None:
    """Run in a worker process: call the function for each item that arrives, until the parent ends."""
    _end_with_parent()
    cores.use_one_core()
    import cv2

    cv2.setNumThreads(1)

    def send(kind: str, value: object = None) -> None:
        try:
            connection.send((kind, value))
        except OSError:  # the parent has gone
            os._exit(1)

    try:
        function = pickle.loads(pickled)()
        send("ready")
        while True:
            try:
                item = connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.showwarning = lambda message, *_: send("warning", pickle.dumps(_picklable(message)))
                for result in function(item):
                    send("result", pickle.dumps(result))
            send("done")
    except MienError as error:
        send("error", error)
        with suppress(EOFError, OSError):
            connection.recv()  # waits for the parent to end this process


def _picklable(message: Warning | str) -> Warning:
    try:
        pickle.dumps(message)
    except Exception:  # of any library's own class
        return UserWarning(str(message))
    return message if isinstance(message, Warning) else UserWarning(message)


def _end_with_parent() -> None:
    """End this process when its parent ends, in whatever way: it may be in the middle of a long item."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: also while a library holds the interpreter


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Start processes that never get Ctrl-C, which a terminal sends to all: this process answers it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which the first process would start, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
