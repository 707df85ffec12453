"""ONNX models of other origin get a spec, and are tried first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError, MienError, ModelError
from mien.labels import FER2013
from mien.models.adopt import adopt_model
from mien.models.classifier import OnnxClassifier
from mien.models.spec import Graph, Output, Preprocess

GREY8 = Preprocess(size=8, normalize="unit")


def graph(output: Output = "logits") -> Graph:
    return Graph(input="float32-nchw", output=output)


def test_an_adopted_model_has_a_spec_and_predicts(foreign: Path, tmp_path: Path) -> None:
    path = adopt_model(
        foreign, labels="fer2013", preprocess=GREY8, graph=graph(), name="mine", license="MIT", models_dir=tmp_path
    )
    classifier = OnnxClassifier(path)
    assert (path, classifier.spec.name, classifier.spec.license) == (tmp_path / "mine.onnx", "mine", "MIT")
    assert (classifier.spec.labels, classifier.spec.kind) == (FER2013, "face")
    white = classifier.predict_proba([np.full((8, 8), 255, np.uint8)])
    np.testing.assert_allclose(white[0], np.exp(range(7)) / np.exp(range(7)).sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("labels", "preprocess", "error", "message"),
    [
        ("a,b,c", GREY8, ModelError, r"returns shape \(2, 7\) for 2 faces and 3 labels"),
        ("fer2013", Preprocess(size=9, normalize="unit"), ModelError, "rejects the input that its spec describes"),
        ("fer13", GREY8, ConfigError, "unknown label set 'fer13'"),
    ],
)
def test_a_wrong_description_is_refused_and_nothing_is_written(
    labels: str, preprocess: Preprocess, error: type[MienError], message: str, foreign: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        adopt_model(foreign, labels=labels, preprocess=preprocess, graph=graph(), models_dir=tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
