import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.evaluation.selective import aurc, operating_point, risk_coverage


def answers(confidences, right):
    """Make probabilities of two classes and targets, from confidences and whether each prediction is correct."""
    confidences = np.array(confidences, np.float32)
    return np.stack([confidences, 1 - confidences], 1), np.where(right, 0, 1)


def test_the_curve_counts_predictions_by_decreasing_confidence():
    curve = risk_coverage(*answers([0.6, 0.9, 0.8, 0.7], [False, True, False, True]))
    assert curve.thresholds == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert curve.n.tolist() == [1, 2, 3, 4]
    assert curve.wrong.tolist() == [0, 1, 1, 2]
    assert aurc(curve) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_predictions_of_equal_confidence_are_answered_together():
    curve = risk_coverage(*answers([0.9, 0.7, 0.7, 0.7], [True, False, True, True]))
    assert curve.n.tolist() == [1, 4]
    assert curve.wrong.tolist() == [0, 1]


def test_aurc_of_equal_confidences_is_the_error_rate():
    assert aurc(risk_coverage(*answers([0.7] * 5, [True, True, False, True, False]))) == pytest.approx(2 / 5)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_aurc_is_the_mean_risk_counted_by_a_loop(seed, n):
    rng = np.random.default_rng(seed)
    confidences, right = rng.permutation(np.linspace(0.55, 0.95, n)), rng.random(n) < 0.6
    order = np.argsort(-confidences)
    risks = [1 - right[order[:i]].mean() for i in range(1, n + 1)]
    assert aurc(risk_coverage(*answers(confidences, right))) == pytest.approx(np.mean(risks))


def test_aurc_of_ties_is_that_of_a_random_order_on_average():
    rng = np.random.default_rng(0)
    confidences, right = rng.choice([0.6, 0.7, 0.9], 30), rng.random(30) < 0.6
    broken = [aurc(risk_coverage(*answers(confidences + rng.uniform(0, 1e-3, 30), right))) for _ in range(2000)]
    assert aurc(risk_coverage(*answers(confidences, right))) == pytest.approx(np.mean(broken), abs=2e-3)


def test_the_operating_point_has_the_highest_coverage_that_reaches_the_target():
    curve = risk_coverage(*answers([0.95, 0.9, 0.8, 0.7, 0.6], [True, False, True, True, False]))
    found = operating_point(curve, 0.75)
    assert found.threshold == pytest.approx(0.7)
    assert (found.n, found.coverage, found.accuracy) == (4, 0.8, 0.75)
    assert found.low < 0.75 < found.high
    assert operating_point(curve, 0.6).coverage == 1
    assert operating_point(curve, 1.0).n == 1


def test_an_unreachable_accuracy_has_no_operating_point():
    assert operating_point(risk_coverage(*answers([0.9, 0.8], [False, True])), 0.9) is None


@pytest.mark.parametrize("wanted", [0, 1.01, -1])
def test_a_target_accuracy_out_of_range_is_refused(wanted):
    with pytest.raises(ValueError, match="more than 0 and at most 1"):
        operating_point(risk_coverage(*answers([0.9], [True])), wanted)
