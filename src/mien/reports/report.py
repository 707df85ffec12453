"""Reports: an evaluation as a folder with numbers for programs, and text and pictures for people."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.errors import ConfigError
from mien.evaluation.evaluate import Evaluation
from mien.files import atomic_path, make_folder, write_text
from mien.pixels import write_picture
from mien.reports.figures import Metrics, to_metrics
from mien.reports.page import page
from mien.reports.plots import draw_confusion, draw_confusions, draw_reliability, draw_risk_coverage
from mien.reports.tables import (
    answering_text,
    by_model_and_place,
    classes_table,
    described,
    first_view,
    honesty_table,
    matrix_table,
    place_of,
    reading_notes,
    split_name,
    title_of,
    views_table,
)
from mien.structures import ImageArray, IntArray

NOTE = "mien names the expression annotators saw, not what a person feels."
MATRIX = "matrix.png"
MATRIX_TITLE = "Confusion matrices: a row for each model, a column for each data"
MATRIX_NOTE = (
    "*Chance* names the commonest class of the data every time. In brackets: 95 % Wilson intervals. In the picture, "
    "rows of a matrix are true and columns predicted, in percent of the row."
)
_HONESTY_NOTES = (
    "The Brier score is summed over the classes. AURC is the area under the risk–coverage curve: the mean share of "
    "wrong answers if only the surest faces are answered, over all numbers of them. Lower is better in all four."
)


def write_report(evaluation: Evaluation, folder: str | Path, *, sheet: ImageArray | None = None) -> Path:
    """Write metrics.json, report.md, report.html, and per view a confusion matrix (PNG, CSV) and two diagrams (PNG).

    The numbers come first: they are there even if matplotlib is missing.

    Args:
        evaluation: What to report.
        folder: Made if need be; files of an earlier report are replaced.
        sheet: What `sheets.mistakes_sheet` drew. Leave it out of a report that will be published where the terms
            of the data forbid to show its pictures.

    Returns:
        The path of report.md.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: A file cannot be written.
    """
    folder = make_folder(folder)
    metrics = to_metrics(evaluation)
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    for view, result in evaluation.views.items():
        _write_confusion_csv(result.confusion, evaluation.labels, folder / f"confusion_{view}.csv")
    for view, result in evaluation.views.items():
        path = folder / f"confusion_{view}.png"
        title, before = f"{title_of(metrics)}, {view}", result.uncalibrated
        draw_confusion(result.confusion, evaluation.labels, path, title=title)
        draw_reliability(
            result.honesty.reliability,
            before.reliability if before else None,
            folder / f"reliability_{view}.png",
            title=title,
        )
        draw_risk_coverage(
            result.honesty.curve,
            before.curve if before else None,
            folder / f"risk_coverage_{view}.png",
            title=title,
            answering=result.honesty.answering,
        )
    if sheet is not None:
        write_picture(folder / "mistakes.png", sheet)
    text = report_markdown(metrics, mistakes=sheet is not None)
    write_text(folder / "report.md", text)
    write_text(folder / "report.html", page(text, folder=folder))
    return folder / "report.md"


def write_reports(
    evaluations: Sequence[Evaluation], folder: str | Path, *, sheets: Sequence[ImageArray] | None = None
) -> Path:
    """Write one table of several evaluations, and a report of each in a folder of its own beside it.

    If they are on several data, a matrix of models by data is added, and the confusion matrices side by side.

    Args:
        evaluations: What to report, in the order to show it; no two of the same model, data and split.
        folder: Made if need be; files of an earlier report are replaced.
        sheets: For each what `write_report` takes; None for none.

    Returns:
        The path of report.md with the table.

    Raises:
        ConfigError: Two evaluations have the same title.
        MissingExtra: matplotlib is not installed.
        OutputError: A file cannot be written.
    """
    all_metrics = [to_metrics(evaluation) for evaluation in evaluations]
    titles = [title_of(metrics) for metrics in all_metrics]
    if len(set(titles)) < len(titles):
        twice = next(title for title in titles if titles.count(title) > 1)
        raise ConfigError(f"'{twice}' was evaluated twice; name each model and each dataset once")
    folder = make_folder(folder)
    places = [f"{number:02}-{file_name(title)}" for number, title in enumerate(titles, start=1)]
    for i, (evaluation, place) in enumerate(zip(evaluations, places, strict=True)):
        write_report(evaluation, folder / place, sheet=sheets[i] if sheets else None)
    if _several_data(all_metrics):
        draw_matrix(all_metrics, folder / MATRIX)
    write_text(folder / "report.md", overview_markdown(all_metrics, places, suffix="md"))
    write_text(folder / "report.html", page(overview_markdown(all_metrics, places, suffix="html"), folder=folder))
    return folder / "report.md"


def overview_markdown(evaluations: Sequence[Metrics], places: Sequence[str], *, suffix: str) -> str:
    """Return the page with one table of several evaluations; their reports lie in the folders `places` beside it."""
    links = [
        f"- [{title_of(metrics)}]({place}/report.{suffix})" for metrics, place in zip(evaluations, places, strict=True)
    ]
    matrix = _several_data(evaluations)
    parts = [
        "# Evaluations",
        f"> {NOTE}",
        views_table(evaluations),
        reading_notes(evaluations),
        "To tell whether one of two models is better, compare them picture by picture: `mien compare`.",
        *(
            ["## Models by data", matrix_table(evaluations), MATRIX_NOTE, f"![{MATRIX_TITLE}]({MATRIX})"]
            if matrix
            else []
        ),
        "## One by one",
        "\n".join(links),
    ]
    return "\n\n".join(parts) + "\n"


def _several_data(evaluations: Sequence[Metrics]) -> bool:
    return len({place_of(metrics) for metrics in evaluations}) > 1


def file_name(*parts: str) -> str:
    """Return a name for a folder that says what is in it, whatever paths the parts are."""
    return "-".join(re.sub(r"[^\w.+]+", "_", part).strip("_.") or "_" for part in parts)


def report_markdown(metrics: Metrics, *, mistakes: bool = False) -> str:
    """Return report.md for the contents of a metrics.json; pictures are linked as beside it.

    Args:
        metrics: The contents.
        mistakes: Whether there is a sheet of mistakes.
    """
    model, data = metrics["model"], metrics["data"]
    temperature = f", temperature {model['temperature']:.3f}" if model["temperature"] != 1 else ""
    parts = [
        f"# {title_of(metrics)}",
        f"> {NOTE}",
        f"- Model: **{model['name']}** (net {model['arch']}, head {model['head']}{temperature})\n"
        f"- Recipe: {model['recipe'] or 'unknown'}\n"
        f"- Trained on: {described(model['trained_on'])}\n"
        f"- Evaluated on: **{data['name']}**, split {split_name(data['name'], data['split'])}, {data['n']:,} pictures\n"
        f"- Fingerprint of that data: `{data['fingerprint']}`",
        "## Results",
        views_table([metrics]),
        reading_notes([metrics]),
    ]
    for view, figures in metrics["views"].items():
        parts += [
            f"## Per class, {view}",
            classes_table(figures, metrics["labels"]),
            f"![Confusion matrix, {view}](confusion_{view}.png)",
            f"Rows are true, columns predicted; the counts are in [confusion_{view}.csv](confusion_{view}.csv).",
            f"## How honest the probabilities are, {view}",
            honesty_table(figures),
            _HONESTY_NOTES,
            f"![Reliability diagram, {view}](reliability_{view}.png)",
            f"![Risk and coverage, {view}](risk_coverage_{view}.png)",
            answering_text(figures),
        ]
    if mistakes:
        parts += [
            "## Mistakes the model is surest of",
            "![The surest mistakes of each class](mistakes.png)",
            "Below each picture stands what it was taken for, with the confidence in percent.",
        ]
    return "\n\n".join(parts) + "\n"


def draw_matrix(evaluations: Sequence[Metrics], path: str | Path) -> None:
    """Write the confusion matrices of several evaluations side by side, laid out like `matrix_table`, as PNG.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    confusions = {
        pair: (np.array(first_view(metrics)["confusion"], np.int64), metrics["labels"])
        for pair, metrics in by_model_and_place(evaluations).items()
    }
    draw_confusions(confusions, path)


def _write_confusion_csv(matrix: IntArray, labels: Sequence[str], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true / predicted", *labels])
        writer.writerows([label, *row] for label, row in zip(labels, matrix.tolist(), strict=True))
