"""Reports: an evaluation as a folder with numbers for programs, and text and pictures for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

from mien.data.votes import USAGES
from mien.errors import InputError, OutputError
from mien.evaluation.evaluate import Accuracy, Evaluation, ViewResult
from mien.evaluation.metrics import ClassScore
from mien.evaluation.plots import draw_confusion
from mien.files import atomic_path
from mien.structures import IntArray

METRICS_VERSION = 1
NOTE = "mien names the expression annotators saw, not what a person feels."
_DIGITS = 5  # after the point: tells one picture of 100,000


class AccuracyFigures(TypedDict):
    """A share of correct answers with its 95 % Wilson interval."""

    n: int
    correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


class ClassFigures(TypedDict):
    """How one class fares."""

    precision: float
    recall: float
    f1: float
    support: int


class ViewFigures(AccuracyFigures):
    """All figures of one view; see `evaluate.ViewResult` for their meaning."""

    unleaked: AccuracyFigures | None
    balanced_accuracy: float
    macro_f1: float
    nll: float
    ece: float
    nll_uncalibrated: float | None
    ece_uncalibrated: float | None
    classes: dict[str, ClassFigures]
    confusion: list[list[int]]


class ModelFigures(TypedDict):
    """Which model was evaluated."""

    name: str
    arch: str
    recipe: str
    trained_on: dict[str, str]
    head: str
    temperature: float


class DataFigures(TypedDict):
    """What it was evaluated on; see `evaluate.Evaluation` for the meaning."""

    name: str
    fingerprint: str
    split: str
    fitted_on: list[str]
    n: int
    n_left_out: int
    missing: list[str]
    unused: list[str]


class Metrics(TypedDict):
    """What metrics.json holds."""

    version: int
    model: ModelFigures
    data: DataFigures
    labels: list[str]
    views: dict[str, ViewFigures]


def write_report(evaluation: Evaluation, folder: str | Path) -> Path:
    """Write metrics.json, report.md, and a confusion matrix as PNG and CSV per view.

    The numbers come first: they are there even if matplotlib is missing.

    Args:
        evaluation: What to report.
        folder: Made if need be; files of an earlier report are replaced.

    Returns:
        The path of report.md.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: A file cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make folder '{folder}': {error.strerror}; choose another place") from error
    metrics = to_metrics(evaluation)
    _write_text(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    for view, result in evaluation.views.items():
        _write_confusion_csv(result.confusion, evaluation.labels, folder / f"confusion_{view}.csv")
    for view, result in evaluation.views.items():
        path = folder / f"confusion_{view}.png"
        draw_confusion(result.confusion, evaluation.labels, path, title=f"{title_of(metrics)}, {view}")
    _write_text(folder / "report.md", report_markdown(metrics))
    return folder / "report.md"


def to_metrics(evaluation: Evaluation) -> Metrics:
    """Return all figures of an evaluation as plain data, rounded to five digits after the point."""
    spec, head = evaluation.spec, evaluation.head
    return {
        "version": METRICS_VERSION,
        "model": {
            "name": spec.name,
            "arch": spec.arch,
            "recipe": str(spec.recipe.get("name", "")),
            "trained_on": dict(spec.trained_on),
            "head": head.labels.name,
            "temperature": round(head.temperature, _DIGITS),
        },
        "data": {
            "name": evaluation.dataset,
            "fingerprint": evaluation.fingerprint,
            "split": evaluation.split,
            "fitted_on": list(evaluation.fitted_on),
            "n": evaluation.n,
            "n_left_out": evaluation.n_left_out,
            "missing": list(evaluation.missing),
            "unused": list(evaluation.unused),
        },
        "labels": list(evaluation.labels),
        "views": {view: _view_figures(result, evaluation.labels) for view, result in evaluation.views.items()},
    }


def read_metrics(path: str | Path) -> Metrics:
    """Read a metrics.json.

    Raises:
        InputError: It cannot be read, is not JSON, or is not of this version.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
        version = metrics["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is not a metrics.json ({error!r}); write one with mien evaluate") from error
    if version != METRICS_VERSION:
        raise InputError(f"'{path}' has version {version}, expected {METRICS_VERSION}; run mien evaluate again")
    return cast(Metrics, metrics)


def report_markdown(metrics: Metrics) -> str:
    """Return report.md for the contents of a metrics.json; pictures are linked as beside it."""
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
        ]
    return "\n\n".join(parts) + "\n"


def views_table(evaluations: Sequence[Metrics]) -> str:
    """Return a Markdown table with one row per evaluation and view."""
    rows = [
        [
            _place(metrics),
            view,
            f"{figures['n']:,}",
            _with_interval(figures),
            _with_interval(figures["unleaked"]) if figures["unleaked"] else "–",
            f"{100 * figures['balanced_accuracy']:.2f}",
            f"{figures['macro_f1']:.3f}",
            _with_uncalibrated(figures["nll"], figures["nll_uncalibrated"]),
            _with_uncalibrated(figures["ece"], figures["ece_uncalibrated"]),
        ]
        for metrics in evaluations
        for view, figures in metrics["views"].items()
    ]
    header = ["split", "view", "pictures", "accuracy, %", "without copies, %"]
    return _table([*header, "balanced accuracy, %", "macro-F1", "NLL", "ECE"], rows)


def reading_notes(evaluations: Sequence[Metrics]) -> str:
    """Return, as a Markdown list, what one must know to read `views_table`."""
    notes = [
        "*single* is one look at each picture, as in live use; *flip* is the mean of the probabilities of a "
        "picture and its mirror image.",
        "In brackets after an accuracy: its 95 % Wilson interval. Balanced accuracy is the mean recall of the "
        "classes. NLL is in nats, ECE over 15 bins; in brackets after them: before temperature scaling.",
    ]
    for metrics in evaluations:
        notes += _notes_on_data(metrics)
    return "\n".join(f"- {note}" for note in notes)


def _notes_on_data(metrics: Metrics) -> list[str]:
    data, place, notes = metrics["data"], _place(metrics), []
    unleaked = next(iter(metrics["views"].values()))["unleaked"]
    if unleaked:
        fitted_on = " and ".join(split_name(data["name"], split) for split in data["fitted_on"])
        notes.append(
            f"*Without copies*, {place}: the {unleaked['n']:,} of {data['n']:,} pictures whose exact pixels "
            f"don't occur in {fitted_on} too."
        )
    if data["n_left_out"]:
        notes.append(
            f"{place}: {data['n_left_out']:,} pictures of classes that the model lacks are left out "
            f"({', '.join(data['missing'])})."
        )
    if data["unused"]:
        notes.append(
            f"{place}: the dataset lacks classes that the model knows ({', '.join(data['unused'])}); "
            "probabilities are renormalised without them."
        )
    return notes


def classes_table(figures: ViewFigures, labels: Sequence[str]) -> str:
    """Return a Markdown table with one row per class and what it is most often taken for."""
    rows = [
        [
            label,
            f"{scores['precision']:.3f}",
            f"{scores['recall']:.3f}",
            f"{scores['f1']:.3f}",
            f"{scores['support']:,}",
            _most_taken_for(figures["confusion"][i], i, labels),
        ]
        for i, (label, scores) in enumerate(figures["classes"].items())
    ]
    return _table(["class", "precision", "recall", "F1", "pictures", "most often taken for"], rows)


def title_of(metrics: Metrics) -> str:
    """Return "model on dataset split"."""
    return f"{metrics['model']['name']} on {_place(metrics)}"


def split_name(dataset: str, split: str) -> str:
    """Return what a dataset's authors call a split ("PrivateTest"), or our own name for it."""
    if dataset != "fer2013":
        return split
    return next(theirs for theirs, ours in USAGES.items() if ours == split)


def described(trained_on: Mapping[str, str]) -> str:
    """Return what is known of the training data on one line."""
    return ", ".join(f"{key} {value}" for key, value in trained_on.items()) or "unknown"


def _place(metrics: Metrics) -> str:
    """Return dataset and split, and the model's head where the dataset's name doesn't tell it."""
    data, head = metrics["data"], metrics["model"]["head"]
    place = f"{data['name']} {split_name(data['name'], data['split'])}"
    return place if head == data["name"] else f"{place}, head {head}"


def _view_figures(result: ViewResult, labels: Sequence[str]) -> ViewFigures:
    return {
        **_accuracy_figures(result.accuracy),
        "unleaked": _accuracy_figures(result.unleaked) if result.unleaked else None,
        "balanced_accuracy": round(result.balanced_accuracy, _DIGITS),
        "macro_f1": round(result.macro_f1, _DIGITS),
        "nll": round(result.nll, _DIGITS),
        "ece": round(result.ece, _DIGITS),
        "nll_uncalibrated": _rounded(result.nll_uncalibrated),
        "ece_uncalibrated": _rounded(result.ece_uncalibrated),
        "classes": {label: _class_figures(score) for label, score in zip(labels, result.classes, strict=True)},
        "confusion": result.confusion.tolist(),
    }


def _class_figures(score: ClassScore) -> ClassFigures:
    return {
        "precision": round(score.precision, _DIGITS),
        "recall": round(score.recall, _DIGITS),
        "f1": round(score.f1, _DIGITS),
        "support": score.support,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _accuracy_figures(accuracy: Accuracy) -> AccuracyFigures:
    return {
        "n": accuracy.n,
        "correct": accuracy.correct,
        "accuracy": round(accuracy.value, _DIGITS),
        "accuracy_low": round(accuracy.low, _DIGITS),
        "accuracy_high": round(accuracy.high, _DIGITS),
    }


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _write_confusion_csv(matrix: IntArray, labels: Sequence[str], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true / predicted", *labels])
        writer.writerows([label, *row] for label, row in zip(labels, matrix.tolist(), strict=True))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column to the left, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _with_interval(figures: AccuracyFigures) -> str:
    low, high = 100 * figures["accuracy_low"], 100 * figures["accuracy_high"]
    return f"{100 * figures['accuracy']:.2f} ({low:.2f}–{high:.2f})"


def _with_uncalibrated(value: float, uncalibrated: float | None) -> str:
    return f"{value:.3f}" if uncalibrated is None else f"{value:.3f} ({uncalibrated:.3f})"


def _most_taken_for(row: Sequence[int], truth: int, labels: Sequence[str]) -> str:
    """Return the commonest error in a row of the confusion matrix with its share, "–" if there is none."""
    wrong = [0 if i == truth else count for i, count in enumerate(row)]
    worst = max(range(len(row)), key=wrong.__getitem__)
    return f"{labels[worst]} ({100 * wrong[worst] / sum(row):.1f} %)" if wrong[worst] else "–"
