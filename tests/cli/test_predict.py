"""`mien predict` as a user has it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commands import error_of, run
from disks import no_permission_to_read
from mien.models.onnx_file import read_spec
from mien.pixels import write_picture
from mien.sinks.videos import VideoSink
from mien.sources import pictures
from mien.sources.frames import frames
from mien.sources.pictures import read_picture
from mien.structures import ImageArray
from mien.voice.listener import Listener
from speech import LABELS, LoudDetector, PitchModel, tone, write_clip

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"

pytestmark = pytest.mark.usefixtures("own_folder")


def test_predict_prints_a_table_and_writes_the_requested_files(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(
        "predict", ASTRONAUT, "--model", tiny_model, "--out", "seen", "--csv", "faces.csv", "--jsonl", "faces.jsonl",
        "--top", 3,
    )  # fmt: skip
    assert code == 0
    assert "astronaut.png" in capsys.readouterr().out
    assert read_picture(tmp_path / "seen" / "astronaut.png").shape == read_picture(ASTRONAUT).shape
    (row,) = csv.DictReader((tmp_path / "faces.csv").read_text().splitlines())
    assert sum(float(value) for key, value in row.items() if key.startswith("p_")) == pytest.approx(1, abs=1e-4)
    (line,) = (tmp_path / "faces.jsonl").read_text().splitlines()
    assert len(json.loads(line)["faces"]) == 1


def test_predict_json_is_the_only_output_on_stdout(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", ASTRONAUT, "--model", tiny_model, "--json") == 0
    (picture,) = json.loads(capsys.readouterr().out)
    assert picture["faces"][0]["probabilities"].keys() == {*read_spec(tiny_model).labels}


def test_predict_reports_a_picture_without_faces(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture("wall.png", np.full((200, 200, 3), 128, np.uint8))
    assert run("predict", "wall.png", "--model", tiny_model, "--csv", "faces.csv") == 0
    assert "no face found" in capsys.readouterr().out
    (row,) = csv.DictReader(Path("faces.csv").read_text().splitlines())
    assert row["note"] == "no face found"


def test_predict_reports_uncertain_below_the_minimum_confidence(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("predict", ASTRONAUT, "--model", tiny_model, "--min-confidence", 0.99, "--csv", "faces.csv")
    assert run(*arguments) == 0
    assert "uncertain (" in capsys.readouterr().out
    (row,) = csv.DictReader(Path("faces.csv").read_text().splitlines())
    assert (row["label"], row["certain"]) == ("uncertain", "false")


def test_a_video_s_row_counts_uncertain_answers(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = read_picture(ASTRONAUT)
    with VideoSink("clip.avi", fps=5) as video:
        for _ in range(2):
            video.write(image)
    assert run("predict", "clip.avi", "--model", tiny_model, "--min-confidence", 0.99, "--detector", "whole") == 0
    assert "uncertain 100 %" in capsys.readouterr().out


def test_predict_continues_after_a_bad_file(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("album/day1")
    folder.mkdir(parents=True)
    shutil.copy(ASTRONAUT, folder / "b.png")
    (folder / "a.png").write_bytes(ASTRONAUT.read_bytes()[:3000])
    (folder / "c.jpg").write_text("I am a text")
    line = run("predict", "album", "nowhere.png", "--model", tiny_model, "--out", "seen")
    captured = capsys.readouterr()
    assert line == 2
    assert len(captured.err.splitlines()) == 3
    for name in ("a.png", "c.jpg", "nowhere.png"):
        assert name in captured.err
    assert "b.png" in captured.out
    assert [p.relative_to("seen") for p in Path("seen").rglob("*.*")] == [Path("day1/b.png")]


def test_predict_continues_after_a_file_that_may_not_be_read(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        shutil.copy(ASTRONAUT, name)
    with no_permission_to_read("a.png"):
        assert run("predict", "a.png", "b.png", "--model", tiny_model) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: cannot read 'a.png': Permission denied; check the path and its permissions\n"
    assert "b.png" in captured.out


def test_pictures_of_one_name_do_not_overwrite_each_other(tiny_model: Path) -> None:
    for folder in ("one", "two"):
        Path(folder).mkdir()
        shutil.copy(ASTRONAUT, Path(folder) / "a.png")
    assert run("predict", "one/a.png", "two/a.png", "two", "--model", tiny_model, "--out", "seen") == 0
    assert len(list(Path("seen").rglob("a.png"))) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_predict_reads_and_prints_names_that_are_not_utf8(tiny_model: Path) -> None:
    name = os.fsdecode(b"caf\xe9[bold].png")
    shutil.copy(ASTRONAUT, name)
    command = [sys.executable, "-m", "mien", "predict", name, "--model", str(tiny_model), "--csv", "f.csv"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"caf\udce9[bold].png" in done.stdout
    assert r"caf\udce9[bold].png" in Path("f.csv").read_text()


def test_full_disk_leaves_no_half_written_file(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left" in error_of(capsys, "predict", ASTRONAUT, "--model", tiny_model, "--out", "seen")
    assert list(Path("seen").iterdir()) == []


def test_several_files_end_with_a_summary_and_rows_show_their_folders(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")  # a pipe has no width
    folder = Path("a-folder-of-a-long-name/and-another-one-in-it")
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        shutil.copy(ASTRONAUT, folder / name)
    assert run("predict", folder.parts[0], "--model", tiny_model, "--min-confidence", 0.99) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [str(folder / "a.png"), str(folder / "b.png")]
    assert lines[-1] == "2 pictures, 2 faces: 2 uncertain"
    assert len(lines) == 4
    assert run("predict", folder / "a.png", "--model", tiny_model) == 0
    assert "pictures" not in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_a_table_on_standard_output_is_its_only_output(
    option: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", ASTRONAUT, "--model", tiny_model, option, "faces", "--out", "drawn") == 0
    capsys.readouterr()
    assert run("predict", ASTRONAUT, "--model", tiny_model, option, "-", "--out", "drawn") == 0
    assert capsys.readouterr().out == Path("faces").read_text()
    assert not Path("-").exists()


BAD = [
    (("ASTRONAUT", "--csv", "-", "--jsonl", "-"), "write to standard output; choose one"),
    (("ASTRONAUT", "--csv", "-", "--json"), "write to standard output; choose one"),
    (("ASTRONAUT", "--csv", "a.txt", "--jsonl", "./a.txt"), "choose different ones"),
    (("photo.png", "--csv", "photo.png"), "'photo.png' would overwrite one of the sources"),
    ((".", "--jsonl", "photo.png"), "'photo.png' would overwrite one of the sources"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_results_never_overwrite_a_source_or_each_other(
    arguments: tuple[str, ...], expected: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ASTRONAUT, "photo.png")
    words = [ASTRONAUT if word == "ASTRONAUT" else word for word in arguments]
    assert expected in error_of(capsys, "predict", *words, "--model", tiny_model)
    assert [path.name for path in Path().iterdir()] == ["photo.png"]
    assert Path("photo.png").read_bytes() == ASTRONAUT.read_bytes()


def test_predict_appends_a_summary_below_annotated_pictures(tiny_model: Path) -> None:
    options = ("--model", tiny_model, "--detector", "haar")
    assert run("predict", ASTRONAUT, "--out", "plain", *options) == 0
    assert run("predict", ASTRONAUT, "--out", "summed", "--summary", *options) == 0
    plain, summed = (read_picture(Path(folder, ASTRONAUT.name)) for folder in ("plain", "summed"))
    assert summed.shape[0] > plain.shape[0]
    assert np.array_equal(summed[: len(plain)], plain)


def clip_of(*images: ImageArray) -> Path:
    with VideoSink("clip.avi", fps=10) as video:
        for image in images:
            video.write(image)
    return Path("clip.avi")


def test_predict_reads_a_stretch_of_a_video_at_a_lower_rate(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = clip_of(*(np.full((48, 64, 3), 10 * i, np.uint8) for i in range(20)))
    options = ("--model", tiny_model, "--detector", "whole", "--out", "seen", "--csv", "faces.csv")
    assert run("predict", clip, "--fps", 5, "--start", 0.5, "--stop", 1.1, *options) == 0
    assert [row["index"] for row in csv.DictReader(Path("faces.csv").read_text().splitlines())] == ["5", "7", "9"]
    assert "3 in 3 frames" in capsys.readouterr().out
    assert [frame.time for frame in frames("seen/clip.avi")] == pytest.approx([0, 0.2, 0.4])
    assert "no frame from 9 s to the end" in error_of(capsys, "predict", clip, "--start", 9, *options[:2])
    assert "expected seconds after start" in error_of(capsys, "predict", clip, "--start", 2, "--stop", 1, *options[:2])


def test_predict_suggests_yunet_where_haar_finds_hardly_a_face(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wall = np.full((64, 64, 3), 128, np.uint8)
    write_picture("wall.png", wall)
    clip = clip_of(wall, wall)
    assert run("predict", "wall.png", clip, ASTRONAUT, "--model", tiny_model, "--detector", "haar") == 0
    note = capsys.readouterr().err
    assert "Haar found no face in 1 picture and hardly a face in 1 video; --detector yunet" in note
    assert run("predict", ASTRONAUT, "--model", tiny_model, "--detector", "haar") == 0
    assert capsys.readouterr().err == ""


def test_a_nearly_black_picture_without_a_face_is_named(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture("night.png", read_picture(ASTRONAUT) // 16)
    assert run("predict", "night.png", clip_of(read_picture("night.png")), "--model", tiny_model, "--json") == 0
    notes = [picture["note"] for picture in json.loads(capsys.readouterr().out)]
    assert notes == ["no face found: nearly black"] * 2
    assert run("predict", "night.png", "--model", tiny_model) == 0
    assert "no face found: nearly black" in capsys.readouterr().out


@pytest.mark.filterwarnings("always")
def test_boxes_of_a_halved_picture_are_in_pixels_of_the_file(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--model", tiny_model, "--detector", "haar")
    assert run("predict", ASTRONAUT, "--json", *options) == 0
    whole = json.loads(capsys.readouterr().out)[0]["faces"][0]["box"]
    monkeypatch.setattr(pictures, "FULL_SIZE_PIXELS", 200_000)
    assert run("predict", ASTRONAUT, "--json", "--csv", "faces.csv", *options) == 0
    captured = capsys.readouterr()
    assert "is read at half its width and height" in captured.err
    halved = json.loads(captured.out)[0]["faces"][0]["box"]
    assert halved == pytest.approx(whole, abs=20)
    (row,) = csv.DictReader(Path("faces.csv").read_text().splitlines())
    assert [float(row[side]) for side in ("x1", "y1", "x2", "y2")] == halved
    assert run("predict", ASTRONAUT, *options) == 0
    assert f"{halved[0]:.0f},{halved[1]:.0f} – " in capsys.readouterr().out


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take a stand-in for every voice model, and note the names."""
    asked: list[str] = []

    def open_listener(model: str, min_confidence: float, models_dir: Path | None) -> Listener:
        asked.append(model)
        return Listener(PitchModel(), min_confidence=min_confidence, detector=LoudDetector())

    monkeypatch.setattr("mien.cli.predict.open_listener", open_listener)
    return asked


def test_predict_hears_the_voice_of_a_video(
    tiny_model: Path, tmp_path: Path, stand_in: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "clip.mp4", tone(2, rate=48_000), n_frames=20)
    options = ("--model", tiny_model, "--detector", "whole", "--csv", "both.csv", "--jsonl", "both.jsonl")
    assert run("predict", "clip.mp4", ASTRONAUT, *options, "--voice") == 0
    printed = capsys.readouterr().out
    assert "voice: 1 utterance" in printed
    assert "sad 100 %" in printed
    rows = list(csv.DictReader((tmp_path / "both.csv").read_text().splitlines()))
    assert [row["voice_label"] for row in rows] == ["sad"] * 20 + [""]
    assert {row["voice_model"] for row in rows} == {"standin"}
    lines = [json.loads(line) for line in (tmp_path / "both.jsonl").read_text().splitlines()]
    assert lines[0]["fused"]["probabilities"].keys() == lines[0]["faces"][0]["probabilities"].keys()
    assert list(lines[0]["voice"]["probabilities"]) == list(LABELS)


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (("--voice", "clip.mp4"), "default"),  # a file that is there is no model
        (("clip.mp4", "--voice"), "default"),
        (("clip.mp4", "--voice", "--top", "2"), "default"),
        (("clip.mp4", "--voice", "mine"), "mine"),
        (("clip.mp4", "--voice=mine"), "mine"),
        (("--voice", "there.onnx", "clip.mp4"), "there.onnx"),
    ],
)
def test_the_voice_model_may_be_left_out(
    words: tuple[str, ...], model: str, tiny_model: Path, tmp_path: Path, stand_in: list[str]
) -> None:
    write_clip(tmp_path / "clip.mp4", tone(1, rate=48_000), n_frames=3)
    (tmp_path / "there.onnx").touch()
    assert run("predict", *words, "--model", tiny_model, "--detector", "whole") == 0
    assert stand_in == [model]


@pytest.mark.filterwarnings("default")  # as in the program
def test_a_video_without_sound_gets_one_line_and_is_seen(
    tiny_model: Path, tmp_path: Path, stand_in: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "mute.mp4", None, n_frames=5)
    assert run("predict", "mute.mp4", "--model", tiny_model, "--detector", "whole", "--csv", "f.csv", "--voice") == 0
    printed = capsys.readouterr()
    assert "5 in 5 frames" in printed.out
    (line,) = printed.err.splitlines()
    assert "has no sound" in line
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 6


def test_an_unknown_voice_model_is_refused(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nobody" in error_of(capsys, "predict", ASTRONAUT, "--model", tiny_model, "--voice", "nobody")
