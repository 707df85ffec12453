import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.errors import ConfigError, DatasetError, ModelError
from mien.evaluation.calibration import softmax
from mien.evaluation.evaluate import evaluate
from mien.evaluation.metrics import ece, nll
from mien.labels import FER2013, FERPLUS, LabelSet

ANGRY, DISGUST, FEAR, HAPPY, SAD, SURPRISE, NEUTRAL = range(7)


def test_figures_of_four_pictures_are_those_counted_by_hand(pixel_reader, written):
    rows = [(HAPPY, HAPPY, 0, "test"), (HAPPY, SAD, 0, "test"), (SAD, SAD, 0, "test"), (FEAR, FEAR, 0, "test")]
    evaluation = evaluate(pixel_reader(FER2013), written(rows), views=["single"])
    result = evaluation.views["single"]
    assert (result.accuracy.correct, result.accuracy.n, result.accuracy.value) == (3, 4, 0.75)
    assert result.accuracy.low == pytest.approx(0.3006, abs=1e-4)
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert result.confusion[HAPPY].tolist() == [0, 0, 0, 1, 1, 0, 0]
    assert result.classes[HAPPY].support == 2
    assert result.nll == pytest.approx(-(3 * np.log(0.7) + np.log(0.05)) / 4, rel=1e-5)
    assert result.ece == pytest.approx(0.05, abs=1e-6)


def test_only_the_wanted_split_is_looked_at(pixel_reader, written):
    rows = [(HAPPY, HAPPY, 0, "train"), (HAPPY, SAD, 0, "valid"), (SAD, SAD, 0, "test")]
    evaluation = evaluate(pixel_reader(FER2013), written(rows), split="valid")
    assert (evaluation.split, evaluation.n, evaluation.views["single"].accuracy.value) == ("valid", 1, 0)


def test_flip_is_the_mean_over_a_picture_and_its_mirror_image(pixel_reader, written):
    dataset = written([(HAPPY, HAPPY, SAD, "test"), (SAD, SAD, SAD, "test")])
    views = evaluate(pixel_reader(FER2013), dataset).views
    assert list(views) == ["single", "flip"]
    assert views["single"].probabilities[0, [HAPPY, SAD]] == pytest.approx([0.7, 0.05])
    assert views["flip"].probabilities[0, [HAPPY, SAD]] == pytest.approx([0.375, 0.375])
    assert views["flip"].probabilities[1, SAD] == pytest.approx(0.7)


def test_targets_and_probabilities_are_kept_for_later_comparisons(evaluation):
    result = evaluation.views["flip"]
    assert result.probabilities.shape == (200, 7)
    assert result.probabilities.dtype == np.float32
    hits = result.probabilities.argmax(axis=1) == evaluation.targets
    assert hits.sum() == result.accuracy.correct


def test_labels_are_matched_by_name_and_not_by_number(pixel_reader, written):
    sad_in_ferplus = FERPLUS.index("sad")
    dataset = written([(SAD, sad_in_ferplus, 0, "test"), (SAD, SAD, 0, "test")])
    evaluation = evaluate(pixel_reader(FER2013, FERPLUS), dataset, head="ferplus")
    assert evaluation.head.labels is FERPLUS
    assert evaluation.labels == FER2013.labels
    assert evaluation.views["single"].confusion[SAD, [ANGRY, SAD]].tolist() == [1, 1]


def test_probabilities_are_renormalised_without_classes_the_dataset_lacks(pixel_reader, written):
    dataset = written([(SAD, FERPLUS.index("sad"), 0, "test"), (SAD, FERPLUS.index("contempt"), 0, "test")])
    evaluation = evaluate(pixel_reader(FERPLUS, confidence=0.65), dataset, views=["single"])
    assert evaluation.unused == ("contempt",)
    sure, unsure = evaluation.views["single"].probabilities
    assert sure[SAD] == pytest.approx(0.65 / 0.95)
    assert unsure == pytest.approx(np.full(7, 1 / 7))


def test_an_answer_wholly_outside_of_the_shared_classes_counts_as_no_idea(pixel_reader, written):
    dataset = written([(SAD, FERPLUS.index("contempt"), 0, "test")])
    result = evaluate(pixel_reader(FERPLUS, confidence=1), dataset).views["single"]
    assert result.probabilities[0] == pytest.approx(np.full(7, 1 / 7))


def test_pictures_of_classes_the_model_lacks_are_left_out_and_counted(pixel_reader, written):
    rows = [(FERPLUS.index("contempt"), HAPPY, 0, "test"), (FERPLUS.index("happy"), HAPPY, 0, "test")]
    evaluation = evaluate(pixel_reader(FER2013), written(rows, labels=FERPLUS))
    assert (evaluation.n, evaluation.n_left_out, evaluation.missing) == (1, 1, ("contempt",))
    assert evaluation.labels == FERPLUS.labels[:-1]
    assert evaluation.views["single"].accuracy.value == 1


def test_labels_without_anything_in_common_are_refused(pixel_reader, written):
    dataset = written([(0, 0, 0, "test")], labels=LabelSet("moods", ("calm", "tense")), name="moods")
    with pytest.raises(DatasetError, match=r"'moods' \(calm, tense\) and model 'pixel-reader' .* share too few"):
        evaluate(pixel_reader(FER2013), dataset)


def test_a_split_whose_pictures_are_all_left_out_is_refused(pixel_reader, written):
    dataset = written([(FERPLUS.index("contempt"), 0, 0, "test")], labels=FERPLUS)
    with pytest.raises(DatasetError, match="share too few"):
        evaluate(pixel_reader(FER2013), dataset)


@pytest.mark.parametrize("views", [["single", "tencrop"], []])
def test_an_unknown_view_is_refused_with_the_known_ones(pixel_reader, written, views):
    with pytest.raises(ConfigError, match="choose from single, flip"):
        evaluate(pixel_reader(FER2013), written([(0, 0, 0, "test")]), views=views)


def test_an_unknown_head_is_refused(pixel_reader, written):
    with pytest.raises(ModelError, match="choose from fer2013"):
        evaluate(pixel_reader(FER2013), written([(0, 0, 0, "test")]), head="moods")


def test_a_model_that_gives_nan_is_refused(pixel_reader, written):
    with pytest.raises(ModelError, match="not finite"):
        evaluate(pixel_reader(FER2013, confidence=np.nan), written([(0, 0, 0, "test")]))


def with_copies(written) -> Dataset:
    """Four test pictures, of which the first two occur in train and the third one in valid."""
    rows = [(HAPPY, HAPPY, 0, "test"), (HAPPY, SAD, 0, "test"), (SAD, SAD, 0, "test"), (SAD, FEAR, 0, "test")]
    test = written(rows)
    copies = test.select(np.array([0, 1, 2]))
    return Dataset(
        name="fer2013",
        images=np.concatenate([test.images, copies.images]),
        targets=np.concatenate([test.targets, copies.targets]),
        labels=FER2013,
        splits=np.array([2, 2, 2, 2, 0, 0, 1], np.int8),
    )


def test_exact_copies_of_training_pictures_are_left_out_of_the_unleaked_accuracy(pixel_reader, written):
    result = evaluate(pixel_reader(FER2013), with_copies(written)).views["single"]
    assert (result.accuracy.correct, result.accuracy.n) == (2, 4)
    assert (result.unleaked.correct, result.unleaked.n) == (1, 2)
    assert result.unleaked.low < 0.5 < result.unleaked.high


def test_a_model_fitted_on_valid_too_has_seen_its_pictures(pixel_reader, written):
    evaluation = evaluate(pixel_reader(FER2013), with_copies(written), fitted_on=("train", "valid"))
    assert evaluation.fitted_on == ("train", "valid")
    assert (evaluation.views["flip"].unleaked.correct, evaluation.views["flip"].unleaked.n) == (0, 1)


def test_there_is_no_unleaked_accuracy_where_nothing_can_be_said(pixel_reader, written):
    lone = written([(HAPPY, HAPPY, 0, "test")])
    assert evaluate(pixel_reader(FER2013), lone).views["single"].unleaked is None
    seen = with_copies(written)
    assert evaluate(pixel_reader(FER2013), seen, split="train").views["single"].unleaked is None
    all_copied = seen.select(np.array([0, 1, 4, 5]))
    assert evaluate(pixel_reader(FER2013), all_copied).views["single"].unleaked is None


def test_the_temperature_inside_the_model_is_taken_back_for_the_uncalibrated_figures(pixel_reader, written):
    dataset = written([(HAPPY, HAPPY, HAPPY, "test"), (SAD, HAPPY, SAD, "test")])
    for view, result in evaluate(pixel_reader(FER2013, temperature=2), dataset).views.items():
        looks = [[HAPPY, HAPPY]] if view == "single" else [[HAPPY, HAPPY], [HAPPY, SAD]]
        honest = np.full((len(looks), 2, 7), 0.05, np.float32)
        for look, answers in zip(honest, looks, strict=True):
            look[[0, 1], answers] = 0.7
        before = np.mean([softmax(2 * np.log(look)) for look in honest], axis=0)
        targets = np.array([HAPPY, SAD])
        assert result.nll == pytest.approx(nll(honest.mean(axis=0), targets), rel=1e-5)
        assert result.nll_uncalibrated == pytest.approx(nll(before, targets), rel=1e-5)
        assert result.ece_uncalibrated == pytest.approx(ece(before, targets), abs=1e-5)


def test_a_model_without_temperature_has_no_uncalibrated_figures(pixel_reader, written):
    result = evaluate(pixel_reader(FER2013), written([(HAPPY, HAPPY, 0, "test")])).views["single"]
    assert result.nll_uncalibrated is None
    assert result.ece_uncalibrated is None


def test_pictures_come_in_batches_and_progress_counts_every_look(pixel_reader, written):
    classifier, steps = pixel_reader(FER2013), []
    dataset = written([(i % 7, i % 7, 0, "test") for i in range(5)])
    evaluation = evaluate(classifier, dataset, batch_size=2, progress=lambda done, n: steps.append((done, n)))
    assert classifier.batch_sizes == [2, 2, 2, 2, 1, 1]
    assert steps == [(2, 10), (4, 10), (6, 10), (8, 10), (9, 10), (10, 10)]
    assert evaluation.views["single"].accuracy.value == 1


def test_what_was_evaluated_is_told(evaluation):
    assert evaluation.spec.name == "pixel-reader"
    assert (evaluation.dataset, evaluation.split, evaluation.n) == ("fer2013", "test", 200)
    assert len(evaluation.fingerprint) == 64
