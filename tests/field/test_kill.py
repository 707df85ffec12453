"""Kind of report: "the machine went down, and the file it was writing is half"."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import run
from mien.data.prepared import prepare
from mien.data.synthetic import draw_faces

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
KILLED = """
import os, signal, sys, mien.cli
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # all is written, but not yet in its place
mien.cli.main()
"""
GRAPH = "--graph-input uint8-nhwc --graph-output probabilities"
WRITERS = {
    "predict photo.png --out seen --model mine.onnx": "seen/photo.png",
    f"models add mine.onnx --labels fer2013 {GRAPH} --name added --models models": "models/added.onnx",
    "data prepare data.npz small.npz --subset 4": "small.npz",
    "data audit data.npz --out audited": "audited/audit.npz",
}


@pytest.mark.parametrize(("words", "target"), WRITERS.items())
def test_a_killed_writer_leaves_the_old_file_and_can_be_run_again(
    words: str, target: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ASTRONAUT, "photo.png")
    shutil.copy(tiny_model, "mine.onnx")
    prepare(draw_faces(12, seed=0), Path("data.npz"))
    path = Path(target)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"old")
    environment = {**os.environ, "MIEN_OFFLINE": "1"}
    killed = subprocess.run([sys.executable, "-c", KILLED, *words.split()], env=environment, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert path.read_bytes() == b"old"
    assert run(*words.split()) == 0
    assert path.stat().st_size > 100
