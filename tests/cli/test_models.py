"""The command `mien models`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from commands import error_of, run
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.spec import Kind

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


@pytest.mark.parametrize("kind", ["voice"])
def test_models_of_later_kinds_are_listed_but_cannot_be_used(
    kind: Kind, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("models").mkdir()
    spec = replace(read_spec(tiny_model), kind=kind, input="sound", version=3)
    write_with_spec(tiny_model, Path("models/later.onnx"), spec)
    assert run("models", "--json") == 0
    (model,) = [model for model in json.loads(capsys.readouterr().out) if not model["shipped"]]
    assert (model["name"], model["kind"], model["input"]) == ("later", kind, "sound")
    error = error_of(capsys, "explain", "photo.jpg", "--model", "later")
    assert f"this mien cannot use models of kind '{kind}'; upgrade mien" in error
