"""Reports: an evaluation as a folder with numbers for programs, and text and pictures for people."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from mien.data.votes import USAGES
from mien.errors import ConfigError, InputError, OutputError
from mien.evaluation.evaluate import Accuracy, Evaluation, Honesty, Sameness, ViewResult
from mien.evaluation.metrics import ClassScore
from mien.evaluation.page import page
from mien.evaluation.plots import draw_confusion, draw_confusions, draw_reliability, draw_risk_coverage
from mien.files import atomic_path
from mien.sinks import write_picture
from mien.structures import ImageArray, IntArray

METRICS_VERSION = 3  # 2: intervals, honesty and raters; 3: what leaks are told by
NOTE = "mien names the expression annotators saw, not what a person feels."
MATRIX = "matrix.png"
MATRIX_TITLE = "Confusion matrices: a row for each model, a column for each data"
MATRIX_NOTE = (
    "*Chance* names the commonest class of the data every time. In brackets: 95 % Wilson intervals. In the picture, "
    "rows of a matrix are true and columns predicted, in percent of the row."
)
_DIGITS = 5  # after the point: tells one picture of 100,000

_VIEWS = {
    "single": "one look at each picture, as in live use",
    "flip": "the mean of the probabilities of a picture and its mirror image",
    "tencrop": "that of four corners and the centre, each 7/8 of the side, and of their mirror images "
    "(Krizhevsky et al. 2012)",
}

_LEAKS: dict[Sameness, str] = {"pixels": "copies", "photo": "leaks"}  # the words of the glossary

_HONESTY_NOTES = (
    "The Brier score is summed over the classes. AURC is the area under the risk–coverage curve: the mean share of "
    "wrong answers if only the surest faces are answered, over all numbers of them. Lower is better in all four."
)


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


class BinFigures(TypedDict):
    """One bin of a reliability diagram; see `metrics.Bin`."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class AnsweringFigures(TypedDict):
    """Answers from a threshold on; see `selective.Answering`."""

    wanted: float
    threshold: float
    n: int
    coverage: float
    accuracy: float
    low: float
    high: float


class HonestyFigures(TypedDict):
    """How far probabilities can be trusted; see `evaluate.Honesty`."""

    nll: float
    brier: float
    ece: float
    aurc: float
    reliability: list[BinFigures]
    answering: AnsweringFigures | None


class RatersFigures(TypedDict):
    """Against raters' votes; see `evaluate.Raters`."""

    kl: float
    cross_entropy: float


class ViewFigures(AccuracyFigures):
    """All figures of one view; see `evaluate.ViewResult` for their meaning."""

    unleaked: AccuracyFigures | None
    balanced_accuracy: float
    balanced_accuracy_low: float
    balanced_accuracy_high: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    honesty: HonestyFigures
    uncalibrated: HonestyFigures | None
    raters: RatersFigures | None
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
    same: Sameness
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
    folder = made_folder(folder)
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
    folder = made_folder(folder)
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
    return len({_place(metrics) for metrics in evaluations}) > 1


def file_name(*parts: str) -> str:
    """Return a name for a folder that says what is in it, whatever paths the parts are."""
    return "-".join(re.sub(r"[^\w.+]+", "_", part).strip("_.") or "_" for part in parts)


def to_metrics(evaluation: Evaluation) -> Metrics:
    """Return all figures of an evaluation as plain data, rounded to five digits after the point."""
    spec, head = evaluation.spec, evaluation.head
    return {
        "version": METRICS_VERSION,
        "model": {
            "name": evaluation.name,
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
            "same": evaluation.same,
            "n": evaluation.n,
            "n_left_out": evaluation.n_left_out,
            "missing": list(evaluation.missing),
            "unused": list(evaluation.unused),
        },
        "labels": list(evaluation.labels),
        "views": {view: _view_figures(result, evaluation.labels) for view, result in evaluation.views.items()},
    }


def read_metrics(path: str | Path) -> Metrics:
    """Read a metrics.json, of the version before this one too, which knew leaks by their pixels alone.

    Raises:
        InputError: It cannot be read, is not JSON, or is of another version.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
        if metrics["version"] == 2:
            metrics["data"]["same"] = "pixels"
            metrics["version"] = METRICS_VERSION
        version = metrics["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"'{path}' is not a metrics.json ({error!r}); write one with mien evaluate") from error
    if version != METRICS_VERSION:
        raise InputError(f"'{path}' has version {version}, expected {METRICS_VERSION}; run mien evaluate again")
    return cast(Metrics, metrics)


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


def views_table(evaluations: Sequence[Metrics]) -> str:
    """Return a Markdown table with one row per evaluation and view, and a column of models if there are several."""
    several = len({metrics["model"]["name"] for metrics in evaluations}) > 1
    rows = [
        [
            *([metrics["model"]["name"]] if several else []),
            _place(metrics),
            view,
            f"{figures['n']:,}",
            _with_interval(figures),
            _with_interval(figures["unleaked"]) if figures["unleaked"] else "–",
            f"{100 * figures['balanced_accuracy']:.2f} "
            f"({100 * figures['balanced_accuracy_low']:.2f}–{100 * figures['balanced_accuracy_high']:.2f})",
            f"{figures['macro_f1']:.3f} ({figures['macro_f1_low']:.3f}–{figures['macro_f1_high']:.3f})",
            f"{figures['honesty']['nll']:.3f}",
            f"{figures['honesty']['ece']:.3f}",
        ]
        for metrics in evaluations
        for view, figures in metrics["views"].items()
    ]
    without = " or ".join(sorted({_LEAKS[metrics["data"]["same"]] for metrics in evaluations}))
    header = [*(["model"] if several else []), "split", "view", "pictures", "accuracy, %", f"without {without}, %"]
    return table([*header, "balanced accuracy, %", "macro-F1", "NLL", "ECE"], rows)


def matrix_table(evaluations: Sequence[Metrics]) -> str:
    """Return a Markdown table of accuracies with intervals: a row per model, a column per data, each in its first view.

    The last row is chance, what naming the commonest class of the data every time would give.
    """
    cells = _matrix(evaluations)
    models, places = (list(dict.fromkeys(pair[i] for pair in cells)) for i in (0, 1))
    rows = [[m, *(_with_interval(_first(cells[m, p])) if (m, p) in cells else "–" for p in places)] for m in models]
    of_place = {place: _first(metrics) for (_, place), metrics in reversed(cells.items())}
    chances = (f"{100 * chance(of_place[place]):.2f}" for place in places)
    return table(["accuracy, %", *places], [*rows, ["*chance*", *chances]])


def chance(figures: ViewFigures) -> float:
    """Return the share of the commonest class, in [0, 1]: the accuracy of naming it every time."""
    return max(scores["support"] for scores in figures["classes"].values()) / figures["n"]


def draw_matrix(evaluations: Sequence[Metrics], path: str | Path) -> None:
    """Write the confusion matrices of several evaluations side by side, laid out like `matrix_table`, as PNG.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    confusions = {
        pair: (np.array(_first(metrics)["confusion"], np.int64), metrics["labels"])
        for pair, metrics in _matrix(evaluations).items()
    }
    draw_confusions(confusions, path)


def honesty_table(figures: ViewFigures) -> str:
    """Return a Markdown table of what `evaluate.Honesty` and `evaluate.Raters` hold, before and after temperature."""
    ways = [("as the model answers", figures["honesty"])]
    if figures["uncalibrated"]:
        ways.append(("before temperature", figures["uncalibrated"]))
    rows = [[name, *(f"{of[key]:.3f}" for key in ("nll", "brier", "ece", "aurc"))] for name, of in ways]
    shown = table(["probabilities", "NLL", "Brier", "ECE", "AURC"], rows)
    if not figures["raters"]:
        return shown
    kl, total = figures["raters"]["kl"], figures["raters"]["cross_entropy"]
    return (
        f"{shown}\n\nAgainst the raters' votes on each picture, as a distribution over the eight expressions: mean KL "
        f"divergence {kl:.3f}, cross-entropy {total:.3f} nats."
    )


def answering_text(figures: ViewFigures) -> str:
    """Return from which confidence on the answers are as accurate as wanted."""
    found = figures["honesty"]["answering"]
    if not found:
        return "No threshold of confidence makes the answers as accurate as was asked for."
    before = figures["uncalibrated"] and figures["uncalibrated"]["answering"]
    more = (
        f" Before temperature it is {before['threshold']:.3f}, for {100 * before['coverage']:.1f} % of them."
        if before
        else ""
    )
    low, high = 100 * found["low"], 100 * found["high"]
    return (
        f"To answer with an accuracy of {100 * found['wanted']:g} %, answer from a confidence of "
        f"{found['threshold']:.3f} on: {100 * found['coverage']:.1f} % of the faces, of which "
        f"{100 * found['accuracy']:.1f} % ({low:.1f}–{high:.1f}) are right.{more} The threshold was chosen on these "
        "very pictures: choose it on valid, then look at test."
    )


def reading_notes(evaluations: Sequence[Metrics]) -> str:
    """Return, as a Markdown list, what one must know to read `views_table`."""
    shown = {view for metrics in evaluations for view in metrics["views"]}
    notes = [
        "; ".join(f"*{view}* is {meaning}" for view, meaning in _VIEWS.items() if view in shown) + ".",
        "In brackets: 95 % intervals, Wilson's for accuracies, by bootstrap (1,000 resamples) for balanced accuracy, "
        "the mean recall of the classes, and macro-F1. NLL is in nats, ECE over 15 bins.",
    ]
    notes += dict.fromkeys(note for metrics in evaluations for note in _notes_on_data(metrics))
    return "\n".join(f"- {note}" for note in notes)


def _notes_on_data(metrics: Metrics) -> list[str]:
    data, place, notes = metrics["data"], _place(metrics), []
    unleaked = next(iter(metrics["views"].values()))["unleaked"]
    by_photo = data["same"] == "photo"
    if unleaked:
        fitted_on = " and ".join(split_name(data["name"], split) for split in data["fitted_on"])
        what = (
            f"that show no photo which {fitted_on} shows too, near duplicates included (`mien data audit`)"
            if by_photo
            else f"whose exact pixels don't occur in {fitted_on} too"
        )
        notes.append(
            f"*Without {_LEAKS[data['same']]}*, {place}: the {unleaked['n']:,} of {data['n']:,} pictures {what}."
        )
    if by_photo:
        notes.append(
            f"{place}: the bootstrap draws all pictures of a photo together; Wilson's interval counts each by itself."
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
    return table(["class", "precision", "recall", "F1", "pictures", "most often taken for"], rows)


def title_of(metrics: Metrics) -> str:
    """Return "model on dataset split"."""
    return f"{metrics['model']['name']} on {_place(metrics)}"


def split_name(dataset: str, split: str) -> str:
    """Return what a dataset's authors call a split ("PrivateTest"), or our own name for it."""
    if dataset not in ("fer2013", "ferplus"):
        return split
    return next(theirs for theirs, ours in USAGES.items() if ours == split)


def described(trained_on: Mapping[str, str]) -> str:
    """Return what is known of the training data on one line; the commands that draw it are not part of that."""
    name = [trained_on["name"]] if "name" in trained_on else []
    facts = (f"{key} {value}" for key, value in trained_on.items() if key not in ("name", "made"))
    return ", ".join([*name, *facts]) or "unknown"


def _place(metrics: Metrics) -> str:
    """Return dataset and split, and the model's head where the dataset's name doesn't tell it."""
    data, head = metrics["data"], metrics["model"]["head"]
    place = f"{data['name']} {split_name(data['name'], data['split'])}"
    return place if head == data["name"] else f"{place}, head {head}"


def _matrix(evaluations: Sequence[Metrics]) -> dict[tuple[str, str], Metrics]:
    """Return evaluations by model and place."""
    return {(metrics["model"]["name"], _place(metrics)): metrics for metrics in evaluations}


def _first(metrics: Metrics) -> ViewFigures:
    return next(iter(metrics["views"].values()))


def _view_figures(result: ViewResult, labels: Sequence[str]) -> ViewFigures:
    return {
        **_accuracy_figures(result.accuracy),
        "unleaked": _accuracy_figures(result.unleaked) if result.unleaked else None,
        "balanced_accuracy": round(result.balanced_accuracy, _DIGITS),
        "balanced_accuracy_low": round(result.balanced_accuracy_interval[0], _DIGITS),
        "balanced_accuracy_high": round(result.balanced_accuracy_interval[1], _DIGITS),
        "macro_f1": round(result.macro_f1, _DIGITS),
        "macro_f1_low": round(result.macro_f1_interval[0], _DIGITS),
        "macro_f1_high": round(result.macro_f1_interval[1], _DIGITS),
        "honesty": _honesty_figures(result.honesty),
        "uncalibrated": _honesty_figures(result.uncalibrated) if result.uncalibrated else None,
        "raters": cast(RatersFigures, _rounded(asdict(result.raters))) if result.raters else None,
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


def _honesty_figures(honesty: Honesty) -> HonestyFigures:
    return {
        "nll": round(honesty.nll, _DIGITS),
        "brier": round(honesty.brier, _DIGITS),
        "ece": round(honesty.ece, _DIGITS),
        "aurc": round(honesty.aurc, _DIGITS),
        "reliability": [cast(BinFigures, _rounded(asdict(each))) for each in honesty.reliability],
        "answering": cast(AnsweringFigures, _rounded(asdict(honesty.answering))) if honesty.answering else None,
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {key: round(value, _DIGITS) for key, value in figures.items()}


def _accuracy_figures(accuracy: Accuracy) -> AccuracyFigures:
    return {
        "n": accuracy.n,
        "correct": accuracy.correct,
        "accuracy": round(accuracy.value, _DIGITS),
        "accuracy_low": round(accuracy.low, _DIGITS),
        "accuracy_high": round(accuracy.high, _DIGITS),
    }


def made_folder(path: str | Path) -> Path:
    """Make a folder if it isn't there.

    Raises:
        OutputError: It cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make folder '{folder}': {error.strerror}; choose another place") from error
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all, as UTF-8 with plain line ends."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _write_confusion_csv(matrix: IntArray, labels: Sequence[str], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true / predicted", *labels])
        writer.writerows([label, *row] for label, row in zip(labels, matrix.tolist(), strict=True))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column to the left, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _with_interval(figures: AccuracyFigures) -> str:
    low, high = 100 * figures["accuracy_low"], 100 * figures["accuracy_high"]
    return f"{100 * figures['accuracy']:.2f} ({low:.2f}–{high:.2f})"


def _most_taken_for(row: Sequence[int], truth: int, labels: Sequence[str]) -> str:
    """Return the commonest error in a row of the confusion matrix with its share, "–" if there is none."""
    wrong = [0 if i == truth else count for i, count in enumerate(row)]
    worst = max(range(len(row)), key=wrong.__getitem__)
    return f"{labels[worst]} ({100 * wrong[worst] / sum(row):.1f} %)" if wrong[worst] else "–"
