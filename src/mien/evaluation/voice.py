"""Figures of voice models, by speaker: recall, accuracy, noise, length of speech, enrolment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mien.data.noise import cropped, noisy
from mien.data.speech import Speech, folds_of, refuse_shared
from mien.errors import DatasetError
from mien.evaluation.bootstrap import balanced_accuracies, percentile_interval, resampled_confusions
from mien.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix, ece, nll, per_class
from mien.labels import LabelSet
from mien.models.voice import VoiceClassifier
from mien.structures import FloatArray, IntArray, Progress

WHOLE, NOISY = "whole", "noisy"
Change = Callable[[FloatArray, np.random.Generator], FloatArray]
# How speech is changed before it is judged. The noise of the test is of the same kind as that of training; real rooms
# are harder.
CONDITIONS: dict[str, Change] = {
    WHOLE: lambda samples, _: samples,
    NOISY: noisy,
    "middle 2 s": lambda samples, _: cropped(samples, 2.0),
    "middle 1.5 s": lambda samples, _: cropped(samples, 1.5),
    "middle 1 s": lambda samples, _: cropped(samples, 1.0),
}


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over folds: its mean and standard deviation (n − 1), 0 for one fold."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return the spread of one or more values."""
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceScores:
    """Figures of a model's answers to one kind of speech.

    Args:
        uar: Unweighted average recall, the mean recall of the classes, over folds.
        accuracy: Share of correct answers, over folds.
        pooled_uar: Mean recall of all clips together.
        low: Lower bound of its 95 % interval, with speakers drawn as a whole.
        high: Upper bound.
        recalls: Recall of each class, all clips together, in the order of the labels.
        nll: Mean negative log-likelihood of the true classes.
        ece: Expected calibration error.
    """

    uar: Spread
    accuracy: Spread
    pooled_uar: float
    low: float
    high: float
    recalls: dict[str, float]
    nll: float
    ece: float


@dataclass(frozen=True, kw_only=True)
class VoiceEvaluation:
    """Figures of a voice model on recordings by others than those it was trained on.

    Args:
        model: Name of the model.
        data: Name of the recordings.
        labels: The evaluated classes.
        n: Number of clips.
        n_speakers: Number of speakers.
        n_folds: Number of folds that means and deviations are over.
        chance: The mean recall of guessing.
        conditions: Scores by name of `CONDITIONS`, and further ones of a training.
        speakers: Accuracy of each speaker's clips.
        confusion: Counts of all clips, rows are true, in the order of the labels.
    """

    model: str
    data: str
    labels: LabelSet
    n: int
    n_speakers: int
    n_folds: int
    conditions: dict[str, VoiceScores]
    speakers: dict[str, float] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)

    @property
    def chance(self) -> float:
        """The mean recall of guessing."""
        return 1 / len(self.labels)


def score_voice(answers: Mapping[str, FloatArray], speech: Speech, folds: IntArray, *, model: str) -> VoiceEvaluation:
    """Score probabilities by fold and speaker.

    Args:
        answers: Probabilities (n, k) of the clips by condition, `WHOLE` among them; rows of NaN were not tested.
        speech: The clips.
        folds: Fold of each clip, int64 (n,).
        model: Name of the model.
    """
    predicted = answers[WHOLE].argmax(1)
    correct = predicted == speech.targets
    names = np.unique(speech.speakers)
    return VoiceEvaluation(
        model=model,
        data=speech.name,
        labels=speech.labels,
        n=len(speech),
        n_speakers=len(names),
        n_folds=len(np.unique(folds)),
        conditions={name: _scores(found, speech, folds) for name, found in answers.items()},
        speakers={str(name): float(correct[speech.speakers == name].mean()) for name in names},
        confusion=confusion_matrix(speech.targets, predicted, n_classes=len(speech.labels)).tolist(),
    )


def _scores(probabilities: FloatArray, speech: Speech, folds: IntArray) -> VoiceScores:
    tested = np.flatnonzero(np.isfinite(probabilities).all(1))
    speech, folds, probabilities = speech.select(tested), folds[tested], probabilities[tested]
    k, targets, predicted = len(speech.labels), speech.targets, probabilities.argmax(1)
    parts = [confusion_matrix(targets[folds == f], predicted[folds == f], n_classes=k) for f in np.unique(folds)]
    whole = confusion_matrix(targets, predicted, n_classes=k)
    _, speakers = np.unique(speech.speakers, return_inverse=True)
    resampled = resampled_confusions(targets, predicted, n_classes=k, clusters=speakers)
    low, high = percentile_interval(balanced_accuracies(resampled))
    return VoiceScores(
        uar=Spread.of([balanced_accuracy(part) for part in parts]),
        accuracy=Spread.of([accuracy(part) for part in parts]),
        pooled_uar=balanced_accuracy(whole),
        low=low,
        high=high,
        recalls={label: score.recall for label, score in zip(speech.labels, per_class(whole), strict=True)},
        nll=nll(probabilities, targets),
        ece=ece(probabilities, targets),
    )


def predict_speech(
    classifier: VoiceClassifier, speech: Speech, change: Change = CONDITIONS[WHOLE], *, progress: Progress | None = None
) -> FloatArray:
    """Return a classifier's probabilities of each clip, float32 (n, k); `change` gets a generator of its own per clip.

    Args:
        classifier: The model.
        speech: The clips.
        change: One of `CONDITIONS`.
        progress: Called with (done, total).
    """
    rows = []
    for i in range(len(speech)):
        rows.append(classifier.predict_proba(change(speech.sound(i), np.random.default_rng(i))))
        if progress is not None:
            progress(i + 1, len(speech))
    return np.stack(rows)


def evaluate_voice(
    classifier: VoiceClassifier, speech: Speech, *, conditions: Mapping[str, Change] = CONDITIONS,
    progress: Callable[[str], Progress | None] = lambda _: None,
) -> VoiceEvaluation:  # fmt: skip
    """Evaluate a voice model on recordings, over the labels that both know.

    Clips with other labels are left out, and so are the probabilities of the model's other labels; the rest is scaled
    to sum to 1.

    Args:
        classifier: The model.
        speech: Recordings by speakers that it was not trained on.
        conditions: Changes of the speech by name, `WHOLE` among them.
        progress: Returns a function for the progress of a condition, or None.

    Raises:
        DatasetError: The model was trained on some of the speakers, or fewer than two labels are known to both.
    """
    spec = classifier.spec
    refuse_shared(spec.trained_on.get("name", ""), spec.trained_on.get("speakers", "").split(), speech)
    shared = tuple(label for label in classifier.labels if label in speech.labels.labels)
    if len(shared) < 2:
        raise DatasetError(
            f"'{spec.name}' and '{speech.name}' have fewer than two labels in common; expected some of "
            f"{', '.join(classifier.labels)}"
        )
    known = speech.with_labels(LabelSet(speech.name, shared))
    columns = [classifier.labels.index(label) for label in shared]
    answers = {
        name: restricted(predict_speech(classifier, known, change, progress=progress(name)), columns)
        for name, change in conditions.items()
    }
    return score_voice(answers, known, folds_of(known), model=spec.name)


def restricted(probabilities: FloatArray, columns: list[int]) -> FloatArray:
    """Return some columns of probabilities (n, k), scaled to sum to 1."""
    some = probabilities[:, columns].astype(np.float64) + 1e-9
    return np.asarray(some / some.sum(1, keepdims=True), np.float32)
