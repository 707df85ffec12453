"""The report of a comparison of two models: a folder with numbers for programs, and text and images for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from mien.data.dataset import Dataset, Split
from mien.escape import code, literal
from mien.evaluation.compare import Comparison, compare
from mien.evaluation.evaluate import NamedProgress, evaluate_models, no_progress
from mien.files import as_path, atomic_folder, write_text
from mien.models.classifier import ExpressionClassifier
from mien.pixels import write_picture
from mien.reports.page import page
from mien.reports.report import NOTE, file_name
from mien.reports.sheets import differences_sheet
from mien.reports.tables import p_cell, p_text, points, split_name, table
from mien.structures import ImageArray


def compare_models(
    classifiers: Mapping[str, ExpressionClassifier],
    dataset: Dataset,
    folder: str | Path | None = None,
    *,
    split: Split = "valid",
    view: str = "single",
    head: str | None = None,
    progress: NamedProgress = no_progress,
) -> tuple[Comparison, Path]:
    """Evaluate two models on the same images, compare them, and write the report.

    Args:
        classifiers: Two, by the name to report.
        dataset: The data, all its splits.
        folder: Of the report; None for reports/A-B-DATA-SPLIT.
        split: The split to compare on.
        view: A name in `VIEWS`.
        head: Label set of the models' outputs to compare; None as in `evaluated_head`.
        progress: Opens the progress of each evaluation by its name.

    Returns:
        The comparison and the path of comparison.md.

    Raises:
        ConfigError: The models' classes differ, or the view is unknown.
        DatasetError: The split is empty, or has no image of a class that the models know.
    """
    a, b = evaluate_models(classifiers, dataset, split=split, views=[view], head=head, progress=progress)
    comparison = compare(a, b, view=view)
    sheet = differences_sheet(a, b, dataset, view=view)
    folder = folder or Path("reports") / file_name(*classifiers, a.dataset, split)
    return comparison, write_comparison(comparison, folder, sheet=sheet)


def write_comparison(comparison: Comparison, folder: str | Path, *, sheet: ImageArray) -> Path:
    """Write comparison.json, comparison.md, comparison.html, and differences.png.

    Args:
        comparison: The comparison.
        folder: Created if missing; files of an earlier comparison are replaced, all at once.
        sheet: From `sheets.differences_sheet`: images that only one model classifies correctly.

    Returns:
        The path of comparison.md.

    Raises:
        OutputError: A file cannot be written.
    """
    folder = as_path(folder)
    text = comparison_markdown(comparison)
    with atomic_folder(folder) as temporary:
        write_text(temporary / "comparison.json", json.dumps(to_plain(comparison), indent=2, allow_nan=False) + "\n")
        write_picture(temporary / "differences.png", sheet)
        write_text(temporary / "comparison.md", text)
        write_text(temporary / "comparison.html", page(text, folder=temporary))
    return Path(folder) / "comparison.md"


def to_plain(comparison: Comparison) -> dict[str, object]:
    """Return a comparison as plain data, its properties included."""
    accuracy_a, accuracy_b = comparison.accuracies
    derived = {"accuracy_a": accuracy_a, "accuracy_b": accuracy_b, "significant": comparison.significant}
    return {**asdict(comparison), "n": comparison.n, **derived}


def verdict(comparison: Comparison) -> str:
    """Return in words whether one model is significantly better, with the counts and the p-value."""
    a, b = comparison.names
    counts = (
        f"{comparison.only_a:,} images are correct only for {a}, {comparison.only_b:,} only for {b} "
        f"(exact McNemar test, p {p_text(comparison.p_value)})"
    )
    if comparison.significant:
        better, worse = (b, a) if comparison.difference > 0 else (a, b)
        return f"{better} is better than {worse}: {counts}."
    excludes_0 = comparison.low > 0 or comparison.high < 0
    why = " The 95 % interval, an approximation, leaves 0 out, but the exact test decides." if excludes_0 else ""
    return (
        f"The difference is not significant: {counts}.{why} These images don't show which model is better; more images "
        "or several seeds may."
    )


def comparison_markdown(comparison: Comparison) -> str:
    """Return comparison.md; the sheet is linked in the same folder."""
    a, b = map(literal, comparison.names)
    accuracy_a, accuracy_b = comparison.accuracies
    place = literal(f"{comparison.dataset} {split_name(comparison.dataset, comparison.split)}")
    parts = [
        f"# {a} and {b} on {place}, {comparison.view}",
        f"> {NOTE}",
        f"**{literal(verdict(comparison))}**",
        f"- A: {a}, accuracy {100 * accuracy_a:.2f} %\n"
        f"- B: {b}, accuracy {100 * accuracy_b:.2f} %\n"
        f"- Difference B − A: {points(comparison.difference)} points, 95 % interval "
        f"{points(comparison.low)} to {points(comparison.high)} (paired: Newcombe 1998, method 10)\n"
        f"- Images: {comparison.n:,}; correct for both {comparison.both:,}, only A {comparison.only_a:,}, "
        f"only B {comparison.only_b:,}, neither {comparison.neither:,}\n"
        f"- Fingerprint of the data: {code(comparison.fingerprint)}",
        "## By class",
        classes_differences(comparison),
        "p is of McNemar's test within the class, adjusted for the number of classes by Holm's method. Recall is "
        "the share of the class's images that a model classifies correctly.",
        "## Images that only one model classifies correctly",
        "![Images that only one of the models classifies correctly](differences.png)",
        "Below each image: the class that the other model predicts, with its confidence in percent; the most confident "
        "mistakes come first.",
    ]
    return "\n\n".join(parts) + "\n"


def classes_differences(comparison: Comparison) -> str:
    """Return a Markdown table with one row per class; one without images has no recall."""
    rows = [
        [
            literal(c.label),
            f"{c.support:,}",
            *(
                [f"{100 * c.recall_a:.1f}", f"{100 * c.recall_b:.1f}", points(c.recall_b - c.recall_a, 1)]
                if c.support
                else ["–"] * 3
            ),
            f"{c.only_a:,}",
            f"{c.only_b:,}",
            p_cell(c.p_value) if c.support else "–",
        ]
        for c in comparison.classes
    ]
    header = ["class", "images", "recall A, %", "recall B, %", "B − A, points", "only A", "only B", "p"]
    return table(header, rows)
