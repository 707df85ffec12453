"""Kind of report: "a traceback, when the output goes to head, to a full disk, or to a console of another code page"."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
FULL = Path("/dev/full")
MIEN = "import sys, mien.cli; mien.cli.main()"
CLOSED = "import os, sys; os.close(1); sys.stdout = None; import mien.cli; mien.cli.main()"


def mien(*words: object, code: str = MIEN, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("words", [("models",), ("models", "--json"), ("--help",), ("predict", "PHOTO", "--csv", "-")])
def test_a_full_disk_is_one_line(words: tuple[str, ...], tiny_model: Path) -> None:
    options = ("--model", tiny_model) if "PHOTO" in words else ()
    with FULL.open("w") as full:
        done = mien(*(ASTRONAUT if word == "PHOTO" else word for word in words), *options, stdout=full)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to standard output: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("models",), ("predict", "PHOTO", "--jsonl", "-")])
def test_a_reader_that_has_gone_is_no_error_message(words: tuple[str, ...], tiny_model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    options = ("--model", tiny_model) if "PHOTO" in words else ()
    done = mien(*(ASTRONAUT if word == "PHOTO" else word for word in words), *options, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", [("models",), ("--help",), ("models", "--json"), ("predict", "PHOTO", "--csv", "-")])
def test_so_is_a_closed_output(words: tuple[str, ...], tiny_model: Path) -> None:
    options = ("--model", tiny_model) if "PHOTO" in words else ()
    done = mien(*(ASTRONAUT if word == "PHOTO" else word for word in words), *options, code=CLOSED)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to standard output: it is closed")
    assert len(done.stderr.splitlines()) == 1


def test_files_are_written_when_the_output_is_closed_and_none_takes_its_number(
    tiny_model: Path, tmp_path: Path
) -> None:
    done = mien("predict", ASTRONAUT, "--csv", "a.csv", "--model", tiny_model, code=CLOSED, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)  # the table for the terminal is lost
    header, row = (tmp_path / "a.csv").read_text().splitlines()
    assert len(header.split(",")) == len(row.split(","))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_characters_that_a_code_page_lacks_are_question_marks(encoding: str, tiny_model: Path, tmp_path: Path) -> None:
    photo = tmp_path / "\u4f60.png"
    photo.write_bytes(ASTRONAUT.read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "MIEN_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MIEN, "predict", photo.name, "missing\u4f60.png", "--model", tiny_model],
        cwd=tmp_path, capture_output=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout.decode(encoding).splitlines()[1].startswith("?.png")
    assert done.stderr.decode(encoding) == "error: no file or folder 'missing?.png'; check the path\n"
