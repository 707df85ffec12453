"""Smoothing what faces show over time: by a half-life, or by a temporal model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mien.errors import ConfigError
from mien.models.temporal import TemporalModel
from mien.structures import Expression, FloatArray, Prediction

FORGET_AFTER = 2.0  # seconds; longer gaps than 1 s were never learnt from, and a track mostly ends after one


class TemporalSmoother:
    """Says what each track shows, from its frames so far, by a temporal model; the counterpart of `track.Smoother`."""

    def __init__(self, model: TemporalModel) -> None:
        self.model = model
        self._last: dict[int, tuple[FloatArray, float]] = {}  # by track: state, and when, in seconds

    def update(self, expressions: Sequence[Expression], heads: FloatArray, time: float) -> list[Expression]:
        """Return the expressions of a frame with the model's predictions; what the frame alone shows is in `raw`.

        A face without a number passes unchanged. A face that left is forgotten after 2 seconds; all are when time goes
        back.

        Args:
            expressions: Of one frame.
            heads: What the classifier's heads say of their faces, side by side, (n, width).
            time: Of the frame, in seconds.
        """
        self._last = {track: last for track, last in self._last.items() if 0 <= time - last[1] <= FORGET_AFTER}
        rows = [i for i, expression in enumerate(expressions) if expression.face.track_id is not None]
        if not rows:
            return list(expressions)
        tracks = [expressions[i].face.track_id or 0 for i in rows]
        fresh = np.zeros(self.model.belongs.state, np.float32), time
        states, times = zip(*(self._last.get(track, fresh) for track in tracks), strict=True)
        seconds = np.array([[time - then] for then in times], np.float32)
        probabilities, new = self.model.step(heads[rows], seconds, np.stack(states))
        self._last |= {track: (state, time) for track, state in zip(tracks, new, strict=True)}
        found = dict(zip(rows, probabilities, strict=True))
        return [
            replace(e, prediction=Prediction(found[i], self.model.labels), raw=e.prediction) if i in found else e
            for i, e in enumerate(expressions)
        ]


FORGET_AFTER_HALF_LIVES = 30  # half-lives; then what was seen before weighs 1e-9, less than float32 can tell


class Smoother:
    """Smooths the probabilities of each track over time, so that labels do not flicker.

    Exponential smoothing by age, not by frames: what was seen a half-life ago weighs half. Thus frames may come at any
    times, and the same expression seen in two half steps or in one whole step gives the same.

    Args:
        half_life: In seconds; 0 smooths nothing. May be changed between frames. After 0.3 s a new expression that stays
            has half the weight: fast enough to follow a smile, slow enough to level out single frames.

    Raises:
        ConfigError: half_life is negative or not finite.
    """

    def __init__(self, half_life: float = 0.3) -> None:
        if not 0 <= half_life < math.inf:
            raise ConfigError(f"half_life is {half_life}; expected seconds, 0 or more")
        self.half_life = half_life
        self._last: dict[int, tuple[Prediction, float]] = {}  # by track: smoothed, and when, in seconds

    def update(self, expressions: Sequence[Expression], time: float) -> list[Expression]:
        """Return the expressions of a frame with smoothed predictions; what the frame alone shows is in `raw`.

        A face without a number passes unchanged. A new face, and one whose label set changed, starts with what it
        shows now. A face that left is forgotten after 30 half-lives; all are when time goes back.

        Args:
            expressions: Of one frame.
            time: Of the frame, in seconds.
        """
        if self.half_life == 0:
            return list(expressions)
        horizon = FORGET_AFTER_HALF_LIVES * self.half_life
        self._last = {track: last for track, last in self._last.items() if 0 <= time - last[1] <= horizon}
        return [self._smooth(expression, time) for expression in expressions]

    def _smooth(self, expression: Expression, time: float) -> Expression:
        track, new = expression.face.track_id, expression.prediction
        if track is None:
            return expression
        old, then = self._last.get(track, (new, time))
        if old.labels != new.labels:
            old = new
        weight = 0.5 ** ((time - then) / self.half_life)
        probabilities = weight * old.probabilities.astype(np.float64) + (1 - weight) * new.probabilities
        smoothed = Prediction(probabilities.astype(np.float32), new.labels)
        self._last[track] = smoothed, time
        return replace(expression, prediction=smoothed, raw=new)
