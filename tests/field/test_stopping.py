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
