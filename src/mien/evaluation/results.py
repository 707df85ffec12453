"""Results of an evaluation, as plain dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mien.data.dataset import PictureLabel, Split
from mien.evaluation.metrics import Bin, ClassScore
from mien.evaluation.ranking import PairAuc
from mien.evaluation.selective import OperatingPoint, RiskCoverage
from mien.models.spec import Head, ModelSpec
from mien.structures import BoolArray, FloatArray, IntArray

MIN_SLICE = 30  # pictures of a value that is compared
LeakCriterion = Literal["pixels", "photo"]  # an image leaks if its exact pixels, or its photo, is in the fitted splits


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Share of correct predictions and its 95 % Wilson interval, all in [0, 1]."""

    n: int
    correct: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationScores:
    """Calibration of a model's probabilities, and selective prediction by them.

    Args:
        nll: Mean negative log-likelihood in nats.
        brier: Brier score, summed over the classes, in [0, 2].
        ece: Expected calibration error over 15 bins, in [0, 1].
        aurc: Area under the risk–coverage curve, in [0, 1].
        reliability: Confidence and accuracy per non-empty bin of the ECE.
        risk_coverage: Risk by coverage.
        operating_point: Lowest confidence threshold that reaches the target accuracy; None if none does.
    """

    nll: float
    brier: float
    ece: float
    aurc: float
    reliability: list[Bin] = field(repr=False)
    risk_coverage: RiskCoverage = field(repr=False)
    operating_point: OperatingPoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterAgreement:
    """Distance between the model's probabilities and the raters' votes per image, in nats.

    Args:
        kl: Mean KL divergence from the vote distribution over expressions to the model's; 0 is perfect.
        cross_entropy: Mean cross-entropy: `kl` plus the entropy of the votes.
    """

    kl: float
    cross_entropy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEnd:
    """Results on pictures whose faces were detected: a picture without a detected face counts as wrong.

    Args:
        accuracy: Over all pictures.
        balanced_accuracy: Mean recall of the classes that occur, in [0, 1].
        balanced_accuracy_interval: 95 % bootstrap interval.
        recalls: By class, in the order of `Evaluation.labels`; 0 without pictures.
        missed: Pictures without a detected face, by class.
    """

    accuracy: Accuracy
    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    recalls: tuple[float, ...]
    missed: tuple[int, ...]

    @property
    def n_missed(self) -> int:
        """Number of pictures without a detected face."""
        return sum(self.missed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewResult:
    """All metrics of one view, over the images with a face.

    Args:
        accuracy: Over all evaluated images.
        leak_free: Over those without a duplicate, as defined by `Evaluation.leak_criterion`, in the splits the model
            was fitted on. None if no image is left, the dataset lacks those splits, or the evaluated split is one
            of them.
        balanced_accuracy: Mean recall of the classes that occur, in [0, 1].
        macro_f1: Mean F1 of the classes that occur or are predicted, in [0, 1].
        classes: Scores per class, in the order of `Evaluation.labels`.
        confusion: Counts, int64 (k, k); rows are true, columns predicted.
        balanced_accuracy_interval: 95 % bootstrap interval.
        macro_f1_interval: 95 % bootstrap interval.
        calibration: Of the model's probabilities.
        uncalibrated: The same without the temperature that is folded into the model; None if that is 1.
        raters: Agreement with the votes; None unless the classes are those of FER+ and every image has votes.
        happy_neutral: AUC of happy against neutral; None if one of the two has no image.
        end_to_end: The same with missed faces counted as wrong; None unless faces were detected.
        probabilities: float32 (n, k), for comparisons and ensembles; not part of a report.
    """

    accuracy: Accuracy
    leak_free: Accuracy | None
    balanced_accuracy: float
    macro_f1: float
    classes: list[ClassScore]
    confusion: IntArray
    balanced_accuracy_interval: tuple[float, float]
    macro_f1_interval: tuple[float, float]
    calibration: CalibrationScores
    uncalibrated: CalibrationScores | None
    raters: RaterAgreement | None
    happy_neutral: PairAuc | None
    end_to_end: EndToEnd | None
    probabilities: FloatArray = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice:
    """Results on the pictures with one value in a column of a table.

    Args:
        value: The value, or the range of a numeric column.
        result: On the images with a face; None if there is none.
        n_missed: Pictures without a detected face; 0 if no faces were detected.
    """

    value: str
    result: ViewResult | None
    n_missed: int

    @property
    def n(self) -> int:
        """Number of pictures, those without a detected face included."""
        return self.n_missed + (0 if self.result is None else self.result.accuracy.n)

    @property
    def is_small(self) -> bool:
        """Whether it has too few pictures to be compared."""
        return self.n < MIN_SLICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The largest difference between two values of a column, and its permutation test.

    Compared is the mean recall of classes with enough pictures in each value that has enough pictures; missed faces
    count as wrong.

    Args:
        best: Value with the highest mean recall.
        worst: Value with the lowest.
        difference: Of the two, in [0, 1].
        labels: The compared classes.
        p_value: Of the permutation test, adjusted for the number of columns by Holm's method.
    """

    best: str
    worst: str
    difference: float
    labels: tuple[str, ...]
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceColumn:
    """Results by value of one column of a table about the pictures.

    Args:
        name: Of the column.
        slices: One per value, sorted.
        n_unknown: Pictures without a value.
        gap: None unless two values have enough pictures of a common class.
    """

    name: str
    slices: tuple[Slice, ...]
    n_unknown: int
    gap: Gap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedResult:
    """Results on images that were degraded in one way, compared with the same images as they are.

    Args:
        name: Of the degradation.
        accuracy: On the degraded images.
        lost: Images that only the clean prediction classifies correctly.
        gained: Images that only the degraded one does.
        difference: Accuracy minus that on clean images, in [-1, 1].
        low: Lower bound of its 95 % interval for pairs.
        high: Upper bound.
        recalls: By class, in the order of `Evaluation.labels`; 0 without images.
        happy_neutral: AUC of happy against neutral, as in `ViewResult`.
    """

    name: str
    accuracy: Accuracy
    lost: int
    gained: int
    difference: float
    low: float
    high: float
    recalls: tuple[float, ...]
    happy_neutral: PairAuc | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Metrics of a model on one split of a dataset.

    Args:
        name: Name of the model in reports.
        spec: The model.
        head: The evaluated output.
        dataset: Name of the dataset.
        fingerprint: `Dataset.fingerprint` of the whole dataset, all splits.
        split: The evaluated split.
        fitted_on: Splits the model was fitted on; their images count as seen in `ViewResult.leak_free`.
        leak_criterion: "pixels": an image leaks if an image with the same pixels was fitted on. "photo": if any image
            of the same cluster was; the bootstrap then resamples whole clusters.
        detector: Detector that found the faces in the pictures; None if the images were read as they are.
        labels: Classes that dataset and model share, in the dataset's order.
        missing: Classes of the dataset that the model lacks; their images are excluded.
        unused: Classes of the model that the dataset lacks; probabilities are renormalised without them.
        n: Number of evaluated images.
        n_excluded: Number of excluded images.
        rows: Evaluated rows of the dataset, in its order, int64 (n,).
        targets: True class ids into `labels`, int64 (n,).
        views: Results by view.
        missed: Pictures of the split and of these classes without a detected face.
        slices: Results by value of each column of a table about the pictures, in the first view.
        robustness: Results on degraded images, in the view "single"; the first is of the images as they are.
    """

    name: str
    spec: ModelSpec
    head: Head
    dataset: str
    fingerprint: str
    split: Split
    fitted_on: tuple[Split, ...]
    leak_criterion: LeakCriterion
    detector: str | None
    labels: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    n: int
    n_excluded: int
    rows: IntArray = field(repr=False)
    targets: IntArray = field(repr=False)
    views: dict[str, ViewResult]
    missed: tuple[PictureLabel, ...] = field(default=(), repr=False)
    slices: tuple[SliceColumn, ...] = ()
    robustness: tuple[DegradedResult, ...] = ()

    @property
    def chance(self) -> float:
        """Share of the most frequent class, in [0, 1]: the accuracy of always predicting it."""
        return float(np.bincount(self.targets).max() / self.n)

    def is_correct(self, view: str) -> BoolArray:
        """Return whether each image is predicted correctly in a view, bool (n,)."""
        return np.asarray(self.views[view].probabilities.argmax(axis=1) == self.targets, np.bool_)
