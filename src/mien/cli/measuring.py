"""Commands that measure models and compare them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import Data, Json, Labels, ModelsDir, Votes, read_data
from mien.cli.console import bar, fail, new_table, notice, out, say
from mien.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from mien.data.dataset import Split
    from mien.models.classifier import OnnxClassifier
    from mien.structures import ImageArray


def evaluate(
    model: Annotated[list[str] | None, typer.Argument(help="Names from `mien models`, or .onnx files.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Dataset: file, folder or zip; may be repeated; $MIEN_DATA if not given.", metavar="PATH"),
    ] = None,
    votes: Votes = None,
    split: Annotated[str, typer.Option(help="train, valid (PublicTest) or test (PrivateTest).")] = "test",
    views: Annotated[str, typer.Option(help="Of single, flip, tencrop.", metavar="VIEW,…")] = "single,flip",
    labels: Labels = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; reports/MODEL-DATA-SPLIT if not given.")
    ] = None,
    answer_accuracy: Annotated[
        float, typer.Option(help="From which confidence on are answers as accurate as this?")
    ] = 0.8,
    audited: Annotated[
        Path | None,
        typer.Option(
            "--audit", help="What `mien data audit` wrote about this data; leaks are then told by it.", metavar="AUDIT"
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Measure what the specs of shipped models, or of these, claim again.")
    ] = False,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Measure models: accuracy with interval, F1, confusion matrix, calibration; writes report.md.

    Example: `mien evaluate base --data fer2013.csv --split valid`
    """
    from mien.data.audit import read_audit
    from mien.evaluation.evaluate import evaluate as run_evaluation
    from mien.evaluation.evaluate import relabel_for
    from mien.evaluation.results import Evaluation
    from mien.models.classifier import load_classifier
    from mien.reports.metrics_json import to_metrics
    from mien.reports.overview import file_name, write_reports
    from mien.reports.report import write_report
    from mien.reports.sheets import mistakes_sheet

    places: Sequence[str | None] = data or [None]
    if published:
        if audited is not None:
            raise ConfigError("--published measures what the specs claim, which no --audit changes; leave it out")
        _check_published(model, places, votes, as_json=as_json, models_dir=models_dir)
        return
    if not model:
        raise ConfigError("no model to evaluate; name one or more, see `mien models`")
    if votes is not None and len(places) > 1:
        raise ConfigError("--votes belongs to one dataset; evaluate the others apart")
    if audited is not None and len(places) > 1:
        raise ConfigError("--audit belongs to one dataset; evaluate the others apart")
    chosen = _split(split)
    classifiers = [load_classifier(name, models_dir=models_dir) for name in model]
    names = _names(model, classifiers)
    evaluations: list[Evaluation] = []
    sheets: list[ImageArray] = []
    for place in places:
        read, _ = read_data(place, votes)
        clusters = None if audited is None else read_audit(audited, read).clusters
        for classifier, name in zip(classifiers, names, strict=True):
            dataset = relabel_for(read, [classifier.spec.head(labels)])
            with bar(f"{name} on {dataset.name}") as progress:
                evaluation = run_evaluation(
                    classifier, dataset, split=chosen, views=views.split(","), head=labels, name=name,
                    clusters=clusters, answer_accuracy=answer_accuracy, progress=progress,
                )  # fmt: skip
            evaluations.append(evaluation)
            sheets.append(mistakes_sheet(evaluation, dataset, view=next(iter(evaluation.views))))
    on = "+".join(dict.fromkeys(evaluation.dataset for evaluation in evaluations))
    folder = to or Path("reports") / file_name("+".join(names), on, split)
    several = len(evaluations) > 1
    if several:
        report = write_reports(evaluations, folder, sheets=sheets)
    else:
        report = write_report(evaluations[0], folder, sheet=sheets[0])
    if as_json:
        metrics = [to_metrics(evaluation) for evaluation in evaluations]
        print(json.dumps(metrics if several else metrics[0], indent=2))
        return
    table = new_table(
        *(["model", "data"] if several else []), "view", "accuracy", "95 % interval",
        *([] if audited is None else ["without leaks"]), "balanced", "macro-F1", "NLL", "ECE",
    )  # fmt: skip
    for evaluation in evaluations:
        for view, result in evaluation.views.items():
            a, leak_free = result.accuracy, f"{result.leak_free.value:.2%}" if result.leak_free else "–"
            table.add_row(
                *([evaluation.name, evaluation.dataset] if several else []), view, f"{a.value:.2%}",
                f"{100 * a.low:.2f}–{a.high:.2%}", *([] if audited is None else [leak_free]),
                f"{result.balanced_accuracy:.2%}", f"{result.macro_f1:.2%}", f"{result.calibration.nll:.3f}",
                f"{result.calibration.ece:.3f}",
            )  # fmt: skip
    out.print(table)
    say(f"report: {report}")


def compare(
    a: Annotated[str, typer.Argument(help="A model: name from `mien models`, or an .onnx file.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    data: Data = None,
    votes: Votes = None,
    split: Annotated[str, typer.Option(help="train, valid (PublicTest) or test (PrivateTest).")] = "valid",
    view: Annotated[str, typer.Option(help="single, flip or tencrop.")] = "single",
    labels: Labels = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to; reports/A-B-DATA-SPLIT if not given.")
    ] = None,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Compare two models on the same pictures: is one better, by how much, and where.

    To compare is to decide, so it is done on the valid split unless told otherwise.

    Example: `mien compare base runs/mine/mine.onnx --data fer2013.csv`
    """
    from mien.evaluation.compare import compare as compare_models
    from mien.evaluation.evaluate import evaluate as run_evaluation
    from mien.evaluation.evaluate import relabel_for
    from mien.models.classifier import load_classifier
    from mien.reports.comparison import p_text, to_plain, verdict, write_comparison
    from mien.reports.overview import file_name
    from mien.reports.sheets import differences_sheet

    chosen = _split(split)
    classifiers = [load_classifier(model, models_dir=models_dir) for model in (a, b)]
    names = _names([a, b], classifiers)
    read, _ = read_data(data, votes)
    dataset = relabel_for(read, [classifier.spec.head(labels) for classifier in classifiers])
    evaluations = []
    for classifier, name in zip(classifiers, names, strict=True):
        with bar(name) as progress:
            evaluation = run_evaluation(
                classifier, dataset, split=chosen, views=[view], head=labels, name=name, progress=progress
            )
        evaluations.append(evaluation)
    comparison = compare_models(evaluations[0], evaluations[1], view=view)
    sheet = differences_sheet(evaluations[0], evaluations[1], dataset, view=view)
    folder = to or Path("reports") / file_name(*names, dataset.name, split)
    report = write_comparison(comparison, folder, sheet=sheet)
    if as_json:
        print(json.dumps(to_plain(comparison), indent=2))
        return
    table = new_table("class", "pictures", "recall A", "recall B", "only A", "only B", "p")
    for c in comparison.classes:
        table.add_row(
            c.label, f"{c.support:,}", f"{c.recall_a:.1%}", f"{c.recall_b:.1%}", f"{c.only_a:,}", f"{c.only_b:,}",
            p_text(c.p_value),
        )  # fmt: skip
    out.print(table)
    for letter, name, accuracy in zip("AB", names, comparison.accuracies, strict=True):
        say(f"{letter}: {name}, accuracy {accuracy:.2%}")
    say(f"B − A: {comparison.difference:+.2%}, 95 % interval {comparison.low:+.2%} to {comparison.high:+.2%}")
    say(verdict(comparison))
    say(f"report: {report}")


def _check_published(
    names: Sequence[str] | None, places: Sequence[str | None], votes: Path | None, *, as_json: bool,
    models_dir: Path | None,
) -> None:  # fmt: skip
    from dataclasses import asdict

    from mien.evaluation.published import check_published, published_on
    from mien.models.classifier import load_classifier
    from mien.models.store import list_models

    chosen = names or [model.name for model in list_models(models_dir) if model.shipped]
    if not chosen:
        raise ConfigError("no model came with mien; name those whose figures are to be checked")
    if votes is not None and len(places) > 1:
        raise ConfigError("--votes belongs to one dataset; check the others apart")
    classifiers = [load_classifier(name, models_dir=models_dir) for name in chosen]
    datasets = [read_data(place, votes)[0] for place in places]
    rows: list[dict[str, object]] = []
    wrong: list[str] = []
    unchecked: list[str] = []
    table = new_table("model", "figure", "published", "measured", "difference")
    for name, classifier in zip(chosen, classifiers, strict=True):
        spec = classifier.spec
        try:
            with bar(name) as progress:
                claims = check_published(classifier, published_on(spec, datasets), progress=progress)
        except DatasetError as error:  # the others can be checked nevertheless
            unchecked.append(f"{name}: {error}")
            for key, figure in spec.metrics.items():
                rows.append({"model": name, "key": key, "published": figure, "measured": None, "holds": None})
                table.add_row(name, key, f"{figure:.3%}", "–", "not checked")
            continue
        for claim in claims:
            difference = claim.measured - claim.published
            rows.append({"model": name, **asdict(claim), "holds": claim.holds})
            table.add_row(
                name, claim.key, f"{claim.published:.3%}", f"{claim.measured:.3%}", f"{100 * difference:+.3f} points"
            )
            if not claim.holds:
                wrong.append(f"{name} {claim.key} by {100 * difference:+.3f} points")
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        out.print(table)
    asked = bool(names) or len(unchecked) == len(chosen)  # else the shipped models whose data was given are enough
    for text in unchecked:
        notice("[bold red]error:[/] not checked:" if asked else "[yellow]not checked:[/]", text)
    if wrong:
        fail(f"not reproduced: {'; '.join(wrong)}")
        raise typer.Exit(2)
    if unchecked and asked:
        raise typer.Exit(2)


def _split(name: str) -> Split:
    from mien.data.dataset import SPLITS

    for split in SPLITS:
        if split == name:
            return split
    raise ConfigError(f"unknown split '{name}'; choose from {', '.join(SPLITS)}")


def _names(arguments: Sequence[str], classifiers: Sequence[OnnxClassifier]) -> list[str]:
    """Return the models' own names, or what was typed where these would be the same."""
    names = [classifier.spec.name for classifier in classifiers]
    return names if len(set(names)) == len(names) else list(arguments)
