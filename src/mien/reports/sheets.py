"""Contact sheets of misclassified images, and of the findings of an audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from mien.data.audit import Audit, conflicts, duplicate_kinds
from mien.data.dataset import SPLITS, Dataset
from mien.drawing.sheets import (
    CAPTION_HEIGHT,
    CAPTION_LETTER,
    CELL,
    FAINT,
    GAP,
    HEADER_HEIGHT,
    INK,
    MARGIN,
    NAME_LETTER,
    PAPER,
    TITLE_LETTER,
    SheetRow,
    contact_sheet,
    draw_caption,
)
from mien.drawing.text import draw_text, shorten
from mien.evaluation.results import Evaluation
from mien.pixels import resize, to_rgb
from mien.structures import BoolArray, ImageArray, IntArray

COLUMNS = 10
MOST_CONFIDENT_CELL, MOST_CONFIDENT_COLUMNS = 112, 10  # larger images, to judge whether the label or the model is wrong
EXAMPLES, EXAMPLE_COLUMNS = 3, 8  # of clusters for each kind of finding, of images in a row
EXAMPLE_CAPTION = 18  # height of the line below an image


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


class Mistake(NamedTuple):
    """An image whose prediction differs from its label.

    Args:
        row: Of the dataset.
        name: File of the image; empty if the dataset has no names.
        true: Label.
        predicted: Predicted class.
        confidence: Its probability.
    """

    row: int
    name: str
    true: str
    predicted: str
    confidence: float


class MostConfidentMistakes(NamedTuple):
    """The most confident mistakes over all classes, the most confident first.

    Args:
        mistakes: In order.
        sheet: Their images, RGB uint8 (H, W, 3), with number and label, prediction and confidence in percent, and file
            below each.
    """

    mistakes: list[Mistake]
    sheet: ImageArray


def most_confident_mistakes(
    evaluation: Evaluation, dataset: Dataset, n: int, *, view: str = "single"
) -> MostConfidentMistakes:
    """Return the n most confident mistakes over all classes; fewer if there are fewer.

    Args:
        evaluation: The evaluation of this dataset.
        dataset: Provides the images and their names.
        n: Number of mistakes.
        view: The view whose predictions are taken.
    """
    mistakes = []
    for i in _by_confidence(evaluation, ~evaluation.is_correct(view), view)[:n].tolist():
        row, p = int(evaluation.rows[i]), evaluation.views[view].probabilities[i]
        true, predicted = evaluation.labels[evaluation.targets[i]], evaluation.labels[p.argmax()]
        name = "" if dataset.names is None else str(dataset.names[row])
        mistakes.append(Mistake(row, name, true, predicted, float(p.max())))
    title = f"{evaluation.name}: the {len(mistakes)} most confident mistakes; label above, prediction below"
    return MostConfidentMistakes(mistakes, _most_confident_sheet(mistakes, dataset, title=title))


def _most_confident_sheet(mistakes: Sequence[Mistake], dataset: Dataset, *, title: str) -> ImageArray:
    cell, gap, lines = MOST_CONFIDENT_CELL, 3 * GAP, 3
    pitch = cell + lines * CAPTION_HEIGHT + gap
    rows = -(-len(mistakes) // MOST_CONFIDENT_COLUMNS)
    width = 2 * MARGIN + MOST_CONFIDENT_COLUMNS * (cell + gap) - gap
    sheet = np.full((2 * MARGIN + HEADER_HEIGHT + rows * pitch, width, 3), PAPER, np.uint8)
    draw_text(sheet, shorten(title, TITLE_LETTER, width - 2 * MARGIN), TITLE_LETTER, x=MARGIN, base=36, ink=INK)
    for number, mistake in enumerate(mistakes):
        x = MARGIN + (cell + gap) * (number % MOST_CONFIDENT_COLUMNS)
        y = MARGIN + HEADER_HEIGHT + pitch * (number // MOST_CONFIDENT_COLUMNS)
        sheet[y : y + cell, x : x + cell] = to_rgb(resize(dataset.images[mistake.row], cell))
        name = PurePosixPath(mistake.name).stem or f"image {mistake.row}"
        texts = (f"{number + 1}: {mistake.true}", f"{100 * mistake.confidence:.0f} {mistake.predicted}", name)
        for line, (text, ink) in enumerate(zip(texts, (INK, INK, FAINT), strict=True), start=1):
            base = y + cell + line * CAPTION_HEIGHT - 3
            draw_text(sheet, shorten(text, CAPTION_LETTER, cell), CAPTION_LETTER, x=x, base=base, ink=ink)
    return sheet


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


def example_sheet(audit: Audit, dataset: Dataset, *, seed: int = 0) -> ImageArray:
    """Draw examples of each kind of audit finding, one cluster per row, with split and label below each image.

    Args:
        audit: The audit of this dataset.
        dataset: Provides the images.
        seed: Of the random choice.

    Returns:
        RGB uint8 (H, W, 3).
    """
    sections = {title: rows for title, rows in _examples(audit, np.random.default_rng(seed)) if rows}
    lines = len(sections) + sum(len(rows) for rows in sections.values())
    pitch = CELL + EXAMPLE_CAPTION + GAP
    height = 2 * MARGIN + 30 * len(sections) + pitch * (lines - len(sections)) + (0 if sections else 30)
    sheet = np.full((height, 2 * MARGIN + EXAMPLE_COLUMNS * (CELL + GAP) - GAP, 3), PAPER, np.uint8)
    y = MARGIN
    for title, rows in sections.items():
        draw_text(sheet, title, NAME_LETTER, x=MARGIN, base=y + 18, ink=INK)
        y += 30
        for row in rows:
            for column, image in enumerate(row[:EXAMPLE_COLUMNS]):
                x = MARGIN + column * (CELL + GAP)
                sheet[y : y + CELL, x : x + CELL] = to_rgb(resize(dataset.images[image], CELL))
                name = f"{SPLITS[audit.splits[image]]} {audit.labels[audit.targets[image]]}"
                draw_caption(sheet, name, x, y, ink=FAINT)
            y += pitch
    if not sections:
        draw_text(sheet, "nothing found", NAME_LETTER, x=MARGIN, base=y + 18, ink=INK)
    return sheet


def _examples(audit: Audit, generator: np.random.Generator) -> Iterator[tuple[str, list[IntArray]]]:
    """Yield a title and rows of images for each kind of finding."""
    kind, differ = duplicate_kinds(audit), conflicts(audit, audit.clusters)
    mirrored = np.isin(audit.clusters, audit.clusters[audit.pairs.first[audit.pairs.mirrored]])
    known = ~(audit.blank | audit.not_a_face)
    yield "the same pixels", _example_rows(audit, (kind == 1) & ~differ & known, generator)
    yield "the same pixels, labelled differently", _example_rows(audit, (kind == 1) & differ & known, generator)
    yield "near duplicates", _example_rows(audit, (kind == 2) & ~differ & ~mirrored, generator)
    yield "near duplicates, mirrored", _example_rows(audit, (kind == 2) & mirrored, generator)
    yield "near duplicates, labelled differently", _example_rows(audit, (kind == 2) & differ & ~mirrored, generator)
    for title, flagged in (("raters: not a face", audit.not_a_face), ("raters: unclear", audit.unclear)):
        images = generator.permutation(np.flatnonzero(flagged & ~audit.blank))[:EXAMPLE_COLUMNS]
        yield title, [images] if len(images) else []


def _example_rows(audit: Audit, mask: BoolArray, generator: np.random.Generator) -> list[IntArray]:
    """Return the images of up to `EXAMPLES` random clusters that have an image in the mask."""
    drawn = generator.permutation(np.unique(audit.clusters[mask]))[:EXAMPLES]
    return [np.flatnonzero(audit.clusters == cluster) for cluster in drawn]
