"""Faces keep their track; simulated people serve as the oracle."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ConfigError, InputError
from mien.structures import Box, Face
from mien.vision.track import Tracker

SIDE = 100.0
POINTS = np.array([(30, 40), (70, 40), (50, 60), (35, 75), (65, 75)], np.float32)

Seen = list[tuple[int, Face]]  # of a frame: the true person, and the detected face


def face(x: float, y: float = 0.0, *, side: float = SIDE, score: float = 0.9, points: bool = False) -> Face:
    """A face by the corner of its box."""
    x, y, side = float(x), float(y), float(side)
    return Face(Box(x, y, x + side, y + side), score, POINTS + np.float32([x, y]) if points else None)


def numbers(faces: list[Face]) -> list[int | None]:
    return [f.track_id for f in faces]


def follow(tracker: Tracker, speed: float, *, seconds: float, start: float = 0.0, fps: int = 30) -> list[Face]:
    """Track one face that moves to the right at a speed in pixels per second; return its tracked faces."""
    times = start + np.arange(round(seconds * fps)) / fps
    return [tracker.update([face(speed * t, points=True)], float(t))[0] for t in times]


def walk(
    seed: int, *, people: int = 4, fps: float = 30, seconds: float = 10, missed: float = 0.3, area: float = 8.0
) -> list[tuple[float, Seen]]:
    """Simulate people who walk about, turn at will and at walls; the detector is noisy and sees one of two who overlap.

    Args:
        seed: Of all of it.
        people: How many.
        fps: Frames per second.
        seconds: How long.
        missed: Share of faces that the detector misses.
        area: Side of the room, in sides of a face; speeds are about one side a second.
    """
    rng = np.random.default_rng(seed)
    place, speed = rng.uniform(0, area, (people, 2)), rng.normal(0, 1, (people, 2))
    clip: list[tuple[float, Seen]] = []
    for frame in range(round(seconds * fps)):
        seen: Seen = []
        for person in range(people):
            x, y = SIDE * (place[person] + rng.normal(0, 0.01, 2))
            found = face(x, y, side=SIDE * np.exp(rng.normal(0, 0.015)), score=rng.uniform(0.6, 1))
            covered = any(found.box.iou(other.box) > 0.3 for _, other in seen)
            if rng.random() >= missed and not covered:
                seen.append((person, found))
        clip.append((frame / fps, [seen[i] for i in rng.permutation(len(seen))]))
        keep = np.exp(-1 / fps / 0.8)  # a random walk of the speed that is forgotten after 0.8 s
        speed = keep * speed + np.sqrt(1 - keep**2) * rng.normal(0, 1, (people, 2))
        place = place + speed / fps
        speed[(place < 0) | (place > area)] *= -1
        place = place.clip(0, area)
    return clip


def count_switches(clip: list[tuple[float, Seen]], tracker: Tracker) -> int:
    """Count how often a person gets another number than before."""
    last: dict[int, int | None] = {}
    switches = 0
    for time, seen in clip:
        for (person, _), found in zip(seen, tracker.update([f for _, f in seen], time), strict=True):
            switches += last.get(person, found.track_id) != found.track_id
            last[person] = found.track_id
    return switches


def best_pairs(overlaps: np.ndarray) -> float:
    """Return the largest sum of overlaps that one-to-one pairs can have, by trying all."""
    table = overlaps if overlaps.shape[0] <= overlaps.shape[1] else overlaps.T
    rows, columns = table.shape
    return max(float(table[range(rows), list(order)].sum()) for order in permutations(range(columns), rows))


class TestTracker:
    def test_faces_come_back_in_their_order_with_numbers_from_left_to_right(self) -> None:
        given = [face(500, score=0.9, points=True), face(0, score=0.8), face(250, score=0.7)]
        found = Tracker().update(given, 0.0)
        assert numbers(found) == [3, 1, 2]
        assert [replace(f, track_id=None) for f in found] == given
        assert found[0].landmarks is given[0].landmarks
        assert Tracker().update([], 0.0) == []

    @pytest.mark.parametrize("fps", [8, 30, 120])
    @pytest.mark.parametrize("speed", [0.0, 90.0, -300.0])
    def test_a_face_that_moves_straight_keeps_its_number(self, speed: float, fps: int) -> None:
        assert set(numbers(follow(Tracker(), speed, seconds=2, fps=fps))) == {1}

    def test_a_face_keeps_its_number_at_any_frame_rate_that_changes(self) -> None:
        tracker = Tracker()
        times = np.cumsum(np.random.default_rng(0).choice([0.01, 0.03, 0.1, 0.2], 60))
        assert {tracker.update([face(250 * t)], float(t))[0].track_id for t in times} == {1}

    @pytest.mark.parametrize("speed", [40, 150, 400])
    @pytest.mark.parametrize("fps", [12, 30])
    def test_faces_that_cross_keep_their_numbers(self, speed: float, fps: int) -> None:
        tracker, reach = Tracker(), 250.0
        for time in np.arange(0, 2 * reach / speed, 1 / fps):
            right, left = face(speed * time), face(2 * reach - speed * time, y=2)
            assert numbers(tracker.update([right, left], float(time))) == [1, 2], time

    @pytest.mark.parametrize("kept", [0, 1])
    def test_faces_that_cross_keep_their_numbers_though_the_detector_sees_one_of_two(self, kept: int) -> None:
        tracker, speed, reach = Tracker(), 200.0, 250.0
        for time in np.arange(0, 2 * reach / speed, 1 / 30):
            both = [face(speed * time), face(2 * reach - speed * time, y=2)]
            seen = [kept] if both[0].box.iou(both[1].box) > 0.3 else [0, 1]
            assert numbers(tracker.update([both[i] for i in seen], float(time))) == [i + 1 for i in seen], time

    def test_a_face_hidden_for_half_a_second_keeps_its_number_on_the_move(self) -> None:
        tracker = Tracker()
        follow(tracker, 200, seconds=1)
        assert set(numbers(follow(tracker, 200, seconds=1, start=1.5))) == {1}

    def test_a_face_hidden_for_three_seconds_gets_a_new_number(self) -> None:
        tracker = Tracker()
        follow(tracker, 0, seconds=1)
        assert set(numbers(follow(tracker, 0, seconds=1, start=4))) == {2}

    def test_a_track_outlives_its_gap_and_no_longer_while_others_are_seen(self) -> None:
        for gap, number in ((0.9, 1), (1.1, 3)):
            tracker = Tracker(max_gap=1.0)
            tracker.update([face(0), face(500)], 0.0)
            for time in (0.3, 0.6, gap - 0.05):
                tracker.update([face(500)], time)
            assert numbers(tracker.update([face(0)], gap)) == [number]

    def test_a_time_before_the_last_one_ends_tracks_and_no_number_is_reused(self) -> None:
        tracker = Tracker()
        follow(tracker, 0, seconds=1, start=5)
        assert tracker.predict(2.0) == []
        assert numbers(tracker.update([face(0)], 0.0)) == [2]
        assert not tracker.steady
        tracker.reset()
        assert tracker.predict(0.0) == []
        assert numbers(tracker.update([face(0)], 0.1)) == [3]

    def test_a_frame_of_the_same_time_continues_tracks(self) -> None:
        tracker = Tracker()
        assert [numbers(tracker.update([face(0)], 1.0)) for _ in range(3)] == [[1]] * 3

    @given(st.permutations(range(6)), st.integers(0, 99))
    def test_the_order_of_detections_does_not_matter(self, order: list[int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        plain, mixed = Tracker(), Tracker()
        start, speed = rng.uniform(0, 300, (6, 2)), rng.uniform(-200, 200, (6, 2))
        scores = rng.uniform(0.5, 1, 6)
        for time in np.arange(8) / 10:
            faces = [face(*(start[i] + time * speed[i]), score=scores[i]) for i in range(6)]
            expected = numbers(plain.update(faces, float(time)))
            got = numbers(mixed.update([faces[i] for i in order], float(time)))
            assert got == [expected[i] for i in order]

    @given(st.integers(0, 10_000))
    def test_every_face_has_a_number_of_its_own(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        tracker = Tracker()
        for time in np.arange(5) / 10:
            corners = rng.uniform(0, 150, (int(rng.integers(0, 7)), 2))
            got = numbers(tracker.update([face(*c, score=rng.uniform(0, 1)) for c in corners], float(time)))
            assert None not in got
            assert len(set(got)) == len(got)

    def test_a_face_of_high_score_is_matched_before_a_nearer_one_of_low_score(self) -> None:
        tracker = Tracker()
        tracker.update([face(0)], 0.0)
        assert numbers(tracker.update([face(5, score=0.5), face(20, score=0.9)], 0.1)) == [2, 1]
        tracker = Tracker()
        tracker.update([face(0)], 0.0)
        assert numbers(tracker.update([face(5, score=0.9), face(20, score=0.9)], 0.1)) == [1, 2]

    def test_a_face_of_low_score_continues_a_track(self) -> None:
        tracker = Tracker()
        tracker.update([face(0), face(300)], 0.0)
        assert numbers(tracker.update([face(300, score=0.5), face(0)], 0.1)) == [2, 1]

    @pytest.mark.parametrize("seed", range(4))
    def test_faces_missed_at_random_hardly_ever_change_their_number(self, seed: int) -> None:
        clip = walk(seed)
        assert sum(len(seen) for _, seen in clip) > 600
        assert count_switches(clip, Tracker()) <= 2

    def test_greedy_pairs_of_walking_people_are_the_best_ones(self) -> None:
        compared = 0
        tracker = Tracker(confirm=1)
        for time, seen in walk(1, people=5, missed=0.1, area=4.0):
            faces = [f for _, f in seen]
            foreseen = {f.track_id: f.box for f in tracker.predict(time)}
            found = tracker.update(faces, time)
            if not foreseen or not faces:
                continue
            overlaps = np.array([[box.iou(f.box) for f in faces] for box in foreseen.values()])
            overlaps[overlaps < tracker.min_iou] = 0
            ours = sum(foreseen[f.track_id].iou(f.box) for f in found if f.track_id in foreseen)
            assert ours >= best_pairs(overlaps) - 0.02
            compared += 1
        assert compared > 250

    @pytest.mark.parametrize("speed", [60.0, 300.0])
    def test_faces_are_predicted_by_a_constant_speed(self, speed: float) -> None:
        tracker = Tracker()
        last = follow(tracker, speed, seconds=1)[-1]
        (foreseen,) = tracker.predict(1.2)
        assert foreseen.box.x1 == pytest.approx(speed * 1.2, abs=1)
        assert foreseen.box.y1 == pytest.approx(0, abs=1)
        assert (foreseen.box.width, foreseen.box.height) == pytest.approx((SIDE, SIDE))
        assert foreseen.landmarks is not None
        np.testing.assert_allclose(foreseen.landmarks, POINTS + np.array([speed * 1.2, 0]), atol=1)
        assert foreseen.landmarks.dtype == np.float32
        assert (foreseen.score, foreseen.track_id) == (last.score, 1)

    def test_predicting_does_not_change_the_tracks(self) -> None:
        asked, silent = Tracker(), Tracker()
        for time in np.arange(30) / 30:
            moving = [face(200 * time)]
            assert asked.update(moving, float(time)) == silent.update(moving, float(time))
            asked.predict(time + 0.02)
        assert asked.predict(1.1) == silent.predict(1.1)

    def test_predicted_faces_come_in_the_order_of_the_last_update(self) -> None:
        tracker = Tracker(confirm=1)
        tracker.update([face(0), face(300), face(600)], 0.0)
        last = tracker.update([face(600, score=0.5), face(0, score=0.5), face(310)], 0.1)
        assert numbers(tracker.predict(0.2)) == numbers(last) == [3, 1, 2]

    def test_only_living_confirmed_faces_are_predicted(self) -> None:
        tracker = Tracker(confirm=3, max_gap=1.0)
        for time in (0.0, 0.1):
            tracker.update([face(0)], time)
        assert tracker.predict(0.2) == []
        tracker.update([face(0)], 0.2)
        assert numbers(tracker.predict(1.1)) == [1]
        assert tracker.predict(1.3) == []

    def test_steady_means_all_faces_confirmed_detected_and_slow(self) -> None:
        tracker = Tracker(confirm=3)
        assert not tracker.steady  # nobody is there
        states = []
        for time in (0.0, 0.1, 0.2):
            tracker.update([face(0)], time)
            states.append(tracker.steady)
        assert states == [False, False, True]
        tracker.update([face(0), face(400)], 0.3)  # somebody new
        assert not tracker.steady
        tracker.update([face(0)], 0.4)  # it was a false alarm
        assert tracker.steady
        tracker.update([], 0.5)  # a known face is hidden
        assert not tracker.steady

    def test_a_fast_face_is_not_steady(self) -> None:
        for speed, steady in ((30, True), (70, False)):  # of 50 pixels, half a side, per second
            tracker = Tracker(slow=0.5)
            follow(tracker, speed, seconds=1)
            assert tracker.steady == steady

    @pytest.mark.parametrize("name", ["max_gap", "confirm", "min_iou", "noise", "acceleration", "slow"])
    @pytest.mark.parametrize("value", [0, -1, float("nan")])
    def test_settings_out_of_range_are_refused(self, name: str, value: float) -> None:
        with pytest.raises(ConfigError, match=f"{name} is {value}; expected more than 0"):
            Tracker(**{name: value})

    @pytest.mark.parametrize("time", [float("nan"), float("inf")])
    def test_a_time_that_is_not_finite_is_refused_and_tracks_stay(self, time: float) -> None:
        tracker = Tracker()
        follow(tracker, 0, seconds=1)
        with pytest.raises(InputError, match="expected a finite time"):
            tracker.update([face(0)], time)
        assert numbers(tracker.update([face(0)], 1.0)) == [1]

    def test_an_empty_box_is_accepted(self) -> None:
        tracker = Tracker(confirm=1)
        empty = Face(Box(5, 5, 5, 5), 0.9)
        assert [numbers(tracker.update([empty, face(0)], time)) for time in (0.0, 0.1)] == [[2, 1], [3, 1]]
        assert not tracker.steady
