"""Bootstrap intervals of metrics of a confusion matrix: Efron & Tibshirani 1993, chapter 13."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.structures import BoolArray, IntArray

RESAMPLES = 1000

Values = npt.NDArray[np.float64]


def resampled_confusions(
    targets: IntArray,
    predictions: IntArray,
    *,
    n_classes: int,
    clusters: IntArray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> IntArray:
    """Return the confusion matrices of resamples, drawn with replacement.

    The counts of identical contributions to the matrix are drawn by one multinomial draw, so the time does not depend
    on the number of images.

    Args:
        targets: True class ids in [0, n_classes), shape (n,), n >= 1.
        predictions: Predicted class ids in [0, n_classes), shape (n,).
        n_classes: Size of the label set.
        clusters: Cluster id per image, shape (n,). Images of a cluster, such as near duplicates, are not independent
            and are drawn together. None draws single images.
        resamples: Number of matrices.
        seed: The same seed gives the same matrices.

    Returns:
        Counts, int64 (resamples, n_classes, n_classes); rows are true, columns predicted.

    Raises:
        ValueError: The lengths differ, or there is no image.
    """
    lengths = {len(targets), len(predictions), len(targets if clusters is None else clusters)}
    if len(lengths) > 1 or not len(targets):
        raise ValueError(f"lengths are {sorted(lengths)}; expected one length of at least 1")
    pairs = n_classes * targets + predictions
    if clusters is None:
        kinds, times = np.unique(pairs, return_counts=True)
        counts = np.eye(n_classes**2, dtype=np.int64)[kinds]
    else:
        _, ids = np.unique(clusters, return_inverse=True)
        by_cluster = np.zeros((ids.max() + 1, n_classes**2), np.int64)
        np.add.at(by_cluster, (ids, pairs), 1)
        counts, times = np.unique(by_cluster, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(times.sum(), times / times.sum(), size=resamples)
    return (drawn @ counts).reshape(resamples, n_classes, n_classes)


def balanced_accuracies(matrices: IntArray) -> Values:
    """Return `metrics.balanced_accuracy` of each confusion matrix, float64 (m,), of int64 (m, k, k)."""
    support = matrices.sum(axis=2)
    recalls = matrices.diagonal(axis1=1, axis2=2) / np.maximum(support, 1)
    return _mean_where(recalls, support > 0)


def macro_f1s(matrices: IntArray) -> Values:
    """Return `metrics.macro_f1` of each confusion matrix, float64 (m,), of int64 (m, k, k)."""
    occurring = matrices.sum(axis=1) + matrices.sum(axis=2)
    f1s = 2 * matrices.diagonal(axis1=1, axis2=2) / np.maximum(occurring, 1)
    return _mean_where(f1s, occurring > 0)


def percentile_interval(values: Values) -> tuple[float, float]:
    """Return the central 95 % percentile interval of resampled values."""
    low, high = np.quantile(values, [0.025, 0.975]).tolist()
    return low, high


def _mean_where(values: Values, counted: BoolArray) -> Values:
    """Return the mean of each row over its counted columns, at least one."""
    return np.asarray((values * counted).sum(axis=1) / counted.sum(axis=1), np.float64)
