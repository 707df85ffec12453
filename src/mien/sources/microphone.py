"""Microphones by PortAudio (sounddevice, the extra `voice`): blocks of 16 kHz mono with the times of their capture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias

from mien.errors import ConfigError, MicrophoneError, needs
from mien.escape import visible
from mien.quiet import silent_libraries
from mien.settings import Range
from mien.sources.sounds import Cleaner, Resampler, mono
from mien.structures import SAMPLE_RATE, Block, FloatArray

__all__ = ["Microphone", "MicrophoneInfo", "MicrophoneStatus", "list_microphones"]
BLOCK_SECONDS = 512 / SAMPLE_RATE  # 32 ms; PortAudio's own choice may be 34 samples, 500 callbacks a second
SILENT_SECONDS = 1.0  # without a block until no sound arrives: a monitor of an idle sink gives none at all
MAX_QUEUED = 300  # blocks, 10 s, that wait for a slow reader; later ones are lost, which leaves a gap in the times
POLL_SECONDS = 0.1
NOT_NEGATIVE = Range(0)
MISSING_LIBRARY = (
    "PortAudio, the library for microphones, is missing: on Debian and Ubuntu run `sudo apt install libportaudio2`"
)
NO_MICROPHONE = (
    "no microphone was found: plug one in; pass the sound devices to a container by docker run --device /dev/snd; or "
    "use a sound file"
)

State: TypeAlias = Literal["live", "silent", "lost", "ended"]


@dataclass(frozen=True, slots=True)
class MicrophoneInfo:
    """A microphone of this machine.

    Args:
        index: Its number for `Microphone` and PortAudio.
        name: Its name by the system.
        host: The system's interface to it: "ALSA", "Core Audio", "Windows WASAPI".
        rate: Its own samples per second.
        default: Whether it is the one that is used unless another is named.
    """

    index: int
    name: str
    host: str
    rate: float
    default: bool


@dataclass(frozen=True, slots=True)
class MicrophoneStatus:
    """The state of a microphone.

    Args:
        state: "live"; "silent" (no sound arrives for now); "lost" (it is reopened); "ended" for good.
        text: The state as a sentence for users.
    """

    state: State
    text: str


class Recording(Protocol):
    """An open device that delivers samples from a thread of its own: by PortAudio, or a test's stand-in."""

    name: str
    rate: float

    @property
    def active(self) -> bool:
        """Whether it still delivers; a device that was unplugged does not."""
        ...

    def now(self) -> float:
        """Return the time by the device's clock, in seconds."""
        ...

    def close(self) -> None: ...


# Called with the time of the first sample by the device's clock, or None without one, and samples (n, channels).
Deliver: TypeAlias = Callable[[float | None, FloatArray], None]
Opener: TypeAlias = Callable[["int | str | None", Deliver, bool], Recording]  # see `open_recording`


class Microphone:
    """A microphone as a stream of blocks. One that is lost is reopened until it returns; time keeps increasing.

    Times are those of the device's clock, since samples may be lost and an idle device may deliver none.

    Args:
        device: Index or name (a part is enough) from `list_microphones`; the system's default one when None.
        retry_seconds: Wait before a lost microphone is reopened.
        opener: Opens a device; by PortAudio when None.

    Raises:
        MicrophoneError: It is missing or busy, or PortAudio is missing.
        ConfigError: An argument of another type, or retry_seconds is negative.
        MissingExtra: sounddevice is not installed.

    Example:
        >>> with Microphone() as microphone:
        ...     for utterance in Listener().stream(microphone):
        ...         print(utterance.label)
    """

    def __init__(
        self, device: int | str | None = None, *, retry_seconds: float = 1.0, opener: Opener | None = None
    ) -> None:
        if isinstance(device, bool) or not isinstance(device, (int, str, type(None))):
            raise ConfigError(f"the microphone is of type {type(device).__name__}; expected its number, name or None")
        opener = open_recording if opener is None else opener
        if not callable(opener):
            raise ConfigError(f"opener is of type {type(opener).__name__}; expected a function, or None")
        self._device, self._opener = device, opener
        self._retry_seconds = NOT_NEGATIVE.check("retry_seconds", retry_seconds)
        self._queue: Queue[tuple[float, float | None, FloatArray]] = Queue(MAX_QUEUED)
        self._began: float | None = None  # time.monotonic at block time 0
        self._last = 0.0  # time of the last block
        self._clean = Cleaner()  # a driver of floats may deliver others than in [-1, 1]
        self._arrived = time.monotonic()
        self._next_try = 0.0
        self._recording: Recording | None = None
        self._ended = False
        self._open(again=False)

    def __enter__(self) -> Microphone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        """Yield blocks until the microphone is closed."""
        while not self._ended:
            block = self.read(timeout=0.5)
            if block is not None:
                yield block

    @property
    def status(self) -> MicrophoneStatus:
        """The current state."""
        if self._ended:
            return MicrophoneStatus("ended", f"{self.name} is closed")
        if self._recording is None or not self._recording.active:
            return MicrophoneStatus("lost", f"{self.name} is lost; reopening it")
        if time.monotonic() - self._arrived > SILENT_SECONDS:
            return MicrophoneStatus("silent", f"no sound arrives from {self.name}")
        return MicrophoneStatus("live", f"{self.name} is live")

    def clock(self) -> float:
        """Return the time in seconds that a sound captured now would get; 0 before the first block."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def read(self, timeout: float = 1.0) -> Block | None:
        """Return the next block, or None if none came in time. A lost microphone is reopened meanwhile.

        Args:
            timeout: Longest wait in seconds.

        Raises:
            ConfigError: timeout is negative, or no number.
        """
        end = time.monotonic() + NOT_NEGATIVE.check("timeout", timeout)
        while not self._ended:
            left = end - time.monotonic()
            try:
                arrived, captured, samples = self._queue.get(timeout=max(min(left, POLL_SECONDS), 0.001))
            except Empty:
                self._reopen_if_lost()
                if left <= 0:
                    return None
            else:
                if (block := self._block(arrived, captured, samples)) is not None:
                    return block
        return None

    def close(self) -> None:
        """End the stream and release the microphone."""
        self._ended = True
        self._release()

    def _open(self, *, again: bool) -> None:
        self._recording = self._opener(self._device, self._deliver, again)
        self.name, self._rate = self._recording.name, self._recording.rate
        self._resample = Resampler(self._rate)
        self._offset = time.monotonic() - self._recording.now()

    def _release(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()

    def _reopen_if_lost(self) -> None:
        if self._recording is not None and self._recording.active:
            return
        self._release()
        if time.monotonic() >= self._next_try:
            try:
                self._open(again=True)
            except MicrophoneError:
                self._next_try = time.monotonic() + self._retry_seconds

    def _deliver(self, captured: float | None, samples: FloatArray) -> None:
        """Queue samples; called in the device's thread, which must not wait."""
        self._arrived = time.monotonic()
        with suppress(Full):
            self._queue.put_nowait((self._arrived, captured, samples))

    def _block(self, arrived: float, captured: float | None, samples: FloatArray) -> Block | None:
        """Return samples as a block; None where the resampler holds all of them back."""
        seconds = len(samples) / self._rate
        began = arrived - seconds if captured is None else captured + self._offset
        self._began = began if self._began is None else self._began
        ready = self._resample(self._clean(mono(samples)))
        if not len(ready):
            return None
        end = began - self._began + seconds - self._resample.delay / SAMPLE_RATE
        self._last = max(end - len(ready) / SAMPLE_RATE, self._last)
        return Block(self._last, ready)


def list_microphones() -> list[MicrophoneInfo]:
    """Return the microphones of this machine, by index; an empty list if there are none. None is opened.

    On Linux, ALSA lists some devices several times: "default" is the one that the desktop has chosen.

    Raises:
        MicrophoneError: PortAudio is missing.
        MissingExtra: sounddevice is not installed.
    """
    library = portaudio()
    hosts = library.query_hostapis()
    default = library.default.device[0]
    return [
        MicrophoneInfo(
            int(device["index"]),
            visible(str(device["name"])),
            str(hosts[device["hostapi"]]["name"]),
            float(device["default_samplerate"]),
            device["index"] == default,
        )
        for device in library.query_devices()
        if device["max_input_channels"] > 0
    ]


def portaudio() -> Any:
    """Return sounddevice, which loads PortAudio.

    Raises:
        MicrophoneError: PortAudio is missing, or cannot start.
        MissingExtra: sounddevice is not installed.
    """
    try:
        with needs("the microphone", "voice"), silent_libraries():  # it looks for devices
            import sounddevice
    except OSError as error:  # the wheel for Linux has no PortAudio
        raise MicrophoneError(MISSING_LIBRARY) from error
    return sounddevice


def parse_microphone(text: str | None) -> int | str | None:
    """Return the index of a microphone where a text is one, else its name."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def open_recording(device: int | str | None, deliver: Deliver, again: bool) -> Recording:
    """Open a microphone by PortAudio, at 16 kHz where it can.

    Args:
        device: Its index or name; the default one when None.
        deliver: Called with its samples.
        again: Whether it was lost: PortAudio is started anew, as it lists the devices only then.

    Raises:
        MicrophoneError: It is missing or busy, or PortAudio is missing.
        MissingExtra: sounddevice is not installed.
    """
    library = portaudio()
    if again:
        with silent_libraries():
            library._terminate()
            library._initialize()
    found = _found(device)
    try:
        return _PortAudioRecording(library, found, deliver)
    except library.PortAudioError as error:
        raise MicrophoneError(
            f"cannot open microphone {found.index} ({found.name}): {visible(str(error))}; close the program that uses "
            "it, allow it in the system's privacy settings, or choose another one: `mien devices` lists them"
        ) from error


class _PortAudioRecording:
    """A stream of PortAudio, which is running."""

    def __init__(self, library: Any, found: MicrophoneInfo, deliver: Deliver) -> None:
        def callback(data: FloatArray, n: int, times: Any, flags: object) -> None:
            deliver(times.inputBufferAdcTime or None, data.copy())

        self.name = found.name
        with ExitStack() as stack:
            stack.enter_context(silent_libraries())  # until it is closed: a thread of PortAudio prints its end
            channels, self.rate = _best_format(library, found)
            self._stream = library.InputStream(
                device=found.index,
                channels=channels,
                samplerate=self.rate,
                dtype="float32",
                blocksize=round(BLOCK_SECONDS * self.rate),
                callback=callback,
            )
            stack.callback(self._stream.close)
            self._stream.start()
            self._resources = stack.pop_all()

    @property
    def active(self) -> bool:
        return bool(self._stream.active)

    def now(self) -> float:
        return float(self._stream.time)

    def close(self) -> None:
        self._resources.close()


def _best_format(library: Any, found: MicrophoneInfo) -> tuple[int, float]:
    """Return the channels and the rate to ask for: one at 16 kHz where the device can, else its own."""
    most = int(library.query_devices(found.index)["max_input_channels"])
    for channels, rate in ((1, float(SAMPLE_RATE)), (1, found.rate)):
        with suppress(library.PortAudioError):
            library.check_input_settings(device=found.index, channels=channels, dtype="float32", samplerate=rate)
            return channels, rate
    return most, found.rate


def _found(device: int | str | None) -> MicrophoneInfo:
    """Return the microphone of an index or of a name, of which a part is enough."""
    there = list_microphones()
    if not there:
        raise MicrophoneError(NO_MICROPHONE)
    if device is None:
        return next((microphone for microphone in there if microphone.default), there[0])
    if isinstance(device, int):
        fitting = [microphone for microphone in there if microphone.index == device]
    else:
        exact = [microphone for microphone in there if microphone.name == device]
        fitting = exact or [microphone for microphone in there if device.casefold() in microphone.name.casefold()]
    if len({microphone.name for microphone in fitting}) != 1:  # Windows lists each once per interface
        names = ", ".join(f"{microphone.index} ({microphone.name})" for microphone in fitting or there)
        problem = "several microphones are called" if fitting else "there is no microphone"
        raise MicrophoneError(f"{problem} {visible(repr(device))}; choose from {names}")
    return fitting[0]
