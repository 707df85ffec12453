"""Selective prediction: a model that may decline to answer where it is unsure, and what that buys.

A face is answered if its confidence reaches a threshold. Coverage is the share of faces that are answered, risk
the share of wrong answers among them: Geifman & El-Yaniv 2017, arXiv:1705.08500.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mien.evaluation.metrics import check_rows, wilson_interval
from mien.structures import FloatArray, IntArray


class RiskCoverage(NamedTuple):
    """A risk–coverage curve, one point for each different confidence, the surest first.

    Args:
        thresholds: Least confidence that is answered, falling, float64 (m,).
        n: Number of faces answered, rising, int64 (m,); the last one counts all.
        wrong: Number of wrong answers among them, int64 (m,).
    """

    thresholds: npt.NDArray[np.float64]
    n: IntArray
    wrong: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What happens if a model answers from a threshold of confidence on.

    Args:
        wanted: The accuracy that was asked for, in (0, 1].
        threshold: Least confidence that is answered.
        n: Number of faces answered.
        coverage: Their share of all.
        accuracy: Share of right answers among them; at least `wanted`.
        low: Lower bound of its 95 % Wilson interval.
        high: Upper bound.
    """

    wanted: float
    threshold: float
    n: int
    coverage: float
    accuracy: float
    low: float
    high: float


def risk_coverage(probabilities: FloatArray, targets: IntArray) -> RiskCoverage:
    """Return how many faces are answered, and how many of them wrongly, by threshold of confidence.

    Args:
        probabilities: Rows that sum to 1, shape (n, k).
        targets: True class ids in [0, k), shape (n,).

    Raises:
        ValueError: The shapes don't fit, there is no row, or an id is out of range.
    """
    check_rows(probabilities, targets)
    confidence = probabilities.max(axis=1).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    wrong = np.cumsum((probabilities.argmax(axis=1) != targets)[order], dtype=np.int64)
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # faces of one confidence go together
    return RiskCoverage(falling[last], last + 1, wrong[last])


def aurc(curve: RiskCoverage) -> float:
    """Return the area under the risk–coverage curve: the mean risk over all numbers of answered faces.

    As in Geifman et al. 2019, arXiv:1805.08206, and Ding et al. 2020, arXiv:1903.02050. Where faces share a
    confidence, each number within counts the wrong answers that a random order of them would give on average.

    Returns:
        A number in [0, 1], lower is better. It holds both how often a model errs and how well its confidence
        tells when; a model that orders its faces at random has its error rate.
    """
    n = np.arange(1, curve.n[-1] + 1)
    wrong = np.interp(n, np.append(0, curve.n), np.append(0, curve.wrong))
    return float((wrong / n).mean())


def answering(curve: RiskCoverage, wanted: float) -> OperatingPoint | None:
    """Return the threshold that answers the most faces with at least the wanted accuracy.

    The accuracy is that of the pictures at hand, on which the threshold was chosen, so it is a little too good
    for others; choose it on the valid split and look at the test split with it.

    Args:
        curve: From `risk_coverage`.
        wanted: Accuracy on answered faces, in (0, 1].

    Returns:
        None where no threshold reaches the wanted accuracy.

    Raises:
        ValueError: `wanted` is out of its range.
    """
    if not 0 < wanted <= 1:
        raise ValueError(f"wanted accuracy is {wanted}; expected more than 0 and at most 1")
    reaching = np.flatnonzero(1 - curve.wrong / curve.n >= wanted - 1e-12)
    if not reaching.size:
        return None
    at = reaching[-1]
    n, wrong = int(curve.n[at]), int(curve.wrong[at])
    low, high = wilson_interval(n - wrong, n)
    return OperatingPoint(
        wanted=wanted,
        threshold=float(curve.thresholds[at]),
        n=n,
        coverage=n / int(curve.n[-1]),
        accuracy=(n - wrong) / n,
        low=low,
        high=high,
    )
