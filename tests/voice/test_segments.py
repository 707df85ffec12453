"""Utterances are cut at pauses, judged on their speech alone, and never before there is enough of it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.structures import SAMPLE_RATE, Block
from mien.voice.segments import Segment, Segmenter
from mien.voice.speech import STEP

STEP_SECONDS = STEP / SAMPLE_RATE


def steps(*parts: tuple[float, float]) -> list[tuple[float, float]]:
    """Return (time, probability) of each step, for parts given as (seconds, probability)."""
    probabilities = [p for seconds, p in parts for _ in range(round(seconds / STEP_SECONDS))]
    return [(i * STEP_SECONDS, p) for i, p in enumerate(probabilities)]


def segments(timed: list[tuple[float, float]], segmenter: Segmenter | None = None) -> list[Segment]:
    segmenter = segmenter or Segmenter()
    found = [s for t, p in timed for s in segmenter.feed(Block(t, np.full(STEP, p, np.float32)), p)]
    return found + segmenter.finish()


def test_an_utterance_is_judged_from_one_and_a_half_seconds_on_then_each_half_second_then_at_the_pause() -> None:
    found = segments(steps((1, 0), (3, 0.9), (1, 0)))
    assert [s.final for s in found] == [False, False, False, False, True]
    assert [s.speech_seconds for s in found[:4]] == pytest.approx([1.5, 2.0, 2.5, 3.0], abs=2 * STEP_SECONDS)
    last = found[-1]
    assert last.start == pytest.approx(1, abs=2 * STEP_SECONDS)
    assert last.end == pytest.approx(4.1, abs=2 * STEP_SECONDS)  # words end softly
    assert last.speech_seconds == pytest.approx(3, abs=0.2)


def test_provisional_answers_are_about_the_last_three_seconds_and_the_final_one_about_all() -> None:
    found = segments(steps((6, 0.9), (1, 0)))
    assert max(len(s.samples) for s in found if not s.final) == 3 * SAMPLE_RATE
    assert len(found[-1].samples) == round(found[-1].speech_seconds * SAMPLE_RATE)
    assert found[-1].speech_seconds > 6


def test_one_second_of_speech_is_never_judged_but_counted() -> None:
    segmenter = Segmenter()
    assert segments(steps((0.5, 0), (1, 0.9), (1, 0), (1.2, 0.9)), segmenter) == []
    assert segmenter.n_short == 2


def test_speech_without_a_pause_is_cut_at_ten_seconds() -> None:
    found = [s for s in segments(steps((25, 0.9))) if s.final]
    assert [s.speech_seconds for s in found] == pytest.approx([10, 10, 5], abs=0.2)
    assert all(before.end <= after.start + 1e-9 for before, after in itertools.pairwise(found))


def test_a_short_pause_is_left_out_of_the_speech_but_ends_no_utterance() -> None:
    (last,) = (s for s in segments(steps((1.5, 0.9), (0.4, 0), (1.5, 0.9), (1, 0))) if s.final)
    assert last.end - last.start == pytest.approx(3.4, abs=0.1)
    assert last.speech_seconds == pytest.approx(3.2, abs=0.1)  # and a tenth of a second after each part


@pytest.mark.parametrize(("silence", "n"), [(0.45, 1), (0.55, 2)])
def test_half_a_second_without_speech_ends_an_utterance(silence: float, n: int) -> None:
    assert len([s for s in segments(steps((2, 0.9), (silence, 0), (2, 0.9), (1, 0))) if s.final]) == n


def test_an_utterance_begins_one_step_before_its_speech() -> None:
    timed = steps((1, 0.49), (2, 0.5), (1, 0))
    first = next(t for t, p in timed if p == 0.5)
    *_, last = segments(timed)
    assert last.start == pytest.approx(first - STEP_SECONDS)
    assert (last.samples[:STEP] == np.float32(0.49)).all()
    assert (last.samples[STEP : 2 * STEP] == 0.5).all()


def test_a_jump_of_time_is_a_pause() -> None:
    before, after = steps((2, 0.9)), [(t + 5, p) for t, p in steps((2, 0.9))]
    first, second = (s for s in segments(before + after) if s.final)
    assert (first.end, second.start) == pytest.approx((2, 5), abs=2 * STEP_SECONDS)


def test_soft_speech_goes_on_but_does_not_begin() -> None:
    assert segments(steps((3, 0.4))) == []
    assert segments(steps((0.1, 0.9), (3, 0.4)))[-1].speech_seconds == pytest.approx(3.1, abs=0.1)


@given(st.lists(st.tuples(st.floats(0.1, 4), st.sampled_from([0.0, 0.4, 0.9])), max_size=8))
def test_utterances_follow_each_other_and_hold_enough_speech(parts: list[tuple[float, float]]) -> None:
    found = segments(steps(*parts))
    for segment in found:
        assert 1.5 <= segment.speech_seconds <= 10 + STEP_SECONDS
        assert segment.speech_seconds <= segment.end - segment.start + 1e-9
        assert len(segment.samples) <= round(segment.speech_seconds * SAMPLE_RATE)
    over = [s for s in found if s.final]
    assert all(before.end <= after.start + 1e-9 for before, after in itertools.pairwise(over))
