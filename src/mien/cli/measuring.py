"""Commands that evaluate models and compare them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import AS_CROPS, Data, Json, Labels, ModelsDir, Votes, read_data, readings_for, reads_data
from mien.cli.console import bar, escaped, fail, new_table, notice, out, say
from mien.data.reading import Reading
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.data.dataset import Split
    from mien.evaluation.compare import Comparison
    from mien.evaluation.published import PublishedCheck
    from mien.evaluation.results import Evaluation
    from mien.models.classifier import OnnxClassifier

SplitName = Annotated[
    str,
    typer.Option(help="train, valid (PublicTest; for decisions) or test (PrivateTest; once, for a final model)."),
]


@reads_data
def evaluate(
    model: Annotated[list[str] | None, typer.Argument(help="Names from `mien models`, or .onnx files.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Dataset: file, folder or zip; repeatable; $MIEN_DATA if not given.", metavar="PATH"),
    ] = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    split: SplitName = "valid",
    views: Annotated[str, typer.Option(help="Any of single, flip, tencrop.", metavar="VIEW,…")] = "single,flip",
    labels: Labels = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; reports/MODEL-DATA-SPLIT if not given.")
    ] = None,
    answer_accuracy: Annotated[
        float, typer.Option(help="Report the confidence threshold that reaches this accuracy.")
    ] = 0.8,
    audited: Annotated[
        Path | None,
        typer.Option("--audit", help="Folder or file by `mien data audit`; leaks are found by it.", metavar="AUDIT"),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Re-measure the figures published in the specs of these models, or all.")
    ] = False,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Evaluate models: accuracy with interval, F1, confusion matrix, calibration; writes report.md.

    Decide on the valid split, the default; evaluate on the test split once, when the model is final.

    Example: `mien evaluate base --data fer2013.csv`
    """
    from mien.reports.overview import report_models

    places: Sequence[str | None] = data or [None]
    for name, value in (("votes", votes), ("audit", audited)):
        if value is not None and len(places) > 1:
            raise ConfigError(f"--{name} belongs to one dataset; evaluate the others separately")
    if published:
        if audited is not None:
            raise ConfigError("--audit does not change what --published measures; leave it out")
        _check_published(model or _shipped(models_dir), places, votes, reading, as_json, models_dir, named=bool(model))
        return
    if not model:
        raise ConfigError("no model to evaluate; name one or more, see `mien models`")
    classifiers = _load(model, models_dir)
    readings = readings_for(places, _for_models(reading, classifiers))
    datasets = (read_data(place, votes, how)[0] for place, how in zip(places, readings, strict=True))
    evaluations, report = report_models(
        classifiers, datasets, to, split=_split(split), views=views.split(","), head=labels, audit=audited,
        answer_accuracy=answer_accuracy, progress=bar,
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
    from mien.reports.comparison import compare_models

    classifiers = _load([a, b], models_dir)
    dataset, _ = read_data(data, votes, _for_models(reading, classifiers))
    comparison, report = compare_models(
        classifiers, dataset, to, split=_split(split), view=view, head=labels, progress=bar
    )
    _print_comparison(comparison, report, as_json=as_json)


def _load(models: Sequence[str], models_dir: Path | None) -> dict[str, OnnxClassifier]:
    """Load models by the names to report: their own, or the arguments if two have the same."""
    from mien.models.classifier import load_classifier

    classifiers = [load_classifier(model, models_dir=models_dir) for model in models]
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
        print(json.dumps(metrics if len(metrics) > 1 else metrics[0], indent=2))
        return
    for title, group in groupby(evaluations, _table_title):
        _print_table(title, list(group))
    say(f"report: {report}")


def _table_title(evaluation: Evaluation) -> str:
    from mien.reports.tables import split_name

    name = split_name(evaluation.dataset, evaluation.split)
    split = evaluation.split if name == evaluation.split else f"{evaluation.split} ({name})"
    return f"{evaluation.dataset}, split {split}: {evaluation.n:,} images, chance {evaluation.chance:.2%}"


def _print_table(title: str, evaluations: Sequence[Evaluation]) -> None:
    """Print a table of evaluations on the same images."""
    several = len({evaluation.name for evaluation in evaluations}) > 1
    audited = any(evaluation.leak_criterion == "photo" for evaluation in evaluations)
    table = new_table(
        *(["model"] if several else []), "view", "accuracy", "95 % interval",
        *(["without leaks"] if audited else []), "balanced", "macro-F1", "NLL", "ECE", title=escaped(title),
    )  # fmt: skip
    for evaluation in evaluations:
        for view, result in evaluation.views.items():
            a, leak_free = result.accuracy, f"{result.leak_free.value:.2%}" if result.leak_free else "–"
            table.add_row(
                *([escaped(evaluation.name)] if several else []), view, f"{a.value:.2%}",
                f"{100 * a.low:.2f}–{a.high:.2%}", *([leak_free] if audited else []),
                f"{result.balanced_accuracy:.2%}", f"{result.macro_f1:.2%}", f"{result.calibration.nll:.3f}",
                f"{result.calibration.ece:.3f}",
            )  # fmt: skip
    out.print(table)


def _print_comparison(comparison: Comparison, report: Path, *, as_json: bool) -> None:
    from mien.reports.comparison import p_text, to_plain, verdict

    if as_json:
        print(json.dumps(to_plain(comparison), indent=2))
        return
    table = new_table("class", "images", "recall A", "recall B", "only A", "only B", "p")
    for c in comparison.classes:
        table.add_row(
            escaped(c.label), f"{c.support:,}", f"{c.recall_a:.1%}", f"{c.recall_b:.1%}", f"{c.only_a:,}",
            f"{c.only_b:,}", p_text(c.p_value),
        )  # fmt: skip
    out.print(table)
    for letter, name, accuracy in zip("AB", comparison.names, comparison.accuracies, strict=True):
        say(f"{letter}: {name}, accuracy {accuracy:.2%}")
    say(f"B − A: {comparison.difference:+.2%}, 95 % interval {comparison.low:+.2%} to {comparison.high:+.2%}")
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
    required = named or len(problems) == len(checks)  # else the shipped models whose data was given are enough
    for problem in problems:
        notice("[bold red]error:[/] not checked:" if required else "[yellow]not checked:[/]", problem)
    wrong = [
        f"{check.model} {claim.key} by {100 * claim.difference:+.3f} points"
        for check in checks
        for claim in check.claims
        if claim.difference is not None and not claim.holds
    ]
    if wrong:
        fail(f"not reproduced: {'; '.join(wrong)}")
    if wrong or (problems and required):
        raise typer.Exit(2)


def _print_checks(checks: Sequence[PublishedCheck], *, as_json: bool) -> None:
    claims = [(check.model, claim) for check in checks for claim in check.claims]
    if as_json:
        rows = [{"model": model, **asdict(claim), "holds": claim.holds} for model, claim in claims]
        print(json.dumps(rows, indent=2))
        return
    table = new_table("model", "figure", "published", "measured", "difference")
    for model, claim in claims:
        measured, difference = "–", "not checked"
        if claim.measured is not None and claim.difference is not None:
            measured, difference = f"{claim.measured:.3%}", f"{100 * claim.difference:+.3f} points"
        table.add_row(escaped(model), claim.key, f"{claim.published:.3%}", measured, difference)
    out.print(table)
