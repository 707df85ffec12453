"""Soft labels from runs on folds, each image's from runs that left it out (extra: train).

A model's probabilities on images that it was fitted on repeat their labels, errors included, so they teach nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import numpy as np

from mien.data.dataset import SPLITS, Dataset
from mien.errors import DatasetError, RunError
from mien.models.classifier import OnnxClassifier
from mien.structures import BoolArray, FloatArray, IntArray, Progress
from mien.training.logistic import fit_logistic, predict_logistic
from mien.training.run import Run
from mien.training.teacher import Teacher

CHUNK = 512  # images per pass
RARELY = 1e-4  # added to probabilities before their logarithm, which then has a bound
PENALTY = 1e-3  # L2, of the regression


def out_of_fold(
    runs: Sequence[Run], dataset: Dataset, *, stack_votes: bool = False, progress: Progress | None = None
) -> Teacher:
    """Return soft labels of the training images: the mean of log-probabilities of the runs that left an image out.

    With `stack_votes`, those for the dataset's own labels know the raters' votes too. They are the probabilities of
    these labels given the votes and what the runs say for all heads, by multinomial logistic regression (stacking:
    Wolpert 1992). The one for an image is fitted on images that its run was fitted on, never on itself.

    Args:
        runs: Exported runs on folds of the dataset, of one net or several (`mien train --folds N --fold I`).
        dataset: The first dataset of the runs, all of it.
        stack_votes: Whether to combine the runs with the dataset's votes.
        progress: Called with (runs done, total).

    Raises:
        RunError: A run is on other data, isn't on a fold, isn't exported, starts from weights that were fitted on this
            data, or no run left out some training image.
        DatasetError: There are no votes to stack, or no head has the dataset's labels.
    """
    train = dataset.splits == SPLITS.index("train")
    labels = _labels(runs[0]) if runs else {}
    if stack_votes:
        _check_votes(dataset, labels)
    fitted = [_fitted(run, dataset) for run in runs]
    if other := next((run for run in runs if _labels(run) != labels), None):
        raise RunError(f"{other.folder} has other heads than {runs[0].folder}; give runs of the same heads")
    counts = sum((train & ~mask for mask in fitted), np.zeros(len(dataset), np.int64))
    if missing := int((train & (counts == 0)).sum()):
        raise RunError(f"{missing} training images were left out by no run; give the runs of all folds")
    sums = {name: np.zeros((len(dataset), len(names))) for name, names in labels.items()}
    for done, (run, mask) in enumerate(zip(runs, fitted, strict=True), start=1):
        left_out = np.flatnonzero(train & ~mask)
        classifier = OnnxClassifier(run.model)
        for start in range(0, len(left_out), CHUNK):
            rows = left_out[start : start + CHUNK]
            for name, found in zip(labels, _heads(classifier, dataset, rows, tuple(labels)), strict=True):
                sums[name][rows] += np.log(np.maximum(found, 1e-7))
        if progress is not None:
            progress(done, len(runs))
    soft: dict[str, FloatArray] = {}
    for name, total in sums.items():
        powers = np.exp(total / np.maximum(counts, 1)[:, None])
        means = powers / powers.sum(1, keepdims=True)
        soft[name] = np.where(counts[:, None] > 0, means, np.nan).astype(np.float32)
    members = tuple(run.spec.name for run in runs)
    if stack_votes:
        soft[dataset.labels.name], members = _stacked(soft, fitted, dataset), (*members, "FER+ votes")
    return Teacher(dataset.fingerprint, labels, soft, members)


def _check_votes(dataset: Dataset, labels: Mapping[str, tuple[str, ...]]) -> None:
    name = dataset.labels.name
    if dataset.votes is None:
        raise DatasetError(f"'{dataset.name}' has no FER+ votes to stack; train the runs with them: mien train --votes")
    if labels.get(name) != dataset.labels.labels:
        raise DatasetError(f"no votes can be stacked for '{name}': the runs have {', '.join(labels)}")


def _stacked(soft: Mapping[str, FloatArray], fitted: Sequence[BoolArray], dataset: Dataset) -> FloatArray:
    """Return the probabilities (n, k) of the dataset's own labels by soft labels of all heads and by votes.

    Args:
        soft: Soft labels by head; NaN where no run left an image out.
        fitted: The images that each run was fitted on.
        dataset: Has votes.
    """
    assert dataset.votes is not None
    logs = [np.log(np.nan_to_num(rows) + RARELY) for rows in soft.values()]
    features = np.concatenate([*logs, np.log(dataset.votes + 1)], axis=1).astype(np.float32)
    rows = soft[dataset.labels.name]
    stacked, known = np.full_like(rows, np.nan), np.isfinite(rows).all(1)
    for mask in fitted:
        ours, left_out = known & mask, known & ~mask
        layer = fit_logistic(features[ours], dataset.targets[ours], n_classes=rows.shape[1], penalty=PENALTY)
        stacked[left_out] = predict_logistic(layer, features[left_out])
    return stacked


def _labels(run: Run) -> dict[str, tuple[str, ...]]:
    return {head.labels.name: head.labels.labels for head in run.spec.heads}


def _heads(classifier: OnnxClassifier, dataset: Dataset, rows: IntArray, names: Sequence[str]) -> list[FloatArray]:
    found = dict(zip(classifier.spec.names, classifier.predict_heads(list(dataset.images[rows])), strict=True))
    return [found[name] for name in names]


def _fitted(run: Run, dataset: Dataset) -> BoolArray:
    """Return which images a run was fitted on, bool (n,)."""
    facts = run.environment["data"][0]
    if facts["fingerprint"] != dataset.fingerprint:
        raise RunError(f"{run.folder} was started on other data than '{dataset.name}'; give runs on its folds")
    if not facts.get("fold"):
        raise RunError(f"{run.folder} is not on a fold; train with --audit, --folds and --fold")
    start = run.spec.trained_on.get("init", "")
    if dataset.fingerprint[:12] in start or re.search(rf"[(,] ?{re.escape(dataset.name)}[ ,)]", start):
        raise RunError(f"{run.folder} starts from weights fitted on '{dataset.name}'; its folds are not unseen")
    if not os.path.exists(run.model):
        raise RunError(f"{run.folder} has no model yet; finish it: mien train --resume {run.folder}")
    return run.fitted_rows(dataset)
