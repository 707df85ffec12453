from dataclasses import replace

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.errors import ConfigError, DatasetError, ModelError
from mien.evaluation.evaluate import evaluate, evaluate_models, relabel_for
from mien.evaluation.metrics import ece, nll
from mien.evaluation.views import CORNERS, cropped
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.classifier import softmax

ANGRY, DISGUST, FEAR, HAPPY, SAD, SURPRISE, NEUTRAL = range(7)


def test_metrics_of_four_images_match_hand_counts(pixel_reader, written):
    rows = [(HAPPY, HAPPY, 0, "test"), (HAPPY, SAD, 0, "test"), (SAD, SAD, 0, "test"), (FEAR, FEAR, 0, "test")]
    evaluation = evaluate(pixel_reader(FER2013), written(rows), views=["single"], split="test")
    result = evaluation.views["single"]
    assert (result.accuracy.correct, result.accuracy.n, result.accuracy.value) == (3, 4, 0.75)
    assert result.accuracy.low == pytest.approx(0.3006, abs=1e-4)
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert result.confusion[HAPPY].tolist() == [0, 0, 0, 1, 1, 0, 0]
    assert result.classes[HAPPY].support == 2
    assert result.calibration.nll == pytest.approx(-(3 * np.log(0.7) + np.log(0.05)) / 4, rel=1e-5)
    assert result.calibration.ece == pytest.approx(0.05, abs=1e-6)


def test_only_the_given_split_is_evaluated(pixel_reader, written):
    rows = [(HAPPY, HAPPY, 0, "train"), (HAPPY, SAD, 0, "valid"), (SAD, SAD, 0, "test")]
    evaluation = evaluate(pixel_reader(FER2013), written(rows), split="valid")
    assert (evaluation.split, evaluation.n, evaluation.views["single"].accuracy.value) == ("valid", 1, 0)


def test_flip_is_the_mean_over_an_image_and_its_mirror_image(pixel_reader, written):
    dataset = written([(HAPPY, HAPPY, SAD, "test"), (SAD, SAD, SAD, "test")])
    views = evaluate(pixel_reader(FER2013), dataset, split="test").views
    assert list(views) == ["single", "flip"]
    assert views["single"].probabilities[0, [HAPPY, SAD]] == pytest.approx([0.7, 0.05])
    assert views["flip"].probabilities[0, [HAPPY, SAD]] == pytest.approx([0.375, 0.375])
    assert views["flip"].probabilities[1, SAD] == pytest.approx(0.7)


def test_tencrop_is_the_mean_over_corners_and_centre_and_their_mirror_images(pixel_reader, written):
    dataset = written([(HAPPY, 0, 0, "test")])
    images = np.zeros((1, 48, 48, 1), np.uint8)
    images[0, 0, 0], images[0, 0, -1], images[0, 6, 6], images[0, 6, -7], images[0, 3, 3] = 1, 2, 3, 4, 5
    classifier = pixel_reader(FER2013)
    evaluation = evaluate(classifier, replace(dataset, images=images), views=["tencrop"], split="test")
    # class id in the top left pixel of each of the ten crops
    answers = [1, 0, 0, 2, 0, 4, 3, 0, 5, 0]
    assert evaluation.views["tencrop"].probabilities[0] == pytest.approx(
        [np.mean([0.7 if answer == k else 0.05 for answer in answers]) for k in range(7)]
    )
    assert len(classifier.batch_sizes) == 10


@pytest.mark.parametrize(("height", "width"), [(48, 48), (64, 50), (1, 1), (7, 3)])
def test_crops_are_inside_the_image_and_reach_its_borders(height, width):
    images = np.arange(height * width).reshape(1, height, width, 1).astype(np.uint8)
    corners = [cropped(images, down=down, right=right, mirror=False) for down, right in CORNERS.values()]
    assert {crop.shape for crop in corners} == {(1, round(7 / 8 * height), round(7 / 8 * width), 1)}
    assert corners[0][0, 0, 0] == images[0, 0, 0]
    assert corners[3][0, -1, -1] == images[0, -1, -1]
    assert np.array_equal(cropped(images, down=0, right=1, mirror=True), corners[1][:, :, ::-1])


def test_rows_are_the_evaluated_rows_of_the_dataset(pixel_reader, written):
    rows = [(HAPPY, HAPPY, 0, "train"), (SAD, SAD, 0, "test"), (SAD, SAD, 0, "valid"), (SAD, HAPPY, 0, "test")]
    evaluation = evaluate(pixel_reader(FER2013), written(rows), split="test")
    assert evaluation.rows.tolist() == [1, 3]
    assert evaluation.is_correct("single").tolist() == [True, False]


def test_a_model_can_be_given_another_name(pixel_reader, written):
    dataset = written([(HAPPY, HAPPY, 0, "test")])
    assert evaluate(pixel_reader(FER2013), dataset, split="test").name == "pixel-reader"
    assert evaluate(pixel_reader(FER2013), dataset, name="runs/2/mine.onnx", split="test").name == "runs/2/mine.onnx"


def test_targets_and_probabilities_are_kept_for_later_comparisons(evaluation):
    result = evaluation.views["flip"]
    assert result.probabilities.shape == (200, 7)
    assert result.probabilities.dtype == np.float32
    hits = result.probabilities.argmax(axis=1) == evaluation.targets
    assert hits.sum() == result.accuracy.correct


def test_labels_are_matched_by_name_and_not_by_number(pixel_reader, written):
    sad_in_ferplus = FERPLUS.index("sad")
    dataset = written([(SAD, sad_in_ferplus, 0, "test"), (SAD, SAD, 0, "test")])
    evaluation = evaluate(pixel_reader(FER2013, FERPLUS), dataset, head="ferplus", split="test")
    assert evaluation.head.labels is FERPLUS
    assert evaluation.labels == FER2013.labels
    assert evaluation.views["single"].confusion[SAD, [ANGRY, SAD]].tolist() == [1, 1]


def test_probabilities_are_renormalised_without_classes_the_dataset_lacks(pixel_reader, written):
    dataset = written([(SAD, FERPLUS.index("sad"), 0, "test"), (SAD, FERPLUS.index("contempt"), 0, "test")])
    evaluation = evaluate(pixel_reader(FERPLUS, confidence=0.65), dataset, views=["single"], split="test")
    assert evaluation.unused == ("contempt",)
    sure, unsure = evaluation.views["single"].probabilities
    assert sure[SAD] == pytest.approx(0.65 / 0.95)
    assert unsure == pytest.approx(np.full(7, 1 / 7))


def test_a_prediction_outside_the_shared_classes_becomes_uniform(pixel_reader, written):
    dataset = written([(SAD, FERPLUS.index("contempt"), 0, "test")])
    result = evaluate(pixel_reader(FERPLUS, confidence=1), dataset, split="test").views["single"]
    assert result.probabilities[0] == pytest.approx(np.full(7, 1 / 7))


def test_images_of_classes_the_model_lacks_are_excluded_and_counted(pixel_reader, written):
    rows = [(FERPLUS.index("contempt"), HAPPY, 0, "test"), (FERPLUS.index("happy"), HAPPY, 0, "test")]
    evaluation = evaluate(pixel_reader(FER2013), written(rows, labels=FERPLUS), split="test")
    assert (evaluation.n, evaluation.n_excluded, evaluation.missing) == (1, 1, ("contempt",))
    assert evaluation.labels == FERPLUS.labels[:-1]
    assert evaluation.views["single"].accuracy.value == 1


def test_labels_without_a_shared_class_are_refused(pixel_reader, written):
    dataset = written([(0, 0, 0, "test")], labels=LabelSet("moods", ("calm", "tense")), name="moods")
    with pytest.raises(DatasetError, match=r"'moods' \(calm, tense\) and model 'pixel-reader' .* share too few"):
        evaluate(pixel_reader(FER2013), dataset, split="test")


def test_a_split_whose_images_are_all_excluded_is_refused(pixel_reader, written):
    dataset = written([(FERPLUS.index("contempt"), 0, 0, "test")], labels=FERPLUS)
    with pytest.raises(DatasetError, match="share too few"):
        evaluate(pixel_reader(FER2013), dataset, split="test")


@pytest.mark.parametrize("views", [["single", "hundredcrop"], []])
def test_an_unknown_view_is_refused_with_the_known_ones(pixel_reader, written, views):
    with pytest.raises(ConfigError, match="choose from single, flip"):
        evaluate(pixel_reader(FER2013), written([(0, 0, 0, "test")]), views=views, split="test")


def test_a_dataset_is_evaluated_on_the_head_of_its_name_and_others_on_the_default_head(pixel_reader, written):
    """FER2013's labels differ from what people see; a folder of photographs has the same seven names."""
    model, rows = pixel_reader(FER2013, FERPLUS), [(0, 0, 0, "test")]
    assert evaluate(model, written(rows), split="test").head.labels is FER2013
    assert evaluate(model, written(rows, name="photos"), split="test").head.labels is FERPLUS
    assert evaluate(model, written(rows, name="photos"), head="fer2013", split="test").head.labels is FER2013


def test_an_unknown_head_is_refused(pixel_reader, written):
    with pytest.raises(ModelError, match="choose from fer2013"):
        evaluate(pixel_reader(FER2013), written([(0, 0, 0, "test")]), head="moods", split="test")


def test_a_model_that_gives_nan_is_refused(pixel_reader, written):
    with pytest.raises(ModelError, match="not finite"):
        evaluate(pixel_reader(FER2013, confidence=np.nan), written([(0, 0, 0, "test")]), split="test")


def with_copies(written) -> Dataset:
    """Four test images: the first two occur in train, the third one in valid."""
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


def test_copies_of_training_images_are_excluded_from_the_leak_free_accuracy(pixel_reader, written):
    result = evaluate(pixel_reader(FER2013), with_copies(written), split="test").views["single"]
    assert (result.accuracy.correct, result.accuracy.n) == (2, 4)
    assert (result.leak_free.correct, result.leak_free.n) == (1, 2)
    assert result.leak_free.low < 0.5 < result.leak_free.high


def test_clusters_find_leaks_of_other_pixels_too(pixel_reader, written):
    dataset, clusters = with_copies(written), np.array([0, 1, 2, 0, 0, 1, 2])  # the fourth shows the first's photo
    evaluation = evaluate(pixel_reader(FER2013), dataset, clusters=clusters, split="test")
    assert evaluation.leak_criterion == "photo"
    result = evaluation.views["single"]
    assert (result.accuracy.n, result.leak_free.n, result.leak_free.correct) == (4, 1, 1)
    assert evaluate(pixel_reader(FER2013), dataset, split="test").leak_criterion == "pixels"


def test_a_model_fitted_on_valid_too_has_seen_its_images(pixel_reader, written):
    evaluation = evaluate(pixel_reader(FER2013), with_copies(written), fitted_on=("train", "valid"), split="test")
    assert evaluation.fitted_on == ("train", "valid")
    assert (evaluation.views["flip"].leak_free.correct, evaluation.views["flip"].leak_free.n) == (0, 1)


@pytest.mark.parametrize(("name", "known"), [("fer2013", True), ("small", False)])
def test_a_part_of_the_training_data_does_not_show_which_images_have_copies_in_it(pixel_reader, written, name, known):
    dataset = replace(with_copies(written), name=name)
    (evaluation,) = evaluate_models({"a": pixel_reader(FER2013)}, dataset, split="test")
    assert (evaluation.views["single"].leak_free is not None) == known


def test_the_leak_free_accuracy_is_none_where_it_is_unknown(pixel_reader, written):
    lone = written([(HAPPY, HAPPY, 0, "test")])
    assert evaluate(pixel_reader(FER2013), lone, split="test").views["single"].leak_free is None
    seen = with_copies(written)
    assert evaluate(pixel_reader(FER2013), seen, split="train").views["single"].leak_free is None
    all_copied = seen.select(np.array([0, 1, 4, 5]))
    assert evaluate(pixel_reader(FER2013), all_copied, split="test").views["single"].leak_free is None


def test_uncalibrated_metrics_undo_the_temperature_inside_the_model(pixel_reader, written):
    dataset = written([(HAPPY, HAPPY, HAPPY, "test"), (SAD, HAPPY, SAD, "test")])
    for view, result in evaluate(pixel_reader(FER2013, temperature=2), dataset, split="test").views.items():
        looks = [[HAPPY, HAPPY]] if view == "single" else [[HAPPY, HAPPY], [HAPPY, SAD]]
        honest = np.full((len(looks), 2, 7), 0.05, np.float32)
        for look, answers in zip(honest, looks, strict=True):
            look[[0, 1], answers] = 0.7
        before = np.mean([softmax(2 * np.log(look)) for look in honest], axis=0)
        targets = np.array([HAPPY, SAD])
        assert result.calibration.nll == pytest.approx(nll(honest.mean(axis=0), targets), rel=1e-5)
        assert result.uncalibrated.nll == pytest.approx(nll(before, targets), rel=1e-5)
        assert result.uncalibrated.ece == pytest.approx(ece(before, targets), abs=1e-5)


def test_a_model_without_temperature_has_no_uncalibrated_metrics(pixel_reader, written):
    result = evaluate(pixel_reader(FER2013), written([(HAPPY, HAPPY, 0, "test")]), split="test").views["single"]
    assert result.uncalibrated is None


def test_images_come_in_batches_and_progress_counts_every_transform(pixel_reader, written):
    classifier, steps = pixel_reader(FER2013), []
    dataset = written([(i % 7, i % 7, 0, "test") for i in range(5)])
    evaluation = evaluate(
        classifier, dataset, batch_size=2, progress=lambda done, n: steps.append((done, n)), split="test"
    )
    assert classifier.batch_sizes == [2, 2, 2, 2, 1, 1]
    assert steps == [(2, 10), (4, 10), (6, 10), (8, 10), (9, 10), (10, 10)]
    assert evaluation.views["single"].accuracy.value == 1


def test_an_evaluation_names_model_data_and_split(evaluation):
    assert evaluation.spec.name == "pixel-reader"
    assert (evaluation.dataset, evaluation.split, evaluation.n) == ("fer2013", "test", 200)
    assert len(evaluation.fingerprint) == 64


def test_the_operating_point_is_the_threshold_for_the_target_accuracy(evaluation, pixel_reader, written):
    dataset = written([(HAPPY, HAPPY, 0, "test"), (SAD, HAPPY, 0, "test")])
    honesty = evaluate(pixel_reader(FER2013), dataset, target_accuracy=0.5, split="test").views["single"].calibration
    assert (honesty.operating_point.n, honesty.operating_point.threshold) == (2, pytest.approx(0.7))
    assert evaluate(pixel_reader(FER2013), dataset, split="test").views["single"].calibration.operating_point is None


@pytest.mark.parametrize("wanted", [0, 80])
def test_a_target_accuracy_out_of_range_is_refused(pixel_reader, written, wanted):
    with pytest.raises(ConfigError, match="more than 0 and at most 1"):
        evaluate(pixel_reader(FER2013), written([(0, 0, 0, "test")]), target_accuracy=wanted, split="test")


def test_intervals_enclose_their_metrics_and_widen_with_clusters(pixel_reader, written):
    rng = np.random.default_rng(0)
    truths = np.repeat(rng.integers(0, 7, 60), 3)
    answers = np.repeat(np.where(rng.random(60) < 0.6, truths[::3], 3), 3)
    dataset = written([(int(t), int(a), 0, "test") for t, a in zip(truths, answers, strict=True)])
    singly, together = (
        evaluate(pixel_reader(FER2013), dataset, clusters=clusters, split="test").views["single"]
        for clusters in (None, np.repeat(np.arange(60), 3))
    )
    widths = []
    for result in (singly, together):
        for value, (low, high) in (
            (result.balanced_accuracy, result.balanced_accuracy_interval),
            (result.macro_f1, result.macro_f1_interval),
        ):
            assert low < value < high
            widths.append(high - low)
    assert widths[2] > 1.3 * widths[0]
    assert widths[3] > 1.3 * widths[1]


def test_other_numbers_of_clusters_are_refused(pixel_reader, written):
    with pytest.raises(ConfigError, match="one for each of 1 images"):
        evaluate(pixel_reader(FER2013), written([(0, 0, 0, "test")]), clusters=np.zeros(2, np.int64), split="test")


def with_votes(written) -> Dataset:
    """Three test images: raters see sad, disagree, see no face. The model predicts sad for all."""
    votes = np.zeros((3, 10), np.float32)
    votes[0, [3, 0, 4]] = [6, 3, 1]
    votes[1, [0, 3]] = [5, 5]
    votes[2, 9] = 10
    return replace(written([(SAD, 3, 3, "test")] * 3), votes=votes)


def test_the_ferplus_head_is_compared_with_the_raters(pixel_reader, written):
    classifier, dataset = pixel_reader(FER2013, FERPLUS), with_votes(written)
    labelled = relabel_for(dataset, [classifier.spec.head("ferplus")])
    evaluation = evaluate(classifier, labelled, head="ferplus", split="test")
    assert (evaluation.dataset, evaluation.labels) == ("ferplus", FERPLUS.labels)
    assert (evaluation.n, evaluation.n_excluded, evaluation.missing) == (1, 2, ("unknown", "nf"))
    result = evaluation.views["single"]
    assert result.accuracy.value == 1
    other = 0.3 / 7
    expected = -(0.6 * np.log(0.7) + 0.4 * np.log(other))
    assert result.raters.cross_entropy == pytest.approx(expected, rel=1e-5)
    entropy = -(0.6 * np.log(0.6) + 0.3 * np.log(0.3) + 0.1 * np.log(0.1))
    assert result.raters.kl == pytest.approx(expected - entropy, rel=1e-5)


def test_other_heads_and_data_without_votes_keep_their_labels(pixel_reader, written):
    dataset, heads = with_votes(written), pixel_reader(FER2013, FERPLUS).spec.heads
    assert relabel_for(dataset, heads) is dataset
    assert evaluate(pixel_reader(FER2013), dataset, split="test").views["single"].raters is None
    without = written([(SAD, 3, 3, "test")])
    assert relabel_for(without, heads[1:]) is without
