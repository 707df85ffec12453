"""The report of several evaluations: one table of all, and a report of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mien.data.audit import audit_file, read_audit
from mien.data.dataset import Dataset, Split
from mien.errors import ConfigError
from mien.escape import literal
from mien.evaluation.evaluate import NamedProgress, check_options, evaluate_models, no_progress
from mien.evaluation.results import Evaluation
from mien.evaluation.robustness import degrade_evaluation
from mien.evaluation.slice_table import SliceTable
from mien.evaluation.slices import slice_evaluation
from mien.files import atomic_folder, write_text
from mien.models.classifier import ExpressionClassifier
from mien.reports.metrics_json import Metrics, to_metrics
from mien.reports.page import page
from mien.reports.plots import draw_confusions, drawn_or_warned
from mien.reports.report import NO_PLOTS, NOTE, file_name, write_report
from mien.reports.sheets import MostConfidentMistakes, mistakes_sheet, most_confident_mistakes
from mien.reports.tables import (
    by_model_and_data,
    data_title,
    first_view,
    matrix_table,
    reading_notes,
    report_title,
    views_table,
)
from mien.structures import ImageArray

MATRIX = "matrix.png"
MATRIX_TITLE = "Confusion matrices: one row per model, one column per dataset"
MATRIX_NOTE = (
    "*Chance* always predicts the most frequent class of the dataset. In brackets: 95 % Wilson intervals. In the "
    "confusion matrices, rows are true and columns predicted, in percent of the row."
)


def report_models(
    classifiers: Mapping[str, ExpressionClassifier],
    datasets: Iterable[Dataset],
    folder: str | Path | None = None,
    *,
    split: Split = "valid",
    views: Sequence[str] = ("single", "flip"),
    head: str | None = None,
    audit: Path | None = None,
    target_accuracy: float = 0.8,
    slices: SliceTable | None = None,
    robustness: bool = False,
    n_most_confident: int = 0,
    progress: NamedProgress = no_progress,
) -> tuple[list[Evaluation], Path]:
    """Evaluate every model on every dataset and write the report, with sheets of mistakes.

    Args:
        classifiers: By the name to report.
        datasets: One at a time is in memory if this is a generator.
        folder: Of the report; None for reports/MODEL-DATA-SPLIT.
        split: As for `evaluate`, like the arguments not named here.
        audit: What `save_audit` or `mien data audit` wrote about the only dataset; leaks are then found by it.
        slices: Table about the pictures of the only dataset, for results by group.
        robustness: Evaluate degraded images too.
        n_most_confident: Number of mistakes on a sheet of the most confident ones over all classes; 0 writes none.
        progress: Opens the progress of each evaluation by its name.

    Returns:
        The evaluations, one dataset after another, and the path of report.md.
    """
    check_options((each.spec for each in classifiers.values()), views=views, head=head, target_accuracy=target_accuracy)
    if audit is not None:
        audit_file(audit)
    evaluations, sheets, most_confident = [], [], []
    for dataset in datasets:
        clusters = None if audit is None else read_audit(audit, dataset).clusters
        for name, classifier in classifiers.items():
            (evaluation,) = evaluate_models(
                {name: classifier}, dataset, split=split, views=views, head=head, clusters=clusters,
                target_accuracy=target_accuracy, progress=progress,
            )  # fmt: skip
            if slices is not None:
                evaluation = slice_evaluation(evaluation, dataset, slices, clusters=clusters)
            if robustness:
                with progress(f"{name} on degraded images") as advance:
                    evaluation = degrade_evaluation(evaluation, classifier, dataset, progress=advance)
            evaluations.append(evaluation)
            sheets.append(mistakes_sheet(evaluation, dataset, view=views[0]))
            most_confident.append(
                most_confident_mistakes(evaluation, dataset, n_most_confident, view=views[0])
                if n_most_confident
                else None
            )
    names = "+".join(dict.fromkeys(evaluation.dataset for evaluation in evaluations))
    folder = folder or Path("reports") / file_name("+".join(classifiers), names, split)
    if len(evaluations) == 1:
        return evaluations, write_report(evaluations[0], folder, sheet=sheets[0], most_confident=most_confident[0])
    return evaluations, write_reports(evaluations, folder, sheets=sheets, most_confident=most_confident)


def write_reports(
    evaluations: Sequence[Evaluation],
    folder: str | Path,
    *,
    sheets: Sequence[ImageArray] | None = None,
    most_confident: Sequence[MostConfidentMistakes | None] | None = None,
) -> Path:
    """Write one table of several evaluations, and the report of each in a subfolder.

    If there are several datasets, a matrix of models by datasets is added, with all confusion matrices.

    Args:
        evaluations: In the order to show; no two of the same model, dataset and split.
        folder: Created if missing; files of an earlier report are replaced, all at once.
        sheets: The `sheet` of each for `write_report`; None for none.
        most_confident: The `most_confident` of each for `write_report`; None for none.

    Returns:
        The path of report.md with the table.

    Raises:
        ConfigError: Two evaluations have the same title.
        OutputError: A file cannot be written.
    """
    all_metrics = [to_metrics(evaluation) for evaluation in evaluations]
    titles = [report_title(metrics) for metrics in all_metrics]
    if len(set(titles)) < len(titles):
        twice = next(title for title in titles if titles.count(title) > 1)
        raise ConfigError(f"'{twice}' was evaluated twice; name each model and each dataset once")
    subfolders = [f"{number:02}-{file_name(title)}" for number, title in enumerate(titles, start=1)]
    with atomic_folder(folder) as temporary:
        for i, (evaluation, subfolder) in enumerate(zip(evaluations, subfolders, strict=True)):
            write_report(
                evaluation,
                temporary / subfolder,
                sheet=sheets[i] if sheets else None,
                most_confident=most_confident[i] if most_confident else None,
            )
        several = _several_data(all_metrics)
        plots = several and drawn_or_warned(lambda: draw_matrix(all_metrics, temporary / MATRIX))
        text, linked = (overview_markdown(all_metrics, subfolders, suffix=s, plots=plots) for s in ("md", "html"))
        write_text(temporary / "report.md", text)
        write_text(temporary / "report.html", page(linked, folder=temporary))
    return Path(folder) / "report.md"


def overview_markdown(
    evaluations: Sequence[Metrics], subfolders: Sequence[str], *, suffix: str, plots: bool = True
) -> str:
    """Return the page with the table of all evaluations, and links to the report of each in its subfolder."""
    links = [
        f"- [{literal(report_title(metrics))}]({subfolder}/report.{suffix})"
        for metrics, subfolder in zip(evaluations, subfolders, strict=True)
    ]
    picture = f"![{MATRIX_TITLE}]({MATRIX})" if plots else NO_PLOTS
    matrix = ["## Models by dataset", matrix_table(evaluations), MATRIX_NOTE, picture]
    parts = [
        "# Evaluations",
        f"> {NOTE}",
        views_table(evaluations),
        reading_notes(evaluations),
        "To decide which of two models is better, compare them image by image: `mien compare`.",
        *(matrix if _several_data(evaluations) else []),
        "## Reports",
        "\n".join(links),
    ]
    return "\n\n".join(parts) + "\n"


def draw_matrix(evaluations: Sequence[Metrics], path: str | Path) -> None:
    """Write the confusion matrices of several evaluations as one PNG, laid out like `matrix_table`.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    confusions = {
        pair: (np.array(first_view(metrics)["confusion"], np.int64), metrics["labels"])
        for pair, metrics in by_model_and_data(evaluations).items()
    }
    draw_confusions(confusions, path)


def _several_data(evaluations: Sequence[Metrics]) -> bool:
    return len({data_title(metrics) for metrics in evaluations}) > 1
