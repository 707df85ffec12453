"""Metrics of predictions, computed from a confusion matrix or from probabilities; numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mien.structures import FloatArray, IntArray

# Smaller probabilities are clipped to it before the logarithm, as in scikit-learn's log_loss on float32.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """Scores of one class, each in [0, 1], and 0 where undefined.

    Args:
        precision: Share of correct predictions among those of this class.
        recall: Share of correct predictions among the images of this class.
        f1: Harmonic mean of the two.
        support: Number of images of this class.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Images of similar confidence.

    Args:
        low: Lower bound of the confidence, exclusive.
        high: Upper bound, inclusive.
        n: Number of images, at least 1.
        confidence: Their mean confidence.
        accuracy: Share of correct predictions.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def confusion_matrix(targets: IntArray, predictions: IntArray, *, n_classes: int) -> IntArray:
    """Count each (true, predicted) pair of classes.

    Args:
        targets: True class ids in [0, n_classes), shape (n,).
        predictions: Predicted class ids in [0, n_classes), shape (n,).
        n_classes: Size of the label set; a class absent from the data keeps its row.

    Returns:
        Counts, shape (n_classes, n_classes). Rows are true, columns predicted.

    Raises:
        ValueError: The lengths differ, or an id is out of range.
    """
    if targets.shape != predictions.shape:
        raise ValueError(f"{targets.shape} targets but {predictions.shape} predictions")
    _check_ids(np.concatenate([targets, predictions]), n_classes)
    pairs = n_classes * targets + predictions
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def accuracy(matrix: IntArray) -> float:
    """Return the share of images on the diagonal of a confusion matrix, shape (k, k).

    Raises:
        ValueError: The matrix is empty.
    """
    _check_counts(matrix)
    return float(matrix.trace() / matrix.sum())


def wilson_interval(correct: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion: Wilson 1927, doi:10.1080/01621459.1927.10502953.

    Args:
        correct: Number of successes, 0 to n.
        n: Number of trials, at least 1.
        confidence: Confidence level, in (0, 1).

    Returns:
        Lower and upper bound, both in [0, 1]; they enclose correct / n, though not symmetrically.

    Raises:
        ValueError: A number is out of range.
    """
    if not (n > 0 and 0 <= correct <= n):
        raise ValueError(f"{correct} correct of {n}; expected 0 <= correct <= n and n >= 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected 0 < confidence < 1")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / n
    centre = share + z**2 / (2 * n)
    reach = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    scale = 1 + z**2 / n
    # min and max keep rounding errors from moving a bound past the share itself at 0 and n
    return min(max((centre - reach) / scale, 0.0), share), max(min((centre + reach) / scale, 1.0), share)


def per_class(matrix: IntArray) -> list[ClassScore]:
    """Return the scores of each class, in the order of the ids.

    A class that never occurs has recall 0, one that is never predicted precision 0, as in scikit-learn with
    zero_division=0.

    Args:
        matrix: Counts from `confusion_matrix`, shape (k, k).
    """
    columns = (matrix.diagonal().tolist(), matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist())
    return [
        ClassScore(
            precision=_ratio(hits, predicted),
            recall=_ratio(hits, support),
            f1=_ratio(2 * hits, support + predicted),
            support=support,
        )
        for hits, support, predicted in zip(*columns, strict=True)
    ]


def balanced_accuracy(matrix: IntArray) -> float:
    """Return the mean recall of the classes that occur in the targets, as scikit-learn does.

    A class without images is excluded from the mean.

    Args:
        matrix: Counts from `confusion_matrix`, shape (k, k).

    Raises:
        ValueError: The matrix is empty.
    """
    _check_counts(matrix)
    return float(np.mean([score.recall for score in per_class(matrix) if score.support]))


def macro_f1(matrix: IntArray) -> float:
    """Return the mean F1 of the classes that occur in the targets or in the predictions.

    As in scikit-learn without an explicit list of labels: a class that is predicted but has no image counts with F1 0,
    one that occurs nowhere is excluded.

    Args:
        matrix: Counts from `confusion_matrix`, shape (k, k).

    Raises:
        ValueError: The matrix is empty.
    """
    _check_counts(matrix)
    counts = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float(np.mean([score.f1 for score, n in zip(per_class(matrix), counts, strict=True) if n]))


def nll(probabilities: FloatArray, targets: IntArray) -> float:
    """Return the mean negative log-likelihood of the true classes, in nats.

    Probabilities below `SMALLEST_PROBABILITY` are clipped to it, so one confident error costs 16, not infinity.

    Args:
        probabilities: Rows that sum to 1, shape (n, k).
        targets: True class ids in [0, k), shape (n,).

    Raises:
        ValueError: The shapes don't fit, there is no row, or an id is out of range.
    """
    check_rows(probabilities, targets)
    of_truth = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(0 - np.log(of_truth.clip(SMALLEST_PROBABILITY, 1)).mean())  # 0 - 0, since -0 is printed as "-0.00"


def brier(probabilities: FloatArray, targets: IntArray) -> float:
    """Return the Brier score: Brier 1950, Monthly Weather Review 78:1–3, equation 2.

    The squared distance of the probabilities from 1 for the true class and 0 for the others, summed over the classes
    and averaged over the images: 0 is perfect, 2 is always certain and always wrong.

    Args:
        probabilities: Rows that sum to 1, shape (n, k).
        targets: True class ids in [0, k), shape (n,).

    Raises:
        ValueError: The shapes don't fit, there is no row, or an id is out of range.
    """
    check_rows(probabilities, targets)
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(targets)), targets] -= 1
    return float(np.square(errors).sum(axis=1).mean())


def cross_entropy(probabilities: FloatArray, distributions: FloatArray) -> float:
    """Return the mean cross-entropy from target distributions to predicted ones, in nats.

    It is the KL divergence plus the entropy of the targets, its lower bound. Probabilities below
    `SMALLEST_PROBABILITY` are clipped to it.

    Args:
        probabilities: Predicted, rows that sum to 1, shape (n, k), n >= 1.
        distributions: Targets, rows that sum to 1, shape (n, k).

    Raises:
        ValueError: The shapes differ, or there is no row.
    """
    if probabilities.shape != distributions.shape or not len(probabilities):
        raise ValueError(f"{probabilities.shape} probabilities for {distributions.shape}; expected equal shapes")
    logarithms = np.log(probabilities.astype(np.float64).clip(SMALLEST_PROBABILITY, 1))
    return float(-(distributions * logarithms).sum(axis=1).mean())


def kl_divergence(probabilities: FloatArray, distributions: FloatArray) -> float:
    """Return the mean Kullback–Leibler divergence from target distributions to predicted ones, in nats.

    Arguments and errors are those of `cross_entropy`; 0 is perfect.
    """
    return cross_entropy(probabilities, distributions) - cross_entropy(distributions, distributions)


def ece(probabilities: FloatArray, targets: IntArray, *, bins: int = 15) -> float:
    """Return the expected calibration error: Guo et al. 2017, arXiv:1706.04599, equation 3.

    Images are binned by the probability of their predicted class, in bins of equal width whose upper bound is
    inclusive; the error is the mean gap between confidence and accuracy, weighted by bin size.

    Args:
        probabilities: Rows that sum to 1, shape (n, k).
        targets: True class ids in [0, k), shape (n,).
        bins: Number of bins; the error depends on it, and the literature uses 15.

    Returns:
        A number in [0, 1]; 0 is perfect.

    Raises:
        ValueError: The shapes don't fit, there is no row, or an id is out of range.
    """
    filled = reliability(probabilities, targets, bins=bins)
    return sum(abs(b.confidence - b.accuracy) * b.n for b in filled) / len(targets)


def reliability(probabilities: FloatArray, targets: IntArray, *, bins: int = 15) -> list[Bin]:
    """Return confidence and accuracy per bin of `ece`, without empty bins.

    Args:
        probabilities: Rows that sum to 1, shape (n, k).
        targets: True class ids in [0, k), shape (n,).
        bins: Number of bins of equal width.

    Raises:
        ValueError: The shapes don't fit, there is no row, or an id is out of range.
    """
    check_rows(probabilities, targets)
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == targets
    ids = (np.ceil(confidence * bins).astype(np.int64) - 1).clip(0, bins - 1)
    counts, sums, hits = (
        np.bincount(ids, weights=weights, minlength=bins).tolist() for weights in (None, confidence, correct)
    )
    return [
        Bin(low=i / bins, high=(i + 1) / bins, n=n, confidence=total / n, accuracy=right / n)
        for i, (n, total, right) in enumerate(zip(counts, sums, hits, strict=True))
        if n
    ]


def check_rows(rows: FloatArray, targets: IntArray) -> None:
    """Raise ValueError unless there is one row (n, k) per target id in [0, k), and at least one."""
    if rows.ndim != 2 or targets.shape != (len(rows),) or not len(rows):
        raise ValueError(f"rows {rows.shape} for targets {targets.shape}; expected (n, k) for (n,), n >= 1")
    _check_ids(targets, rows.shape[1])


def _check_ids(ids: IntArray, n_classes: int) -> None:
    if ids.size and not (ids.min() >= 0 and ids.max() < n_classes):
        raise ValueError(f"class ids span {ids.min()}..{ids.max()}, expected 0..{n_classes - 1}")


def _check_counts(matrix: IntArray) -> None:
    if not matrix.any():
        raise ValueError("the confusion matrix is empty; expected counts of at least one image")


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
