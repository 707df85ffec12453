"""Compare two models on the same images, by McNemar's test and a paired interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import ConfigError
from mien.evaluation.metrics import wilson_interval
from mien.evaluation.results import Evaluation
from mien.structures import IntArray

SIGNIFICANT = 0.05  # upper bound of a significant p-value, exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassComparison:
    """The comparison of two models within one class.

    Args:
        label: Name of the class.
        support: Number of its images.
        only_a: Images that only the first model classifies correctly.
        only_b: Images that only the second model classifies correctly.
        recall_a: Recall of the first model, in [0, 1]; 0 without images.
        recall_b: Recall of the second model.
        p_value: Of McNemar's test within the class, adjusted for the number of classes by Holm's method.
    """

    label: str
    support: int
    only_a: int
    only_b: int
    recall_a: float
    recall_b: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The comparison of two models, a and b, on the same images.

    Args:
        names: Of the models in reports.
        dataset: Name of the dataset.
        fingerprint: Of the whole dataset.
        split: The split they were compared on.
        view: The view they were compared in.
        both: Number of images that both classify correctly.
        only_a: Number that only a classifies correctly.
        only_b: Number that only b classifies correctly.
        neither: Number that both misclassify.
        difference: Accuracy of b minus that of a, in [-1, 1].
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        p_value: Of McNemar's test.
        classes: By class, in the order of the evaluations' labels.
    """

    names: tuple[str, str]
    dataset: str
    fingerprint: str
    split: str
    view: str
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    low: float
    high: float
    p_value: float
    classes: list[ClassComparison]

    @property
    def n(self) -> int:
        """Number of images."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def accuracies(self) -> tuple[float, float]:
        """Accuracy of a and of b, in [0, 1]."""
        return (self.both + self.only_a) / self.n, (self.both + self.only_b) / self.n

    @property
    def significant(self) -> bool:
        """Whether the p-value is below `SIGNIFICANT`; the interval only shows the size of the difference."""
        return self.p_value < SIGNIFICANT


def compare(a: Evaluation, b: Evaluation, *, view: str = "single") -> Comparison:
    """Compare two evaluations on the same images.

    Raises:
        ConfigError: Their data, split or classes differ, or one lacks the view.
    """
    for kind, theirs, ours in (
        ("data", a.fingerprint, b.fingerprint),
        ("splits", a.split, b.split),
        ("classes", a.labels, b.labels),
    ):
        if theirs != ours:
            raise ConfigError(
                f"'{a.name}' and '{b.name}' were evaluated on different {kind} ({theirs}; {ours}); "
                "only predictions for the same images can be compared"
            )
    if missing := [e.name for e in (a, b) if view not in e.views]:
        raise ConfigError(f"'{missing[0]}' was not evaluated in view '{view}'; choose from {', '.join(a.views)}")
    correct_a, correct_b = (e.is_correct(view) for e in (a, b))
    only_a, only_b = correct_a & ~correct_b, correct_b & ~correct_a
    both, neither = int((correct_a & correct_b).sum()), int((~correct_a & ~correct_b).sum())
    counts = int(only_a.sum()), int(only_b.sum())
    low, high = paired_interval(both, counts[1], counts[0], neither)
    return Comparison(
        names=(a.name, b.name),
        dataset=a.dataset,
        fingerprint=a.fingerprint,
        split=a.split,
        view=view,
        both=both,
        only_a=counts[0],
        only_b=counts[1],
        neither=neither,
        difference=(counts[1] - counts[0]) / a.n,
        low=low,
        high=high,
        p_value=mcnemar(*counts),
        classes=_by_class(a, b, only_a=a.targets[only_a], only_b=a.targets[only_b], view=view),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the p-value of McNemar's test, exact and two-sided.

    If two models are equally good, each of them is equally likely to be the one that classifies a discordant image
    correctly: McNemar 1947, doi:10.1007/BF02295996. The binomial tail is summed in integers, so only the last
    division is rounded.

    Args:
        only_a: Images that only the first model classifies correctly, at least 0.
        only_b: Images that only the second model classifies correctly, at least 0.

    Returns:
        A number in (0, 1]; 1 without discordant images.

    Raises:
        ValueError: A number is negative.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"{only_a} and {only_b} images; expected numbers of at least 0")
    n, ways, tail = only_a + only_b, 1, 0
    for hits in range(min(only_a, only_b) + 1):
        tail += ways
        ways = ways * (n - hits) // (hits + 1)
    return min(1.0, 2 * tail / (1 << n))


def paired_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference between two proportions of the same cases.

    Method 10 of Newcombe 1998, Statistics in Medicine 17:2635–2650: the Wilson intervals of the two proportions,
    combined by their correlation.

    Args:
        both: Cases in which both succeed.
        first: Cases in which only the first succeeds.
        second: Cases in which only the second succeeds.
        neither: Cases in which both fail; the four sum to at least 1.

    Returns:
        Bounds of the first proportion minus the second one, both in [-1, 1].

    Raises:
        ValueError: A number is out of range.
    """
    counts = (both, first, second, neither)
    if min(counts) < 0 or not sum(counts):
        raise ValueError(f"counts are {counts}; expected numbers of at least 0, not all 0")
    n = sum(counts)
    shares = (both + first) / n, (both + second) / n
    (low1, high1), (low2, high2) = (wilson_interval(both + alone, n) for alone in (first, second))
    phi = _correlation(both, first, second, neither)
    down, up = (
        math.sqrt(reach**2 - 2 * phi * reach * other + other**2)
        for reach, other in ((shares[0] - low1, high2 - shares[1]), (high1 - shares[0], shares[1] - low2))
    )
    difference = (first - second) / n
    return max(difference - down, -1.0), min(difference + up, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: Holm 1979, Scandinavian Journal of Statistics 6:65–70."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """Return phi of a 2×2 table, corrected for continuity if positive, as method 10 requires."""
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not product:
        return 0.0
    excess = float(both * neither - first * second)
    if excess > 0:
        excess = max(excess - sum((both, first, second, neither)) / 2, 0.0)
    return excess / math.sqrt(product)


def _by_class(a: Evaluation, b: Evaluation, *, only_a: IntArray, only_b: IntArray, view: str) -> list[ClassComparison]:
    """Return the comparison of each class, given the targets of the images that only one model classifies correctly."""
    counts = [np.bincount(targets, minlength=len(a.labels)).tolist() for targets in (only_a, only_b)]
    p_values = holm([mcnemar(*pair) for pair in zip(*counts, strict=True)])
    scores = zip(a.views[view].classes, b.views[view].classes, strict=True)
    return [
        ClassComparison(
            label=label,
            support=of_a.support,
            only_a=alone_a,
            only_b=alone_b,
            recall_a=of_a.recall,
            recall_b=of_b.recall,
            p_value=p_value,
        )
        for label, alone_a, alone_b, (of_a, of_b), p_value in zip(a.labels, *counts, scores, p_values, strict=True)
    ]
