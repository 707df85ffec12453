"""Contact sheets of misclassified images."""

from __future__ import annotations

import numpy as np

from mien.data.dataset import Dataset
from mien.drawing.sheets import SheetRow, contact_sheet
from mien.evaluation.results import BoolArray, Evaluation
from mien.structures import ImageArray, IntArray

COLUMNS = 10


def mistakes_sheet(evaluation: Evaluation, dataset: Dataset, *, view: str = "single") -> ImageArray:
    """Draw one row per class with its most confident mistakes, the most confident first.

    Args:
        evaluation: The evaluation of this dataset.
        dataset: Provides the images.
        view: The view whose predictions are shown.

    Returns:
        RGB uint8 (H, W, 3), with the predicted class and its confidence in percent below each image.
    """
    wrong = ~evaluation.is_correct(view)
    rows = []
    for class_id, label in enumerate(evaluation.labels):
        members = _by_confidence(evaluation, wrong & (evaluation.targets == class_id), view)
        rows.append(_row(label, f"{len(members)} mistakes", members, evaluation, dataset, view))
    title = f"{evaluation.name}: true class on the left, predicted class below each image"
    return contact_sheet(rows, title=title, columns=COLUMNS)


def differences_sheet(a: Evaluation, b: Evaluation, dataset: Dataset, *, view: str = "single") -> ImageArray:
    """Draw two rows per class: images that only model a classifies correctly, and those that only b does.

    Args:
        a: An evaluation of this dataset.
        b: An evaluation of another model on the same images.
        dataset: Provides the images.
        view: The view whose predictions are shown.

    Returns:
        RGB uint8 (H, W, 3), with the wrong prediction of the other model and its confidence in percent below each
        image, the most confident first.
    """
    rows = []
    for class_id, label in enumerate(a.labels):
        for letter, correct, wrong in (("A", a, b), ("B", b, a)):
            mask = correct.is_correct(view) & ~wrong.is_correct(view) & (a.targets == class_id)
            members = _by_confidence(wrong, mask, view)
            rows.append(_row(label, f"only {letter}: {len(members)}", members, wrong, dataset, view))
    title = f"A: {a.name}, B: {b.name}; below each image the other model's prediction"
    return contact_sheet(rows, title=title, columns=COLUMNS)


def _by_confidence(evaluation: Evaluation, mask: BoolArray, view: str) -> IntArray:
    """Return the indices of images in a mask, bool (n,), by decreasing confidence."""
    members = np.flatnonzero(mask)
    confidence = evaluation.views[view].probabilities[members].max(axis=1)
    return members[np.argsort(-confidence, kind="stable")]


def _row(name: str, note: str, members: IntArray, predicted: Evaluation, dataset: Dataset, view: str) -> SheetRow:
    """Return a sheet's row of evaluated images, given as indices into an evaluation, with its predictions."""
    shown = members[:COLUMNS]
    probabilities = predicted.views[view].probabilities[shown]
    return SheetRow(
        name,
        note,
        list(dataset.images[predicted.rows[shown]]),
        [f"{100 * p.max():.0f} {predicted.labels[p.argmax()]}" for p in probabilities],
    )
