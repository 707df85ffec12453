import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mien.evaluation.ranking import pair_auc


def probabilities_of(n, k=4, *, rounded=None, seed=0):
    drawn = np.random.default_rng(seed).dirichlet(np.ones(k), n)
    return (drawn if rounded is None else np.round(drawn, rounded) + 0.01).astype(np.float32)


def test_the_auc_counts_pairs_in_order_and_ties_half():
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [0.5, 0.5], [0.1, 0.9]], np.float32)
    found = pair_auc(probabilities, np.array([0, 0, 1, 1]), first=0, second=1)
    assert (found.value, found.n_first, found.n_second) == ((1 + 1 + 0.5 + 1) / 4, 2, 2)


@pytest.mark.parametrize("rounded", [None, 1])  # with rounding, many ties
def test_the_auc_is_scikit_learns_on_the_ratio_of_two_probabilities(rounded):
    probabilities, targets = probabilities_of(300, rounded=rounded), np.random.default_rng(1).integers(0, 4, 300)
    of_pair = np.isin(targets, [1, 3])
    ratio = np.log(probabilities[of_pair, 3].astype(float)) - np.log(probabilities[of_pair, 1].astype(float))
    expected = roc_auc_score(targets[of_pair] == 3, ratio)
    assert pair_auc(probabilities, targets, first=3, second=1).value == pytest.approx(expected, abs=1e-12)


def test_swapping_the_classes_changes_neither_the_auc_nor_its_interval():
    probabilities, targets = probabilities_of(100), np.random.default_rng(1).integers(0, 4, 100)
    a, b = pair_auc(probabilities, targets, first=0, second=2), pair_auc(probabilities, targets, first=2, second=0)
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


def test_the_interval_covers_the_true_auc_about_95_times_in_100():
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        logits = np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 60)])
        probabilities = np.stack([1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits))], 1).astype(np.float32)
        found = pair_auc(probabilities, np.repeat([0, 1], 60), first=0, second=1)
        covered += found.low <= 0.76025 <= found.high  # Φ(1 / √2), of two unit normals one apart
    assert 0.9 <= covered / 300 <= 0.99


def test_a_perfect_ranking_has_no_interval_and_probabilities_of_zero_are_ranked():
    probabilities = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
    found = pair_auc(probabilities, np.array([0, 0, 1]), first=0, second=1)
    assert (found.value, found.low, found.high) == (1, None, None)


def test_there_is_no_auc_without_images_of_both_classes():
    assert pair_auc(probabilities_of(3), np.array([0, 0, 2]), first=0, second=1) is None
