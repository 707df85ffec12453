from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import ModelError
from mien.labels import FER2013, LabelSet
from mien.models.classifier import OnnxClassifier, load_classifier, normalize_array, softmax
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.spec import Head, Normalize
from mien.models.store import list_models
from mien.nets.nets import normalize

RNG = np.random.default_rng(0)


def test_faces_of_any_size_and_colour_get_a_distribution(tiny_model: Path) -> None:
    crops = [RNG.integers(0, 256, shape, np.uint8) for shape in ((48, 48), (13, 20, 3), (200, 200, 1), (1, 1, 3))]
    probabilities = OnnxClassifier(tiny_model).predict_proba(crops)
    assert probabilities.shape == (4, 8)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_a_batch_gives_the_same_probabilities_as_its_faces_one_by_one(tiny_model: Path) -> None:
    classifier = OnnxClassifier(tiny_model)
    crops = [RNG.integers(0, 256, (48, 48, 3), np.uint8) for _ in range(5)]
    alone = np.concatenate([classifier.predict_proba([crop]) for crop in crops])
    np.testing.assert_allclose(classifier.predict_proba(crops), alone, atol=1e-6)


def test_no_face_gives_no_row(tiny_model: Path) -> None:
    assert OnnxClassifier(tiny_model).predict_proba([]).shape == (0, 8)


def test_a_head_is_chosen_by_name(tiny_model: Path) -> None:
    classifier = OnnxClassifier(tiny_model)
    face = [np.zeros((48, 48), np.uint8)]
    assert classifier.predict_proba(face, head="fer2013").shape == (1, 7)
    with pytest.raises(ModelError, match="choose from fer2013, ferplus"):
        classifier.predict_proba(face, head="ferg")


def test_a_spec_with_the_wrong_number_of_labels_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    short = LabelSet("fer2013", FER2013.labels[:5])
    write_with_spec(tiny_model, tmp_path / "net.onnx", replace(read_spec(tiny_model), heads=(Head(short),)))
    with pytest.raises(ModelError, match=r"returns shape \(1, 7\) for 1 faces and 5 labels"):
        OnnxClassifier(tmp_path / "net.onnx").predict_proba([np.zeros((48, 48), np.uint8)])


def test_a_damaged_graph_is_one_clear_error(tiny_model: Path, tmp_path: Path) -> None:
    content = bytearray(tiny_model.read_bytes())
    content[200:230] = b"\x00" * 30
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        OnnxClassifier(tmp_path / "net.onnx").predict_proba([np.zeros((48, 48), np.uint8)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["unit", "signed", "standardize", "none"])
def test_normalisation_outside_the_graph_equals_that_of_the_nets(mode: Normalize) -> None:
    pixels = RNG.integers(0, 256, (3, 8, 8, 3), np.uint8)
    expected = normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), mode).permute(0, 2, 3, 1)
    np.testing.assert_allclose(normalize_array(pixels, mode), expected.numpy(), atol=1e-5)


def test_softmax_agrees_with_torch_even_for_large_numbers() -> None:
    logits = RNG.normal(0, 200, (6, 7)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits), torch.from_numpy(logits).softmax(1).numpy(), atol=1e-6)


@pytest.mark.parametrize("name", [model.name for model in list_models(Path("none")) if model.shipped])
def test_every_shipped_model_predicts_with_each_head(name: str) -> None:
    classifier = load_classifier(name)
    for label_set in classifier.spec.names:
        assert classifier.predict_proba([np.zeros((48, 48, 3), np.uint8)], head=label_set).shape[0] == 1
