"""Track faces from frame to frame. See docs/decisions/0021."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError, InputError
from mien.structures import Box, Face

Point = npt.NDArray[np.float64]  # (2,): x, y
START_SPEED = 1.0  # sides of the face per second, standard deviation of a new face; no effect from 0.3 to 3


@dataclass(frozen=True, slots=True)
class _Track:
    """The state of a track at its last detection.

    Args:
        face: The detected face, with the number of the track.
        seen: Time of the detection in seconds.
        hits: Number of detections.
        centre: Filtered centre of the box, in pixels.
        speed: Filtered speed, in pixels per second.
        covariance: Variance of the centre, covariance with the speed, variance of the speed, the same for x and y, in
            sides of the face.
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
        """Return the face predicted for a time: box and landmarks shifted by the speed."""
        dx, dy = (float(v) for v in self.speed * (time - self.seen))
        box, points = self.face.box, self.face.landmarks
        moved = None if points is None else points + np.array([dx, dy], np.float32)
        return replace(self.face, box=Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy), landmarks=moved)


class Tracker:
    """Tracks the faces of one source.

    As in SORT (Bewley et al. 2016, arXiv:1602.00763), a Kalman filter of constant speed predicts the place of each
    face, and a detection there continues its track. As in ByteTrack (Zhang et al. 2022, arXiv:2110.06864), faces of
    high score are matched before those of low score. Motion is measured in seconds, so the frame rate may vary; below
    one frame per `max_gap`, no track lasts.

    The filter has the centre alone, and a box keeps its last size: with the size and its growth in the filter, boxes
    predicted over 0.1 to 0.4 s on our clips had a lower IoU with the detector's (0.905 against 0.932 with Haar, 0.956
    against 0.964 with YuNet), since sizes are noisier than places and rarely grow at constant speed.

    Args:
        max_gap: Seconds from the last detection to the end of a track: about the time to turn the head away or to walk
            past someone; after a second without a detection the predicted place is a guess.
        confirm: Number of detections that confirm a track; a false alarm rarely lasts for three frames.
        sure: Minimum score of the faces that are matched first. Faces in front of a camera have 0.76 or more with Haar
            on our clips, 0.93 with YuNet; others are small, half hidden or false.
        min_iou: Minimum IoU of a detection with the predicted box. Low, since the speed of a new track is unknown:
            with 0.1, simulated lively faces at 10 frames per second change numbers half as often as with 0.2.
        noise: Standard deviation of a detected centre, in sides of the face. On calm clips 0.005 with Haar, 0.002 with
            YuNet; larger, since both drift as the head turns.
        acceleration: Standard deviation of the speed after one second, in sides of the face per second. 2 and 3 were
            best on simulated faces; there is little difference from 1 to 5.
        slow: Maximum speed of a steady face, in sides of the face per second. For a face that sways at up to 2.5,
            boxes predicted over 0.2 s have an IoU of only 0.75 with the detector's (benchmarks/tracking.py --slow 99).

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
        self._count = 0  # of all tracks so far

    def update(self, faces: Sequence[Face], time: float) -> list[Face]:
        """Return the faces of a frame with their tracks.

        A time before the last one ends all tracks. Numbers are never reused.

        Args:
            faces: Detected faces, in any order.
            time: Time of the frame in seconds.

        Returns:
            The same faces in the same order with `track_id`, from 1; new ones are numbered left to right.

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
        """Return the predicted faces of a frame without detection: those of all confirmed tracks.

        Faces of the last update come first, in its order. Box and landmarks of the last detection are shifted by the
        speed; score and track stay. The state of the tracks does not change.

        Args:
            time: Time of the frame in seconds; faces detected later are left out.
        """
        living = [track for track in self._tracks if 0 <= time - track.seen <= self.max_gap]
        return [track.at(time) for track in living if track.hits >= self.confirm]

    @property
    def steady(self) -> bool:
        """Whether detection may be skipped: there are faces, all confirmed, detected in the last update, and slow.

        Tracks lost before they were confirmed don't count. False without faces, so that a new face is found at once.
        """
        tracks = [track for track in self._tracks if track.seen == self._time or track.hits >= self.confirm]
        return bool(tracks) and all(
            track.seen == self._time and track.hits >= self.confirm and track.pace <= self.slow for track in tracks
        )

    def reset(self) -> None:
        """End all tracks; the next faces get new numbers."""
        self._tracks = []

    def _pairs(self, tracks: Sequence[_Track], faces: Sequence[Face], time: float) -> Iterator[tuple[int, int]]:
        """Yield matches (track, face) by decreasing overlap, faces of high score first.

        Greedy, since right pairs overlap far more than wrong ones, even for faces that cross, whose speeds differ. On
        simulated crowds the optimal assignment (Hungarian method) swapped numbers exactly as often.
        """
        predicted = [track.at(time).box for track in tracks]
        candidates = [
            # Ties are broken by number and place, so that the order of the faces has no effect.
            (face.score < self.sure, -overlap, tracks[t].face.track_id, face.box.x1, face.box.y1, t, f)
            for t, box in enumerate(predicted)
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
        """Predict a track to the time of a detection and correct it: one step of the Kalman filter.

        x and y are independent and equally noisy, so one covariance, in sides of the face, serves both. The speed is a
        random walk, whose noise adds up over gaps: frames without a detection need no step.
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
