from dataclasses import replace

import pytest

from mien.errors import DatasetError, ModelError
from mien.evaluation.published import check_published, published_on
from mien.labels import FER2013

HAPPY, SAD = FER2013.index("happy"), FER2013.index("sad")
ROWS = [(HAPPY, HAPPY, HAPPY, "test"), (SAD, HAPPY, HAPPY, "test"), (SAD, SAD, SAD, "valid")]


@pytest.fixture
def published(pixel_reader, written):
    """Make a dataset, and a classifier whose spec claims figures on it."""

    def make(metrics):
        dataset, classifier = written(ROWS), pixel_reader(FER2013)
        origin = {"name": "fer2013", "fingerprint": dataset.fingerprint}
        classifier.spec = replace(classifier.spec, metrics=metrics, trained_on=origin)
        return classifier, dataset

    return make


def test_reproduced_figures_hold(published):
    claims = check_published(*published({"test/single/accuracy": 0.5, "valid/flip/accuracy": 0.9996}))
    assert [(claim.key, claim.measured) for claim in claims] == [
        ("test/single/accuracy", 0.5),
        ("valid/flip/accuracy", 1.0),
    ]
    assert all(claim.holds for claim in claims)


def test_a_figure_off_by_more_than_the_tolerance_does_not_hold(published):
    (claim,) = check_published(*published({"test/flip/accuracy": 0.5006}))
    assert not claim.holds


def test_other_data_is_refused(published):
    classifier, dataset = published({"test/flip/accuracy": 0.5})
    with pytest.raises(DatasetError, match="give that data with --data"):
        check_published(classifier, dataset.select([0, 1]))


def test_the_error_names_the_commands_that_draw_the_data(published):
    classifier, dataset = published({"test/flip/accuracy": 0.5})
    classifier.spec = replace(classifier.spec, trained_on=classifier.spec.trained_on | {"made": "mien a\nmien b"})
    with pytest.raises(DatasetError, match="drawn by: mien a && mien b"):
        check_published(classifier, dataset.select([0, 1]))


def test_each_model_is_checked_on_its_own_data(published):
    classifier, dataset = published({"test/flip/accuracy": 0.5})
    part = dataset.select([0, 1])
    assert published_on(classifier.spec, [part, dataset]) is dataset
    assert published_on(classifier.spec, [part]) is part  # which check_published then refuses


@pytest.mark.parametrize("key", ["test/accuracy", "exam/single/accuracy", "test/best/accuracy", "test/single/f1"])
def test_an_unknown_figure_is_refused(published, key):
    with pytest.raises(ModelError, match="expected SPLIT/VIEW/accuracy"):
        check_published(*published({key: 0.5}))


def test_a_model_without_figures_is_refused(published):
    with pytest.raises(ModelError, match="without figures"):
        check_published(*published({}))
