"""Model files made to mislead or to break: their names and specs are shown and never act."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from commands import error_of, run
from mien.labels import LabelSet
from mien.models.onnx_file import SPEC_KEY, _message, read_spec, write_with_spec
from mien.models.spec import Head
from mien.models.store import find_model

MARKUP = "[/b][red]<b>&"

pytestmark = pytest.mark.usefixtures("own_folder")


def with_raw_spec(target: Path, text: str) -> Path:
    """Write the shipped model with any text in the place of its spec."""
    target.parent.mkdir(exist_ok=True)
    model = _message("ModelProto").FromString(find_model("base").read_bytes())
    (entry,) = (entry for entry in model.metadata_props if entry.key == SPEC_KEY)
    entry.value = text
    target.write_bytes(model.SerializeToString())
    return target


def test_markup_in_names_and_licences_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("models").mkdir()
    spec = read_spec(find_model("base"))
    labels = LabelSet(MARKUP, (MARKUP, "sad", *(f"label {i}" for i in range(5))))
    spec = replace(spec, name=MARKUP, license=MARKUP, heads=(Head(labels), *spec.heads[1:]))
    write_with_spec(find_model("base"), Path("models/[bold]mine.onnx"), spec)
    Path("models/[red]broken.onnx").write_text("no model")
    assert run("models") == 0
    printed = capsys.readouterr()
    assert f"{MARKUP} (7)" in printed.out
    assert "[bold]mine" in printed.out
    assert "[red]broken.onnx" in printed.err


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "'heads' is 3; expected a list"),
        ({"name": "\x1b[2J"}, "control codes"),
        ({"metrics": {"test/flip/accuracy": float("nan")}}, "expected a finite number"),
    ],
)
def test_a_damaged_spec_is_one_line_in_every_command(
    command: str, changes: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = json.loads(read_spec(find_model("base")).to_json())
    path = with_raw_spec(Path("models/mine.onnx"), json.dumps(plain | changes))
    error = error_of(capsys, command, "photo.jpg", "--model", path)
    assert str(path) in error
    assert message in error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_what_is_no_file_in_the_models_directory_is_listed_with_its_problem(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("models/folder.onnx").mkdir(parents=True)
    Path("models/link.onnx").symlink_to("nowhere")
    os.mkfifo("models/pipe.onnx")
    assert run("models") == 0
    problems = capsys.readouterr().err
    assert all(f"models/{name}.onnx" in problems for name in ("folder", "link", "pipe"))
