"""The protocol of all sinks, and several sinks driven as one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, cast

from mien.fusion import VoiceResult
from mien.structures import Expression, Frame


class Sink(Protocol):
    """Writes the expressions of each frame: a context manager that opens its file and closes it."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        """Write a frame.

        Raises:
            OutputError: The file cannot be written.
        """
        ...


class VoiceSink(Sink, Protocol):
    """A sink that writes the voice of each frame too."""

    def write(self, frame: Frame, expressions: list[Expression], *, voice_result: VoiceResult | None = None) -> None:
        """Write a frame.

        Args:
            frame: The frame.
            expressions: Its expressions.
            voice_result: The voice at its time; None without voice recognition.

        Raises:
            OutputError: The file cannot be written.
        """
        ...


class Sinks:
    """Several sinks as one; see `many`."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = list(sinks)
        self._stack = ExitStack()

    def __enter__(self) -> Sinks:
        with ExitStack() as stack:
            for sink in self._sinks:
                stack.enter_context(sink)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def write(self, frame: Frame, expressions: list[Expression], *, voice_result: VoiceResult | None = None) -> None:
        """Write a frame to all sinks, in their order.

        Raises:
            OutputError: One cannot write; those after it don't get the frame.
        """
        for sink in self._sinks:
            write_to(sink, frame, expressions, voice_result)


def write_to(sink: Sink, frame: Frame, expressions: list[Expression], voice_result: VoiceResult | None) -> None:
    """Write a frame to a sink, which must be a `VoiceSink` with voice recognition."""
    if voice_result is None:
        sink.write(frame, expressions)
    else:
        cast("VoiceSink", sink).write(frame, expressions, voice_result=voice_result)


def many(sinks: Iterable[Sink]) -> Sinks:
    """Return one sink that opens, writes and closes several ones.

    Example:
        >>> with many([CsvSink("faces.csv", origin), JsonlSink("faces.jsonl", origin)]) as sink:
        ...     sink.write(frame, expressions)
    """
    return Sinks(sinks)
