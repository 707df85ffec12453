"""Markdown tables and notes about evaluations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from mien.data.votes import USAGES
from mien.escape import literal
from mien.evaluation.results import LeakCriterion
from mien.reports.metrics_json import (
    AccuracyMetrics,
    AucMetrics,
    ClassMetrics,
    EndToEndClassMetrics,
    EndToEndMetrics,
    Metrics,
    ViewMetrics,
    chance,
)

_VIEWS = {
    "single": "one prediction per image, as in live use",
    "flip": "the mean of the probabilities of an image and its mirror image",
    "tencrop": "that of four corners and the centre, each 7/8 of the side, and of their mirror images "
    "(Krizhevsky et al. 2012)",
}
_LEAKS: dict[LeakCriterion, str] = {"pixels": "copies", "photo": "leaks"}  # the words of the glossary
_BAR = re.compile(r"\\?\|")


def views_table(evaluations: Sequence[Metrics]) -> str:
    """Return a Markdown table with one row per evaluation and view.

    It has a column of models if there are several, end-to-end columns if faces were detected, and a column of AUC if
    there are images of happy and neutral.
    """
    several = len({metrics["model"]["name"] for metrics in evaluations}) > 1
    shown = [view for metrics in evaluations for view in metrics["views"].values()]
    end_to_end, auc = (any(key in view for view in shown) for key in ("end_to_end", "happy_neutral"))
    rows = [
        [
            *([literal(metrics["model"]["name"])] if several else []),
            *_view_cells(metrics, view, end_to_end=end_to_end, auc=auc),
        ]
        for metrics in evaluations
        for view in metrics["views"]
    ]
    without = " or ".join(sorted({_LEAKS[metrics["data"]["leak_criterion"]] for metrics in evaluations}))
    return table(
        [
            *(["model"] if several else []),
            *("split", "view", "images", "accuracy, %", f"without {without}, %"),
            *(["end to end, %"] if end_to_end else []),
            "balanced accuracy, %",
            *(["balanced, end to end, %"] if end_to_end else []),
            *("macro-F1", "NLL", "ECE"),
            *(["AUC happy/neutral"] if auc else []),
        ],
        rows,
    )


def _view_cells(metrics: Metrics, view: str, *, end_to_end: bool, auc: bool) -> list[str]:
    m = metrics["views"][view]
    whole = m.get("end_to_end")
    return [
        literal(data_title(metrics)),
        literal(view),
        f"{m['n']:,}",
        with_interval(m),
        with_interval(m["leak_free"]) if m["leak_free"] else "–",
        *([with_interval(whole) if whole else "–"] if end_to_end else []),
        balanced_cell(m),
        *([balanced_cell(whole) if whole else "–"] if end_to_end else []),
        f"{m['macro_f1']:.3f} ({m['macro_f1_low']:.3f}–{m['macro_f1_high']:.3f})",
        f"{m['calibration']['nll']:.3f}",
        f"{m['calibration']['ece']:.3f}",
        *([auc_cell(m.get("happy_neutral"))] if auc else []),
    ]


def matrix_table(evaluations: Sequence[Metrics]) -> str:
    """Return a Markdown table of accuracies with intervals: one row per model, one column per dataset, first views.

    The last row is chance, the accuracy of always predicting the most frequent class of the dataset.
    """
    cells = by_model_and_data(evaluations)
    models, titles = (list(dict.fromkeys(pair[i] for pair in cells)) for i in (0, 1))
    rows = [
        [literal(m), *(with_interval(first_view(cells[m, title])) if (m, title) in cells else "–" for title in titles)]
        for m in models
    ]
    of_data = {title: first_view(metrics) for (_, title), metrics in reversed(cells.items())}
    chances = (f"{100 * chance(of_data[title]):.2f}" for title in titles)
    return table(["accuracy, %", *map(literal, titles)], [*rows, ["*chance*", *chances]])


def calibration_table(metrics: ViewMetrics) -> str:
    """Return a Markdown table of calibration, with and without temperature scaling, and agreement with raters."""
    found = [("model output", metrics["calibration"])]
    if metrics["uncalibrated"]:
        found.append(("before temperature scaling", metrics["uncalibrated"]))
    rows = [[name, *(f"{of[key]:.3f}" for key in ("nll", "brier", "ece", "aurc"))] for name, of in found]
    scores = table(["probabilities", "NLL", "Brier", "ECE", "AURC"], rows)
    if not metrics["raters"]:
        return scores
    kl, cross_entropy = metrics["raters"]["kl"], metrics["raters"]["cross_entropy"]
    return (
        f"{scores}\n\nAgainst the raters' votes per image, as a distribution over the eight expressions: mean KL "
        f"divergence {kl:.3f}, cross-entropy {cross_entropy:.3f} nats."
    )


def operating_point_text(metrics: ViewMetrics) -> str:
    """Return a paragraph on the confidence threshold that reaches the target accuracy."""
    point = metrics["calibration"]["operating_point"]
    if not point:
        return "No confidence threshold reaches the target accuracy."
    before = metrics["uncalibrated"] and metrics["uncalibrated"]["operating_point"]
    uncalibrated = (
        f" Before temperature scaling the threshold is {before['threshold']:.3f}, with a coverage of "
        f"{100 * before['coverage']:.1f} %."
        if before
        else ""
    )
    low, high = 100 * point["low"], 100 * point["high"]
    return (
        f"For an accuracy of {100 * point['target_accuracy']:g} %, answer only at a confidence of at least "
        f"{point['threshold']:.3f}: this covers {100 * point['coverage']:.1f} % of the faces, with an accuracy of "
        f"{100 * point['accuracy']:.1f} % ({low:.1f}–{high:.1f}).{uncalibrated} The threshold was chosen on these "
        "images; choose it on valid, then report it on test."
    )


def reading_notes(evaluations: Sequence[Metrics]) -> str:
    """Return a Markdown list that explains `views_table`."""
    shown = {view for metrics in evaluations for view in metrics["views"]}
    notes = [
        "; ".join(f"*{view}* is {meaning}" for view, meaning in _VIEWS.items() if view in shown) + ".",
        "In brackets: 95 % intervals, Wilson's for accuracies, by bootstrap (1,000 resamples) for balanced accuracy, "
        "the mean recall of the classes, and macro-F1. NLL is in nats, ECE over 15 bins.",
    ]
    if any("happy_neutral" in view for metrics in evaluations for view in metrics["views"].values()):
        notes.append(
            "AUC: how well the ratio of the two probabilities ranks happy above neutral images (1 is perfect, 0.5 is "
            "chance), with the interval of DeLong et al. 1988."
        )
    notes += dict.fromkeys(note for metrics in evaluations for note in _notes_on_data(metrics))
    return "\n".join(f"- {note}" for note in notes)


def _notes_on_data(metrics: Metrics) -> list[str]:
    data, title, notes = metrics["data"], literal(data_title(metrics)), []
    leak_free = first_view(metrics)["leak_free"]
    by_photo = data["leak_criterion"] == "photo"
    if leak_free:
        fitted_on = " and ".join(split_name(data["name"], split) for split in data["fitted_on"])
        which = (
            f"whose photo does not occur in {fitted_on}, near duplicates included (`mien data audit`)"
            if by_photo
            else f"whose exact pixels do not occur in {fitted_on}"
        )
        notes.append(
            f"*Without {_LEAKS[data['leak_criterion']]}*, {title}: the {leak_free['n']:,} of {data['n']:,} images "
            f"{which}."
        )
    elif not data["fitted_on"]:
        notes.append(f"{title}: the model was fitted on other data, so which images have copies there is unknown.")
    if by_photo:
        notes.append(
            f"{title}: the bootstrap resamples photos, with all their images; Wilson's interval treats each image as "
            "independent."
        )
    if end_to_end := first_view(metrics).get("end_to_end"):
        notes.append(
            f"{title}: {literal(data['detector'])} detected no face in {end_to_end['n_missed']:,} of "
            f"{end_to_end['n']:,} pictures; *end to end* counts them as wrong, all other figures leave them out."
        )
    if data["n_excluded"]:
        notes.append(
            f"{title}: {data['n_excluded']:,} images of classes that the model lacks are excluded "
            f"({literal(', '.join(data['missing']))})."
        )
    if data["unused"]:
        notes.append(
            f"{title}: the dataset lacks classes of the model ({literal(', '.join(data['unused']))}); probabilities "
            "are renormalised without them."
        )
    return notes


def classes_table(metrics: ViewMetrics, labels: Sequence[str]) -> str:
    """Return a Markdown table with one row per class, with its most frequent confusion, and missed faces if any.

    A class without images has no scores.
    """
    end_to_end = metrics.get("end_to_end")
    rows = [
        [
            literal(label),
            *(f"{scores[key]:.3f}" if scores["support"] else "–" for key in ("precision", "recall", "f1")),
            f"{scores['support']:,}",
            *(_end_to_end_cells(scores, end_to_end["classes"][label]) if end_to_end else []),
            most_frequent_confusion(metrics["confusion"][i], i, labels),
        ]
        for i, (label, scores) in enumerate(metrics["classes"].items())
    ]
    of_missed = ["missed faces", "recall, end to end"] if end_to_end else []
    return table(["class", "precision", "recall", "F1", "images", *of_missed, "most often confused with"], rows)


def _end_to_end_cells(scores: ClassMetrics, missed: EndToEndClassMetrics) -> list[str]:
    pictures = scores["support"] + missed["missed"]
    return [f"{missed['missed']:,}", f"{missed['recall']:.3f}" if pictures else "–"]


def report_title(metrics: Metrics) -> str:
    """Return "model on dataset split"."""
    return f"{metrics['model']['name']} on {data_title(metrics)}"


def data_title(metrics: Metrics) -> str:
    """Return dataset and split, and the model's head unless it has the dataset's name."""
    data, head = metrics["data"], metrics["model"]["head"]
    title = f"{data['name']} {split_name(data['name'], data['split'])}"
    return title if head == data["name"] else f"{title}, head {head}"


def split_name(dataset: str, split: str) -> str:
    """Return the name that the dataset's authors gave a split ("PrivateTest"), or else our own."""
    if dataset not in ("fer2013", "ferplus"):
        return split
    return next(theirs for theirs, ours in USAGES.items() if ours == split)


def training_data_text(trained_on: Mapping[str, str]) -> str:
    """Return a spec's training data on one line, without the commands that draw it."""
    name = [trained_on["name"]] if "name" in trained_on else []
    facts = (f"{key} {value}" for key, value in trained_on.items() if key not in ("name", "made"))
    return literal(", ".join([*name, *facts]) or "unknown")


def by_model_and_data(evaluations: Sequence[Metrics]) -> dict[tuple[str, str], Metrics]:
    """Return evaluations by (name of the model, `data_title`)."""
    return {(metrics["model"]["name"], data_title(metrics)): metrics for metrics in evaluations}


def first_view(metrics: Metrics) -> ViewMetrics:
    """Return the metrics of the first view."""
    return next(iter(metrics["views"].values()))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(_BAR.sub('&#124;', cell) for cell in line)} |" for line in lines)


def with_interval(metrics: AccuracyMetrics) -> str:
    """Return an accuracy in percent with its interval in brackets."""
    low, high = 100 * metrics["accuracy_low"], 100 * metrics["accuracy_high"]
    return f"{100 * metrics['accuracy']:.2f} ({low:.2f}–{high:.2f})"


def balanced_cell(metrics: ViewMetrics | EndToEndMetrics) -> str:
    """Return a balanced accuracy in percent with its interval in brackets."""
    balanced = (metrics["balanced_accuracy"], metrics["balanced_accuracy_low"], metrics["balanced_accuracy_high"])
    return "{:.2f} ({:.2f}–{:.2f})".format(*(100 * value for value in balanced))


def auc_cell(auc: AucMetrics | None) -> str:
    """Return an AUC with its interval in brackets, if there is one."""
    if auc is None:
        return "–"
    bounds = f" ({auc['low']:.3f}–{auc['high']:.3f})" if auc["low"] is not None else ""
    return f"{auc['auc']:.3f}{bounds}"


def p_text(value: float) -> str:
    """Return a p-value with its relation sign: "= 0.012" or "< 0.001"."""
    return f"{'' if value < 0.001 else '= '}{p_cell(value)}"


def p_cell(value: float) -> str:
    """Return a p-value in a column named p: "0.012" or "< 0.001"."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def points(share: float, digits: int = 2) -> str:
    """Return a difference of shares in percentage points, without the unit: "+1.20" or "−1.20"."""
    return f"{100 * share:+.{digits}f}".replace("-", "−")


def most_frequent_confusion(row: Sequence[int], target: int, labels: Sequence[str]) -> str:
    """Return the class most often predicted instead, with its share of the row of the confusion matrix; or "–"."""
    wrong = [0 if i == target else count for i, count in enumerate(row)]
    worst = max(range(len(row)), key=wrong.__getitem__)
    return f"{literal(labels[worst])} ({100 * wrong[worst] / sum(row):.1f} %)" if wrong[worst] else "–"


def bullets(lines: Iterable[str]) -> str:
    """Return lines as a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)
