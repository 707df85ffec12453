"""The table of a temporal model's card."""

from __future__ import annotations

from math import isnan

from mien.evaluation.temporal import TemporalScores
from mien.reports.tables import table

MEASURE = """\
Accuracy is the share of frames with the right label. Changes are those of the label that is shown; delay is the mean
time from a true change until the new label is first shown, and changes whose label is not shown before the next one
are missed. *Single frames* are the classifier's own answers; half-lives are those of the smoothing in `mien live`."""


def temporal_table(results: dict[str, dict[str, TemporalScores]]) -> str:
    """Return a Markdown table of the results of `compare_smoothing` by kind of sequences."""

    def delay(scores: TemporalScores) -> str:
        return "–" if isnan(scores.delay) else f"{scores.delay:.2f}"

    header = ["sequences", "labels by", "accuracy, %", "changes a second", "delay, s", "missed, %"]
    rows = [
        [kind, method, f"{100 * s.accuracy:.1f}", f"{s.changes:.2f}", delay(s), f"{100 * s.missed:.0f}"]
        for kind, methods in results.items()
        for method, s in methods.items()
    ]
    return table(header, rows)
