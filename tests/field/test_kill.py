"""Kind of report: "the machine went down, and the file it was writing is half", "two jobs wrote one file"."""

from __future__ import annotations

import csv
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clips import write_video
from forks import Forks, forks
from mien.data.prepared import prepare
from mien.data.readers import read_dataset
from mien.data.synthetic import draw_faces
from mien.models.onnx_file import read_spec
from mien.sources.frames import frames
from mien.sources.pictures import read_picture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL, fork and locks of Unix")

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
GRAPH = "--graph-input uint8-nhwc --graph-output probabilities"
PREDICT = "predict photo.png clip.avi --model mine.onnx"
LIVE = "live clip.avi --no-window --model mine.onnx"
ADD = f"models add mine.onnx --labels fer2013 {GRAPH} --name added --models models"
WRITERS = {
    f"{PREDICT} --out seen --csv a.csv --jsonl a.jsonl": ["seen/photo.png", "seen/clip.avi", "a.csv", "a.jsonl"],
    f"{LIVE} --csv a.csv --jsonl a.jsonl --video a.avi --out out": [
        "a.csv", "a.jsonl", "a.avi", "out/statistics.json", "out/statistics-tracks.png"
    ],
    f"{LIVE} --video a.mkv": ["a.mkv"],
    ADD: ["models/added.onnx"],
    "data prepare data.npz small.npz --subset 40": ["small.npz"],
    "data audit data.npz --out audited": ["audited/audit.csv", "audited/audit.json", "audited/examples.png"],
    "data export data.npz faces": ["faces/test/happy"],
}  # fmt: skip


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("cache")) as started:
        yield started


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """Return a folder with a picture, a clip, a model and a dataset."""
    shutil.copy(ASTRONAUT, tmp_path / "photo.png")
    shutil.copy(tiny_model, tmp_path / "mine.onnx")
    write_video(tmp_path / "clip.avi", n=12)
    prepare(draw_faces(60, seed=0), tmp_path / "data.npz")
    return tmp_path


def check_whole(path: Path) -> None:
    """Read a product to its end."""
    if path.is_dir():
        assert all(len(read_picture(picture)) for picture in path.iterdir())
    elif path.suffix == ".csv":
        check_rows(path.read_text())
    elif path.suffix in (".json", ".jsonl"):
        texts = path.read_text()
        assert all(json.loads(text) for text in ([texts] if path.suffix == ".json" else texts.splitlines()))
    elif path.suffix == ".png":
        assert read_picture(path).size
    elif path.suffix in (".avi", ".mkv"):
        assert sum(1 for _ in frames(path)) > 0
    elif path.suffix == ".onnx":
        assert read_spec(path).name == "added"
    else:
        assert len(read_dataset(path)) == 40


def check_rows(text: str) -> None:
    rows = list(csv.reader(text.splitlines()))
    assert {len(row) for row in rows} == {len(rows[0])}


def check_growing(path: Path) -> None:
    """Read a table after a kill: all rows are whole, but for a last one without its line end."""
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    assert len(whole) >= len(lines) - 1
    if path.suffix == ".jsonl":
        assert all(json.loads(line) for line in whole)
    elif whole:
        check_rows("".join(whole))


def remove_dataset(folder: Path) -> None:
    """Remove an exported dataset, since only a new or an empty folder is taken."""
    if (folder / "faces" / "train").exists():
        shutil.rmtree(folder / "faces")


every_writer = pytest.mark.parametrize(("words", "targets"), WRITERS.items(), ids=[words[:12] for words in WRITERS])


@every_writer
def test_a_writer_killed_at_any_moment_leaves_no_half_file_and_can_be_run_again(
    words: str, targets: list[str], folder: Path, commands: Forks
) -> None:
    products, dice = [folder / target for target in targets], random.Random(words)
    seconds = commands.run(folder, words).seconds
    for _ in range(3):
        remove_dataset(folder)
        commands.run(folder, words, killed=dice.random() * seconds)
        for path in filter(Path.exists, products):
            if path.suffix == ".mkv":
                continue  # see tests/sinks
            check_growing(path) if path.name in ("a.csv", "a.jsonl") else check_whole(path)
    remove_dataset(folder)
    ended = commands.run(folder, words)
    assert ended.codes == [0], ended.texts
    for path in products:
        check_whole(path)
    assert [*folder.glob(".mien-*"), *products[0].parent.glob(".mien-*")] == []


@every_writer
def test_a_writer_killed_before_the_last_step_leaves_the_old_file(
    words: str, targets: list[str], folder: Path, commands: Forks
) -> None:
    path = folder / targets[-1]
    if path.name in ("a.jsonl", "a.mkv", "happy"):
        pytest.skip("no old file is replaced in one step")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"old")
    assert commands.run(folder, words, killed="replace").codes == [-9]
    assert path.read_bytes() == b"old"


@every_writer
def test_two_processes_on_one_output_leave_whole_files(
    words: str, targets: list[str], folder: Path, commands: Forks
) -> None:
    ended = commands.run(folder, words, words)
    assert 0 in ended.codes
    for code, text in zip(ended.codes, ended.texts, strict=True):
        assert code in (0, 2)
        assert "Traceback" not in text
        assert code == 0 or [line[:6] for line in text.splitlines()][-1:] == ["error:"], text
    for target in targets:
        check_whole(folder / target)
    assert list(folder.rglob(".mien-*")) == []


@pytest.mark.slow
def test_a_kill_or_a_second_process_harms_no_training_and_no_export(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("torch")
    start = "train tiny --data data.npz --run run --set stages=[{size=48,epochs=1}] --set batch_size=8"
    run, model, dice = folder / "run", folder / "run" / "tiny.onnx", random.Random(0)
    with forks(tmp_path_factory.mktemp("cache"), "nets", "training") as commands:
        two = commands.run(folder, start, start)
        assert sorted(two.codes) == [0, 2], two.texts
        assert "already holds a run" in two.texts[two.codes.index(2)]
        assert read_spec(model).name == "tiny"
        shutil.rmtree(run)
        commands.run(folder, start, killed=dice.random() * two.seconds)
        assert not model.exists() or read_spec(model).name == "tiny"
        again = "train --resume run" if (run / "config.json").exists() else start
        assert commands.run(folder, again).codes == [0]
        model.write_bytes(b"old")
        assert commands.run(folder, "export run", killed="replace").codes == [-9]
        assert model.read_bytes() == b"old"
        assert commands.run(folder, "export run", "export run").codes == [0, 0]
    assert read_spec(model).name == "tiny"
    assert list(folder.rglob(".mien-*")) == []
