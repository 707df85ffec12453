"""From probabilities and true classes to all metrics; models, ensembles and teachers are scored alike."""

from __future__ import annotations

import numpy as np

from mien.evaluation.bootstrap import balanced_accuracies, macro_f1s, percentile_interval, resampled_confusions
from mien.evaluation.metrics import (
    balanced_accuracy,
    brier,
    check_rows,
    confusion_matrix,
    cross_entropy,
    ece,
    kl_divergence,
    macro_f1,
    nll,
    per_class,
    reliability,
    wilson_interval,
)
from mien.evaluation.ranking import SMALLEST, pair_auc
from mien.evaluation.results import Accuracy, CalibrationScores, EndToEnd, RaterAgreement, ViewResult
from mien.evaluation.selective import aurc, operating_point, risk_coverage
from mien.models.classifier import softmax
from mien.structures import BoolArray, FloatArray, IntArray


def score(
    probabilities: FloatArray,
    targets: IntArray,
    *,
    temperature: float = 1.0,
    unseen: BoolArray | None = None,
    clusters: IntArray | None = None,
    votes: FloatArray | None = None,
    target_accuracy: float = 0.8,
    happy_neutral: tuple[int, int] | None = None,
    missed: IntArray | None = None,
) -> ViewResult:
    """Compute all metrics of predicted probabilities.

    Args:
        probabilities: Shape (n, k), or (m, n, k) for m predictions per image, which are averaged. Rows are
            normalised to sum to 1 before.
        targets: True class ids in [0, k), shape (n,), n >= 1.
        temperature: The temperature that made the probabilities; it is undone for `ViewResult.uncalibrated`.
        unseen: Images of `ViewResult.leak_free`, bool (n,); None skips it.
        clusters: Cluster id per image, shape (n,), for the bootstrap; None resamples single images.
        votes: Distribution of the raters' votes per image, shape (n, k), rows sum to 1.
        target_accuracy: Target accuracy of `CalibrationScores.operating_point`, in (0, 1].
        happy_neutral: Class ids of happy and neutral, for their AUC; None skips it.
        missed: Pictures without a detected face by class, shape (k,); None if no faces were detected.

    Raises:
        ValueError: The shapes don't fit, there is no row, or an id is out of range.
    """
    logits = np.log(np.clip(probabilities.reshape(-1, *probabilities.shape[-2:]), SMALLEST, None))
    mean = _mean_softmax(logits)
    check_rows(mean, targets)
    # the model's softmax divided the logits by its temperature; multiplying the logarithms by it undoes that
    uncalibrated = _mean_softmax(logits, temperature=1 / temperature) if temperature != 1 else None
    predictions, k = mean.argmax(axis=1), mean.shape[1]
    correct = predictions == targets
    confusion = confusion_matrix(targets, predictions, n_classes=k)
    resampled = resampled_confusions(targets, predictions, n_classes=k, clusters=clusters)
    return ViewResult(
        accuracy=accuracy_of(correct),
        leak_free=accuracy_of(correct[unseen]) if unseen is not None and unseen.any() else None,
        balanced_accuracy=balanced_accuracy(confusion),
        macro_f1=macro_f1(confusion),
        classes=per_class(confusion),
        confusion=confusion,
        balanced_accuracy_interval=percentile_interval(balanced_accuracies(resampled)),
        macro_f1_interval=percentile_interval(macro_f1s(resampled)),
        calibration=_calibration(mean, targets, target_accuracy),
        uncalibrated=None if uncalibrated is None else _calibration(uncalibrated, targets, target_accuracy),
        raters=None if votes is None else _agreement(mean, votes),
        happy_neutral=happy_neutral and pair_auc(mean, targets, first=happy_neutral[0], second=happy_neutral[1]),
        end_to_end=None if missed is None else _end_to_end(targets, predictions, missed, clusters),
        probabilities=mean,
    )


def _mean_softmax(logits: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Return the mean probabilities, float32 (n, k), of logits (m, n, k)."""
    return np.asarray(np.mean([softmax(each, temperature=temperature) for each in logits], axis=0), np.float32)


def accuracy_of(correct: BoolArray) -> Accuracy:
    """Return the accuracy of predictions by whether each is correct, bool (n,), n >= 1."""
    n, hits = len(correct), int(correct.sum())
    low, high = wilson_interval(hits, n)
    return Accuracy(n=n, correct=hits, value=hits / n, low=low, high=high)


def _end_to_end(targets: IntArray, predictions: IntArray, missed: IntArray, clusters: IntArray | None) -> EndToEnd:
    """Score missed pictures as predictions of one more class, which is never true."""
    k, n = len(missed), int(missed.sum())
    targets = np.concatenate([targets, np.repeat(np.arange(k), missed)])
    predictions = np.concatenate([predictions, np.full(n, k)])
    if clusters is not None:
        clusters = np.concatenate([clusters, clusters.max(initial=-1) + 1 + np.arange(n)])
    confusion = confusion_matrix(targets, predictions, n_classes=k + 1)
    resampled = resampled_confusions(targets, predictions, n_classes=k + 1, clusters=clusters)
    return EndToEnd(
        accuracy=accuracy_of(predictions == targets),
        balanced_accuracy=balanced_accuracy(confusion),
        balanced_accuracy_interval=percentile_interval(balanced_accuracies(resampled)),
        recalls=tuple(scores.recall for scores in per_class(confusion)[:k]),
        missed=tuple(missed.tolist()),
    )


def _calibration(probabilities: FloatArray, targets: IntArray, target_accuracy: float) -> CalibrationScores:
    curve = risk_coverage(probabilities, targets)
    return CalibrationScores(
        nll=nll(probabilities, targets),
        brier=brier(probabilities, targets),
        ece=ece(probabilities, targets),
        aurc=aurc(curve),
        reliability=reliability(probabilities, targets),
        risk_coverage=curve,
        operating_point=operating_point(curve, target_accuracy),
    )


def _agreement(probabilities: FloatArray, votes: FloatArray) -> RaterAgreement:
    return RaterAgreement(kl=kl_divergence(probabilities, votes), cross_entropy=cross_entropy(probabilities, votes))
