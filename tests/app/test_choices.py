"""The lists of the window use everyday words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.app.choices import describe, detector_title, is_for_cartoons, label_title, model_title
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.models.store import Model, list_models
from mien.vision.detect import DETECTORS


def spec(**fields: object) -> ModelSpec:
    return ModelSpec(name="mine", arch="foreign", heads=(Head(FER2013),), preprocess=Preprocess(), **fields)  # type: ignore[arg-type]


def model(found: ModelSpec) -> Model:
    return Model(found.name, Path("mine.onnx"), False, found)


def test_detectors_have_titles_of_their_own() -> None:
    titles = [detector_title(name) for name in DETECTORS]
    assert {"standard (Haar)", "accurate (YuNet)", "whole picture", "Haar (alt)"} <= set(titles)
    assert len(set(titles)) == len(titles)


def test_label_sets_say_how_many_expressions_they_have() -> None:
    assert label_title(FER2013) == "7 expressions (FER2013)"
    assert label_title(FERPLUS) == "8 expressions (FER+)"
    assert label_title(LabelSet("mine", ("a", "b"))) == "2 expressions (mine)"


@pytest.mark.parametrize(
    ("trained_on", "title"),
    [
        ({"name": "fer2013"}, "mine"),
        ({"name": "ferg-db"}, "mine (cartoons)"),
        ({"name": "cartoons-ada", "made": "mien data draw cartoons"}, "mine (cartoons)"),
        ({"name": "my-faces"}, "mine"),
        ({}, "mine"),
    ],
)
def test_a_model_for_cartoons_is_marked_by_its_training_data(trained_on: dict[str, str], title: str) -> None:
    assert model_title(model(spec(trained_on=trained_on))) == title


def test_of_the_shipped_models_ferg_alone_is_for_cartoons(tmp_path: Path) -> None:
    specs = [model.spec for model in list_models(tmp_path) if model.spec is not None]
    assert [found.name for found in specs if is_for_cartoons(found)] == ["ferg"]


def test_a_description_names_data_accuracy_and_licence() -> None:
    text = describe(spec(trained_on={"name": "fer2013"}, metrics={"test/flip/accuracy": 0.736}, license="Apache-2.0"))
    assert text.splitlines() == [
        "For photos, cameras and videos.",
        "Trained on FER2013; accuracy on its test images: 74 %.",
        "Licence of the weights: Apache-2.0.",
    ]
    assert "unknown data" in describe(spec())
    assert describe(spec(trained_on={"name": "ferg"})).startswith("For drawn faces")
