from dataclasses import replace

import numpy as np
import pytest

from mien.data.dataset import FoundFaces, PictureLabel
from mien.evaluation.evaluate import evaluate
from mien.evaluation.metrics import wilson_interval
from mien.evaluation.score import score
from mien.labels import FER2013, LabelSet

HAPPY, SAD, NEUTRAL = 3, 4, 6


def found(*missed, n=10):
    return FoundFaces(detector="haar", n_pictures=n, missed=tuple(PictureLabel(*picture) for picture in missed))


def test_pictures_without_a_face_count_as_wrong_end_to_end_only(pixel_reader, written):
    rows = [(HAPPY, HAPPY, 0, "test"), (HAPPY, HAPPY, 0, "test"), (SAD, SAD, 0, "test"), (SAD, HAPPY, 0, "test")]
    missed = found(("a.jpg", "test", "happy"), ("b.jpg", "test", "neutral"), ("c.jpg", "train", "happy"))
    evaluation = evaluate(pixel_reader(FER2013), replace(written(rows), found=missed), views=["single"], split="test")
    result = evaluation.views["single"]
    whole = result.end_to_end
    assert evaluation.detector == "haar"
    assert (result.accuracy.correct, result.accuracy.n) == (3, 4)
    assert (whole.accuracy.correct, whole.accuracy.n, whole.n_missed) == (3, 6, 2)
    assert (whole.accuracy.low, whole.accuracy.high) == wilson_interval(3, 6)
    assert result.balanced_accuracy == pytest.approx((1 + 0.5) / 2)
    assert whole.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)  # the class neutral was missed wholly
    assert (whole.recalls[HAPPY], whole.recalls[SAD], whole.recalls[NEUTRAL]) == pytest.approx((2 / 3, 1 / 2, 0))
    assert (whole.missed[HAPPY], whole.missed[SAD], whole.missed[NEUTRAL]) == (1, 0, 1)


def test_missed_pictures_of_classes_that_the_model_lacks_do_not_count(pixel_reader, written):
    labels = LabelSet("moods", ("happy", "sad", "bored"))
    dataset = written([(0, 3, 0, "test"), (1, 4, 0, "test")], labels=labels)
    dataset = replace(dataset, found=found(("a.jpg", "test", "bored"), ("b.jpg", "test", "sad")))
    whole = evaluate(pixel_reader(FER2013), dataset, views=["single"], split="test").views["single"].end_to_end
    assert (whole.accuracy.n, whole.missed) == (3, (0, 1))


def test_without_missed_faces_both_figures_agree(evaluation):
    result = evaluation.views["single"]
    again = score(result.probabilities, evaluation.targets, missed=np.zeros(7, np.int64))
    assert again.end_to_end.accuracy == result.accuracy
    assert again.end_to_end.balanced_accuracy == result.balanced_accuracy
    assert again.end_to_end.balanced_accuracy_interval == pytest.approx(result.balanced_accuracy_interval)
    assert again.end_to_end.recalls == tuple(each.recall for each in result.classes)


def test_missed_faces_are_photos_of_their_own_for_the_bootstrap(evaluation):
    result, missed = evaluation.views["single"], np.array([5, 0, 0, 10, 0, 0, 10])
    clusters = np.arange(len(evaluation.targets)) // 2
    whole = score(result.probabilities, evaluation.targets, clusters=clusters, missed=missed).end_to_end
    low, high = whole.balanced_accuracy_interval
    assert low < whole.balanced_accuracy < high
    assert whole.accuracy.n == len(evaluation.targets) + 25


def test_crops_have_no_end_to_end_figures(evaluation):
    assert evaluation.detector is None
    assert all(result.end_to_end is None for result in evaluation.views.values())


def test_happy_and_neutral_are_ranked_if_both_occur(pixel_reader, written):
    rows = [(HAPPY, HAPPY, 0, "test"), (HAPPY, NEUTRAL, 0, "test"), (NEUTRAL, NEUTRAL, 0, "test")]
    auc = evaluate(pixel_reader(FER2013), written(rows), split="test").views["single"].happy_neutral
    assert (auc.value, auc.n_first, auc.n_second) == (0.75, 2, 1)
    assert evaluate(pixel_reader(FER2013), written(rows[:2]), split="test").views["single"].happy_neutral is None
