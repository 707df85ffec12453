"""Models of other projects, as public reports describe them: "happy 416 %", "sad -45 %", weights in a second file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from commands import error_of, run
from foreign_models import write_foreign
from mien.labels import FER2013
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.spec import Graph, Head, ModelSpec, Preprocess

pytestmark = pytest.mark.usefixtures("own_folder")


def test_scores_declared_as_probabilities_are_refused_when_added_and_when_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    net = write_foreign(Path("net.onnx"))
    error = error_of(capsys, "models", "add", net, "--labels", "fer2013", "--graph-output", "probabilities")
    assert "net.onnx has scores from 0 to 6 with sums from 0 to 21, which are no probabilities" in error
    cv2.imwrite("face.png", np.full((8, 8), 255, np.uint8))
    wrong = ModelSpec(
        name="net",
        arch="foreign",
        heads=(Head(FER2013),),
        preprocess=Preprocess(size=8, normalize="unit"),
        graph=Graph(input="float32-nchw", output="probabilities"),
    )
    write_with_spec(net, Path("wrong.onnx"), wrong)
    error = error_of(capsys, "predict", "face.png", "--detector", "whole", "--model", "wrong.onnx")
    assert "no probabilities, as its spec says; add it again: mien models add … --graph-output logits" in error


def test_a_model_with_options_of_every_kind_is_added_and_used(capsys: pytest.CaptureFixture[str]) -> None:
    write_foreign(Path("net.onnx"), shape=(1, 3, 8, 8), k=10, extra=2, external=True)
    pixels = ("--mean", "0.5,0.5,0.5", "--std", "0.25", "--bgr")
    scores = ("--output", "y", "--columns", "3-5,0")
    options = (*pixels, *scores, "--name", "mine", "--licence", "MIT")
    assert run("models", "add", "net.onnx", "--labels", "sad,happy,neutral,angry", *options) == 0
    Path("net.onnx.data").unlink()
    cv2.imwrite("face.png", np.full((8, 8), 255, np.uint8))
    assert run("predict", "face.png", "--detector", "whole", "--model", "mine", "--jsonl", "-") == 0
    assert '"neutral": 0.8667' in capsys.readouterr().out  # softmax(2 · [3, 4, 5, 0])
    assert run("models", "add", "net.onnx", "--labels", "fer2013") == 2


def test_a_mien_model_is_added_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    write_foreign(Path("net.onnx"))
    assert run("models", "add", "net.onnx", "--labels", "fer2013", "--out", "described.onnx") == 0
    assert run("models", "add", "described.onnx", "--name", "mine", "--models", "here") == 0
    assert read_spec(Path("here/mine.onnx")).labels == FER2013
    error = error_of(capsys, "models", "add", "described.onnx", "--size", "48")
    assert "describes itself" in error
