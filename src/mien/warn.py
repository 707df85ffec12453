"""Warnings that a caller may collect: those of Python are the whole process's, whichever thread they come from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


def warn(message: str, *, stacklevel: int = 1) -> None:
    """Warn as `warnings.warn` does, unless the call is inside `collect_warnings`.

    Args:
        message: One line.
        stacklevel: Of the line that the warning names; 1 is the caller of this function.
    """
    collected = _collected.get()
    if collected is None:
        warnings.warn(message, stacklevel=stacklevel + 1)
    elif message not in collected:
        collected.append(message)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Yield a list that grows by each message of `warn` in this thread, once, until the end of the block.

    Nothing is shown meanwhile, and the filters of `warnings` don't matter.
    """
    collected: list[str] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)
