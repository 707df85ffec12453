"""A microphone keeps the time of its own clock, is reopened when it is lost, and says why it can't be used.

Devices are fakes, which a WAV or a tone feeds; one test records through PulseAudio's null sink.
"""

import builtins
import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from mien.errors import ConfigError, MicrophoneError, MissingExtra
from mien.sources import microphone as microphone_module
from mien.sources.microphone import Deliver, Microphone, list_microphones, parse_microphone
from mien.structures import SAMPLE_RATE, Block, FloatArray
from speech import heard, tone

PATIENCE = 30.0  # seconds that nothing here needs, unless it hangs


class FakeRecording:
    """A device whose clock a test sets, and whose samples it delivers."""

    def __init__(self, deliver: Deliver, *, rate: float = SAMPLE_RATE, name: str = "fake") -> None:
        self.deliver, self.rate, self.name = deliver, rate, name
        self.active, self.closed = True, False
        self.opened_at = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self.opened_at + 100

    def close(self) -> None:
        self.active, self.closed = False, True

    def play(self, samples: FloatArray, *, at: float | None, size: int = 512, channels: int = 1) -> None:
        """Deliver samples in blocks whose times begin `at` seconds after 100 by the device's clock."""
        for begin in range(0, len(samples), size):
            piece = np.repeat(samples[begin : begin + size, None], channels, axis=1)
            self.deliver(None if at is None else 100 + at + begin / self.rate, piece)


class Opener:
    """Opens fakes, and fails where a test says so."""

    def __init__(self, **options: float) -> None:
        self.recordings: list[FakeRecording] = []
        self.failures: list[MicrophoneError] = []
        self.again: list[bool] = []
        self.options = options

    def __call__(self, device: int | str | None, deliver: Deliver, again: bool) -> FakeRecording:
        self.again.append(again)
        if self.failures:
            raise self.failures.pop()
        self.recordings.append(FakeRecording(deliver, **self.options))  # type: ignore[arg-type]
        return self.recordings[-1]


def read_all(microphone: Microphone) -> list[Block]:
    blocks = []
    while (block := microphone.read(timeout=0)) is not None:
        blocks.append(block)
    return blocks


def test_blocks_come_with_the_times_of_the_device() -> None:
    opener = Opener()
    with Microphone(opener=opener) as microphone:
        opener.recordings[0].play(tone(1), at=7, channels=2)
        blocks = read_all(microphone)
    assert heard(blocks) == pytest.approx(tone(1))
    assert [block.time for block in blocks[:3]] == pytest.approx([0, 0.032, 0.064])


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 48_000])
def test_samples_that_are_no_numbers_or_too_loud_are_made_sound(rate: int) -> None:
    opener = Opener(rate=rate)
    odd = 40 * tone(1, rate=rate)
    odd[[2000, 2001]] = np.nan, np.inf
    with Microphone(opener=opener) as microphone:
        opener.recordings[0].play(odd, at=0)
        samples = heard(read_all(microphone))
    assert np.abs(samples).max() == 1
    assert np.mean(samples == 0) < 0.05


def test_samples_that_are_lost_leave_a_gap_in_the_times() -> None:
    opener = Opener()
    with Microphone(opener=opener) as microphone:
        opener.recordings[0].play(tone(0.032), at=0)
        opener.recordings[0].play(tone(0.032), at=5)
        assert [block.time for block in read_all(microphone)] == pytest.approx([0, 5])


def test_a_device_without_a_clock_gets_the_time_of_arrival() -> None:
    opener = Opener()
    with Microphone(opener=opener) as microphone:
        opener.recordings[0].play(tone(0.032), at=None)
        opener.recordings[0].play(tone(0.032), at=None)
        first, second = read_all(microphone)
    assert 0 == first.time <= second.time < PATIENCE


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_another_rate_is_resampled_and_the_delay_of_the_filter_does_not_shift_the_times(rate: int) -> None:
    opener = Opener(rate=rate)
    click = np.zeros(2 * rate, np.float32)
    click[rate] = 1  # at 1 s
    with Microphone(opener=opener) as microphone:
        opener.recordings[0].play(click, at=0, size=1536)
        blocks = read_all(microphone)
    loudest = max(blocks, key=lambda block: np.abs(block.samples).max())
    assert loudest.time + np.abs(loudest.samples).argmax() / SAMPLE_RATE == pytest.approx(1, abs=0.002)


def test_time_never_runs_backwards() -> None:
    opener = Opener()
    with Microphone(opener=opener) as microphone:
        for at in (0, 1, 0.5, 2):
            opener.recordings[0].play(tone(0.032), at=at)
        assert [block.time for block in read_all(microphone)] == pytest.approx([0, 1, 1, 2])


def test_a_lost_microphone_is_reopened_and_its_time_goes_on() -> None:
    opener = Opener()
    with Microphone(retry_seconds=0.01, opener=opener) as microphone:
        opener.recordings[0].play(tone(0.1), at=0)
        before = read_all(microphone)
        opener.recordings[0].active = False
        opener.failures = [MicrophoneError("still gone"), MicrophoneError("gone")]
        assert microphone.status.state == "lost"
        until(lambda: len(opener.recordings) == 2, microphone)
        assert opener.recordings[0].closed
        opener.recordings[1].play(tone(0.1), at=0.5)
        after = read_all(microphone)
        assert microphone.status.state == "live"
    assert after[0].time > before[-1].time
    assert opener.again == [False, True, True, True]


def until(condition: Callable[[], bool], microphone: Microphone) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        assert microphone.read(timeout=0.01) is None


def test_it_says_that_no_sound_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    opener = Opener()
    with Microphone(opener=opener) as microphone:
        monkeypatch.setattr(microphone_module, "SILENT_SECONDS", PATIENCE)
        assert microphone.status.state == "live"
        monkeypatch.setattr(microphone_module, "SILENT_SECONDS", -1.0)
        assert microphone.status.text == "no sound arrives from fake"
    assert microphone.status.state == "ended"


def test_a_reader_that_is_too_slow_loses_sound_but_no_memory() -> None:
    opener = Opener()
    with Microphone(opener=opener) as microphone:
        opener.recordings[0].play(tone(60), at=0)
        assert sum(len(block.samples) for block in read_all(microphone)) == 300 * 512


def test_closing_releases_the_device_and_ends_the_loop() -> None:
    opener = Opener()
    with Microphone(opener=opener) as microphone:
        opener.recordings[0].play(tone(0.1), at=0)
        for block in microphone:
            assert block.time == 0
            microphone.close()
    assert opener.recordings[0].closed
    assert microphone.read(timeout=PATIENCE) is None


@pytest.mark.parametrize("device", [True, 1.5, b"mic"])
def test_what_names_no_microphone_is_refused(device: object) -> None:
    with pytest.raises(ConfigError, match="expected its number, name or None"):
        Microphone(device, opener=Opener())  # type: ignore[arg-type]


def test_a_text_of_digits_is_an_index() -> None:
    assert [parse_microphone(text) for text in ("2", "USB 2", None)] == [2, "USB 2", None]


class PortAudioError(Exception):
    """As sounddevice's."""


def fake_portaudio(*devices: tuple[str, int], taken: bool = False, default: int = 0, **rates: bool) -> ModuleType:
    """Return a stand-in for sounddevice with devices of a name and a number of input channels."""
    opened: list[SimpleNamespace] = []

    def check(**settings: object) -> None:
        if settings["samplerate"] == SAMPLE_RATE and not rates.get("can_16_khz", True):
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def stream(**settings: object) -> SimpleNamespace:
        if taken:
            raise PortAudioError("Error opening InputStream: Device unavailable [PaErrorCode -9985]")
        made = SimpleNamespace(active=True, time=5.0, start=lambda: None, close=lambda: None, **settings)
        opened.append(made)
        return made

    described = [
        {"index": i, "name": name, "hostapi": 0, "max_input_channels": n, "default_samplerate": 44_100.0}
        for i, (name, n) in enumerate(devices)
    ]
    module = ModuleType("sounddevice")
    module.__dict__.update(
        query_devices=lambda index=None: described if index is None else described[index],
        query_hostapis=lambda: [{"name": "ALSA"}],
        default=SimpleNamespace(device=(default, 0)),
        PortAudioError=PortAudioError,
        check_input_settings=check,
        InputStream=stream,
        opened=opened,
    )
    return module


DEVICES = (("speakers", 0), ("USB Microphone", 1), ("Headset", 2))


def test_microphones_are_listed_without_loudspeakers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake_portaudio(*DEVICES, default=2))
    assert [(m.index, m.name, m.default) for m in list_microphones()] == [
        (1, "USB Microphone", False),
        (2, "Headset", True),
    ]


@pytest.mark.parametrize(("device", "index"), [(None, 2), (1, 1), ("usb", 1), ("Headset", 2)])
def test_a_microphone_is_found_by_index_and_by_a_part_of_its_name(
    monkeypatch: pytest.MonkeyPatch, device: int | str | None, index: int
) -> None:
    library = fake_portaudio(*DEVICES, default=2)
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    Microphone(device).close()
    assert library.opened[0].device == index
    assert (library.opened[0].samplerate, library.opened[0].blocksize) == (SAMPLE_RATE, 512)


def test_a_device_that_cannot_do_16_khz_is_asked_for_its_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    library = fake_portaudio(*DEVICES, default=1, can_16_khz=False)
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    Microphone().close()
    assert (library.opened[0].samplerate, library.opened[0].blocksize) == (44_100, 1411)


@pytest.mark.parametrize(
    ("devices", "taken", "device", "message"),
    [
        ((), False, None, "no microphone was found: plug one in"),
        ((("speakers", 0),), False, None, "no microphone was found"),
        (DEVICES, False, 0, r"there is no microphone 0; choose from 1 \(USB Microphone\), 2 \(Headset\)"),
        (DEVICES, False, "webcam", "there is no microphone 'webcam'; choose from 1"),
        (DEVICES, False, "e", "several microphones are called 'e'; choose from 1"),
        (DEVICES, True, 1, r"cannot open microphone 1 \(USB Microphone\): .*Device unavailable.*; close the program"),
    ],
)
def test_a_missing_or_taken_microphone_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch,
    devices: tuple[tuple[str, int], ...],
    taken: bool,
    device: int | str | None,
    message: str,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake_portaudio(*devices, taken=taken))
    with pytest.raises(MicrophoneError, match=message) as caught:
        Microphone(device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError("PortAudio library not found"), MicrophoneError, "PortAudio, the library for microphones, is missing"),
        (ModuleNotFoundError("No module named 'sounddevice'"), MissingExtra, "needs the 'voice' extra"),
    ],
)
def test_without_portaudio_or_sounddevice_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], message: str
) -> None:
    real = builtins.__import__

    def fake(name: str, *rest: object, **options: object) -> object:
        if name == "sounddevice":
            raise error
        return real(name, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(kind, match=message):
        Microphone()
