"""How labels follow a face over time: accuracy, label changes and delay, compared with fixed half-lives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mien.data.sequences import FaceSequence, Times
from mien.labels import LabelSet
from mien.models.classifier import ExpressionClassifier, predict_heads
from mien.models.temporal import TemporalModel
from mien.structures import FloatArray, IntArray, Progress

HALF_LIVES = (0.1, 0.3, 1.0)  # seconds
BATCH = 64  # crops


@dataclass(frozen=True)
class PredictedSequence:
    """A classifier's predictions for the frames of one face.

    Args:
        heads: Probabilities of all its heads, side by side, float32 (t, width).
        times: In seconds, (t,).
        targets: True class ids, int64 (t,).
    """

    heads: FloatArray = field(repr=False)
    times: Times = field(repr=False)
    targets: IntArray = field(repr=False)

    @property
    def seconds(self) -> FloatArray:
        """Seconds since the previous frame, float32 (t,); 0 for the first."""
        return np.diff(self.times, prepend=self.times[:1]).astype(np.float32)

    def thinned(self, every: int) -> PredictedSequence:
        """Return every n-th frame."""
        return PredictedSequence(self.heads[::every], self.times[::every], self.targets[::every])


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalScores:
    """Metrics of the labels shown over time.

    Args:
        accuracy: Share of frames with the correct label.
        changes: Label changes per second.
        delay: Mean seconds from a true change until the new label is first shown; NaN if it never is.
        missed: Share of true changes whose label is not shown before the next change.
    """

    accuracy: float
    changes: float
    delay: float
    missed: float


def predict_sequences(
    classifier: ExpressionClassifier,
    sequences: Iterable[FaceSequence],
    *,
    total: int | None = None,
    progress: Progress | None = None,
) -> list[PredictedSequence]:
    """Run a classifier on sequences, which are consumed one by one; progress is called with (done, total)."""
    predicted = []
    for sequence in sequences:
        batches = [
            np.concatenate(predict_heads(classifier, sequence.images[start : start + BATCH]), axis=1)
            for start in range(0, len(sequence.images), BATCH)
        ]
        predicted.append(PredictedSequence(np.concatenate(batches), sequence.times, sequence.targets))
        if progress is not None:
            progress(len(predicted), total)
    return predicted


def score_labels(labels: Sequence[IntArray], sequences: Sequence[PredictedSequence]) -> TemporalScores:
    """Compare the predicted label of each frame, (t,) per sequence, with the true one."""
    correct, changes, duration, delays, missed = 0, 0, 0.0, [], 0
    for predicted, sequence in zip(labels, sequences, strict=True):
        targets, times = sequence.targets, sequence.times
        correct += int((predicted == targets).sum())
        changes += int((np.diff(predicted) != 0).sum())
        duration += float(times[-1] - times[0])
        starts = np.flatnonzero(np.diff(targets)) + 1
        for start, end in pairwise([*starts, len(times)]):
            shown = np.flatnonzero(predicted[start:end] == targets[start])
            if len(shown):
                delays.append(float(times[start + shown[0]] - times[start]))
            missed += not len(shown)
    n_changes = len(delays) + missed
    return TemporalScores(
        accuracy=correct / sum(len(sequence.targets) for sequence in sequences),
        changes=changes / duration if duration else 0.0,
        delay=float(np.mean(delays)) if delays else float("nan"),
        missed=missed / n_changes if n_changes else 0.0,
    )


def smooth(probabilities: FloatArray, seconds: FloatArray, half_life: float) -> FloatArray:
    """Smooth the probabilities (t, k) of one track exponentially, as `vision.smooth.HalfLifeSmoother` does live."""
    result = probabilities.astype(np.float64)
    for k in range(1, len(result)):
        weight = 0.5 ** (seconds[k] / half_life)
        result[k] = weight * result[k - 1] + (1 - weight) * result[k]
    return result.astype(np.float32)


def run_temporal(model: TemporalModel, sequences: Sequence[PredictedSequence]) -> list[FloatArray]:
    """Return a temporal model's probabilities, (t, k) per sequence, computed frame by frame as live."""
    results = []
    for sequence in sequences:
        state = np.zeros((1, model.belongs.state), np.float32)
        rows = []
        for heads, seconds in zip(sequence.heads, sequence.seconds, strict=True):
            probabilities, state = model.step(heads[None], np.array([[seconds]], np.float32), state)
            rows.append(probabilities[0])
        results.append(np.stack(rows))
    return results


def head_columns(classifier: ExpressionClassifier, labels: LabelSet) -> tuple[int, int]:
    """Return the range of columns (start, stop) of a label set in the probabilities of all heads."""
    chosen = classifier.spec.head(labels.name)
    start = sum(len(head.labels) for head in classifier.spec.heads[: classifier.spec.heads.index(chosen)])
    return start, start + len(chosen.labels)


def compare_smoothing(
    model: TemporalModel, classifier: ExpressionClassifier, sequences: Sequence[PredictedSequence]
) -> dict[str, TemporalScores]:
    """Score single frames, smoothing with each of `HALF_LIVES`, and the temporal model."""
    raw = [sequence.heads[:, slice(*head_columns(classifier, model.labels))] for sequence in sequences]
    methods = {"single frames": raw}
    for half_life in HALF_LIVES:
        methods[f"half-life {half_life:g} s"] = [
            smooth(rows, sequence.seconds, half_life) for rows, sequence in zip(raw, sequences, strict=True)
        ]
    methods["temporal"] = run_temporal(model, sequences)
    return {method: score_labels([rows.argmax(1) for rows in found], sequences) for method, found in methods.items()}
