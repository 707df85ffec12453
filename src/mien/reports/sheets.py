"""Sheets of pictures that were named wrong: what figures can't tell."""

from __future__ import annotations

import numpy as np

from mien.data.dataset import Dataset
from mien.drawing.sheets import SheetRow, contact_sheet
from mien.evaluation.evaluate import BoolArray, Evaluation
from mien.structures import ImageArray, IntArray

COLUMNS = 10


def mistakes_sheet(evaluation: Evaluation, dataset: Dataset, *, view: str = "single") -> ImageArray:
    """Draw a row for each class with the mistakes the model is surest of, the surest on the left.

    Args:
        evaluation: Of this dataset.
        dataset: Has the pictures.
        view: Whose answers.

    Returns:
        RGB uint8 (H, W, 3). Below each picture stands what it was taken for, with the confidence in percent.
    """
    wrong = ~evaluation.is_right(view)
    rows = []
    for class_id, label in enumerate(evaluation.labels):
        members = _surest(evaluation, wrong & (evaluation.targets == class_id), view)
        rows.append(_row(label, f"{len(members)} mistakes", members, evaluation, dataset, view))
    title = f"{evaluation.name}: true class on the left, below each picture what it was taken for"
    return contact_sheet(rows, title=title, columns=COLUMNS)


def differences_sheet(a: Evaluation, b: Evaluation, dataset: Dataset, *, view: str = "single") -> ImageArray:
    """Draw two rows for each class: pictures that only model a gets right, and those that only b does.

    Args:
        a: An evaluation of this dataset.
        b: Another one of the same pictures.
        dataset: Has the pictures.
        view: Whose answers.

    Returns:
        RGB uint8 (H, W, 3). Below each picture stands what the other model, which is wrong, took it for, with its
        confidence in percent; the surest stand on the left.
    """
    rows = []
    for class_id, label in enumerate(a.labels):
        for letter, right, wrong in (("A", a, b), ("B", b, a)):
            mask = right.is_right(view) & ~wrong.is_right(view) & (a.targets == class_id)
            members = _surest(wrong, mask, view)
            rows.append(_row(label, f"only {letter}: {len(members)}", members, wrong, dataset, view))
    title = f"A: {a.name}, B: {b.name}; below each picture what the other one took it for"
    return contact_sheet(rows, title=title, columns=COLUMNS)


def _surest(evaluation: Evaluation, mask: BoolArray, view: str) -> IntArray:
    """Return the pictures in a mask, bool (n,), as indices into the evaluation by falling confidence."""
    members = np.flatnonzero(mask)
    confidence = evaluation.views[view].probabilities[members].max(axis=1)
    return members[np.argsort(-confidence, kind="stable")]


def _row(name: str, note: str, members: IntArray, answers: Evaluation, dataset: Dataset, view: str) -> SheetRow:
    """Return a sheet's row of evaluated pictures, given as indices into an evaluation, and its answers to them."""
    shown = members[:COLUMNS]
    probabilities = answers.views[view].probabilities[shown]
    return SheetRow(
        name,
        note,
        list(dataset.images[answers.rows[shown]]),
        [f"{100 * p.max():.0f} {answers.labels[p.argmax()]}" for p in probabilities],
    )
