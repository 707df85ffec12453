"""`mien predict` of many files: several processes, and runs that were stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from commands import error_of, mien, run
from mien.sources.paths import PICTURE_SUFFIXES

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
N = 12
pytestmark = [pytest.mark.usefixtures("own_folder")]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    assert PHOTO.suffix in PICTURE_SUFFIXES
    (tmp_path / "album").mkdir()
    for i in range(N):
        shutil.copy(PHOTO, tmp_path / "album" / f"{i:02}.png")
    (tmp_path / "album" / "05 broken.png").write_bytes(PHOTO.read_bytes()[:2000])
    return Path("album")


SLOWLY = """
import time, mien.collection, mien.shards

def slowly(results):
    def each(*values, **options):
        for result in results(*values, **options):
            yield result
            time.sleep(0.3)
    return each

mien.collection.recognize_files, mien.shards.run = map(slowly, (mien.collection.recognize_files, mien.shards.run))
"""  # with pauses in which a signal comes before the end


def predict(*options: object) -> list[str]:
    return ["predict", "album", "--detector", "whole", "--model", "vgg-b", *map(str, options)]


def test_several_processes_print_and_write_the_same(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*predict("--csv", "one.csv", "--jsonl", "one.jsonl")) == 2
    one = capsys.readouterr()
    assert run(*predict("--csv", "two.csv", "--jsonl", "two.jsonl", "--workers", 2)) == 2
    assert capsys.readouterr() == one
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()
    assert not list(Path().glob("*.journal"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_is_resumed_with_the_same_bytes(
    number: signal.Signals, album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*predict("--csv", "whole.csv")) == 2
    command = mien(*predict("--csv", "faces.csv", "--workers", 2), first=SLOWLY)
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        table = Path("faces.csv")
        while process.poll() is None and not (table.exists() and table.read_bytes().count(b"\n") > 3):
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert "done; the same command with --resume continues" in errors
    assert table.read_bytes() != Path("whole.csv").read_bytes()
    capsys.readouterr()
    assert run(*predict("--csv", "faces.csv", "--resume")) == 2
    captured = capsys.readouterr()
    assert "resumed: " in captured.out
    assert "05 broken.png" in captured.err
    assert table.read_bytes() == Path("whole.csv").read_bytes()


def test_resuming_with_another_model_is_refused(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*predict("--csv", "faces.csv", "--resume")) == 2
    capsys.readouterr()
    error = error_of(capsys, *predict("--csv", "faces.csv", "--resume", "--min-confidence", 0.5))
    assert "was begun with min_confidence = '0.0', now it is '0.5'" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers is '0'; expected 1 to 256, or auto"),
        (["--workers", "many"], "--workers is 'many'"),
        (["--workers", "²"], "--workers is '²'"),
        (["--parts", "-"], "--parts writes many files, so not to standard output; expected a folder"),
        (["--resume"], "needs a table in a regular file"),
        (["--resume", "--csv", "-"], "needs a table in a regular file"),
        (["--resume", "--csv", "a.csv", "--jsonl", "-"], "needs a table in a regular file"),
    ],
)
def test_impossible_options_are_one_line(
    options: list[str], message: str, album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(capsys, *predict(*options))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are those of Unix")
def test_a_table_goes_into_a_pipe_without_a_journal(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()), daemon=True)
    reader.start()
    assert run(*predict("--csv", "pipe")) == 2  # for the broken picture
    reader.join(20)
    assert run(*predict("--csv", "file.csv")) == 2
    assert read == [Path("file.csv").read_text()]
    assert Path("pipe").is_fifo()
    assert not Path("pipe.journal").exists()
    capsys.readouterr()
    assert "needs a table in a regular file" in error_of(capsys, *predict("--csv", "pipe", "--resume"))


def test_a_device_that_is_not_there_is_one_line(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown device 'gpu'; choose from auto, cuda" in error_of(capsys, *predict("--device", "gpu"))
    assert run(*predict("--device", "auto", "--csv", "auto.csv")) == 2  # for the broken picture
    assert run(*predict("--csv", "cpu.csv")) == 2
    assert Path("auto.csv").read_text().count("\n") == Path("cpu.csv").read_text().count("\n")


class TestParts:
    def test_a_job_is_written_once_and_continues(self, album: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = predict("--parts", "faces", "--shard", 5)
        assert run(*command) == 2
        first = capsys.readouterr()
        assert first.out.splitlines()[0].startswith("13 files, 12 faces: ")
        assert "3 parts in faces/parts" in first.out
        assert "1 error in faces/errors.csv" in first.out
        assert "05 broken.png" in first.err
        assert run(*command) == 2
        second = capsys.readouterr()
        assert second.out == "resumed: 13 files done before, not read again\n" + first.out
        assert second.err == ""
        (album / "05 broken.png").unlink()
        assert run(*command, "--retry-errors") == 0
        assert "12 files, 12 faces" in capsys.readouterr().out

    @pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
    def test_a_stopped_job_continues_with_the_same_command(
        self, number: signal.Signals, album: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = predict("--parts", "faces", "--shard", 2, "--workers", 2)
        command = mien(*options, first=SLOWLY)
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            while process.poll() is None and not list(Path("faces").glob("parts/part-*")):
                time.sleep(0.01)
            process.send_signal(number)
            _, errors = process.communicate()
        assert process.returncode == (130 if number == signal.SIGINT else -number)
        if number == signal.SIGINT:
            assert "kept; the same command continues" in errors
        assert len(list(Path("faces").glob("parts/part-*"))) < 7
        assert run(*options) == 2
        assert run(*predict("--parts", "whole", "--shard", 2)) == 2
        parts = sorted(Path("faces/parts").iterdir())
        assert [part.name for part in parts] == [f"part-{n:06}.csv" for n in range(7)]
        assert [part.read_bytes() for part in parts] == [
            part.read_bytes() for part in sorted(Path("whole/parts").iterdir())
        ]
        assert not list(Path("faces").glob(".mien-*"))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--csv", "a.csv"], "--csv cannot be combined with --parts: a job only writes its parts"),
            (["--out", "a"], "--out cannot be combined with --parts"),
            (["--json"], "--json cannot be combined with --parts"),
            (["--voice", "default"], "--voice cannot be combined with --parts"),
            (["--summary"], "--summary cannot be combined with --parts"),
            (["--top", "2"], "--top cannot be combined with --parts"),
            (["--resume"], "--resume cannot be combined with --parts: a job resumes by itself"),
            (["--format", "xlsx"], "no format 'xlsx' of parts; choose from csv, jsonl, parquet"),
            (["--shard", "0"], "'--shard'"),
        ],
    )
    def test_options_that_do_not_go_with_parts(
        self, options: list[str], message: str, album: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert message in error_of(capsys, *predict("--parts", "faces", *options))
        assert not Path("faces").exists()

    @pytest.mark.parametrize(
        "options", [["--format", "csv"], ["--shard", 3], ["--shard-frames", 3], ["--retry-errors"]]
    )
    def test_options_that_need_parts(
        self, options: list[object], album: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert f"{options[0]} needs --parts; add --parts DIR or omit {options[0]}" in error_of(
            capsys, *predict(*options)
        )
