"""The command `mien ensemble`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import error_of, run
from mien.models.onnx_file import read_spec

pytestmark = pytest.mark.usefixtures("own_folder")


def test_an_ensemble_is_installed_calibrated_and_evaluated(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ensemble", "base", "vgg-b", "--out", "both", "--data", drawn) == 0
    assert "temperature of fer2013" in capsys.readouterr().out
    spec = read_spec(Path("models/both.onnx"))
    assert spec.head("fer2013").temperature != 1
    assert run("models", "--json") == 0
    listed = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert (listed["both"]["kind"], listed["both"]["shipped"]) == ("ensemble", False)
    assert run("evaluate", "both", "--data", drawn, "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"]["name"] == "both"


def test_an_ensemble_is_written_to_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ensemble", "base", "vgg-b", "--out", "two.onnx") == 0
    assert {head.temperature for head in read_spec(Path("two.onnx")).heads} == {1.0}
    assert "--model two.onnx" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base", "--out", "one"], "an ensemble of 1"),
        (["base", "nobody", "--out", "two"], "no model 'nobody'"),
        (["base", "vgg-b", "--out", "../two"], "a model cannot be called"),
        (["base", "base-temporal", "--out", "two"], "is of kind 'temporal'"),
    ],
)
def test_bad_members_are_one_line_and_leave_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(capsys, "ensemble", *arguments)
    assert not list(Path().rglob("*.onnx"))


def test_an_ensemble_does_not_replace_its_member(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ensemble", "base", "vgg-b", "--out", "two.onnx") == 0
    capsys.readouterr()
    assert "two.onnx" in error_of(capsys, "ensemble", "two.onnx", "base", "--out", "two.onnx")
    assert [member.name for member in read_spec(Path("two.onnx")).members] == ["base", "vgg-b"]
