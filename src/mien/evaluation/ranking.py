"""Ranking of images by the probabilities of two classes: the area under the ROC curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from mien.evaluation.metrics import check_rows
from mien.structures import FloatArray, IntArray

SMALLEST = float(np.finfo(np.float32).tiny)  # keeps the logarithm of a probability of 0 finite

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAuc:
    """Area under the ROC curve of one class against another, from the ratio of their two probabilities.

    Args:
        value: Probability that an image of the first class has the higher ratio, ties counted half, in [0, 1].
        low: Lower bound of the 95 % interval of DeLong et al. 1988, doi:10.2307/2531595, on the logit scale; None
            where that has no width: at 0 and 1, or with a single image of a class.
        high: Upper bound.
        n_first: Number of images of the first class.
        n_second: Number of images of the second class.
    """

    value: float
    low: float | None
    high: float | None
    n_first: int
    n_second: int


def pair_auc(probabilities: FloatArray, targets: IntArray, *, first: int, second: int) -> PairAuc | None:
    """Return the AUC of one class against another, over the images of these two classes.

    It depends neither on a threshold nor on the temperature, so it measures what a shift of the balance between the two
    classes could not improve.

    Args:
        probabilities: Rows that sum to 1, shape (n, k).
        targets: True class ids in [0, k), shape (n,).
        first: Id of the class that should rank higher.
        second: Id of the other class.

    Returns:
        None if one of the classes has no image.

    Raises:
        ValueError: The shapes don't fit, there is no row, or an id is out of range.
    """
    check_rows(probabilities, targets)
    pair = np.log(probabilities[:, [first, second]].astype(np.float64).clip(SMALLEST))
    ratios = pair[:, 0] - pair[:, 1]
    ours, theirs = ratios[targets == first], ratios[targets == second]
    if not len(ours) or not len(theirs):
        return None
    above, below = share_below(ours, theirs), 1 - share_below(theirs, ours)
    value = float(above.mean())
    low, high = _interval(value, above, below)
    return PairAuc(value=value, low=low, high=high, n_first=len(ours), n_second=len(theirs))


def share_below(values: Values, others: Values) -> Values:
    """Return the share of the others below each value, ties counted half, float64 (n,), of (n,) and (m,), m >= 1."""
    ordered = np.sort(others)
    places = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(places / (2 * len(others)), np.float64)


def _interval(value: float, above: Values, below: Values) -> tuple[float, float] | tuple[None, None]:
    if min(len(above), len(below)) < 2 or not 0 < value < 1:
        return None, None
    variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    reach = NormalDist().inv_cdf(0.975) * math.sqrt(variance) / (value * (1 - value))
    logit = math.log(value / (1 - value))
    return 1 / (1 + math.exp(reach - logit)), 1 / (1 + math.exp(-reach - logit))
