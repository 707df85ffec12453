"""Temperature scaling: one number that calibrates a model's confidence without changing its accuracy.

Guo et al. 2017, arXiv:1706.04599.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset
from mien.data.votes import majority
from mien.errors import DatasetError
from mien.evaluation.metrics import check_rows
from mien.evaluation.ranking import SMALLEST
from mien.labels import FERPLUS, LabelSet
from mien.models.classifier import ExpressionClassifier, predict_heads
from mien.structures import FloatArray, IntArray, Progress

NONE = -100  # class of an image without a target; PyTorch's cross entropy leaves it out
# Beyond these, the model is broken rather than miscalibrated, or the data too few.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def fit_temperature(logits: FloatArray, targets: IntArray) -> float:
    """Return the temperature with the lowest negative log-likelihood.

    It is convex in 1/T, and its slope is the mean logit expected under the model minus the mean logit of
    the true classes. Bisection on log T finds the change of sign; it needs no step size and can't diverge.

    Args:
        logits: Logits or log-probabilities of images the model was not fitted on, finite, shape (n, k).
        targets: True class ids in [0, k), shape (n,).

    Returns:
        T in [MIN_TEMPERATURE, MAX_TEMPERATURE], never worse than T = 1. It is a bound if the best T is beyond it; 1 if
        the temperature has no effect, or if every prediction is correct: such images, usually few, would drive the
        temperature to its lower bound.

    Raises:
        ValueError: The shapes don't fit, there is no row, an id is out of range, or a logit is not finite.
    """
    check_rows(logits, targets)
    if not np.isfinite(logits).all():
        raise ValueError("the logits hold NaN or infinity; expected finite numbers")
    centred = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    if not centred.any() or (logits.argmax(axis=1) == targets).all():
        return 1.0
    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    for _ in range(50):  # halves 6 nats down to the precision of float64
        middle = (low + high) / 2
        if _slope(centred, targets, beta=np.exp(-middle)) > 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def fit_temperatures(
    classifier: ExpressionClassifier, dataset: Dataset, *, batch_size: int = 256, progress: Progress | None = None
) -> dict[str, float]:
    """Fit the temperature of each head on the valid split of a dataset.

    Args:
        classifier: A model whose own temperatures are 1.
        dataset: The data; its votes, if any, are the targets of a FER+ head.
        batch_size: Images per call of the classifier.
        progress: Called with (done, total) after each batch.

    Returns:
        Temperatures by label set; heads for whose labels the split has no target are left out.

    Raises:
        DatasetError: The dataset has no valid split, or no targets for any head.
    """
    valid = dataset.split("valid")
    heads = [head.labels for head in classifier.spec.heads]
    targets = [calibration_targets(valid, labels, dataset.labels.name) for labels in heads]
    if all((ids == NONE).all() for ids in targets):
        raise DatasetError(
            f"'{dataset.name}' ({', '.join(dataset.labels)}) has no targets for the labels of '{classifier.spec.name}' "
            f"({', '.join(classifier.spec.names)}); give the data that its members were calibrated on"
        )
    parts = []
    for start in range(0, len(valid), batch_size):
        parts.append(predict_heads(classifier, list(valid.images[start : start + batch_size])))
        if progress is not None:
            progress(min(start + batch_size, len(valid)), len(valid))
    logs = [np.log(np.maximum(np.concatenate(of_head), SMALLEST)) for of_head in zip(*parts, strict=True)]
    return {
        labels.name: fit_temperature(rows[ids != NONE], ids[ids != NONE])
        for labels, rows, ids in zip(heads, logs, targets, strict=True)
        if (ids != NONE).any()
    }


def calibration_targets(images: Dataset, labels: LabelSet, trained: str | None) -> IntArray:
    """Return the classes that calibrate a head: the dataset's labels or, for its votes, the raters' majority.

    Args:
        images: The images.
        labels: Label set of the head.
        trained: The head that the dataset's labels train, if any.

    Returns:
        int64 (n,), NONE where there is no label, or no expression on which the raters agree.
    """
    if labels.name == trained:
        ids = np.array([NONE if i is None else i for i in images.labels.mapping_to(labels)], np.int64)
        return ids[images.targets]
    if labels.name == FERPLUS.name and images.votes is not None:
        ids = majority(images).targets
        return np.where(ids < len(FERPLUS), ids, NONE)  # "unknown" and "not a face" come after the expressions
    return np.full(len(images), NONE, np.int64)


def _slope(logits: npt.NDArray[np.float64], targets: IntArray, *, beta: float) -> float:
    """Return the derivative of the mean negative log-likelihood by beta = 1 / T; positive if T is too low."""
    expected = (_softmax(logits * beta) * logits).sum(axis=1)
    return float((expected - logits[np.arange(len(targets)), targets]).mean())


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
