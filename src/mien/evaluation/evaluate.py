"""Evaluate a classifier on one split of a dataset: predict, then score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

import numpy as np

from mien.data.audit import first_identical
from mien.data.dataset import SPLITS, Dataset, PictureLabel, Split
from mien.data.votes import majority
from mien.errors import ConfigError, DatasetError
from mien.evaluation.results import Evaluation
from mien.evaluation.score import score
from mien.evaluation.views import predict_views, transforms_of
from mien.labels import FERPLUS
from mien.models.classifier import ExpressionClassifier
from mien.models.spec import Head, ModelSpec
from mien.structures import BoolArray, FloatArray, IntArray, Progress

NamedProgress: TypeAlias = Callable[[str], AbstractContextManager[Progress]]  # opens the progress of a named task


@contextmanager
def no_progress(name: str) -> Iterator[Progress]:
    """Report nothing."""
    yield lambda done, total: None


def evaluate(
    classifier: ExpressionClassifier,
    dataset: Dataset,
    *,
    split: Split = "valid",
    views: Sequence[str] = ("single", "flip"),
    head: str | None = None,
    name: str | None = None,
    fitted_on: Sequence[Split] = ("train",),
    clusters: IntArray | None = None,
    target_accuracy: float = 0.8,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Evaluation:
    """Compute all metrics of a classifier on one split of a dataset.

    Classes are matched by name. Images of a class that the model lacks are excluded and counted. Classes of the model
    that the dataset lacks (FER+ has contempt, FER2013 doesn't) are dropped, and the probabilities renormalised over
    the shared classes. Where faces were detected in pictures, those without one count as wrong in
    `ViewResult.end_to_end`.

    Args:
        classifier: Any object with a `spec` and `predict_proba`.
        dataset: All splits of the data, so that images the model was fitted on are recognised.
        split: The split to evaluate. Decide on "valid"; evaluate on "test" once, when the model is final.
        views: Names in `VIEWS`; each is reported separately.
        head: Label set of the model's output to evaluate; None as in `evaluated_head`.
        name: Name of the model in reports; None for that of its spec.
        fitted_on: Splits the model was fitted on.
        clusters: Cluster id per image of the dataset, int64 (n,), from `mien.data.audit.Audit.clusters`; images of
            one cluster show the same photo. They are resampled together by the bootstrap, and excluded from
            `ViewResult.leak_free` if the model was fitted on one of them. None resamples single images, and excludes
            images whose exact pixels the model was fitted on.
        target_accuracy: Target accuracy of `CalibrationScores.operating_point`, in (0, 1].
        batch_size: Images per call of the classifier.
        progress: Called with (done, total) after each batch; each image counts once per transform.

    Raises:
        ConfigError: No view, or an unknown one; `target_accuracy` or the number of clusters is out of range.
        DatasetError: The split is empty, or dataset and model share fewer than two classes or no image.
        ModelError: No such head, or its probabilities have the wrong shape or are not finite.
    """
    _check_settings(dataset, clusters, target_accuracy)
    head = evaluated_head(dataset, classifier.spec, head).labels.name
    rows = evaluated_rows(dataset, classifier.spec, split=split, head=head)
    predictions = predict_views(
        classifier, dataset.images[rows], views, head=head, batch_size=batch_size, progress=progress
    )
    return evaluate_predictions(
        predictions, dataset, classifier.spec, split=split, head=head, name=name, fitted_on=fitted_on,
        clusters=clusters, target_accuracy=target_accuracy,
    )  # fmt: skip


def evaluate_predictions(
    predictions: Mapping[str, FloatArray],
    dataset: Dataset,
    spec: ModelSpec,
    *,
    split: Split = "valid",
    head: str | None = None,
    name: str | None = None,
    fitted_on: Sequence[Split] = ("train",),
    clusters: IntArray | None = None,
    target_accuracy: float = 0.8,
) -> Evaluation:
    """Compute all metrics of predictions that were made before, by a model or an ensemble.

    Args:
        predictions: By view, probabilities over the head's labels for the rows of `evaluated_rows`, shape (n, k), or
            (m, n, k), which are averaged; `predict_views` returns them.
        dataset: As for `evaluate`, like all arguments below.
        spec: Of the model that made the predictions.
    """
    _check_settings(dataset, clusters, target_accuracy)
    rows, chosen = evaluated_rows(dataset, spec, split=split, head=head), evaluated_head(dataset, spec, head)
    names = dataset.labels.labels
    labels = tuple(label for label in names if label in chosen.labels.labels)
    ids, columns = ([of.labels.index(label) for label in labels] for of in (dataset.labels, chosen.labels))
    targets = np.searchsorted(ids, dataset.targets[rows]).astype(np.int64)
    unseen = _unseen(dataset, rows, split=split, fitted_on=fitted_on, clusters=clusters)
    votes = None if dataset.votes is None else _vote_distributions(dataset.votes[rows], labels)
    missed = _missed_pictures(dataset, split, labels)
    n_missed = np.bincount(
        np.array([labels.index(picture.label) for picture in missed], np.int64), minlength=len(labels)
    )
    views = {
        view: score(
            probabilities[..., columns], targets, temperature=chosen.temperature, unseen=unseen,
            clusters=None if clusters is None else clusters[rows], votes=votes, target_accuracy=target_accuracy,
            happy_neutral=happy_neutral(labels),
            missed=None if dataset.found is None else n_missed,
        )
        for view, probabilities in predictions.items()
    }  # fmt: skip
    return Evaluation(
        name=name or spec.name,
        spec=spec,
        head=chosen,
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        split=split,
        fitted_on=tuple(fitted_on),
        leak_criterion="pixels" if clusters is None else "photo",
        detector=None if dataset.found is None else dataset.found.detector,
        labels=labels,
        missing=tuple(label for label in names if label not in labels),
        unused=tuple(label for label in chosen.labels if label not in labels),
        n=len(rows),
        n_excluded=int((dataset.splits == SPLITS.index(split)).sum()) - len(rows),
        rows=rows,
        targets=targets,
        views=views,
        missed=tuple(missed),
    )


def evaluate_models(
    classifiers: Mapping[str, ExpressionClassifier],
    dataset: Dataset,
    *,
    split: Split = "valid",
    views: Sequence[str] = ("single", "flip"),
    head: str | None = None,
    clusters: IntArray | None = None,
    target_accuracy: float = 0.8,
    progress: NamedProgress = no_progress,
) -> list[Evaluation]:
    """Evaluate several classifiers on the same images.

    If the dataset has FER+ votes, and the evaluated head of every classifier is a FER+ head, the labels are those of
    the raters' majority, see `relabel_for`.

    Args:
        classifiers: By the name to report.
        dataset: As for `evaluate`, like the arguments below.
        progress: Opens the progress of each evaluation by its name.
    """
    labelled = relabel_for(dataset, [evaluated_head(dataset, each.spec, head) for each in classifiers.values()])
    evaluations = []
    for name, classifier in classifiers.items():
        with progress(f"{name} on {labelled.name}") as advance:
            evaluation = evaluate(
                classifier, labelled, split=split, views=views, head=head, name=name,
                fitted_on=fitted_splits(classifier.spec, dataset), clusters=clusters,
                target_accuracy=target_accuracy, progress=advance,
            )  # fmt: skip
        evaluations.append(evaluation)
    return evaluations


def fitted_splits(spec: ModelSpec, dataset: Dataset) -> tuple[Split, ...]:
    """Return the splits of a dataset that a model was fitted on: train, or none if its spec names other data.

    A part of FER2013 has a name of its own (`mien data prepare --subset`): its train split lacks most of the images
    that a model of the whole was fitted on, so it can't show which test images have copies among them.
    """
    origin = spec.trained_on
    names = {origin.get("name"), *(key.removeprefix("with ") for key in origin if key.startswith("with "))}
    fitted = not origin.get("name") or dataset.name in names or dataset.fingerprint == origin.get("fingerprint")
    return ("train",) if fitted else ()


def evaluated_rows(dataset: Dataset, spec: ModelSpec, *, split: Split = "valid", head: str | None = None) -> IntArray:
    """Return the rows of a split whose class the model's head has, int64 (n,).

    Raises:
        DatasetError: The split is empty, or dataset and model share fewer than two classes or no image.
        ModelError: No such head.
    """
    labels = evaluated_head(dataset, spec, head).labels
    shared = [i for i, column in enumerate(dataset.labels.mapping_to(labels)) if column is not None]
    in_split = dataset.splits == SPLITS.index(split)
    rows = np.flatnonzero(in_split & np.isin(dataset.targets, shared))
    if not in_split.any():
        dataset.split(split)  # names the splits that are there
    if len(shared) < 2 or not len(rows):
        raise DatasetError(
            f"dataset '{dataset.name}' ({', '.join(dataset.labels)}) and model '{spec.name}' ({', '.join(labels)}) "
            "share too few classes or images to be evaluated; choose another dataset, or another head of the model"
        )
    return rows


def evaluated_head(dataset: Dataset, spec: ModelSpec, head: str | None = None) -> Head:
    """Return the head to evaluate: a named one, else that of the dataset's name, such as fer2013, else the default.

    Raises:
        ModelError: No such head.
    """
    return spec.head(dataset.name if head is None and dataset.name in spec.names else head)


def relabel_for(dataset: Dataset, heads: Iterable[Head]) -> Dataset:
    """Return the dataset with the labels of these heads: the raters' majority if all are FER+ and it has votes."""
    if dataset.votes is None or any(head.labels.name != FERPLUS.name for head in heads):
        return dataset
    return majority(dataset)


def check_options(
    specs: Iterable[ModelSpec], *, views: Sequence[str], head: str | None = None, target_accuracy: float = 0.8
) -> None:
    """Check what an evaluation needs before its data is read, which can take minutes where faces are detected.

    Raises:
        ConfigError: No view, or an unknown one; or `target_accuracy` is out of range.
        ModelError: A model has no such head.
    """
    transforms_of(views)
    _check_accuracy(target_accuracy)
    for spec in specs if head is not None else ():
        spec.head(head)


def _check_accuracy(target_accuracy: float) -> None:
    if not 0 < target_accuracy <= 1:
        raise ConfigError(f"target accuracy is {target_accuracy}; expected more than 0 and at most 1")


def _check_settings(dataset: Dataset, clusters: IntArray | None, target_accuracy: float) -> None:
    _check_accuracy(target_accuracy)
    if clusters is not None and clusters.shape != (len(dataset),):
        raise ConfigError(f"clusters have shape {clusters.shape}; expected one for each of {len(dataset)} images")


def happy_neutral(labels: Sequence[str]) -> tuple[int, int] | None:
    """Return the ids of happy and neutral; None if one of them is not among the labels."""
    return (labels.index("happy"), labels.index("neutral")) if {"happy", "neutral"} <= set(labels) else None


def _missed_pictures(dataset: Dataset, split: Split, labels: Sequence[str]) -> list[PictureLabel]:
    """Return the pictures of a split, of these classes, in which no face was detected."""
    found = () if dataset.found is None else dataset.found.missed
    return [picture for picture in found if picture.split == split and picture.label in labels]


def _unseen(
    dataset: Dataset, rows: IntArray, *, split: Split, fitted_on: Sequence[Split], clusters: IntArray | None
) -> BoolArray | None:
    """Return which rows have no duplicate in the fitted splits, bool (n,); None where that can't be known."""
    fitted = np.isin(dataset.splits, [SPLITS.index(name) for name in fitted_on])
    if split in fitted_on or not fitted.any():
        return None
    groups = first_identical(dataset.images) if clusters is None else clusters
    return ~np.isin(groups[rows], groups[fitted])


def _vote_distributions(votes: FloatArray, labels: Sequence[str]) -> FloatArray | None:
    """Return the distribution of each image's votes on expressions, float32 (n, 8), rows sum to 1.

    Args:
        votes: Counts, float32 (n, 10), columns as in `mien.data.votes.VOTE_COLUMNS`.
        labels: Evaluated classes.

    Returns:
        None for other classes than those of FER+, or if an image has no vote on an expression.
    """
    if tuple(labels) != FERPLUS.labels:
        return None
    expressions = votes[:, : len(FERPLUS)]
    sums = expressions.sum(axis=1, keepdims=True)
    return expressions / sums if sums.all() else None
