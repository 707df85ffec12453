import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.evaluation.bootstrap import balanced_accuracies, macro_f1s, percentile_interval, resampled_confusions
from mien.evaluation.metrics import balanced_accuracy, confusion_matrix, macro_f1, wilson_interval


def drawn(seed, n, *, k=4):
    rng = np.random.default_rng(seed)
    targets = rng.choice(k, size=n)
    return targets, np.where(rng.random(n) < 0.7, targets, rng.integers(0, k, n))


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_metrics_of_a_stack_are_those_of_each_matrix(seed, n):
    matrices = resampled_confusions(*drawn(seed, n), n_classes=4, resamples=5, seed=seed)
    assert balanced_accuracies(matrices) == pytest.approx([balanced_accuracy(matrix) for matrix in matrices])
    assert macro_f1s(matrices) == pytest.approx([macro_f1(matrix) for matrix in matrices])


def test_resamples_keep_the_number_of_images_and_the_mean_matrix():
    targets, predictions = drawn(0, 300)
    matrices = resampled_confusions(targets, predictions, n_classes=4, resamples=4000)
    assert set(matrices.sum(axis=(1, 2)).tolist()) == {300}
    assert matrices.mean(axis=0) == pytest.approx(confusion_matrix(targets, predictions, n_classes=4), abs=1)


def test_resamples_vary_like_those_drawn_image_by_image():
    targets, predictions = drawn(1, 200)
    rng = np.random.default_rng(2)
    rows = (rng.integers(0, 200, 200) for _ in range(2000))
    singly = [balanced_accuracy(confusion_matrix(targets[i], predictions[i], n_classes=4)) for i in rows]
    at_once = balanced_accuracies(resampled_confusions(targets, predictions, n_classes=4, resamples=2000))
    assert np.std(at_once) == pytest.approx(np.std(singly), rel=0.08)


def test_the_bootstrap_interval_of_an_accuracy_is_close_to_wilsons():
    targets, predictions = drawn(3, 1000)
    matrices = resampled_confusions(targets, predictions, n_classes=4, resamples=4000)
    shares = matrices.trace(axis1=1, axis2=2) / 1000
    expected = wilson_interval(int((targets == predictions).sum()), 1000)
    assert percentile_interval(shares) == pytest.approx(expected, abs=0.004)


def test_clusters_of_one_image_equal_single_images():
    targets, predictions = drawn(4, 80)
    singly, clustered = (
        balanced_accuracies(resampled_confusions(targets, predictions, n_classes=4, clusters=c, resamples=4000))
        for c in (None, np.arange(80) * 7 - 5)
    )
    assert np.std(clustered) == pytest.approx(np.std(singly), rel=0.06)


def test_duplicates_within_clusters_do_not_narrow_the_interval():
    targets, predictions = drawn(5, 100)
    widths = []
    for times, clusters in ((1, None), (4, np.repeat(np.arange(100), 4)), (4, None)):
        pair = np.repeat(targets, times), np.repeat(predictions, times)
        low, high = percentile_interval(
            macro_f1s(resampled_confusions(*pair, n_classes=4, clusters=clusters, resamples=4000))
        )
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=0.08)
    assert widths[2] == pytest.approx(widths[0] / 2, rel=0.12)


def test_the_same_seed_gives_the_same_resamples():
    first, again, other = (resampled_confusions(*drawn(6, 50), n_classes=4, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("clusters", [np.zeros(2, int), np.zeros(4, int)])
def test_other_numbers_of_clusters_are_refused(clusters):
    with pytest.raises(ValueError, match="one length"):
        resampled_confusions(np.zeros(3, int), np.zeros(3, int), n_classes=2, clusters=clusters)


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        resampled_confusions(np.zeros(0, int), np.zeros(0, int), n_classes=2)
