"""Sections of a report that break an evaluation down: by group of pictures, and by degradation."""

from __future__ import annotations

from collections.abc import Sequence

from mien.escape import literal
from mien.evaluation.compare import SIGNIFICANT
from mien.evaluation.results import MIN_SLICE
from mien.evaluation.slices import MIN_CLASS, PERMUTATIONS
from mien.reports.metrics_json import ColumnMetrics, DegradedMetrics, Metrics, SliceMetrics
from mien.reports.tables import auc_cell, balanced_cell, p_text, points, table, with_interval

FEW = "\\*"  # marks a group that is too small to be compared
_SLICES_NOTE = (
    f"{FEW} fewer than {MIN_SLICE} pictures, not compared. In brackets: 95 % intervals, Wilson's for accuracies, by "
    "bootstrap for balanced accuracy. The gap of a column is that in mean recall between its best and its worst value, "
    f"over the classes with at least {MIN_CLASS} pictures in each compared value{{missed}}. Its test permutes the "
    f"values among the pictures of each class ({PERMUTATIONS:,} times){{adjusted}}; it "
    "treats pictures as independent, so with several pictures per person p is too small."
)
_ROBUSTNESS_NOTE = (
    "One prediction per image. The face crops are degraded, each by the same amount; a larger box and a rotation show "
    "more than the crop, whose edges are repeated there, so these figures are approximate. JPEG is applied at the size "
    "of the crop. The side of the crop counts as the size of the face; sizes that the crops don't exceed are left out. "
    "In brackets: 95 % interval for pairs (Newcombe 1998, method 10). *Lost* were correct before, *gained* wrong."
)


def slices_sections(metrics: Metrics) -> list[str]:
    """Return the sections on the groups of pictures; none without slices."""
    columns = metrics.get("slices", [])
    if not columns:
        return []
    missed = "; missed faces count as wrong" if "detector" in metrics["data"] else ""
    n_tests = sum(column["gap"] is not None for column in columns)
    adjusted = f", adjusted for {n_tests} columns by Holm's method" if n_tests > 1 else ""
    note = _SLICES_NOTE.format(adjusted=adjusted, missed=missed)
    parts = [f"## By group of pictures, {next(iter(metrics['views']))}", note]
    for column in columns:
        parts += [f"### {literal(column['name'])}", _slices_table(column, metrics), gap_text(column)]
    return parts


def gap_text(column: ColumnMetrics) -> str:
    """Return a sentence about the largest gap of a column, or why its values are not compared."""
    gap = column["gap"]
    if gap is None:
        n_values = sum(not part["is_small"] for part in column["slices"])
        if n_values < 2:
            return f"Not compared: fewer than two values have {MIN_SLICE} pictures or more."
        return f"Not compared: no class has {MIN_CLASS} pictures or more in each of {n_values} values."
    significant = "significant" if gap["p_value"] < SIGNIFICANT else "not significant"
    return (
        f"Largest gap: {100 * gap['difference']:.1f} points between {literal(gap['best'])} and {literal(gap['worst'])} "
        f"in the mean recall of {literal(', '.join(gap['labels']))}; {significant}, p {p_text(gap['p_value'])}."
    )


def robustness_section(metrics: Metrics, *, picture: str | None = None) -> list[str]:
    """Return the section on degraded images; none if they were not evaluated.

    Args:
        metrics: The contents of a metrics.json.
        picture: File of the plot; None if there is none.
    """
    results = metrics.get("robustness", [])
    if not results:
        return []
    image = [f"![Accuracy on degraded images]({picture})"] if picture else []
    return ["## Degraded images", _robustness_table(results), *image, _ROBUSTNESS_NOTE]


def difference_text(result: DegradedMetrics) -> str:
    """Return a difference of accuracies in points, with its interval."""
    change, low, high = (points(result[key], 1) for key in ("difference", "low", "high"))
    return f"{change} ({low} to {high})"


def _slices_table(column: ColumnMetrics, metrics: Metrics) -> str:
    labels, detected = metrics["labels"], "detector" in metrics["data"]
    rows = [_slice_cells(part, labels, detected=detected) for part in column["slices"]]
    if column["n_unknown"]:
        rows.append(["*unknown*", f"{column['n_unknown']:,}", *["–"] * (len(labels) + (7 if detected else 4))])
    of_missed = ["missed faces"] if detected else []
    end_to_end = ["end to end, %", "balanced, end to end, %"] if detected else []
    recalls = [f"recall {literal(label)}, %" for label in labels]
    header = ["value", "pictures", *of_missed, "accuracy, %", "balanced accuracy, %", *end_to_end, *recalls]
    return table([*header, "AUC happy/neutral", "ECE"], rows)


def _slice_cells(part: SliceMetrics, labels: Sequence[str], *, detected: bool) -> list[str]:
    name = literal(part["value"]) + (FEW if part["is_small"] else "")
    counts = [f"{part['n']:,}", *([f"{part['n_missed']:,}"] if detected else [])]
    view = part["view"]
    if view is None:
        return [name, *counts, *["–"] * (len(labels) + (6 if detected else 4))]
    whole = view.get("end_to_end")
    return [
        name,
        *counts,
        with_interval(view),
        balanced_cell(view),
        *([with_interval(whole), balanced_cell(whole)] if whole else []),
        *(f"{100 * c['recall']:.1f} of {c['support']:,}" if c["support"] else "–" for c in view["classes"].values()),
        auc_cell(view.get("happy_neutral")),
        f"{view['calibration']['ece']:.3f}",
    ]


def _robustness_table(results: Sequence[DegradedMetrics]) -> str:
    labels = list(results[0]["recalls"])
    rows = [
        [
            literal(result["name"]),
            f"{100 * result['accuracy']:.1f}",
            difference_text(result) if number else "–",
            *([f"{result['lost']:,}", f"{result['gained']:,}"] if number else ["–", "–"]),
            *(f"{100 * recall:.1f}" for recall in result["recalls"].values()),
            auc_cell(result["happy_neutral"]),
        ]
        for number, result in enumerate(results)
    ]
    recalls = [f"recall {literal(label)}, %" for label in labels]
    header = ["images", "accuracy, %", "difference, points", "lost", "gained", *recalls]
    return table([*header, "AUC happy/neutral"], rows)
