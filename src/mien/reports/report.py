"""The report of one evaluation: a folder with metrics for programs, and text and plots for people."""

from __future__ import annotations

import csv
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from mien.escape import code, csv_cell, literal
from mien.evaluation.results import Evaluation, ViewResult
from mien.files import as_path, atomic_folder, atomic_path, write_text
from mien.pixels import write_picture
from mien.reports.breakdown import robustness_section, slices_sections
from mien.reports.metrics_json import Metrics, ViewMetrics, to_metrics
from mien.reports.page import page
from mien.reports.plots import (
    draw_confusion,
    draw_degraded,
    draw_reliability,
    draw_risk_coverage,
    drawn_or_warned,
)
from mien.reports.sheets import MostConfidentMistakes
from mien.reports.tables import (
    calibration_table,
    classes_table,
    first_view,
    operating_point_text,
    reading_notes,
    report_title,
    split_name,
    training_data_text,
    views_table,
)
from mien.structures import ImageArray, IntArray

NOTE = "mien names the expression annotators saw, not what a person feels."
ROBUSTNESS, MISSED = "robustness.png", "missed_faces.csv"
MOST_CONFIDENT = "most_confident_mistakes"  # .png and .csv
MAX_NAME = 150  # bytes of a folder name; file systems allow 255
NO_PLOTS = "Plots are missing: matplotlib, which mien's extra `reports` installs, was not there or failed."
_CALIBRATION_NOTES = (
    "The Brier score is summed over the classes. AURC is the area under the risk–coverage curve: the mean error "
    "rate of the k most confident predictions over all k. Lower is better in all four."
)


def write_report(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    sheet: ImageArray | None = None,
    most_confident: MostConfidentMistakes | None = None,
) -> Path:
    """Write metrics.json, report.md, report.html, and per view a confusion matrix (PNG, CSV) and two diagrams (PNG).

    Without matplotlib the plots are left out, with a warning.

    Args:
        evaluation: The evaluation.
        folder: Created if missing; files of an earlier report are replaced, all at once.
        sheet: From `sheets.mistakes_sheet`. Leave it out of a report that will be published if the terms of the data
            forbid showing its images.
        most_confident: From `sheets.most_confident_mistakes`, likewise.

    Returns:
        The path of report.md.

    Raises:
        OutputError: A file cannot be written.
    """
    folder = as_path(folder)
    metrics = to_metrics(evaluation)
    with atomic_folder(folder) as temporary:
        _write_files(evaluation, metrics, temporary, sheet=sheet, most_confident=most_confident)
    return folder / "report.md"


def _write_files(
    evaluation: Evaluation,
    metrics: Metrics,
    folder: Path,
    *,
    sheet: ImageArray | None,
    most_confident: MostConfidentMistakes | None,
) -> None:
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    for view, result in evaluation.views.items():
        _write_confusion_csv(result.confusion, evaluation.labels, folder / f"confusion_{view}.csv")
    if evaluation.missed:
        write_csv(folder / MISSED, ["file", "true"], [[each.name, each.label] for each in evaluation.missed])
    if sheet is not None:
        write_picture(folder / "mistakes.png", sheet)
    if most_confident is not None:
        write_picture(folder / f"{MOST_CONFIDENT}.png", most_confident.sheet)
        rows = [[m.name, m.row, m.true, m.predicted, f"{m.confidence:.4f}"] for m in most_confident.mistakes]
        write_csv(folder / f"{MOST_CONFIDENT}.csv", ["file", "row", "true", "predicted", "confidence"], rows)
    plots = drawn_or_warned(lambda: _draw_plots(evaluation, folder, title=report_title(metrics)))
    text = report_markdown(
        metrics,
        mistakes=sheet is not None,
        most_confident=len(most_confident.mistakes) if most_confident else 0,
        plots=plots,
    )
    write_text(folder / "report.md", text)
    write_text(folder / "report.html", page(text, folder=folder))


def report_markdown(metrics: Metrics, *, mistakes: bool = False, most_confident: int = 0, plots: bool = True) -> str:
    """Return report.md for the contents of a metrics.json; images are linked in the same folder.

    Args:
        metrics: The contents.
        mistakes: Whether there is a sheet of mistakes.
        most_confident: Number of mistakes on the sheet of the most confident ones over all classes; 0 without one.
        plots: Whether there are plots.
    """
    parts = [
        f"# {literal(report_title(metrics))}",
        f"> {NOTE}",
        _facts(metrics),
        *([] if plots else [NO_PLOTS]),
        "## Results",
        views_table([metrics]),
        reading_notes([metrics]),
        *([f"Pictures without a detected face: [{MISSED}]({MISSED})."] if _n_missed(metrics) else []),
    ]
    for view, of_view in metrics["views"].items():
        parts += _view_sections(view, of_view, metrics["labels"], plots=plots)
    parts += slices_sections(metrics)
    parts += robustness_section(metrics, picture=ROBUSTNESS if plots else None)
    if mistakes:
        parts += [
            "## Most confident mistakes",
            "![The most confident mistakes of each class](mistakes.png)",
            "Below each image: the predicted class and its confidence in percent.",
        ]
    if most_confident:
        parts += [
            f"## The {most_confident} most confident mistakes of all classes",
            f"![The most confident mistakes]({MOST_CONFIDENT}.png)",
            f"Below each image: true and predicted class, confidence in percent, and file; as a table in "
            f"[{MOST_CONFIDENT}.csv]({MOST_CONFIDENT}.csv).",
        ]
    return "\n\n".join(parts) + "\n"


def report_files(views: Iterable[str]) -> list[str]:
    """Return the names of the files that a report may have."""
    plots = ("confusion_{}.png", "confusion_{}.csv", "reliability_{}.png", "risk_coverage_{}.png")
    sheets = ("mistakes.png", f"{MOST_CONFIDENT}.png", f"{MOST_CONFIDENT}.csv")
    of_views = [name.format(view) for view in views for name in plots]
    return ["metrics.json", "report.md", "report.html", ROBUSTNESS, MISSED, *sheets, *of_views]


def file_name(*parts: str) -> str:
    """Return a folder name made of the parts, whatever characters they hold and however long they are."""
    name = "-".join(re.sub(r"[^\w.+]+", "_", part).strip("_.") or "_" for part in parts)
    encoded = name.encode()
    if len(encoded) <= MAX_NAME:
        return name
    return f"{encoded[: MAX_NAME - 9].decode(errors='ignore')}_{zlib.crc32(encoded):08x}"


def _n_missed(metrics: Metrics) -> int:
    end_to_end = first_view(metrics).get("end_to_end")
    return end_to_end["n_missed"] if end_to_end else 0


def _facts(metrics: Metrics) -> str:
    model, data = metrics["model"], metrics["data"]
    temperature = f", temperature {model['temperature']:.3f}" if model["temperature"] != 1 else ""
    return (
        f"- Model: **{literal(model['name'])}** "
        f"(net {literal(model['arch'])}, head {literal(model['head'])}{temperature})\n"
        f"- Recipe: {literal(model['recipe']) or 'unknown'}\n"
        f"- Trained on: {training_data_text(model['trained_on'])}\n"
        f"- Evaluated on: **{literal(data['name'])}**, split {split_name(data['name'], data['split'])}, "
        f"{data['n']:,} images\n"
        f"- Fingerprint of that data: {code(data['fingerprint'])}"
    )


def _view_sections(view: str, metrics: ViewMetrics, labels: Sequence[str], *, plots: bool) -> list[str]:
    parts = [
        f"## Per class, {view}",
        classes_table(metrics, labels),
        f"![Confusion matrix, {view}](confusion_{view}.png)",
        f"Rows are true, columns predicted; the counts are in [confusion_{view}.csv](confusion_{view}.csv).",
        f"## Calibration, {view}",
        calibration_table(metrics),
        _CALIBRATION_NOTES,
        f"![Reliability diagram, {view}](reliability_{view}.png)",
        f"![Risk–coverage curve, {view}](risk_coverage_{view}.png)",
        operating_point_text(metrics),
    ]
    return [part for part in parts if plots or not part.startswith("![")]


def _draw_plots(evaluation: Evaluation, folder: Path, *, title: str) -> None:
    for view, result in evaluation.views.items():
        _draw_view(result, evaluation.labels, folder, view=view, title=f"{title}, {view}")
    if evaluation.robustness:
        draw_degraded(evaluation.robustness, folder / ROBUSTNESS, title=title)


def _draw_view(result: ViewResult, labels: Sequence[str], folder: Path, *, view: str, title: str) -> None:
    after, before = result.calibration, result.uncalibrated
    draw_confusion(result.confusion, labels, folder / f"confusion_{view}.png", title=title)
    draw_reliability(
        after.reliability, before.reliability if before else None, folder / f"reliability_{view}.png", title=title
    )
    draw_risk_coverage(
        after.risk_coverage,
        before.risk_coverage if before else None,
        folder / f"risk_coverage_{view}.png",
        title=title,
        operating_point=after.operating_point,
    )


def _write_confusion_csv(matrix: IntArray, labels: Sequence[str], path: Path) -> None:
    rows = [[label, *row] for label, row in zip(labels, matrix.tolist(), strict=True)]
    write_csv(path, ["true / predicted", *labels], rows)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV, its cells escaped as by `CsvSink`.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([map(csv_cell, row) for row in (header, *rows)])
