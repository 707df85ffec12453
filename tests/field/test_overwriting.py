"""Kind of report: "I left out the file name after --csv, the shell gave it my photo, and the photo was gone"."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from clips import write_video
from commands import error_of
from mien.data.prepared import prepare
from mien.data.synthetic import draw_faces

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
COMMANDS = [
    "predict --csv photo.png photo.png --model MODEL",
    "predict --csv other.png photo.png --model MODEL",
    "predict photo.png --jsonl hard.txt --model MODEL",
    "predict clip.mp4 --csv clip.mp4 --model MODEL",
    "predict photo.png --out . --model MODEL",
    "live clip.mp4 --csv link.txt",
    "live clip.mp4 --no-window --csv clip.mp4",
    "live . --no-window --video clip.mp4",
    "live . --no-window --out .",
    "explain photo.png --model photo-explained.onnx --out photo.png",
    "data info data.npz --sheet data.npz",
    "data info classes --sheet classes/sad/a.png",
    "data prepare data.npz ./data.npz",
    "data prepare linked.npz data.npz",
    "data audit classes --out classes",
    "data draw new --sheet new",
    "evaluate mine.onnx --data data.npz --slices confusion_flip.csv --out .",
    "evaluate mine.onnx --data classes --out classes",
    "compare mine.onnx mine.onnx --data classes --out classes",
    "train base --data classes --run classes",
    "train-temporal --model mine.onnx --out mine.onnx",
    "convert keras.h5 --labels a,b --out linked.onnx",
]


@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_overwrites_a_file_that_it_reads(
    words: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "train" in words:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "other.png", "classes/sad/a.png", "classes/happy/a.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ASTRONAUT, name)
    shutil.copy(tiny_model, "mine.onnx")
    write_video(Path("clip.mp4"), n=3)
    prepare(draw_faces(8, seed=0), Path("data.npz"))
    Path("confusion_flip.csv").write_text("file,light\n1.png,dim\n")
    Path("keras.h5").write_bytes(b"\x89HDF")
    Path("hard.txt").hardlink_to("photo.png")
    for link, file in (("link.txt", "clip.mp4"), ("linked.npz", "data.npz"), ("linked.onnx", "keras.h5")):
        Path(link).symlink_to(file)
    before = {path: path.read_bytes() for path in Path().rglob("*.*")}
    line = error_of(capsys, *words.replace("MODEL", str(tiny_model)).split())
    assert re.search("would overwrite|the suffix of|is read, so|is a (file|folder)|results for one file", line), line
    assert {path: path.read_bytes() for path in Path().rglob("*.*")} == before
