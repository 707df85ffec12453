"""Temporal models as tables and cards."""

from __future__ import annotations

from math import isnan

from mien.evaluation.following import Following
from mien.reports.tables import table

MEASURE = """\
Accuracy is the share of frames with the right label. Changes are those of the label that is shown; delay is the mean
time from a true change until the new label is first shown, and changes whose label is not shown before the next one
are missed. *Single frames* are the classifier's own answers; half-lives are those of the smoothing in `mien live`."""


def following_table(found: dict[str, dict[str, Following]]) -> str:
    """Return a Markdown table of what `compare_smoothing` gave, by what was followed."""

    def delay(f: Following) -> str:
        return "–" if isnan(f.delay) else f"{f.delay:.2f}"

    header = ["sequences", "labels by", "accuracy, %", "changes a second", "delay, s", "missed, %"]
    rows = [
        [what, way, f"{100 * f.accuracy:.1f}", f"{f.changes:.2f}", delay(f), f"{100 * f.missed:.0f}"]
        for what, ways in found.items()
        for way, f in ways.items()
    ]
    return table(header, rows)
