import numpy as np
import pytest

from mien.errors import DatasetError
from mien.evaluation.evaluate import evaluate, evaluate_predictions, evaluated_rows
from mien.evaluation.metrics import nll
from mien.evaluation.score import score
from mien.evaluation.views import predict_views
from mien.labels import FER2013, FERPLUS

PROBABILITIES = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]], np.float32)
TARGETS = np.array([0, 1, 1])


def test_predictions_alone_are_scored_without_model_or_dataset():
    result = score(PROBABILITIES, TARGETS)
    assert (result.accuracy.correct, result.accuracy.n) == (2, 3)
    assert result.confusion.tolist() == [[1, 0], [1, 1]]
    assert result.calibration.nll == pytest.approx(nll(PROBABILITIES, TARGETS), rel=1e-6)
    assert (result.leak_free, result.uncalibrated, result.raters) == (None, None, None)


def test_several_predictions_per_image_are_averaged():
    result = score(np.stack([PROBABILITIES, PROBABILITIES[:, ::-1]]), TARGETS)
    assert result.probabilities == pytest.approx(np.full((3, 2), 0.5))


def test_rows_are_normalised_before_they_are_averaged():
    result = score(np.stack([PROBABILITIES, 0.1 * PROBABILITIES]), TARGETS)
    assert result.probabilities == pytest.approx(PROBABILITIES, rel=1e-5)


def test_the_leak_free_accuracy_is_that_of_unseen_images():
    result = score(PROBABILITIES, TARGETS, unseen=np.array([True, False, True]))
    assert (result.leak_free.correct, result.leak_free.n) == (1, 2)


def test_targets_of_another_number_are_refused():
    with pytest.raises(ValueError, match=r"expected \(n, k\) for \(n,\)"):
        score(PROBABILITIES, TARGETS[:2])


def test_an_ensemble_is_evaluated_from_its_mean_predictions(pixel_reader, written):
    dataset = written([(3, 3, 4, "test"), (4, 3, 4, "test"), (7, 3, 4, "test")], labels=FERPLUS)
    members = [pixel_reader(FER2013, confidence=confidence) for confidence in (0.9, 0.7)]
    spec, images = members[0].spec, dataset.images[evaluated_rows(dataset, members[0].spec, split="test")]
    assert len(images) == 2  # the model has no contempt
    mean = np.mean([predict_views(each, images, ["single"])["single"] for each in members], axis=0)
    ensemble = evaluate_predictions({"single": mean}, dataset, spec, name="both", split="test")
    assert (ensemble.name, ensemble.n, ensemble.n_excluded, ensemble.missing) == ("both", 2, 1, ("contempt",))
    assert ensemble.views["single"].probabilities.max(axis=1) == pytest.approx([0.8, 0.8])


def test_predictions_of_a_model_give_the_same_evaluation_as_the_model(pixel_reader, written):
    dataset, classifier = written([(3, 3, 4, "valid"), (4, 3, 4, "valid")]), pixel_reader(FER2013, temperature=2.0)
    direct = evaluate(classifier, dataset, split="valid")
    predictions = predict_views(classifier, dataset.images, ["single", "flip"])
    scored = evaluate_predictions(predictions, dataset, classifier.spec, split="valid")
    for view, result in direct.views.items():
        assert np.array_equal(result.probabilities, scored.views[view].probabilities)
        assert result.uncalibrated.nll == scored.views[view].uncalibrated.nll


def test_chance_is_the_share_of_the_most_frequent_class(pixel_reader, written):
    dataset = written([(3, 3, 4, "test"), (3, 3, 4, "test"), (4, 3, 4, "test")])
    assert evaluate(pixel_reader(FER2013), dataset, split="test").chance == pytest.approx(2 / 3)


def test_rows_of_an_empty_split_are_refused_with_the_splits_there_are(pixel_reader, written):
    with pytest.raises(DatasetError, match="no 'valid' split; it has test"):
        evaluated_rows(written([(3, 3, 4, "test")]), pixel_reader(FER2013).spec, split="valid")
