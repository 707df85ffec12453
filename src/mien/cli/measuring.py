"""Commands that evaluate models and compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import (
    Data,
    Device,
    Json,
    Labels,
    ModelsDir,
    Votes,
    model_file,
    read_data,
    readings_for,
    reads_data,
)  # fmt: skip
from mien.cli.console import bar, fail, new_table, notice, percent, print_json, print_table, say
from mien.cli.voices import evaluate_voices
from mien.data.reading import AS_CROPS, Reading
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.data.dataset import Split
    from mien.evaluation.compare import Comparison
    from mien.evaluation.published import PublishedCheck
    from mien.evaluation.ranking import PairAuc
    from mien.evaluation.results import Accuracy, Evaluation, SliceColumn
    from mien.models.classifier import OnnxClassifier

SPLIT, VIEWS = "valid", "single,flip"
TARGET_ACCURACY = 0.8
REPORTS = Path("reports")  # holds the folders of reports that get no --out
SplitName = Annotated[
    str,
    typer.Option(help="train, valid (PublicTest; for decisions) or test (PrivateTest; once, for a final model)."),
]
Audited = Annotated[
    Path | None,
    typer.Option(
        "--audit", help="Output of `mien data audit` (folder or audit.npz), used to find leaks.", metavar="AUDIT"
    ),
]
Slices = Annotated[
    Path | None,
    typer.Option(help="CSV about the pictures, one row per file: report by value of each column.", metavar="FILE"),
]
Robustness = Annotated[
    bool,
    typer.Option("--robustness", help="Also evaluate degraded images: small, blurred, JPEG, dark, rotated, …"),
]
Sheet = Annotated[
    int, typer.Option(min=0, help="Draw the N most confident mistakes of all classes, with file names.", metavar="N")
]


@reads_data
def evaluate(
    model: Annotated[list[str] | None, typer.Argument(help="Names from `mien models`, or .onnx files.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Dataset: file, folder or archive; repeatable; $MIEN_DATA if not given.", metavar="PATH"),
    ] = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    split: SplitName = SPLIT,
    views: Annotated[str, typer.Option(help="Any of single, flip, tencrop.", metavar="VIEW,…")] = VIEWS,
    labels: Labels = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; reports/MODEL-DATA-SPLIT if not given.")
    ] = None,
    target_accuracy: Annotated[
        float, typer.Option(help="Report the confidence threshold that reaches this accuracy.")
    ] = TARGET_ACCURACY,
    audited: Audited = None,
    published: Annotated[
        bool, typer.Option("--published", help="Re-measure the figures published in the specs of these models, or all.")
    ] = False,
    slices: Slices = None,
    robustness: Robustness = False,
    sheet: Sheet = 0,
    as_json: Json = False,
    device: Device = "cpu",
    models_dir: ModelsDir = None,
) -> None:
    """Evaluate models: accuracy with interval, F1, confusion matrix, calibration; writes report.md.

    Decide on the valid split, the default; evaluate on the test split once, when the model is final. Voice models are
    evaluated on folders of recordings, by speaker.

    Examples: `mien evaluate base --data fer2013.csv`, `mien evaluate base --data photos --detector auto --robustness`,
    `mien evaluate voice --data RAVDESS`
    """
    from mien.data.readers import data_path
    from mien.evaluation.slice_table import read_slices
    from mien.reports.overview import report_models
    from mien.reports.report import report_files
    from mien.targets import check_targets

    places: Sequence[str | None] = data or [None]
    for name, value in (("votes", votes), ("audit", audited), ("slices", slices)):
        if value is not None and len(places) > 1:
            raise ConfigError(f"--{name} belongs to one dataset; evaluate the others separately")
    if published:
        unused = {
            "audit": audited, "slices": slices, "robustness": robustness, "sheet": sheet, "labels": labels, "out": to,
            "views": views != VIEWS, "split": split != SPLIT, "device": device != "cpu",
            "target-accuracy": target_accuracy != TARGET_ACCURACY,
        }  # fmt: skip
        for option, given in unused.items():
            if given:
                raise ConfigError(f"--{option} does not change what --published measures; leave it out")
        _check_published(model or _shipped(models_dir), places, votes, reading, as_json, models_dir, named=bool(model))
        return
    if not model:
        raise ConfigError("no model to evaluate; name one or more, see `mien models`")
    if _hear(model, models_dir):
        _refuse_options_of_pictures(
            votes=votes, audit=audited, slices=slices, robustness=robustness, sheet=sheet, labels=labels,
            views=views != VIEWS, split=split != SPLIT, device=device != "cpu", detector=reading.detector,
            group_by=reading.group_by, target_accuracy=target_accuracy != TARGET_ACCURACY,
        )  # fmt: skip
        if not data:
            raise ConfigError("no recordings to evaluate on; name a folder of them: --data RAVDESS")
        evaluate_voices(model, data, to, as_json=as_json, models_dir=models_dir)
        return
    of_report = [] if to is None else [to / name for name in report_files(views.split(","))]
    check_targets(
        [*map(data_path, places), votes, slices, *map(model_file, model)], files=of_report, folders=[to or REPORTS]
    )
    table = None if slices is None else read_slices(slices)
    classifiers = _load(model, models_dir, device)
    readings = readings_for(places, _for_models(reading, classifiers))
    datasets = (read_data(place, votes, how)[0] for place, how in zip(places, readings, strict=True))
    evaluations, report = report_models(
        classifiers, datasets, to, split=_split(split), views=views.split(","), head=labels, audit=audited,
        target_accuracy=target_accuracy, slices=table, robustness=robustness, n_most_confident=sheet, progress=bar,
    )  # fmt: skip
    _print_evaluations(evaluations, report, as_json=as_json)


@reads_data
def compare(
    a: Annotated[str, typer.Argument(help="A model: name from `mien models`, or an .onnx file.")],
    b: Annotated[str, typer.Argument(help="Another model.")],
    data: Data = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    split: SplitName = "valid",
    view: Annotated[str, typer.Option(help="single, flip or tencrop.")] = "single",
    labels: Labels = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; reports/A-B-DATA-SPLIT if not given.")
    ] = None,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Compare two models on the same images: whether one is better, by how much, and in which classes.

    A comparison is a decision, so it is made on the valid split by default.

    Example: `mien compare base runs/mine/mine.onnx --data fer2013.csv`
    """
    from mien.data.readers import data_path
    from mien.evaluation.evaluate import check_options
    from mien.reports.comparison import compare_models
    from mien.targets import check_targets

    check_targets([data_path(data), votes, model_file(a), model_file(b)], folders=[to or REPORTS])
    classifiers = _load([a, b], models_dir)
    check_options((classifier.spec for classifier in classifiers.values()), views=[view], head=labels)
    dataset, _ = read_data(data, votes, _for_models(reading, classifiers))
    comparison, report = compare_models(
        classifiers, dataset, to, split=_split(split), view=view, head=labels, progress=bar
    )
    _print_comparison(comparison, report, as_json=as_json)


def _hear(models: Sequence[str], models_dir: Path | None) -> bool:
    """Return whether models are voice models.

    Raises:
        ConfigError: Some are, others see faces.
    """
    from mien.models.onnx_file import read_spec
    from mien.models.store import find_model

    kinds = {model: read_spec(find_model(model, models_dir=models_dir)).kind for model in models}
    hear = [model for model, kind in kinds.items() if kind == "voice"]
    if hear and len(hear) < len(kinds):
        raise ConfigError(f"voice models ({', '.join(hear)}) and models of faces are evaluated separately")
    return bool(hear)


def _refuse_options_of_pictures(**given: object) -> None:
    if names := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        raise ConfigError(f"a voice model is evaluated on whole recordings; leave out {', '.join(names)}")


def _load(models: Sequence[str], models_dir: Path | None, device: str = "cpu") -> dict[str, OnnxClassifier]:
    """Load models by the names to report: their own, or the arguments if two have the same."""
    from mien.models.classifier import load_classifier

    classifiers = [load_classifier(model, models_dir=models_dir, device=device) for model in models]
    names = [classifier.spec.name for classifier in classifiers]
    if len(set(names)) < len(names):
        names = list(models)
    if len(set(names)) < len(names):
        raise ConfigError(f"'{max(names, key=names.count)}' is given twice; name each model once")
    return dict(zip(names, classifiers, strict=True))


def _for_models(reading: Reading, classifiers: Mapping[str, OnnxClassifier]) -> Reading:
    """Return the options of reading photographs for the largest input of the models."""
    return reading.for_model(max(classifier.spec.preprocess.size for classifier in classifiers.values()))


def _split(name: str) -> Split:
    from mien.data.dataset import SPLITS

    for split in SPLITS:
        if split == name:
            return split
    raise ConfigError(f"unknown split '{name}'; choose from {', '.join(SPLITS)}")


def _print_evaluations(evaluations: Sequence[Evaluation], report: Path, *, as_json: bool) -> None:
    from mien.reports.metrics_json import to_metrics

    if as_json:
        metrics = [to_metrics(evaluation) for evaluation in evaluations]
        print_json(metrics if len(metrics) > 1 else metrics[0])
        return
    for title, group in groupby(evaluations, _table_title):
        _print_table(title, list(group))
    for evaluation in evaluations:
        for column in evaluation.slices:
            _print_slices(column, evaluation)
        if evaluation.robustness:
            _print_robustness(evaluation)
    say(f"report: {report}")


def _table_title(evaluation: Evaluation) -> str:
    from mien.reports.tables import split_name

    name = split_name(evaluation.dataset, evaluation.split)
    split = evaluation.split if name == evaluation.split else f"{evaluation.split} ({name})"
    missed = next(iter(evaluation.views.values())).end_to_end
    without = f" with a face, {missed.n_missed:,} without" if missed else ""
    return (
        f"{evaluation.dataset}, split {split}: {evaluation.n:,} images{without}, chance {percent(evaluation.chance, 2)}"
    )


def _print_table(title: str, evaluations: Sequence[Evaluation]) -> None:
    """Print a table of evaluations on the same images."""
    several = len({evaluation.name for evaluation in evaluations}) > 1
    audited = any(evaluation.leak_criterion == "photo" for evaluation in evaluations)
    results = [(evaluation.name, *item) for evaluation in evaluations for item in evaluation.views.items()]
    end_to_end, auc = any(r.end_to_end for *_, r in results), any(r.happy_neutral for *_, r in results)
    table = new_table(
        *(["model"] if several else []), "view", "accuracy", "95 % interval",
        *(["without leaks"] if audited else []), *(["end to end"] if end_to_end else []), "balanced",
        *(["end to end"] if end_to_end else []), "macro-F1", "NLL", "ECE", *(["AUC happy/neutral"] if auc else []),
        title=title,
    )  # fmt: skip
    for name, view, result in results:
        a, leak_free, whole = result.accuracy, _percent(result.leak_free), result.end_to_end
        table.add_row(
            *([name] if several else []), view, percent(a.value, 2), f"{100 * a.low:.2f}–{percent(a.high, 2)}",
            *([leak_free] if audited else []), *([_percent(whole.accuracy if whole else None)] if end_to_end else []),
            percent(result.balanced_accuracy, 2),
            *([percent(whole.balanced_accuracy, 2) if whole else "–"] if end_to_end else []),
            f"{result.macro_f1:.3f}",
            f"{result.calibration.nll:.3f}", f"{result.calibration.ece:.3f}",
            *([_auc(result.happy_neutral)] if auc else []),
        )  # fmt: skip
    print_table(table)


def _percent(accuracy: Accuracy | None) -> str:
    return "–" if accuracy is None else percent(accuracy.value, 2)


def _auc(auc: PairAuc | None) -> str:
    return "–" if auc is None else f"{auc.value:.3f}"


def _print_slices(column: SliceColumn, evaluation: Evaluation) -> None:
    from mien.reports.breakdown import gap_text
    from mien.reports.metrics_json import column_metrics

    table = new_table(
        column.name, "pictures", *(["missed faces"] if evaluation.detector else []), "accuracy", "95 % interval",
        "balanced", *(["end to end"] if evaluation.detector else []), "AUC happy/neutral", "ECE",
        title=f"{evaluation.name} on {evaluation.dataset}, by {column.name}",
    )  # fmt: skip
    for part in column.slices:
        name, result = part.value + (" (few)" if part.is_small else ""), part.result
        counts = [f"{part.n:,}", *([f"{part.n_missed:,}"] if evaluation.detector else [])]
        if result is None:
            table.add_row(name, *counts)
            continue
        a, whole = result.accuracy, result.end_to_end
        table.add_row(
            name, *counts, percent(a.value, 2), f"{100 * a.low:.2f}–{percent(a.high, 2)}",
            percent(result.balanced_accuracy, 2), *([_percent(whole.accuracy)] if whole else []),
            _auc(result.happy_neutral), f"{result.calibration.ece:.3f}",
        )  # fmt: skip
    print_table(table)
    say(gap_text(column_metrics(column, evaluation.labels)))


def _print_robustness(evaluation: Evaluation) -> None:
    from mien.reports.tables import points

    shown = [i for i, label in enumerate(evaluation.labels) if label in ("happy", "neutral")]
    table = new_table(
        "images", "accuracy", "difference, points", "95 % interval", *(f"recall {evaluation.labels[i]}" for i in shown),
        "AUC happy/neutral", title=f"{evaluation.name} on degraded images of {evaluation.dataset}",
    )  # fmt: skip
    for number, result in enumerate(evaluation.robustness):
        change, low, high = (points(value, 1) for value in (result.difference, result.low, result.high))
        difference = [change, f"{low} to {high}"] if number else ["–", "–"]
        table.add_row(
            result.name, percent(result.accuracy.value, 1), *difference,
            *(percent(result.recalls[i], 1) for i in shown),
            _auc(result.happy_neutral),
        )  # fmt: skip
    print_table(table)


def _print_comparison(comparison: Comparison, report: Path, *, as_json: bool) -> None:
    from mien.reports.comparison import to_plain, verdict
    from mien.reports.tables import p_cell, points

    if as_json:
        print_json(to_plain(comparison))
        return
    table = new_table("class", "images", "recall A", "recall B", "only A", "only B", "p")
    for c in comparison.classes:
        table.add_row(
            c.label, f"{c.support:,}", percent(c.recall_a, 1), percent(c.recall_b, 1), f"{c.only_a:,}",
            f"{c.only_b:,}", p_cell(c.p_value),
        )  # fmt: skip
    print_table(table)
    for letter, name, accuracy in zip("AB", comparison.names, comparison.accuracies, strict=True):
        say(f"{letter}: {name}, accuracy {percent(accuracy, 2)}")
    difference, low, high = map(points, (comparison.difference, comparison.low, comparison.high))
    say(f"B − A: {difference} points, 95 % interval {low} to {high}")
    say(verdict(comparison))
    say(f"report: {report}")


def _shipped(models_dir: Path | None) -> list[str]:
    from mien.models.store import list_models

    return [model.name for model in list_models(models_dir) if model.shipped]


def _check_published(
    models: Sequence[str],
    places: Sequence[str | None],
    votes: Path | None,
    reading: Reading,
    as_json: bool,
    models_dir: Path | None,
    *,
    named: bool,
) -> None:
    """Re-measure published figures; exit with 2 if one does not hold, or a model that was named can't be measured."""
    from mien.evaluation.published import check_models
    from mien.models.classifier import load_classifier

    if not models:
        raise ConfigError("no model came with mien; name the models to check")
    classifiers = {model: load_classifier(model, models_dir=models_dir) for model in models}
    readings = readings_for(places, _for_models(reading, classifiers))
    datasets = [read_data(place, votes, how)[0] for place, how in zip(places, readings, strict=True)]
    checks = check_models(classifiers, datasets, progress=bar)
    _print_checks(checks, as_json=as_json)
    problems = [f"{check.model}: {check.problem}" for check in checks if check.problem]
    for problem in problems:
        notice("[bold red]error:[/] not checked:" if named else "[yellow]not checked:[/]", problem)
    nothing = not named and len(problems) == len(checks)
    if nothing:
        given = " and ".join(f"'{dataset.name}'" for dataset in datasets)
        fail(f"no shipped model is published on {given}; give its data with --data, or measure the model on yours")
    wrong = [
        f"{check.model} {claim.key} by {100 * claim.difference:+.3f} points"
        for check in checks
        for claim in check.claims
        if claim.difference is not None and not claim.holds
    ]
    if wrong:
        fail(f"not reproduced: {'; '.join(wrong)}")
    if wrong or nothing or (problems and named):
        raise typer.Exit(2)


def _print_checks(checks: Sequence[PublishedCheck], *, as_json: bool) -> None:
    claims = [(check.model, claim) for check in checks for claim in check.claims]
    if as_json:
        rows = [{"model": model, **asdict(claim), "holds": claim.holds} for model, claim in claims]
        print_json(rows)
        return
    table = new_table("model", "figure", "published", "measured", "difference")
    for model, claim in claims:
        measured, difference = "–", "not checked"
        if claim.measured is not None and claim.difference is not None:
            measured, difference = percent(claim.measured, 3), f"{100 * claim.difference:+.3f} points"
        table.add_row(model, claim.key, percent(claim.published, 3), measured, difference)
    print_table(table)
