"""Evaluation: a classifier looks at one split of a dataset, and all figures about it are taken at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mien.data.audit import first_identical
from mien.data.dataset import SPLITS, Dataset, Split
from mien.data.votes import majority
from mien.errors import ConfigError, DatasetError, ModelError
from mien.evaluation.bootstrap import balanced_accuracies, macro_f1s, percentile_interval, resampled_confusions
from mien.evaluation.metrics import (
    Bin,
    ClassScore,
    balanced_accuracy,
    brier,
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
from mien.evaluation.selective import OperatingPoint, RiskCoverage, answering, aurc, risk_coverage
from mien.evaluation.views import LOOKS, VIEWS, looks_of
from mien.labels import FERPLUS
from mien.models.classifier import ExpressionClassifier, softmax
from mien.models.spec import Head, ModelSpec
from mien.structures import FloatArray, ImageArray, IntArray, Progress

BoolArray: TypeAlias = npt.NDArray[np.bool_]
Sameness = Literal["pixels", "photo"]  # what two pictures share if one is a leak of the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A share of correct answers and its 95 % Wilson interval, all in [0, 1]."""

    n: int
    correct: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationScores:
    """How far a model's probabilities can be trusted.

    Args:
        nll: Mean negative log-likelihood in nats.
        brier: Brier score, summed over the classes, in [0, 2].
        ece: Expected calibration error over 15 bins, in [0, 1].
        aurc: Area under `curve`, in [0, 1].
        reliability: Confidence and accuracy in each of those bins that holds pictures.
        curve: Risk by coverage.
        answering: From which confidence on answers are as accurate as wanted; None if from none.
    """

    nll: float
    brier: float
    ece: float
    aurc: float
    reliability: list[Bin] = field(repr=False)
    curve: RiskCoverage = field(repr=False)
    answering: OperatingPoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raters:
    """How near a model comes to what the raters of each picture said, in nats; 0 divergence is perfect.

    Args:
        kl: Mean KL divergence from the raters' votes on expressions, as a distribution, to the model's.
        cross_entropy: Likewise; `kl` and the entropy of the votes.
    """

    kl: float
    cross_entropy: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewResult:
    """All figures of one view.

    Args:
        accuracy: Over all pictures that were evaluated.
        unleaked: Over those whose `Evaluation.same` doesn't occur in the splits the model was fitted on; None when
            no picture is left, the dataset lacks those splits, or one of them is the evaluated one.
        balanced_accuracy: Mean recall of the classes that occur, in [0, 1].
        macro_f1: Mean F1 of the classes that occur or are predicted, in [0, 1].
        classes: Scores per class, in the order of `Evaluation.labels`.
        confusion: Counts, int64 (k, k); rows are true, columns predicted.
        balanced_accuracy_interval: Its 95 % bootstrap interval.
        macro_f1_interval: Likewise.
        honesty: How far the probabilities can be trusted.
        uncalibrated: The same without the temperature that is folded into the model; None where it is 1.
        raters: Against the votes on each picture; None unless the classes are those of FER+ and there are votes.
        probabilities: float32 (n, k), for comparisons and ensembles; not part of a report.
    """

    accuracy: Accuracy
    unleaked: Accuracy | None
    balanced_accuracy: float
    macro_f1: float
    classes: list[ClassScore]
    confusion: IntArray
    balanced_accuracy_interval: tuple[float, float]
    macro_f1_interval: tuple[float, float]
    honesty: CalibrationScores
    uncalibrated: CalibrationScores | None
    raters: Raters | None
    probabilities: FloatArray = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """How a model did on one split of a dataset.

    Args:
        name: What the model is called in reports.
        spec: The model.
        head: Its output that was evaluated.
        dataset: Name of the data.
        fingerprint: `Dataset.fingerprint` of the whole of it, all splits.
        split: The part that was evaluated.
        fitted_on: Splits whose pictures count as seen in `ViewResult.unleaked`.
        same: Whether a picture counts as seen there, too, if a picture with the same pixels is, or one of the same
            photo, which clusters tell; by photo, the bootstrap draws all pictures of one together.
        labels: Classes that dataset and model share, in the dataset's order.
        missing: Classes of the dataset that the model lacks; their pictures are left out.
        unused: Classes of the model that the dataset lacks; probabilities are renormalised without them.
        n: Number of pictures evaluated.
        n_left_out: Number of pictures left out.
        rows: Rows of the dataset that were evaluated, in its order, int64 (n,).
        targets: True class ids into `labels`, int64 (n,).
        views: Results by name of view.
    """

    name: str
    spec: ModelSpec
    head: Head
    dataset: str
    fingerprint: str
    split: Split
    fitted_on: tuple[Split, ...]
    same: Sameness
    labels: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    n: int
    n_left_out: int
    rows: IntArray = field(repr=False)
    targets: IntArray = field(repr=False)
    views: dict[str, ViewResult]

    def is_right(self, view: str) -> BoolArray:
        """Return which pictures the model names right in a view, bool (n,)."""
        return np.asarray(self.views[view].probabilities.argmax(axis=1) == self.targets, np.bool_)


def evaluate(
    classifier: ExpressionClassifier,
    dataset: Dataset,
    *,
    split: Split = "test",
    views: Sequence[str] = ("single", "flip"),
    head: str | None = None,
    name: str | None = None,
    fitted_on: Sequence[Split] = ("train",),
    clusters: IntArray | None = None,
    answer_accuracy: float = 0.8,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Evaluation:
    """Let a classifier look at one split of a dataset and take all figures.

    Classes are matched by name. Pictures of a class that the model lacks are left out and counted. Classes of
    the model that the dataset lacks (FER+ knows contempt, FER2013 doesn't) are dropped and the probabilities
    renormalised over the shared ones: the question put to the model is which of the dataset's classes it sees.

    The view "flip" is the arithmetic mean of the probabilities of a picture and its mirror image, "tencrop" that of
    four corners and the centre, each with its mirror image.

    Args:
        classifier: Anything with a `spec` and `predict_proba`.
        dataset: The data, all its splits, so that pictures the model was fitted on can be told.
        split: The part to evaluate.
        views: Names in `VIEWS`, each reported apart.
        head: Label set of the model's output to evaluate; the default one for None.
        name: What to call the model in reports; as its spec does for None.
        fitted_on: Splits the model was fitted on.
        clusters: An integer for each picture of the dataset, int64 (n,): those that share one show the same photo, as
            in `mien.data.audit.Audit.clusters`. They are drawn together for the bootstrap intervals, and those whose
            photo the model was fitted on are left out of `ViewResult.unleaked`. None draws each by itself, and
            leaves out those whose exact pixels it was fitted on.
        answer_accuracy: Wanted share of right answers, in (0, 1], for `CalibrationScores.answering`.
        batch_size: Pictures handed to the classifier at a time.
        progress: Called with (done, all) after each batch; pictures count once per look.

    Raises:
        ConfigError: No view, or an unknown one; `answer_accuracy` or the number of clusters is out of range.
        DatasetError: The split is empty, or dataset and model share fewer than two classes or no picture.
        ModelError: No such head, or it gives probabilities of the wrong shape or not finite.
    """
    looks = looks_of(views)
    if not 0 < answer_accuracy <= 1:
        raise ConfigError(f"wanted accuracy of answers is {answer_accuracy}; expected more than 0 and at most 1")
    if clusters is not None and clusters.shape != (len(dataset),):
        raise ConfigError(f"clusters have shape {clusters.shape}; expected one for each of {len(dataset)} pictures")
    model_head = classifier.spec.head(head)
    columns = dataset.labels.mapping_to(model_head.labels)
    shared = [i for i, column in enumerate(columns) if column is not None]
    n_all = len(dataset.split(split))
    rows = np.flatnonzero((dataset.splits == SPLITS.index(split)) & np.isin(dataset.targets, shared))
    pictures = dataset.select(rows)
    if len(shared) < 2 or not len(pictures):
        raise DatasetError(
            f"dataset '{dataset.name}' ({', '.join(dataset.labels)}) and model '{classifier.spec.name}' "
            f"({', '.join(model_head.labels)}) share too few classes or pictures to be evaluated; "
            "choose another dataset, or another head of the model"
        )
    probabilities = _predict(
        classifier, pictures.images, looks=looks, head=model_head, batch_size=batch_size, progress=progress
    )
    shared_columns = [column for column in columns if column is not None]
    smallest = np.finfo(np.float32).tiny  # keeps the logarithm of a probability of 0 finite
    logits = {look: np.log(p[:, shared_columns].clip(smallest)) for look, p in probabilities.items()}
    targets = np.searchsorted(shared, pictures.targets).astype(np.int64)
    shown = first_identical(dataset.images) if clusters is None else clusters
    fitted = np.isin(dataset.splits, [SPLITS.index(name) for name in fitted_on])
    unseen = ~np.isin(shown[rows], shown[fitted]) if fitted.any() and split not in fitted_on else None
    names = dataset.labels.labels
    labels = tuple(names[i] for i in shared)
    return Evaluation(
        name=name or classifier.spec.name,
        spec=classifier.spec,
        head=model_head,
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        split=split,
        fitted_on=tuple(fitted_on),
        same="pixels" if clusters is None else "photo",
        labels=labels,
        missing=tuple(name for name, column in zip(names, columns, strict=True) if column is None),
        unused=tuple(name for name in model_head.labels if name not in names),
        n=len(pictures),
        n_left_out=n_all - len(pictures),
        rows=rows,
        targets=targets,
        views={
            view: _result(
                [logits[look] for look in VIEWS[view]],
                targets,
                temperature=model_head.temperature,
                unseen=unseen,
                clusters=None if clusters is None else clusters[rows],
                votes=_distributions(pictures, labels),
                answer_accuracy=answer_accuracy,
            )
            for view in views
        },
    )


def labelled_for(dataset: Dataset, heads: Iterable[Head]) -> Dataset:
    """Return a dataset with the labels that heads were taught: the raters' majority for FER+ heads if it has votes."""
    if dataset.votes is None or any(head.labels.name != FERPLUS.name for head in heads):
        return dataset
    return majority(dataset)


def _predict(
    classifier: ExpressionClassifier,
    images: ImageArray,
    *,
    looks: Sequence[str],
    head: Head,
    batch_size: int,
    progress: Progress | None,
) -> dict[str, FloatArray]:
    """Return the classifier's probabilities, float32 (n, k), for each look at the pictures."""
    parts: dict[str, list[FloatArray]] = {look: [] for look in looks}
    done = 0
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        for look in looks:
            probabilities = classifier.predict_proba(list(LOOKS[look](batch)), head=head.labels.name)
            if probabilities.shape != (len(batch), len(head.labels)) or not np.isfinite(probabilities).all():
                raise ModelError(
                    f"model '{classifier.spec.name}' gave {probabilities.shape} probabilities, or not finite "
                    f"ones; expected {(len(batch), len(head.labels))} numbers in [0, 1]; export it again"
                )
            parts[look].append(probabilities)
            done += len(batch)
            if progress is not None:
                progress(done, len(looks) * len(images))
    return {look: np.concatenate(part) for look, part in parts.items()}


def _result(
    logits: Sequence[FloatArray],
    targets: IntArray,
    *,
    temperature: float,
    unseen: BoolArray | None,
    clusters: IntArray | None,
    votes: FloatArray | None,
    answer_accuracy: float,
) -> ViewResult:
    """Take the figures of the mean over several looks, each given as log-probabilities (n, k)."""
    probabilities = _mean_probabilities(logits)
    # the model's softmax has divided by its temperature: multiplying the logarithms by it takes that back
    uncalibrated = _mean_probabilities(logits, temperature=1 / temperature) if temperature != 1 else None
    predictions = probabilities.argmax(axis=1)
    correct = predictions == targets
    k = probabilities.shape[1]
    confusion = confusion_matrix(targets, predictions, n_classes=k)
    resampled = resampled_confusions(targets, predictions, n_classes=k, clusters=clusters)
    return ViewResult(
        accuracy=_accuracy(correct),
        unleaked=_accuracy(correct[unseen]) if unseen is not None and unseen.any() else None,
        balanced_accuracy=balanced_accuracy(confusion),
        macro_f1=macro_f1(confusion),
        classes=per_class(confusion),
        confusion=confusion,
        balanced_accuracy_interval=percentile_interval(balanced_accuracies(resampled)),
        macro_f1_interval=percentile_interval(macro_f1s(resampled)),
        honesty=_honesty(probabilities, targets, wanted=answer_accuracy),
        uncalibrated=None if uncalibrated is None else _honesty(uncalibrated, targets, wanted=answer_accuracy),
        raters=None
        if votes is None
        else Raters(kl=kl_divergence(probabilities, votes), cross_entropy=cross_entropy(probabilities, votes)),
        probabilities=probabilities,
    )


def _distributions(pictures: Dataset, labels: Sequence[str]) -> FloatArray | None:
    """Return the votes on each picture's expression, float32 (n, 8), rows sum to 1.

    None where there are none, for other classes than those of FER+, or if a picture has none.
    """
    if pictures.votes is None or tuple(labels) != FERPLUS.labels:
        return None
    votes = pictures.votes[:, : len(FERPLUS)]
    sums = votes.sum(axis=1, keepdims=True)
    return votes / sums if sums.all() else None


def _honesty(probabilities: FloatArray, targets: IntArray, *, wanted: float) -> CalibrationScores:
    curve = risk_coverage(probabilities, targets)
    return CalibrationScores(
        nll=nll(probabilities, targets),
        brier=brier(probabilities, targets),
        ece=ece(probabilities, targets),
        aurc=aurc(curve),
        reliability=reliability(probabilities, targets),
        curve=curve,
        answering=answering(curve, wanted),
    )


def _mean_probabilities(logits: Sequence[FloatArray], *, temperature: float = 1.0) -> FloatArray:
    looks = [softmax(look, temperature=temperature) for look in logits]
    return np.asarray(np.mean(looks, axis=0), np.float32)


def _accuracy(correct: BoolArray) -> Accuracy:
    n, hits = len(correct), int(correct.sum())
    low, high = wilson_interval(hits, n)
    return Accuracy(n=n, correct=hits, value=hits / n, low=low, high=high)
