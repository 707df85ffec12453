"""`mien live` without a window: its files, however it ends. For the window see tests/app."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest

from commands import error_of, mien, run
from mien.errors import MicrophoneError, OutputError
from mien.sinks.videos import VideoSink
from mien.sources.frames import frames, inspect
from mien.sources.pictures import read_picture
from mien.structures import ImageArray
from mien.voice.listener import Listener
from speech import LoudDetector, PitchModel, tone, write_clip

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
FPS, SIDE = 10, 256  # of the clips; pixels of an astronaut
PATIENCE = 120.0  # seconds that nothing here needs, unless it hangs
LAG = 1.0  # seconds of the stream that a kill may cost

pytestmark = pytest.mark.usefixtures("own_folder")


def scene(n_faces: int, shift: int = 0) -> ImageArray:
    """Draw up to two astronauts side by side, RGB uint8 (256, 512, 3)."""
    picture = np.full((SIDE, 2 * SIDE, 3), 128, np.uint8)
    small = cv2.resize(read_picture(ASTRONAUT), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    for i in range(n_faces):
        picture[:, SIDE * i : SIDE * (i + 1)] = small
    return np.roll(picture, shift, axis=1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of one face, one of two, and half a second of none."""
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    with VideoSink(path, fps=FPS) as sink:
        for i in range(25):
            sink.write(scene((1, 2, 0)[i // 10], shift=i % 3))
    return path


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of a face that moves a little: too long for a test to reach its end."""
    path = tmp_path_factory.mktemp("clips") / "long.avi"
    steps = [scene(1, shift=i) for i in range(5)]
    with VideoSink(path, fps=FPS) as sink:
        for i in range(60 * FPS):
            sink.write(steps[i % 5])
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def duration(path: Path) -> float:
    media = inspect(path)
    assert media.rate is not None
    assert media.frames == sum(1 for _ in frames(path))
    return media.frames / media.rate


@contextmanager
def living(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run `mien live` without a window in a process of its own; kill it at the end if it still runs."""
    command = mien("live", "--no-window", *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_seen(process: subprocess.Popen[str], table: Path, seconds: float) -> float:
    """Wait until a table holds so many seconds of a stream; return its newest time."""
    end = time.monotonic() + PATIENCE
    while True:
        whole = table.read_text().rpartition("\n")[0] if table.exists() else ""
        times = [float(row["time"]) for row in csv.DictReader(whole.splitlines())]
        if times and times[-1] - times[0] >= seconds:
            return times[-1]
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, "it never saw so much"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def seen(clip: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete recording of a clip."""
    folder = tmp_path_factory.mktemp("seen")
    code = run(
        "live", clip, "--no-window", "--model", tiny_model, "--out", folder / "new" / "out", "--csv", folder / "a.csv",
        "--jsonl", folder / "a.jsonl", "--video", folder / "a.mp4",
    )  # fmt: skip
    assert code == 0
    return folder


class TestWhatIsLeft:
    def test_a_row_for_each_face_of_each_frame_and_tracks_stay(self, seen: Path) -> None:
        rows = rows_of(seen / "a.csv")
        by_frame = {int(index): list(group) for index, group in groupby(rows, key=lambda row: row["index"])}
        assert list(by_frame) == list(range(25))  # none is dropped of a file
        tracks = [[row["track"] for row in by_frame[index]] for index in range(25)]
        assert tracks[:10] == [["1"]] * 10
        assert tracks[12:20] == [["1", "2"]] * 8  # who comes is seen after 0.2 s at most
        assert tracks[22:] == [[""]] * 3
        assert all(row["note"] == ("" if row["face"] else "no face found") for row in rows)

    def test_raw_and_smoothed_probabilities_are_both_written(self, seen: Path) -> None:
        faces = [row for row in rows_of(seen / "a.csv") if row["face"]]
        smoothed, raw = ([key for key in faces[0] if key.startswith(p)] for p in ("p_", "raw_"))
        assert [key[2:] for key in smoothed] == [key[4:] for key in raw]
        assert len(raw) == 8
        for row in faces:
            for columns in (smoothed, raw):
                assert sum(float(row[key]) for key in columns) == pytest.approx(1, abs=1e-4)
        assert any(row["p_happy"] != row["raw_happy"] for row in faces)

    def test_a_line_for_each_frame_with_rising_times(self, seen: Path) -> None:
        lines = lines_of(seen / "a.jsonl")
        assert [line["time"] for line in lines] == pytest.approx([i / FPS for i in range(25)], abs=0.002)
        assert [line["index"] for line in lines] == list(range(25))
        rows = rows_of(seen / "a.csv")
        assert [face["track"] for line in lines for face in line["faces"]] == [
            int(row["track"]) for row in rows if row["track"]
        ]

    def test_the_video_is_as_long_as_the_clip_and_shows_its_frames_with_boxes(self, seen: Path, clip: Path) -> None:
        assert duration(seen / "a.mp4") == pytest.approx(2.5, abs=1 / FPS)
        assert not (seen / "a.mkv").exists()
        shown, originals = list(frames(seen / "a.mp4")), list(frames(clip))
        for original in (originals[5], originals[15], originals[24]):
            then = next(frame for frame in shown if frame.time > original.time - 0.001)
            changed = np.abs(then.image.astype(int) - original.image).max(axis=2) > 60
            assert changed.mean() == pytest.approx(
                0.018 * (1, 2, 0)[original.index // 10], abs=0.008
            )  # box and label box

    def test_statistics_of_the_whole_clip(self, seen: Path) -> None:
        folder = seen / "new" / "out"
        assert {path.name for path in folder.iterdir()} == {
            "statistics.json", "statistics-bars.png", "statistics-timeline.png", "statistics-tracks.png",
        }  # fmt: skip
        statistics = json.loads((folder / "statistics.json").read_text())
        assert (statistics["frames"], statistics["tracks"]) == (25, 2)
        assert statistics["faces"] == sum(1 for row in rows_of(seen / "a.csv") if row["face"])
        assert statistics["seconds"] == pytest.approx(2.4, abs=0.01)

    def test_no_other_file_is_left(self, seen: Path) -> None:
        assert {path.name for path in seen.iterdir()} == {"a.csv", "a.jsonl", "a.mp4", "new"}


def test_smoothing_and_labels_follow_the_options(clip: Path, tiny_model: Path) -> None:
    options = ("--half-life", 0, "--min-confidence", 0.99, "--labels", "ferplus", "--csv", "a.csv")
    assert run("live", clip, "--no-window", "--model", tiny_model, *options) == 0
    faces = [row for row in rows_of(Path("a.csv")) if row["face"]]
    assert {row["label"] for row in faces} == {"uncertain"}
    assert "p_contempt" in faces[0]
    assert all(row["raw_happy"] == "" for row in faces)


def test_a_picture_and_a_folder_are_streams_too(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "album" / name).write_bytes(ASTRONAUT.read_bytes())
    assert run("live", "album", "--no-window", "--model", tiny_model, "--jsonl", "a.jsonl", "--video", "a.mkv") == 0
    assert [Path(line["source"]).name for line in lines_of(tmp_path / "a.jsonl")] == ["a.png", "b.png"]
    assert len(list(frames(tmp_path / "a.mkv"))) == 2


def test_a_file_as_a_camera_plays_to_its_end(clip: Path, tiny_model: Path) -> None:
    assert run("live", clip, "--no-window", "--as-camera", "--model", tiny_model, "--jsonl", "a.jsonl") == 0
    times = [line["time"] for line in lines_of(Path("a.jsonl"))]
    assert all(a < b for a, b in pairwise(times))
    assert times[-1] == pytest.approx(2.4, abs=0.002)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a stand-in for the voice model."""
    listener = Listener(PitchModel(), detector=LoudDetector())
    monkeypatch.setattr("mien.cli.live.open_listener", lambda *_: listener)
    monkeypatch.setattr("mien.voice.listener.SileroDetector", LoudDetector)


def test_the_sound_of_a_file_is_recorded_as_a_voice(tiny_model: Path, tmp_path: Path, stand_in: None) -> None:
    write_clip(tmp_path / "clip.mp4", tone(3, rate=48_000), n_frames=40, sound_start=0.5)
    options = ("--model", tiny_model, "--detector", "whole", "--jsonl", "a.jsonl", "--video", "a.mkv")
    assert run("live", "clip.mp4", "--no-window", *options, "--voice") == 0
    lines = lines_of(Path("a.jsonl"))
    assert len(lines) == 40
    first = next(line for line in lines if line["voice"])
    assert not first["voice"]["final"]
    assert first["voice"]["start"] == pytest.approx(0.5, abs=0.1)
    assert first["time"] == pytest.approx(2.0, abs=0.6)  # 1.5 s of speech, and a block of sound
    assert (lines[-1]["voice"]["final"], lines[-1]["fused"] is None) == (True, False)


@pytest.mark.filterwarnings("default")  # as in the program
@pytest.mark.parametrize("words", [("--voice", "7"), ("--voice", "no such microphone")])
def test_a_missing_microphone_is_one_line_and_the_recording_goes_on(
    words: tuple[str, ...], clip: Path, tiny_model: Path, stand_in: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked = []

    def missing(device: int | str | None) -> NoReturn:
        asked.append(device)
        raise MicrophoneError("no microphone was found")

    monkeypatch.setattr("mien.hearing.Microphone", missing)
    assert run("live", clip, "--no-window", "--model", tiny_model, "--csv", "a.csv", *words) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "no voice: no microphone was found" in line
    assert asked == [7 if words[-1] == "7" else words[-1]]
    assert {row["voice_label"] for row in rows_of(Path("a.csv"))} == {""}


BAD: list[tuple[Sequence[str], str]] = [
    (("CLIP", "--model", "MODEL"), "add --video, --csv, --jsonl or --out"),
    (("4242", "--model", "MODEL", "FILES"), "camera 4242"),
    (("/dev/video4242", "--model", "MODEL", "FILES"), "video4242"),
    (("http://127.0.0.1:9/clip.mp4", "--model", "MODEL", "FILES"), "check the address"),
    (("10000000", "--model", "MODEL", "FILES"), "no file or folder '10000000'"),
    (("nowhere.mp4", "--model", "MODEL", "FILES"), "no file or folder 'nowhere.mp4'"),
    (("nowhere.mp4", "--as-camera", "--model", "MODEL", "FILES"), "no file or folder 'nowhere.mp4'"),
    (("words.mp4", "--model", "MODEL", "FILES"), "is a text"),
    (("CLIP", "--model", "nobody", "FILES"), "no model 'nobody'"),
    (("CLIP", "--as-camera", "--model", "nobody", "FILES"), "no model 'nobody'"),
    (("CLIP", "--model", "MODEL", "--detector", "hair", "FILES"), "choose from auto"),
    (("CLIP", "--model", "MODEL", "--labels", "ferg", "FILES"), "choose from fer2013, ferplus"),
    (("CLIP", "--model", "MODEL", "--min-score", "7", "FILES"), "expected 0 to 1"),
    (("CLIP", "--model", "MODEL", "--min-confidence", "7", "FILES"), "expected 0 to 1"),
    (("CLIP", "--model", "MODEL", "--half-life", "inf", "FILES"), "half_life is inf"),
    (("CLIP", "--model", "MODEL", "FILES", "--csv", "no/such/folder/f.csv"), "cannot write"),
    (("CLIP", "--model", "MODEL", "FILES", "--jsonl", "no/such/folder/f.jsonl"), "cannot write"),
    (("CLIP", "--model", "MODEL", "FILES", "--video", "no/such/folder/f.mp4"), "cannot write"),
    (("CLIP", "--model", "MODEL", "FILES", "--video", "f.txt"), "unknown video suffix"),
    (("CLIP", "--model", "MODEL", "FILES", "--csv", "old.jsonl"), "choose different ones"),
    (("CLIP", "--model", "MODEL", "--csv", "-", "--jsonl", "-"), "--csv - and --jsonl - write to standard output"),
    (("CLIP", "--model", "MODEL", "FILES", "--video", "CLIP"), "choose another name"),
    ((".", "--model", "MODEL", "--video", "words.mp4"), "would overwrite one of the sources"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_changes_no_file(
    arguments: Sequence[str], expected: str, clip: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("old.csv", "old.jsonl", "old.mkv"):
        Path(name).write_text("a recording of yesterday, longer than a header\n" * 3)
    Path("words.mp4").write_text("words, words, words")
    before = {path: path.read_bytes() for path in [*Path().rglob("*.*"), clip]}
    places = {
        "CLIP": [clip],
        "MODEL": [tiny_model],
        "FILES": ["--csv", "old.csv", "--jsonl", "old.jsonl", "--video", "old.mkv"],
    }
    words = [word for argument in arguments for word in places.get(argument, [argument])]
    assert expected in error_of(capsys, "live", "--no-window", *words)
    after = {path: path.read_bytes() for path in [*Path().rglob("*.*"), clip]}
    assert after == before


@pytest.mark.parametrize("folder", ["taken", "taken/deep", "full"])
def test_a_folder_for_statistics_that_cannot_be_made_is_refused_before_the_recording(
    folder: str, clip: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(path: Path) -> NoReturn:
        raise OutputError(f"cannot make folder '{path}': no space left")

    Path("taken").touch()
    if folder == "full":
        monkeypatch.setattr("mien.files.make_folder", make)
    options = ("--model", tiny_model, "--out", folder, "--csv", "a.csv", "--video", "a.mp4")
    assert folder in error_of(capsys, "live", "--no-window", clip, *options)
    assert [path.name for path in Path().iterdir()] == ["taken"]


def test_a_damaged_picture_ends_the_recording_and_keeps_it(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("album").mkdir()
    for name in ("a.png", "c.png"):
        Path("album", name).write_bytes(ASTRONAUT.read_bytes())
    Path("album", "b.png").write_bytes(ASTRONAUT.read_bytes()[:3000])
    line = error_of(
        capsys, "live", "--no-window", "album", "--model", tiny_model, "--jsonl", "a.jsonl", "--video", "a.mp4"
    )
    assert "b.png" in line
    assert len(lines_of(Path("a.jsonl"))) == 1
    assert len(list(frames("a.mp4"))) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Tk needs no DISPLAY")
def test_a_window_without_a_display_is_one_clear_line(
    clip: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("tkinter", "pygubu"):
        pytest.importorskip(module)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert run("live", clip, "--model", tiny_model, "--csv", "a.csv") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path("a.csv").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl+C to all processes of a console")
@pytest.mark.slow
@pytest.mark.parametrize("playing", [(), ("--as-camera",)])
def test_ctrl_c_ends_the_recording_with_complete_files(
    long_clip: Path, tiny_model: Path, playing: Sequence[str]
) -> None:
    options = ("--csv", "a.csv", "--jsonl", "a.jsonl", "--video", "a.mp4", "--out", "out")
    with living(long_clip, *playing, "--model", tiny_model, *options) as process:
        wait_until_seen(process, Path("a.csv"), 0.5)
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=PATIENCE)
    assert (process.returncode, complained) == (0, "")
    assert said.splitlines()[0] == "statistics: out"
    assert re.fullmatch(r"recorded: \d+ frames in \d+\.\d s, 1 face: [a-z]+ \d+ %.*", said.splitlines()[1])
    rows, lines = rows_of(Path("a.csv")), lines_of(Path("a.jsonl"))
    first, last = float(rows[0]["time"]), float(rows[-1]["time"])
    assert lines[-1]["time"] == pytest.approx(last, abs=1 / FPS)  # it may have come between the two
    before_last = float(rows[-2]["time"])  # the video may lack the last frame, likewise
    assert before_last - first - 2 / FPS <= duration(Path("a.mp4")) <= last - first + 2 / FPS
    assert json.loads(Path("out/statistics.json").read_text())["frames"] == pytest.approx(len(lines), abs=1)
    assert {path.name for path in Path().iterdir()} == {"a.csv", "a.jsonl", "a.mp4", "out"}


@pytest.mark.slow
def test_a_kill_loses_no_more_than_a_second(long_clip: Path, tiny_model: Path) -> None:
    options = ("--csv", "a.csv", "--jsonl", "a.jsonl", "--video", "a.mp4")
    with living(long_clip, "--as-camera", "--model", tiny_model, *options) as process:
        shown = wait_until_seen(process, Path("a.csv"), 1.5)
        process.kill()
        process.wait(PATIENCE)
    assert process.returncode != 0
    rows, lines = rows_of(Path("a.csv")), lines_of(Path("a.jsonl"))
    assert all(None not in row.values() and row["track"] == "1" for row in rows)
    first = float(rows[0]["time"])
    video = [first + frame.time for frame in frames("a.mkv")]
    for times in ([float(row["time"]) for row in rows], [line["time"] for line in lines], video):
        assert times[0] == pytest.approx(first, abs=0.001)
        assert times[-1] >= shown - LAG
        assert all(a < b for a, b in pairwise(times))
    assert not Path("a.mp4").exists()
