"""Results by group of pictures: sex, age, lighting, face size, or any other column of a table about the pictures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset
from mien.errors import DatasetError, InputError
from mien.evaluation.compare import holm
from mien.evaluation.evaluate import happy_neutral
from mien.evaluation.results import MIN_SLICE, Evaluation, Gap, Slice, SliceColumn
from mien.evaluation.score import score
from mien.evaluation.slice_table import UNKNOWN, SliceTable, grouped, match_rows, problem_of
from mien.structures import BoolArray, IntArray

MIN_CLASS = 10  # pictures of a class in each compared value
PERMUTATIONS = 9999

StrArray = npt.NDArray[np.str_]


class _Pictures(NamedTuple):
    """The evaluated pictures: those with a face in the order of the evaluation, then the missed ones.

    Args:
        names: Paths, with "/".
        targets: True class ids, int64 (n,).
        correct: Whether the prediction is correct, bool (n,); not of a missed face.
        clusters: Cluster id of each that is no missed face, for the bootstrap; None resamples single images.
    """

    names: list[str]
    targets: IntArray
    correct: BoolArray
    clusters: IntArray | None


def slice_evaluation(
    evaluation: Evaluation, dataset: Dataset, table: SliceTable, *, clusters: IntArray | None = None
) -> Evaluation:
    """Return the evaluation with the results of its first view by value of each column of a table.

    A row belongs to the picture whose path below the root of the data ends with the row's file. A numeric column with
    more than `slice_table.MAX_NUMBERS` distinct numbers is cut at the quartiles. A column with a single value, or with
    more than `slice_table.MAX_VALUES`, is left out with a warning. Rows about pictures that the dataset lacks are
    counted in a warning.

    The gap of a column is that in mean recall between its best and its worst value; compared are values with
    `MIN_SLICE` pictures or more, over the classes with `MIN_CLASS` pictures or more in each of them. Its test permutes
    the values among the pictures of each class, so different shares of classes make no gap; it treats pictures as
    independent. Holm's method adjusts for the number of columns.

    Args:
        evaluation: An evaluation of this dataset.
        dataset: Provides the names of the pictures.
        table: From `read_slices`.
        clusters: Cluster id of each image of the dataset, for the bootstrap; None resamples single images.

    Raises:
        DatasetError: The dataset has no file names.
        InputError: No evaluated picture is in the table, a row belongs to several pictures, two rows about a picture
            differ, or no column is left.
    """
    if dataset.names is None:
        raise DatasetError(
            f"dataset '{dataset.name}' has no file names to look up in '{table.path}'; slices need picture files"
        )
    pictures = _pictures(evaluation, dataset, clusters)
    found = dataset.found
    known = [*dataset.names.tolist(), *(each.name for each in (found.missed + found.crowded if found else ()))]
    rows = match_rows(table, pictures.names, known=known)
    columns = []
    for name, cells in table.columns.items():
        groups, values = grouped([UNKNOWN if row is None else cells[row] for row in rows])
        if problem := problem_of(groups):
            warnings.warn(f"column '{name}' of '{table.path}' {problem}; it is left out", stacklevel=2)
        else:
            columns.append(_column(name, groups, np.array(values), evaluation, pictures))
    if not columns:
        raise InputError(f"'{table.path}' has no column to slice by; expected one of two values or more")
    return replace(evaluation, slices=_adjusted(columns))


def gap_p_value(sizes: IntArray, hits: IntArray, *, seed: int = 0) -> float:
    """Return the p-value of the gap in mean recall between the best and the worst group, by a permutation test.

    Which pictures belong to which group is permuted within each class (Good 2005, doi:10.1007/b138696), so that the
    correct predictions of a class fall into its groups by the multivariate hypergeometric distribution.

    Args:
        sizes: Pictures by class and group, at least 1 each, shape (k, m).
        hits: Correct predictions among them, shape (k, m).
        seed: The same seed gives the same p-value.

    Returns:
        A number in (0, 1], from `PERMUTATIONS` draws.
    """
    generator = np.random.default_rng(seed)
    recalls = np.zeros((PERMUTATIONS, sizes.shape[1]))
    for of_class, correct in zip(sizes, hits.sum(axis=1), strict=True):
        recalls += generator.multivariate_hypergeometric(of_class, correct, size=PERMUTATIONS) / of_class
    reached = np.ptp(recalls, axis=1) >= np.ptp((hits / sizes).sum(axis=0)) - 1e-9  # of sums of recalls
    return float((1 + reached.sum()) / (1 + PERMUTATIONS))


def _pictures(evaluation: Evaluation, dataset: Dataset, clusters: IntArray | None) -> _Pictures:
    assert dataset.names is not None
    missed = evaluation.missed
    of_missed = np.array([evaluation.labels.index(picture.label) for picture in missed], np.int64)
    correct = evaluation.is_correct(next(iter(evaluation.views)))
    return _Pictures(
        names=[*dataset.names[evaluation.rows].tolist(), *(picture.name for picture in missed)],
        targets=np.concatenate([evaluation.targets, of_missed]),
        correct=np.concatenate([correct, np.zeros(len(missed), np.bool_)]),
        clusters=None if clusters is None else clusters[evaluation.rows],
    )


def _column(
    name: str, groups: Sequence[str], values: StrArray, evaluation: Evaluation, pictures: _Pictures
) -> SliceColumn:
    return SliceColumn(
        name=name,
        slices=tuple(_slice(group, values == group, evaluation, pictures) for group in groups),
        n_unknown=int((values == UNKNOWN).sum()),
        gap=_gap(groups, values, evaluation.labels, pictures),
    )


def _slice(value: str, members: BoolArray, evaluation: Evaluation, pictures: _Pictures) -> Slice:
    found, missed = members[: evaluation.n], pictures.targets[evaluation.n :][members[evaluation.n :]]
    if not found.any():
        return Slice(value=value, result=None, n_missed=len(missed))
    result = score(
        next(iter(evaluation.views.values())).probabilities[found],
        evaluation.targets[found],
        clusters=None if pictures.clusters is None else pictures.clusters[found],
        happy_neutral=happy_neutral(evaluation.labels),
        missed=None if evaluation.detector is None else np.bincount(missed, minlength=len(evaluation.labels)),
    )
    return Slice(value=value, result=result, n_missed=len(missed))


def _gap(groups: Sequence[str], values: StrArray, labels: Sequence[str], pictures: _Pictures) -> Gap | None:
    """Return the gap of a column, its p-value not yet adjusted; None if fewer than two groups can be compared."""
    groups = [group for group in groups if (values == group).sum() >= MIN_SLICE]
    shape = (len(labels), len(groups))
    sizes, hits = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for i, group in enumerate(groups):
        sizes[:, i] = np.bincount(pictures.targets[values == group], minlength=len(labels))
        hits[:, i] = np.bincount(pictures.targets[(values == group) & pictures.correct], minlength=len(labels))
    compared = (sizes >= MIN_CLASS).all(axis=1)
    if len(groups) < 2 or not compared.any():
        return None
    sizes, hits = sizes[compared], hits[compared]
    recalls = (hits / sizes).mean(axis=0)
    return Gap(
        best=groups[recalls.argmax()],
        worst=groups[recalls.argmin()],
        difference=float(np.ptp(recalls)),
        labels=tuple(labels[i] for i in np.flatnonzero(compared).tolist()),
        p_value=gap_p_value(sizes, hits),
    )


def _adjusted(columns: Sequence[SliceColumn]) -> tuple[SliceColumn, ...]:
    """Return the columns with p-values adjusted for their number."""
    adjusted = iter(holm([column.gap.p_value for column in columns if column.gap]))
    return tuple(
        replace(column, gap=replace(column.gap, p_value=next(adjusted))) if column.gap else column for column in columns
    )
