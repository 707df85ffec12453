import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn import metrics as oracle

from mien.evaluation.metrics import (
    accuracy,
    balanced_accuracy,
    brier,
    confusion_matrix,
    cross_entropy,
    ece,
    kl_divergence,
    macro_f1,
    nll,
    per_class,
    reliability,
    wilson_interval,
)

K = 5
pairs = st.lists(st.tuples(st.integers(0, K - 1), st.integers(0, K - 1)), min_size=1, max_size=60).map(
    lambda rows: tuple(np.array(rows, np.int64).T)
)


@st.composite
def answers(draw):
    """Probabilities float32 (n, K) and targets (n,)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 80))
    probabilities = rng.dirichlet(np.full(K, draw(st.sampled_from([0.1, 1.0, 10.0]))), size=n)
    return probabilities.astype(np.float32), rng.integers(0, K, n)


def test_confusion_matrix_has_true_classes_in_rows():
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), n_classes=3)
    assert matrix.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_confusion_matrix_of_nothing_is_all_zero():
    nothing = np.array([], np.int64)
    assert confusion_matrix(nothing, nothing, n_classes=2).tolist() == [[0, 0], [0, 0]]


@given(pairs)
def test_confusion_matrix_agrees_with_scikit_learn(pair):
    expected = oracle.confusion_matrix(*pair, labels=range(K))
    assert (confusion_matrix(*pair, n_classes=K) == expected).all()


@pytest.mark.parametrize("ids", [[0, 3], [-1, 0]])
def test_confusion_matrix_refuses_an_id_out_of_range(ids):
    with pytest.raises(ValueError, match=r"expected 0\.\.2"):
        confusion_matrix(np.array(ids), np.array([0, 0]), n_classes=3)


def test_confusion_matrix_refuses_different_lengths():
    with pytest.raises(ValueError, match="targets but"):
        confusion_matrix(np.array([0, 1]), np.array([0]), n_classes=2)


@given(pairs)
def test_accuracy_agrees_with_scikit_learn(pair):
    matrix = confusion_matrix(*pair, n_classes=K)
    assert accuracy(matrix) == pytest.approx(oracle.accuracy_score(*pair))


@given(pairs)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_balanced_accuracy_agrees_with_scikit_learn(pair):
    matrix = confusion_matrix(*pair, n_classes=K)
    assert balanced_accuracy(matrix) == pytest.approx(oracle.balanced_accuracy_score(*pair))


@given(pairs)
def test_macro_f1_agrees_with_scikit_learn(pair):
    expected = oracle.f1_score(*pair, average="macro", zero_division=0)
    assert macro_f1(confusion_matrix(*pair, n_classes=K)) == pytest.approx(expected)


@given(pairs)
def test_scores_per_class_agree_with_scikit_learn(pair):
    scores = per_class(confusion_matrix(*pair, n_classes=K))
    expected = oracle.precision_recall_fscore_support(*pair, labels=range(K), zero_division=0)
    ours = [[s.precision, s.recall, s.f1, s.support] for s in scores]
    np.testing.assert_allclose(ours, np.transpose(expected))


def test_a_class_that_never_occurs_scores_zero_and_does_not_count():
    matrix = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 0]])
    assert per_class(matrix)[2].f1 == 0
    assert balanced_accuracy(matrix) == 1
    assert macro_f1(matrix) == 1


@pytest.mark.parametrize("figure", [accuracy, balanced_accuracy, macro_f1])
def test_an_empty_confusion_matrix_has_no_metrics(figure):
    with pytest.raises(ValueError, match="at least one image"):
        figure(np.zeros((3, 3), np.int64))


# Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3
@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_reproduces_the_published_values(correct, n, low, high):
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


trials = st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(trials, st.floats(0.5, 0.999))
def test_wilson_interval_solves_the_score_equation(trial, confidence):
    correct, n = trial
    bounds = wilson_interval(correct, n, confidence=confidence)
    z_squared = oracle_z(confidence) ** 2
    for bound in bounds:
        gap = n * (correct / n - bound) ** 2
        assert gap == pytest.approx(z_squared * bound * (1 - bound), rel=1e-6, abs=1e-9)


def oracle_z(confidence):
    from scipy.stats import norm

    return norm.ppf((1 + confidence) / 2)


@given(trials)
def test_wilson_interval_encloses_the_share_within_0_and_1(trial):
    correct, n = trial
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1


@given(trials)
def test_wilson_interval_of_the_errors_is_the_mirrored_one(trial):
    correct, n = trial
    low, high = wilson_interval(correct, n)
    assert wilson_interval(n - correct, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(trials)
def test_wilson_interval_grows_with_confidence_and_shrinks_with_trials(trial):
    correct, n = trial
    low, high = wilson_interval(correct, n)
    surer_low, surer_high = wilson_interval(correct, n, confidence=0.99)
    more_low, more_high = wilson_interval(10 * correct, 10 * n)
    assert surer_high - surer_low > high - low > more_high - more_low


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(correct, n):
    with pytest.raises(ValueError, match="expected 0 <= correct <= n"):
        wilson_interval(correct, n)


def test_wilson_interval_refuses_certainty():
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence=1)


@given(answers())
@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
def test_nll_agrees_with_scikit_learn(answer):
    probabilities, targets = answer
    expected = oracle.log_loss(targets, probabilities, labels=range(K))
    assert nll(probabilities, targets) == pytest.approx(expected, rel=1e-4)


def test_nll_of_certain_and_right_answers_is_printed_without_a_sign():
    assert f"{nll(np.eye(2, dtype=np.float32), np.array([0, 1])):.2f}" == "0.00"


def test_nll_stays_finite_for_a_confident_error():
    assert nll(np.array([[1, 0]], np.float32), np.array([1])) == pytest.approx(15.94, abs=0.01)


def test_ece_is_the_gap_between_confidence_and_accuracy():
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 4, np.float32)
    targets = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    # in one bin 0.9 sure and 0.75 right, in the other 0.6 sure and always right
    assert ece(probabilities, targets) == pytest.approx((0.15 + 0.4) / 2)


def test_ece_of_a_certain_and_correct_model_is_zero():
    assert ece(np.eye(3, dtype=np.float32), np.arange(3)) == 0


def test_ece_puts_a_bound_into_the_bin_below():
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25]], np.float32)
    targets = np.array([1, 0])  # 0.5 sure and wrong, 0.75 sure and right: one bin nets them, two don't
    assert ece(probabilities, targets, bins=2) == pytest.approx((0.5 + 0.25) / 2)
    assert ece(probabilities, targets, bins=1) == pytest.approx(0.125)


@given(answers())
def test_ece_agrees_with_the_sum_over_bins_in_the_paper(answer):
    probabilities, targets = answer
    confidence, hits = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == targets
    total = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            total += inside.sum() / len(targets) * abs(hits[inside].mean() - confidence[inside].mean())
    assert ece(probabilities, targets) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("figure", [nll, ece])
def test_probabilities_that_do_not_fit_their_targets_are_refused(figure):
    probabilities = np.full((2, 3), 1 / 3, np.float32)
    for targets in ([0], [0, 3], [0, -1]):
        with pytest.raises(ValueError, match="expected"):
            figure(probabilities, np.array(targets))
    with pytest.raises(ValueError, match="n >= 1"):
        figure(probabilities[:0], np.array([], np.int64))


@given(answers())
def test_brier_agrees_with_scikit_learn(answer):
    probabilities, targets = answer
    exact = probabilities.astype(np.float64) / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    expected = oracle.brier_score_loss(targets, exact, labels=range(K), scale_by_half=False)
    assert brier(probabilities, targets) == pytest.approx(expected, abs=1e-5)


def test_brier_is_0_for_the_perfect_and_2_for_the_certain_and_wrong():
    certain = np.eye(3, dtype=np.float32)
    assert brier(certain, np.arange(3)) == 0
    assert brier(certain, np.array([1, 2, 0])) == 2


@given(answers())
def test_reliability_counts_every_image_in_the_bin_of_its_confidence(answer):
    probabilities, targets = answer
    bins = reliability(probabilities, targets, bins=10)
    assert sum(b.n for b in bins) == len(targets)
    assert all(b.low < b.confidence + 1e-6 and b.confidence <= b.high + 1e-6 for b in bins)
    right = (probabilities.argmax(axis=1) == targets).sum()
    assert sum(b.n * b.accuracy for b in bins) == pytest.approx(right)


def test_kl_of_the_target_distribution_itself_is_0():
    wanted = np.array([[0.2, 0.8, 0], [1, 0, 0]], np.float32)
    assert kl_divergence(wanted, wanted) == 0
    assert cross_entropy(wanted, wanted) == pytest.approx(-(0.2 * np.log(0.2) + 0.8 * np.log(0.8)) / 2)


def test_kl_agrees_with_scipy():
    wanted, predicted = np.random.default_rng(0).dirichlet(np.ones(8), size=(2, 50)).astype(np.float32)
    expected = np.mean([entropy(w, p) for w, p in zip(wanted, predicted, strict=True)])
    assert kl_divergence(predicted, wanted) == pytest.approx(expected, rel=1e-4)


def test_distributions_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        cross_entropy(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
