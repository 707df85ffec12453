"""`mien listen` hears files and a microphone, and writes what it heard. A stand-in is the voice model."""

import csv
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clips import write_video
from commands import error_of, run
from disks import no_permission_to_read
from mien.errors import MicrophoneError
from mien.sources import microphone as microphone_module
from mien.sources.microphone import Deliver
from mien.sources.sounds import sounds
from mien.structures import SAMPLE_RATE, Block, FloatArray
from speech import LoudDetector, PitchModel, go_back, heard, in_blocks, join, silence, tone, write_clip, write_wav

HIGH, LOW = 1500.0, 200.0


@pytest.fixture(autouse=True)
def standins(own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder with stand-ins for the voice model and the detector."""
    monkeypatch.setattr("mien.voice.listener.load_voice", lambda *_, **__: PitchModel())
    monkeypatch.setattr("mien.voice.listener.SileroDetector", LoudDetector)


def two_utterances() -> FloatArray:
    return join(silence(1), tone(2, hertz=HIGH), silence(1), tone(2.5, hertz=LOW), silence(1))


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_utterance_of_a_file_is_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(Path("speech.wav"), two_utterances())
    assert run("listen", "speech.wav", "--csv", "voice.csv", "--jsonl", "voice.jsonl") == 0
    rows = rows_of("voice.csv")
    assert [(row["source"], row["label"], row["note"]) for row in rows] == [
        ("speech.wav", "happy", ""),
        ("speech.wav", "sad", ""),
    ]
    assert list(rows[0])[:9] == [
        "source", "start", "end", "speech_seconds", "label", "confidence", "certain", "note", "p_angry",
    ]  # fmt: skip
    assert float(rows[0]["start"]) == pytest.approx(1, abs=0.07)
    assert sum(float(rows[0][f"p_{label}"]) for label in PitchModel().labels) == pytest.approx(1)
    lines = [json.loads(line) for line in Path("voice.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == ["happy", "sad"]
    assert lines[0]["probabilities"]["happy"] == float(rows[0]["p_happy"])
    assert {"model", "label_set", "detector", "mien", "schema"} <= set(lines[0])
    shown = capsys.readouterr().out
    assert "0:01.0" in shown
    assert "sad" in shown


def test_json_goes_to_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(Path("speech.wav"), two_utterances())
    assert run("listen", "speech.wav", "--json", "--min-confidence", "0.9") == 0
    records = json.loads(capsys.readouterr().out)
    assert [(record["label"], record["certain"]) for record in records] == [("uncertain", False)] * 2


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_a_table_on_standard_output_has_nothing_beside_it(capsys: pytest.CaptureFixture[str], option: str) -> None:
    write_wav(Path("speech.wav"), two_utterances())
    assert run("listen", "speech.wav", option, "-") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (3 if option == "--csv" else 2)
    assert all("speech.wav" in line or line.startswith("source,") for line in lines)


def test_a_file_without_an_utterance_is_a_row_with_the_reason() -> None:
    write_wav(Path("silent.wav"), silence(2))
    write_wav(Path("short.wav"), join(tone(0.2), silence(1)))
    assert run("listen", "silent.wav", "short.wav", "--csv", "voice.csv", "--jsonl", "voice.jsonl") == 0
    assert [(row["source"], row["label"], row["note"]) for row in rows_of("voice.csv")] == [
        ("silent.wav", "", "no speech found"),
        ("short.wav", "", "no utterance of 1.5 s or more"),
    ]
    first = json.loads(Path("voice.jsonl").read_text().splitlines()[0])
    assert (first["label"], first["start"], first["probabilities"]) == (None, None, {})


def test_a_bad_file_is_named_and_the_rest_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(Path("speech.wav"), two_utterances())
    Path("text.wav").write_text("I am a text\n" * 20)
    write_video(Path("silent.mp4"))
    assert run("listen", "text.wav", "silent.mp4", "gone.wav", "speech.wav", "--csv", "voice.csv") == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(";")[0] for line in errors] == [
        "error: no file or folder 'gone.wav'",
        "error: 'text.wav' is a text file",
        "error: 'silent.mp4' has no sound",
    ]
    assert len(rows_of("voice.csv")) == 2


def test_a_file_that_may_not_be_read_is_named_and_the_rest_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.wav", "b.wav"):
        write_wav(Path(name), two_utterances())
    with no_permission_to_read("a.wav"):
        assert run("listen", "a.wav", "b.wav") == 2
    captured = capsys.readouterr()
    assert captured.err == "error: cannot read 'a.wav': Permission denied; check the path and its permissions\n"
    assert "b.wav" in captured.out


@pytest.mark.filterwarnings("default")
def test_the_sound_files_and_videos_of_a_folder_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("calls/b.wav", "calls/day1/a.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        write_wav(Path(name), tone(2, hertz=HIGH))
    write_clip(Path("calls/clip.mkv"), tone(2, hertz=LOW, rate=48_000))
    Path("calls/text.wav").write_text("I am a text\n" * 20)
    Path("calls/notes.txt").write_text("notes")
    assert run("listen", "calls", "calls/b.wav", "--csv", "voice.csv") == 2
    assert [(row["source"], row["label"]) for row in rows_of("voice.csv")] == [
        ("calls/b.wav", "happy"),
        ("calls/clip.mkv", "sad"),
        ("calls/day1/a.wav", "happy"),
    ]
    assert [line.split(";")[0] for line in capsys.readouterr().err.splitlines()] == [
        "warning: passed over 1 file in 'calls': 1 .txt",
        "error: 'calls/text.wav' is a text file",
    ]
    assert run("listen", "calls", "--glob", "day1/*", "--csv", "voice.csv") == 0
    assert [row["source"] for row in rows_of("voice.csv")] == ["calls/day1/a.wav"]
    assert run("listen", "calls", "--csv", "calls/b.csv") == 2
    assert run("listen", "calls", "--csv", "calls/b.wav") == 2  # would overwrite a source


def test_commands_for_faces_name_the_one_for_sound(capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(Path("speech.wav"), tone(1))
    assert error_of(capsys, "predict", "speech.wav", "--detector", "whole").endswith("; `mien listen` hears it\n")


def test_where_the_times_of_a_video_go_back_utterances_follow_one_another() -> None:
    sound = join(tone(2, hertz=HIGH, rate=48_000), silence(1, rate=48_000), tone(2, hertz=LOW, rate=48_000))
    go_back(write_clip(Path("clip.mkv"), sound, n_frames=40, fps=8), after=1)
    assert run("listen", "clip.mkv", "--csv", "voice.csv") == 0
    first, second = rows_of("voice.csv")
    assert (first["label"], second["label"]) == ("happy", "sad")
    assert float(first["start"]) == pytest.approx(0, abs=0.1)
    assert float(second["start"]) == pytest.approx(3, abs=0.2)


def test_a_path_that_is_missing_costs_no_old_table(capsys: pytest.CaptureFixture[str]) -> None:
    Path("voice.csv").write_text("the old table\n")
    Path("empty").mkdir()
    assert run("listen", "gone.wav", "empty", "--csv", "voice.csv") == 2
    assert Path("voice.csv").read_text() == "the old table\n"
    missing, empty = capsys.readouterr().err.splitlines()
    assert missing == "error: no file or folder 'gone.wav'; check the path"
    assert empty.startswith("error: no sound files or videos in folder 'empty'; expected files ending in .3g2, ")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop by Ctrl+C in the middle of a file."""

    def until_ctrl_c(path: Path) -> Iterator[Block]:
        yield from in_blocks(join(tone(2, hertz=HIGH), silence(1), tone(2)))
        raise KeyboardInterrupt

    write_wav(Path("speech.wav"), tone(1))
    monkeypatch.setattr(sys.modules["mien.sources.sounds"], "sounds", until_ctrl_c)


@pytest.mark.usefixtures("stopped")
def test_what_was_heard_before_ctrl_c_is_printed_and_stays_in_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("listen", "speech.wav", "--csv", "voice.csv", "--jsonl", "voice.jsonl") == 130
    assert [row["label"] for row in rows_of("voice.csv")] == ["happy"]
    assert json.loads(Path("voice.jsonl").read_text())["label"] == "happy"
    shown = capsys.readouterr()
    assert "happy" in shown.out
    assert shown.err == "stopped\n"


@pytest.mark.usefixtures("stopped")
def test_json_of_what_was_heard_before_ctrl_c_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("listen", "speech.wav", "--json") == 130
    assert [record["label"] for record in json.loads(capsys.readouterr().out)] == ["happy"]


def test_the_other_files_are_heard_where_an_extra_is_missing_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds_module = sys.modules["mien.sources.sounds"]
    find = sounds_module.find_spec
    monkeypatch.setattr(sounds_module, "find_spec", lambda name: None if name == "av" else find(name))
    Path("film.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    write_wav(Path("speech.wav"), tone(2, hertz=HIGH))
    assert "needs the 'video' extra" in error_of(capsys, "listen", "film.mp4", "speech.wav", "--csv", "voice.csv")
    assert [row["source"] for row in rows_of("voice.csv")] == ["speech.wav"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_name_of_undecodable_bytes_is_heard() -> None:
    name = os.fsdecode(b"m\xfcller.wav")
    write_wav(Path("speech.wav"), tone(2, hertz=HIGH)).rename(name)
    assert run("listen", name, "--csv", "voice.csv") == 0
    assert [row["label"] for row in rows_of("voice.csv")] == ["happy"]


@pytest.mark.parametrize(
    ("rate", "width", "channels", "gain"), [(SAMPLE_RATE, 1, 1, 1), (44_100, 2, 6, 1), (8_000, 2, 1, 1),
    (192_000, 3, 1, 1), (SAMPLE_RATE, 2, 1, 30)],
)  # fmt: skip
def test_odd_and_clipped_recordings_are_heard(rate: int, width: int, channels: int, gain: int) -> None:
    sound = join(silence(0.5, rate=rate), tone(2, hertz=HIGH, rate=rate), silence(1, rate=rate))
    write_wav(Path("odd.wav"), (gain * sound).clip(-1, 1), rate=rate, width=width, channels=channels)
    assert run("listen", "odd.wav", "--csv", "voice.csv") == 0
    assert [row["label"] for row in rows_of("voice.csv")] == ["happy"]


def test_the_sound_of_a_video_is_heard_at_the_videos_times() -> None:
    write_clip(Path("clip.mkv"), tone(2, hertz=HIGH, rate=48_000), n_frames=40, sound_start=1.0)
    assert run("listen", "clip.mkv", "--csv", "voice.csv") == 0
    (row,) = rows_of("voice.csv")
    assert float(row["start"]) == pytest.approx(1, abs=0.07)


def test_a_result_never_replaces_a_recording() -> None:
    path = write_wav(Path("speech.wav"), two_utterances())
    before = path.read_bytes()
    assert run("listen", "speech.wav", "--csv", "speech.wav") == 2
    assert run("listen", "speech.wav", "--csv", "other.wav") == 2
    assert path.read_bytes() == before


def test_a_voice_is_enrolled_from_a_file_which_is_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(Path("speech.wav"), two_utterances())
    write_wav(Path("ordinary.wav"), tone(2))
    write_wav(Path("short.wav"), tone(1))
    assert run("listen", "speech.wav", "--enrol", "ordinary.wav") == 0
    capsys.readouterr()
    assert "the sentence to enrol has less than 1.5 s" in error_of(
        capsys, "listen", "speech.wav", "--enrol", "short.wav"
    )
    assert run("listen", "--enrol", "ordinary.wav", "--record", "ordinary.wav") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["speech.wav", "--microphone", "1"], "--microphone applies to the microphone only"),
        (["speech.wav", "--record", "copy.wav"], "--record applies to the microphone only"),
        (["--csv", "-", "--json"], "--json and --csv - write to standard output"),
        (["--excel"], "--excel needs --csv"),
        (["--glob", "*.wav"], "--glob selects files of a folder"),
        (["--min-confidence", "3"], "min_confidence is 3"),
        (["speech.wav", "--record", ""], "an argument is empty"),
        (["--record", "notes.txt"], "a recording is WAV; expected a name such as 'x.wav'"),
        (["--record", "-"], "a recording is WAV"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in error_of(capsys, "listen", *options)


@contextmanager
def handled_ctrl_c() -> Iterator[None]:
    """Handle Ctrl+C as a terminal's program does; it may be ignored, as under nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Playing:
    """A microphone that hears a sound once, then Ctrl+C."""

    name, rate, active = "fake", float(SAMPLE_RATE), True

    def __init__(self, deliver: Deliver, sound: FloatArray) -> None:
        for begin in range(0, len(sound), 512):
            deliver(begin / SAMPLE_RATE, sound[begin : begin + 512, None])

    def now(self) -> float:
        return 0.0

    def close(self) -> None:
        self.active = False


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch) -> FloatArray:
    sound = join(silence(0.5), tone(2, hertz=HIGH), silence(1), tone(1.8, hertz=LOW))
    read = microphone_module.Microphone.read

    def read_or_stop(self: microphone_module.Microphone, timeout: float = 1.0) -> object:
        block = read(self, timeout=0)
        if block is None:
            raise KeyboardInterrupt
        return block

    monkeypatch.setattr(microphone_module, "open_recording", lambda device, deliver, again: Playing(deliver, sound))
    monkeypatch.setattr(microphone_module.Microphone, "read", read_or_stop)
    return sound


def test_the_microphone_is_heard_until_ctrl_c_which_loses_nothing(
    microphone: FloatArray, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("listen", "--csv", "voice.csv") == 0
    assert [(row["source"], row["label"]) for row in rows_of("voice.csv")] == [("fake", "happy"), ("fake", "sad")]
    shown = capsys.readouterr()
    assert "sounds happy  60 %" in shown.out
    assert "heard: 2 utterances" in shown.out
    assert "listening to fake; press Ctrl+C to stop" in shown.err


def test_ctrl_c_while_an_answer_is_computed_does_not_lose_it(
    microphone: FloatArray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(model: PitchModel, samples: FloatArray, **_: object) -> FloatArray:
        if samples is not None and len(model.given) == 1:  # the first final answer
            signal.raise_signal(signal.SIGINT)
        return predict(model, samples)

    predict = PitchModel.predict_proba
    monkeypatch.setattr(PitchModel, "predict_proba", interrupted)
    with handled_ctrl_c():
        assert run("listen", "--json") == 0
    assert [record["label"] for record in json.loads(capsys.readouterr().out)] == ["happy"]


def test_no_sound_is_stored_unless_it_is_asked_for(microphone: FloatArray) -> None:
    assert run("listen", "--jsonl", "voice.jsonl") == 0
    assert [path.name for path in Path().iterdir()] == ["voice.jsonl"]
    assert run("listen", "--record", "heard.wav") == 0
    assert heard(sounds("heard.wav")) == pytest.approx(microphone, abs=1e-4)


def test_a_microphone_that_is_missing_costs_no_old_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(device: object, deliver: Deliver, again: bool) -> Playing:
        raise MicrophoneError("no microphone was found")

    monkeypatch.setattr(microphone_module, "open_recording", missing)
    old = {name: f"the old {name}\n" for name in ("heard.wav", "voice.csv", "voice.jsonl")}
    for name, content in old.items():
        Path(name).write_text(content)
    message = error_of(capsys, "listen", "--record", "heard.wav", "--csv", "voice.csv", "--jsonl", "voice.jsonl")
    assert "no microphone was found" in message
    assert {name: Path(name).read_text() for name in old} == old


def test_json_of_the_microphone_is_printed_at_the_end(
    microphone: FloatArray, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("listen", "--json") == 0
    assert [record["label"] for record in json.loads(capsys.readouterr().out)] == ["happy", "sad"]


def test_devices_are_listed_for_people_and_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = microphone_module.MicrophoneInfo(3, "USB Microphone", "ALSA", 48_000.0, True)
    monkeypatch.setattr(microphone_module, "list_microphones", lambda: [found])
    monkeypatch.setattr("mien.sources.devices.list_cameras", list)
    assert run("devices") == 0
    assert "USB Microphone (default)" in capsys.readouterr().out
    assert run("devices", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "cameras": [],
        "microphones": [
            {"index": 3, "name": "USB Microphone", "host": "ALSA", "rate": 48_000.0, "default": True},
        ],
    }
