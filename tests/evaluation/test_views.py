import numpy as np
import pytest

from mien.evaluation.views import predict_views
from mien.labels import FER2013, FERPLUS


def test_views_hold_the_probabilities_of_each_transform(pixel_reader, written):
    images = written([(0, 2, 5, "test"), (0, 3, 3, "test")]).images
    views = predict_views(pixel_reader(FER2013), images, ["single", "flip"])
    assert {name: (view.shape, view.dtype) for name, view in views.items()} == {
        "single": ((1, 2, 7), np.float32),
        "flip": ((2, 2, 7), np.float32),
    }
    assert views["flip"].argmax(axis=2).tolist() == [[2, 3], [5, 3]]
    assert np.array_equal(views["single"][0], views["flip"][0])


def test_a_transform_of_several_views_is_predicted_once(pixel_reader, written):
    classifier = pixel_reader(FER2013)
    predict_views(classifier, written([(0, 2, 5, "test")]).images, ["single", "flip"])
    assert classifier.batch_sizes == [1, 1]


def test_another_head_may_be_predicted(pixel_reader, written):
    classifier, images = pixel_reader(FER2013, FERPLUS), written([(0, 7, 7, "test")]).images
    assert predict_views(classifier, images, head="ferplus")["single"].shape == (1, 1, 8)
    assert predict_views(pixel_reader(FER2013), images[:0])["single"].shape == (1, 0, 7)


@pytest.mark.parametrize("wrong", [np.zeros((1, 6)), np.full((1, 7), np.inf)])
def test_probabilities_of_wrong_shape_or_value_are_refused(pixel_reader, written, monkeypatch, wrong):
    from mien.errors import ModelError

    classifier = pixel_reader(FER2013)
    monkeypatch.setattr(classifier, "predict_proba", lambda crops, *, head: wrong)
    with pytest.raises(ModelError, match="expected \\(1, 7\\) numbers"):
        predict_views(classifier, written([(0, 0, 0, "test")]).images)
