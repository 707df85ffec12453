"""Temperature scaling: one number that calibrates a model's confidence without changing its accuracy.

Guo et al. 2017, arXiv:1706.04599.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.evaluation.metrics import check_rows
from mien.structures import FloatArray, IntArray

COLDEST, HOTTEST = 0.05, 20.0  # beyond these, the model is broken rather than miscalibrated, or the data too few


def fit_temperature(logits: FloatArray, targets: IntArray) -> float:
    """Return the temperature with the lowest negative log-likelihood.

    It is convex in 1/T, and its slope is the mean logit expected under the model minus the mean logit of
    the true classes. Bisection on log T finds the change of sign; it needs no step size and can't diverge.

    Args:
        logits: Logits or log-probabilities of images the model was not fitted on, finite, shape (n, k).
        targets: True class ids in [0, k), shape (n,).

    Returns:
        T in [COLDEST, HOTTEST], never worse than T = 1. It is a bound if the best T is beyond it (COLDEST if every
        prediction is correct), and 1 if the temperature has no effect.

    Raises:
        ValueError: The shapes don't fit, there is no row, an id is out of range, or a logit is not finite.
    """
    check_rows(logits, targets)
    if not np.isfinite(logits).all():
        raise ValueError("the logits hold NaN or infinity; expected finite numbers")
    centred = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    if not centred.any():
        return 1.0
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(50):  # halves 6 nats down to the precision of float64
        middle = (low + high) / 2
        if _slope(centred, targets, beta=np.exp(-middle)) > 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _slope(logits: npt.NDArray[np.float64], targets: IntArray, *, beta: float) -> float:
    """Return the derivative of the mean negative log-likelihood by beta = 1 / T; positive if T is too low."""
    expected = (_softmax(logits * beta) * logits).sum(axis=1)
    return float((expected - logits[np.arange(len(targets)), targets]).mean())


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
