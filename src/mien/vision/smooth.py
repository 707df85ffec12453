"""Smooth expressions over time: by a half-life, or by a temporal model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from mien.errors import ModelError
from mien.models.temporal import TemporalModel
from mien.settings import Range
from mien.structures import Expression, FloatArray, Prediction

FORGET_AFTER = 2.0  # seconds; no gap over 1 s occurs in training, and a track mostly ends after one
FORGET_AFTER_HALF_LIVES = 30  # half-lives; an older frame then weighs 1e-9, below the resolution of float32


class Smoother(Protocol):
    """Smooths the predictions of each track from frame to frame."""

    def update(self, expressions: Sequence[Expression], time: float) -> list[Expression]:
        """Return the expressions of a frame in their order, with smoothed predictions.

        The prediction of the frame alone is kept in `raw`. A face without a track passes unchanged. A time before the
        last one resets all tracks.

        Args:
            expressions: Expressions of one frame.
            time: Time of the frame in seconds.
        """
        ...


class HalfLifeSmoother:
    """Smooths probabilities exponentially, so that labels do not flicker.

    The weight of a frame depends on its age in seconds, not in frames: after one half-life it counts half. The frame
    rate may therefore vary, and two half steps give the same result as one whole step. A new track, or one whose
    label set changed, starts with its current prediction. A track is forgotten after 30 half-lives.

    Args:
        half_life: In seconds; 0 disables smoothing. May be changed between frames. With 0.3 s a new expression reaches
            half the weight after 0.3 s: fast enough to follow a smile, slow enough to level out single frames.

    Raises:
        ConfigError: half_life is negative or not finite.
    """

    def __init__(self, half_life: float = 0.3) -> None:
        self.half_life: float = Range(0, hint="in seconds").check("half_life", half_life)
        self._last: dict[int, tuple[Prediction, float]] = {}  # track -> smoothed prediction, time

    def update(self, expressions: Sequence[Expression], time: float) -> list[Expression]:
        """Return the expressions with smoothed predictions; see `Smoother.update`."""
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


class TemporalSmoother:
    """Predicts each track's expression from all its frames so far by a temporal model.

    The model reads the probabilities of all the classifier's heads, `Expression.heads`. A track is forgotten after 2
    seconds.

    Args:
        model: A temporal model of the classifier that the expressions come from; see `models.find_temporal`.
    """

    def __init__(self, model: TemporalModel) -> None:
        self.model = model
        self._last: dict[int, tuple[FloatArray, float]] = {}  # track -> state, time

    def update(self, expressions: Sequence[Expression], time: float) -> list[Expression]:
        """Return the expressions with the model's predictions; see `Smoother.update`.

        Raises:
            ModelError: The expressions come from a classifier with other heads.
        """
        self._last = {track: last for track, last in self._last.items() if 0 <= time - last[1] <= FORGET_AFTER}
        rows = [i for i, expression in enumerate(expressions) if expression.face.track_id is not None]
        if not rows:
            return list(expressions)
        tracks = [expressions[i].face.track_id or 0 for i in rows]
        fresh = np.zeros(self.model.belongs.state, np.float32), time
        states, times = zip(*(self._last.get(track, fresh) for track in tracks), strict=True)
        seconds = np.array([[time - then] for then in times], np.float32)
        heads = np.stack([self._heads_of(expressions[i]) for i in rows])
        probabilities, new = self.model.step(heads, seconds, np.stack(states))
        self._last |= {track: (state, time) for track, state in zip(tracks, new, strict=True)}
        smoothed = list(expressions)
        for i, row in zip(rows, probabilities, strict=True):
            raw = expressions[i].prediction
            smoothed[i] = replace(expressions[i], prediction=Prediction(row, self.model.labels), raw=raw)
        return smoothed

    def _heads_of(self, expression: Expression) -> FloatArray:
        """Return the probabilities of all heads side by side, shape (width,)."""
        rows = [prediction.probabilities for prediction in expression.heads.values()]
        if sum(map(len, rows)) != self.model.belongs.width:
            belongs = self.model.belongs
            raise ModelError(
                f"{self.model.path} reads {belongs.width} probabilities of '{belongs.classifier}', the expression has "
                f"{sum(map(len, rows))}; use the classifier that the temporal model was trained for"
            )
        return np.concatenate(rows)
