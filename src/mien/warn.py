"""Warnings that a caller may collect: those of Python are the whole process's, whichever thread they come from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple, TypeAlias

# Kinds of warnings, for programs. docs/guides/web.md lists them too.
WarningCode: TypeAlias = Literal[
    "picture-shrunk",
    "picture-cut",
    "first-page",
    "first-frame",
    "video-cut",
    "sound-cut",
    "frames-left-out",
    "gap-shortened",
]


class Warned(NamedTuple):
    """A collected warning.

    Args:
        code: Its kind.
        message: One line.
    """

    code: WarningCode
    message: str


_collected: ContextVar[list[Warned] | None] = ContextVar("collected", default=None)


def warn(message: str, *, code: WarningCode, stacklevel: int = 1) -> None:
    """Warn as `warnings.warn` does, unless the call is inside `collect_warnings`.

    Args:
        message: One line.
        code: Kind of the warning.
        stacklevel: Of the line that the warning names; 1 is the caller of this function.
    """
    collected = _collected.get()
    if collected is None:
        warnings.warn(message, stacklevel=stacklevel + 1)
    elif (warned := Warned(code, message)) not in collected:
        collected.append(warned)


@contextmanager
def collect_warnings() -> Iterator[list[Warned]]:
    """Yield a list that grows by each warning of `warn` in this thread, once, until the end of the block.

    Nothing is shown meanwhile, and the filters of `warnings` don't matter.
    """
    collected: list[Warned] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)
