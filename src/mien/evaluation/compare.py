"""Comparing two models on the same pictures: only those that one of them gets right tell them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import ConfigError
from mien.evaluation.metrics import wilson_interval
from mien.evaluation.results import Evaluation
from mien.structures import IntArray

SIGNIFICANT = 0.05  # p-value below which a difference is called one


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassComparison:
    """Where two models differ in one class.

    Args:
        label: Name of the class.
        support: Number of its pictures.
        only_a: Pictures that the first model alone gets right.
        only_b: Pictures that the second model alone gets right.
        recall_a: Share of the pictures that the first model gets right, in [0, 1]; 0 where there are none.
        recall_b: Likewise for the second.
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
    """How two models, a and b, differ on the same pictures.

    Args:
        names: What they are called.
        dataset: Name of the data.
        fingerprint: Of the whole of it.
        split: The part they were compared on.
        view: The view they were compared in.
        both: Number of pictures that both get right.
        only_a: Number that a alone gets right.
        only_b: Number that b alone gets right.
        neither: Number that both get wrong.
        difference: Accuracy of b minus that of a, in [-1, 1].
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        p_value: How often models that are equally good would differ as much as these or more.
        classes: The same by class, in the order of the evaluations' labels.
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
        """Number of pictures."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def accuracies(self) -> tuple[float, float]:
        """Accuracy of a and of b, in [0, 1]."""
        return (self.both + self.only_a) / self.n, (self.both + self.only_b) / self.n

    @property
    def significant(self) -> bool:
        """Whether the p-value is below `SIGNIFICANT`; it decides, the interval only tells the size."""
        return self.p_value < SIGNIFICANT


def compare(a: Evaluation, b: Evaluation, *, view: str = "single") -> Comparison:
    """Compare two evaluations of the same pictures.

    Raises:
        ConfigError: They are of other data, another split or other classes, or one lacks the view.
    """
    for what, theirs, ours in (
        ("data", a.fingerprint, b.fingerprint),
        ("splits", a.split, b.split),
        ("classes", a.labels, b.labels),
    ):
        if theirs != ours:
            raise ConfigError(
                f"'{a.name}' and '{b.name}' were evaluated on different {what} ({theirs}; {ours}); "
                "only answers about the same pictures can be compared"
            )
    if missing := [e.name for e in (a, b) if view not in e.views]:
        raise ConfigError(f"'{missing[0]}' was not evaluated in view '{view}'; choose from {', '.join(a.views)}")
    right_a, right_b = (e.is_correct(view) for e in (a, b))
    only_a, only_b = right_a & ~right_b, right_b & ~right_a
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
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
    """Return the p-value of McNemar's test in its exact, two-sided form.

    If two models are equally good, a picture that one of them alone gets right falls to either like a coin:
    McNemar 1947, doi:10.1007/BF02295996. The binomial tail is summed in whole numbers, so nothing is rounded
    before the last division.

    Args:
        only_a: Pictures that the first model alone gets right, at least 0.
        only_b: Pictures that the second model alone gets right, at least 0.

    Returns:
        A number in (0, 1]; 1 where the models differ on no picture.

    Raises:
        ValueError: A number is negative.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"{only_a} and {only_b} pictures; expected numbers of at least 0")
    n, ways, tail = only_a + only_b, 1, 0
    for hits in range(min(only_a, only_b) + 1):
        tail += ways
        ways = ways * (n - hits) // (hits + 1)
    return min(1.0, 2 * tail / (1 << n))


def paired_interval(
    both: int, first: int, second: int, neither: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the difference between two shares of the same cases.

    Method 10 of Newcombe 1998, Statistics in Medicine 17:2635–2650: the Wilson intervals of the two shares,
    joined with regard to their correlation.

    Args:
        both: Cases in which both succeed.
        first: Cases in which the first alone succeeds.
        second: Cases in which the second alone succeeds.
        neither: Cases in which both fail; the four sum to at least 1.
        confidence: Wanted coverage, in (0, 1).

    Returns:
        Bounds of the first share minus the second one, both in [-1, 1].

    Raises:
        ValueError: A number is out of its range.
    """
    counts = (both, first, second, neither)
    if min(counts) < 0 or not sum(counts):
        raise ValueError(f"counts are {counts}; expected numbers of at least 0, not all of them 0")
    n = sum(counts)
    shares = (both + first) / n, (both + second) / n
    (low1, high1), (low2, high2) = (
        wilson_interval(both + alone, n, confidence=confidence) for alone in (first, second)
    )
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
    """Return phi of a fourfold table; a positive one is corrected for continuity, as method 10 wants it."""
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not product:
        return 0.0
    excess = float(both * neither - first * second)
    if excess > 0:
        excess = max(excess - sum((both, first, second, neither)) / 2, 0.0)
    return excess / math.sqrt(product)


def _by_class(a: Evaluation, b: Evaluation, *, only_a: IntArray, only_b: IntArray, view: str) -> list[ClassComparison]:
    """Return the comparison of each class, given the targets of the pictures that one model alone gets right."""
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
