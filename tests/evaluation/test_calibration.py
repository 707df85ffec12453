from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.data.synthetic import draw_faces
from mien.errors import DatasetError
from mien.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    NONE,
    calibration_targets,
    fit_temperature,
    fit_temperatures,
)
from mien.evaluation.metrics import ece, nll
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.classifier import OnnxClassifier, softmax


def drawn(seed: int, *, n: int, temperature: float = 1.0):
    """Make logits whose softmax at `temperature` is the true distribution of the targets."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, (n, 7)).astype(np.float32)
    targets = (softmax(honest).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return honest * np.float32(temperature), targets


def test_softmax_of_log_probabilities_returns_the_probabilities():
    probabilities = np.array([[0.2, 0.3, 0.5]], np.float32)
    np.testing.assert_allclose(softmax(np.log(probabilities)), probabilities, rtol=1e-6)


@given(st.floats(0.2, 5))
def test_softmax_undoes_a_temperature(temperature):
    logits, _ = drawn(0, n=20)
    scaled = np.log(softmax(logits, temperature=temperature))
    np.testing.assert_allclose(softmax(scaled, temperature=1 / temperature), softmax(logits), atol=1e-5)


def test_softmax_of_large_logits_is_finite():
    np.testing.assert_allclose(softmax(np.array([[1e4, 0, -1e4]], np.float32)), [[1, 0, 0]])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7, 6.0])
def test_a_known_temperature_is_recovered(temperature):
    logits, targets = drawn(1, n=20_000, temperature=temperature)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.03)


def test_the_correct_temperature_calibrates_the_model():
    logits, targets = drawn(2, n=20_000, temperature=3)
    after = softmax(logits, temperature=fit_temperature(logits, targets))
    assert ece(after, targets) < 0.02 < 0.15 < ece(softmax(logits), targets)


@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(0.1, 10))
def test_the_fitted_temperature_is_never_worse_than_none(seed, n, scale):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, scale, (n, 4)).astype(np.float32), rng.integers(0, 4, n)
    temperature = fit_temperature(logits, targets)
    assert MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE
    assert nll(softmax(logits, temperature=temperature), targets) <= nll(softmax(logits), targets) + 1e-6


@given(st.integers(0, 2**32))
def test_no_temperature_nearby_is_better_than_the_fitted_one(seed):
    logits, targets = drawn(seed, n=200, temperature=2)
    best = fit_temperature(logits, targets)
    for other in (0.9 * best, 1.1 * best):
        fitted, nearby = (nll(softmax(logits, temperature=t), targets) for t in (best, other))
        assert fitted < nearby


def test_log_probabilities_give_the_temperature_of_their_logits():
    logits, targets = drawn(3, n=500, temperature=2)
    shifted = np.log(softmax(logits))
    assert fit_temperature(shifted, targets) == pytest.approx(fit_temperature(logits, targets), rel=1e-4)


def test_images_that_are_all_right_sharpen_no_model():
    assert fit_temperature(np.eye(3, dtype=np.float32), np.arange(3)) == 1


def test_a_model_that_is_always_wrong_is_softened_to_the_bound():
    assert fit_temperature(np.eye(3, dtype=np.float32), np.array([1, 2, 0])) == pytest.approx(MAX_TEMPERATURE)


def test_uniform_logits_keep_temperature_one():
    assert fit_temperature(np.full((4, 3), 2, np.float32), np.array([0, 1, 2, 0])) == 1


def test_non_finite_logits_are_refused():
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.array([[np.nan, 0]], np.float32), np.array([0]))


def test_the_ferplus_head_is_calibrated_on_the_majority_of_its_raters() -> None:
    """A single vote doesn't count, and neither does a lead without a majority."""
    votes = np.zeros((4, 10), np.float32)
    votes[0, [0, 1, 2]] = 6, 3, 1  # neutral; without the single vote 6 of 9
    votes[1, [1, 0]] = 5, 5  # a tie
    votes[2, [3, 4, 5]] = 4, 3, 3  # sad leads, but has no majority
    votes[3, [2, 9]] = 8, 2  # surprise
    images = replace(draw_faces(4, seed=0, size=24), votes=votes)
    assert calibration_targets(images, FERPLUS, "fer2013").tolist() == [0, NONE, NONE, 2]
    assert (calibration_targets(images, FER2013, "fer2013") == images.targets).all()


def test_heads_are_calibrated_on_the_valid_split_where_it_has_targets(tiny_model):
    dataset = draw_faces(60, seed=0, size=24)
    classifier = OnnxClassifier(tiny_model)
    found = fit_temperatures(classifier, dataset, batch_size=7)
    valid = dataset.split("valid")
    logs = np.log(classifier.predict_proba(list(valid.images), head="fer2013"))
    assert found == {"fer2013": pytest.approx(fit_temperature(logs, valid.targets))}


def test_a_dataset_of_other_labels_cannot_calibrate_a_model(tiny_model):
    dataset = draw_faces(60, seed=0, size=24)
    other = replace(dataset, labels=LabelSet("other", tuple(f"{label}!" for label in dataset.labels)))
    with pytest.raises(DatasetError, match="has no targets for the labels"):
        fit_temperatures(OnnxClassifier(tiny_model), other)
