"""Half-life smoothing counts in seconds; the temporal smoother is tested in tests/models/test_temporal.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ConfigError
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.structures import Box, Expression, Face, Prediction
from mien.vision.smooth import HalfLifeSmoother


def shows(*probabilities: float, track: int | None = 1, labels: LabelSet = FER2013) -> Expression:
    """An expression by its first probabilities; the last label takes the rest."""
    row = np.zeros(len(labels), np.float32)
    row[: len(probabilities)] = probabilities
    row[-1] += 1 - row.sum()
    return Expression(Face(Box(0, 0, 9, 9), 0.9, track_id=track), Prediction(row, labels), min_confidence=0.3)


def smoothed(smoother: HalfLifeSmoother, expression: Expression, time: float) -> np.ndarray:
    (result,) = smoother.update([expression], time)
    return result.prediction.probabilities


ANGRY, CALM = shows(1.0), shows(0.0)


def test_a_frame_one_half_life_old_weighs_half() -> None:
    smoother = HalfLifeSmoother(0.3)
    assert smoothed(smoother, ANGRY, 0.0)[0] == 1
    assert smoothed(smoother, CALM, 0.3)[0] == pytest.approx(0.5)
    assert smoothed(smoother, CALM, 0.9)[0] == pytest.approx(0.125)


def test_the_prediction_of_the_frame_alone_stays_in_raw() -> None:
    smoother = HalfLifeSmoother(0.3)
    smoother.update([ANGRY], 0.0)
    (result,) = smoother.update([CALM], 0.1)
    assert result.raw is CALM.prediction
    assert result.label == "angry"
    assert (result.face, result.min_confidence) == (CALM.face, 0.3)


@given(st.floats(0.01, 3), st.floats(0, 2), st.floats(0, 1), st.floats(0, 1))
def test_two_steps_equal_one_whole_step(half_life: float, step: float, part: float, angry: float) -> None:
    split, whole = HalfLifeSmoother(half_life), HalfLifeSmoother(half_life)
    new = shows(angry)
    for smoother in (split, whole):
        smoother.update([ANGRY], 0.0)
    smoothed(split, new, part * step)
    np.testing.assert_allclose(smoothed(split, new, step), smoothed(whole, new, step), atol=2e-6)


@given(st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=20))
def test_probabilities_sum_to_one_and_stay_between_those_seen(steps: list[tuple[float, float, float]]) -> None:
    smoother, time = HalfLifeSmoother(0.2), 0.0
    for gap, first, second in steps:
        time += gap
        row = smoothed(smoother, shows(first, second), time)
        assert row.sum() == pytest.approx(1, abs=1e-5)
        assert row[0] <= max(first for _, first, _ in steps) + 1e-6
        assert row[0] >= min(first for _, first, _ in steps) - 1e-6


def test_tracks_do_not_mix() -> None:
    smoother = HalfLifeSmoother(0.3)
    smoother.update([shows(1.0, track=1), shows(0.0, track=2)], 0.0)
    first, second = smoother.update([shows(1.0, track=2), shows(1.0, track=1)], 0.3)
    assert first.prediction.probabilities[0] == pytest.approx(0.5)
    assert second.prediction.probabilities[0] == 1


def test_a_track_missed_for_a_frame_continues_by_its_own_time() -> None:
    smoother = HalfLifeSmoother(0.3)
    smoother.update([ANGRY], 0.0)
    smoother.update([], 0.1)
    assert smoothed(smoother, CALM, 0.3)[0] == pytest.approx(0.5)


def test_smoother_forgets_a_face_that_left() -> None:
    smoother = HalfLifeSmoother(0.1)
    smoother.update([ANGRY, shows(1.0, track=2)], 0.0)
    smoother.update([ANGRY], 2.9)
    smoother.update([ANGRY], 3.1)
    assert set(smoother._last) == {1}
    assert smoothed(smoother, shows(0.0, track=2), 3.2)[0] == 0


def test_a_face_without_a_track_passes_unchanged() -> None:
    smoother = HalfLifeSmoother(0.3)
    stranger = shows(0.5, track=None)
    for time in (0.0, 0.1):
        assert smoother.update([stranger], time)[0] is stranger


def test_a_half_life_of_zero_changes_nothing() -> None:
    smoother = HalfLifeSmoother(0)
    assert smoother.update([ANGRY], 0.0)[0] is ANGRY
    assert smoother.update([CALM], 0.0)[0] is CALM


def test_another_label_set_starts_anew() -> None:
    smoother = HalfLifeSmoother(0.3)
    smoother.update([ANGRY], 0.0)
    other = shows(0.0, labels=FERPLUS)
    (result,) = smoother.update([other], 0.1)
    assert result.prediction.labels == FERPLUS
    np.testing.assert_array_equal(result.prediction.probabilities, other.prediction.probabilities)


def test_a_time_before_the_last_one_starts_anew() -> None:
    smoother = HalfLifeSmoother(0.3)
    smoother.update([ANGRY], 5.0)
    assert smoothed(smoother, CALM, 1.0)[0] == 0


@pytest.mark.parametrize("half_life", [-0.1, float("nan"), float("inf")])
def test_a_half_life_out_of_range_is_refused(half_life: float) -> None:
    with pytest.raises(ConfigError, match="expected 0 or more; in seconds"):
        HalfLifeSmoother(half_life)
