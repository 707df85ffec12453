"""Hear a microphone, or the sound of a file, beside a stream of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from mien.errors import MienError
from mien.fusion import VoiceTrack
from mien.sources.microphone import Microphone
from mien.sources.sounds import sounds
from mien.structures import Block, Provenance, Utterance, check_part, check_time
from mien.voice.listener import Listener


@dataclass(frozen=True, slots=True)
class Meter:
    """State of a level meter.

    Args:
        level: Loudness of the last sound, from 0 (-60 dBFS) to 1.
        speaking: Whether it was speech.
        text: The state in words: "listening", "speaking", or what is wrong.
        failed: Whether nothing will be heard any more, since the sound cannot be read.
    """

    level: float
    speaking: bool
    text: str
    failed: bool = False


class SoundSource(Protocol):
    """Sound beside a stream of frames: a `Microphone` or a file."""

    def until(self, time: float) -> Iterator[Block]:
        """Yield the blocks until a frame's time in seconds, with times by the frames' clock; wait for none."""
        ...

    @property
    def problem(self) -> str:
        """The current problem, as a sentence; empty without one."""
        ...

    @property
    def ended(self) -> bool:
        """Whether no more will come."""
        ...

    def close(self) -> None: ...


class FileSound:
    """The sound of a file, in step with its frames."""

    problem = ""

    def __init__(self, path: str | Path) -> None:
        self.ended = False
        self._blocks = sounds(path)
        self._next: Block | None = None

    def until(self, time: float) -> Iterator[Block]:
        """Yield the blocks that begin before a time."""
        while (block := self._next or next(self._blocks, None)) is not None:
            self._next = block
            if block.time > time:
                return
            self._next = None
            yield block
        self.ended = True

    def close(self) -> None:
        """Close the file."""
        self._blocks = iter(())


class MicrophoneSound:
    """The sound of a microphone, with times by the frames' clock; closed with it."""

    ended = False  # a microphone that is lost is reopened

    def __init__(self, microphone: Microphone) -> None:
        check_part("microphone", microphone, "read", expected="a mien.Microphone")
        self.microphone = microphone
        self._offset: float | None = None  # from the microphone's clock to that of the frames

    @property
    def problem(self) -> str:
        """What is wrong for now."""
        status = self.microphone.status
        return "" if status.state == "live" else status.text

    def until(self, time: float) -> Iterator[Block]:
        """Yield the blocks that have arrived; a frame's time is taken as now."""
        while (block := self.microphone.read(timeout=0)) is not None:
            if self._offset is None:
                self._offset = time - self.microphone.clock()
            yield Block(block.time + self._offset, block.samples)

    def close(self) -> None:
        """Release the microphone."""
        self.microphone.close()


class Hearing:
    """Hears the voice beside a stream; what fails here is shown by `meter`, and never stops the stream.

    It belongs to the thread that calls `at`.

    Args:
        source: The sound.
        listener: Finds utterances in it, and names how they sound; what it heard before is left.

    Raises:
        ConfigError: `source` is not a SoundSource, or `listener` is not a Listener.

    Example:
        >>> with Camera(0) as camera, Hearing(MicrophoneSound(Microphone()), Listener(load_voice())) as hearing:
        ...     for result in Live(Recognizer(), voice=hearing).stream(camera):
        ...         print(result.voice_result.fused)
    """

    def __init__(self, source: SoundSource, listener: Listener) -> None:
        check_part("the sound", source, "until", expected="a MicrophoneSound or FileSound")
        check_part("listener", listener, "hear", expected="a mien.Listener")
        listener.finish()
        self.listener = listener
        self._source: SoundSource | None = source
        self._track = VoiceTrack()
        self._end_reason, self._failed = "", False

    def __enter__(self) -> Hearing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def provenance(self) -> Provenance:
        """Model, label set and detector of the voice."""
        return self.listener.provenance

    @property
    def meter(self) -> Meter:
        """The state for a level meter."""
        if self._source is None:
            return Meter(0.0, False, self._end_reason, self._failed)
        speaking = self.listener.speaking
        return Meter(self.listener.level, speaking, self._source.problem or ("speaking" if speaking else "listening"))

    def at(self, time: float) -> Utterance | None:
        """Process the sound received up to a frame's time in seconds; return the utterance then, see `VoiceTrack.at`.

        Raises:
            InputError: The time is not finite.
        """
        check_time("the time", time)
        if self._source is not None:
            try:
                for block in self._source.until(time):
                    self._add(self.listener.hear(block))
                if self._source.ended:
                    self._add(self.listener.finish())
                    self._end("the sound has ended", failed=False)
            except MienError as error:
                self._end(str(error), failed=True)
        return self._track.at(time)

    def skip(self, time: float) -> None:
        """Discard the sound received up to a frame's time in seconds: before the voice was asked for, or in a pause.

        Raises:
            InputError: The time is not finite.
        """
        check_time("the time", time)
        if self._source is None:
            return
        try:
            self._add(self.listener.finish())
            for _ in self._source.until(time):
                pass
        except MienError as error:
            self._end(str(error), failed=True)

    def close(self) -> None:
        """Release the microphone or file."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _add(self, utterances: list[Utterance]) -> None:
        for utterance in utterances:
            self._track.add(utterance)

    def _end(self, reason: str, *, failed: bool) -> None:
        self.close()
        self._end_reason, self._failed = reason, failed


def open_hearing(sound: Path | int | str | None, listener: Listener) -> Hearing:
    """Open a file's sound, or a microphone.

    Args:
        sound: Path of a file; index or name of a microphone; the system's default one when None.
        listener: Finds utterances in it.

    Raises:
        MienError: The microphone is missing or busy, or an extra is not installed. An unreadable file is
            reported by `Hearing.meter`.
    """
    check_part("listener", listener, "hear", expected="a mien.Listener")
    source = FileSound(sound) if isinstance(sound, Path) else MicrophoneSound(Microphone(sound))
    return Hearing(source, listener)
