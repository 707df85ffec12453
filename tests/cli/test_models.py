"""The command `mien models`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from commands import error_of, run
from mien.models.onnx_file import read_spec, write_with_spec

pytestmark = pytest.mark.usefixtures("own_folder")

FACTS = {
    "name",
    "path",
    "format",
    "kind",
    "shipped",
    "hides_shipped",
    "problem",
    "labels",
    "input",
    "accuracy",
    "data",
    "license",
}


def test_json_has_the_same_keys_for_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    Path("models").mkdir()
    Path("models/net.h5").touch()
    Path("models/damaged.onnx").write_text("hello")
    assert run("models", "--json") == 0
    listed = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert all(model.keys() == FACTS for model in listed.values())
    assert (listed["base"]["kind"], listed["base"]["input"]) == ("face", "48×48 grey")
    assert (listed["base-temporal"]["kind"], listed["base-temporal"]["input"]) == ("temporal", "probabilities of base")
    assert [listed[name]["format"] for name in ("net", "damaged")] == ["keras", "onnx"]
    assert [bool(listed[name]["problem"]) for name in ("base", "net", "damaged")] == [False, True, True]


def test_a_model_that_hides_a_shipped_one_is_marked(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, hides in (("base", True), ("mine", False)):
        assert run("models", "add", tiny_model, "--name", name) == 0
        assert ("'base' hides the shipped model" in capsys.readouterr().err) == hides
    assert run("models") == 0
    listed = capsys.readouterr().out
    assert listed.count("hides the shipped ") == listed.count("hides the shipped base") == 1


def test_a_model_that_replaces_another_is_noted(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, replaces in (("mine", False), ("mine", True), ("other", False)):
        assert run("models", "add", tiny_model, "--name", name) == 0
        assert (f"'{name}' replaces your model" in capsys.readouterr().err) == replaces
    assert run("models", "add", "models/mine.onnx") == 0  # the file in its own place
    assert "replaces" not in capsys.readouterr().err


def test_a_voice_model_is_listed_with_kind_and_licence_and_sees_no_faces(
    tiny_voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("models").mkdir()
    shutil.copy(tiny_voice, "models/mine.onnx")
    assert run("models", "--json") == 0
    (model,) = [model for model in json.loads(capsys.readouterr().out) if not model["shipped"]]
    assert (model["name"], model["kind"], model["input"]) == ("mine", "voice", "speech, 1.5 to 2 s")
    error = error_of(capsys, "explain", "photo.jpg", "--model", "mine")
    assert "is a voice model, which hears speech and sees no faces" in error


def test_adding_a_non_commercial_model_says_the_terms(tiny_voice: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = Path("theirs.onnx")
    write_with_spec(tiny_voice, source, replace(read_spec(tiny_voice), name="theirs", license="CC-BY-NC-SA-4.0"))
    assert run("models", "add", str(source)) == 0
    said = capsys.readouterr()
    assert "licence: CC-BY-NC-SA-4.0: for non-commercial use only" in said.err
    assert "speech, 1.5 to 2 s" in said.out
    assert "mien listen FILE --model theirs" in said.out
    assert run("models") == 0
    assert "CC-BY-NC-SA-4.0" in capsys.readouterr().out
