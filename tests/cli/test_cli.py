"""The command line as a user sees it: output, files, exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import typer.main

from commands import error_of, run
from detectors import yunet_file
from mien.cli.commands import app, with_values
from mien.cli.training import _TrainingProgress
from mien.errors import OutputError
from mien.models.onnx_file import read_spec
from mien.pixels import write_picture
from mien.sources.pictures import read_picture
from mien.vision import detect

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"


pytestmark = pytest.mark.usefixtures("own_folder")


def test_what_a_file_is_called_cannot_break_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = error_of(capsys, "predict", "a\nb\x1b[31m\r\x07.png")
    assert "a\\nb\\x1b[31m\\r\\x07.png" in line
    assert not {"\x1b", "\r", "\x07"} & set(line)


def test_without_network_haar_is_used_and_one_line_says_so(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def without_network(*_: object, **__: object) -> None:
        raise requests.ConnectionError("HTTPSConnectionPool(host='github.com', port=443): …")

    monkeypatch.delenv("MIEN_OFFLINE")
    monkeypatch.setattr("mien.vision.fetch.cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr("requests.get", without_network)
    warning = "warning: using the Haar detector: YuNet could not be fetched (no connection); run `mien"
    for announced in (["fetching YuNet (230 kB)…", warning], []):  # the failure is remembered, and news once a day
        detect._warn_once.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.filters", [])
            assert run("predict", ASTRONAUT, "--model", tiny_model, "--jsonl", "faces.jsonl") == 0
        lines = capsys.readouterr().err.splitlines()
        assert [line[: len(start)] for line, start in zip(lines, announced, strict=True)] == announced
        assert json.loads(Path("faces.jsonl").read_text(encoding="utf-8"))["detector"] == "haar"


def test_without_network_yunet_by_name_is_an_error(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_of(capsys, "predict", ASTRONAUT, "--model", tiny_model, "--detector", "yunet")
    assert "YuNet could not be fetched (MIEN_OFFLINE is set)" in line


def test_auto_is_recorded_as_the_detector_in_use(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_YUNET", str(yunet_file()))
    assert run("predict", ASTRONAUT, "--model", tiny_model, "--jsonl", "faces.jsonl") == 0
    assert json.loads(Path("faces.jsonl").read_text(encoding="utf-8"))["detector"] == "yunet"


BAD: list[tuple[Sequence[str], str]] = [
    (("predict", "nowhere.png", "--model", "MODEL"), "nowhere.png"),
    (("predict", "ASTRONAUT", "--model", "nobody"), "no model 'nobody'"),
    (("predict", "ASTRONAUT", "--model", "MODEL", "--detector", "hair"), "choose from auto"),
    (("predict", "ASTRONAUT", "--model", "MODEL", "--labels", "ferg"), "choose from fer2013, ferplus"),
    (("predict", "ASTRONAUT", "--model", "MODEL", "--min-score", "7"), "expected 0 to 1"),
    (("predict", "ASTRONAUT", "--model", "MODEL", "--min-confidence", "7"), "expected 0 to 1"),
    (("predict", "ASTRONAUT", "--model", "MODEL", "--csv", "no/such/folder/f.csv"), "cannot write"),
    (("predict", "ASTRONAUT", "--model", "ASTRONAUT.onnx"), "no model file"),
    (("explain", "nowhere.png", "--model", "MODEL"), "nowhere.png"),
    (("explain", "ASTRONAUT", "--model", "nobody"), "no model 'nobody'"),
    (("explain", "ASTRONAUT", "--model", "MODEL", "--label", "bored"), "expected one of neutral, happy"),
    (("explain", "ASTRONAUT", "--model", "MODEL", "--detector", "hair"), "choose from auto"),
    (("train", "tiny", "--data", "nowhere.csv"), "no dataset at 'nowhere.csv'"),
    (("train", "tiny"), "pass --data PATH or set MIEN_DATA"),
    (("train", "huge", "--data", "DRAWN"), "unknown recipe 'huge'; choose from"),
    (("train", "tiny", "--data", "DRAWN", "--set", "learning_rat=1"), "unknown setting 'learning_rat'"),
    (("train", "tiny", "--data", "DRAWN", "--set", "seed"), "is not key=value"),
    (("train", "tiny", "--data", "DRAWN", "--devices", "999"), "999 devices (--devices) are more than"),
    (("train", "--resume", "nowhere"), "not a run folder"),
    (("export", "nowhere"), "not a run folder"),
    (("evaluate", "nobody", "--data", "DRAWN"), "no model 'nobody'"),
    (("evaluate", "MODEL", "--data", "DRAWN", "--split", "training"), "unknown split 'training'"),
    (("models", "add", "ASTRONAUT", "--labels", "a,b"), "not an ONNX file"),
    (("models", "add", "MODEL", "--labels", "a,b", "--size", "3"), "takes 48 pixels a side, not 3"),
    (("models", "add", "MODEL", "--labels", "a,b,"), "no empty name"),
    (("models", "add", "MODEL", "--labels", "a,b", "--models", "x", "--name", "../evil"), "cannot be called '../evil'"),
    (("models", "add", "MODEL", "--labels", "a,b", "--graph-input", "uint8-nhwc"), "2 labels"),
    (("predict", "a\x1b[31mx", "--nope\x1b]0;t\x07[/b]"), r"option: --nope\x1b]0;t\x07[/b]; see `mien predict --help`"),
    (("predict",), "missing argument 'paths'; see `mien predict --help`"),
    (("predict", "ASTRONAUT", "--csv"), "option '--csv' requires an argument"),
    (("predict", "ASTRONAUT", "--top", "[red]many"), "invalid value for '--top'"),
    (("mo\x9bdels", "add"), r"no such command 'mo\x9bdels'"),
    (("data", "prepar"), "no such command 'prepar'"),
    (("data", "info", "ASTRONAUT"), "not a dataset that mien can read"),
    (("data", "prepare", "DRAWN", "out.txt"), "ends in .npz"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    arguments: Sequence[str], expected: str, tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"MODEL": tiny_model, "ASTRONAUT": ASTRONAUT, "DRAWN": drawn}
    before = sorted(Path().rglob("*"))
    assert expected in error_of(capsys, *(places.get(a, a) for a in arguments))
    left = [path for path in sorted(Path().rglob("*")) if path not in before and path.is_file()]
    assert left == []


def test_a_model_is_trained_exported_listed_measured_and_used(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "tiny", "--data", drawn, "--run", "run", "--set", "stages=[{size=48,epochs=2}]") == 0
    assert {p.name for p in Path("run").iterdir()} == {
        "config.json", "environment.json", "metrics.jsonl", "curves.png", "last.safetensors", "tiny.onnx",
    }  # fmt: skip
    assert "mien predict PHOTO --model run/tiny.onnx" in capsys.readouterr().out

    assert run("export", "run", "--install", "--storage", "int8") == 0
    assert "replaces" not in capsys.readouterr().err
    assert run("export", "run", "--install") == 0
    assert "'tiny' replaces your model of that name" in capsys.readouterr().err
    assert run("models", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert "tiny" in {model["name"] for model in listed}

    assert run("evaluate", "tiny", "--data", drawn, "--out", "report") == 0
    metrics = json.loads(Path("report/metrics.json").read_text())
    assert metrics["views"].keys() == {"single", "flip"}
    assert (Path("report") / "report.md").exists()

    assert run("predict", ASTRONAUT, "--model", "tiny") == 0


@pytest.mark.slow
def test_two_processes_train_one_model(drawn: Path) -> None:
    command = ["train", "tiny", "--data", str(drawn), "--run", "run", "--set", "stages=[{size=48,epochs=1}]"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mien", *command, "--devices", "2"],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch   1") == 1
    assert Path("run/tiny.onnx").exists()


def test_a_failed_adoption_loses_no_model(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "models" / "mine.onnx"
    mine.parent.mkdir()
    shutil.copy(tiny_model, mine)
    error_of(capsys, "models", "add", mine, "--labels", "a,b")
    assert mine.read_bytes() == tiny_model.read_bytes()


def test_a_model_is_adopted_with_a_known_label_set(tiny_model: Path) -> None:
    options = ["--graph-input", "uint8-nhwc", "--graph-output", "probabilities", "--models", "here", "--name", "mine"]
    assert run("models", "add", tiny_model, "--labels", "fer2013", *options) == 0
    assert read_spec(Path("here/mine.onnx")).names == ("fer2013",)


def test_probabilities_that_are_called_logits_are_warned_about(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--labels", "fer2013", "--models", "here", "--name", "mine"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run("models", "add", tiny_model, *options, "--graph-output", "logits") == 0
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("warning: the model's outputs look like probabilities")
        assert line.endswith("add it again with --graph-output probabilities")
        assert read_spec(Path("here/mine.onnx")).graph.output == "logits"
        Path("here/mine.onnx").unlink()
        assert run("models", "add", tiny_model, *options) == 0
        assert read_spec(Path("here/mine.onnx")).graph.output == "probabilities"
    assert capsys.readouterr().err == ""


def test_models_directory_may_be_named_before_add(tiny_model: Path) -> None:
    labels = ",".join(read_spec(tiny_model).labels)
    options = ["--labels", labels, "--graph-input", "uint8-nhwc", "--graph-output", "probabilities", "--name", "mine"]
    assert run("models", "--models", "here", "add", tiny_model, *options) == 0
    assert [path.name for path in Path("here").iterdir()] == ["mine.onnx"]


def test_train_resumes_a_run(drawn: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    report = _TrainingProgress.epoch

    def stop(progress: _TrainingProgress, row: Mapping[str, float]) -> None:
        report(progress, row)
        raise KeyboardInterrupt

    settings = ["--set", "stages=[{size=48,epochs=2}]"]
    with monkeypatch.context() as patch:
        patch.setattr(_TrainingProgress, "epoch", stop)
        assert run("train", "tiny", "--data", drawn, "--run", "whole", *settings) == 130
    stopped = capsys.readouterr()
    (first,) = re.findall(r"^epoch +1 .*", stopped.out, re.M)
    assert "epoch   2" not in stopped.out
    assert "resume with: mien train --resume whole" in stopped.err
    (row,) = Path("whole/metrics.jsonl").read_text().splitlines()
    assert not Path("whole/tiny.onnx").exists()
    assert run("train", "--resume", "whole") == 0
    resumed = capsys.readouterr().out
    assert first in resumed  # printed, with its time, but not trained again
    assert "epoch   2" in resumed
    rows = Path("whole/metrics.jsonl").read_text().splitlines()
    assert (rows[0], len(rows)) == (row, 2)
    assert Path("whole/tiny.onnx").exists()
    assert "already holds a run; resume it" in error_of(capsys, "train", "tiny", "--data", drawn, "--run", "whole")


def test_data_info_counts_and_draws_a_sheet(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "info", drawn, "--sheet", "sheet.png") == 0
    assert "400" in capsys.readouterr().out
    assert read_picture("sheet.png").size > 0


def commands_below(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command that does something when it is named alone."""
    parts = getattr(command, "commands", {})
    if words and (not parts or command.invoke_without_command):
        yield words
    for name, part in parts.items():
        yield from commands_below(part, (*words, name))


COMMANDS: Any = typer.main.get_command(app)  # click's, or the copy of it that newer Typers carry
EVERY = list(commands_below(COMMANDS))


def test_every_command_is_found() -> None:
    assert len(EVERY) == len(set(EVERY))
    assert {("predict",), ("train-temporal",), ("models",), ("models", "add"), ("data", "audit")} <= set(EVERY)
    assert ("data",) not in EVERY


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_of_every_command_has_examples_that_parse(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--help") == 0
    shown = capsys.readouterr().out
    command = COMMANDS
    for word in words:
        command = command.commands[word]
    _, example, text = " ".join(command.help.split()).partition("Example")
    assert example in shown
    lines = [line.split(" && ")[0] for line in re.findall(r"`(mien [^`]+)`", text)]
    assert lines
    for line in lines:
        arguments = shlex.split(line)[1:]
        assert arguments[: len(words)] == list(words)
        command.make_context(line, with_values(arguments[len(words) :]))  # raises the error that a user would see


@pytest.mark.parametrize("words", [(), ("data",)])
def test_a_group_of_commands_named_alone_prints_its_help(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run(*words)
    captured = capsys.readouterr()
    assert f"Usage: {' '.join(['mien', *words])}" in captured.out
    assert captured.err == ""


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("mien 0.")


def test_output_error_is_a_mien_error() -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_picture("no/such/folder/a.png", np.zeros((4, 4, 3), np.uint8))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no folder that a process runs in")
@pytest.mark.parametrize("arguments", [("--csv", "faces.csv"), ("--parts", "job"), ("--out", "seen")])
def test_a_working_folder_that_was_deleted_is_one_line(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str]
) -> None:
    folder = Path("gone").absolute()
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    line = error_of(capsys, "predict", ASTRONAUT, "--model", tiny_model, *arguments)
    assert line == "error: the folder that this command runs in was deleted; change to another one\n"
