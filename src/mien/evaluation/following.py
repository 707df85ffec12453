"""How well labels follow a face over time: right, calm and quick, beside smoothing with fixed half-lives."""

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
class SeenSequence:
    """What a classifier says of a sequence.

    Args:
        heads: Probabilities of all its heads, side by side, float32 (t, width).
        times: In seconds, (t,).
        targets: True ids, int64 (t,).
    """

    heads: FloatArray = field(repr=False)
    times: Times = field(repr=False)
    targets: IntArray = field(repr=False)

    @property
    def seconds(self) -> FloatArray:
        """Since the frame before, (t,); 0 for the first."""
        return np.diff(self.times, prepend=self.times[:1]).astype(np.float32)

    def thinned(self, every: int) -> SeenSequence:
        """Return one of so many frames."""
        return SeenSequence(self.heads[::every], self.times[::every], self.targets[::every])


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """How labels follow.

    Args:
        accuracy: Share of frames with the right label.
        changes: Changes of the label a second.
        delay: Mean seconds from a true change until the new label is shown first; NaN if none is.
        missed: Share of true changes whose label is not shown before the next one.
    """

    accuracy: float
    changes: float
    delay: float
    missed: float


def see(
    classifier: ExpressionClassifier,
    sequences: Iterable[FaceSequence],
    *,
    total: int | None = None,
    progress: Progress | None = None,
) -> list[SeenSequence]:
    """Return what a classifier says of sequences, which are let go one by one; progress is told (done, total)."""
    seen = []
    for sequence in sequences:
        parts = [
            np.concatenate(predict_heads(classifier, sequence.images[start : start + BATCH]), axis=1)
            for start in range(0, len(sequence.images), BATCH)
        ]
        seen.append(SeenSequence(np.concatenate(parts), sequence.times, sequence.targets))
        if progress is not None:
            progress(len(seen), total)
    return seen


def measure(answers: Sequence[IntArray], sequences: Sequence[SeenSequence]) -> Following:
    """Compare the label of each frame, (t,) for each sequence, with the true one."""
    right, changes, lasted, delays, missed = 0, 0, 0.0, [], 0
    for answer, sequence in zip(answers, sequences, strict=True):
        targets, times = sequence.targets, sequence.times
        right += int((answer == targets).sum())
        changes += int((np.diff(answer) != 0).sum())
        lasted += float(times[-1] - times[0])
        begins = np.flatnonzero(np.diff(targets)) + 1
        for begin, end in pairwise([*begins, len(times)]):
            shown = np.flatnonzero(answer[begin:end] == targets[begin])
            if len(shown):
                delays.append(float(times[begin + shown[0]] - times[begin]))
            missed += not len(shown)
    n_changes = len(delays) + missed
    return Following(
        accuracy=right / sum(len(sequence.targets) for sequence in sequences),
        changes=changes / lasted if lasted else 0.0,
        delay=float(np.mean(delays)) if delays else float("nan"),
        missed=missed / n_changes if n_changes else 0.0,
    )


def smoothed(probabilities: FloatArray, seconds: FloatArray, half_life: float) -> FloatArray:
    """Return what `vision.smooth.HalfLifeSmoother` makes of the probabilities (t, k) of one track."""
    result = probabilities.astype(np.float64)
    for k in range(1, len(result)):
        weight = 0.5 ** (seconds[k] / half_life)
        result[k] = weight * result[k - 1] + (1 - weight) * result[k]
    return result.astype(np.float32)


def followed(model: TemporalModel, sequences: Sequence[SeenSequence]) -> list[FloatArray]:
    """Return what a temporal model makes of each sequence, (t, k), step by step as live."""
    found = []
    for sequence in sequences:
        state = np.zeros((1, model.belongs.state), np.float32)
        rows = []
        for heads, seconds in zip(sequence.heads, sequence.seconds, strict=True):
            probabilities, state = model.step(heads[None], np.array([[seconds]], np.float32), state)
            rows.append(probabilities[0])
        found.append(np.stack(rows))
    return found


def head_of(classifier: ExpressionClassifier, labels: LabelSet) -> tuple[int, int]:
    """Return where the probabilities for a label set lie among those of all heads, from and to."""
    chosen = classifier.spec.head(labels.name)
    start = sum(len(head.labels) for head in classifier.spec.heads[: classifier.spec.heads.index(chosen)])
    return start, start + len(chosen.labels)


def compare_smoothing(
    model: TemporalModel, classifier: ExpressionClassifier, sequences: Sequence[SeenSequence]
) -> dict[str, Following]:
    """Return how well single frames, smoothing by each of `HALF_LIVES`, and the temporal model follow sequences."""
    raw = [sequence.heads[:, slice(*head_of(classifier, model.labels))] for sequence in sequences]
    ways = {"single frames": raw}
    for half_life in HALF_LIVES:
        ways[f"half-life {half_life:g} s"] = [
            smoothed(rows, sequence.seconds, half_life) for rows, sequence in zip(raw, sequences, strict=True)
        ]
    ways["temporal"] = followed(model, sequences)
    return {way: measure([rows.argmax(1) for rows in found], sequences) for way, found in ways.items()}
