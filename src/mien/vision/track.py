"""Faces keep their number from frame to frame, and what they show is smoothed over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError, InputError
from mien.structures import Box, Face

Point = npt.NDArray[np.float64]  # (2,): x, y
START_SPEED = 1.0  # sides of the face per second, standard deviation for a new face; from 0.3 to 3 nothing changes


@dataclass(frozen=True, slots=True)
class _Track:
    """A followed face as it was at its last detection.

    Args:
        face: What was detected, with the number of the track.
        seen: When, in seconds.
        hits: How many detections there were.
        centre: Filtered centre of the box, in pixels.
        speed: In pixels per second.
        covariance: Variance of the centre, covariance with the speed, variance of the speed, each for x and for y,
            in sides of the face.
    """

    face: Face
    seen: float
    hits: int
    centre: Point
    speed: Point
    covariance: tuple[float, float, float]

    @property
    def pace(self) -> float:
        """Speed in sides of the face per second."""
        return math.hypot(*self.speed) / math.sqrt(max(self.face.box.area, 1.0))

    def at(self, time: float) -> Face:
        """Return the face where it should be at a time: box and landmarks moved alike."""
        dx, dy = (float(v) for v in self.speed * (time - self.seen))
        box, points = self.face.box, self.face.landmarks
        moved = None if points is None else points + np.array([dx, dy], np.float32)
        return replace(self.face, box=Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy), landmarks=moved)


class Tracker:
    """Follows faces through the frames of one source.

    In the manner of SORT (Bewley et al. 2016, arXiv:1602.00763): a Kalman filter of constant speed foresees where each
    face will be, and what the detector finds there carries its number on. As in ByteTrack (Zhang et al. 2022,
    arXiv:2110.06864) sure faces choose their tracks before unsure ones. All motion is in seconds, so the frame rate
    may be any and may change.

    The filter runs on the centre alone and a box keeps its last size: with size and its growth in the filter, boxes
    foreseen over 0.1 to 0.4 s on our clips overlapped less with the detector's (IoU 0.905 against 0.932 with Haar,
    0.956 against 0.964 with YuNet), since a size is noisier than a place and seldom grows at constant speed.

    Args:
        max_gap: Seconds that a track outlives its last detection. About as long as a head turns away, or someone walks
            past; after a second without a look the foreseen place is a guess.
        confirm: Detections that confirm a track; fewer may be a false alarm, which seldom lasts for three frames.
        sure: Faces of this score or more choose first. Faces before a camera have 0.76 or more with Haar on our clips,
            0.93 with YuNet; what has less is small, half hidden or none.
        min_iou: Least overlap of a face with where it was foreseen. Low, since nothing is known yet of a new track's
            speed: simulated lively faces at 10 frames a second change numbers half as often with 0.1 as with 0.2.
        noise: Standard deviation of a detected centre, in sides of the face. Haar's is 0.005 on calm clips, YuNet's
            0.002; more, since both wander as a head turns.
        acceleration: How quickly speed changes: its standard deviation after a second, in sides of the face per
            second. On simulated faces 2 and 3 did best; from 1 to 5 little changes.
        slow: Up to this speed, in sides of the face per second, a face counts as steady. Of one that sways at up to 2.5
            the foreseen boxes, over 0.2 s, overlap the detector's by 0.75 only (benchmarks/tracking.py --slow 99).

    Raises:
        ConfigError: A value is not positive.
    """

    def __init__(
        self,
        *,
        max_gap: float = 1.0,
        confirm: int = 3,
        sure: float = 0.7,
        min_iou: float = 0.1,
        noise: float = 0.02,
        acceleration: float = 2.0,
        slow: float = 0.5,
    ) -> None:
        positive = {"max_gap": max_gap, "confirm": confirm, "min_iou": min_iou}
        positive |= {"noise": noise, "acceleration": acceleration, "slow": slow}
        for name, value in positive.items():
            if not value > 0:
                raise ConfigError(f"{name} is {value}; expected more than 0")
        self.max_gap = max_gap
        self.confirm = confirm
        self.sure = sure
        self.min_iou = min_iou
        self.noise = noise
        self.acceleration = acceleration
        self.slow = slow
        self._tracks: list[_Track] = []
        self._time = 0.0  # of the last update
        self._count = 0  # of all tracks that ever were

    def update(self, faces: Sequence[Face], time: float) -> list[Face]:
        """Return the faces of a frame with their numbers.

        A time before the last one starts all tracks anew, as after a long gap; numbers go on, none is used twice.

        Args:
            faces: What the detector found in the frame, in any order.
            time: Of the frame, in seconds.

        Returns:
            The same faces in the same order, with `track_id`, from 1; new ones are numbered from left to right.

        Raises:
            InputError: The time is not a finite number.
        """
        if not math.isfinite(time):
            raise InputError(f"a frame at {time} s; expected a finite time")
        if time < self._time:
            self.reset()
        self._time = time
        living = [track for track in self._tracks if time - track.seen <= self.max_gap]
        owners = {face: track for track, face in self._pairs(living, faces, time)}
        newcomers = [i for i in range(len(faces)) if i not in owners]
        newcomers.sort(key=lambda i: (faces[i].box.x1, faces[i].box.y1))
        seen = {i: self._follow(living[track], faces[i], time) for i, track in owners.items()}
        seen |= {i: self._begin(faces[i], time) for i in newcomers}
        missed = [track for i, track in enumerate(living) if i not in owners.values()]
        self._tracks = [seen[i] for i in range(len(faces))] + missed
        return [track.face for track in self._tracks[: len(faces)]]

    def predict(self, time: float) -> list[Face]:
        """Return the living, confirmed faces where they should be, for a frame in which no detector looked.

        Those of the last update come first, in its order. Box and landmarks of the last detection are moved by the
        face's speed; score and number stay. Nothing is remembered of the call.

        Args:
            time: Of the frame, in seconds; a face that was detected later is left out.
        """
        living = [track for track in self._tracks if 0 <= time - track.seen <= self.max_gap]
        return [track.at(time) for track in living if track.hits >= self.confirm]

    @property
    def steady(self) -> bool:
        """Whether the detector may rest: there are faces, each is confirmed, seen in the last update, and slow.

        A face that was missed before it was confirmed does not count. Without any face the answer is no, so that one
        who comes is seen at once.
        """
        tracks = [track for track in self._tracks if track.seen == self._time or track.hits >= self.confirm]
        return bool(tracks) and all(
            track.seen == self._time and track.hits >= self.confirm and track.pace <= self.slow for track in tracks
        )

    def reset(self) -> None:
        """End all tracks. The next faces get new numbers."""
        self._tracks = []

    def _pairs(self, tracks: Sequence[_Track], faces: Sequence[Face], time: float) -> Iterator[tuple[int, int]]:
        """Yield (track, face) by falling overlap, sure faces first.

        Greedily, since the right pairs overlap far more than the wrong ones, with faces that cross too: the speeds
        tell them apart. On simulated crowds the optimal assignment (Hungarian method) swapped numbers exactly as often.
        """
        foreseen = [track.at(time).box for track in tracks]
        candidates = [
            # Equal overlaps go by number and place, so that the order of the faces does not matter.
            (face.score < self.sure, -overlap, tracks[t].face.track_id, face.box.x1, face.box.y1, t, f)
            for t, box in enumerate(foreseen)
            for f, face in enumerate(faces)
            if (overlap := box.iou(face.box)) >= self.min_iou
        ]
        free_tracks, free_faces = set(range(len(tracks))), set(range(len(faces)))
        for *_, t, f in sorted(candidates):
            if t in free_tracks and f in free_faces:
                free_tracks.remove(t)
                free_faces.remove(f)
                yield t, f

    def _begin(self, face: Face, time: float) -> _Track:
        self._count += 1
        unknown = (self.noise**2, 0.0, START_SPEED**2)
        return _Track(replace(face, track_id=self._count), time, 1, _centre(face.box), np.zeros(2), unknown)

    def _follow(self, track: _Track, face: Face, time: float) -> _Track:
        """Take a track to the time of a detection and correct it by that: one step of the Kalman filter.

        x and y do not depend on each other and are equally noisy, so one covariance, in sides of the face, serves both.
        Speed takes a random walk, whose noise over two gaps is that over both together: frames without a detection
        need no step.
        """
        gap, (place, both, speed) = time - track.seen, track.covariance
        place += gap * (2 * both + gap * speed) + self.acceleration**2 * gap**3 / 3
        both += gap * speed + self.acceleration**2 * gap**2 / 2
        speed += self.acceleration**2 * gap
        place_gain, speed_gain = place / (place + self.noise**2), both / (place + self.noise**2)
        surprise = _centre(face.box) - (track.centre + gap * track.speed)
        return _Track(
            replace(face, track_id=track.face.track_id),
            time,
            track.hits + 1,
            track.centre + gap * track.speed + place_gain * surprise,
            track.speed + speed_gain * surprise,
            ((1 - place_gain) * place, (1 - place_gain) * both, speed - speed_gain * both),
        )


def _centre(box: Box) -> Point:
    return np.array([(box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2])
