"""Markdown tables and notes about evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mien.data.votes import USAGES
from mien.evaluation.evaluate import Sameness
from mien.reports.figures import AccuracyFigures, Metrics, ViewFigures, chance

_VIEWS = {
    "single": "one look at each picture, as in live use",
    "flip": "the mean of the probabilities of a picture and its mirror image",
    "tencrop": "that of four corners and the centre, each 7/8 of the side, and of their mirror images "
    "(Krizhevsky et al. 2012)",
}
_LEAKS: dict[Sameness, str] = {"pixels": "copies", "photo": "leaks"}  # the words of the glossary


def views_table(evaluations: Sequence[Metrics]) -> str:
    """Return a Markdown table with one row per evaluation and view, and a column of models if there are several."""
    several = len({metrics["model"]["name"] for metrics in evaluations}) > 1
    rows = [
        [
            *([metrics["model"]["name"]] if several else []),
            place_of(metrics),
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
    cells = by_model_and_place(evaluations)
    models, places = (list(dict.fromkeys(pair[i] for pair in cells)) for i in (0, 1))
    rows = [[m, *(_with_interval(first_view(cells[m, p])) if (m, p) in cells else "–" for p in places)] for m in models]
    of_place = {place: first_view(metrics) for (_, place), metrics in reversed(cells.items())}
    chances = (f"{100 * chance(of_place[place]):.2f}" for place in places)
    return table(["accuracy, %", *places], [*rows, ["*chance*", *chances]])


def honesty_table(figures: ViewFigures) -> str:
    """Return a Markdown table of `CalibrationScores` and `Raters`, before and after temperature scaling."""
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
    data, place, notes = metrics["data"], place_of(metrics), []
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
    return f"{metrics['model']['name']} on {place_of(metrics)}"


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


def place_of(metrics: Metrics) -> str:
    """Return dataset and split, and the model's head where the dataset's name doesn't tell it."""
    data, head = metrics["data"], metrics["model"]["head"]
    place = f"{data['name']} {split_name(data['name'], data['split'])}"
    return place if head == data["name"] else f"{place}, head {head}"


def by_model_and_place(evaluations: Sequence[Metrics]) -> dict[tuple[str, str], Metrics]:
    """Return evaluations by model and place."""
    return {(metrics["model"]["name"], place_of(metrics)): metrics for metrics in evaluations}


def first_view(metrics: Metrics) -> ViewFigures:
    return next(iter(metrics["views"].values()))


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
