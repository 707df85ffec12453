"""`mien listen` hears a real sound device: what is played into PulseAudio's null sink, whose monitor is a microphone.

PulseAudio runs in a folder of its own, without D-Bus and a display, as root too.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.sources.sounds import sounds
from mien.structures import SAMPLE_RATE, FloatArray
from speech import heard

PATIENCE = 60.0  # seconds that nothing here needs, unless it hangs
TESTS = Path(__file__).parents[1]
LISTEN = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored, as under nohup
sys.path.insert(0, {str(TESTS)!r})
import mien.voice.listener
from speech import PitchModel
mien.voice.listener.load_voice = lambda *_, **__: PitchModel()
from mien.cli import main
main(sys.argv[1:])
"""  # a stand-in is the voice model; the detector of speech is Silero's
PIECE = SAMPLE_RATE // 2
SINK = "module-null-sink sink_name=mien_test rate=48000"


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.05)


class Server:
    """PulseAudio with a null sink whose monitor is the default microphone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_SERVER": f"unix:{folder}/pulse/native",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1",
                 "--load=module-native-protocol-unix", f"--load={SINK}"],
                env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: self.control("set-default-source", "mien_test.monitor"), "PulseAudio")

    def control(self, *words: str) -> bool:
        return subprocess.run(["pactl", *words], env=self.environment, capture_output=True).returncode == 0

    def play(self, path: Path) -> None:
        subprocess.run(["paplay", "--device=mien_test", str(path)], env=self.environment, check=True, timeout=PATIENCE)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)


@pytest.fixture
def server() -> Iterator[Server]:
    for program in ("pulseaudio", "pactl", "paplay"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, of the packages pulseaudio and pulseaudio-utils")
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"needs sounddevice and PortAudio: {error}")
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        pytest.skip("needs ALSA's way to PulseAudio, of the package libasound2-plugins")
    folder = Path(tempfile.mkdtemp(prefix="mien-"))  # pytest's own are too long for a socket
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def listening(server: Server, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `mien listen` until it has recorded something to heard.wav."""
    words = ["listen", "--microphone", "default", "--record", "heard.wav", "--jsonl", "voice.jsonl"]
    with (tmp_path / "errors.txt").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", LISTEN, *words], cwd=tmp_path, env=server.environment, stderr=errors
        )
    try:
        until(lambda: process.poll() is not None or size(tmp_path / "heard.wav") > 2000, "the first sound")
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def correlations(played: FloatArray, recorded: FloatArray) -> list[float]:
    """Return the correlation of each loud half second with the part of a recording that is most like it.

    Piece by piece, since a starved sound server leaves samples out, which shifts the rest.
    """
    n = 2 ** int(np.ceil(np.log2(len(recorded) + PIECE)))
    spectrum = np.fft.rfft(recorded, n)
    found = []
    for begin in range(0, len(played) - PIECE, PIECE):
        piece = played[begin : begin + PIECE]
        if np.abs(piece).max() > 0.1:
            lags = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, n)), n)[: len(recorded) - PIECE]
            part = recorded[int(lags.argmax()) :][:PIECE]
            found.append(float(piece @ part / np.sqrt((piece @ piece) * (part @ part))))
    return found


def test_what_is_played_is_heard_recorded_and_cut_into_utterances(
    server: Server, listening: subprocess.Popen[bytes], spoken: Path, tmp_path: Path
) -> None:
    path = tmp_path / "voice.jsonl"
    for _ in range(5):  # more than once only on a busy machine, which loses sound
        server.play(spoken)
        time.sleep(2)
        if len(path.read_text().splitlines()) >= 2:
            break
    listening.send_signal(signal.SIGINT)
    assert listening.wait(PATIENCE) == 0
    found = correlations(heard(sounds(spoken)), heard(sounds(tmp_path / "heard.wav")))
    assert np.median(found) > 0.9  # 0.99 on an idle machine
    first, second, *_ = map(json.loads, path.read_text().splitlines())
    assert 0 <= first["start"] < first["end"] < second["start"] < second["end"]
    assert first["source"] == "default"
    assert (tmp_path / "errors.txt").read_text() == "listening to default; press Ctrl+C to stop\n"


def test_a_microphone_that_vanishes_is_reopened_when_it_returns(
    server: Server, listening: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    server.stop()
    time.sleep(1)
    before = size(tmp_path / "heard.wav")
    server.start()
    until(lambda: size(tmp_path / "heard.wav") > before + 2000, "sound after the return")
    listening.send_signal(signal.SIGINT)
    assert listening.wait(PATIENCE) == 0
    assert (
        tmp_path / "errors.txt"
    ).read_text() == "listening to default; press Ctrl+C to stop\n"  # PortAudio is silent
