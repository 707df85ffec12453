"""Selective prediction: a model that may abstain where its confidence is low.

A prediction is answered if its confidence reaches a threshold. Coverage is the share of answered predictions, risk the
error rate among them: Geifman & El-Yaniv 2017, arXiv:1705.08500.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mien.evaluation.metrics import check_rows, wilson_interval
from mien.structures import FloatArray, IntArray


class RiskCoverage(NamedTuple):
    """A risk–coverage curve, one point per distinct confidence, the highest first.

    Args:
        thresholds: Lowest answered confidence, decreasing, float64 (m,).
        n: Number of answered predictions, increasing, int64 (m,); the last one counts all.
        wrong: Number of errors among them, int64 (m,).
    """

    thresholds: npt.NDArray[np.float64]
    n: IntArray
    wrong: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Coverage and accuracy at a confidence threshold.

    Args:
        target_accuracy: The requested accuracy, in (0, 1].
        threshold: Lowest answered confidence.
        n: Number of answered predictions.
        coverage: Their share of all.
        accuracy: Share of correct ones among them; at least `target_accuracy`.
        low: Lower bound of its 95 % Wilson interval.
        high: Upper bound.
    """

    target_accuracy: float
    threshold: float
    n: int
    coverage: float
    accuracy: float
    low: float
    high: float


def risk_coverage(probabilities: FloatArray, targets: IntArray) -> RiskCoverage:
    """Return the risk–coverage curve.

    Args:
        probabilities: Rows that sum to 1, shape (n, k).
        targets: True class ids in [0, k), shape (n,).

    Raises:
        ValueError: The shapes don't fit, there is no row, or an id is out of range.
    """
    check_rows(probabilities, targets)
    confidence = probabilities.max(axis=1).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    decreasing = confidence[order]
    wrong = np.cumsum((probabilities.argmax(axis=1) != targets)[order], dtype=np.int64)
    last = np.flatnonzero(np.append(decreasing[1:] != decreasing[:-1], True))  # equal confidences are one point
    return RiskCoverage(decreasing[last], last + 1, wrong[last])


def aurc(curve: RiskCoverage) -> float:
    """Return the area under the risk–coverage curve: the mean risk over all numbers of answered predictions.

    As in Geifman et al. 2019, arXiv:1805.08206, and Ding et al. 2020, arXiv:1903.02050. Within predictions of equal
    confidence, the number of errors is that of a random order on average.

    Returns:
        A number in [0, 1], lower is better. It depends on the error rate and on how well the confidence ranks errors;
        a random ranking gives the error rate.
    """
    n = np.arange(1, curve.n[-1] + 1)
    wrong = np.interp(n, np.append(0, curve.n), np.append(0, curve.wrong))
    return float((wrong / n).mean())


def operating_point(curve: RiskCoverage, target_accuracy: float) -> OperatingPoint | None:
    """Return the threshold with the highest coverage that reaches the target accuracy.

    The accuracy is slightly optimistic, as the threshold is chosen on the same images; choose it on the valid split
    and report it on the test split.

    Args:
        curve: From `risk_coverage`.
        target_accuracy: Accuracy among answered predictions, in (0, 1].

    Returns:
        None if no threshold reaches the target accuracy.

    Raises:
        ValueError: `target_accuracy` is out of range.
    """
    if not 0 < target_accuracy <= 1:
        raise ValueError(f"target accuracy is {target_accuracy}; expected more than 0 and at most 1")
    reaching = np.flatnonzero(1 - curve.wrong / curve.n >= target_accuracy - 1e-12)
    if not reaching.size:
        return None
    at = reaching[-1]
    n, wrong = int(curve.n[at]), int(curve.wrong[at])
    low, high = wilson_interval(n - wrong, n)
    return OperatingPoint(
        target_accuracy=target_accuracy,
        threshold=float(curve.thresholds[at]),
        n=n,
        coverage=n / int(curve.n[-1]),
        accuracy=(n - wrong) / n,
        low=low,
        high=high,
    )
