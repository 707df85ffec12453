"""The command `mien quantize`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands import error_of, run
from mien.data import read_dataset
from mien.models import OnnxClassifier, find_model
from mien.models.onnx_file import read_spec, write_with_spec

pytestmark = pytest.mark.usefixtures("own_folder")


def test_a_quantised_copy_is_installed_and_answers_nearly_alike(
    drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("quantize", "base", "--out", "fast", "--data", drawn) == 0
    told = capsys.readouterr().out
    assert "time per face, one thread" in told
    assert "same label: " in told
    assert "use it: mien predict PHOTO --model fast" in told
    before, after = OnnxClassifier(find_model("base")), OnnxClassifier(find_model("fast"))
    assert (after.spec.name, after.spec.heads, after.spec.metrics) == ("fast", before.spec.heads, {})
    assert Path("models/fast.onnx").stat().st_size < 0.6 * find_model("base").stat().st_size
    faces = list(read_dataset(drawn).split("valid").images[:40])
    for one, other in zip(before.predict_heads(faces), after.predict_heads(faces), strict=True):
        assert 0 < np.abs(one - other).mean() < 0.01
    assert run("evaluate", "fast", "--data", drawn, "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"]["name"] == "fast"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "--out", "fast"], "no model 'nobody'"),
        (["base", "--out", "../fast"], "a model cannot be called"),
        (["base", "--out", "fast.npz"], "no model ends in .npz; give a name, or a file that ends in .onnx"),
        (["base-temporal", "--out", "fast"], "expected a classifier of faces"),
        (["voice", "--out", "fast"], "expected a classifier of faces"),
    ],
)
def test_what_cannot_be_quantised_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(capsys, "quantize", *arguments, "--data", drawn)
    assert not list(Path().rglob("*.onnx"))


def test_the_members_of_an_ensemble_are_quantised_instead(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ensemble", "base", "vgg-b", "--out", "two.onnx") == 0
    capsys.readouterr()
    assert "is an ensemble; quantise its members" in error_of(
        capsys, "quantize", "two.onnx", "--out", "fast", "--data", drawn
    )


def test_a_converted_model_is_not_quantised(
    drawn: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_with_spec(tiny_model, tmp_path / "converted.onnx", replace(read_spec(tiny_model), arch="foreign"))
    line = error_of(capsys, "quantize", "converted.onnx", "--out", "fast", "--data", drawn)
    assert "cannot be quantised; expected a classifier of faces that `mien train` or `mien export` wrote" in line


def test_a_quantised_model_joins_an_ensemble(drawn: Path) -> None:
    assert run("quantize", "mini", "--out", "fast.onnx", "--data", drawn) == 0
    assert run("ensemble", "fast.onnx", "vgg-b", "--out", "both.onnx") == 0
    faces = list(read_dataset(drawn).split("valid").images[:5])
    files = (Path("fast.onnx"), find_model("vgg-b"), Path("both.onnx"))
    *members, both = (OnnxClassifier(file).predict_proba(faces) for file in files)
    means = np.exp(np.mean(np.log(members), axis=0))
    np.testing.assert_allclose(both, means / means.sum(1, keepdims=True), atol=1e-5)


def test_a_model_that_will_hide_or_replace_another_or_has_no_folder_is_told_at_once(
    drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ensemble", "mini", "vgg-b", "--out", "base") == 0
    assert "'base' hides the shipped model of that name" in capsys.readouterr().err
    assert run("ensemble", "mini", "vgg-b", "--out", "base") == 0
    assert "'base' replaces your model of that name" in capsys.readouterr().err
    for command in ("quantize", "ensemble"):
        models = ["vgg-b", "mini"][: 1 + (command == "ensemble")]
        line = error_of(capsys, command, *models, "--out", "nowhere/new.onnx", "--data", drawn)
        assert "there is no such folder" in line


def test_a_quantised_model_is_not_quantised_again(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("quantize", "vgg-b", "--out", "once.onnx", "--data", drawn) == 0
    capsys.readouterr()
    assert "is quantised already" in error_of(capsys, "quantize", "once.onnx", "--out", "twice", "--data", drawn)
    assert "once.onnx" in error_of(capsys, "quantize", "once.onnx", "--out", "once.onnx", "--data", drawn)
