"""Kind of report: "Ctrl-C, or `docker stop`, prints a traceback of numpy's import"."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
STOPPED_AT = """
import os, signal, sys, mien.cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
name, number = sys.argv.pop(1), int(sys.argv.pop(1))

class Finder:
    def find_spec(self, module, *_):
        if module == name:
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Finder())
mien.cli.main()
"""
STOPPED_BEFORE = STOPPED_AT.replace(", mien.cli\n", "\n").replace(
    "mien.cli.main()", "import runpy; runpy.run_module('mien')"
)
STOPPED_AFTER = """
import atexit, os, runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(os.kill, os.getpid(), signal.SIGINT)
runpy.run_module("mien", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["typer", "mien.collection", "mien.models.classifier", "mien.drawing.faces"])
def test_a_stop_at_any_moment_is_one_line_and_leaves_no_half_file(
    module: str, number: int, tiny_model: Path, tmp_path: Path
) -> None:
    words = ["predict", ASTRONAUT, "--out", "seen", "--csv", "a.csv", "--model", tiny_model]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_AT, module, str(number), *words],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "MIEN_OFFLINE": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "stopped\n")
    assert [path.name for path in tmp_path.rglob(".mien-*")] == []


def test_so_is_ctrl_c_while_the_program_starts_or_ends() -> None:
    command = [sys.executable, "-c", STOPPED_BEFORE, "mien.cli", str(int(signal.SIGINT)), "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")
    done = subprocess.run([sys.executable, "-c", STOPPED_AFTER, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout[:5], done.stderr) == (130, "mien ", "stopped\n")
