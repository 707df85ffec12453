"""Evaluation: a classifier looks at one split of a dataset, and all figures about it are taken at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, Dataset, Split
from mien.errors import ConfigError, DatasetError, ModelError
from mien.evaluation.calibration import softmax
from mien.evaluation.metrics import (
    ClassScore,
    balanced_accuracy,
    confusion_matrix,
    ece,
    macro_f1,
    nll,
    per_class,
    wilson_interval,
)
from mien.models.spec import Head, ModelSpec
from mien.structures import FloatArray, ImageArray, IntArray
from mien.vision.classify import ExpressionClassifier

# What is done to a stack of pictures (n, H, W, C) before the classifier sees it.
LOOKS: dict[str, Callable[[ImageArray], ImageArray]] = {
    "plain": lambda images: images,
    "mirrored": lambda images: np.ascontiguousarray(images[:, :, ::-1]),
}
# A view is the arithmetic mean of the probabilities of these looks at a picture.
VIEWS: dict[str, tuple[str, ...]] = {"single": ("plain",), "flip": ("plain", "mirrored")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A share of correct answers and its 95 % Wilson interval, all in [0, 1]."""

    n: int
    correct: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewResult:
    """All figures of one view.

    Args:
        accuracy: Over all pictures that were evaluated.
        unleaked: Over those whose exact pixels don't occur in the splits the model was fitted on; None when
            no picture is left, the dataset lacks those splits, or one of them is the evaluated one.
        balanced_accuracy: Mean recall of the classes that occur, in [0, 1].
        macro_f1: Mean F1 of the classes that occur or are predicted, in [0, 1].
        classes: Scores per class, in the order of `Evaluation.labels`.
        confusion: Counts, int64 (k, k); rows are true, columns predicted.
        nll: Mean negative log-likelihood in nats.
        ece: Expected calibration error over 15 bins, in [0, 1].
        nll_uncalibrated: The same without the temperature that is folded into the model; None where it is 1.
        ece_uncalibrated: Likewise.
        probabilities: float32 (n, k), for comparisons and ensembles; not part of a report.
    """

    accuracy: Accuracy
    unleaked: Accuracy | None
    balanced_accuracy: float
    macro_f1: float
    classes: list[ClassScore]
    confusion: IntArray
    nll: float
    ece: float
    nll_uncalibrated: float | None
    ece_uncalibrated: float | None
    probabilities: FloatArray = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """How a model did on one split of a dataset.

    Args:
        spec: The model.
        head: Its output that was evaluated.
        dataset: Name of the data.
        fingerprint: `Dataset.fingerprint` of the whole of it, all splits.
        split: The part that was evaluated.
        fitted_on: Splits whose pictures count as seen in `ViewResult.unleaked`.
        labels: Classes that dataset and model share, in the dataset's order.
        missing: Classes of the dataset that the model lacks; their pictures are left out.
        unused: Classes of the model that the dataset lacks; probabilities are renormalised without them.
        n: Number of pictures evaluated.
        n_left_out: Number of pictures left out.
        targets: True class ids into `labels`, int64 (n,).
        views: Results by name of view.
    """

    spec: ModelSpec
    head: Head
    dataset: str
    fingerprint: str
    split: Split
    fitted_on: tuple[Split, ...]
    labels: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    n: int
    n_left_out: int
    targets: IntArray = field(repr=False)
    views: dict[str, ViewResult]


def evaluate(
    classifier: ExpressionClassifier,
    dataset: Dataset,
    *,
    split: Split = "test",
    views: Sequence[str] = ("single", "flip"),
    head: str | None = None,
    fitted_on: Sequence[Split] = ("train",),
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Let a classifier look at one split of a dataset and take all figures.

    Classes are matched by name. Pictures of a class that the model lacks are left out and counted. Classes of
    the model that the dataset lacks (FER+ knows contempt, FER2013 doesn't) are dropped and the probabilities
    renormalised over the shared ones: the question put to the model is which of the dataset's classes it sees.

    The view "flip" is the arithmetic mean of the probabilities of a picture and its mirror image.

    Args:
        classifier: Anything with a `spec` and `predict_proba`.
        dataset: The data, all its splits, so that pictures the model was fitted on can be told.
        split: The part to evaluate.
        views: Names in `VIEWS`, each reported apart.
        head: Label set of the model's output to evaluate; the default one for None.
        fitted_on: Splits the model was fitted on.
        batch_size: Pictures handed to the classifier at a time.
        progress: Called with (done, all) after each batch; pictures count once per look.

    Raises:
        ConfigError: No view, or an unknown one.
        DatasetError: The split is empty, or dataset and model share fewer than two classes or no picture.
        ModelError: No such head, or it gives probabilities of the wrong shape or not finite.
    """
    looks = _looks_of(views)
    model_head = classifier.spec.head(head)
    columns = dataset.labels.mapping_to(model_head.labels)
    shared = [i for i, column in enumerate(columns) if column is not None]
    whole = dataset.split(split)
    pictures = whole.select(np.isin(whole.targets, shared))
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
    unseen = None if split in fitted_on else _unseen(pictures.images, dataset, fitted_on=fitted_on)
    names = dataset.labels.labels
    return Evaluation(
        spec=classifier.spec,
        head=model_head,
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        split=split,
        fitted_on=tuple(fitted_on),
        labels=tuple(names[i] for i in shared),
        missing=tuple(name for name, column in zip(names, columns, strict=True) if column is None),
        unused=tuple(name for name in model_head.labels if name not in names),
        n=len(pictures),
        n_left_out=len(whole) - len(pictures),
        targets=targets,
        views={
            view: _result(
                [logits[look] for look in VIEWS[view]],
                targets,
                temperature=model_head.temperature,
                unseen=unseen,
            )
            for view in views
        },
    )


def _looks_of(views: Sequence[str]) -> list[str]:
    """Return each look that the views need, once."""
    unknown = [view for view in views if view not in VIEWS]
    if unknown or not views:
        raise ConfigError(f"no view '{', '.join(unknown)}'; choose from {', '.join(VIEWS)}")
    return [look for look in LOOKS if any(look in VIEWS[view] for view in views)]


def _predict(
    classifier: ExpressionClassifier,
    images: ImageArray,
    *,
    looks: Sequence[str],
    head: Head,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
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


def _unseen(images: ImageArray, dataset: Dataset, *, fitted_on: Sequence[Split]) -> npt.NDArray[np.bool_] | None:
    """Return which pictures don't occur, pixel by pixel, in the splits a model was fitted on.

    None where those splits hold nothing. A copy that was cropped, scaled or compressed again goes unnoticed.
    """
    fitted = dataset.images[np.isin(dataset.splits, [SPLITS.index(name) for name in fitted_on])]
    known = {_digest(image) for image in fitted}
    return np.array([_digest(image) not in known for image in images]) if known else None


def _digest(image: ImageArray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _result(
    logits: Sequence[FloatArray],
    targets: IntArray,
    *,
    temperature: float,
    unseen: npt.NDArray[np.bool_] | None,
) -> ViewResult:
    """Take the figures of the mean over several looks, each given as log-probabilities (n, k)."""
    probabilities = _mean_probabilities(logits)
    # the model's softmax has divided by its temperature: multiplying the logarithms by it takes that back
    uncalibrated = _mean_probabilities(logits, temperature=1 / temperature) if temperature != 1 else None
    predictions = probabilities.argmax(axis=1)
    correct = predictions == targets
    confusion = confusion_matrix(targets, predictions, n_classes=probabilities.shape[1])
    return ViewResult(
        accuracy=_accuracy(correct),
        unleaked=_accuracy(correct[unseen]) if unseen is not None and unseen.any() else None,
        balanced_accuracy=balanced_accuracy(confusion),
        macro_f1=macro_f1(confusion),
        classes=per_class(confusion),
        confusion=confusion,
        nll=nll(probabilities, targets),
        ece=ece(probabilities, targets),
        nll_uncalibrated=None if uncalibrated is None else nll(uncalibrated, targets),
        ece_uncalibrated=None if uncalibrated is None else ece(uncalibrated, targets),
        probabilities=probabilities,
    )


def _mean_probabilities(logits: Sequence[FloatArray], *, temperature: float = 1.0) -> FloatArray:
    looks = [softmax(look, temperature=temperature) for look in logits]
    return np.asarray(np.mean(looks, axis=0), np.float32)


def _accuracy(correct: npt.NDArray[np.bool_]) -> Accuracy:
    n, hits = len(correct), int(correct.sum())
    low, high = wilson_interval(hits, n)
    return Accuracy(n=n, correct=hits, value=hits / n, low=low, high=high)
