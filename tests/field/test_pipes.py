"""Kind of report: "it hangs": a pipe, which may never be written to, in place of a file."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from commands import run

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="named pipes have no files there"),
    pytest.mark.usefixtures("own_folder"),
]
ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
READS = [
    *(f"data info {name}" for name in ("p.csv", "p.csv.gz", "p.npz", "p.zip", "p.tsv", "p")),
    *(f"data prepare {name} out.npz" for name in ("p.csv", "p.npz")),
    "data info fer.csv --votes p.csv",
    "data audit p.csv",
    "convert p.h5 --labels fer2013",
    "convert p.keras --labels fer2013",
    "convert p.json --labels fer2013",
    "train p.toml --data fer.csv",
    "models add p.onnx --labels fer2013",
    "evaluate MODEL --data fer.csv --slices p.csv",
    "evaluate MODEL --data fer.csv --audit p.npz",
    "evaluate MODEL --data fer.csv --votes p.csv",
    "predict p.png --model MODEL",
    "live p.mp4 --model MODEL --no-window --csv faces.csv",
    "listen p.wav",
]


@pytest.mark.parametrize("command", READS)
def test_no_command_waits_for_a_pipe_in_place_of_a_file(
    command: str, tiny_model: Path, pixel_csv: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tiny_model) if word == "MODEL" else word for word in command.split()]
    pipe = next(word for word in words if word.split(".")[0] == "p")
    os.mkfifo(pipe)
    assert run(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{pipe}" in line
    assert "neither a file nor a folder" in line
    assert ("a sound file" in line) == (words[0] == "listen")


@pytest.fixture
def pixel_csv() -> None:
    rows = [f"{emotion},{' '.join(['0 255'] * 1152)},{usage}" for usage in ("Training", "PublicTest", "PrivateTest")
            for emotion in range(7)]  # fmt: skip
    Path("fer.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))


def test_a_table_is_not_written_to_a_pipe_that_nothing_reads(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ASTRONAUT, "a.png")
    os.mkfifo("out.csv")
    assert run("predict", "a.png", "--model", str(tiny_model), "--detector", "whole", "--csv", "out.csv") == 2
    assert "cannot write 'out.csv': it is a pipe that no program reads" in capsys.readouterr().err


def test_a_table_is_written_to_a_pipe_that_is_read(tiny_model: Path) -> None:
    shutil.copy(ASTRONAUT, "a.png")
    os.mkfifo("out.csv")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("out.csv").read_text()))
    reader.start()
    keep = os.open("out.csv", os.O_WRONLY)  # waits for the reader
    try:
        assert run("predict", "a.png", "--model", str(tiny_model), "--detector", "whole", "--csv", "out.csv") == 0
    finally:
        os.close(keep)
        reader.join()
    assert read[0].startswith("source,index")
